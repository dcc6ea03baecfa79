/* SPDX-License-Identifier: Apache-2.0 */
/* Signers: their keys from PEM, named by thumbprint, and published. */
#include "config/key_pair.h"
#include "policy/b64_priv.h"
#include "policy/signer_priv.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#define SL_RSA_MAX_BITS   8192
#define SL_RSA_CHECK_BITS 4096 /* of so many OpenSSL's own check takes half a second, of 8192 five */

/* ---- from PEM */

static int _sl_no_passphrase(char *buf, int size, int rwflag, void *u)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)u = true;
    return -1;
}

static EVP_PKEY *_sl_read(const struct sl_blob *blob, bool secret, bool *encrypted)
{
    BIO *bio = BIO_new_mem_buf(blob->data.p, (int)blob->data.n);
    EVP_PKEY *key = NULL;
    if (bio && secret)
        key = PEM_read_bio_PrivateKey(bio, NULL, _sl_no_passphrase, encrypted);
    else if (bio)
        key = PEM_read_bio_PUBKEY(bio, NULL, _sl_no_passphrase, encrypted);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static bool _sl_is_curve(EVP_PKEY *key, const char *name)
{
    char group[64];
    size_t n = 0;
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
           strcmp(group, name) == 0;
}

/* SL_JOSE_ALG_COUNT, with why, where it signs nothing here. */
static enum sl_jose_alg _sl_alg_of(const struct sl_signer *cfg, EVP_PKEY *key, const char **why)
{
    if (_sl_is_curve(key, "prime256v1"))
        return SL_JOSE_ES256;
    if (_sl_is_curve(key, "secp384r1"))
        return SL_JOSE_ES384;
    if (EVP_PKEY_is_a(key, "ED25519"))
        return SL_JOSE_EDDSA;
    *why = "this key is none of P-256, P-384, Ed25519, RSA";
    if (!EVP_PKEY_is_a(key, "RSA"))
        return SL_JOSE_ALG_COUNT;
    const int bits = EVP_PKEY_get_bits(key);
    *why = bits < SL_RSA_MIN_BITS ? "an RSA key of less than 2048 bits is too weak (RFC 7518 section 3.3)"
                                  : "an RSA key of more than 8192 bits costs too much";
    return bits < SL_RSA_MIN_BITS || bits > SL_RSA_MAX_BITS ? SL_JOSE_ALG_COUNT
                                                            : sl_jose_alg_from(cfg->rsa_algorithm);
}

/* ---- names and what is published */

/* A number of the key, base64url, of that many bytes (0: as many as it takes). */
static struct sl_slice _sl_number(EVP_PKEY *key, const char *param, size_t size, struct sl_arena *a)
{
    BIGNUM *bn = NULL;
    struct sl_slice out = SL_SLICE_NUL;
    if (EVP_PKEY_get_bn_param(key, param, &bn) != 1)
        return out;
    const size_t n = size ? size : (size_t)BN_num_bytes(bn);
    unsigned char *raw = sl_arena_alloc(a, n + 1);
    if (raw && BN_bn2binpad(bn, raw, (int)n) == (int)n)
        out = sl_b64_encode_arena(a, sl_slice((const char *)raw, n));
    BN_free(bn);
    return out;
}

static char *_sl_ec_members(EVP_PKEY *key, unsigned size, struct sl_arena *a)
{
    const struct sl_slice x = _sl_number(key, OSSL_PKEY_PARAM_EC_PUB_X, size, a),
                          y = _sl_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, size, a);
    return x.p && y.p ? sl_arena_printf(
                            a, "\"crv\":\"P-%u\",\"kty\":\"EC\",\"x\":\"" SL_SFMT "\",\"y\":\"" SL_SFMT "\"",
                            size * 8, SL_SARG(x), SL_SARG(y))
                      : NULL;
}

static char *_sl_okp_members(EVP_PKEY *key, struct sl_arena *a)
{
    unsigned char raw[32];
    size_t n = sizeof(raw);
    if (EVP_PKEY_get_raw_public_key(key, raw, &n) != 1)
        return NULL;
    const struct sl_slice x = sl_b64_encode_arena(a, sl_slice((const char *)raw, n));
    return x.p ? sl_arena_printf(a, "\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"" SL_SFMT "\"", SL_SARG(x))
               : NULL;
}

