/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of listeners: certificates, what is negotiated, and what clients must show. */
#include "config/reader_priv.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

static const struct sl_field _sl_certificate_fields[] = {
    {"cert", &sl_type_file, offsetof(struct sl_certificate, cert), NULL, SL_F_REQUIRED,
     "PEM file: the certificate, then those between it and the root."},
    {"key", &sl_type_secret, offsetof(struct sl_certificate, key), NULL, SL_F_REQUIRED,
     "Its private key in PEM, as {$file: PATH}."},
    {"ocsp", &sl_type_file, offsetof(struct sl_certificate, ocsp), NULL, 0,
     "DER file: what its authority says of its standing (RFC 6960), stapled for clients that ask, while it "
     "is "
     "news."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_certificate = {.kind = SL_T_OBJECT,
                                               .size = sizeof(struct sl_certificate),
                                               .what = "a map of cert and key",
                                               .fields = _sl_certificate_fields};
static const struct sl_type _sl_certificates = {.kind = SL_T_LIST,
                                                .size = sizeof(struct sl_strings),
                                                .what = "a list of {cert, key}",
                                                .item = &_sl_certificate,
                                                .some = true};
static const struct sl_choice _sl_versions[] = {
    {"1.2", TLS1_2_VERSION, false}, {"1.3", TLS1_3_VERSION, false}, {NULL, 0, false}};
static const struct sl_type _sl_version = {.kind = SL_T_CHOICE,
                                           .size = sizeof(int),
                                           .what = "\"1.2\" or \"1.3\", in quotes",
                                           .choices = _sl_versions};
/* ---- what is negotiated */

/* OpenSSL passes over names in a list that it does not know, so each is tried by itself. */
static bool _sl_knows(struct sl_slice name, int (*set)(SSL_CTX *, const char *))
{
    char text[64];
    SSL_CTX *ctx = name.n < sizeof(text) ? SSL_CTX_new(TLS_server_method()) : NULL;
    if (!ctx)
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    bool found = set(ctx, text) == 1;
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    const int n = found ? sk_SSL_CIPHER_num(all) : 0;
    found = false;
    for (int i = 0; i < n && !found; i++)
        found = strcmp(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i)), text) == 0;
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return found;
}

static const char *_sl_valid_cipher(struct sl_slice s)
{
    return !sl_slice_starts(s, SL_S("TLS_")) && _sl_knows(s, SSL_CTX_set_cipher_list)
               ? NULL
               : "is no cipher of TLS 1.2 that OpenSSL offers: `openssl ciphers -s -tls1_2` lists them";
}

static const char *_sl_valid_suite(struct sl_slice s)
{
    return sl_slice_starts(s, SL_S("TLS_")) && _sl_knows(s, SSL_CTX_set_ciphersuites)
               ? NULL
               : "is no cipher suite of TLS 1.3 that OpenSSL offers: `openssl ciphers -s -tls1_3` lists them";
}

static const char *_sl_valid_group(struct sl_slice s)
{
    char text[32];
    SSL_CTX *ctx =
        s.n && s.n < sizeof(text) && !memchr(s.p, ':', s.n) ? SSL_CTX_new(TLS_server_method()) : NULL;
    bool known = false;
    if (ctx) {
        memcpy(text, s.p, s.n);
        text[s.n] = '\0';
        known = SSL_CTX_set1_groups_list(ctx, text) == 1;
    }
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return known ? NULL : "is no group that OpenSSL knows: X25519, P-256, P-384, P-521, X448 are";
}

#define SL_NAMES_TYPE(name, check, one, list)                                                 \
    static const struct sl_type _sl_##name = {                                                \
        .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = (one), .valid = (check)}; \
    static const struct sl_type _sl_##name##s = {.kind = SL_T_LIST,                           \
                                                 .size = sizeof(struct sl_strings),           \
                                                 .what = (list),                              \
                                                 .item = &_sl_##name,                         \
                                                 .some = true,                                \
                                                 .unique = true}
SL_NAMES_TYPE(cipher, _sl_valid_cipher, "the name of a cipher",
              "a list of ciphers such as [ECDHE-ECDSA-AES128-GCM-SHA256]");
SL_NAMES_TYPE(suite, _sl_valid_suite, "the name of a cipher suite",
              "a list of cipher suites such as [TLS_AES_128_GCM_SHA256]");
