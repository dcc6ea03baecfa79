/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule of TLS 1.3 (RFC 8446 section 7.1) as an OpenSSL provider, "sluice", whose only algorithm
 * is TLS13-KDF (EVP_KDF-TLS13_KDF(7)). A handshake derives twenty-odd secrets, and for each of them OpenSSL's
 * own looks up HMAC and hash by name and makes both anew: most of what the schedule costs. Here the hashes
 * are looked up once. Hashing stays OpenSSL's; where openssl.cnf wants other properties (fips=yes), so does
 * the schedule.
 *
 * libssl says all with the call that derives, which is read where it stands. What is set before is copied.
 */
#include "net/tls_priv.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/proverr.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdlib.h>

enum { SL_KDF_KEY, SL_KDF_SALT, SL_KDF_PREFIX, SL_KDF_LABEL, SL_KDF_DATA, SL_KDF_INPUTS };

#define SL_HKDF_LABEL_MAX (2 + 1 + 255 + 1 + 255) /* RFC 8446 section 7.1 */
#define SL_HMAC_BLOCK_MAX 128                     /* SHA-384's */

struct sl_kdf {
    EVP_MD_CTX *hash;
    const EVP_MD *md;                  /* NULL: not said */
    int mode;                          /* EVP_KDF_HKDF_MODE_*; -1: not said */
    struct sl_slice in[SL_KDF_INPUTS]; /* p NULL: not said */
};

/* As long as the process lives: */
static EVP_MD *_sl_sha256, *_sl_sha384; /* all that TLS 1.3 uses (RFC 8446 section B.4) */
static OSSL_PROVIDER *_sl_provider;

static const char _sl_zeros[EVP_MAX_MD_SIZE];

static int _sl_fail(int reason)
{
    ERR_raise(ERR_LIB_PROV, reason);
    return 0;
}

/* ---- HKDF: as everywhere below, 1 is success, and 0 a failure that stands in OpenSSL's queue */

static size_t _sl_md_size(const struct sl_kdf *k)
{
    return (size_t)EVP_MD_get_size(k->md);
}

static int _sl_hash(const struct sl_kdf *k, struct sl_slice a, struct sl_slice b, char *out)
{
    return EVP_DigestInit_ex2(k->hash, k->md, NULL) == 1 && EVP_DigestUpdate(k->hash, a.p, a.n) == 1 &&
           EVP_DigestUpdate(k->hash, b.p, b.n) == 1 &&
           EVP_DigestFinal_ex(k->hash, (unsigned char *)out, NULL) == 1;
}

/* RFC 2104. Keys are secrets of the hash's length; none is longer than its block. */
static int _sl_hmac(const struct sl_kdf *k, struct sl_slice key, struct sl_slice text, char *out)
{
    char pad[SL_HMAC_BLOCK_MAX];
    const size_t block = (size_t)EVP_MD_get_block_size(k->md);
    if (key.n > block || block > sizeof(pad))
        return _sl_fail(PROV_R_INVALID_KEY_LENGTH);
    memset(pad, 0x36, block);
    for (size_t i = 0; i < key.n; i++)
        pad[i] ^= key.p[i];
    int ok = _sl_hash(k, sl_slice(pad, block), text, out);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    ok = ok && _sl_hash(k, sl_slice(pad, block), sl_slice(out, _sl_md_size(k)), out);
    OPENSSL_cleanse(pad, sizeof(pad));
    return ok;
}