static char *_sl_rsa_members(EVP_PKEY *key, struct sl_arena *a)
{
    const struct sl_slice e = _sl_number(key, OSSL_PKEY_PARAM_RSA_E, 0, a),
                          n = _sl_number(key, OSSL_PKEY_PARAM_RSA_N, 0, a);
    return e.p && n.p ? sl_arena_printf(a, "\"e\":\"" SL_SFMT "\",\"kty\":\"RSA\",\"n\":\"" SL_SFMT "\"",
                                        SL_SARG(e), SL_SARG(n))
                      : NULL;
}

/* The members that make the key, in the order that RFC 7638 section 3 hashes them in; NULL: failed. */
static char *_sl_members(const struct sl_signing_key *k, struct sl_arena *a)
{
    switch (sl_jose_info[k->alg].family) {
    case SL_JOSE_EC:
        return _sl_ec_members(k->key, sl_jose_info[k->alg].size, a);
    case SL_JOSE_ED:
        return _sl_okp_members(k->key, a);
    default:
        return _sl_rsa_members(k->key, a);
    }
}

/* RFC 7638 */
static int _sl_name(struct sl_jose *j, struct sl_signing_key *k, struct sl_arena *a)
{
    unsigned char hash[32];
    const char *members = _sl_members(k, a);
    const char *text = members ? sl_arena_printf(a, "{%s}", members) : NULL;
    if (!text || sl_jose_sha256(j, sl_slice_str(text), hash) < 0)
        return -ENOMEM;
    (void)sl_b64_encode(sl_slice((const char *)hash, sizeof(hash)), k->kid);
    return 0;
}

/* ---- opening */

static int _sl_wrong(const struct sl_blob *blob, struct sl_diag *diag, const char *why)
{
    sl_diag_error(diag, &blob->pos, "%s", why);
    return -EINVAL;
}

static int _sl_open_key(struct sl_jose *j, const struct sl_signer *cfg, size_t i, struct sl_diag *diag,
                        struct sl_signing_key *k)
{
    const struct sl_blob *blob = &cfg->keys[i];
    bool encrypted = false;
    const char *why = NULL;
    k->key = _sl_read(blob, true, &encrypted);
    if (!k->key && i > 0 && !encrypted)
        k->key = _sl_read(blob, false, &encrypted);
    if (!k->key)
        return _sl_wrong(blob, diag,
                         encrypted
                             ? "the key is encrypted: give it without a passphrase, readable to root only"
                         : i ? "holds no key in PEM, neither private nor public"
                             : "holds no private key in PEM: the first key signs");
    k->alg = _sl_alg_of(cfg, k->key, &why);
    if (k->alg == SL_JOSE_ALG_COUNT)
        return _sl_wrong(blob, diag, why);
    if (i == 0 && k->alg != SL_JOSE_EDDSA && !(k->sign = sl_jose_ctx(j, k->key, k->alg, true)))
        return _sl_wrong(blob, diag, "OpenSSL refuses to sign by this key");
    return 0;
}

static int _sl_open_all(struct sl_jose *j, const struct sl_signer *cfg, struct sl_diag *diag,
                        struct sl_signer_keys *out)
{
    struct sl_arena a;
    int r = 0;
    sl_arena_init(&a, 0);
    for (size_t i = 0; i < cfg->n_keys; i++) {
        struct sl_signing_key *k = &out->v[out->n++];
        int e = _sl_open_key(j, cfg, i, diag, k);
        if (e == 0)
            e = _sl_name(j, k, &a);
        for (size_t o = 0; e == 0 && o < i; o++)
            if (strcmp(out->v[o].kid, k->kid) == 0)
                e = _sl_wrong(&cfg->keys[i], diag, "this key stands twice in this signer");
        r = e < 0 ? e : r;
    }
    sl_arena_free(&a);
    return r;
}

