/* SPDX-License-Identifier: Apache-2.0 */
/* A compact JWS (RFC 7515 section 7.1) as a client sent it, and what its claims must say (RFC 7519). */
#ifndef SL_POLICY_TOKEN_PRIV_H
#define SL_POLICY_TOKEN_PRIV_H

#include "policy/jose_priv.h"
#include "policy/json_priv.h"

#define SL_TOKEN_MAX (16 * 1024)

/* X(enumerator, name in metrics, text for the client and the log). In the order of the checks: of several
 * providers' refusals the one that got furthest is told. */
#define SL_TOKEN_ERRORS(X)                                                                           \
    X(TOO_LONG, "too_long", "the token is longer than 16 KiB")                                       \
    X(MALFORMED, "malformed", "the token is no compact JWS of three base64url parts")                \
    X(HEADER, "header", "the token's header is no JSON object as RFC 7515 has it")                   \
    X(CRITICAL, "critical", "the token's header asks for an extension (crit, b64)")                  \
    X(ENCRYPTED, "encrypted", "the token is encrypted")                                              \
    X(ALGORITHM, "algorithm", "the token's algorithm is not one of this provider's")                 \
    X(DOUBLED, "doubled", "the token is given more than once")                                       \
    X(TYPE, "type", "the token's typ is not the one that this provider takes")                       \
    X(ISSUER, "issuer", "the token's issuer is not this provider's")                                 \
    X(KEY, "key", "no key of this provider fits the token's kid and alg")                            \
    X(NO_KEYS, "no_keys", "the keys of this provider could not be fetched yet, or not for too long") \
    X(MEMORY, "memory", "the token could not be looked at: out of memory")                           \
    X(SIGNATURE, "signature", "the token's signature does not verify")                               \
    X(FOREIGN, "foreign", "the token's issuer is not this provider's")                               \
    X(CLAIMS, "claims", "the token's claims are no JSON object, or hold a name twice")               \
    X(NO_EXP, "no_exp", "the token has no exp, or one that is no whole number of seconds")           \
    X(EXPIRED, "expired", "the token has expired")                                                   \
    X(BAD_NBF, "bad_nbf", "the token's nbf is no whole number of seconds")                           \
    X(NOT_YET, "not_yet", "the token is not valid yet")                                              \
    X(AUDIENCE, "audience", "the token is for another audience")                                     \
    X(BAD_CNF, "bad_cnf", "the token's cnf is not as RFC 8705 has it")                               \
    X(UNBOUND, "unbound", "the token belongs to a certificate that this client did not show")        \
    X(INACTIVE, "inactive", "the token is not active, says its authorization server")                \
    X(UNAVAILABLE, "unavailable", "the token's authorization server cannot be asked now")

enum sl_token_error {
    SL_TOKEN_OK,
#define SL_X(e, name, text) SL_TOKEN_##e,
    SL_TOKEN_ERRORS(SL_X)
#undef SL_X
        SL_TOKEN_ERROR_COUNT
};
const char *sl_token_error_text(enum sl_token_error e);

struct sl_token {
    struct sl_slice text;
    struct sl_slice input;   /* what is signed: header.payload */
    struct sl_slice payload; /* base64url */
    struct sl_slice sig;     /* bytes */
    struct sl_slice kid;     /* p NULL: none */
    struct sl_slice typ;     /* p NULL: none; without "application/" */
    enum sl_jose_alg alg;
};

/* Splits and reads the header; nothing is believed yet. */
enum sl_token_error sl_token_parse(struct sl_slice text, struct sl_arena *a, struct sl_token *out);
/* Whether its typ is the one wanted, whatever the case (RFC 7515 section 4.1.9). want NULL: any is. */
bool sl_token_is_type(const struct sl_token *t, const char *want);
/* SL_TOKEN_OK, ALGORITHM, KEY or SIGNATURE. allowed: the provider's algorithms. */
enum sl_token_error sl_token_verify(struct sl_jose *j, const struct sl_jwks *keys, uint32_t allowed,
                                    const struct sl_token *t, bool *checked);
/* The claims; NULL where they are no object. The caller unrefs. */
json_t *sl_token_claims(const struct sl_token *t, struct sl_arena *a);
/* The SHA-256 of the certificate that the claims are bound to (RFC 8705 section 3.1): 1, 0 where they are
 * bound to none, -EINVAL where what they say is no such thing. */
int sl_token_thumbprint(const json_t *claims, unsigned char out[32]);
/* iss, exp, nbf, aud, as the provider wants them. *exp: Unix seconds, 0 where it has none that counts. */
enum sl_token_error sl_token_check(const struct sl_auth *provider, const json_t *claims, uint64_t now,
                                   uint64_t *exp);

#endif
