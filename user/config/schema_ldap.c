/* SPDX-License-Identifier: Apache-2.0 */
/* A directory as a provider of identity: whom to ask, and where in it users and groups are. */
#include "config/schema_auth_priv.h"

#include "base/ldap_text.h"
#include "base/url.h"

static const char *_sl_valid_uri(struct sl_slice s)
{
    struct sl_arena a;
    struct sl_url url;
    bool tls;
    sl_arena_init(&a, 4096);
    const char *wrong = sl_url_parse_ldap(&a, s, &tls, &url); /* static text */
    sl_arena_free(&a);
    return wrong;
}
static const struct sl_type _sl_uri = {.kind = SL_T_TEXT,
                                       .size = sizeof(const char *),
                                       .what = "a URL such as \"ldaps://ldap.internal\"",
                                       .pattern = "^[Ll][Dd][Aa][Pp][Ss]?://[^@/?#\\\\\\s]+/?$",
                                       .valid = _sl_valid_uri};
static const struct sl_type _sl_dn = {.kind = SL_T_TEXT,
                                      .size = sizeof(const char *),
                                      .what = "a name such as \"ou=people,dc=example,dc=org\"",
                                      .valid = sl_ldap_dn_wrong};
static const struct sl_type _sl_filter = {.kind = SL_T_TEXT,
                                          .size = sizeof(const char *),
                                          .what = "a filter such as \"(objectClass=person)\"",
                                          .valid = sl_ldap_filter_wrong};
static const struct sl_type _sl_attribute = {.kind = SL_T_TEXT,
                                             .size = sizeof(const char *),
                                             .what = "the name of an attribute",
                                             .valid = sl_ldap_attribute_wrong};
/* With a matching rule behind it, as "member:1.2.840.113556.1.4.1941:", which finds nested groups. */
static const char *_sl_valid_member(struct sl_slice s)
{
    const ssize_t colon = sl_slice_chr(s, ':');
    if (colon < 0)
        return sl_ldap_attribute_wrong(s);
    struct sl_slice rule = sl_slice(s.p + colon + 1, s.n - (size_t)colon - 1);
    if (!rule.n || rule.p[rule.n - 1] != ':')
        return "has a matching rule that does not end in ':'";
    rule.n--;
    const char *wrong = sl_ldap_attribute_wrong(sl_slice(s.p, (size_t)colon));
    return wrong ? wrong : sl_ldap_attribute_wrong(rule);
}
static const struct sl_type _sl_member = {.kind = SL_T_TEXT,
                                          .size = sizeof(const char *),
                                          .what = "the name of an attribute",
                                          .valid = _sl_valid_member};
static const struct sl_type _sl_pool = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1", .max = "32"};

#define REL(m) (offsetof(struct sl_auth, ldap.groups.m) - offsetof(struct sl_auth, ldap.groups))
static const struct sl_field _sl_group_fields[] = {
    {"base_dn", &_sl_dn, REL(base_dn), NULL, SL_F_REQUIRED, "Where the groups are, at any depth."},
    {"attribute", &_sl_attribute, REL(attribute), "\"cn\"", 0, "What a group's name stands in."},
    {"member", &_sl_member, REL(member), "\"member\"", 0,
     "What a group's members stand in: their names in the directory, or, in memberUid, their user names. A "
     "matching rule may follow, as in \"member:1.2.840.113556.1.4.1941:\" for nested groups."},
    SL_FIELDS_END,
};
#undef REL
static const struct sl_type _sl_groups = {
    .kind = SL_T_OBJECT, .what = "a map of base_dn, attribute, member", .fields = _sl_group_fields};

