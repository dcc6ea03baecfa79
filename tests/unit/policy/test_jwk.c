/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets: which keys are taken, for which algorithms, and what is said about the others. */
#include "sign_test.h"

static struct sl_jose jose;
static struct sl_diag diag;

static int setup(void **state)
{
    (void)with_arena(state);
    sl_diag_init(&diag);
    return sl_jose_init(&jose);
}

static int teardown(void **state)
{
    sl_jose_free(&jose);
    sl_diag_free(&diag);
    return drop_arena(state);
}

static int parse(const char *text, uint32_t allowed, struct sl_jwks *out)
{
    return sl_jwks_parse(&jose, quoted(text), allowed, NULL, &diag, out);
}

/* One key alone: the mask that it got, or 0 with the warning said. */
static uint32_t algs_of(const char *jwk, uint32_t allowed)
{
    struct sl_jwks set;
    if (parse(sl_arena_printf(&arena, "{'keys': [%s]}", jwk), allowed, &set) < 0)
        return 0;
    const uint32_t algs = set.v[0].algs;
    sl_jwks_free(&set);
    return algs;
}

static struct signer signer_of(enum sl_jose_alg alg)
{
    struct signer s = {.alg = alg, .key = new_key(alg), .secret = SL_S("0123456789abcdef0123456789abcdef")};
    return s;
}

#define ALL 0xffffffffu

static void masks(void **state)
{
    (void)state;
    struct signer rsa = signer_of(SL_JOSE_RS256), ec = signer_of(SL_JOSE_ES384),
                  ed = signer_of(SL_JOSE_EDDSA), hs = signer_of(SL_JOSE_HS256);
    const uint32_t rsa_all = 0x3f;
    assert_int_equal(algs_of(jwk_of(&rsa, NULL), ALL), rsa_all);
    assert_int_equal(algs_of(jwk_of(&ec, NULL), ALL), SL_JOSE_BIT(SL_JOSE_ES384));
    assert_int_equal(algs_of(jwk_of(&ed, NULL), ALL), SL_JOSE_BIT(SL_JOSE_EDDSA));
    assert_int_equal(algs_of(jwk_of(&hs, NULL), ALL), 7u << SL_JOSE_HS256);
    struct signer p521 = signer_of(SL_JOSE_ES512);
    assert_int_equal(algs_of(jwk_of(&p521, "'alg': 'ES521'"), ALL), SL_JOSE_BIT(SL_JOSE_ES512));
    assert_int_equal(algs_of(jwk_of(&p521, "'alg': 'ES521'"), ~SL_JOSE_BIT(SL_JOSE_ES512)), 0);
    assert_int_equal(algs_of(jwk_of(&ec, "'alg': 'ES521'"), ALL), 0);
    assert_int_equal(algs_of(jwk_of(&rsa, "'alg': 'ES521'"), ALL), 0);
    /* its own alg narrows it, and so does the provider's list */
    assert_int_equal(algs_of(jwk_of(&rsa, "'alg': 'PS256'"), ALL), SL_JOSE_BIT(SL_JOSE_PS256));
    assert_int_equal(algs_of(jwk_of(&rsa, NULL), SL_JOSE_BIT(SL_JOSE_RS512) | SL_JOSE_BIT(SL_JOSE_ES256)),
                     SL_JOSE_BIT(SL_JOSE_RS512));
    assert_int_equal(algs_of(jwk_of(&rsa, "'use': 'sig', 'key_ops': ['verify', 'sign']"), ALL), rsa_all);
    EVP_PKEY_free(rsa.key);
    EVP_PKEY_free(ec.key);
    EVP_PKEY_free(ed.key);
    EVP_PKEY_free(p521.key);
}