int sl_signer_open(struct sl_jose *j, const struct sl_signer *cfg, struct sl_diag *diag,
                   struct sl_signer_keys *out)
{
    *out = (struct sl_signer_keys){.v = calloc(cfg->n_keys + 1, sizeof(*out->v))};
    const int r = out->v ? _sl_open_all(j, cfg, diag, out) : -ENOMEM;
    ERR_clear_error();
    if (r < 0)
        sl_signer_close(out);
    return r;
}

void sl_signer_close(struct sl_signer_keys *s)
{
    for (size_t i = 0; s->v && i < s->n; i++) {
        EVP_PKEY_CTX_free(s->v[i].sign);
        EVP_PKEY_free(s->v[i].key);
    }
    free(s->v);
    *s = (struct sl_signer_keys){0};
}

/* ---- whether the halves match */

/* OpenSSL looks whether an RSA key's factors are primes too: of a large one that would hold up the supervisor
 * until its watchdog bites. */
static bool _sl_is_whole(EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) > SL_RSA_CHECK_BITS)
        return sl_key_signs_for(key, key);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    const bool ok = ctx && EVP_PKEY_pairwise_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* What is no private key, or none that can serve, sl_signer_open() tells of. */
static int _sl_check_key(const struct sl_signer *cfg, const struct sl_blob *blob, struct sl_diag *diag)
{
    bool encrypted = false;
    const char *why = NULL;
    EVP_PKEY *key = _sl_read(blob, true, &encrypted);
    int r = 0;
    if (key && _sl_alg_of(cfg, key, &why) != SL_JOSE_ALG_COUNT && !_sl_is_whole(key))
        r = _sl_wrong(blob, diag,
                      "the private and the public half of this key do not match, or its numbers are not of "
                      "one key: a key as openssl genpkey writes it is right");
    EVP_PKEY_free(key);
    return r;
}

int sl_signer_check(const struct sl_signer *cfg, struct sl_diag *diag)
{
    int r = 0;
    for (size_t i = 0; i < cfg->n_keys; i++)
        if (_sl_check_key(cfg, &cfg->keys[i], diag) < 0)
            r = -EINVAL;
    ERR_clear_error();
    return r;
}

/* ---- the key set */

int sl_signer_print(const struct sl_signer_keys *s, struct sl_buf *out)
{
    struct sl_arena a;
    sl_arena_init(&a, 0);
    int r = sl_buf_append_slice(out, SL_S("{\"keys\":["));
    for (size_t i = 0; r == 0 && i < s->n; i++) {
        const char *members = _sl_members(&s->v[i], &a);
        r = members ? sl_buf_printf(out, "%s{%s,\"kid\":\"%s\",\"alg\":\"%s\",\"use\":\"sig\"}", i ? "," : "",
                                    members, s->v[i].kid, sl_jose_info[s->v[i].alg].name.p)
                    : -ENOMEM;
    }
    sl_arena_free(&a);
    return r < 0 ? r : sl_buf_append_slice(out, SL_S("]}"));
}

int sl_signer_jwks(const struct sl_signer *cfg, struct sl_diag *diag, struct sl_buf *out)
{
    struct sl_jose j;
    struct sl_signer_keys s = {0};
    int r = sl_jose_init(&j);
    if (r < 0)
        return r;
    r = sl_signer_open(&j, cfg, diag, &s);
    if (r == 0)
        r = sl_signer_print(&s, out);
    sl_signer_close(&s);
    sl_jose_free(&j);
    return r;
}

int sl_signer_each(const struct sl_signer *cfg, sl_signer_key_fn f, void *ctx)
{
    struct sl_jose j;
    struct sl_diag diag;
    struct sl_signer_keys s = {0};
    int r = sl_jose_init(&j);
    if (r < 0)
        return r;
    sl_diag_init(&diag);
    r = sl_signer_open(&j, cfg, &diag, &s);
    for (size_t i = 0; i < s.n; i++)
        f(ctx, s.v[i].kid, sl_jose_info[s.v[i].alg].name.p, i == 0);
    sl_signer_close(&s);
    sl_diag_free(&diag);
    sl_jose_free(&j);
    return r;
}
