/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with all kinds of tokens and keys, as one route judges them, and what the upstream gets to see. */
#include "sign_test.h"

#include <jansson.h>

#define NOW 1700000000ull

static struct signer rs = {.alg = SL_JOSE_RS256, .kid = "rs"}, es = {.alg = SL_JOSE_ES256, .kid = "es"},
                     es2 = {.alg = SL_JOSE_ES256, .kid = "es"}, ed = {.alg = SL_JOSE_EDDSA, .kid = "ed"},
                     hs = {.alg = SL_JOSE_HS256, .secret = {"0123456789abcdef0123456789abcdef", 32}};
static struct sl_policy *policy;

/* printf 'acme-key' | sha256sum */
static const char *hash_of(const char *key)
{
    unsigned char md[32];
    char *hex = sl_arena_alloc(&arena, 65);
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, key, strlen(key), md, NULL), 1);
    for (unsigned i = 0; i < 32; i++)
        (void)sprintf(hex + 2 * i, "%02x", md[i]);
    return hex;
}

static const char *policy_text(void)
{
    return sl_arena_printf(
        &arena,
        POLICY(
            "'auth': {"
            "'corp': {'type': 'jwt', 'issuer': 'https://auth.test', 'audiences': ['orders', 'billing'],"
            "  'algorithms': ['RS256', 'ES256', 'EdDSA'], 'jwks': {'keys': [%s, %s, %s]}, 'clock_skew': "
            "'10s',"
            "  'roles_claim': 'realm.roles', 'claims_to_headers': {'sub': 'X-User-Id', 'realm.roles': "
            "'X-User-Roles'},"
            "  'from': {'header': 'Authorization', 'cookie': 'session', 'query': 'access_token'}},"
            "'other': {'type': 'jwt', 'issuer': 'https://other.test', 'algorithms': ['ES256'],"
            "  'jwks': {'keys': [%s]}, 'consumer_claim': 'client_id', 'forward': true},"
            "'hs': {'type': 'jwt', 'algorithms': ['HS256'], 'secret': {'$env': 'S'}, 'claims_to_verify': [],"
            "  'from': {'header': 'X-Token'}, 'cache': '0s'},"
            "'keys': {'type': 'key', 'names': ['apikey', 'X-Api-Key'], 'in': ['header', 'query']},"
            "'shown': {'type': 'key', 'names': ['shown'], 'hide': false}},"
            "'tiers': {'gold': {'rate_limit': {'second': 5}}, 'anonymous': {'rate_limit': {'second': 1}}},"
            "'consumers': {'acme': {'tier': 'gold', 'groups': ['eu'], 'keys': ['%s']},"
            "  'globex': {'keys': ['%s', '%s']}, 'svc': {'tier': 'gold'}},"
            "'routes': {"
            "'corp': {'paths': ['/corp'], 'upstream': 'u', 'auth': ['corp']},"
            "'any': {'paths': ['/any'], 'upstream': 'u', 'auth': ['corp', 'other', 'keys']},"
            "'other': {'paths': ['/other'], 'upstream': 'u', 'auth': ['other']},"
            "'hs': {'paths': ['/hs'], 'upstream': 'u', 'auth': ['hs']},"
            "'keys': {'paths': ['/keys'], 'upstream': 'u', 'auth': ['keys']},"
            "'shown': {'paths': ['/shown'], 'upstream': 'u', 'auth': ['shown']},"
            "'open': {'paths': ['/open'], 'upstream': 'u', 'auth': ['public']},"
            "'mixed': {'paths': ['/mixed'], 'upstream': 'u', 'auth': ['corp', 'keys', 'public']},"
            "'role': {'paths': ['/role'], 'upstream': 'u', 'auth': ['corp'], 'require': {'roles': ['admin', "
            "'ops']}},"
            "'scope': {'paths': ['/scope'], 'upstream': 'u', 'auth': ['corp'], 'require': {'scopes': "
            "['read']}},"
            "'group': {'paths': ['/group'], 'upstream': 'u', 'auth': ['keys', 'corp'], 'require': {'groups': "
            "['eu']}}}"),
        jwk_of(&rs, "'alg': 'RS256'"), jwk_of(&es, NULL), jwk_of(&ed, NULL), jwk_of(&es2, NULL),
        hash_of("acme-key"), hash_of("globex-1"), hash_of("globex+2"));
}

