/* SPDX-License-Identifier: Apache-2.0 */
/* The key schedule: the trace of RFC 8448 section 3, OpenSSL's own for any input, and whose it is in a
 * handshake. */
#include "../../../user/net/tls_priv.h"
#include "tls_test.h"

#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

struct input {
    const char *mode, *digest;
    struct sl_slice key, salt, prefix, label, data; /* p NULL: not said */
};

static size_t params_of(const struct input *in, OSSL_PARAM p[8])
{
    const struct {
        const char *name;
        struct sl_slice value;
    } octets[] = {{OSSL_KDF_PARAM_KEY, in->key},
                  {OSSL_KDF_PARAM_SALT, in->salt},
                  {OSSL_KDF_PARAM_PREFIX, in->prefix},
                  {OSSL_KDF_PARAM_LABEL, in->label},
                  {OSSL_KDF_PARAM_DATA, in->data}};
    size_t n = 0;
    if (in->mode)
        p[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *)in->mode, 0);
    if (in->digest)
        p[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)in->digest, 0);
    for (size_t i = 0; i < 5; i++)
        if (octets[i].value.p)
            p[n++] = OSSL_PARAM_construct_octet_string(octets[i].name, (void *)octets[i].value.p,
                                                       octets[i].value.n);
    p[n] = OSSL_PARAM_construct_end();
    return n;
}

static EVP_KDF_CTX *kdf(const char *properties)
{
    EVP_KDF *k = EVP_KDF_fetch(NULL, "TLS13-KDF", properties);
    assert_non_null(k);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(k);
    assert_non_null(ctx);
    EVP_KDF_free(k);
    return ctx;
}

/* Whether it succeeded; the error queue is empty after. */
static bool derive(const char *properties, const struct input *in, void *out, size_t n)
{
    OSSL_PARAM p[8];
    (void)params_of(in, p);
    EVP_KDF_CTX *ctx = kdf(properties);
    const bool ok = EVP_KDF_derive(ctx, out, n, p) == 1;
    assert_int_equal(ok, ERR_peek_error() == 0);
    ERR_clear_error();
    EVP_KDF_CTX_free(ctx);
    return ok;
}

static const char *ours(void)
{
    return sl_tls_properties() + 1; /* without the "?": no other's will do */
}

static struct sl_slice unhex(const char *hex)
{
    long n;
    char *p = (char *)OPENSSL_hexstr2buf(hex, &n);
    assert_non_null(p);
    return sl_slice(p, (size_t)n);
}

static void assert_derives(const struct input *in, const char *hex)
{
    const struct sl_slice want = unhex(hex);
    char got[64];
    assert_true(derive(ours(), in, got, want.n));
    assert_memory_equal(got, want.p, want.n);
    OPENSSL_free((char *)want.p);
}

