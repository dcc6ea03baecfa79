/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that the gateway signs by: how they are named, what is published, and that what they sign verifies. */
#include "signer_test.h"

#include "policy/b64_priv.h"
#include "policy/json_priv.h"

static struct sl_jose jose;

static int setup(void **state)
{
    (void)with_arena(state);
    return sl_jose_init(&jose);
}

static int teardown(void **state)
{
    sl_jose_free(&jose);
    return drop_arena(state);
}
#define signer_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

struct seen {
    char kids[512];
    unsigned n, signing;
};

static void see(void *ctx, const char *kid, const char *alg, bool signs)
{
    struct seen *s = ctx;
    s->n++;
    s->signing += signs;
    (void)snprintf(s->kids + strlen(s->kids), sizeof(s->kids) - strlen(s->kids), "%s %s\n", kid, alg);
}

static const char *kids_of(const struct sl_policy *p)
{
    struct seen s = {0};
    assert_int_equal(sl_signer_each(&p->snapshot->signers[0], see, &s), 0);
    assert_int_equal(s.signing, 1);
    return sl_arena_strdup(&arena, sl_slice_str(s.kids));
}

/* RFC 7638 section 3.1 (RSA), RFC 8037 appendix A.3 (Ed25519) */
static void thumbprints(void **state)
{
    (void)state;
    static const char rsa[] =
        "{'keys': [{'kty': 'RSA', 'n': "
        "'0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
        "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
        "bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw', "
        "'e': 'AQAB'}]}";
    static const unsigned char ed[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
                                         0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
                                         0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
    struct sl_jwks set;
    struct sl_diag diag;
    sl_diag_init(&diag);
    assert_int_equal(sl_jwks_parse(&jose, quoted(rsa), 0xffffffff, NULL, &diag, &set), 0);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, ed, sizeof(ed));
    const char *signers = signer_of("a", "", pem_of(key, true), pem_of(set.v[0].key, false));
    struct sl_policy *p = signing_policy(signers, PLAIN, &diag);
    assert_non_null(p);
    assert_string_equal(kids_of(p), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k EdDSA\n"
                                    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs RS256\n");
    sl_policy_free(p);
    sl_diag_free(&diag);
    sl_jwks_free(&set);
    EVP_PKEY_free(key);
}

/* By what the verifying half finds right: published, parsed, verified, and by OpenSSL in one call. */
static void sign_and_verify(EVP_PKEY *key, const char *more, enum sl_jose_alg alg)
{
    struct sl_diag diag;
    struct sl_signer_keys keys;
    struct sl_jwks set;
    SL_BUF struct sl_buf text = {0};
    struct sl_policy *p = signing_policy(signer_of("a", more, pem_of(key, true), NULL), PLAIN, &diag);
    assert_non_null(p);
    const struct sl_signer *cfg = &p->snapshot->signers[0];
    assert_int_equal(sl_signer_open(&jose, cfg, &diag, &keys), 0);
    assert_int_equal(sl_signer_jwks(cfg, &diag, &text), 0);
    assert_int_equal(sl_jwks_parse(&jose, sl_buf_slice(&text), SL_JOSE_BIT(alg), NULL, &diag, &set), 0);
    assert_true(sl_slice_eq(set.v[0].kid, sl_slice_str(keys.v[0].kid)));
    assert_int_equal(set.v[0].algs, SL_JOSE_BIT(alg));
    for (unsigned i = 0; i < 64; i++) { /* r and s of ECDSA are short every now and then */
        struct sl_slice rest = sl_signer_sign(&jose, &keys, "JWT",
                                              sl_slice_str(sl_arena_printf(&arena, "{\"n\":%u}", i)), &arena);
        struct sl_slice part[3], sig;
        const char *start = rest.p;
        for (unsigned k = 0; k < 3; k++)
            assert_true(sl_slice_next(&rest, '.', &part[k]));
        sig.p = sl_arena_alloc(&arena, part[2].n);
        assert_int_equal(sl_b64_decode(part[2], (unsigned char *)sig.p, &sig.n), 0);
        const struct sl_slice input = sl_slice(start, part[0].n + 1 + part[1].n);
        assert_true(sl_jwk_verify(&jose, &set.v[0], alg, input, sig));
        ((char *)sig.p)[sig.n / 2] ^= 1;
        assert_false(sl_jwk_verify(&jose, &set.v[0], alg, input, sig));
    }
    sl_jwks_free(&set);
    sl_signer_close(&keys);
    sl_policy_free(p);
    sl_diag_free(&diag);
}

static void signs_by_each_algorithm(void **state)
{
    (void)state;
    static const enum sl_jose_alg own[] = {SL_JOSE_ES256, SL_JOSE_ES384, SL_JOSE_EDDSA};
    for (size_t i = 0; i < SL_ARRAY_LEN(own); i++) {
        EVP_PKEY *key = new_key(own[i]);
        sign_and_verify(key, "", own[i]);
        EVP_PKEY_free(key);
    }
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    for (enum sl_jose_alg alg = SL_JOSE_RS256; alg <= SL_JOSE_PS512; alg++)
        sign_and_verify(rsa, sl_arena_printf(&arena, ", 'rsa_algorithm': '%s'", sl_jose_info[alg].name.p),
                        alg);
    sign_and_verify(rsa, "", SL_JOSE_RS256);
    EVP_PKEY_free(rsa);
}

static void nothing_secret_is_published(void **state)
{
    (void)state;
    struct sl_diag diag;
    SL_BUF struct sl_buf text = {0};
    struct sl_policy *p =
        signing_policy(signer_of("a", "", fresh_pem(SL_JOSE_RS256), fresh_pem(SL_JOSE_ES256)), PLAIN, &diag);
    assert_int_equal(sl_signer_jwks(&p->snapshot->signers[0], &diag, &text), 0);
    json_t *set = json_loadb(sl_buf_data(&text), sl_buf_len(&text), 0, NULL), *k;
    const char *name;
    json_t *v;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(set, "keys")), 2);
    json_array_foreach(json_object_get(set, "keys"), i, k) json_object_foreach(k, name, v)
        assert_non_null(strstr(" kty crv x y n e kid alg use ", sl_arena_printf(&arena, " %s ", name)));
    json_decref(set);
    sl_policy_free(p);
    sl_diag_free(&diag);
}

