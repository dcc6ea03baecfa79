/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens as an issuer makes them, and as attackers do: keys are made anew in each run. */
#ifndef SL_TEST_SIGN_H
#define SL_TEST_SIGN_H

#include "harness/b64url.h"
#include "policy/jose_priv.h"
#include "policy_test.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

struct signer {
    enum sl_jose_alg alg;
    EVP_PKEY *key;          /* NULL for HS* */
    struct sl_slice secret; /* of HS* */
    const char *kid;
};

static SL_UNUSED struct sl_slice b64(struct sl_slice raw)
{
    return b64url(&arena, raw);
}

static SL_UNUSED EVP_PKEY *new_key(enum sl_jose_alg alg)
{
    switch (sl_jose_info[alg].family) {
    case SL_JOSE_RSA:
    case SL_JOSE_PSS:
        return EVP_RSA_gen(2048);
    case SL_JOSE_EC:
        return EVP_EC_gen(alg == SL_JOSE_ES256 ? "P-256" : alg == SL_JOSE_ES384 ? "P-384" : "P-521");
    case SL_JOSE_ED:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    default:
        return NULL;
    }
}

static SL_UNUSED const EVP_MD *md_of(enum sl_jose_alg alg)
{
    const unsigned bits = sl_jose_info[alg].bits;
    return bits == 256 ? EVP_sha256() : bits == 384 ? EVP_sha384() : bits == 512 ? EVP_sha512() : NULL;
}

/* DER to r || s (RFC 7518 section 3.4). */
static SL_UNUSED struct sl_slice raw_ecdsa(const unsigned char *der, size_t n, unsigned size)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    unsigned char *out = sl_arena_zalloc(&arena, 2 * size);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)size);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + size, (int)size);
    ECDSA_SIG_free(sig);
    return sl_slice((char *)out, 2 * size);
}

static SL_UNUSED struct sl_slice sign_bytes(const struct signer *s, struct sl_slice input)
{
    unsigned char *sig = sl_arena_alloc(&arena, 1024);
    size_t n = 1024;
    if (sl_jose_info[s->alg].family == SL_JOSE_HMAC) {
        assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, EVP_MD_get0_name(md_of(s->alg)), NULL, s->secret.p,
                                  s->secret.n, (const unsigned char *)input.p, input.n, sig, n, &n));
        return sl_slice((char *)sig, n);
    }
    EVP_PKEY_CTX *pctx;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, md_of(s->alg), NULL, s->key), 1);
    if (sl_jose_info[s->alg].family == SL_JOSE_PSS) {
        assert_true(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0);
        assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0);
    }
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const unsigned char *)input.p, input.n), 1);
    EVP_MD_CTX_free(ctx);
    if (sl_jose_info[s->alg].family == SL_JOSE_EC)
        return raw_ecdsa(sig, n, sl_jose_info[s->alg].size);
    return sl_slice((char *)sig, n);
}

static SL_UNUSED struct sl_slice join3(struct sl_slice a, struct sl_slice b, struct sl_slice c)
{
    const char *t =
        sl_arena_printf(&arena, SL_SFMT "." SL_SFMT "." SL_SFMT, SL_SARG(a), SL_SARG(b), SL_SARG(c));
    return sl_slice_str(t);
}

/* Header and claims in single quotes, exactly as written. */
static SL_UNUSED struct sl_slice token_of(const struct signer *s, const char *header, const char *claims)
{
    const struct sl_slice h = b64(quoted(header)), c = b64(quoted(claims));
    const char *input = sl_arena_printf(&arena, SL_SFMT "." SL_SFMT, SL_SARG(h), SL_SARG(c));
    return join3(h, c, b64(sign_bytes(s, sl_slice_str(input))));
}

static SL_UNUSED struct sl_slice token(const struct signer *s, const char *claims)
{
    const char *kid = s->kid ? sl_arena_printf(&arena, ", 'kid': '%s'", s->kid) : "";
    return token_of(
        s, sl_arena_printf(&arena, "{'alg': '%s', 'typ': 'JWT'%s}", sl_jose_info[s->alg].name.p, kid),
        claims);
}

static SL_UNUSED struct sl_slice bn_b64(EVP_PKEY *key, const char *param, int size)
{
    BIGNUM *bn = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &bn), 1);
    const int n = size ? size : BN_num_bytes(bn);
    unsigned char *raw = sl_arena_alloc(&arena, (size_t)n);
    BN_bn2binpad(bn, raw, n);
    BN_free(bn);
    return b64(sl_slice((char *)raw, (size_t)n));
}

/* The public part, in single quotes; more: further members, "'use': 'sig'". */
static SL_UNUSED const char *jwk_of(const struct signer *s, const char *more)
{
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    const struct sl_jose_info *info = &sl_jose_info[s->alg];
    const char *tail =
        sl_arena_printf(&arena, "%s%s%s%s%s}", s->kid ? ", 'kid': '" : "", s->kid ? s->kid : "",
                        s->kid ? "'" : "", more ? ", " : "", more ? more : "");
    unsigned char raw[64];
    size_t n = sizeof(raw);
    if (info->family == SL_JOSE_RSA || info->family == SL_JOSE_PSS)
        return sl_arena_printf(&arena, "{'kty': 'RSA', 'n': '" SL_SFMT "', 'e': 'AQAB'%s",
                               SL_SARG(bn_b64(s->key, OSSL_PKEY_PARAM_RSA_N, 0)), tail);
    if (info->family == SL_JOSE_EC)
        return sl_arena_printf(&arena, "{'kty': 'EC', 'crv': '%s', 'x': '" SL_SFMT "', 'y': '" SL_SFMT "'%s",
                               curves[s->alg - SL_JOSE_ES256],
                               SL_SARG(bn_b64(s->key, OSSL_PKEY_PARAM_EC_PUB_X, (int)info->size)),
                               SL_SARG(bn_b64(s->key, OSSL_PKEY_PARAM_EC_PUB_Y, (int)info->size)), tail);
    if (info->family == SL_JOSE_HMAC)
        return sl_arena_printf(&arena, "{'kty': 'oct', 'k': '" SL_SFMT "'%s", SL_SARG(b64(s->secret)), tail);
    assert_int_equal(EVP_PKEY_get_raw_public_key(s->key, raw, &n), 1);
    return sl_arena_printf(&arena, "{'kty': 'OKP', 'crv': 'Ed25519', 'x': '" SL_SFMT "'%s",
                           SL_SARG(b64(sl_slice((char *)raw, n))), tail);
}

#endif
