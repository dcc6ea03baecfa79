/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that a server is asked about: what its answers mean, what is remembered, and who is asked at all. */
#include "auth_test.h"
#include "harness/ca.h"

#include "policy/auth_priv.h"

static struct sl_policy *asked;
static struct sl_auth_again again;

static int set_up(void **state)
{
    (void)setup(state);
    again = (struct sl_auth_again){0};
    asked = policy_of(sl_arena_printf(
        &arena,
        POLICY("'auth': {"
               "'one': {'type': 'introspection', 'uri': 'https://as.test/i', 'client_id': 'gw', "
               "'client_secret': 's', 'tls': {'ca': '" TEST_CA
               "'}, 'audiences': ['orders'], 'roles_claim': 'r',"
               "  'claims_to_headers': {'tenant': 'X-Tenant'}},"
               "'two': {'type': 'introspection', 'uri': 'https://other.test/i', 'client_id': 'gw', "
               "'client_secret': 's', 'tls': {'ca': '" TEST_CA "'}, 'cache': '0s'},"
               "'corp': {'type': 'jwt', 'issuer': 'https://auth.test', 'algorithms': ['ES256'], 'jwks': "
               "{'keys': [%s]}}},"
               "'consumers': {'alice': {}},"
               "'routes': {"
               "'one': {'paths': ['/one'], 'upstream': 'u', 'auth': ['one']},"
               "'two': {'paths': ['/two'], 'upstream': 'u', 'auth': ['two']},"
               "'both': {'paths': ['/both'], 'upstream': 'u', 'auth': ['one', 'two']},"
               "'jwt': {'paths': ['/jwt'], 'upstream': 'u', 'auth': ['one', 'corp']}}"),
        jwk_of(&es, NULL)));
    return 0;
}

static int tear_down(void **state)
{
    sl_auth_again_clear(&again);
    sl_policy_free(asked);
    return teardown(state);
}

static const char *ask_for(const char *path, struct sl_slice t)
{
    uint32_t index = 0, methods;
    sl_identity_unref(outcome.identity);
    req = request("GET", "h", path);
    bearer(t);
    assert_int_equal(sl_router_match(asked->router, &req, &index, &methods), SL_ROUTE_FOUND);
    outcome = sl_authenticate(asked->auth, &asked->snapshot->routes[index], &req, &arena, NOW, &again);
    return outcome.result == SL_AUTH_WAIT ? outcome.errand->auth->name : name_of(outcome.result);
}

/* A new request, which has heard nothing yet. */
static const char *first(const char *path, const char *t)
{
    sl_auth_again_clear(&again);
    again = (struct sl_auth_again){0};
    return ask_for(path, sl_slice_str(t));
}

/* What becomes of the request that waits, once its server has said that. */
static const char *said(const char *path, const char *t, enum sl_auth_said how, const char *text)
{
    struct sl_auth_again verdict = {.provider = outcome.errand->provider};
    assert_int_equal(outcome.result, SL_AUTH_WAIT);
    memcpy(verdict.hash, outcome.errand->hash, sizeof(verdict.hash));
    sl_authenticator_hear(asked->auth, sl_slice_str(t), how, text ? quoted(text) : SL_SLICE_NUL, NOW,
                          &verdict);
    sl_auth_again_tell(&again, &verdict);
    sl_auth_again_clear(&verdict);
    return ask_for(path, sl_slice_str(t));
}

#define ACTIVE(more) "{'active': true, 'sub': 'alice', 'aud': 'orders'" more "}"

static void test_an_answer_makes_an_identity_that_is_remembered(void **state)
{
    (void)state;
    assert_string_equal(first("/one", "t"), "one");
    assert_slice(outcome.errand->credential, "t");
    const char *r = said("/one", "t", SL_AUTH_SAID_SO,
                         ACTIVE(", 'r': ['ops'], 'scope': 'a b', 'tenant': 't1', 'token_type': 'BEARER'"));
    assert_string_equal(r, "ok");
    assert_string_equal(outcome.identity->consumer->name, "alice");
    assert_int_equal(outcome.identity->scopes.n, 2);
    assert_slice(outcome.identity->roles.v[0], "ops");
    assert_string_equal(header(&req.headers, "X-Tenant"), "t1");
    assert_null(header(&req.headers, "Authorization"));
    assert_string_equal(first("/one", "t"), "ok");
    assert_true(outcome.cached);
}

static void test_without_a_cache_each_request_asks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_string_equal(first("/two", "t"), "two");
        assert_string_equal(said("/two", "t", SL_AUTH_SAID_SO, ACTIVE("")), "ok");
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{'active': false}",
        "{'active': true, 'sub': 'alice'}",
        "{'active': true, 'aud': 'billing'}",
        ACTIVE(", 'exp': 1"),
        ACTIVE(", 'exp': 'never'"),
        ACTIVE(", 'exp': 1800000000.5"),
        ACTIVE(", 'nbf': 1800000000"),
        ACTIVE(", 'token_type': 'DPoP'"),
        ACTIVE(", 'token_type': ''"),
        ACTIVE(", 'cnf': {'x5t#S256': 1}"),
        ACTIVE(", 'cnf': {'x5t#S256': 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'}"),
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        const char *t = sl_arena_printf(&arena, "t%zu", i);
        assert_string_equal(first("/one", t), "one");
        assert_string_equal(said("/one", t, SL_AUTH_SAID_SO, texts[i]), "bad token");
        assert_non_null(strstr(outcome.challenge, "error=\"invalid_token\""));
        assert_string_equal(first("/one", t), "bad token"); /* and nobody is asked */
    }
    assert_string_equal(first("/one", "no"), "one");
    assert_string_equal(said("/one", "no", SL_AUTH_SAID_NO, NULL), "bad token");
}

