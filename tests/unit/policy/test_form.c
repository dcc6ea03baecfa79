/* SPDX-License-Identifier: Apache-2.0 */
/* Forms (application/x-www-form-urlencoded): what they say, and what is none. */
#include "policy/form.h"
#include "policy_test.h"

static int parse(const char *text, struct sl_form *f)
{
    return sl_form_parse(&arena, sl_slice_str(text), f);
}

static void what_it_says(void **state)
{
    (void)state;
    struct sl_form f;
    assert_int_equal(parse("a=1&b+c=%2B+%26%3d&d=&e&&=x&%61%62=y=z", &f), 0);
    assert_int_equal(f.n, 6);
    assert_true(sl_slice_eq(sl_form_get(&f, SL_S("a")), SL_S("1")));
    assert_true(sl_slice_eq(sl_form_get(&f, SL_S("b c")), SL_S("+ &=")));
    assert_true(sl_slice_eq(sl_form_get(&f, SL_S("ab")), SL_S("y=z")));
    assert_true(sl_slice_eq(sl_form_get(&f, SL_S("")), SL_S("x")));
    assert_int_equal(sl_form_get(&f, SL_S("d")).n, 0);
    assert_int_equal(sl_form_get(&f, SL_S("e")).n, 0);
    assert_int_equal(sl_form_get(&f, SL_S("A")).n, 0);
    assert_int_equal(parse("", &f), 0);
    assert_int_equal(f.n, 0);
    assert_int_equal(sl_form_parse(&arena, SL_SLICE_NUL, &f), 0);
}

static void what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=%", "a=%1", "a=%zz", "%=1", "a=1&b=%0", "a=%4g", "a=%%41"};
    struct sl_form f;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        assert_int_equal(parse(bad[i], &f), -EINVAL);
    assert_int_equal(parse("a=1&a=1", &f), -EEXIST);
    assert_int_equal(parse("a=1&b=2&%61=", &f), -EEXIST);
    assert_int_equal(parse("a&a", &f), -EEXIST);
}

static void so_many_and_no_more(void **state)
{
    (void)state;
    struct sl_form f;
    char *text = sl_arena_strdup(&arena, SL_S(""));
    for (unsigned i = 0; i < SL_FORM_FIELDS; i++)
        text = sl_arena_printf(&arena, "%s&p%u=%u", text, i, i);
    assert_int_equal(parse(text, &f), 0);
    assert_int_equal(f.n, SL_FORM_FIELDS);
    assert_int_equal(parse(sl_arena_printf(&arena, "%s&more=1", text), &f), -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(what_it_says),
        unit_test_arena(what_is_none),
        unit_test_arena(so_many_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
