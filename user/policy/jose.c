/* SPDX-License-Identifier: Apache-2.0 */
/* Algorithms, and verifying with a prepared key. */
#include "policy/jose_priv.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

const struct sl_jose_info sl_jose_info[SL_JOSE_ALG_COUNT] = {
#define SL_X(e, text, family, bits, size) {{text, sizeof(text) - 1}, SL_JOSE_##family, bits, size},
    SL_JOSE_ALGS(SL_X)
#undef SL_X
};

enum sl_jose_alg sl_jose_alg_from(struct sl_slice name)
{
    unsigned i = 0;
    while (i < SL_JOSE_ALG_COUNT && !sl_slice_eq(sl_jose_info[i].name, name))
        i++;
    return (enum sl_jose_alg)i;
}

uint32_t sl_jose_mask(const struct sl_strings *names)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < names->n; i++) {
        const enum sl_jose_alg alg = sl_jose_alg_from(names->v[i]);
        mask |= alg < SL_JOSE_ALG_COUNT ? SL_JOSE_BIT(alg) : 0;
    }
    return mask;
}

int sl_jose_init(struct sl_jose *j)
{
    static const char *const names[] = {"SHA2-256", "SHA2-384", "SHA2-512"};
    *j = (struct sl_jose){
        .hmac = EVP_MAC_fetch(NULL, "HMAC", NULL), .hash = EVP_MD_CTX_new(), .sign = EVP_MD_CTX_new()};
    bool ok = j->hmac && j->hash && j->sign;
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++)
        ok = (j->md[i] = EVP_MD_fetch(NULL, names[i], NULL)) && ok;
    if (ok)
        return 0;
    sl_jose_free(j);
    return -ENOMEM;
}

void sl_jose_free(struct sl_jose *j)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(j->md); i++)
        EVP_MD_free(j->md[i]);
    EVP_MAC_free(j->hmac);
    EVP_MD_CTX_free(j->hash);
    EVP_MD_CTX_free(j->sign);
    *j = (struct sl_jose){0};
}

static EVP_MD *_sl_md(const struct sl_jose *j, enum sl_jose_alg alg)
{
    return j->md[sl_jose_info[alg].bits / 128 - 2];
}

static int _sl_hash(struct sl_jose *j, const EVP_MD *md, struct sl_slice data, unsigned char *out,
                    unsigned *n)
{
    return EVP_DigestInit_ex2(j->hash, md, NULL) == 1 && EVP_DigestUpdate(j->hash, data.p, data.n) == 1 &&
                   EVP_DigestFinal_ex(j->hash, out, n) == 1
               ? 0
               : -EIO;
}

int sl_jose_sha256(struct sl_jose *j, struct sl_slice data, unsigned char out[32])
{
    return _sl_hash(j, j->md[0], data, out, NULL);
}

int sl_jose_digest(struct sl_jose *j, enum sl_jose_alg alg, struct sl_slice data,
                   unsigned char out[EVP_MAX_MD_SIZE], unsigned *n)
{
    return _sl_hash(j, _sl_md(j, alg), data, out, n);
}

/* ---- preparing */

