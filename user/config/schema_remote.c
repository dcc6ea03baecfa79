/* SPDX-License-Identifier: Apache-2.0 */
/* Where a provider of identity goes over the network: URLs, whom to trust on the way, and how fresh. */
#include "config/schema_auth_priv.h"

#include "base/url.h"

static const char *_sl_valid_url(struct sl_slice s)
{
    struct sl_arena a;
    struct sl_url url;
    sl_arena_init(&a, 4096);
    const char *wrong = sl_url_parse(&a, s, &url); /* static text */
    sl_arena_free(&a);
    return wrong;
}
const struct sl_type sl_type_https = {.kind = SL_T_TEXT,
                                      .size = sizeof(const char *),
                                      .what = "a URL such as \"https://auth.internal/jwks.json\"",
                                      .pattern = "^[Hh][Tt][Tt][Pp][Ss]://[^@#\\\\\\s]+$",
                                      .valid = _sl_valid_url};

static const struct sl_choice _sl_redirects_choices[] = {{"none", SL_REACH_NONE, false},
                                                         {"public", SL_REACH_PUBLIC, false},
                                                         {"any", SL_REACH_ANY, false},
                                                         {NULL, 0, false}};
const struct sl_type sl_type_redirects = {.kind = SL_T_CHOICE,
                                          .size = sizeof(unsigned),
                                          .what = "one of none, public, any",
                                          .choices = _sl_redirects_choices};

const struct sl_type sl_type_refresh = {.kind = SL_T_DURATION,
                                        .size = sizeof(uint64_t),
                                        .what = "a duration such as \"5m\"",
                                        .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                        .min = "1s",
                                        .max = "1d"};
const struct sl_type sl_type_stale = {.kind = SL_T_DURATION,
                                      .size = sizeof(uint64_t),
                                      .what = "a duration such as \"24h\"",
                                      .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                      .min = "1s",
                                      .max = "30d"};
const struct sl_type sl_type_fetch_timeout = {.kind = SL_T_DURATION,
                                              .size = sizeof(uint64_t),
                                              .what = "a duration such as \"5s\"",
                                              .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                              .min = "100ms",
                                              .max = "1m"};

static const struct sl_field _sl_tls_fields[] = {
    {"ca", &sl_type_file, 0, NULL, 0,
     "PEM file of the authorities to trust. Not written: the system's, as read with the policy (the "
     "environment's SSL_CERT_FILE, else where OpenSSL keeps them)."},
    SL_FIELDS_END,
};
const struct sl_type sl_type_fetch_tls = {
    .kind = SL_T_OBJECT, .size = sizeof(struct sl_blob), .what = "a map of ca", .fields = _sl_tls_fields};

/* ---- before anything is read: what the loader must bring */

bool sl_schema_type_is(const struct sl_node *n, const char *type)
{
    const struct sl_node *t = n->kind == SL_NODE_MAP ? sl_node_get(n, "type") : NULL;
    return t && sl_slice_eq(t->text, sl_slice_str(type));
}

static bool _sl_is_hmac(const struct sl_node *algorithms)
{
    const struct sl_node *first = algorithms && algorithms->kind == SL_NODE_LIST ? algorithms->first : NULL;
    return first && first->kind == SL_NODE_STRING && sl_slice_starts(first->text, SL_S("HS"));
}

bool sl_schema_fetches(const struct sl_node *auth)
{
    if (!sl_schema_type_is(auth, "jwt"))
        return false;
    if (sl_node_get(auth, "jwks_uri"))
        return true;
    return sl_node_get(auth, "issuer") && !sl_node_get(auth, "jwks") && !sl_node_get(auth, "jwks_file") &&
           !sl_node_get(auth, "signer") && !sl_node_get(auth, "secret") &&
           !_sl_is_hmac(sl_node_get(auth, "algorithms"));
}

static bool _sl_goes_out(const struct sl_node *auth)
{
    return sl_schema_fetches(auth) || sl_schema_type_is(auth, "introspection") ||
           sl_schema_type_is(auth, "ldap");
}

static bool _sl_speaks_tls(const struct sl_node *auth)
{
    return _sl_goes_out(auth) && (!sl_schema_type_is(auth, "ldap") || sl_schema_is_ldap_tls(auth));
}

/* Of an upstream or a route: whether its tokens come from a server. */
static bool _sl_fetches_tokens(const struct sl_node *n)
{
    const struct sl_node *a = n->kind == SL_NODE_MAP ? sl_node_get(n, "upstream_auth") : NULL;
    return a && (sl_schema_type_is(a, "client_credentials") || sl_schema_type_is(a, "token_exchange"));
}

