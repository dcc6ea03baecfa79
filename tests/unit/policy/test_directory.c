/* SPDX-License-Identifier: Apache-2.0 */
/* Users of a directory: what it is asked, what its answers mean, and what it is not asked at all. */
#include "auth_test.h"

#include <openssl/evp.h>

static struct sl_policy *asked;
static struct sl_auth_again again;

static int set_up(void **state)
{
    (void)with_arena(state);
    again = (struct sl_auth_again){0};
    asked = policy_of(POLICY(
        "'auth': {"
        "'one': {'type': 'ldap', 'uri': 'ldap://d', 'insecure': true, 'base_dn': 'dc=x', 'realm': 'a'},"
        "'two': {'type': 'ldap', 'uri': 'ldap://e', 'insecure': true, 'base_dn': 'dc=x', 'cache': '0s', "
        "'hide': false},"
        "'own': {'type': 'basic', 'realm': 'b'}, 'keys': {'type': 'key'}},"
        "'tiers': {'gold': {}}, 'consumers': {'alice': {'tier': 'gold', 'groups': ['eu'], 'basic': {'carol': "
        "'$2b$04$8AQKC0hbyiwQOZanlXXLqOn2g0.lXGAIug.vmVmjen5krFdVWFnwS'}}},"
        "'routes': {"
        "'one': {'paths': ['/one'], 'upstream': 'u', 'auth': ['one']},"
        "'two': {'paths': ['/two'], 'upstream': 'u', 'auth': ['two']},"
        "'both': {'paths': ['/both'], 'upstream': 'u', 'auth': ['one', 'two']},"
        "'own': {'paths': ['/own'], 'upstream': 'u', 'auth': ['own', 'one', 'keys']},"
        "'ops': {'paths': ['/ops'], 'upstream': 'u', 'auth': ['one'], 'require': {'groups': ['ops', 'x']}},"
        "'eu': {'paths': ['/eu'], 'upstream': 'u', 'auth': ['one'], 'require': {'groups': ['eu']}}}"));
    return 0;
}

static int tear_down(void **state)
{
    sl_identity_unref(SL_TAKE_PTR(outcome.identity));
    sl_auth_again_clear(&again);
    sl_policy_free(asked);
    return drop_arena(state);
}

static const char *encoded(const char *text, size_t n)
{
    unsigned char *out = sl_arena_alloc(&arena, 4 * n + 8);
    (void)EVP_EncodeBlock(out, (const unsigned char *)text, (int)n);
    return sl_arena_printf(&arena, "Basic %s", (char *)out);
}

static const char *ask_with(const char *path, const char *authorization)
{
    uint32_t index = 0, methods;
    sl_identity_unref(SL_TAKE_PTR(outcome.identity));
    req = request("GET", "h", path);
    add_header(&req.headers, "Authorization", authorization);
    assert_int_equal(sl_router_match(asked->router, &req, &index, &methods), SL_ROUTE_FOUND);
    outcome = sl_authenticate(asked->auth, &asked->snapshot->routes[index], &req, &arena, NOW, &again);
    return outcome.result == SL_AUTH_WAIT && outcome.errand ? outcome.errand->auth->name
                                                            : name_of(outcome.result);
}

/* A new request, which has heard nothing yet. */
static const char *first(const char *path, const char *credential)
{
    sl_auth_again_clear(&again);
    again = (struct sl_auth_again){0};
    return ask_with(path, encoded(credential, strlen(credential)));
}

/* What becomes of the request that waits, once its directory has said that. */
static const char *said(const char *path, const char *credential, enum sl_auth_said how, struct sl_slice text)
{
    struct sl_auth_again verdict = {.provider = outcome.errand->provider};
    assert_int_equal(outcome.result, SL_AUTH_WAIT);
    memcpy(verdict.hash, outcome.errand->hash, sizeof(verdict.hash));
    sl_authenticator_hear(asked->auth, outcome.errand->credential, how, text, NOW, &verdict);
    sl_auth_again_tell(&again, &verdict);
    sl_auth_again_clear(&verdict);
    return ask_with(path, encoded(credential, strlen(credential)));
}

static void test_an_answer_makes_an_identity_that_is_remembered(void **state)
{
    (void)state;
    assert_string_equal(first("/one", "ALICE:pass:word"), "one");
    assert_slice(outcome.errand->credential, "ALICE:pass:word");
    assert_string_equal(said("/one", "ALICE:pass:word", SL_AUTH_SAID_SO, SL_S("alice\0ops\0dev\0")), "ok");
    assert_slice(outcome.identity->consumer_name, "alice");
    assert_string_equal(outcome.identity->tier->name, "gold");
    assert_int_equal(outcome.identity->groups.n, 2);
    assert_slice(outcome.identity->groups.v[1], "dev");
    assert_null(header(&req.headers, "Authorization"));
    assert_string_equal(first("/one", "ALICE:pass:word"), "ok");
    assert_true(outcome.cached);
    assert_string_equal(first("/one", "ALICE:pass"), "one");      /* another credential */
    assert_string_equal(first("/two", "ALICE:pass:word"), "two"); /* another directory */
}

