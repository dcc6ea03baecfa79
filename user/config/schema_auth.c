/* SPDX-License-Identifier: Apache-2.0 */
/* Who is calling: providers of identity. */
#include "config/schema_auth_priv.h"

#define END                          \
    {                                \
        NULL, NULL, 0, NULL, 0, NULL \
    }

/* ---- providers */

static const struct sl_choice _sl_algorithm_choices[] = {
    {"RS256", 0, false}, {"RS384", 0, false}, {"RS512", 0, false}, {"PS256", 0, false}, {"PS384", 0, false},
    {"PS512", 0, false}, {"ES256", 0, false}, {"ES384", 0, false}, {"ES512", 0, false}, {"EdDSA", 0, false},
    {"HS256", 0, false}, {"HS384", 0, false}, {"HS512", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_algorithm = {
    .kind = SL_T_TEXT,
    .size = sizeof(struct sl_slice),
    .what =
        "one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512",
    .choices = _sl_algorithm_choices};
static const struct sl_type _sl_algorithms = {.kind = SL_T_LIST,
                                              .size = sizeof(struct sl_strings),
                                              .what = "a list of algorithms such as [ES256]",
                                              .item = &_sl_algorithm,
                                              .some = true,
                                              .unique = true};
static const struct sl_choice _sl_verify_choices[] = {{"exp", 0, false}, {"nbf", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_verify_one = {.kind = SL_T_TEXT,
                                              .size = sizeof(struct sl_slice),
                                              .what = "one of exp, nbf",
                                              .choices = _sl_verify_choices};
static const struct sl_type _sl_verify = {.kind = SL_T_LIST,
                                          .size = sizeof(struct sl_strings),
                                          .what = "a list of claims",
                                          .item = &_sl_verify_one,
                                          .unique = true};
/* RFC 7515 section 4.1.9: "application/" is left out where nothing else holds a slash. */
static const char *_sl_valid_typ(struct sl_slice s)
{
    return sl_slice_chr(s, '/') >= 0 ? "is written without \"application/\", as in \"at+jwt\""
                                     : sl_valid_token(s);
}
static const struct sl_type _sl_typ = {.kind = SL_T_TEXT,
                                       .size = sizeof(const char *),
                                       .what = "a type such as \"at+jwt\"",
                                       .valid = _sl_valid_typ};
static const struct sl_type _sl_jwks = {
    .kind = SL_T_JSON, .size = sizeof(struct sl_blob), .what = "a key set: {keys: […]} (RFC 7517)"};
static const struct sl_type _sl_skew = {.kind = SL_T_DURATION,
                                        .size = sizeof(uint64_t),
                                        .what = "a duration such as \"60s\"",
                                        .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                        .max = "1h"};

/* "realm_access.roles": names between dots (RFC 7519 section 4 leaves the names to us). */
static const char *_sl_valid_claim(struct sl_slice s)
{
    struct sl_slice rest = s, part;
    unsigned parts = 0;
    while (sl_slice_next(&rest, '.', &part)) {
        parts++;
        if (part.n == 0)
            return "has an empty part: a dotted path is right, as in \"realm.roles\"";
    }
    return parts > 8 ? "has more than 8 parts" : sl_valid_plain(s);
}
static const struct sl_type _sl_claim = {.kind = SL_T_TEXT,
                                         .size = sizeof(const char *),
                                         .what = "the dotted path of a claim",
                                         .valid = _sl_valid_claim};
static const struct sl_type _sl_claim_key = {
    .kind = SL_T_TEXT, .what = "dotted path of a claim", .valid = _sl_valid_claim};
static const struct sl_type _sl_claim_header = {.kind = SL_T_TEXT,
                                                .size = sizeof(struct sl_slice),
                                                .what = "a header name",
                                                .valid = sl_valid_header,
                                                .pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"};
static const struct sl_type _sl_claims = {.kind = SL_T_PAIRS,
                                          .size = sizeof(struct sl_name_values),
                                          .what = "a map of claims to headers",
                                          .key = &_sl_claim_key,
                                          .item = &_sl_claim_header};

#define REL(m) (offsetof(struct sl_auth, jwt.m) - offsetof(struct sl_auth, jwt.from_header))
static const struct sl_type _sl_token = {
    .kind = SL_T_TEXT, .size = sizeof(const char *), .what = "a name", .valid = sl_valid_token};
static const struct sl_field _sl_from_fields[] = {
    {"header", &sl_type_token, REL(from_header), NULL, 0, "A header; Bearer is expected in Authorization."},
    {"cookie", &_sl_token, REL(from_cookie), NULL, 0, "A cookie."},
    {"query", &_sl_token, REL(from_query), NULL, 0,
     "A query parameter (RFC 6750 section 2.3 advises against it)."},
    SL_FIELDS_END,
};
#undef REL
static void _sl_finish_from(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    (void)raw, (void)out;
    if (n->n == 0)
        sl_read_error(r, n, "the token must come from somewhere: header, cookie or query");
}
static const struct sl_type _sl_from = {.kind = SL_T_OBJECT,
                                        .what = "a map of header, cookie, query",
                                        .fields = _sl_from_fields,
                                        .finish = _sl_finish_from};

static const struct sl_choice _sl_type_choices[] = {{"jwt", SL_AUTH_JWT, false},
                                                    {"key", SL_AUTH_KEY, false},
                                                    {"basic", SL_AUTH_BASIC, false},
                                                    {"mtls", SL_AUTH_MTLS, false},
                                                    {"introspection", SL_AUTH_INTROSPECTION, false},
                                                    {"ldap", SL_AUTH_LDAP, false},
                                                    {NULL, 0, false}};
const struct sl_type sl_type_auth_type = {.kind = SL_T_CHOICE,
                                          .size = sizeof(unsigned),
                                          .what = "jwt, introspection, key, basic, mtls or ldap",
                                          .choices = _sl_type_choices};

#define AT(m) SL_AUTH_AT(m)
/* What tokens have in common, whoever vouches for them. */
/* clang-format off */
#define TOKEN_FIELDS                                                                                        \
    {"issuer", &sl_type_string, AT(a.jwt.issuer), NULL, 0, "What iss must be. Not written: any."},          \
    {"audiences", &sl_type_strings, AT(a.jwt.audiences), NULL, 0,                                           \
     "One of them must stand in aud. Not written: any."},                                                   \
    {"clock_skew", &_sl_skew, AT(a.jwt.clock_skew), "\"60s\"", 0, "By how much clocks may differ."},        \
    {"consumer_claim", &_sl_claim, AT(a.jwt.consumer_claim), "\"sub\"", 0,                                  \
     "Claim that names the consumer."},                                                                     \
    {"claims_to_headers", &_sl_claims, AT(claims), NULL, 0,                                                 \
     "Headers for the upstream; what the client sent under these names is removed."},                       \
    {"roles_claim", &_sl_claim, AT(a.jwt.roles_claim), NULL, 0,                                             \
     "Claim with the roles, an array or words. Not written: there are none."},                              \
    {"scopes_claim", &_sl_claim, AT(a.jwt.scopes_claim), "\"scope\"", 0,                                    \
     "Claim with the scopes (RFC 8693)."},                                                                  \
    {"from", &_sl_from, AT(a.jwt.from_header), "{\"header\":\"Authorization\"}", 0,                         \
     "Where the token stands."},                                                                            \
    {"forward", &sl_type_bool, AT(a.jwt.forward), "false", 0,                                               \
     "Pass the token itself on to the upstream."}
/* clang-format on */
static const struct sl_field _sl_jwt_fields[] = {
    {"type", &sl_type_auth_type, AT(type), NULL, SL_F_REQUIRED, "jwt: signed tokens (RFC 7519)."},
    {"algorithms", &_sl_algorithms, AT(a.jwt.algorithms), NULL, SL_F_REQUIRED,
     "What is not listed is refused; HS* stand alone, with secret."},
    {"typ", &_sl_typ, AT(a.jwt.typ), NULL, 0,
     "What the header's typ must be, such as at+jwt (RFC 9068). Not written: any."},
    {"jwks", &_sl_jwks, AT(a.jwt.jwks), NULL, 0, "Public keys, written out (RFC 7517)."},
    {"jwks_file", &sl_type_file, AT(a.jwt.jwks), NULL, 0, "Public keys, in a file."},
    {"jwks_uri", &sl_type_https, AT(a.jwt.remote.url), NULL, 0,
     "Public keys, fetched from there. Without any keys written they are discovered at the issuer (OpenID)."},
    {"jwks_refresh", &sl_type_refresh, AT(a.jwt.remote.refresh), "\"5m\"", 0,
     "How often fetched keys are asked for again, at least; Cache-Control may make it more often."},
    {"jwks_stale", &sl_type_stale, AT(a.jwt.remote.stale), "\"24h\"", 0,
     "How long fetched keys serve while they cannot be fetched again."},
    {"jwks_timeout", &sl_type_fetch_timeout, AT(a.jwt.remote.timeout), "\"5s\"", 0,
     "How long fetching may take, from the name to the last byte."},
    {"jwks_redirects", &sl_type_redirects, AT(a.jwt.remote.redirects), "\"public\"", 0,
     "Where a redirect, or what was discovered, may lead on another host than the one written: nowhere, to "
     "addresses of the Internet, or to private ones too."},
    {"tls", &sl_type_fetch_tls, AT(a.jwt.remote.ca), NULL, 0, "Whom to trust when keys are fetched."},
    {"signer", &sl_type_signer_ref, AT(a.jwt.signer), NULL, 0,
     "Tokens that the gateway has issued itself: their keys, their issuer and typ at+jwt, where these are "
     "not "
     "written."},
    {"secret", &sl_type_secret, AT(a.jwt.secret), NULL, 0, "Shared secret of HS256, HS384, HS512."},
    {"claims_to_verify", &_sl_verify, AT(verify), "[\"exp\",\"nbf\"]", 0,
     "exp must be there, and nbf hold where it is, unless left out here."},
    TOKEN_FIELDS,
    {"cache", &sl_type_duration_or_none, AT(a.jwt.cache), "\"5m\"", 0,
     "How long a verified token is believed without verifying it again, within its exp; 0s: never."},
    SL_FIELDS_END,
};

static const struct sl_field _sl_introspection_fields[] = {
    {"type", &sl_type_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "introspection: tokens that their authorization server is asked about (RFC 7662)."},
    {"uri", &sl_type_https, AT(a.introspection.url), NULL, SL_F_REQUIRED, "Its introspection endpoint."},
    {"client_id", &sl_type_string, AT(a.introspection.client_id), NULL, SL_F_REQUIRED,
     "Whom the gateway is there (HTTP Basic, RFC 6749 section 2.3.1)."},
    {"client_secret", &sl_type_secret, AT(a.introspection.client_secret), NULL, SL_F_REQUIRED,
     "By what it shows that."},
    {"timeout", &sl_type_fetch_timeout, AT(a.introspection.timeout), "\"5s\"", 0,
     "How long an answer may take, from the name to the last byte."},
    {"tls", &sl_type_fetch_tls, AT(a.introspection.ca), NULL, 0, "Whom to trust when it is asked."},
    TOKEN_FIELDS,
    {"cache", &sl_type_duration_or_none, AT(a.jwt.cache), "\"60s\"", 0,
     "How long a token that is active is believed without asking again, within its exp; 0s: never."},
    SL_FIELDS_END,
};

static const struct sl_type _sl_key_name = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a name", .valid = sl_valid_header};
static const struct sl_type _sl_key_names = {.kind = SL_T_LIST,
                                             .size = sizeof(struct sl_strings),
                                             .what = "a list of names such as [apikey]",
                                             .item = &_sl_key_name,
                                             .some = true,
                                             .unique = true};
static const struct sl_choice _sl_in_choices[] = {
    {"header", 0, false}, {"query", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_in_one = {.kind = SL_T_TEXT,
                                          .size = sizeof(struct sl_slice),
                                          .what = "one of header, query",
                                          .choices = _sl_in_choices};
static const struct sl_type _sl_in = {.kind = SL_T_LIST,
                                      .size = sizeof(struct sl_strings),
                                      .what = "a list of header, query",
                                      .item = &_sl_in_one,
                                      .some = true,
                                      .unique = true};
static const struct sl_field _sl_key_fields[] = {
    {"type", &sl_type_auth_type, AT(type), NULL, SL_F_REQUIRED, "key: API keys of the consumers."},
    {"names", &_sl_key_names, AT(a.key.names), "[\"apikey\"]", 0,
     "Headers or parameters that carry the key."},
    {"in", &_sl_in, AT(in), "[\"header\"]", 0, "Where it is looked for."},
    {"hide", &sl_type_bool, AT(a.key.hide), "true", 0, "Take it out of what the upstream sees."},
    SL_FIELDS_END,
};

/* ---- certificates */

static const char *const _sl_cert_names[] = {
#define SL_X(e, name) name,
    SL_CERT_FIELDS(SL_X)
#undef SL_X
};
static enum sl_cert_field _sl_cert_field(struct sl_slice s)
{
    unsigned i = 0;
    while (i < SL_CERT_FIELD_COUNT && !sl_slice_eq(s, sl_slice_str(_sl_cert_names[i])))
        i++;
    return (enum sl_cert_field)i;
}
static const char *_sl_valid_cert_field(struct sl_slice s)
{
    return _sl_cert_field(s) < SL_CERT_FIELD_COUNT
               ? NULL
               : "is none of certificate, subject, issuer, serial, fingerprint, san_dns, san_uri, san_email, "
                 "cn, not_after";
}
static const struct sl_choice _sl_from_choices[] = {
    {"san_dns", SL_CERT_SAN_DNS, false},         {"san_uri", SL_CERT_SAN_URI, false},
    {"san_email", SL_CERT_SAN_EMAIL, false},     {"cn", SL_CERT_CN, false},
    {"fingerprint", SL_CERT_FINGERPRINT, false}, {NULL, 0, false}};
static const struct sl_type _sl_consumer_from = {.kind = SL_T_CHOICE,
                                                 .size = sizeof(enum sl_cert_field),
                                                 .what =
                                                     "one of san_dns, san_uri, san_email, cn, fingerprint",
                                                 .choices = _sl_from_choices};
static const struct sl_type _sl_cert_key = {
    .kind = SL_T_TEXT,
    .what = "field of a certificate",
    .valid = _sl_valid_cert_field,
    .pattern = "^(certificate|subject|issuer|serial|fingerprint|san_dns|san_uri|san_email|cn|not_after)$"};
static const struct sl_type _sl_cert_headers = {.kind = SL_T_PAIRS,
                                                .size = sizeof(struct sl_name_values),
                                                .what = "a map of certificate, subject, … to headers",
                                                .key = &_sl_cert_key,
                                                .item = &_sl_claim_header};
static const struct sl_field _sl_mtls_fields[] = {
    {"type", &sl_type_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "mtls: the certificate that the client showed to a listener with client_ca."},
    {"consumer_from", &_sl_consumer_from, AT(a.mtls.consumer_from), "\"san_dns\"", 0,
     "What names the consumer: of several names the first that is a consumer's, else the first. san_dns is "
     "in "
     "lower case; fingerprint is the SHA-256 of the certificate, 64 hexadecimal digits in lower case."},
    {"certificate_to_headers", &_sl_cert_headers, AT(claims), NULL, 0,
     "Headers for the upstream; what the client sent under these names is removed. certificate is the whole, "
     "as RFC 9440 writes it in Client-Cert."},
    SL_FIELDS_END,
};
#undef AT

#define AT(m) SL_AUTH_AT(m)
static const char *_sl_valid_realm(struct sl_slice s)
{
    if (sl_slice_chr(s, '"') >= 0 || sl_slice_chr(s, '\\') >= 0)
        return "holds a quote or a backslash";
    return sl_valid_header_value(s);
}
const struct sl_type sl_type_realm = {
    .kind = SL_T_TEXT, .size = sizeof(const char *), .what = "a text", .valid = _sl_valid_realm};
static const struct sl_field _sl_basic_fields[] = {
    {"type", &sl_type_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "basic: users and passwords of the consumers (RFC 7617)."},
    {"realm", &sl_type_realm, AT(a.basic.realm), "\"sluice\"", 0,
     "What a client is told that the password is for."},
    {"hide", &sl_type_bool, AT(a.basic.hide), "true", 0, "Take it out of what the upstream sees."},
    {"cache", &sl_type_duration_or_none, AT(a.basic.cache), "\"1m\"", 0,
     "How long a password that was right is believed without hashing it again; 0s: never."},
    SL_FIELDS_END,
};
#undef AT

static const struct sl_variant _sl_auth_variants[] = {{"jwt", _sl_jwt_fields},
                                                      {"key", _sl_key_fields},
                                                      {"basic", _sl_basic_fields},
                                                      {"mtls", _sl_mtls_fields},
                                                      {"introspection", _sl_introspection_fields},
                                                      {"ldap", sl_ldap_fields},
                                                      {NULL, NULL}};

static bool _sl_listed(const struct sl_strings *list, const char *word)
{
    for (size_t i = 0; i < list->n; i++)
        if (sl_slice_eq(list->v[i], sl_slice_str(word)))
            return true;
    return false;
}

/* HS* sign with a secret, all others with a private key: a provider that took both would verify a token that
 * was made with a public key as if that were the secret (RFC 8725 section 2.1). */
/* The one place where keys are written; NULL: nowhere. */
static const struct sl_node *_sl_one_place(struct sl_reader *r, const struct sl_node *n)
{
    static const char *const places[] = {"jwks", "jwks_file", "jwks_uri", "signer"};
    const struct sl_node *first = NULL;
    for (size_t i = 0; i < SL_ARRAY_LEN(places); i++) {
        const struct sl_node *k = sl_node_get(n, places[i]);
        if (k && first)
            sl_read_key_error(r, k, "keys come from one place: " SL_SFMT " is written at %s",
                              SL_SARG(first->key), sl_read_place(r, first));
        first = first ? first : k;
    }
    return first;
}

static void _sl_check_keys(struct sl_reader *r, const struct sl_node *n, const struct sl_auth *a)
{
    const struct sl_node *jwks = _sl_one_place(r, n);
    const struct sl_node *secret = sl_node_get(n, "secret"), *algorithms = sl_node_get(n, "algorithms");
    size_t hs = 0, known = 0;
    for (size_t i = 0; i < a->jwt.algorithms.n; i++) {
        hs += sl_slice_starts(a->jwt.algorithms.v[i], SL_S("HS"));
        known += a->jwt.algorithms.v[i].n != 0;
    }
    if (known == 0)
        return;
    if (hs && hs != known)
        sl_read_error(r, algorithms,
                      "HS* and the others do not mix: make two providers, and list both in the route");
    else if (hs && jwks)
        sl_read_key_error(r, jwks, "HS* takes secret, not public keys");
    else if (hs && !secret)
        sl_read_key_error(r, n, "\"secret\" is missing: HS* verifies by it");
    else if (!hs && secret)
        sl_read_key_error(r, secret,
                          "a secret is for HS*: these algorithms take jwks, jwks_file, jwks_uri or signer");
    else if (!hs && !jwks && !sl_node_get(n, "issuer"))
        sl_read_key_error(
            r, n,
            "\"jwks_uri\" is missing: the public keys to verify by (or jwks, jwks_file, signer, or an issuer "
            "to discover them at)");
}

/* RFC 7518 section 3.2: a key at least as long as the hash. */
static void _sl_check_secret(struct sl_reader *r, const struct sl_node *n, const struct sl_auth *a)
{
    size_t need = _sl_listed(&a->jwt.algorithms, "HS512")   ? 64
                  : _sl_listed(&a->jwt.algorithms, "HS384") ? 48
                  : _sl_listed(&a->jwt.algorithms, "HS256") ? 32
                                                            : 0;
    if (need && a->jwt.secret.data.n && a->jwt.secret.data.n < need)
        sl_read_warn(r, sl_node_get(n, "secret"),
                     "the secret has fewer than %zu bytes: shorter than the hash can be guessed (RFC 7518 "
                     "section 3.2)",
                     need);
}

/* CGI-like upstreams cannot tell '_' from '-'. */
static bool _sl_same_header(struct sl_slice a, struct sl_slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if ((a.p[i] == '_' ? '-' : sl_lower(a.p[i])) != (b.p[i] == '_' ? '-' : sl_lower(b.p[i])))
            return false;
    return true;
}

static void _sl_claim_headers(struct sl_reader *r, const struct sl_node *n,
                              const struct sl_name_values *claims, struct sl_auth *a)
{
    a->jwt.claims_to_headers = sl_read_alloc(r, claims->n, sizeof(*a->jwt.claims_to_headers));
    if (!a->jwt.claims_to_headers)
        return;
    a->jwt.n_claims_to_headers = claims->n;
    const struct sl_node *list = sl_node_get(n, "claims_to_headers");
    if (claims->n > 64) {
        sl_read_error(r, list, "more than 64 claims");
        return;
    }
    const struct sl_node *c = claims->n ? list->first : NULL;
    for (size_t i = 0; i < claims->n; i++, c = c->next) {
        a->jwt.claims_to_headers[i] = (struct sl_claim_header){claims->v[i].name.p, claims->v[i].value.p};
        for (size_t k = 0; k < i; k++)
            if (claims->v[i].value.n && _sl_same_header(claims->v[i].value, claims->v[k].value))
                sl_read_error(r, c, "two claims in one header: \"" SL_SFMT "\" goes there already",
                              SL_SARG(claims->v[k].name));
    }
}

static void _sl_finish_mtls(struct sl_reader *r, const struct sl_node *n,
                            const struct sl_name_values *headers, struct sl_auth *a)
{
    const struct sl_node *list = sl_node_get(n, "certificate_to_headers");
    a->mtls.headers = sl_read_alloc(r, headers->n, sizeof(*a->mtls.headers));
    if (!a->mtls.headers)
        return;
    a->mtls.n_headers = headers->n;
    const struct sl_node *c = headers->n ? list->first : NULL;
    for (size_t i = 0; i < headers->n; i++, c = c->next) {
        a->mtls.headers[i] =
            (struct sl_cert_header){_sl_cert_field(headers->v[i].name), headers->v[i].value.p};
        for (size_t k = 0; k < i; k++)
            if (headers->v[i].value.n && _sl_same_header(headers->v[i].value, headers->v[k].value))
                sl_read_error(r, c, "two of them in one header: \"" SL_SFMT "\" goes there already",
                              SL_SARG(headers->v[k].name));
    }
}

/* What the gateway signs for upstreams is no access token (RFC 8725 section 3.11, RFC 9068 section 4). */
static void _sl_finish_own(struct sl_auth *a)
{
    if (!a->jwt.signer)
        return;
    a->jwt.issuer = a->jwt.issuer ? a->jwt.issuer : a->jwt.signer->issuer;
    a->jwt.typ = a->jwt.typ ? a->jwt.typ : "at+jwt";
}

static void _sl_finish_auth(struct sl_reader *r, const struct sl_node *n, void *raw_, void *out_)
{
    struct sl_auth_raw *raw = raw_;
    struct sl_auth *out = out_;
    raw->a.name = out->name;
    raw->a.pos = out->pos;
    *out = raw->a;
    out->type = raw->type;
    if (out->type == SL_AUTH_KEY) {
        out->key.in_header = _sl_listed(&raw->in, "header");
        out->key.in_query = _sl_listed(&raw->in, "query");
        return;
    }
    if (out->type == SL_AUTH_BASIC)
        return;
    if (out->type == SL_AUTH_LDAP) {
        sl_finish_ldap(r, n, out);
        return;
    }
    if (out->type == SL_AUTH_MTLS) {
        _sl_finish_mtls(r, n, &raw->claims, out);
        return;
    }
    _sl_claim_headers(r, n, &raw->claims, out);
    if (out->type == SL_AUTH_INTROSPECTION) {
        out->jwt.verify_exp = out->jwt.verify_nbf = true;
        sl_check_introspection(r, n, out);
        return;
    }
    _sl_finish_own(out);
    out->jwt.verify_exp = _sl_listed(&raw->verify, "exp");
    out->jwt.verify_nbf = _sl_listed(&raw->verify, "nbf");
    _sl_check_keys(r, n, out);
    sl_check_remote_keys(r, n, out);
    _sl_check_secret(r, n, out);
}

static const char *_sl_valid_auth_name(struct sl_slice s)
{
    return sl_slice_eq(s, SL_S("public")) ? "is what routes say that need no credentials" : sl_valid_name(s);
}
static const struct sl_type _sl_auth_name = {
    .kind = SL_T_TEXT, .what = "name", .valid = _sl_valid_auth_name, .pattern = "^[A-Za-z0-9._-]{1,64}$"};
static const struct sl_type _sl_auth = {.kind = SL_T_VARIANT,
                                        .size = sizeof(struct sl_auth),
                                        .what = "jwt, introspection, key, basic, mtls or ldap",
                                        .variant = "type",
                                        .variants = _sl_auth_variants,
                                        .raw = sizeof(struct sl_auth_raw),
                                        .finish = _sl_finish_auth};
const struct sl_type sl_type_auths = {.kind = SL_T_NAMED,
                                      .size = sizeof(struct sl_strings),
                                      .what = "a map of providers by name",
                                      .key = &_sl_auth_name,
                                      .item = &_sl_auth,
                                      .names = SL_NAMES_AUTH};
