/* SPDX-License-Identifier: Apache-2.0 */
/* What a token endpoint answers: what is taken of it, and what is not. */
#include "policy_test.h"

#include "policy/oauth.h"

static const char *read_token(const char *text, struct sl_oauth_token *t)
{
    *t = (struct sl_oauth_token){0};
    return sl_oauth_read_token(quoted(text), &arena, t);
}

static void test_a_token_and_how_long_it_lives(void **state)
{
    (void)state;
    struct sl_oauth_token t;
    assert_null(read_token(
        "{'access_token': 'a-b.c_~+/=', 'token_type': 'bearer', 'expires_in': 300, 'x': [1]}", &t));
    assert_slice(t.text, "a-b.c_~+/=");
    assert_int_equal(t.lifetime_s, 300);
    assert_null(read_token("{'access_token': 't', 'token_type': 'Bearer'}", &t));
    assert_int_equal(t.lifetime_s, 60);
    assert_null(read_token("{'access_token': 't', 'token_type': 'Bearer', 'expires_in': 0}", &t));
    assert_int_equal(t.lifetime_s, 0);
    assert_null(read_token("{'access_token': 't', 'token_type': 'Bearer', 'expires_in': 999999999999}", &t));
    assert_int_equal(t.lifetime_s, 7 * 86400);
}

static void test_what_is_no_token(void **state)
{
    (void)state;
    struct sl_oauth_token t;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{'access_token': 1, 'token_type': 'Bearer'}",
        "{'access_token': '', 'token_type': 'Bearer'}",
        "{'access_token': 'a b', 'token_type': 'Bearer'}",
        "{'access_token': 'a\\r\\nX: y', 'token_type': 'Bearer'}",
        "{'access_token': 'ä', 'token_type': 'Bearer'}",
        "{'access_token': 't'}",
        "{'access_token': 't', 'token_type': 'N_A'}",
        "{'access_token': 't', 'token_type': 'Bearer', 'expires_in': -1}",
        "{'access_token': 't', 'token_type': 'Bearer', 'expires_in': '300'}",
        "{'access_token': 't', 'token_type': 'Bearer', 'expires_in': 3.5}",
        "{'access_token': 't', 'access_token': 'u', 'token_type': 'Bearer'}",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++)
        assert_non_null(read_token(texts[i], &t));
    char *big = sl_arena_alloc(&arena, SL_OAUTH_TOKEN_MAX + 2);
    memset(big, 'a', SL_OAUTH_TOKEN_MAX + 1);
    big[SL_OAUTH_TOKEN_MAX + 1] = '\0';
    assert_non_null(
        read_token(sl_arena_printf(&arena, "{'access_token': '%s', 'token_type': 'Bearer'}", big), &t));
    big[SL_OAUTH_TOKEN_MAX] = '\0';
    assert_null(
        read_token(sl_arena_printf(&arena, "{'access_token': '%s', 'token_type': 'Bearer'}", big), &t));
}

static void test_whom_an_error_blames(void **state)
{
    (void)state;
    assert_true(sl_oauth_blames_token(quoted("{'error': 'invalid_request'}")));
    assert_true(sl_oauth_blames_token(quoted("{'error': 'invalid_target'}")));
    assert_false(sl_oauth_blames_token(quoted("{'error': 'invalid_client'}")));
    assert_false(sl_oauth_blames_token(quoted("{'error': 1}")));
    assert_false(sl_oauth_blames_token(quoted("no")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_a_token_and_how_long_it_lives),
        unit_test_arena(test_what_is_no_token),
        unit_test_arena(test_whom_an_error_blames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
