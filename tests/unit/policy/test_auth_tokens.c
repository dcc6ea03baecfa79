/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, good and hostile, and the caches of what was judged. */
#include "auth_test.h"
#include "harness/ca.h"

#include <errno.h>

/* ---- tokens */

static void good_tokens_of_each_key(void **state)
{
    (void)state;
    const struct signer *const all[] = {&rs, &es, &ed};
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        assert_string_equal(ask("/corp", token(all[i], GOOD())), "ok");
        assert_true(outcome.verified);
        assert_false(outcome.cached);
        assert_slice(outcome.identity->consumer_name, "alice");
        assert_null(outcome.identity->consumer);
        assert_string_equal(outcome.identity->tier->name, "anonymous");
        assert_int_not_equal(outcome.identity->credential, 0);
        assert_int_equal(outcome.identity->expires_wall_s, 1700000600);
        assert_slice(sl_identity_claim(outcome.identity, SL_S("aud"), &arena), "orders");
    }
}

static void a_consumer_by_its_claim(void **state)
{
    (void)state;
    assert_string_equal(
        ask("/other", token(&es2, "{'iss': 'https://other.test', 'exp': 1700000600, 'client_id': 'svc'}")),
        "ok");
    assert_string_equal(outcome.identity->consumer->name, "svc");
    assert_string_equal(outcome.identity->tier->name, "gold");
    /* a name with a control byte is nobody's, rather than svc's */
    assert_string_equal(
        ask("/other",
            token(&es2, "{'iss': 'https://other.test', 'exp': 1700000600, 'client_id': 's\\u0001vc'}")),
        "ok");
    assert_null(outcome.identity->consumer);
    assert_int_equal(outcome.identity->consumer_name.n, 0);
}

static void refused(struct sl_slice t, const char *detail)
{
    for (unsigned round = 0; round < 2; round++) { /* also when it is remembered */
        assert_string_equal(ask("/corp", t), "bad token");
        assert_null(outcome.identity);
        if (!strstr(outcome.detail, detail))
            fail_msg("\"%s\", not \"%s\"", outcome.detail, detail);
        assert_non_null(strstr(outcome.challenge, "error=\"invalid_token\""));
        assert_non_null(strstr(outcome.challenge, outcome.detail));
    }
}