static char *_sl_put(char *p, struct sl_slice s)
{
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

/* HkdfLabel, of which length is n; its length, or 0 where label or data are longer than it can say. */
static size_t _sl_label(const struct sl_kdf *k, struct sl_slice data, size_t n, char out[SL_HKDF_LABEL_MAX])
{
    const struct sl_slice prefix = k->in[SL_KDF_PREFIX], label = k->in[SL_KDF_LABEL];
    char *p = out;
    if (prefix.n + label.n > 255 || data.n > 255 || n > 0xffff)
        return 0;
    *p++ = (char)(n >> 8);
    *p++ = (char)n;
    *p++ = (char)(prefix.n + label.n);
    p = _sl_put(p, prefix);
    p = _sl_put(p, label);
    *p++ = (char)data.n;
    return (size_t)(_sl_put(p, data) - out);
}

/* HKDF-Expand-Label(key, label, data, n), by HKDF-Expand of RFC 5869 section 2.3. */
static int _sl_expand(const struct sl_kdf *k, struct sl_slice key, struct sl_slice data, char *out, size_t n)
{
    char text[EVP_MAX_MD_SIZE + SL_HKDF_LABEL_MAX + 1], block[EVP_MAX_MD_SIZE];
    const size_t size = _sl_md_size(k), label = _sl_label(k, data, n, text + size);
    if (!label || n > 255 * size)
        return _sl_fail(PROV_R_LENGTH_TOO_LARGE);
    int ok = 1;
    for (size_t i = 1, done = 0; ok && done < n; i++, done += size) {
        const size_t before = i > 1 ? size : 0; /* the block before this one */
        text[size + label] = (char)i;
        ok = _sl_hmac(k, key, sl_slice(text + size - before, before + label + 1), block);
        memcpy(text, block, size);
        memcpy(out + done, block, n - done < size ? n - done : size);
    }
    OPENSSL_cleanse(text, size);
    OPENSSL_cleanse(block, sizeof(block));
    return ok;
}

/* Derive-Secret(secret, "derived", ""); of none, zeros. */
static int _sl_derived(const struct sl_kdf *k, struct sl_slice secret, char *out)
{
    const struct sl_slice empty = SL_S("");
    char nothing[EVP_MAX_MD_SIZE];
    const size_t n = _sl_md_size(k);
    memset(out, 0, n);
    return !secret.p ||
           (_sl_hash(k, empty, empty, nothing) && _sl_expand(k, secret, sl_slice(nothing, n), out, n));
}

/* A step down the schedule: from the secret before it, which is the salt, and what is new, or zeros. */
static int _sl_extract(const struct sl_kdf *k, char *out)
{
    const struct sl_slice key = k->in[SL_KDF_KEY], zeros = sl_slice(_sl_zeros, _sl_md_size(k));
    char salt[EVP_MAX_MD_SIZE];
    const int ok = _sl_derived(k, k->in[SL_KDF_SALT], salt) &&
                   _sl_hmac(k, sl_slice(salt, zeros.n), key.p ? key : zeros, out);
    OPENSSL_cleanse(salt, sizeof(salt));
    return ok;
}

/* ---- what OpenSSL calls: provider-kdf(7) */

static int _sl_read_mode(struct sl_kdf *k, const OSSL_PARAM *p)
{
    const char *name;
    if (OSSL_PARAM_get_int(p, &k->mode) == 1)
        return 1;
    if (OSSL_PARAM_get_utf8_string_ptr(p, &name) != 1)
        return 0;
    k->mode = strcasecmp(name, "EXTRACT_ONLY") == 0  ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY
              : strcasecmp(name, "EXPAND_ONLY") == 0 ? EVP_KDF_HKDF_MODE_EXPAND_ONLY
                                                     : -1;
    return 1;
}

/* libssl says the name that OpenSSL gives it; any other is looked up. */
static bool _sl_is(const EVP_MD *md, const char *name)
{
    return strcmp(EVP_MD_get0_name(md), name) == 0 || EVP_MD_is_a(md, name);
}

static int _sl_read_digest(struct sl_kdf *k, const OSSL_PARAM *p)
{
    const char *name;
    if (OSSL_PARAM_get_utf8_string_ptr(p, &name) != 1)
        return 0;
    k->md = _sl_is(_sl_sha256, name) ? _sl_sha256 : _sl_is(_sl_sha384, name) ? _sl_sha384 : NULL;
    return k->md ? 1 : _sl_fail(PROV_R_INVALID_DIGEST);
}

/* What params say goes over what k has, and is borrowed. */
static int _sl_read(struct sl_kdf *k, const OSSL_PARAM params[])
{
    static const char *const names[SL_KDF_INPUTS] = {[SL_KDF_KEY] = OSSL_KDF_PARAM_KEY,
                                                     [SL_KDF_SALT] = OSSL_KDF_PARAM_SALT,
                                                     [SL_KDF_PREFIX] = OSSL_KDF_PARAM_PREFIX,
                                                     [SL_KDF_LABEL] = OSSL_KDF_PARAM_LABEL,
                                                     [SL_KDF_DATA] = OSSL_KDF_PARAM_DATA};
    for (const OSSL_PARAM *p = params; p && p->key; p++) {
        if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0 && !_sl_read_mode(k, p))
            return 0;
        if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0 && !_sl_read_digest(k, p))
            return 0;
        for (int i = 0; i < SL_KDF_INPUTS; i++)
            if (strcmp(p->key, names[i]) == 0)
                k->in[i] = sl_slice(p->data, p->data_size);
    }
    return 1;
}