static int setup_all(void **state)
{
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *s = NULL;
    struct sl_diag diag;
    (void)with_arena(state);
    rs.key = new_key(rs.alg);
    es.key = new_key(es.alg);
    es2.key = new_key(es2.alg);
    ed.key = new_key(ed.alg);
    sl_diag_init(&diag);
    int r = sl_bundle_from_text("p.json", quoted(policy_text()), &diag, &bundle);
    if (r == 0)
        r = sl_bundle_put(bundle, true, "S", hs.secret);
    if (r == 0)
        r = sl_snapshot_new(bundle, &diag, &s);
    if (r == 0)
        r = sl_policy_new(s, &diag, &policy);
    if (r)
        print_diag(&diag);
    sl_snapshot_unref(s);
    sl_bundle_free(bundle);
    sl_diag_free(&diag);
    (void)drop_arena(state);
    return r;
}

static int teardown_all(void **state)
{
    (void)state;
    sl_policy_free(policy);
    EVP_PKEY_free(rs.key);
    EVP_PKEY_free(es.key);
    EVP_PKEY_free(es2.key);
    EVP_PKEY_free(ed.key);
    return 0;
}

/* ---- one request */

static struct sl_request req;
static struct sl_auth_outcome outcome;

static const char *name_of(enum sl_auth_result r)
{
    static const char *const names[] = {"ok",      "none",     "bad token", "bad key",
                                        "no role", "no scope", "no group"};
    return names[r];
}

/* Of a request made by request() and add_header(). */
static const char *judge_at(uint64_t now)
{
    uint32_t index = 0, methods;
    sl_identity_unref(outcome.identity);
    assert_int_equal(sl_router_match(policy->router, &req, &index, &methods), SL_ROUTE_FOUND);
    outcome = sl_authenticate(policy->auth, &policy->snapshot->routes[index], &req, &arena, now);
    return name_of(outcome.result);
}

static const char *judge(void)
{
    return judge_at(NOW);
}

static void bearer(struct sl_slice t)
{
    add_header(&req.headers, "Authorization", sl_arena_printf(&arena, "Bearer " SL_SFMT, SL_SARG(t)));
}

static const char *ask_at(const char *target, struct sl_slice t, uint64_t now)
{
    req = request("GET", "h", target);
    bearer(t);
    return judge_at(now);
}

static const char *ask(const char *target, struct sl_slice t)
{
    return ask_at(target, t, NOW);
}

static int setup(void **state)
{
    outcome = (struct sl_auth_outcome){0};
    return with_arena(state);
}

static int teardown(void **state)
{
    sl_identity_unref(outcome.identity);
    return drop_arena(state);
}

/* Claims that /corp accepts, with more behind them: ", 'a': 1". */
#define GOOD(more) "{'iss': 'https://auth.test', 'aud': 'orders', 'sub': 'alice', 'exp': 1700000600" more "}"
#define HEAD_ES    "{'alg': 'ES256', 'kid': 'es'"

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

/* ---- where they stand */

static void places_and_schemes(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, GOOD());
    static const char *const accepted[] = {"Bearer %s", "bearer %s", "BEARER   %s"};
    static const char *const none[] = {"%.0sBearer", "%.0sBearer ", "Bearer\t%s", "Token %s",
                                       "%s",         "Basic %s",    "Bearer%s"};
    for (size_t i = 0; i < SL_ARRAY_LEN(accepted); i++) {
        req = request("GET", "h", "/corp");
        add_header(&req.headers, "authorization",
                   sl_arena_printf(&arena, accepted[i], sl_arena_strdup(&arena, t)));
        assert_string_equal(judge(), "ok");
        assert_null(header(&req.headers, "Authorization"));
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(none); i++) {
        req = request("GET", "h", "/corp");
        add_header(&req.headers, "Authorization",
                   sl_arena_printf(&arena, none[i], sl_arena_strdup(&arena, t)));
        assert_string_equal(judge(), "none");
        assert_string_equal(outcome.challenge, "Bearer realm=\"sluice\"");
    }
}