static void skipped(void **state)
{
    (void)state;
    struct signer rsa = signer_of(SL_JOSE_RS256), ec = signer_of(SL_JOSE_ES256);
    const struct {
        const char *jwk, *why;
    } bad[] = {
        {jwk_of(&rsa, "'use': 'enc'"), "not for verifying"},
        {jwk_of(&rsa, "'use': 7"), "not for verifying"},
        {jwk_of(&rsa, "'key_ops': ['encrypt']"), "not for verifying"},
        {jwk_of(&rsa, "'key_ops': 'verify'"), "not for verifying"},
        {jwk_of(&rsa, "'alg': 'ES256'"), "not of its type"},
        {jwk_of(&rsa, "'alg': 'HS256'"), "not of its type"},
        {jwk_of(&rsa, "'alg': 'none'"), "not of its type"},
        {jwk_of(&rsa, "'alg': 256"), "not of its type"},
        {jwk_of(&ec, "'alg': 'ES384'"), "not of its type"},
        {jwk_of(&ec, "'kid': 7"), "no string"},
        {"{'kty': 'DSA'}", "other than RSA, EC, OKP, oct"},
        {"{}", "other than RSA"},
        {"7", "no object"},
        {"{'kty': 'RSA', 'n': '', 'e': 'AQAB'}", "base64url numbers"},
        {"{'kty': 'RSA', 'n': 'AQ==', 'e': 'AQAB'}", "base64url numbers"},
        {"{'kty': 'RSA', 'n': 'u3M7', 'e': 'AQAB'}", "too weak"},
        {"{'kty': 'EC', 'crv': 'secp256k1', 'x': 'AQ', 'y': 'AQ'}", "other than P-256"},
        {"{'kty': 'EC', 'crv': 'P-256', 'x': 'AQ', 'y': 'AQ'}", "full width"},
        {"{'kty': 'EC', 'crv': 'P-256', 'x': 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE', "
         "'y': 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE'}",
         "not on the curve"},
        {"{'kty': 'OKP', 'crv': 'X25519', 'x': 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE'}",
         "other than Ed25519"},
        {"{'kty': 'OKP', 'crv': 'Ed25519', 'x': 'AQ'}", "32 bytes"},
        {"{'kty': 'oct', 'k': ''}", "not empty"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        sl_diag_free(&diag);
        sl_diag_init(&diag);
        assert_int_equal(algs_of(bad[i].jwk, ALL), 0);
        assert_told(&diag, bad[i].why);
        assert_told(&diag, "no key that can verify");
    }
    EVP_PKEY_free(rsa.key);
    EVP_PKEY_free(ec.key);
}

static void weak_rsa(void **state)
{
    (void)state;
    struct signer s = {.alg = SL_JOSE_RS256, .key = EVP_RSA_gen(1024)};
    assert_int_equal(algs_of(jwk_of(&s, NULL), ALL), 0);
    assert_told(&diag, "less than 2048 bits");
    EVP_PKEY_free(s.key);
}

static void a_bad_key_beside_a_good_one_is_a_warning(void **state)
{
    (void)state;
    struct signer ec = signer_of(SL_JOSE_ES256);
    struct sl_jwks set;
    ec.kid = "good";
    assert_int_equal(
        parse(sl_arena_printf(&arena, "{'keys': [{'kty': 'RSA', 'kid': 'bad'}, %s]}", jwk_of(&ec, NULL)), ALL,
              &set),
        0);
    assert_int_equal(set.n, 1);
    assert_slice(set.v[0].kid, "good");
    assert_int_equal(diag.errors, 0);
    assert_int_equal(diag.warnings, 1);
    assert_told(&diag, "key 1 (\"kid\": \"bad\") is skipped");
    sl_jwks_free(&set);
    EVP_PKEY_free(ec.key);
}

static void no_key_set(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "[]", "{}", "{'keys': {}}", "{'keys': [], 'keys': []}",
                                      "{'keys': ["};
    struct sl_jwks set;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        sl_diag_free(&diag);
        sl_diag_init(&diag);
        assert_int_equal(parse(bad[i], ALL, &set), -EINVAL);
        assert_int_equal(diag.errors, 1);
    }
    assert_int_equal(parse("{'keys': []}", ALL, &set), -EINVAL);
    assert_told(&diag, "no key that can verify");
}