EVP_PKEY_CTX *sl_jose_ctx(struct sl_jose *j, EVP_PKEY *key, enum sl_jose_alg alg, bool sign)
{
    const enum sl_jose_family family = sl_jose_info[alg].family;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool ok = ctx && (sign ? EVP_PKEY_sign_init(ctx) : EVP_PKEY_verify_init(ctx)) == 1;
    if (ok && family == SL_JOSE_RSA)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    if (ok && family == SL_JOSE_PSS)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1;
    ok = ok && EVP_PKEY_CTX_set_signature_md(ctx, _sl_md(j, alg)) == 1;
    /* RFC 7518 section 3.5: the salt is as long as the hash */
    if (ok && family == SL_JOSE_PSS)
        ok = EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    if (ok)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static EVP_MAC_CTX *_sl_mac_ctx(struct sl_jose *j, struct sl_slice secret, enum sl_jose_alg alg)
{
    char *digest = (char *)EVP_MD_get0_name(_sl_md(j, alg));
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(j->hmac);
    if (ctx && EVP_MAC_init(ctx, (const unsigned char *)secret.p, secret.n, params) == 1)
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

int sl_jwk_prepare(struct sl_jose *j, struct sl_jwk *k, struct sl_slice secret)
{
    bool ok = true;
    for (unsigned i = 0; i < SL_JOSE_ALG_COUNT && ok; i++) {
        const enum sl_jose_alg alg = (enum sl_jose_alg)i;
        if (!(k->algs & SL_JOSE_BIT(alg)) || sl_jose_info[alg].family == SL_JOSE_ED)
            continue;
        if (sl_jose_info[alg].family == SL_JOSE_HMAC)
            ok = (k->mac[alg] = _sl_mac_ctx(j, secret, alg));
        else
            ok = (k->verify[alg] = sl_jose_ctx(j, k->key, alg, false));
    }
    if (!ok)
        ERR_clear_error();
    return ok ? 0 : -EINVAL;
}

/* ---- verifying */

#define SL_DER_MAX (3 + 2 * (2 + 67)) /* of P-521 */

/* An unsigned integer as DER: no leading zeros, one where the top bit is set. 0 for zero, which no signature
 * has. */
static size_t _sl_der_integer(const unsigned char *p, size_t n, unsigned char *out)
{
    while (n && *p == 0) {
        p++;
        n--;
    }
    if (!n)
        return 0;
    const size_t pad = *p >> 7;
    out[0] = 0x02;
    out[1] = (unsigned char)(n + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, p, n);
    return 2 + pad + n;
}

/* r || s of fixed width (RFC 7518 section 3.4) as the SEQUENCE that OpenSSL takes; 0 where it is none. */
static size_t _sl_ecdsa_der(struct sl_slice sig, size_t size, unsigned char out[SL_DER_MAX])
{
    unsigned char body[SL_DER_MAX];
    const unsigned char *p = (const unsigned char *)sig.p;
    if (sig.n != 2 * size)
        return 0;
    const size_t r = _sl_der_integer(p, size, body);
    const size_t s = r ? _sl_der_integer(p + size, size, body + r) : 0;
    if (!s)
        return 0;
    size_t n = 0;
    out[n++] = 0x30;
    if (r + s > 127)
        out[n++] = 0x81;
    out[n++] = (unsigned char)(r + s);
    memcpy(out + n, body, r + s);
    return n + r + s;
}

static bool _sl_verify_mac(EVP_MAC_CTX *key, struct sl_slice input, struct sl_slice sig)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t n = 0;
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(key);
    const bool ok = ctx && EVP_MAC_update(ctx, (const unsigned char *)input.p, input.n) == 1 &&
                    EVP_MAC_final(ctx, mac, &n, sizeof(mac)) == 1 && n == sig.n &&
                    CRYPTO_memcmp(mac, sig.p, n) == 0;
    EVP_MAC_CTX_free(ctx);
    return ok;
}

static bool _sl_verify_ed(struct sl_jose *j, EVP_PKEY *key, struct sl_slice input, struct sl_slice sig)
{
    return sig.n == 64 && EVP_MD_CTX_reset(j->sign) == 1 &&
           EVP_DigestVerifyInit_ex(j->sign, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
           EVP_DigestVerify(j->sign, (const unsigned char *)sig.p, sig.n, (const unsigned char *)input.p,
                            input.n) == 1;
}

static bool _sl_verify_pkey(struct sl_jose *j, EVP_PKEY_CTX *ctx, enum sl_jose_alg alg, struct sl_slice input,
                            struct sl_slice sig)
{
    unsigned char hash[EVP_MAX_MD_SIZE], der[SL_DER_MAX];
    unsigned n = 0;
    if (sl_jose_info[alg].family == SL_JOSE_EC) {
        sig.n = _sl_ecdsa_der(sig, sl_jose_info[alg].size, der);
        sig.p = (const char *)der;
    }
    return sig.n && sl_jose_digest(j, alg, input, hash, &n) == 0 &&
           EVP_PKEY_verify(ctx, (const unsigned char *)sig.p, sig.n, hash, n) == 1;
}

bool sl_jwk_verify(struct sl_jose *j, const struct sl_jwk *k, enum sl_jose_alg alg, struct sl_slice input,
                   struct sl_slice sig)
{
    bool ok;
    if (!(k->algs & SL_JOSE_BIT(alg)))
        return false;
    if (sl_jose_info[alg].family == SL_JOSE_HMAC)
        ok = _sl_verify_mac(k->mac[alg], input, sig);
    else if (sl_jose_info[alg].family == SL_JOSE_ED)
        ok = _sl_verify_ed(j, k->key, input, sig);
    else
        ok = _sl_verify_pkey(j, k->verify[alg], alg, input, sig);
    /* SSL_get_error() takes what is left in the queue for the connection's own failure. */
    if (!ok)
        ERR_clear_error();
    return ok;
}
