/* SPDX-License-Identifier: Apache-2.0 */
/* Making a compact JWS (RFC 7515 section 7.1). */
#include "policy/b64_priv.h"
#include "policy/signer_priv.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>

/* RFC 7518 section 3.4: r || s of the curve's full width, of the SEQUENCE that OpenSSL gives. */
static size_t _sl_raw_ecdsa(const unsigned char *der, size_t n, unsigned size, unsigned char *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    const bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)size) == (int)size &&
                    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + size, (int)size) == (int)size;
    ECDSA_SIG_free(sig);
    return ok ? 2 * (size_t)size : 0;
}

static size_t _sl_sign_ed(struct sl_jose *j, EVP_PKEY *key, struct sl_slice input, unsigned char *out)
{
    size_t n = SL_SIGNATURE_MAX;
    return EVP_MD_CTX_reset(j->sign) == 1 &&
                   EVP_DigestSignInit_ex(j->sign, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
                   EVP_DigestSign(j->sign, out, &n, (const unsigned char *)input.p, input.n) == 1
               ? n
               : 0;
}

/* Bytes of the signature; 0: it failed. */
static size_t _sl_sign(struct sl_jose *j, const struct sl_signing_key *k, struct sl_slice input,
                       unsigned char out[SL_SIGNATURE_MAX])
{
    unsigned char hash[EVP_MAX_MD_SIZE], raw[SL_SIGNATURE_MAX] = {0};
    const bool ec = sl_jose_info[k->alg].family == SL_JOSE_EC;
    unsigned hash_n = 0;
    size_t n = SL_SIGNATURE_MAX;
    if (k->alg == SL_JOSE_EDDSA)
        return _sl_sign_ed(j, k->key, input, out);
    if (sl_jose_digest(j, k->alg, input, hash, &hash_n) < 0 ||
        EVP_PKEY_sign(k->sign, raw, &n, hash, hash_n) != 1)
        return 0;
    if (ec)
        return _sl_raw_ecdsa(raw, n, sl_jose_info[k->alg].size, out);
    memcpy(out, raw, n);
    return n;
}

struct sl_slice sl_signer_sign(struct sl_jose *j, const struct sl_signer_keys *s, const char *typ,
                               struct sl_slice payload, struct sl_arena *a)
{
    const struct sl_signing_key *k = &s->v[0];
    unsigned char sig[SL_SIGNATURE_MAX];
    char head[128];
    const int head_n = snprintf(head, sizeof(head), "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"%s\"}",
                                sl_jose_info[k->alg].name.p, k->kid, typ);
    char *out = sl_arena_alloc(a, SL_B64_CHARS(sizeof(head)) + SL_B64_CHARS(payload.n) +
                                      SL_B64_CHARS(sizeof(sig)) + 2);
    if (!out || head_n < 0 || (size_t)head_n >= sizeof(head))
        return SL_SLICE_NUL;
    size_t n = sl_b64_encode(sl_slice(head, (size_t)head_n), out);
    out[n++] = '.';
    n += sl_b64_encode(payload, out + n);
    const size_t sig_n = _sl_sign(j, k, sl_slice(out, n), sig);
    if (!sig_n) { /* SSL_get_error() takes what is left in the queue for a connection's own failure */
        ERR_clear_error();
        return SL_SLICE_NUL;
    }
    out[n++] = '.';
    n += sl_b64_encode(sl_slice((const char *)sig, sig_n), out + n);
    return sl_slice(out, n);
}
