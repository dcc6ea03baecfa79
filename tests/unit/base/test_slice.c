/* SPDX-License-Identifier: Apache-2.0 */
/* Slices: comparison, trimming, splitting, numbers. */
#include "base/slice.h"
#include <stdlib.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

static void assert_is(struct sl_slice s, const char *want)
{
    assert_int_equal(s.n, strlen(want));
    assert_memory_equal(s.n ? s.p : "", want, s.n);
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(sl_slice_eq(SL_S("a"), SL_S("a")));
    assert_false(sl_slice_eq(SL_S("a"), SL_S("A")));
    assert_false(sl_slice_eq(SL_S("a"), SL_S("ab")));
    assert_true(sl_slice_eq(SL_SLICE_NUL, SL_S("")));
    assert_true(sl_slice_ieq(SL_S("Content-LENGTH"), SL_S("content-length")));
    assert_false(sl_slice_ieq(SL_S("a"), SL_S("b")));
    assert_false(sl_slice_ieq(SL_S("a"), SL_S("")));
    /* ASCII letters only: '@' and '`', '[' and '{' differ in the same bit */
    assert_false(sl_slice_ieq(SL_S("@"), SL_S("`")));
    assert_false(sl_slice_ieq(SL_S("["), SL_S("{")));
    assert_false(sl_slice_ieq(SL_S("\xc4"), SL_S("\xe4")));
}

static void test_starts_and_chr(void **state)
{
    (void)state;
    assert_true(sl_slice_starts(SL_S("abc"), SL_S("ab")));
    assert_true(sl_slice_starts(SL_S("abc"), SL_S("")));
    assert_true(sl_slice_starts(SL_SLICE_NUL, SL_SLICE_NUL));
    assert_false(sl_slice_starts(SL_S("a"), SL_S("ab")));
    assert_int_equal(sl_slice_chr(SL_S("a=b=c"), '='), 1);
    assert_int_equal(sl_slice_chr(sl_slice("a=b", 1), '='), -1);
    assert_int_equal(sl_slice_chr(SL_SLICE_NUL, 'x'), -1);
}

static void test_trim(void **state)
{
    (void)state;
    assert_is(sl_slice_trim(SL_S(" \ta b\t ")), "a b");
    assert_is(sl_slice_trim(SL_S("a")), "a");
    assert_is(sl_slice_trim(SL_S(" \t ")), "");
    assert_is(sl_slice_trim(SL_S("\r\na\v")), "\r\na\v"); /* OWS is space and tab */
    assert_is(sl_slice_trim(SL_SLICE_NUL), "");
}

static void test_chomp(void **state)
{
    (void)state;
    assert_is(sl_slice_chomp(SL_S("a\nb\n")), "a\nb");
    assert_is(sl_slice_chomp(SL_S("a\r\n")), "a");
    assert_is(sl_slice_chomp(SL_S("a\n\n")), "a\n"); /* one line's */
    assert_is(sl_slice_chomp(SL_S(" a ")), " a ");
    assert_is(sl_slice_chomp(SL_S("\n")), "");
    assert_is(sl_slice_chomp(SL_SLICE_NUL), "");
}

static void test_next(void **state)
{
    (void)state;
    static const char *const want[] = {"a", "", "b", ""};
    struct sl_slice rest = SL_S("a,,b,"), part;
    for (size_t i = 0; i < 4; i++) {
        assert_true(sl_slice_next(&rest, ',', &part));
        assert_is(part, want[i]);
    }
    assert_false(sl_slice_next(&rest, ',', &part));
    rest = SL_S("");
    assert_true(sl_slice_next(&rest, ',', &part)); /* one empty part */
    assert_is(part, "");
    assert_false(sl_slice_next(&rest, ',', &part));
    rest = SL_SLICE_NUL;
    assert_false(sl_slice_next(&rest, ',', &part));
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t v = 7;
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1a", "1.0", "1,0", "\xb2"};
    assert_int_equal(sl_slice_u64(SL_S("0"), &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(sl_slice_u64(SL_S("18446744073709551615"), &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(sl_slice_u64(SL_S("00000000000000000000000000012"), &v), 0);
    assert_int_equal(v, 12);
    assert_int_equal(sl_slice_u64(SL_S("18446744073709551616"), &v), -ERANGE);
    assert_int_equal(sl_slice_u64(SL_S("99999999999999999999999"), &v), -ERANGE);
    for (uint64_t w = UINT64_MAX; w; w /= 3) { /* back to digits, of every length */
        char text[32], ours[SL_U64_DIGITS];
        const int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)w);
        assert_int_equal(sl_put_u64(ours, w) - ours, n);
        assert_memory_equal(ours, text, n);
    }
    char zero[SL_U64_DIGITS];
    assert_int_equal(sl_put_u64(zero, 0) - zero, 1);
    assert_int_equal(zero[0], '0');
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(sl_slice_u64(sl_slice_str(bad[i]), &v), -EINVAL);
    assert_int_equal(v, 12); /* untouched by what failed */
}

/* Words compare as bytes do: every byte at every place of every length, in memory of exactly that size. */
static void test_words(void **state)
{
    (void)state;
    static const char lower[] = "x-forwarded-for-09az-q1";
    for (size_t n = 0; n < sizeof(lower); n++) {
        char *s = malloc(n + 1), *other = malloc(n + 1);
        assert_true(s && other);
        for (size_t at = 0; at <= n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memcpy(s + 1, lower, n);
                memcpy(other + 1, lower, n);
                s[at] = (char)c; /* s[0]: none of them */
                const bool same = at == 0 || sl_lower((char)c) == lower[at - 1];
                assert_int_equal(sl_slice_is(sl_slice(s + 1, n), sl_slice(lower, n)), same);
                assert_int_equal(sl_slice_ieq(sl_slice(s + 1, n), sl_slice(lower, n)), same);
                if (at)
                    other[at] = (char)(c ^ 0x20);
                const bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
                assert_int_equal(sl_slice_ieq(sl_slice(s + 1, n), sl_slice(other + 1, n)), at == 0 || letter);
            }
        }
        assert_false(sl_slice_is(sl_slice(s + 1, n), sl_slice(lower, sizeof(lower))));
        free(s);
        free(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare), cmocka_unit_test(test_starts_and_chr), cmocka_unit_test(test_trim),
        cmocka_unit_test(test_chomp),   cmocka_unit_test(test_next),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
