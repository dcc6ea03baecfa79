/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway itself signs: the keys, and what upstreams are shown. */
#include "config/reader_priv.h"

/* ---- signers */

static const struct sl_type _sl_signing_key = {.kind = SL_T_SECRET,
                                               .size = sizeof(struct sl_blob),
                                               .what = "a private key in PEM: {$file: PATH}",
                                               .secret = true};
static const struct sl_type _sl_signing_keys = {.kind = SL_T_LIST,
                                                .size = sizeof(struct sl_strings),
                                                .what = "a list of keys such as [{$file: gateway.pem}]",
                                                .item = &_sl_signing_key,
                                                .some = true};
static const struct sl_choice _sl_rsa_choices[] = {
    {"RS256", 0, false}, {"RS384", 0, false}, {"RS512", 0, false}, {"PS256", 0, false},
    {"PS384", 0, false}, {"PS512", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_rsa = {.kind = SL_T_TEXT,
                                       .size = sizeof(struct sl_slice),
                                       .what = "one of RS256, RS384, RS512, PS256, PS384, PS512",
                                       .choices = _sl_rsa_choices};
#define AT(m) offsetof(struct sl_signer, m)
static const struct sl_field _sl_signer_fields[] = {
    {"issuer", &sl_type_string, AT(issuer), NULL, SL_F_REQUIRED,
     "iss of what it signs, as \"https://gateway.internal\"."},
    {"keys", &_sl_signing_keys, AT(keys), NULL, SL_F_REQUIRED,
     "Private keys in PEM: P-256, P-384, Ed25519, or RSA of 2048 bits and more. The first one signs, all are "
     "published; of those that do not sign the public half is enough."},
    {"rsa_algorithm", &_sl_rsa, AT(rsa_algorithm), "\"RS256\"", 0,
     "What RSA keys sign by. Of the others it follows from the key: ES256, ES384, EdDSA."},
    SL_FIELDS_END,
};
#undef AT
#define SL_SIGNING_KEYS 16
static void _sl_finish_signer(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_signer *s = out;
    (void)raw;
    if (s->n_keys > SL_SIGNING_KEYS)
        sl_read_error(r, sl_node_get(n, "keys"), "more than %d keys", SL_SIGNING_KEYS);
}
static const struct sl_type _sl_signer = {.kind = SL_T_OBJECT,
                                          .size = sizeof(struct sl_signer),
                                          .what = "a map of issuer and keys",
                                          .fields = _sl_signer_fields,
                                          .finish = _sl_finish_signer};
const struct sl_type sl_type_signers = {.kind = SL_T_NAMED,
                                        .size = sizeof(struct sl_strings),
                                        .what = "a map of signers by name",
                                        .key = &sl_type_name,
                                        .item = &_sl_signer,
                                        .names = SL_NAMES_SIGNER};
const struct sl_type sl_type_signer_ref = {.kind = SL_T_REF,
                                           .size = sizeof(void *),
                                           .what = "the name of a signer",
                                           .names = SL_NAMES_SIGNER,
                                           .one = "signer"};

/* ---- what upstreams are shown */

static const struct sl_choice _sl_auth_choices[] = {
    {"none", SL_UPSTREAM_AUTH_NONE, false},
    {"sign", SL_UPSTREAM_AUTH_SIGN, false},
    {"client_credentials", SL_UPSTREAM_AUTH_CLIENT_CREDENTIALS, false},
    {"token_exchange", SL_UPSTREAM_AUTH_TOKEN_EXCHANGE, false},
    {NULL, 0, false}};
const struct sl_type sl_type_upstream_auth_type = {.kind = SL_T_CHOICE,
                                                   .size = sizeof(enum sl_upstream_auth_type),
                                                   .what = "none, sign, client_credentials or token_exchange",
                                                   .choices = _sl_auth_choices};

/* Not where the upstream looks for something else. */
static const char *_sl_valid_token_header(struct sl_slice s)
{
    static const char *const taken[] = {"host", "cookie", "expect", "range", "content-type", "accept"};
    for (size_t i = 0; i < SL_ARRAY_LEN(taken); i++)
        if (sl_slice_ieq(s, sl_slice_str(taken[i])))
            return "says something else: Authorization is right, or a name such as X-Gateway-Token";
    return sl_valid_header(s);
}
const struct sl_type sl_type_token_header = {.kind = SL_T_TEXT,
                                             .size = sizeof(struct sl_slice),
                                             .what = "a header name",
                                             .valid = _sl_valid_token_header,
                                             .pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"};
static const struct sl_type _sl_lifetime = {.kind = SL_T_DURATION,
                                            .size = sizeof(uint64_t),
                                            .what = "a duration such as \"5m\"",
                                            .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                            .min = "10s",
                                            .max = "1h"};
static const char *_sl_valid_own_claim(struct sl_slice s)
{
    static const char *const ours[] = {"iss", "aud", "sub", "exp", "nbf", "iat", "jti"};
    for (size_t i = 0; i < SL_ARRAY_LEN(ours); i++)
        if (sl_slice_eq(s, sl_slice_str(ours[i])))
            return "is set by a key of its own (issuer, audiences, subject, lifetime), or by the gateway";
    return s.n ? sl_valid_plain(s) : "is empty";
}
static const struct sl_type _sl_own_claim = {
    .kind = SL_T_TEXT, .what = "name of a claim", .valid = _sl_valid_own_claim};
static const struct sl_type _sl_claim_value = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a string", .valid = sl_valid_plain};
static const struct sl_type _sl_own_claims = {.kind = SL_T_PAIRS,
                                              .size = sizeof(struct sl_name_values),
                                              .what = "a map of claims to values",
                                              .key = &_sl_own_claim,
                                              .item = &_sl_claim_value};

#define AT(m) offsetof(struct sl_upstream_auth, m)
static const struct sl_field _sl_none_fields[] = {
    {"type", &sl_type_upstream_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "none: nothing is added, whatever the upstream's own upstream_auth says."},
    SL_FIELDS_END,
};
static const struct sl_field _sl_sign_fields[] = {
    {"type", &sl_type_upstream_auth_type, AT(type), NULL, SL_F_REQUIRED,
     "sign: a short JWT of the gateway's own, signed by one of the signers."},
    {"header", &sl_type_token_header, AT(header), "\"Authorization\"", 0,
     "Where the token stands, over whatever the client sent there: behind \"Bearer\" in Authorization, alone "
     "elsewhere."},
    {"signer", &sl_type_signer_ref, AT(sign.signer), NULL, SL_F_REQUIRED, "Who signs it."},
    {"audiences", &sl_type_strings, AT(sign.audiences), NULL, 0, "aud: whom it is for."},
    {"subject", &_sl_claim_value, AT(sign.subject), "\"$consumer\"", 0,
     "sub, with variables. Left out where it is empty."},
    {"claims", &_sl_own_claims, AT(sign.claims), NULL, 0,
     "More claims, with the variables $consumer $tier $route $claim.NAME; a value that is one $claim.NAME "
     "and "
     "nothing else is that claim with its type. What is empty is left out."},
    {"lifetime", &_sl_lifetime, AT(sign.lifetime), "\"5m\"", 0,
     "From iat to exp. A token is used again until shortly before that."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_variant _sl_auth_variants[] = {{"none", _sl_none_fields},
                                                      {"sign", _sl_sign_fields},
                                                      {"client_credentials", sl_client_credentials_fields},
                                                      {"token_exchange", sl_token_exchange_fields},
                                                      {NULL, NULL}};

#define SL_OWN_CLAIMS 32
static void _sl_finish_upstream_auth(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_upstream_auth *a = out;
    (void)raw;
    a->pos = sl_read_pos(r, n);
    if (a->type > SL_UPSTREAM_AUTH_SIGN)
        sl_check_upstream_token(r, n, a);
    if (a->type == SL_UPSTREAM_AUTH_SIGN && a->sign.claims.n > SL_OWN_CLAIMS)
        sl_read_error(r, sl_node_get(n, "claims"), "more than %d claims", SL_OWN_CLAIMS);
}
const struct sl_type sl_type_upstream_auth = {.kind = SL_T_VARIANT,
                                              .size = sizeof(struct sl_upstream_auth),
                                              .what = "none, sign, client_credentials or token_exchange",
                                              .variant = "type",
                                              .variants = _sl_auth_variants,
                                              .finish = _sl_finish_upstream_auth};