#define AT(m) SL_AUTH_AT(a.m)
const struct sl_field sl_ldap_fields[] = {
    {"type", &sl_type_auth_type, SL_AUTH_AT(type), NULL, SL_F_REQUIRED,
     "ldap: users and passwords of a directory, which are tried by a bind (RFC 4513 section 5.1.3)."},
    {"uri", &_sl_uri, AT(ldap.uri), NULL, SL_F_REQUIRED,
     "The directory's server: ldaps://HOST, or ldap://HOST."},
    {"start_tls", &sl_type_bool, AT(ldap.start_tls), "false", 0,
     "Of ldap://: begin with TLS (RFC 4513 section 3)."},
    {"insecure", &sl_type_bool, AT(ldap.insecure), "false", 0,
     "Of ldap://: send passwords readable over the network."},
    {"tls", &sl_type_fetch_tls, AT(ldap.ca), NULL, 0, "Whom to trust as the directory's server."},
    {"base_dn", &_sl_dn, AT(ldap.base_dn), NULL, SL_F_REQUIRED,
     "Where the users are: right below it, unless they are searched for (bind_dn, filter)."},
    {"attribute", &_sl_attribute, AT(ldap.attribute), "\"uid\"", 0, "What a user's name stands in."},
    {"bind_dn", &_sl_dn, AT(ldap.bind_dn), NULL, 0,
     "Who searches for users, at any depth, and for groups. Not written: nobody, unless there is a filter."},
    {"bind_password", &sl_type_secret, AT(ldap.bind_password), NULL, 0, "Its password."},
    {"filter", &_sl_filter, AT(ldap.filter), NULL, 0,
     "What else is true of users that are searched for, as \"(objectClass=person)\"."},
    {"groups", &_sl_groups, AT(ldap.groups), NULL, 0,
     "Where users' groups are. Not written: they have those of their consumers alone."},
    {"timeout", &sl_type_fetch_timeout, AT(ldap.timeout), "\"5s\"", 0,
     "How long the directory has to say whose a password is."},
    {"connections", &_sl_pool, AT(ldap.connections), "4", 0, "Connections to it, at most."},
    {"realm", &sl_type_realm, AT(basic.realm), "\"sluice\"", 0,
     "What a client is told that the password is for."},
    {"hide", &sl_type_bool, AT(basic.hide), "true", 0, "Take it out of what the upstream sees."},
    {"cache", &sl_type_duration_or_none, AT(basic.cache), "\"1m\"", 0,
     "How long a password that was right, and its user's groups, are believed without asking again; 0s: not "
     "at all."},
    SL_FIELDS_END,
};
#undef AT

/* ---- before anything is read */

bool sl_schema_is_ldap_tls(const struct sl_node *auth)
{
    return sl_schema_type_is(auth, "ldap") && !sl_node_get(auth, "insecure");
}

/* ---- what takes more than one value */

static void _sl_check_tls(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a, bool ldaps)
{
    const struct sl_node *start = sl_node_get(n, "start_tls"), *insecure = sl_node_get(n, "insecure"),
                         *tls = sl_node_get(n, "tls");
    if (ldaps && a->ldap.start_tls)
        sl_read_key_error(r, start, "start_tls is for ldap://: ldaps:// is TLS from its first byte");
    else if (a->ldap.insecure && (ldaps || a->ldap.start_tls))
        sl_read_key_error(r, insecure, "insecure is for ldap:// without start_tls: this one has TLS");
    else if (!ldaps && !a->ldap.start_tls && !a->ldap.insecure)
        sl_read_error(
            r, sl_node_get(n, "uri"),
            "passwords would cross the network readable: ldaps://, or \"start_tls\": true, is right "
            "(\"insecure\": true lets them)");
    else if (a->ldap.insecure && tls)
        sl_read_key_error(r, tls, "tls is for ldaps://, or for ldap:// with start_tls");
    else if (a->ldap.insecure)
        sl_read_warn(r, insecure, "passwords cross the network readable");
    else
        sl_read_fetch_ca(r, n, &a->ldap.ca);
}

/* A name without a password would be nobody's bind, and succeed all the same (RFC 4513 section 5.1.2). */
static void _sl_check_service(struct sl_reader *r, const struct sl_node *n)
{
    const struct sl_node *dn = sl_node_get(n, "bind_dn"), *password = sl_node_get(n, "bind_password");
    if (!dn != !password)
        sl_read_key_error(r, dn ? dn : password, "\"%s\" is missing: bind_dn and bind_password go together",
                          dn ? "bind_password" : "bind_dn");
}

static void _sl_take_uri(struct sl_reader *r, struct sl_auth *a, bool *ldaps)
{
    struct sl_url url;
    if (sl_url_parse_ldap(r->arena, sl_slice_str(a->ldap.uri), ldaps, &url))
        return; /* told, or out of memory: then there is no snapshot */
    a->ldap.host = url.host;
    a->ldap.ip = url.ip;
    a->ldap.port = url.port;
    a->ldap.source = sl_schema_source(r, a->name, a->ldap.uri, "ldap");
}

void sl_finish_ldap(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a)
{
    bool ldaps = false;
    if (!a->ldap.uri)
        return;
    _sl_take_uri(r, a, &ldaps);
    _sl_check_tls(r, n, a, ldaps);
    _sl_check_service(r, n);
    a->ldap.tls = ldaps || a->ldap.start_tls;
    a->ldap.search = a->ldap.bind_dn || a->ldap.filter;
}