static void cookie_and_query(void **state)
{
    (void)state;
    const char *t = sl_arena_strdup(&arena, token(&es, GOOD()));
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", sl_arena_printf(&arena, "a=b; session=%s; c=d", t));
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "Cookie"), "a=b; c=d");
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", sl_arena_printf(&arena, "session=%s", t));
    assert_string_equal(judge(), "ok");
    assert_null(header(&req.headers, "Cookie"));
    req = request("GET", "h", sl_arena_printf(&arena, "/corp?x=1&access_token=%s&y=2", t));
    assert_string_equal(judge(), "ok");
    assert_slice(req.query, "x=1&y=2");
    req = request("GET", "h", sl_arena_printf(&arena, "/corp?access%%5ftoken=%s", t));
    assert_string_equal(judge(), "ok");
    assert_null(req.query.p);
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", "xsession=1; session_id=2; SESSION=3; session");
    assert_string_equal(judge(), "none");
    assert_string_equal(header(&req.headers, "Cookie"), "xsession=1; session_id=2; SESSION=3; session");
}

static void given_twice_is_refused(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, GOOD());
    const char *text = sl_arena_strdup(&arena, t);
    req = request("GET", "h", "/corp");
    bearer(t);
    bearer(t);
    assert_string_equal(judge(), "bad token");
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Authorization", "Basic eDp5");
    bearer(t);
    assert_string_equal(judge(), "bad token");
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", sl_arena_printf(&arena, "session=%s; session=x", text));
    assert_string_equal(judge(), "bad token");
    req = request("GET", "h", sl_arena_printf(&arena, "/corp?access_token=%s&access_token=x", text));
    assert_string_equal(judge(), "bad token");
    assert_non_null(strstr(outcome.detail, "more than once"));
}

/* The header is what is gone by, and the others are hidden all the same. */
static void all_places_are_hidden(void **state)
{
    (void)state;
    req = request("GET", "h", "/corp?access_token=q&z=1");
    bearer(token(&es, GOOD()));
    add_header(&req.headers, "Cookie", "session=c");
    assert_string_equal(judge(), "ok");
    assert_slice(req.query, "z=1");
    assert_null(header(&req.headers, "Cookie"));
    assert_null(header(&req.headers, "Authorization"));
}

static void forward_leaves_the_token(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es2, "{'iss': 'https://other.test', 'exp': 1700000600}");
    assert_string_equal(ask("/other", t), "ok");
    assert_non_null(header(&req.headers, "Authorization"));
}

static void a_header_of_its_own(void **state)
{
    (void)state;
    const struct sl_slice t = token(&hs, "{'sub': 'x'}"); /* claims_to_verify: [] */
    req = request("GET", "h", "/hs");
    add_header(&req.headers, "x-token", sl_arena_strdup(&arena, t));
    assert_string_equal(judge(), "ok");
    assert_null(header(&req.headers, "X-Token"));
    req = request("GET", "h", "/hs");
    bearer(t);
    assert_string_equal(judge(), "none");
    assert_non_null(header(&req.headers, "Authorization"));
    for (unsigned i = 0; i < 2; i++) { /* cache: 0s */
        req = request("GET", "h", "/hs");
        add_header(&req.headers, "X-Token", sl_arena_strdup(&arena, t));
        assert_string_equal(judge(), "ok");
        assert_false(outcome.cached);
    }
}

/* ---- several providers */

static void the_issuer_chooses(void **state)
{
    (void)state;
    assert_string_equal(ask("/any", token(&es, GOOD())), "ok");
    assert_string_equal(outcome.identity->provider->name, "corp");
    assert_string_equal(ask("/any", token(&es2, "{'iss': 'https://other.test', 'exp': 1700000600}")), "ok");
    assert_string_equal(outcome.identity->provider->name, "other");
    /* a key is only good for its own issuer's tokens */
    assert_string_equal(ask("/any", token(&es2, GOOD())), "bad token");
    assert_string_equal(ask("/any", token(&es, "{'iss': 'https://other.test', 'exp': 1700000600}")),
                        "bad token");
    assert_non_null(strstr(outcome.detail, "signature"));
    assert_string_equal(ask("/any", token(&es, "{'iss': 'https://third.test', 'exp': 1700000600}")),
                        "bad token");
    assert_non_null(strstr(outcome.detail, "issuer"));
    assert_false(outcome.verified);
    assert_string_equal(ask("/other", token(&es2, GOOD())), "bad token");
    assert_non_null(strstr(outcome.detail, "issuer"));
}