static void claims_that_do_not_hold(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{'iss': 'https://auth.test', 'aud': 'orders'}", "no exp"},
        {GOOD(", 'nbf': 1700000011"), "not valid yet"},
        {GOOD(", 'nbf': '0'"), "nbf is no whole number"},
        {GOOD(", 'nbf': -5"), "nbf is no whole number"},
        {GOOD(", 'nbf': 1.5"), "nbf is no whole number"},
        {GOOD(", 'nbf': null"), "nbf is no whole number"},
        {GOOD(", 'sub': 'mallory'"), "a name twice"},
        {"{'aud': 'orders', 'exp': 1700000600}", "issuer"},
        {"{'iss': 'https://auth.test/', 'aud': 'orders', 'exp': 1700000600}", "issuer"},
        {"{'iss': ['https://auth.test'], 'aud': 'orders', 'exp': 1700000600}", "issuer"},
        {"{'iss': 'https://auth.test', 'exp': 1700000600}", "another audience"},
        {"{'iss': 'https://auth.test', 'aud': 'Orders', 'exp': 1700000600}", "another audience"},
        {"{'iss': 'https://auth.test', 'aud': ['a', 7, ['orders']], 'exp': 1700000600}", "another audience"},
        {"{'iss': 'https://auth.test', 'aud': {'orders': 1}, 'exp': 1700000600}", "another audience"},
        {"[1]", "no JSON object"},
        {"'x'", "no JSON object"},
        {"", "no JSON object"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        refused(token(&es, bad[i][0]), bad[i][1]);
}

static void exp_must_be_a_whole_number_within_reach(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "'1700000600'", "1700000600.0", "1.7000006e9",      "-1",    "null",
        "true",         "[1700000600]", "9007199254740993", "1e300", "9223372036854775807"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        refused(token(&es, sl_arena_printf(&arena, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': %s}",
                                           bad[i])),
                "no exp");
    refused(token(&es, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 18446744073709551615}"),
            "no JSON object");
    refused(token(&es, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 0}"), "expired");
    refused(token(&es, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 1699999990}"), "expired");
    assert_string_equal(
        ask("/corp", token(&es, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 1699999991}")), "ok");
    assert_string_equal(
        ask("/corp", token(&es, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 9007199254740992}")),
        "ok");
    assert_string_equal(ask("/corp", token(&es, GOOD(", 'nbf': 1700000010"))), "ok");
}

static void audience_as_string_or_list(void **state)
{
    (void)state;
    assert_string_equal(
        ask("/corp", token(&es, "{'iss': 'https://auth.test', 'aud': 'billing', 'exp': 1700000600}")), "ok");
    assert_string_equal(
        ask("/corp", token(&es, "{'iss': 'https://auth.test', 'aud': ['x', 'orders'], 'exp': 1700000600}")),
        "ok");
}

static struct sl_slice unsigned_token(const char *header, const char *sig)
{
    return join3(b64(quoted(header)), b64(quoted(GOOD())), sl_slice_str(sig));
}

static void headers_that_try_it_on(void **state)
{
    (void)state;
    refused(unsigned_token("{'alg': 'none'}", ""), "no compact JWS");
    refused(unsigned_token("{'alg': 'none'}", "AA"), "algorithm");
    refused(unsigned_token("{'alg': 'NONE', 'kid': 'es'}", "AA"), "algorithm");
    refused(unsigned_token("{'alg': ''}", "AA"), "algorithm");
    refused(unsigned_token("{'alg': null}", "AA"), "RFC 7515");
    refused(unsigned_token("{'alg': ['ES256']}", "AA"), "RFC 7515");
    refused(unsigned_token("{}", "AA"), "RFC 7515");
    refused(unsigned_token("[]", "AA"), "RFC 7515");
    refused(token_of(&es, HEAD_ES ", 'crit': ['exp'], 'exp': 1}", GOOD()), "extension");
    refused(token_of(&es, HEAD_ES ", 'crit': []}", GOOD()), "extension");
    refused(token_of(&es, HEAD_ES ", 'b64': false}", GOOD()), "extension");
    refused(token_of(&es, HEAD_ES ", 'zip': 'DEF'}", GOOD()), "encrypted");
    refused(token_of(&es, HEAD_ES ", 'enc': 'A128GCM'}", GOOD()), "encrypted");
    refused(token_of(&es, HEAD_ES ", 'alg': 'ES256'}", GOOD()), "RFC 7515");
    refused(token_of(&es, "{'alg': 'ES256', 'kid': 7}", GOOD()), "RFC 7515");
    refused(token_of(&es, "{'alg': 'ES256', 'kid': '../../etc/passwd'}", GOOD()), "kid and alg");
    refused(token_of(&es, "{'alg': 'ES256', 'kid': 'es\\' OR 1=1 --'}", GOOD()), "kid and alg");
    refused(token_of(&es, "{'alg': 'ES256', 'kid': 'rs'}", GOOD()), "kid and alg");
    refused(token_of(&es, "{'alg': 'ES256', 'kid': ''}", GOOD()), "kid and alg");
    refused(token_of(&es, "{'alg': 'es256', 'kid': 'es'}", GOOD()), "algorithm");
    refused(token_of(&es, "{'alg': 'ES384', 'kid': 'es'}", GOOD()), "algorithm");
    refused(token_of(&rs, "{'alg': 'PS256', 'kid': 'rs'}", GOOD()), "algorithm");
    assert_string_equal(ask("/corp", token_of(&es, "{'alg': 'ES256'}", GOOD())), "ok"); /* no kid: tried */
}

/* The public key as an HMAC secret, in every spelling that is public (RFC 8725 section 2.1). */
static void algorithm_confusion(void **state)
{
    (void)state;
    struct signer evil = {.alg = SL_JOSE_HS256};
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, rs.key), 1);
    const long n = BIO_get_mem_data(bio, &pem);
    evil.secret = sl_slice(pem, (size_t)n);
    refused(token_of(&evil, "{'alg': 'HS256', 'kid': 'rs'}", GOOD()), "algorithm");
    evil.secret = bn_b64(rs.key, OSSL_PKEY_PARAM_RSA_N, 0);
    refused(token_of(&evil, "{'alg': 'HS256', 'kid': 'rs'}", GOOD()), "algorithm");
    refused(token_of(&evil, "{'alg': 'RS256', 'kid': 'rs'}", GOOD()), "signature");
    evil.secret = SL_S("");
    refused(token_of(&evil, "{'alg': 'HS256'}", GOOD()), "algorithm");
    BIO_free(bio);
}

/* Keys come from the policy, not from the token. */
static void keys_that_the_token_brings(void **state)
{
    (void)state;
    refused(token_of(&es2, sl_arena_printf(&arena, HEAD_ES ", 'jwk': %s}", jwk_of(&es2, NULL)), GOOD()),
            "signature");
    refused(
        token_of(&es2, sl_arena_printf(&arena, "{'alg': 'ES256', 'jwk': %s}", jwk_of(&es2, NULL)), GOOD()),
        "signature");
    refused(token_of(&es2, HEAD_ES ", 'jku': 'https://evil.test/jwks', 'x5u': 'https://evil.test'}", GOOD()),
            "signature");
    assert_string_equal(
        ask("/corp", token_of(&es, HEAD_ES ", 'jku': 'https://evil.test/jwks', 'x5t': 'abc'}", GOOD())),
        "ok");
}

static void shapes(void **state)
{
    (void)state;
    const struct sl_slice good = token(&es, GOOD());
    const struct sl_slice one = sl_slice_str(sl_arena_printf(&arena, SL_SFMT "=", SL_SARG(good)));
    refused(one, "no compact JWS");
    static const char *const bad[] = {".",       "..",        "...",   "a",       "a.b",
                                      "a.b.c.d", "a.b.c.d.e", "e30..", ".e30.AA", "{}"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        refused(sl_slice_str(bad[i]), "the token");
    const ssize_t dot = sl_slice_chr(good, '.');
    refused(sl_slice(good.p, (size_t)dot), "no compact JWS");
    refused(sl_slice(good.p, good.n - 1), "the token");
    refused(sl_slice_str(sl_arena_printf(&arena, SL_SFMT "AAAA", SL_SARG(good))), "signature");
    /* the same signature spelt with a stray low bit: 64 bytes leave 4 bits in the last letter */
    char *alias = sl_arena_strdup(&arena, good);
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    alias[good.n - 1] = letters[(strchr(letters, alias[good.n - 1]) - letters) ^ 1];
    refused(sl_slice(alias, good.n), "no compact JWS");
}

static void each_bit_of_the_signature_counts(void **state)
{
    (void)state;
    const struct signer *const all[] = {&rs, &es, &ed};
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        const struct sl_slice good = token(all[i], GOOD(", 'x': 1"));
        assert_string_equal(ask("/corp", good), "ok");
        for (size_t at = 0; at < good.n; at += 7) {
            char *bad = sl_arena_strdup(&arena, good);
            bad[at] = bad[at] == 'A' ? 'B' : 'A';
            assert_string_equal(ask("/corp", sl_slice(bad, good.n)), "bad token");
        }
        assert_string_equal(ask("/corp", good), "ok");
    }
}

static void huge_and_deep_tokens(void **state)
{
    (void)state;
    char *pad = sl_arena_alloc(&arena, 20001);
    memset(pad, 'x', 20000);
    pad[20000] = '\0';
    refused(token(&es, sl_arena_printf(&arena, GOOD(", 'pad': '%s'"), pad)), "longer than 16 KiB");
    pad[8000] = '\0';
    assert_string_equal(ask("/corp", token(&es, sl_arena_printf(&arena, GOOD(", 'pad': '%s'"), pad))), "ok");
    memset(pad, '[', 5000);
    pad[5000] = '\0';
    refused(token(&es, sl_arena_printf(&arena, GOOD(", 'pad': %s"), pad)), "no JSON object");
    refused(token_of(&es, sl_arena_printf(&arena, HEAD_ES ", 'pad': %s}", pad), GOOD()), "RFC 7515");
}

/* ---- the caches */

static void a_token_is_verified_once(void **state)
{
    (void)state;
    const struct sl_slice t = token(&rs, GOOD(", 'once': 1"));
    assert_string_equal(ask("/corp", t), "ok");
    assert_true(outcome.verified && !outcome.cached);
    const struct sl_identity *first = outcome.identity;
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(ask("/corp", t), "ok");
        assert_true(outcome.cached && !outcome.verified);
        assert_ptr_equal(outcome.identity, first);
        assert_string_equal(header(&req.headers, "X-User-Id"), "alice");
    }
    /* another provider has its own opinion of it */
    assert_string_equal(ask("/other", t), "bad token");
}

static void the_cache_ends_with_exp(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 1700000005}");
    assert_string_equal(ask_at("/corp", t, NOW), "ok");
    assert_string_equal(ask_at("/corp", t, NOW + 14), "ok"); /* skew: 10 s */
    assert_true(outcome.cached);
    assert_string_equal(ask_at("/corp", t, NOW + 15), "bad token");
    assert_non_null(strstr(outcome.detail, "expired"));
}

static void the_cache_ends_with_its_own_ceiling(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, GOOD(", 'ceiling': 1"));
    assert_string_equal(ask_at("/corp", t, NOW), "ok");
    assert_string_equal(ask_at("/corp", t, NOW + 299), "ok");
    assert_true(outcome.cached);
    assert_string_equal(ask_at("/corp", t, NOW + 300), "ok");
    assert_true(outcome.verified && !outcome.cached);
}

static void a_bad_signature_is_looked_at_once(void **state)
{
    (void)state;
    const struct sl_slice bad = token(&es2, GOOD(", 'bad': 1"));
    assert_string_equal(ask("/corp", bad), "bad token");
    assert_true(outcome.verified);
    assert_string_equal(ask_at("/corp", bad, NOW + 9), "bad token");
    assert_false(outcome.verified);
    assert_string_equal(ask_at("/corp", bad, NOW + 10), "bad token");
    assert_true(outcome.verified);
}

static void what_is_not_valid_yet_becomes_so(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, GOOD(", 'nbf': 1700000012"));
    assert_string_equal(ask_at("/corp", t, NOW), "bad token");
    assert_string_equal(ask_at("/corp", t, NOW + 2), "ok");
}