static void test_the_trace_of_rfc_8448(void **state)
{
    (void)state;
    const struct sl_slice prefix = SL_S("tls13 "), derived = SL_S("derived");
    const struct sl_slice early = unhex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"),
                          shared = unhex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d"),
                          traffic = unhex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"),
                          hello = unhex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8"),
                          handshake =
                              unhex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
    const char *extract = "EXTRACT_ONLY", *expand = "EXPAND_ONLY";
    assert_derives(&(struct input){extract, "SHA256", .prefix = prefix, .label = derived},
                   "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
    assert_derives(
        &(struct input){extract, "SHA256", .key = shared, .salt = early, .prefix = prefix, .label = derived},
        "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
    assert_derives(&(struct input){expand, "SHA256", .key = handshake, .prefix = prefix,
                                   .label = SL_S("s hs traffic"), .data = hello},
                   "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
    assert_derives(&(struct input){expand, "SHA256", .key = traffic, .prefix = prefix, .label = SL_S("key")},
                   "3fce516009c21727d0f2e4e86ee403bc");
    assert_derives(&(struct input){expand, "SHA256", .key = traffic, .prefix = prefix, .label = SL_S("iv")},
                   "5d313eb2671276ee13000b30");
    const struct sl_slice all[] = {early, shared, traffic, hello, handshake};
    for (size_t i = 0; i < 5; i++)
        OPENSSL_free((char *)all[i].p);
}

static struct sl_slice some(char *room, size_t n)
{
    assert_int_equal(RAND_bytes((unsigned char *)room, (int)n), 1);
    return sl_slice(room, n);
}

static size_t below(size_t n)
{
    unsigned char b[2];
    assert_int_equal(RAND_bytes(b, 2), 1);
    return (size_t)(b[0] << 8 | b[1]) % n;
}

static void test_it_is_openssls_own_for_any_input(void **state)
{
    (void)state;
    for (int i = 0; i < 4000; i++) {
        char key[1200], salt[64], label[250], data[256], want[600], got[600];
        const bool extract = i & 1, sha384 = i & 2;
        const size_t md = sha384 ? 48 : 32;
        const struct input in = {
            .mode = extract ? "EXTRACT_ONLY" : "EXPAND_ONLY",
            .digest = sha384 ? "SHA2-384" : "SHA256",
            .key = !extract ? some(key, md)
                   : i & 4  ? some(key, 1 + below(sizeof(key))) /* of ffdhe8192: 1024 */
                            : SL_SLICE_NUL,
            .salt = i & 8 ? some(salt, md) : SL_SLICE_NUL,
            .prefix = SL_S("tls13 "),
            .label = extract ? SL_S("derived") : some(label, 1 + below(249)),
            .data = !extract && i & 16 ? some(data, below(256)) : SL_SLICE_NUL,
        };
        const size_t n = extract ? md : 1 + below(sizeof(want));
        assert_true(derive("provider=default", &in, want, n));
        assert_true(derive(ours(), &in, got, n));
        assert_memory_equal(got, want, n);
    }
}

static void test_what_it_cannot_derive_is_refused(void **state)
{
    (void)state;
    char out[64], many[256] = "";
    const struct input good = {"EXPAND_ONLY", "SHA256", .key = SL_S("0123456789abcdef0123456789abcdef"),
                               .prefix = SL_S("tls13 "), .label = SL_S("key")};
    assert_true(derive(ours(), &good, out, 16));
    struct input bad = good;
    bad.mode = NULL;
    assert_false(derive(ours(), &bad, out, 16));
    bad.mode = "EXTRACT_AND_EXPAND";
    assert_false(derive(ours(), &bad, out, 16));
    bad = good;
    bad.digest = NULL;
    assert_false(derive(ours(), &bad, out, 16));
    bad.digest = "SHA1";
    assert_false(derive(ours(), &bad, out, 16));
    bad = good;
    bad.key = SL_SLICE_NUL;
    assert_false(derive(ours(), &bad, out, 16));
    bad.key = sl_slice(many, 65); /* more than a block */
    assert_false(derive(ours(), &bad, out, 16));
    bad = good;
    bad.label = sl_slice(many, 250); /* 256 with its prefix */
    assert_false(derive(ours(), &bad, out, 16));
    bad = good;
    bad.data = sl_slice(many, 256);
    assert_false(derive(ours(), &bad, out, 16));
    bad = good;
    bad.mode = "EXTRACT_ONLY"; /* is as long as its hash */
    assert_false(derive(ours(), &bad, out, 16));
    assert_true(derive(ours(), &bad, out, 32));
}

static void test_what_is_said_before_holds_until_it_is_reset(void **state)
{
    (void)state;
    char want[32], got[32], key[] = "0123456789abcdef0123456789abcdef";
    const struct input in = {"EXPAND_ONLY", "SHA256", .key = sl_slice(key, 32), .prefix = SL_S("tls13 "),
                             .label = SL_S("key")};
    assert_true(derive("provider=default", &in, want, 32));
    OSSL_PARAM p[8];
    (void)params_of(&in, p);
    EVP_KDF_CTX *ctx = kdf(ours());
    assert_int_equal(EVP_KDF_CTX_set_params(ctx, p), 1);
    memset(key, 0, sizeof(key)); /* it has its own */
    assert_int_equal(EVP_KDF_derive(ctx, (unsigned char *)got, 32, NULL), 1);
    assert_memory_equal(got, want, 32);
    EVP_KDF_CTX_reset(ctx);
    assert_int_equal(EVP_KDF_derive(ctx, (unsigned char *)got, 32, NULL), 0);
    ERR_clear_error();
    EVP_KDF_CTX_free(ctx);
}

static int asked; /* by libssl, for ours */

/* Stands before OpenSSL's, for libssl too. */
EVP_KDF *EVP_KDF_fetch(OSSL_LIB_CTX *libctx, const char *algorithm, const char *properties)
{
    static EVP_KDF *(*next)(OSSL_LIB_CTX *, const char *, const char *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "EVP_KDF_fetch");
    EVP_KDF *k = next(libctx, algorithm, properties);
    asked += k && strcmp(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(k)), "sluice") == 0;
    return k;
}

static void test_both_sides_of_a_handshake_derive_with_it(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    const char *why = NULL;
    SSL_CTX *server, *client = any_client();
    assert_int_equal(server_of(&p.tls, 1, TLS1_3_VERSION, NULL, &why, &server), 0);
    asked = 0;
    end(handshake(server, client, NULL, NULL));
    assert_true(asked > 10);
    SSL_CTX_free(client);
    const struct sl_tls_client c = {.ca = p.tls.cert};
    assert_int_equal(sl_tls_client_new(&c, &why, &client), 0);
    const int one = asked;
    end(handshake(server, client, NULL, NULL));
    assert_true(asked > 2 * one + 5);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void test_all_else_is_openssls(void **state)
{
    (void)state;
    EVP_KDF *k = EVP_KDF_fetch(NULL, "HKDF", sl_tls_properties());
    assert_non_null(k);
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(k)), "default");
    EVP_KDF_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_trace_of_rfc_8448),
        cmocka_unit_test(test_it_is_openssls_own_for_any_input),
        cmocka_unit_test(test_what_it_cannot_derive_is_refused),
        cmocka_unit_test(test_what_is_said_before_holds_until_it_is_reset),
        cmocka_unit_test(test_both_sides_of_a_handshake_derive_with_it),
        cmocka_unit_test(test_all_else_is_openssls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