static void test_without_a_cache_each_request_asks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_string_equal(first("/two", "bob:x"), "two");
        assert_string_equal(said("/two", "bob:x", SL_AUTH_SAID_SO, SL_S("Bob\0")), "ok");
        assert_slice(outcome.identity->consumer_name, "Bob");
        assert_null(outcome.identity->consumer);
        assert_non_null(header(&req.headers, "Authorization"));
    }
}

static void test_groups_of_the_directory_and_of_the_consumer(void **state)
{
    (void)state;
    assert_string_equal(first("/ops", "alice:1"), "one");
    assert_string_equal(said("/ops", "alice:1", SL_AUTH_SAID_SO, SL_S("alice\0ops\0")), "ok");
    assert_string_equal(first("/eu", "alice:1"), "ok");
    assert_string_equal(first("/ops", "alice:2"), "one");
    assert_string_equal(said("/ops", "alice:2", SL_AUTH_SAID_SO, SL_S("alice\0Ops\0\0")), "no group");
    assert_string_equal(first("/eu", "bob:1"), "one");
    assert_string_equal(said("/eu", "bob:1", SL_AUTH_SAID_SO, SL_S("bob\0")), "no group");
}

static void test_a_refusal_is_remembered(void **state)
{
    (void)state;
    assert_string_equal(first("/one", "alice:no"), "one");
    assert_string_equal(said("/one", "alice:no", SL_AUTH_SAID_NO, SL_SLICE_NUL), "bad password");
    assert_string_equal(outcome.challenge, "Basic realm=\"a\", charset=\"UTF-8\"");
    assert_string_equal(first("/one", "alice:no"), "bad password");
}

/* Of what the directory did not say nothing follows, and none of it is believed. */
static void test_silence_is_no_refusal(void **state)
{
    (void)state;
    static const struct sl_slice texts[] = {
        {"", 0}, {"alice", 5}, {"\0", 1}, {"\0ops\0", 5}, {"alice\0ops", 9}};
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        const char *c = sl_arena_printf(&arena, "alice:%zu", i);
        assert_string_equal(first("/one", c), "one");
        assert_string_equal(said("/one", c, SL_AUTH_SAID_SO, texts[i]), "unavailable");
        assert_null(outcome.challenge);
    }
    assert_string_equal(first("/one", "alice:x"), "one");
    assert_string_equal(said("/one", "alice:x", SL_AUTH_SAID_NOTHING, SL_SLICE_NUL), "unavailable");
    assert_string_equal(first("/one", "alice:x"), "unavailable"); /* for two seconds */
    assert_string_equal(first("/one", "alice:y"), "one");
    assert_string_equal(said("/one", "alice:y", SL_AUTH_NOT_ASKED, SL_SLICE_NUL), "unavailable");
    assert_string_equal(first("/one", "alice:y"), "one"); /* nothing was found out about it */
}

/* An empty password before all: a bind with it succeeds for everybody (RFC 4513 section 5.1.2). */
static void test_what_is_not_even_asked(void **state)
{
    (void)state;
    static const struct sl_slice texts[] = {{"alice:", 6},      {":x", 2},          {":", 1},
                                            {"alice", 5},       {"alice\0:x", 8},   {"alice:x\0y", 9},
                                            {"al\xffice:x", 9}, {"al\xc0\xaf:x", 6}};
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        again = (struct sl_auth_again){0};
        assert_string_equal(ask_with("/one", encoded(texts[i].p, texts[i].n)), "bad password");
    }
    assert_string_equal(ask_with("/one", "Basic YWxpY2U6_-__"), "bad password");
    assert_string_equal(ask_with("/one", "Bearer abc"), "none");
}

static void test_of_two_directories_the_next_is_asked(void **state)
{
    (void)state;
    assert_string_equal(first("/both", "bob:x"), "one");
    assert_string_equal(said("/both", "bob:x", SL_AUTH_SAID_NO, SL_SLICE_NUL), "two");
    assert_string_equal(said("/both", "bob:x", SL_AUTH_SAID_SO, SL_S("bob\0")), "ok");
    assert_string_equal(first("/both", "bob:y"), "one");
    assert_string_equal(said("/both", "bob:y", SL_AUTH_SAID_NOTHING, SL_SLICE_NUL), "two");
    assert_string_equal(said("/both", "bob:y", SL_AUTH_SAID_NO, SL_SLICE_NUL), "unavailable");
}

/* Users of the policy's own beside those of a directory: one scheme is named once. */
static void test_beside_users_of_the_policy(void **state)
{
    (void)state;
    assert_string_equal(first("/own", "bob:x"), "one");
    assert_non_null(outcome.job);
    again.known = true; /* hashed, for nobody */
    assert_string_equal(ask_with("/own", encoded("bob:x", 5)), "one");
    assert_string_equal(said("/own", "bob:x", SL_AUTH_SAID_NO, SL_SLICE_NUL), "bad password");
    assert_string_equal(outcome.challenge, "Basic realm=\"b\", charset=\"UTF-8\", Key realm=\"sluice\"");
}

#define T(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_an_answer_makes_an_identity_that_is_remembered),
        T(test_without_a_cache_each_request_asks),
        T(test_groups_of_the_directory_and_of_the_consumer),
        T(test_a_refusal_is_remembered),
        T(test_silence_is_no_refusal),
        T(test_what_is_not_even_asked),
        T(test_of_two_directories_the_next_is_asked),
        T(test_beside_users_of_the_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