static void refused(void **state)
{
    (void)state;
    EVP_PKEY *small = EVP_RSA_gen(1024), *ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448"),
             *ec = new_key(SL_JOSE_ES256);
    const char *good = fresh_pem(SL_JOSE_ES256);
    const struct {
        const char *first, *second, *told;
    } bad[] = {
        {pem_of(small, true), NULL, "less than 2048 bits"},
        {fresh_pem(SL_JOSE_ES512), NULL, "none of P-256, P-384, Ed25519, RSA"},
        {pem_of(ed448, true), NULL, "none of P-256, P-384, Ed25519, RSA"},
        {pem_of(ec, false), NULL, "holds no private key in PEM: the first key signs"},
        {"not a key", NULL, "holds no private key in PEM"},
        {good, "not a key", "neither private nor public"},
        {pem_of(ec, true), pem_of(ec, false), "stands twice"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        struct sl_diag diag;
        struct sl_policy *p = signing_policy(signer_of("a", "", bad[i].first, bad[i].second), PLAIN, &diag);
        assert_null(p);
        assert_told(&diag, bad[i].told);
        sl_diag_free(&diag);
    }
    EVP_PKEY_free(small);
    EVP_PKEY_free(ed448);
    EVP_PKEY_free(ec);
}

/* The key with another value of that number. */
static EVP_PKEY *spoilt(EVP_PKEY *key, const char *number)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *out = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params), 1);
    ((unsigned char *)OSSL_PARAM_locate(params, number)->data)[1] ^= 1;
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &out, EVP_PKEY_KEYPAIR, params), 1);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return out;
}

static void check_halves(const char *first, const char *second, bool match)
{
    struct sl_diag diag;
    struct sl_policy *p = signing_policy(signer_of("a", "", first, second), PLAIN, &diag);
    assert_int_equal(p != NULL, match);
    assert_int_equal(diag.errors, match ? 0 : 1);
    if (!match)
        assert_told(&diag, "the private and the public half of this key do not match");
    sl_policy_free(p);
    sl_diag_free(&diag);
}

static void halves_that_do_not_match(void **state)
{
    (void)state;
    EVP_PKEY *p256 = new_key(SL_JOSE_ES256), *p384 = new_key(SL_JOSE_ES384), *rsa = EVP_RSA_gen(2048),
             *large = EVP_RSA_gen(4224); /* of which a signature tells */
    const struct {
        EVP_PKEY *key;
        const char *number;
    } bad[] = {{p256, OSSL_PKEY_PARAM_PRIV_KEY},
               {p384, OSSL_PKEY_PARAM_PRIV_KEY},
               {rsa, OSSL_PKEY_PARAM_RSA_N},
               {rsa, OSSL_PKEY_PARAM_RSA_D},
               {rsa, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
               {large, OSSL_PKEY_PARAM_RSA_N}};
    const char *good = fresh_pem(SL_JOSE_EDDSA);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        EVP_PKEY *key = spoilt(bad[i].key, bad[i].number);
        check_halves(pem_of(key, true), NULL, false);
        check_halves(good, pem_of(key, true), false); /* it is published */
        EVP_PKEY_free(key);
    }
    check_halves(pem_of(large, true), pem_of(rsa, true), true);
    check_halves(pem_of(p384, true), pem_of(p256, false), true); /* one half alone */
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(large);
}

static void base64url_both_ways(void **state)
{
    (void)state;
    unsigned char raw[67], back[128];
    char text[128];
    for (size_t n = 0; n <= sizeof(raw); n++) {
        size_t len = 0;
        for (size_t i = 0; i < n; i++)
            raw[i] = (unsigned char)(i * 37 + n);
        const size_t chars = sl_b64_encode(sl_slice((char *)raw, n), text);
        assert_int_equal(chars, SL_B64_CHARS(n));
        assert_int_equal(sl_b64_decode(sl_slice(text, chars), back, &len), 0);
        assert_int_equal(len, n);
        assert_memory_equal(raw, back, n);
    }
    /* RFC 7515 appendix C */
    static const char octets[] = {3, (char)236, (char)255, (char)224, (char)193};
    assert_int_equal(sl_b64_encode(sl_slice(octets, sizeof(octets)), text), 7);
    assert_memory_equal(text, "A-z_4ME", 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        signer_test(thumbprints),
        signer_test(signs_by_each_algorithm),
        signer_test(nothing_secret_is_published),
        signer_test(refused),
        signer_test(halves_that_do_not_match),
        signer_test(base64url_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
