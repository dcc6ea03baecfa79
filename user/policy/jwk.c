/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets (RFC 7517). A set is shared by services with other needs, so what cannot serve here is skipped. */
#include "policy/b64_priv.h"
#include "policy/jose_priv.h"
#include "policy/json_priv.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#define SL_JWKS_KEYS    256
#define SL_JWKS_BYTES   (1024 * 1024)
#define SL_RSA_MAX_BITS 8192 /* a verify costs the square of it */
#define SL_RSA_E_BITS   64

#define SL_FAMILY(f) (1u << SL_JOSE_##f)

static uint32_t _sl_algs_of(uint32_t families, unsigned size)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < SL_JOSE_ALG_COUNT; i++)
        if ((families & (1u << sl_jose_info[i].family)) && (!size || sl_jose_info[i].size == size))
            mask |= SL_JOSE_BIT(i);
    return mask;
}

static EVP_PKEY *_sl_from_params(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static BIGNUM *_sl_bn(struct sl_arena *a, const json_t *jwk, const char *name)
{
    struct sl_slice raw;
    if (sl_b64_decode_arena(a, sl_json_string(jwk, name), &raw) < 0 || raw.n == 0 || raw.n > 4096)
        return NULL;
    return BN_bin2bn((const unsigned char *)raw.p, (int)raw.n, NULL);
}

static const char *_sl_rsa_check(const BIGNUM *n, const BIGNUM *e)
{
    if (!n || !e)
        return "\"n\" and \"e\" must be base64url numbers";
    if (BN_num_bits(n) < SL_RSA_MIN_BITS)
        return "an RSA key of less than 2048 bits is too weak (RFC 7518 section 3.3)";
    if (BN_num_bits(n) > SL_RSA_MAX_BITS || BN_num_bits(e) > SL_RSA_E_BITS)
        return "an RSA key of more than 8192 bits, or with an exponent of more than 64, costs too much";
    return !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) ? "no RSA key has such numbers" : NULL;
}

static const char *_sl_read_rsa(struct sl_arena *a, const json_t *jwk, struct sl_jwk *k)
{
    BIGNUM *n = _sl_bn(a, jwk, "n"), *e = _sl_bn(a, jwk, "e");
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    const char *wrong = _sl_rsa_check(n, e);
    if (!wrong && bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        k->key = _sl_from_params("RSA", bld);
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    k->algs = _sl_algs_of(SL_FAMILY(RSA) | SL_FAMILY(PSS), 0);
    return wrong ? wrong : k->key ? NULL : "OpenSSL refuses this RSA key";
}

static const char *_sl_read_point(struct sl_arena *a, const json_t *jwk, size_t size, unsigned char *point)
{
    struct sl_slice x, y;
    if (sl_b64_decode_arena(a, sl_json_string(jwk, "x"), &x) < 0 ||
        sl_b64_decode_arena(a, sl_json_string(jwk, "y"), &y) < 0 || x.n != size || y.n != size)
        return "\"x\" and \"y\" must be base64url of the curve's full width (RFC 7518 section 6.2.1.2)";
    point[0] = 4; /* uncompressed */
    memcpy(point + 1, x.p, size);
    memcpy(point + 1 + size, y.p, size);
    return NULL;
}

static const char *_sl_read_ec(struct sl_arena *a, const json_t *jwk, struct sl_jwk *k)
{
    static const struct {
        struct sl_slice crv;
        unsigned size;
    } curves[] = {{{"P-256", 5}, 32}, {{"P-384", 5}, 48}, {{"P-521", 5}, 66}};
    unsigned char point[1 + 2 * 66];
    const struct sl_slice crv = sl_json_string(jwk, "crv");
    size_t i = 0;
    while (i < SL_ARRAY_LEN(curves) && !sl_slice_eq(curves[i].crv, crv))
        i++;
    if (i == SL_ARRAY_LEN(curves))
        return "a curve other than P-256, P-384, P-521";
    const char *wrong = _sl_read_point(a, jwk, curves[i].size, point);
    if (wrong)
        return wrong;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].crv.p, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * curves[i].size) == 1)
        k->key = _sl_from_params("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    k->algs = _sl_algs_of(SL_FAMILY(EC), curves[i].size);
    return k->key ? NULL : "the point is not on the curve";
}