static void an_empty_secret_is_refused(void **state)
{
    (void)state;
    struct sl_jwks set;
    const struct sl_blob empty = {.secret = true}, some = {.data = SL_S("x"), .secret = true};
    assert_int_equal(sl_jwks_secret(&jose, &empty, ALL, &diag, &set), -EINVAL);
    assert_told(&diag, "secret is empty");
    assert_int_equal(sl_jwks_secret(&jose, &some, ALL, &diag, &set), 0);
    assert_int_equal(set.v[0].algs, 7u << SL_JOSE_HS256);
    sl_jwks_free(&set);
}

/* A prepared context must verify again and again, also after a failure, and leave no error behind. */
static void verifying_twice(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SL_JOSE_ALG_COUNT; i++) {
        const enum sl_jose_alg alg = (enum sl_jose_alg)i;
        struct signer s = signer_of(alg);
        struct sl_jwks set;
        assert_int_equal(parse(sl_arena_printf(&arena, "{'keys': [%s]}", jwk_of(&s, NULL)), ALL, &set), 0);
        const struct sl_slice input = SL_S("header.payload"), sig = sign_bytes(&s, input);
        for (unsigned round = 0; round < 3; round++) {
            assert_true(sl_jwk_verify(&jose, set.v, alg, input, sig));
            assert_false(sl_jwk_verify(&jose, set.v, alg, SL_S("header.paXload"), sig));
            assert_false(sl_jwk_verify(&jose, set.v, alg, input, sl_slice(sig.p, sig.n - 1)));
            assert_false(sl_jwk_verify(&jose, set.v, alg, input, SL_S("")));
        }
        assert_int_equal(ERR_peek_error(), 0);
        sl_jwks_free(&set);
        EVP_PKEY_free(s.key);
    }
}

/* r or s of zero, and of the wrong width (PITFALLS 25). */
static void ecdsa_of_wrong_shape(void **state)
{
    (void)state;
    struct signer s = signer_of(SL_JOSE_ES256);
    struct sl_jwks set;
    assert_int_equal(parse(sl_arena_printf(&arena, "{'keys': [%s]}", jwk_of(&s, NULL)), ALL, &set), 0);
    const struct sl_slice input = SL_S("x"), sig = sign_bytes(&s, input);
    char bad[80];
    for (unsigned half = 0; half < 2; half++) {
        memcpy(bad, sig.p, 64);
        memset(bad + 32 * half, 0, 32);
        assert_false(sl_jwk_verify(&jose, set.v, SL_JOSE_ES256, input, sl_slice(bad, 64)));
    }
    memset(bad, 0, sizeof(bad));
    memcpy(bad, sig.p, 64);
    assert_false(sl_jwk_verify(&jose, set.v, SL_JOSE_ES256, input, sl_slice(bad, 65)));
    memcpy(bad + 1, sig.p, 32); /* one zero more before each half: the same numbers, wider */
    memcpy(bad + 34, sig.p + 32, 32);
    bad[0] = bad[33] = 0;
    assert_false(sl_jwk_verify(&jose, set.v, SL_JOSE_ES256, input, sl_slice(bad, 66)));
    memset(bad, 0xff, 64);
    assert_false(sl_jwk_verify(&jose, set.v, SL_JOSE_ES256, input, sl_slice(bad, 64)));
    sl_jwks_free(&set);
    EVP_PKEY_free(s.key);
}

#define unit_test_jwk(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_jwk(masks),           unit_test_jwk(skipped),
        unit_test_jwk(weak_rsa),        unit_test_jwk(a_bad_key_beside_a_good_one_is_a_warning),
        unit_test_jwk(no_key_set),      unit_test_jwk(an_empty_secret_is_refused),
        unit_test_jwk(verifying_twice), unit_test_jwk(ecdsa_of_wrong_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