static void test_garbage_is_no_refusal(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "[]",
                                        "true",
                                        "{}",
                                        "{'active': 'true'}",
                                        "{'active': 1}",
                                        "{'active': null}",
                                        "{'active': true, 'active': true}",
                                        "{'active': true, 'token_type': 1}",
                                        "{'active': true",
                                        "{'active': true} {}"};
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        const char *t = sl_arena_printf(&arena, "t%zu", i);
        assert_false(sl_auth_is_introspection(quoted(texts[i])));
        assert_string_equal(first("/one", t), "one");
        assert_string_equal(said("/one", t, SL_AUTH_SAID_SO, texts[i]), "unavailable");
        assert_null(outcome.challenge);
    }
    assert_string_equal(first("/one", "u"), "one");
    assert_string_equal(said("/one", "u", SL_AUTH_SAID_NOTHING, NULL), "unavailable");
    assert_string_equal(first("/one", "u"), "unavailable"); /* for a moment nobody is asked again */
    assert_string_equal(first("/one", "v"), "one");
    assert_string_equal(said("/one", "v", SL_AUTH_NOT_ASKED, NULL), "unavailable");
    assert_string_equal(first("/one", "v"), "one"); /* nothing was learnt */
}

static void test_the_next_provider_is_asked_once_the_first_has_refused(void **state)
{
    (void)state;
    assert_string_equal(first("/both", "t"), "one");
    assert_string_equal(said("/both", "t", SL_AUTH_SAID_SO, "{'active': false}"), "two");
    assert_string_equal(said("/both", "t", SL_AUTH_SAID_SO, "{'active': true, 'sub': 'alice'}"), "ok");
    assert_string_equal(outcome.identity->provider->name, "two");
    assert_string_equal(first("/both", "u"), "one");
    assert_string_equal(said("/both", "u", SL_AUTH_SAID_NOTHING, NULL), "two");
    assert_string_equal(said("/both", "u", SL_AUTH_SAID_SO, "{'active': false}"),
                        "unavailable"); /* it may be good */
}

static void test_no_request_asks_for_ever(void **state)
{
    (void)state;
    assert_string_equal(first("/one", "t"), "one");
    for (unsigned i = 1; i < SL_AUTH_ERRANDS; i++) {
        again.errands++;
        assert_string_equal(ask_for("/one", SL_S("t")), "one");
    }
    again.errands++;
    assert_string_equal(ask_for("/one", SL_S("t")), "unavailable");
}

static void test_a_jwt_of_its_issuer_is_not_shown_to_the_server(void **state)
{
    (void)state;
    const char *good = sl_arena_strdup(&arena, token(&es, GOOD("")));
    const char *old = sl_arena_strdup(&arena, token(&es, "{'iss': 'https://auth.test', 'exp': 1}"));
    const char *forged = sl_arena_strdup(&arena, token(&es2, GOOD("")));
    const char *foreign = sl_arena_strdup(&arena, token(&es, "{'iss': 'https://x.test', 'exp': 1800000000}"));
    assert_string_equal(first("/jwt", good), "ok");
    assert_string_equal(first("/jwt", old), "bad token");
    assert_string_equal(first("/jwt", forged), "bad token");
    assert_string_equal(first("/jwt", foreign), "one");
    assert_string_equal(first("/jwt", "opaque"), "one");
    assert_string_equal(first("/jwt", "a.b.c"), "one");
    assert_string_equal(first("/one", good), "one"); /* nobody else is there who knows it */
    assert_string_equal(first("/jwt", "opaque-2"), "one");
    assert_string_equal(said("/jwt", "opaque-2", SL_AUTH_SAID_SO, "{'active': false}"), "bad token");
    assert_string_equal(outcome.detail, "the token is not active, says its authorization server");
}

static void test_one_challenge_for_both_kinds_of_tokens(void **state)
{
    (void)state;
    uint32_t index = 0, methods;
    sl_identity_unref(outcome.identity);
    req = request("GET", "h", "/jwt");
    assert_int_equal(sl_router_match(asked->router, &req, &index, &methods), SL_ROUTE_FOUND);
    outcome = sl_authenticate(asked->auth, &asked->snapshot->routes[index], &req, &arena, NOW, &again);
    assert_string_equal(name_of(outcome.result), "none");
    assert_string_equal(outcome.challenge, "Bearer realm=\"sluice\"");
}

#define unit_test_asked(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_asked(test_an_answer_makes_an_identity_that_is_remembered),
        unit_test_asked(test_without_a_cache_each_request_asks),
        unit_test_asked(test_refusals),
        unit_test_asked(test_garbage_is_no_refusal),
        unit_test_asked(test_the_next_provider_is_asked_once_the_first_has_refused),
        unit_test_asked(test_no_request_asks_for_ever),
        unit_test_asked(test_a_jwt_of_its_issuer_is_not_shown_to_the_server),
        unit_test_asked(test_one_challenge_for_both_kinds_of_tokens),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
