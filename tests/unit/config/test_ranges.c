/* SPDX-License-Identifier: Apache-2.0 */
/* Files of ranges: what a line may be, what is told of the others, and who gets the bytes. */
#include "config_test.h"

#include <sys/random.h>

#define SL_LISTS SL_OK "kernel: {mode: off, allow: %s, deny: %s}\n"

static struct sl_result of_lists(const char *allow, const char *deny, struct sl_slice a, struct sl_slice b)
{
    char text[1024];
    struct sl_result x = {0};
    (void)snprintf(text, sizeof(text), SL_LISTS, allow, deny);
    sl_diag_init(&x.diag);
    x.r = sl_bundle_from_text("p.yaml", sl_slice_str(text), &x.diag, &x.bundle);
    assert_int_equal(x.r, 0);
    if (a.p)
        assert_int_equal(sl_bundle_put_list(x.bundle, "a.txt", a), 0);
    if (b.p)
        assert_int_equal(sl_bundle_put_list(x.bundle, "b.txt", b), 0);
    result_judge(&x);
    return x;
}

static struct sl_result of_deny(struct sl_slice file)
{
    return of_lists("[]", "{$file: b.txt}", SL_SLICE_NUL, file);
}

static void expect(struct sl_slice file, size_t n4, size_t n6, const char *said)
{
    struct sl_result x = of_deny(file);
    if (strcmp(result_said(&x), said) != 0)
        fail_msg("said: %s\nnot: %s", result_said(&x), said);
    assert_int_equal(x.r, strstr(said, "error:") ? -EINVAL : 0);
    if (x.r == 0) {
        assert_int_equal(x.s->kernel.n_range_files, 1);
        assert_int_equal(x.s->kernel.ranges ? x.s->kernel.ranges->n4 : 0, n4);
        assert_int_equal(x.s->kernel.ranges ? x.s->kernel.ranges->n6 : 0, n6);
    }
    result_free(&x);
}

#define SL_EMPTY "p.yaml:4:38: warning: /kernel/deny: \"b.txt\" holds no range: was it cut short?\n"

static void test_lines(void **state)
{
    (void)state;
    expect(SL_S(""), 0, 0, SL_EMPTY);
    expect(SL_S("\n\n \t\n# nothing\n   # here\n"), 0, 0, SL_EMPTY);
    expect(SL_S("192.0.2.0/24"), 1, 0, ""); /* no newline at the end */
    expect(SL_S("192.0.2.0/24\r\n2001:db8::/32\r\n\r\n# c\r\n192.0.2.7\r\n"), 2, 1,
           "p.yaml:4:1: warning: /kernel: of the ranges in files 0 stand twice, and 1 lie in a shorter one "
           "of the "
           "same list\n");
    expect(SL_S("\xef\xbb\xbf"
                "192.0.2.0/24\n"),
           1, 0, "");
    expect(SL_S("  192.0.2.0/24\t# why\n\t2001:db8::1#x\n"), 1, 1, "");
    expect(SL_S("0.0.0.0/0\n::/0\n255.255.255.255/32\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128\n"), 2, 2,
           "p.yaml:4:1: warning: /kernel: of the ranges in files 0 stand twice, and 2 lie in a shorter one "
           "of the "
           "same list\n");
    expect(SL_S("::ffff:192.0.2.1\n192.0.2.1\n192.0.2.1/32\n"), 1, 0,
           "p.yaml:4:1: warning: /kernel: of the ranges in files 2 stand twice, and 0 lie in a shorter one "
           "of the "
           "same list\n");
}

#define SL_NOT                                                                                               \
    " is not an address or range such as \"192.0.2.0/24\" or \"2001:db8::/32\" (one a line; comments begin " \
    "with "                                                                                                  \
    "'#')\n"

