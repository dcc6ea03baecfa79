/* SPDX-License-Identifier: Apache-2.0 */
/* The byte queue: its invariant over random use, growth, printing, JSON. */
#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_is(const struct sl_buf *b, const char *want)
{
    assert_int_equal(sl_buf_len(b), strlen(want));
    assert_memory_equal(sl_buf_len(b) ? sl_buf_data(b) : "", want, strlen(want));
}

static void test_append_and_consume(void **state)
{
    (void)state;
    struct sl_buf SL_BUF b = {0};
    assert_int_equal(sl_buf_append(&b, NULL, 0), 0);
    assert_int_equal(sl_buf_len(&b), 0);
    assert_int_equal(sl_buf_append_slice(&b, SL_S("hello, ")), 0);
    assert_int_equal(sl_buf_append(&b, "world", 5), 0);
    assert_is(&b, "hello, world");
    sl_buf_consume(&b, 7);
    assert_is(&b, "world");
    sl_buf_consume(&b, 5);
    assert_int_equal(b.start, 0); /* the invariant of buf.h */
    assert_int_equal(b.end, 0);
    sl_buf_free(&b);
    assert_null(b.base);
    assert_int_equal(sl_buf_append(&b, "x", 1), 0); /* usable again */
    assert_is(&b, "x");
}

/* Bytes in, bytes out, in the same order, whatever the sizes; and memory stays in proportion to what is held.
 */
static void test_is_a_queue(void **state)
{
    (void)state;
    struct sl_buf SL_BUF b = {0};
    unsigned seed = 1;
    unsigned char in = 0, out = 0;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        const size_t n = (seed >> 16) % 97;
        char piece[97];
        for (size_t k = 0; k < n; k++)
            piece[k] = (char)in++;
        assert_int_equal(sl_buf_append(&b, piece, n), 0);
        assert_true(b.start <= b.end && b.end <= b.cap);
        const size_t take =
            sl_buf_len(&b) > 300 ? sl_buf_len(&b) - 5 : (seed >> 8) % 90 % (sl_buf_len(&b) + 1);
        for (size_t k = 0; k < take; k++)
            assert_int_equal((unsigned char)sl_buf_data(&b)[k], out++);
        sl_buf_consume(&b, take);
    }
    assert_true(b.cap <= 1024);
}

static void test_reserve(void **state)
{
    (void)state;
    struct sl_buf SL_BUF b = {0};
    assert_int_equal(sl_buf_append(&b, "abc", 3), 0);
    assert_int_equal(sl_buf_reserve(&b, 100000), 0);
    assert_true(sl_buf_room(&b) >= 100000);
    assert_is(&b, "abc");
    assert_int_equal(sl_buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(sl_buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
    assert_is(&b, "abc");
    memset(b.base + b.end, 'x', sl_buf_room(&b)); /* all of it is ours to write */
    sl_buf_commit(&b, 2);
    assert_is(&b, "abcxx");
}

static void test_printf(void **state)
{
    (void)state;
    struct sl_buf SL_BUF b = {0};
    char want[2100];
    assert_int_equal(sl_buf_printf(&b, "%d-%s", 42, "x"), 0);
    assert_int_equal(sl_buf_printf(&b, "%s", ""), 0);
    assert_is(&b, "42-x");
    sl_buf_consume(&b, 4);
    (void)snprintf(want, sizeof(want), "%02000d", 7); /* longer than any first guess */
    assert_int_equal(sl_buf_printf(&b, "%02000d", 7), 0);
    assert_is(&b, want);
}

static void json(struct sl_slice in, const char *want)
{
    struct sl_buf SL_BUF b = {0};
    assert_int_equal(sl_buf_append_json(&b, in), 0);
    assert_is(&b, want);
}

static void test_json(void **state)
{
    (void)state;
    json(SL_S(""), "");
    json(SL_SLICE_NUL, "");
    json(SL_S("a\"b\\c/"), "a\\\"b\\\\c/");
    json(SL_S("\0\x01\n\r\t\x1b[2J\x7f"), "\\u0000\\u0001\\u000a\\u000d\\u0009\\u001b[2J\\u007f");
    json(SL_S("\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xa9"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xa9");
    json(SL_S("\xff\x80"), "\\u00ff\\u0080");                       /* no UTF-8 */
    json(SL_S("\xc0\xae"), "\\u00c0\\u00ae");                       /* overlong */
    json(SL_S("\xe0\x80\xaf"), "\\u00e0\\u0080\\u00af");            /* overlong */
    json(SL_S("\xed\xa0\x80"), "\\u00ed\\u00a0\\u0080");            /* a surrogate */
    json(SL_S("\xf4\x90\x80\x80"), "\\u00f4\\u0090\\u0080\\u0080"); /* past U+10FFFF */
    json(SL_S("\xe2\x82"), "\\u00e2\\u0082");                       /* cut short */
    json(SL_S("\xf0\x9f\x92z"), "\\u00f0\\u009f\\u0092z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_consume),
        cmocka_unit_test(test_is_a_queue),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_printf),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
