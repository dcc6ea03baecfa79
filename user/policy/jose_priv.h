/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JOSE signatures (RFC 7515, 7517, 7518, 8037) over OpenSSL. Algorithms are fetched once and a key keeps its
 * prepared verify contexts, since fetching costs more than a hash does.
 *
 * Invariant: a key verifies only the algorithms in its own mask: what its "alg" names, or what its type and
 * curve allow, and of these what the provider lists. A token's header chooses among these and nothing more.
 */
#ifndef SL_POLICY_JOSE_PRIV_H
#define SL_POLICY_JOSE_PRIV_H

#include "config/snapshot.h"

#define SL_RSA_MIN_BITS 2048 /* RFC 7518 section 3.3 */

#include <openssl/evp.h>

/* X(enumerator, name, family, hash bits, bytes of r and s or 0) */
#define SL_JOSE_ALGS(X)             \
    X(RS256, "RS256", RSA, 256, 0)  \
    X(RS384, "RS384", RSA, 384, 0)  \
    X(RS512, "RS512", RSA, 512, 0)  \
    X(PS256, "PS256", PSS, 256, 0)  \
    X(PS384, "PS384", PSS, 384, 0)  \
    X(PS512, "PS512", PSS, 512, 0)  \
    X(ES256, "ES256", EC, 256, 32)  \
    X(ES384, "ES384", EC, 384, 48)  \
    X(ES512, "ES512", EC, 512, 66)  \
    X(EDDSA, "EdDSA", ED, 0, 0)     \
    X(HS256, "HS256", HMAC, 256, 0) \
    X(HS384, "HS384", HMAC, 384, 0) \
    X(HS512, "HS512", HMAC, 512, 0)

enum sl_jose_family { SL_JOSE_RSA, SL_JOSE_PSS, SL_JOSE_EC, SL_JOSE_ED, SL_JOSE_HMAC };
enum sl_jose_alg {
#define SL_X(e, name, family, bits, size) SL_JOSE_##e,
    SL_JOSE_ALGS(SL_X)
#undef SL_X
        SL_JOSE_ALG_COUNT
};
struct sl_jose_info {
    struct sl_slice name;
    enum sl_jose_family family;
    unsigned bits, size;
};
extern const struct sl_jose_info sl_jose_info[SL_JOSE_ALG_COUNT];
#define SL_JOSE_BIT(alg) (1u << (alg))
/* The algorithm of that name, or SL_JOSE_ALG_COUNT. Names are case-sensitive: "None" and "rs256" are none. */
enum sl_jose_alg sl_jose_alg_from(struct sl_slice name);
/* A mask of names; unknown ones are left out. */
uint32_t sl_jose_mask(const struct sl_strings *names);

/* What OpenSSL gives us, fetched once. One per authenticator; used by one thread. */
struct sl_jose {
    EVP_MD *md[3]; /* SHA-256, SHA-384, SHA-512 */
    EVP_MAC *hmac;
    EVP_MD_CTX *hash, *sign;
};
int sl_jose_init(struct sl_jose *j) SL_MUST_CHECK;
void sl_jose_free(struct sl_jose *j);
/* SHA-256 of data: 0 or -EIO. */
int sl_jose_sha256(struct sl_jose *j, struct sl_slice data, unsigned char out[32]) SL_MUST_CHECK;
/* The hash of an algorithm that has one, of *n bytes: 0 or -EIO. */
int sl_jose_digest(struct sl_jose *j, enum sl_jose_alg alg, struct sl_slice data,
                   unsigned char out[EVP_MAX_MD_SIZE], unsigned *n) SL_MUST_CHECK;
/* A context that signs, or verifies, digests of that algorithm (RSA, PSS, EC); NULL where OpenSSL refuses. */
EVP_PKEY_CTX *sl_jose_ctx(struct sl_jose *j, EVP_PKEY *key, enum sl_jose_alg alg, bool sign);

struct sl_jwk {
    struct sl_slice kid; /* p NULL: none */
    uint32_t algs;
    EVP_PKEY *key; /* NULL for HMAC */
    EVP_PKEY_CTX *verify[SL_JOSE_ALG_COUNT];
    EVP_MAC_CTX *mac[SL_JOSE_ALG_COUNT];
};
struct sl_jwks {
    struct sl_arena arena;
    struct sl_jwk *v;
    size_t n;
};
/*
 * Reads a key set. Keys that cannot serve are skipped with a warning at pos; -EINVAL with an error where none
 * is left, or the text is no key set. 0, -EINVAL, -ENOMEM.
 */
int sl_jwks_parse(struct sl_jose *j, struct sl_slice text, uint32_t allowed, const struct sl_pos *pos,
                  struct sl_diag *diag, struct sl_jwks *out) SL_MUST_CHECK;
/* A set of one shared secret without a kid. -EINVAL with an error for an empty one. */
int sl_jwks_secret(struct sl_jose *j, const struct sl_blob *secret, uint32_t allowed, struct sl_diag *diag,
                   struct sl_jwks *out) SL_MUST_CHECK;
void sl_jwks_free(struct sl_jwks *s);

/* Makes the contexts for the algorithms of the key's mask: 0 or -EINVAL. secret for HMAC keys only. */
int sl_jwk_prepare(struct sl_jose *j, struct sl_jwk *k, struct sl_slice secret) SL_MUST_CHECK;
/* Whether sig is the key's over input. alg must be in the key's mask. */
bool sl_jwk_verify(struct sl_jose *j, const struct sl_jwk *k, enum sl_jose_alg alg, struct sl_slice input,
                   struct sl_slice sig);

#endif