static void test_wrong_lines(void **state)
{
    (void)state;
    expect(SL_S("192.0.2.1/24\n\n 2001:db8::1/32\n"), 0, 0,
           "b.txt:1:1: error: /kernel/deny: \"192.0.2.1/24\" has bits set behind its prefix: "
           "\"192.0.2.0/24\" is "
           "the range, without \"/24\" it is one address\n"
           "b.txt:3:2: error: /kernel/deny: \"2001:db8::1/32\" has bits set behind its prefix: "
           "\"2001:db8::/32\" "
           "is the range, without \"/32\" it is one address\n");
    expect(SL_S("192.0.2.0/24\n192.0.2.0/33\n\t10.0.0.0/8 ; SBL1\n"), 0, 0,
           "b.txt:2:1: error: /kernel/deny: \"192.0.2.0/33\"" SL_NOT
           "b.txt:3:2: error: /kernel/deny: \"10.0.0.0/8 ; SBL1\"" SL_NOT);
    expect(SL_S("10.0.0.0/8\r10.1.0.0/16\n"), 0, 0,
           "b.txt:1:1: error: /kernel/deny: \"10.0.0.0/8\\x0d10.1.0.0/16\"" SL_NOT);
    expect(SL_S("1.2.3\n1.2.3.4.5\n01.2.3.4\n1.2.3.4/\n1.2.3.4/-1\n/8\n1.2.3.4/08x\n"), 0, 0,
           "b.txt:1:1: error: /kernel/deny: \"1.2.3\"" SL_NOT
           "b.txt:2:1: error: /kernel/deny: \"1.2.3.4.5\"" SL_NOT
           "b.txt:3:1: error: /kernel/deny: \"01.2.3.4\"" SL_NOT
           "b.txt:4:1: error: /kernel/deny: \"1.2.3.4/\"" SL_NOT
           "b.txt:5:1: error: /kernel/deny: \"1.2.3.4/-1\"" SL_NOT
           "b.txt:6:1: error: /kernel/deny: \"/8\"" SL_NOT
           "b.txt:7:1: error: /kernel/deny: \"1.2.3.4/08x\"" SL_NOT);
    expect(SL_S("192.0.2.0/24\n19\0002.0.2.1\n"), 0, 0,
           "b.txt:2:3: error: /kernel/deny: a NUL byte: this is no text file\n");
}

static void test_long_lines(void **state)
{
    (void)state;
    const size_t n = 3u << 20;
    char *text = malloc(n);
    memset(text, '1', n);
    expect(sl_slice(text, n), 0, 0,
           "b.txt:1:1: error: /kernel/deny: "
           "\"111111111111111111111111111111111111111111111111111111111111…\"" SL_NOT);
    memset(text, ' ', n);
    memcpy(text + n - 12, "192.0.2.0/24", 12);
    expect(sl_slice(text, n), 1, 0, "");
    text[0] = '#';
    expect(sl_slice(text, n), 0, 0, SL_EMPTY);
    free(text);
}

static void test_all_errors_up_to_the_cap(void **state)
{
    (void)state;
    struct sl_buf SL_BUF text = {0};
    for (unsigned i = 0; i < 30000; i++)
        assert_int_equal(sl_buf_printf(&text, "no %u\n", i), 0);
    struct sl_result x = of_deny(sl_buf_slice(&text));
    assert_int_equal(x.r, -EINVAL);
    assert_int_equal(x.diag.errors, 30000);
    assert_non_null(strstr(result_said(&x), "b.txt:10000:1: error: /kernel/deny: \"no 9999\""));
    assert_non_null(strstr(result_said(&x), "error: 20000 more are not shown\n"));
    result_free(&x);
}

static void test_noise(void **state)
{
    (void)state;
    char bytes[8192];
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(getrandom(bytes, sizeof(bytes), 0), sizeof(bytes));
        struct sl_result x = of_deny(sl_slice(bytes, sizeof(bytes)));
        assert_int_equal(x.r, -EINVAL);
        result_free(&x);
    }
}