static const char *_sl_read_okp(struct sl_arena *a, const json_t *jwk, struct sl_jwk *k)
{
    struct sl_slice x;
    if (!sl_slice_eq(sl_json_string(jwk, "crv"), SL_S("Ed25519")))
        return "a curve other than Ed25519";
    if (sl_b64_decode_arena(a, sl_json_string(jwk, "x"), &x) < 0 || x.n != 32)
        return "\"x\" must be base64url of 32 bytes (RFC 8037 section 2)";
    k->key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, (const unsigned char *)x.p, x.n);
    k->algs = SL_JOSE_BIT(SL_JOSE_EDDSA);
    return k->key ? NULL : "OpenSSL refuses this Ed25519 key";
}

static const char *_sl_read_oct(struct sl_arena *a, const json_t *jwk, struct sl_jwk *k,
                                struct sl_slice *secret)
{
    if (sl_b64_decode_arena(a, sl_json_string(jwk, "k"), secret) < 0 || secret->n == 0)
        return "\"k\" must be base64url, and not empty";
    k->algs = _sl_algs_of(SL_FAMILY(HMAC), 0);
    return NULL;
}

static bool _sl_may_verify(const json_t *jwk)
{
    const json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops"), *op;
    size_t i;
    if (use && !sl_slice_eq(sl_json_string(jwk, "use"), SL_S("sig")))
        return false;
    if (!ops)
        return true;
    json_array_foreach(ops, i, op)
    {
        if (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0)
            return true;
    }
    return false;
}

/* "ES521" is no algorithm, but what some write for ES512, after its curve: a key of P-521 can verify no other
 * (RFC 7518 section 3.4), so that reading it opens nothing. */
static enum sl_jose_alg _sl_own_alg(struct sl_slice name)
{
    return sl_jose_alg_from(sl_slice_eq(name, SL_S("ES521")) ? SL_S("ES512") : name);
}

/* The key's own "alg" narrows what it may verify (RFC 8725 section 3.1), and so does the provider's list. */
static const char *_sl_pin(const json_t *jwk, uint32_t allowed, struct sl_jwk *k)
{
    const json_t *alg = json_object_get(jwk, "alg");
    if (alg) {
        const enum sl_jose_alg own = _sl_own_alg(sl_json_string(jwk, "alg"));
        if (own == SL_JOSE_ALG_COUNT || !(k->algs & SL_JOSE_BIT(own)))
            return "its \"alg\" is unknown or not of its type and curve";
        k->algs = SL_JOSE_BIT(own);
    }
    k->algs &= allowed;
    return k->algs ? NULL : "it verifies none of the provider's algorithms";
}

static const char *_sl_read_material(struct sl_arena *a, const json_t *jwk, struct sl_jwk *k,
                                     struct sl_slice *secret)
{
    const struct sl_slice kty = sl_json_string(jwk, "kty");
    if (sl_slice_eq(kty, SL_S("RSA")))
        return _sl_read_rsa(a, jwk, k);
    if (sl_slice_eq(kty, SL_S("EC")))
        return _sl_read_ec(a, jwk, k);
    if (sl_slice_eq(kty, SL_S("OKP")))
        return _sl_read_okp(a, jwk, k);
    if (sl_slice_eq(kty, SL_S("oct")))
        return _sl_read_oct(a, jwk, k, secret);
    return "a \"kty\" other than RSA, EC, OKP, oct";
}