SL_NAMES_TYPE(group, _sl_valid_group, "the name of a group", "a list of groups such as [X25519, P-256]");

/* ---- all of it */

struct sl_tls_raw {
    struct sl_tls_config t;
    struct sl_strings ciphers, ciphersuites, groups;
};
static const struct sl_choice _sl_client_auths[] = {{"none", SL_CLIENT_AUTH_NONE, false},
                                                    {"optional", SL_CLIENT_AUTH_OPTIONAL, false},
                                                    {"required", SL_CLIENT_AUTH_REQUIRED, false},
                                                    {NULL, 0, false}};
static const struct sl_type _sl_client_auth = {.kind = SL_T_CHOICE,
                                               .size = sizeof(enum sl_client_auth),
                                               .what = "one of none, optional, required",
                                               .choices = _sl_client_auths};
#define AT(m) offsetof(struct sl_tls_raw, m)
static const struct sl_field _sl_tls_fields[] = {
    {"certificates", &_sl_certificates, AT(t.certificates), NULL, SL_F_REQUIRED,
     "The client's SNI picks one by its names; the first is the default."},
    {"min_version", &_sl_version, AT(t.min_version), "\"1.2\"", 0, "Oldest TLS version that is spoken."},
    {"client_ca", &sl_type_file, AT(t.client_ca), NULL, 0,
     "PEM file of the authorities that vouch for clients. What stands in it is trusted as it stands; an "
     "intermediate needs no root."},
    {"client_auth", &_sl_client_auth, AT(t.client_auth), NULL, 0,
     "none: clients are asked for no certificate. optional: they may have none, but one that does not verify "
     "ends the handshake. required: they must have one. Not written: required where client_ca is, else "
     "none."},
    {"ciphers", &_sl_ciphers, AT(ciphers), NULL, 0,
     "Of TLS 1.2, best first. Not written: ECDHE with AES-GCM or ChaCha20-Poly1305."},
    {"ciphersuites", &_sl_suites, AT(ciphersuites), NULL, 0,
     "Of TLS 1.3, best first. Not written: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305."},
    {"groups", &_sl_groups, AT(groups), NULL, 0,
     "For the exchange of keys, best first. Not written: OpenSSL's, X25519 first."},
    {"session_tickets", &sl_type_bool, AT(t.session_tickets), "true", 0,
     "Let clients resume sessions. The keys are changed every 12 hours, and those before still read."},
    SL_FIELDS_END,
};
/* NULL: none is written. */
static const char *_sl_joined(struct sl_reader *r, const struct sl_strings *names)
{
    size_t room = 1;
    for (size_t i = 0; i < names->n; i++)
        room += names->v[i].n + 1;
    char *out = names->n ? sl_read_alloc(r, room, 1) : NULL;
    for (size_t i = 0, n = 0; out && i < names->n; i++) {
        if (i)
            out[n++] = ':';
        if (names->v[i].n) /* one that was refused is empty, and nowhere */
            memcpy(out + n, names->v[i].p, names->v[i].n);
        n += names->v[i].n;
    }
    return out;
}

static void _sl_finish_tls(struct sl_reader *r, const struct sl_node *n, void *raw_, void *out)
{
    const struct sl_tls_raw *raw = raw_;
    struct sl_tls_config *t = out;
    const struct sl_node *ca = sl_node_get(n, "client_ca"), *auth = sl_node_get(n, "client_auth");
    *t = raw->t;
    t->enabled = true;
    t->ciphers = _sl_joined(r, &raw->ciphers);
    t->ciphersuites = _sl_joined(r, &raw->ciphersuites);
    t->groups = _sl_joined(r, &raw->groups);
    if (ca && !auth)
        t->client_auth = SL_CLIENT_AUTH_REQUIRED;
    else if (!ca && t->client_auth != SL_CLIENT_AUTH_NONE)
        sl_read_key_error(r, auth, "\"client_ca\" is missing: who vouches for the clients' certificates?");
    else if (ca && t->client_auth == SL_CLIENT_AUTH_NONE)
        sl_read_warn(r, ca, "has no effect: client_auth is none");
}
const struct sl_type sl_type_listener_tls = {.kind = SL_T_OBJECT,
                                             .size = sizeof(struct sl_tls_config),
                                             .what = "a map with certificates",
                                             .fields = _sl_tls_fields,
                                             .raw = sizeof(struct sl_tls_raw),
                                             .finish = _sl_finish_tls};