static void whichever_is_there(void **state)
{
    (void)state;
    req = request("GET", "h", "/any");
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    assert_string_equal(outcome.identity->provider->name, "keys");
    req = request("GET", "h", "/any");
    bearer(SL_S("x.y.z"));
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    req = request("GET", "h", "/any");
    assert_string_equal(judge(), "none");
    assert_string_equal(outcome.challenge, "Bearer realm=\"sluice\", Key realm=\"sluice\"");
    req = request("GET", "h", "/any");
    bearer(SL_S("x.y.z"));
    add_header(&req.headers, "apikey", "wrong");
    assert_string_equal(judge(), "bad token");
    assert_null(header(&req.headers, "apikey"));
}

static void public_routes(void **state)
{
    (void)state;
    assert_string_equal(ask("/open", SL_S("whatever")), "ok");
    assert_null(outcome.identity);
    assert_non_null(header(&req.headers, "Authorization")); /* the upstream's own business */
    req = request("GET", "h", "/mixed");
    assert_string_equal(judge(), "ok");
    assert_null(outcome.identity);
    assert_string_equal(ask("/mixed", token(&es, GOOD())), "ok");
    assert_non_null(outcome.identity);
    assert_string_equal(ask("/mixed", SL_S("x.y.z")), "bad token");
    req = request("GET", "h", "/mixed");
    add_header(&req.headers, "apikey", "wrong");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/mixed");
    add_header(&req.headers, "Authorization", "Basic eDp5");
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "Authorization"), "Basic eDp5");
}

/* ---- keys */

static void api_keys(void **state)
{
    (void)state;
    static const char *const names[] = {"apikey", "APIKEY", "X-Api-Key"};
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        req = request("GET", "h", "/keys?a=1");
        add_header(&req.headers, names[i], "acme-key");
        assert_string_equal(judge(), "ok");
        assert_string_equal(outcome.identity->consumer->name, "acme");
        assert_string_equal(outcome.identity->tier->name, "gold");
        assert_int_equal(count_headers(&req.headers), 0);
        assert_slice(req.query, "a=1");
    }
    const uint64_t acme = outcome.identity->credential;
    req = request("GET", "h", "/keys?a=1&apikey=globex-1");
    assert_string_equal(judge(), "ok");
    assert_slice(outcome.identity->consumer_name, "globex");
    assert_slice(req.query, "a=1");
    const uint64_t first = outcome.identity->credential;
    req = request("GET", "h", "/keys?apikey=globex%2B2");
    assert_string_equal(judge(), "ok");
    assert_slice(outcome.identity->consumer_name, "globex");
    assert_true(first != acme && first != outcome.identity->credential);
    req = request("GET", "h", "/shown");
    add_header(&req.headers, "shown", "acme-key");
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "shown"), "acme-key");
}

static void wrong_api_keys(void **state)
{
    (void)state;
    const char *const wrong[] = {"acme-kex", "acme-key ", "ACME-KEY", hash_of("acme-key"), "x"};
    for (size_t i = 0; i < SL_ARRAY_LEN(wrong); i++) {
        req = request("GET", "h", "/keys");
        add_header(&req.headers, "apikey", wrong[i]);
        assert_string_equal(judge(), "bad key");
        assert_string_equal(outcome.challenge, "Key realm=\"sluice\"");
    }
    req = request("GET", "h", "/keys?apikey=");
    add_header(&req.headers, "apikey", "");
    assert_string_equal(judge(), "none");
    req = request("GET", "h", "/keys?apikey=acme-key&apikey=globex-1");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/keys");
    add_header(&req.headers, "apikey", "acme-key");
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/shown?shown=acme-key"); /* in: [header] */
    assert_string_equal(judge(), "none");
}

/* ---- what it may do */

