/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that the gateway signs by. Invariant: a compiled signer has at least one key, and the first has its
 * secret half; a key signs by one algorithm, which its type and the policy say.
 */
#ifndef SL_POLICY_SIGNER_PRIV_H
#define SL_POLICY_SIGNER_PRIV_H

#include "policy/jose_priv.h"
#include "policy/signer.h"

#define SL_KID_CHARS     43   /* base64url of a SHA-256 */
#define SL_SIGNATURE_MAX 1024 /* bytes: of RSA with 8192 bits */

struct sl_signing_key {
    EVP_PKEY *key;
    enum sl_jose_alg alg;
    EVP_PKEY_CTX *sign; /* NULL: Ed25519, or a key that does not sign */
    char kid[SL_KID_CHARS + 1];
};
struct sl_signer_keys {
    struct sl_signing_key *v;
    size_t n;
};

/* 0; -EINVAL with errors at the keys' places; -ENOMEM. */
int sl_signer_open(struct sl_jose *j, const struct sl_signer *cfg, struct sl_diag *diag,
                   struct sl_signer_keys *out) SL_MUST_CHECK;
/* Appends what is published of them: 0 or -ENOMEM. */
int sl_signer_print(const struct sl_signer_keys *s, struct sl_buf *out) SL_MUST_CHECK;
void sl_signer_close(struct sl_signer_keys *s);
/*
 * A compact JWS (RFC 7515 section 7.1) of that payload by the signer's first key, in the arena. typ: "JWT",
 * "at+jwt". p NULL: memory is out, or OpenSSL failed.
 */
struct sl_slice sl_signer_sign(struct sl_jose *j, const struct sl_signer_keys *s, const char *typ,
                               struct sl_slice payload, struct sl_arena *a);

#endif