static void test_mixed(void **state)
{
    (void)state;
    struct sl_result x =
        of_lists("[10.0.0.1, {$file: a.txt}]", "[203.0.113.0/24, {$file: b.txt}, \"2001:db8::/32\"]",
                 SL_S("10.0.0.0/8\n"), SL_S("10.0.0.0/8\n10.1.0.0/16\n2001:db8:1::/48\n"));
    assert_int_equal(x.r, 0);
    assert_string_equal(result_said(&x), "");
    const struct sl_kernel *k = &x.s->kernel;
    assert_int_equal(k->allow.n, 1);
    assert_int_equal(k->deny.n, 2);
    assert_int_equal(k->deny.v[1].ip.family, SL_AF_INET6);
    assert_int_equal(k->n_range_files, 2);
    assert_int_equal(sl_ranges_count(k->ranges, false).allow, 1);
    assert_int_equal(sl_ranges_count(k->ranges, false).deny, 2);
    assert_int_equal(sl_ranges_count(k->ranges, true).deny, 1);
    const struct sl_range first = sl_ranges_at(k->ranges, false, 0),
                          second = sl_ranges_at(k->ranges, false, 1);
    assert_true(!first.allow && second.allow && first.len == 8 &&
                second.len == 8); /* allow is painted last */
    result_free(&x);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    struct sl_result x = of_lists("[]", "[{$file: b.txt}]", SL_SLICE_NUL, SL_SLICE_NUL);
    assert_non_null(strstr(result_said(&x), "/kernel/deny/0/$file: cannot read \"b.txt\": it was not given"));
    result_free(&x);
    x = of_lists("[]", "{$file: b.txt, and: more}", SL_SLICE_NUL, SL_S(""));
    assert_non_null(strstr(result_said(&x), "expected a list of addresses, ranges and {$file: PATH}"));
    result_free(&x);
    x = of_lists("[]", "[{$file: b.txt, and: more}]", SL_SLICE_NUL, SL_S(""));
    assert_non_null(strstr(result_said(&x), "with nothing beside it"));
    result_free(&x);
    x = of_lists("[]", "10.0.0.0/8", SL_SLICE_NUL, SL_S(""));
    assert_non_null(strstr(result_said(&x), "write [\"10.0.0.0/8\"]"));
    result_free(&x);
}

static void test_one_file_in_two_places_is_read_once(void **state)
{
    (void)state;
    struct sl_result x = of_lists("{$file: b.txt}", "[{$file: b.txt}]", SL_SLICE_NUL, SL_S("192.0.2.1\n"));
    assert_int_equal(x.r, 0);
    assert_int_equal(x.s->kernel.n_range_files, 2);
    assert_int_equal(x.s->kernel.ranges->n4, 2);
    result_free(&x);
}

static void test_who_needs_no_ranges_has_none(void **state)
{
    (void)state;
    struct sl_result x = of_deny(SL_S("192.0.2.0/24\n2001:db8::/32\n"));
    struct sl_bundle *whole = NULL, *lean = NULL;
    struct sl_snapshot *w = NULL, *l = NULL;
    const int fd = sl_bundle_to_memfd(x.bundle);
    assert_true(fd >= 0);
    assert_int_equal(sl_bundle_from_memfd(fd, &whole), 0);
    assert_int_equal(sl_bundle_from_memfd_lean(fd, &lean), 0);
    assert_int_equal(sl_snapshot_new(whole, &x.diag, &w), 0);
    assert_int_equal(sl_snapshot_new(lean, &x.diag, &l), 0);
    assert_string_equal(x.s->hash, w->hash); /* all processes name the same policy */
    assert_string_equal(x.s->hash, l->hash);
    assert_memory_equal(x.s->kernel.ranges_digest, l->kernel.ranges_digest, SL_DIGEST);
    assert_int_equal(w->kernel.ranges->n4, 1);
    assert_null(l->kernel.ranges);
    assert_int_equal(l->kernel.n_range_files, 1);
    sl_snapshot_unref(w);
    sl_snapshot_unref(l);
    sl_bundle_free(whole);
    sl_bundle_free(lean);
    close(fd);
    result_free(&x);
}

static void test_the_hash_is_of_the_bytes(void **state)
{
    (void)state;
    struct sl_result x = of_deny(SL_S("192.0.2.1\n")), y = of_deny(SL_S("192.0.2.2\n"));
    assert_string_not_equal(x.s->hash, y.s->hash);
    assert_memory_not_equal(x.s->kernel.ranges_digest, y.s->kernel.ranges_digest, SL_DIGEST);
    result_free(&x);
    result_free(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_all_errors_up_to_the_cap),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_one_file_in_two_places_is_read_once),
        cmocka_unit_test(test_who_needs_no_ranges_has_none),
        cmocka_unit_test(test_the_hash_is_of_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