static bool _sl_any(const struct sl_node *root, const char *section, bool (*is)(const struct sl_node *))
{
    const struct sl_node *all = root->kind == SL_NODE_MAP ? sl_node_get(root, section) : NULL;
    for (const struct sl_node *a = all && all->kind == SL_NODE_MAP ? all->first : NULL; a; a = a->next)
        if (is(a))
            return true;
    return false;
}

static bool _sl_names_no_ca(const struct sl_node *n)
{
    const struct sl_node *tls = sl_node_get(n, "tls");
    return !tls || tls->kind != SL_NODE_MAP || !sl_node_get(tls, "ca");
}

static bool _sl_wants_system_ca(const struct sl_node *auth)
{
    return _sl_speaks_tls(auth) && _sl_names_no_ca(auth);
}

static bool _sl_tokens_want_system_ca(const struct sl_node *n)
{
    return _sl_fetches_tokens(n) && _sl_names_no_ca(sl_node_get(n, "upstream_auth"));
}

bool sl_schema_auth_system_ca(const struct sl_node *root)
{
    return _sl_any(root, "auth", _sl_wants_system_ca) ||
           _sl_any(root, "upstreams", _sl_tokens_want_system_ca) ||
           _sl_any(root, "routes", _sl_tokens_want_system_ca);
}

bool sl_schema_asks_names(const struct sl_node *root)
{
    return _sl_any(root, "auth", _sl_goes_out) || _sl_any(root, "upstreams", _sl_fetches_tokens) ||
           _sl_any(root, "routes", _sl_fetches_tokens) || sl_schema_names_targets(root);
}

/* ---- a token provider's keys */

/* Workers and controller know by it whose keys, or which server, are meant. */
uint64_t sl_schema_source(struct sl_reader *r, const char *name, const char *url, const char *how)
{
    const char *text = sl_arena_printf(&r->scratch, "%s\n%s\n%s", name, url, how);
    const uint64_t h = text ? sl_hash(text, strlen(text), 0x6a776b73) : 0;
    return h ? h : 1;
}

void sl_read_fetch_ca(struct sl_reader *r, const struct sl_node *n, struct sl_blob *ca)
{
    const struct sl_node *tls = sl_node_get(n, "tls");
    if (!tls || !sl_node_get(tls, "ca"))
        sl_read_system_ca(r, tls ? tls : n, ca);
    else
        sl_check_ca(r, ca);
}

static void _sl_not_fetched(struct sl_reader *r, const struct sl_node *n)
{
    static const char *const keys[] = {"jwks_refresh", "jwks_stale", "jwks_timeout", "jwks_redirects", "tls"};
    for (size_t i = 0; i < SL_ARRAY_LEN(keys); i++) {
        const struct sl_node *k = sl_node_get(n, keys[i]);
        if (k)
            sl_read_key_error(r, k, "is for keys that are fetched: by jwks_uri, or of an issuer alone");
    }
}

void sl_check_remote_keys(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a)
{
    struct sl_remote_keys *k = &a->jwt.remote;
    const struct sl_node *issuer = sl_node_get(n, "issuer");
    if (!sl_schema_fetches(n)) {
        _sl_not_fetched(r, n);
        return;
    }
    if (!k->url) {
        const char *wrong = a->jwt.issuer ? _sl_valid_url(sl_slice_str(a->jwt.issuer)) : NULL;
        k->discover = true;
        k->url = a->jwt.issuer;
        if (wrong)
            sl_read_error(
                r, issuer,
                "%s: without jwks_uri, jwks or jwks_file the keys are discovered at an issuer that is an "
                "https URL",
                wrong);
    }
    if (k->stale < k->refresh)
        sl_read_key_error(
            r, sl_node_get(n, "jwks_stale") ? sl_node_get(n, "jwks_stale") : n,
            "jwks_stale is shorter than jwks_refresh: keys would be thrown away before they are asked "
            "for again");
    sl_read_fetch_ca(r, n, &k->ca);
    if (k->url)
        k->source = sl_schema_source(r, a->name, k->url, k->discover ? "discover" : "");
}

/* ---- a server that is asked about tokens */

void sl_check_introspection(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a)
{
    sl_read_fetch_ca(r, n, &a->introspection.ca);
    if (a->introspection.url && a->introspection.client_id)
        a->introspection.source =
            sl_schema_source(r, a->name, a->introspection.url, a->introspection.client_id);
}