static const char *_sl_read_key(struct sl_jose *j, struct sl_arena *a, const json_t *jwk, uint32_t allowed,
                                struct sl_jwk *k)
{
    struct sl_slice secret = SL_SLICE_NUL;
    const json_t *kid = json_object_get(jwk, "kid");
    if (!json_is_object(jwk))
        return "it is no object";
    if (kid && !json_is_string(kid))
        return "its \"kid\" is no string";
    if (!_sl_may_verify(jwk))
        return "it is not for verifying signatures (\"use\", \"key_ops\")";
    const char *wrong = _sl_read_material(a, jwk, k, &secret);
    if (!wrong)
        wrong = _sl_pin(jwk, allowed, k);
    if (!wrong && kid && !(k->kid = sl_arena_copy(a, sl_json_string(jwk, "kid"))).p)
        wrong = "memory is out";
    if (!wrong && sl_jwk_prepare(j, k, secret) < 0)
        wrong = "OpenSSL refuses it";
    if (secret.n)
        OPENSSL_cleanse((void *)secret.p, secret.n);
    return wrong;
}

static void _sl_jwk_free(struct sl_jwk *k)
{
    for (unsigned i = 0; i < SL_JOSE_ALG_COUNT; i++) {
        EVP_PKEY_CTX_free(k->verify[i]);
        EVP_MAC_CTX_free(k->mac[i]);
    }
    EVP_PKEY_free(k->key);
    *k = (struct sl_jwk){0};
}

void sl_jwks_free(struct sl_jwks *s)
{
    for (size_t i = 0; i < s->n; i++)
        _sl_jwk_free(&s->v[i]);
    sl_arena_free(&s->arena);
    *s = (struct sl_jwks){0};
}

static void _sl_read_keys(struct sl_jose *j, const json_t *keys, uint32_t allowed, const struct sl_pos *pos,
                          struct sl_diag *diag, struct sl_jwks *out)
{
    size_t i;
    const json_t *jwk;
    json_array_foreach(keys, i, jwk)
    {
        struct sl_jwk k = {0};
        const char *wrong = _sl_read_key(j, &out->arena, jwk, allowed, &k);
        if (!wrong) {
            out->v[out->n++] = k;
            continue;
        }
        const struct sl_slice kid = sl_json_string(jwk, "kid");
        sl_diag_warn(diag, pos, "key %zu (\"kid\": \"%.*s\") is skipped: %s", i + 1,
                     (int)SL_MIN(kid.n, (size_t)80), kid.p ? kid.p : "", wrong);
        _sl_jwk_free(&k);
        ERR_clear_error();
    }
}

int sl_jwks_parse(struct sl_jose *j, struct sl_slice text, uint32_t allowed, const struct sl_pos *pos,
                  struct sl_diag *diag, struct sl_jwks *out)
{
    SL_JSON json_t *set = text.n <= SL_JWKS_BYTES ? sl_json_object(text) : NULL;
    const json_t *keys = json_object_get(set, "keys");
    *out = (struct sl_jwks){0};
    if (!json_is_array(keys)) {
        sl_diag_error(diag, pos,
                      "no key set: {\"keys\": [...]} of at most 1 MiB is right (RFC 7517 section 5)");
        return -EINVAL;
    }
    if (json_array_size(keys) > SL_JWKS_KEYS) {
        sl_diag_error(diag, pos, "a key set of more than %d keys", SL_JWKS_KEYS);
        return -EINVAL;
    }
    sl_arena_init(&out->arena, 0);
    out->v = sl_arena_zalloc(&out->arena, (json_array_size(keys) + 1) * sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    _sl_read_keys(j, keys, allowed, pos, diag, out);
    if (out->n)
        return 0;
    sl_diag_error(diag, pos, "the key set has no key that can verify one of the provider's algorithms");
    sl_jwks_free(out);
    return -EINVAL;
}

int sl_jwks_secret(struct sl_jose *j, const struct sl_blob *secret, uint32_t allowed, struct sl_diag *diag,
                   struct sl_jwks *out)
{
    *out = (struct sl_jwks){0};
    sl_arena_init(&out->arena, 0);
    if (secret->data.n == 0) {
        sl_diag_error(diag, &secret->pos, "the secret is empty: anybody could sign with it");
        return -EINVAL;
    }
    out->v = sl_arena_zalloc(&out->arena, sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    out->n = 1;
    out->v->algs = allowed & _sl_algs_of(SL_FAMILY(HMAC), 0);
    const int r = sl_jwk_prepare(j, out->v, secret->data);
    if (r < 0)
        sl_jwks_free(out);
    return r;
}