static void roles_and_scopes(void **state)
{
    (void)state;
    static const char *const tries[][3] = {
        {"/role", ", 'realm': {'roles': ['x', 'admin']}", "ok"},
        {"/role", ", 'realm': {'roles': 'ops'}", "ok"},
        {"/role", ", 'realm': {'roles': ['administrator']}", "no role"},
        {"/role", ", 'realm': {'roles': ['x admin']}", "no role"},
        {"/role", ", 'realm': {'roles': {'admin': true}}", "no role"},
        {"/role", ", 'roles': ['admin']", "no role"},
        {"/role", "", "no role"},
        {"/scope", ", 'scope': 'write read'", "ok"},
        {"/scope", ", 'scope': ['read']", "ok"},
        {"/scope", ", 'scope': 'reader'", "no scope"},
        {"/scope", ", 'scope': ''", "no scope"},
        {"/scope", "", "no scope"},
        {"/group", "", "no group"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(tries); i++) {
        const char *claims = sl_arena_printf(&arena, GOOD("%s"), tries[i][1]);
        assert_string_equal(ask(tries[i][0], token(&es, claims)), tries[i][2]);
        assert_non_null(outcome.identity); /* known, if not allowed: for the log */
    }
}

static void groups(void **state)
{
    (void)state;
    req = request("GET", "h", "/group");
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    req = request("GET", "h", "/group");
    add_header(&req.headers, "apikey", "globex-1");
    assert_string_equal(judge(), "no group");
}

/* ---- what the upstream sees */

static void identity_headers_are_ours(void **state)
{
    (void)state;
    static const char *const targets[] = {"/corp", "/open", "/keys", "/mixed"};
    for (size_t i = 0; i < SL_ARRAY_LEN(targets); i++) {
        req = request("GET", "h", targets[i]);
        add_header(&req.headers, "X-User-Id", "root");
        add_header(&req.headers, "x_user_id", "root");
        add_header(&req.headers, "X-USER_roles", "admin");
        add_header(&req.headers, "X-User-Idx", "kept");
        add_header(&req.headers, "X-User-Id", "root");
        (void)judge();
        assert_int_equal(count_headers(&req.headers), 1);
        assert_string_equal(header(&req.headers, "X-User-Idx"), "kept");
    }
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "X_User_Id", "root");
    bearer(token(&es, GOOD(", 'realm': {'roles': ['a', 'b,c']}")));
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "X-User-Id"), "alice");
    assert_string_equal(header(&req.headers, "X-User-Roles"), "a,b%2Cc");
    assert_int_equal(count_headers(&req.headers), 2);
}

static void claims_cannot_break_out_of_their_header(void **state)
{
    (void)state;
    static const char claims[] = "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 1700000600, "
                                 "'sub': 'a\\r\\nX-Admin: 1', 'realm': {'roles': ''}}";
    assert_string_equal(ask("/corp", token(&es, claims)), "ok");
    assert_string_equal(header(&req.headers, "X-User-Id"), "aX-Admin: 1");
    assert_null(header(&req.headers, "X-User-Roles")); /* empty claims set no header */
    assert_int_equal(count_headers(&req.headers), 1);
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

#define unit_test_auth(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
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
        unit_test_auth(places_and_schemes),
        unit_test_auth(cookie_and_query),
        unit_test_auth(given_twice_is_refused),
        unit_test_auth(all_places_are_hidden),
        unit_test_auth(forward_leaves_the_token),
        unit_test_auth(a_header_of_its_own),
        unit_test_auth(the_issuer_chooses),
        unit_test_auth(whichever_is_there),
        unit_test_auth(public_routes),
        unit_test_auth(api_keys),
        unit_test_auth(wrong_api_keys),
        unit_test_auth(roles_and_scopes),
        unit_test_auth(groups),
        unit_test_auth(identity_headers_are_ours),
        unit_test_auth(claims_cannot_break_out_of_their_header),
        unit_test_auth(a_token_is_verified_once),
        unit_test_auth(the_cache_ends_with_exp),
        unit_test_auth(the_cache_ends_with_its_own_ceiling),
        unit_test_auth(a_bad_signature_is_looked_at_once),
        unit_test_auth(what_is_not_valid_yet_becomes_so),
        unit_test_auth(more_tokens_than_room),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
