/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile JSON, and claims read out of it. */
#include "policy/json_priv.h"
#include "policy_test.h"

static bool is_object(const char *text)
{
    SL_JSON json_t *j = sl_json_object(quoted(text));
    return j != NULL;
}

static void objects_only(void **state)
{
    (void)state;
    assert_true(is_object("{}"));
    assert_true(is_object(" {'a': {'b': [1, 2.5, null, true]}} "));
    static const char *const bad[] = {"",
                                      "[]",
                                      "1",
                                      "'a'",
                                      "null",
                                      "{",
                                      "{}{}",
                                      "{} x",
                                      "{'a':1,}",
                                      "{a:1}",
                                      "{'a':01}",
                                      "{'a':NaN}",
                                      "{'a':1e999}",
                                      "{'a':'\n'}",
                                      "{'a':'\\u0000'}",
                                      "{'\\u0000':1}",
                                      "{'a':'\xff'}",
                                      "{'a':'\\ud800'}",
                                      "{'a':9223372036854775808}"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (is_object(bad[i]))
            fail_msg("%s", bad[i]);
}

static void doubled_names(void **state)
{
    (void)state;
    assert_false(is_object("{'sub': 'a', 'sub': 'b'}"));
    assert_false(is_object("{'x': {'a': 1, 'a': 1}}"));
    assert_false(is_object("{'sub': 'a', 's\\u0075b': 'b'}"));
}

static void depth(void **state)
{
    (void)state;
    char text[400];
    for (unsigned levels = 30; levels < 40; levels++) {
        size_t n = (size_t)sprintf(text, "{\"a\":");
        for (unsigned i = 1; i < levels; i++)
            text[n++] = '[';
        for (unsigned i = 1; i < levels; i++)
            text[n++] = ']';
        text[n++] = '}';
        SL_JSON json_t *j = sl_json_object(sl_slice(text, n));
        assert_int_equal(j != NULL, levels <= SL_JSON_DEPTH);
    }
    /* brackets inside strings do not count, however they are escaped */
    assert_true(is_object("{'a': '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[', 'b\\\\': ']'}"));
    char *deep = sl_arena_alloc(&arena, 16000);
    memset(deep, '[', 16000);
    assert_null(sl_json_object(sl_slice(deep, 16000)));
}

static void text_of(const char *json, const char *path, const char *want)
{
    SL_JSON json_t *j = sl_json_object(quoted(json));
    assert_non_null(j);
    assert_slice(sl_claim_text(sl_claim_get(j, sl_slice_str(path)), &arena), want);
}

static void paths(void **state)
{
    (void)state;
    text_of("{'sub': 'alice'}", "sub", "alice");
    text_of("{'realm': {'access': {'id': 'x'}}}", "realm.access.id", "x");
    text_of("{'https://x.example/id': 'x'}", "https://x.example/id", "x");
    text_of("{'a': {'b.c': 'x'}}", "a.b.c", "x");
    text_of("{'a.b': 'flat', 'a': {'b': 'deep'}}", "a.b", "flat");
    text_of("{'a': 'x'}", "a.b", "");
    text_of("{'a': {'b': 'x'}}", "a", "");
    text_of("{'a': {'b': 'x'}}", "a.", "");
    text_of("{}", "sub", "");
}

static void values(void **state)
{
    (void)state;
    text_of("{'a': 42}", "a", "42");
    text_of("{'a': -1}", "a", "-1");
    text_of("{'a': 0.5}", "a", "0.5");
    text_of("{'a': true}", "a", "true");
    text_of("{'a': false}", "a", "false");
    text_of("{'a': null}", "a", "");
    text_of("{'a': ['x', 'y']}", "a", "x,y");
    text_of("{'a': ['x', 1, null, ['z'], {'q': 1}, true]}", "a", "x,1,true");
    text_of("{'a': []}", "a", "");
    text_of("{'a': [null, 'x']}", "a", "x");
    text_of("{'a': 'J\xc3\xbcrgen'}", "a", "J\xc3\xbcrgen");
}

/* An element must not pass for two, nor a value for a header. */
static void nothing_is_smuggled(void **state)
{
    (void)state;
    text_of("{'a': ['user,admin', 'x%2Cy']}", "a", "user%2Cadmin,x%252Cy");
    text_of("{'a': 'user,admin'}", "a", "user,admin");
    text_of("{'a': 'x\\r\\nX-Admin: 1'}", "a", "xX-Admin: 1");
    text_of("{'a': ['x\\u0007\\t', '\\u007f']}", "a", "x,");
}

static void words_of(const char *json, size_t n, const char *const *want)
{
    struct sl_strings words;
    SL_JSON json_t *j = sl_json_object(quoted(json));
    assert_int_equal(sl_claim_words(sl_claim_get(j, SL_S("a")), &arena, &words), 0);
    assert_int_equal(words.n, n);
    for (size_t i = 0; i < n; i++)
        assert_slice(words.v[i], want[i]);
}

static void words(void **state)
{
    (void)state;
    words_of("{'a': 'read  write '}", 2, (const char *const[]){"read", "write"});
    words_of("{'a': ['read all', 'write', 7]}", 2, (const char *const[]){"read all", "write"});
    words_of("{'a': ''}", 0, NULL);
    words_of("{'a': []}", 0, NULL);
    words_of("{'a': {'read': 1}}", 0, NULL);
    words_of("{'a': 7}", 0, NULL);
    words_of("{}", 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(objects_only), unit_test_arena(doubled_names), unit_test_arena(depth),
        unit_test_arena(paths),        unit_test_arena(values),        unit_test_arena(nothing_is_smuggled),
        unit_test_arena(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