static int _sl_kdf_derive(void *ctx, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
    struct sl_kdf k = *(const struct sl_kdf *)ctx;
    if (!_sl_read(&k, params))
        return 0;
    if (!k.md)
        return _sl_fail(PROV_R_MISSING_MESSAGE_DIGEST);
    if (k.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
        return n == _sl_md_size(&k) ? _sl_extract(&k, (char *)out) : _sl_fail(PROV_R_INVALID_OUTPUT_LENGTH);
    if (k.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY)
        return _sl_fail(PROV_R_INVALID_MODE);
    if (!k.in[SL_KDF_KEY].p)
        return _sl_fail(PROV_R_MISSING_KEY);
    return _sl_expand(&k, k.in[SL_KDF_KEY], k.in[SL_KDF_DATA], (char *)out, n);
}

static int _sl_kdf_set(void *ctx, const OSSL_PARAM params[])
{
    struct sl_kdf *k = ctx, said = {.mode = k->mode, .md = k->md};
    if (!_sl_read(&said, params))
        return 0;
    k->mode = said.mode;
    k->md = said.md;
    for (int i = 0; i < SL_KDF_INPUTS; i++) {
        char *copy = said.in[i].p ? OPENSSL_memdup(said.in[i].p, said.in[i].n) : NULL;
        if (!said.in[i].p)
            continue;
        if (!copy)
            return _sl_fail(ERR_R_MALLOC_FAILURE);
        OPENSSL_clear_free((char *)k->in[i].p, k->in[i].n);
        k->in[i] = sl_slice(copy, said.in[i].n);
    }
    return 1;
}

static void _sl_kdf_reset(void *ctx)
{
    struct sl_kdf *k = ctx;
    for (int i = 0; i < SL_KDF_INPUTS; i++)
        OPENSSL_clear_free((char *)k->in[i].p, k->in[i].n);
    *k = (struct sl_kdf){.hash = k->hash, .mode = -1};
}

static void *_sl_kdf_new(void *provider)
{
    (void)provider;
    struct sl_kdf *k = calloc(1, sizeof(*k));
    if (!k || !(k->hash = EVP_MD_CTX_new())) {
        free(k);
        return NULL;
    }
    k->mode = -1;
    return k;
}

static void _sl_kdf_free(void *ctx)
{
    struct sl_kdf *k = ctx;
    if (!k)
        return;
    _sl_kdf_reset(k);
    EVP_MD_CTX_free(k->hash);
    free(k);
}

static const OSSL_ALGORITHM *_sl_query(void *provider, int operation, int *no_cache)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))_sl_kdf_new},
        {OSSL_FUNC_KDF_FREECTX, (void (*)(void))_sl_kdf_free},
        {OSSL_FUNC_KDF_RESET, (void (*)(void))_sl_kdf_reset},
        {OSSL_FUNC_KDF_DERIVE, (void (*)(void))_sl_kdf_derive},
        {OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))_sl_kdf_set},
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {"TLS13-KDF", "provider=sluice", functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    (void)provider;
    *no_cache = 0;
    return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static int _sl_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                    void **provider)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))_sl_query},
        {0, NULL},
    };
    (void)in;
    *out = functions;
    *provider = (void *)core; /* OpenSSL takes NULL for a failure */
    return 1;
}

static void _sl_load(void)
{
    _sl_sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    _sl_sha384 = EVP_MD_fetch(NULL, "SHA2-384", NULL);
    if (_sl_sha256 && _sl_sha384 && OSSL_PROVIDER_add_builtin(NULL, "sluice", _sl_init) == 1)
        _sl_provider = OSSL_PROVIDER_try_load(NULL, "sluice", 1); /* beside openssl.cnf's, or the default */
    ERR_clear_error();
}

const char *sl_tls_properties(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, _sl_load);
    return _sl_provider ? "?provider=sluice" : NULL;
}