/* More tokens than the cache holds: each is still judged rightly, and identities in use outlive their entry.
 */
static void more_tokens_than_room(void **state)
{
    (void)state;
    const struct sl_slice t = token(&ed, GOOD(", 'first': 1"));
    assert_string_equal(ask("/corp", t), "ok");
    struct sl_identity *kept = outcome.identity;
    kept->refs++;
    sl_arena_free(&arena);
    for (unsigned i = 0; i < 12000; i++) {
        const struct sl_slice h = b64(quoted("{'alg': 'EdDSA', 'kid': 'ed'}"));
        const struct sl_slice c = b64(quoted(sl_arena_printf(&arena, GOOD(", 'n': %u"), i)));
        const char *input = sl_arena_printf(&arena, SL_SFMT "." SL_SFMT, SL_SARG(h), SL_SARG(c));
        assert_string_equal(ask("/corp", join3(h, c, b64(sign_bytes(&ed, sl_slice_str(input))))), "ok");
        sl_arena_reset(&arena);
    }
    assert_slice(kept->consumer_name, "alice");
    assert_slice(sl_identity_claim(kept, SL_S("first"), &arena), "1");
    sl_identity_unref(kept);
}

/* ---- keys that are fetched */

/* What one policy with a fetching provider says to a token; text NULL: the keys stay as they are. */
static const char *with_keys(struct sl_policy *p, const char *text, struct sl_slice t, bool may_wait)
{
    const struct sl_auth *auth = &p->snapshot->auths[0];
    sl_identity_unref(outcome.identity);
    if (text)
        assert_int_equal(sl_authenticator_set_keys(p->auth, auth->jwt.remote.source, quoted(text)), 0);
    req = request("GET", "h", "/x");
    bearer(t);
    outcome = sl_authenticate(p->auth, &p->snapshot->routes[0], &req, &arena, NOW,
                              &(struct sl_auth_again){.sought = !may_wait});
    return outcome.result == SL_AUTH_WAIT      ? "wait"
           : outcome.result == SL_AUTH_NO_KEYS ? "no keys"
           : outcome.cached                    ? "cached"
                                               : name_of(outcome.result);
}

