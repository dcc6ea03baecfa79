/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches a terminal: no byte that it would obey, columns that line up, units that a person reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "ctl/ctl_priv.h"

#include <errno.h>

static void _escapes(const char *in, size_t n, bool newlines, const char *want)
{
    struct sl_buf SL_BUF out = {0};
    assert_int_equal(sl_ctl_escape(&out, sl_slice(in, n), newlines), 0);
    assert_int_equal(sl_buf_append(&out, "", 1), 0);
    assert_string_equal(sl_buf_data(&out), want);
}
#define ESCAPES(in, newlines, want) _escapes(in, sizeof(in) - 1, newlines, want)

static void control_bytes_are_escaped(void **state)
{
    (void)state;
    ESCAPES("plain text", false, "plain text");
    ESCAPES("\x1b[2J\x07", false, "\\x1b[2J\\x07");
    ESCAPES("a\0b\x7f", false, "a\\x00b\\x7f");
    ESCAPES("two\nlines\r\n", true, "two\nlines\\x0d\n");
    ESCAPES("two\nlines", false, "two\\x0alines");
    ESCAPES("\xc2\x9b"
            "31m",
            false, "\\xc2\\x9b31m");        /* CSI as one C1 byte */
    ESCAPES("\xc2\xa0", false, "\xc2\xa0"); /* the first that is no control */
}

static void bad_utf8_is_escaped_and_good_kept(void **state)
{
    (void)state;
    ESCAPES("gr\xc3\xbc\xc3\x9f", false, "gr\xc3\xbc\xc3\x9f");
    ESCAPES("\xf0\x9f\x8c\x8a", false, "\xf0\x9f\x8c\x8a");
    ESCAPES("\xff\xfe", false, "\\xff\\xfe");
    ESCAPES("\xc3", false, "\\xc3");          /* cut short */
    ESCAPES("\xc0\x9b", false, "\\xc0\\x9b"); /* ESC, overlong */
    ESCAPES("\xe0\x80\x9b", false, "\\xe0\\x80\\x9b");
    ESCAPES("\xed\xa0\x80", false, "\\xed\\xa0\\x80"); /* a surrogate */
    ESCAPES("\xf4\x90\x80\x80", false, "\\xf4\\x90\\x80\\x80");
    ESCAPES("\xe2\x82\x1b", false, "\\xe2\\x82\\x1b"); /* a lead byte must not swallow ESC */
}

static void width_and_cut_count_code_points(void **state)
{
    (void)state;
    struct sl_slice s = SL_S("gr\xc3\xbc\xc3\x9f e");
    assert_int_equal(sl_ctl_width(s), 6);
    assert_int_equal(sl_ctl_cut(s, 3), 4);
    assert_int_equal(sl_ctl_cut(s, 2), 2);
    assert_int_equal(sl_ctl_cut(s, 0), 0);
    assert_int_equal(sl_ctl_cut(s, 100), s.n);
}

static void units(void **state)
{
    (void)state;
    char b[SL_CTL_UNIT];
    assert_string_equal(sl_ctl_count(0, b), "0");
    assert_string_equal(sl_ctl_count(0.25, b), "0.2");
    assert_string_equal(sl_ctl_count(950, b), "950");
    assert_string_equal(sl_ctl_count(999.9, b), "1.0k");
    assert_string_equal(sl_ctl_count(12345, b), "12.3k");
    assert_string_equal(sl_ctl_count(4e6, b), "4.0M");
    assert_string_equal(sl_ctl_count(123456789, b), "123M");
    assert_string_equal(sl_ctl_bytes(0, b), "0 B");
    assert_string_equal(sl_ctl_bytes(1536, b), "1.5 KiB");
    assert_string_equal(sl_ctl_bytes(1024.0 * 1024 * 1024, b), "1.0 GiB");
    assert_string_equal(sl_ctl_bytes(1.8e19, b), "15987 PiB");
    assert_string_equal(sl_ctl_span(0.84, b), "0.8s");
    assert_string_equal(sl_ctl_span(59, b), "59s");
    assert_string_equal(sl_ctl_span(192, b), "3m12s");
    assert_string_equal(sl_ctl_span(18420, b), "5h07m");
    assert_string_equal(sl_ctl_span(183600, b), "2d03h");
    assert_string_equal(sl_ctl_span(-5, b), "0.0s");
    assert_string_equal(sl_ctl_latency(0.00085, b), "850us");
    assert_string_equal(sl_ctl_latency(0.0012, b), "1.2ms");
    assert_string_equal(sl_ctl_latency(3.42, b), "3.4s");
    assert_string_equal(sl_ctl_latency(-1, b), "-");
}

static void durations(void **state)
{
    (void)state;
    uint64_t ms = 0;
    assert_int_equal(sl_ctl_duration_ms("500ms", &ms), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(sl_ctl_duration_ms("10m", &ms), 0);
    assert_int_equal(ms, 600000);
    assert_int_equal(sl_ctl_duration_ms("1d", &ms), 0);
    assert_int_equal(ms, 86400000);
    static const char *const bad[] = {"",
                                      "10",
                                      "m",
                                      "-1s",
                                      "1.5s",
                                      "1 s",
                                      "1s ",
                                      "1week",
                                      "1sm",
                                      "99999999999999999999d",
                                      "9999999999999d"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        assert_int_equal(sl_ctl_duration_ms(bad[i], &ms), -EINVAL);
}

static void columns_line_up(void **state)
{
    (void)state;
    static const char *const titles[] = {"name", ">n", "last"};
    struct sl_arena arena;
    struct sl_ctl_table t;
    struct sl_buf SL_BUF out = {0};
    sl_arena_init(&arena, 0);
    sl_ctl_table_init(&t, &arena, titles, 3);
    assert_int_equal(sl_ctl_table_row(&t, (const char *const[]){"gr\xc3\xbc\xc3\x9f", "5", "x"}), 0);
    assert_int_equal(sl_ctl_table_row(&t, (const char *const[]){"a\x1b", "12345", NULL}), 0);
    assert_int_equal(sl_ctl_table_print(&t, 2, &out), 0);
    assert_int_equal(sl_buf_append(&out, "", 1), 0);
    assert_string_equal(sl_buf_data(&out), "  name       n  last\n"
                                           "  gr\xc3\xbc\xc3\x9f       5  x\n"
                                           "  a\\x1b  12345  -\n");
    sl_ctl_table_free(&t);
    sl_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_bytes_are_escaped),
        cmocka_unit_test(bad_utf8_is_escaped_and_good_kept),
        cmocka_unit_test(width_and_cut_count_code_points),
        cmocka_unit_test(units),
        cmocka_unit_test(durations),
        cmocka_unit_test(columns_line_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