static void fetched_keys_come_and_go(void **state)
{
    (void)state;
    struct sl_policy *p = NULL;
    struct sl_diag diag;
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *s = NULL;
    sl_diag_init(&diag);
    const char *text = POLICY("'auth': {'a': {'type': 'jwt', 'algorithms': ['ES256', 'RS256'], 'jwks_uri': "
                              "'https://a.test/', 'tls': {'ca': '" TEST_CA "'}}},"
                              "'routes': {'r': {'upstream': 'u', 'auth': ['a']}}");
    assert_int_equal(sl_bundle_from_text("p.json", quoted(text), &diag, &bundle), 0);
    assert_int_equal(sl_snapshot_new(bundle, &diag, &s), 0);
    assert_int_equal(sl_policy_new(s, &diag, &p), 0);
    const char *one = sl_arena_printf(&arena, "{'keys': [%s]}", jwk_of(&es, NULL));
    const char *both = sl_arena_printf(&arena, "{'keys': [%s, %s]}", jwk_of(&es, NULL), jwk_of(&rs, NULL));
    const struct sl_slice t = token(&es, GOOD()), u = token(&rs, GOOD());

    assert_string_equal(with_keys(p, NULL, t, true), "wait");
    assert_non_null(header(&req.headers, "Authorization")); /* it is judged again */
    assert_true(outcome.source == s->auths[0].jwt.remote.source);
    assert_string_equal(with_keys(p, NULL, t, false), "no keys");
    assert_string_equal(with_keys(p, NULL, sl_slice_str("a.b"), true), "bad token");
    assert_string_equal(with_keys(p, one, t, true), "ok");
    assert_string_equal(with_keys(p, NULL, t, true), "cached");
    assert_string_equal(with_keys(p, NULL, u, true), "wait");
    assert_string_equal(with_keys(p, NULL, u, false), "bad token");
    assert_string_equal(with_keys(p, both, u, true), "ok");
    assert_string_equal(with_keys(p, NULL, t, true),
                        "ok"); /* verified anew: its key might have been replaced */
    assert_string_equal(with_keys(p, NULL, t, true), "cached");

    /* the same kid, another key: what the former one verified is not believed */
    assert_string_equal(with_keys(p, sl_arena_printf(&arena, "{'keys': [%s]}", jwk_of(&es2, NULL)), t, true),
                        "bad token");
    assert_string_equal(with_keys(p, one, t, true), "ok"); /* and not what it refused */
    assert_int_equal(sl_authenticator_set_keys(p->auth, s->auths[0].jwt.remote.source, SL_S("{}")), -EINVAL);
    assert_int_equal(sl_authenticator_set_keys(p->auth, 1, SL_S("{}")), -ENOENT);
    assert_string_equal(with_keys(p, NULL, t, true), "cached");
    assert_string_equal(with_keys(p, "", t, false), "no keys");
    sl_identity_unref(SL_TAKE_PTR(outcome.identity));
    sl_policy_free(p);
    sl_snapshot_unref(s);
    sl_bundle_free(bundle);
    sl_diag_free(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_auth(good_tokens_of_each_key),
        unit_test_auth(a_consumer_by_its_claim),
        unit_test_auth(claims_that_do_not_hold),
        unit_test_auth(exp_must_be_a_whole_number_within_reach),
        unit_test_auth(audience_as_string_or_list),
        unit_test_auth(headers_that_try_it_on),
        unit_test_auth(algorithm_confusion),
        unit_test_auth(keys_that_the_token_brings),
        unit_test_auth(shapes),
        unit_test_auth(each_bit_of_the_signature_counts),
        unit_test_auth(huge_and_deep_tokens),
        unit_test_auth(a_token_is_verified_once),
        unit_test_auth(the_cache_ends_with_exp),
        unit_test_auth(the_cache_ends_with_its_own_ceiling),
        unit_test_auth(a_bad_signature_is_looked_at_once),
        unit_test_auth(what_is_not_valid_yet_becomes_so),
        unit_test_auth(more_tokens_than_room),
        unit_test_auth(fetched_keys_come_and_go),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
