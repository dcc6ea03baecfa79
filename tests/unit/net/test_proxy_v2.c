/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of the PROXY protocol, version 2: what is read, and that nothing else is. */
#include "net/proxy_v2.h"

#include "base/macros.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\x0a\x00\x00\x01\xc0\x00\x02\x07\x12\x34\x01\xbb"
#define V6                                                             \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xfd\0\0\0\0\0\0\0\0\0\0" \
    "\0\0\0\0\2\x12\x34\x01\xbb"

/* On the heap and exact, so that a sanitizer sees a read past the end. */
static int parse(const char *rest, size_t n_rest, char command, char family, struct sl_proxy_v2 *out)
{
    const size_t n = SL_PROXY_V2_HEAD + n_rest;
    char *p = malloc(n);
    assert_non_null(p);
    memcpy(p, SIGNATURE, 12);
    p[12] = command;
    p[13] = family;
    p[14] = (char)(n_rest >> 8);
    p[15] = (char)n_rest;
    memcpy(p + SL_PROXY_V2_HEAD, rest, n_rest);
    const int r = sl_proxy_v2_parse(sl_slice(p, n), out);
    free(p);
    return r;
}
#define PARSE(rest, command, family, out) parse(rest, sizeof(rest) - 1, command, family, out)

static void assert_address(const struct sl_sockaddr *a, const char *want)
{
    char text[SL_SOCK_STRLEN];
    assert_string_equal(sl_sockaddr_text(a, text), want);
}

static void test_addresses(void **state)
{
    (void)state;
    struct sl_proxy_v2 p;
    assert_int_equal(PARSE(V4, '\x21', '\x11', &p), 0);
    assert_false(p.local);
    assert_address(&p.source, "10.0.0.1:4660");
    assert_address(&p.destination, "192.0.2.7:443");
    assert_int_equal(PARSE(V6, '\x21', '\x21', &p), 0);
    assert_address(&p.source, "[2001:db8::1]:4660");
    assert_address(&p.destination, "[fd00::2]:443");
}

static void test_who_speaks_for_itself(void **state)
{
    (void)state;
    struct sl_proxy_v2 p;
    assert_int_equal(PARSE("", '\x20', '\0', &p), 0);
    assert_true(p.local);
    assert_int_equal(PARSE("whatever stands here", '\x20', '\x11', &p), 0);
    assert_true(p.local);
    assert_int_equal(PARSE("", '\x21', '\0', &p), 0);
    assert_true(p.local);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct sl_proxy_v2 p;
    static const char families[] = {0x10, 0x12, 0x22, 0x31, 0x32, 0x01, 0x13, 0x41, (char)0xff};
    for (size_t i = 0; i < sizeof(families); i++)
        assert_int_equal(PARSE(V6, '\x21', families[i], &p), -EPROTO);
    static const char commands[] = {0x22, 0x2f, 0x11, 0x01, 0x31, 0};
    for (size_t i = 0; i < sizeof(commands); i++)
        assert_int_equal(PARSE(V4, commands[i], '\x11', &p), -EPROTO);
    for (size_t n = 0; n < sizeof(V4) - 1; n++)
        assert_int_equal(parse(V4, n, '\x21', '\x11', &p), -EPROTO);
    for (size_t n = 0; n < sizeof(V6) - 1; n++)
        assert_int_equal(parse(V6, n, '\x21', '\x21', &p), -EPROTO);
}

static void test_tlvs_fill_the_header(void **state)
{
    (void)state;
    struct sl_proxy_v2 p;
    assert_int_equal(PARSE(V4 "\x02\0\4host\4\0\0", '\x21', '\x11', &p), 0);
    assert_int_equal(PARSE(V4 "\x02", '\x21', '\x11', &p), -EPROTO);
    assert_int_equal(PARSE(V4 "\x02\0", '\x21', '\x11', &p), -EPROTO);
    assert_int_equal(PARSE(V4 "\x02\0\5host", '\x21', '\x11', &p), -EPROTO);
    assert_int_equal(PARSE(V4 "\x02\xff\xffhost", '\x21', '\x11', &p), -EPROTO);
}

static void test_the_length_is_told_by_sixteen_bytes(void **state)
{
    (void)state;
    char head[SL_PROXY_V2_HEAD + 1] = SIGNATURE "\x21\x11\0\x0c";
    assert_int_equal(sl_proxy_v2_length(sl_slice(head, SL_PROXY_V2_HEAD)), 28);
    head[14] = SL_PROXY_V2_MAX >> 8;
    head[15] = 0;
    assert_int_equal(sl_proxy_v2_length(sl_slice(head, SL_PROXY_V2_HEAD)),
                     SL_PROXY_V2_HEAD + SL_PROXY_V2_MAX);
    head[15] = 1;
    assert_int_equal(sl_proxy_v2_length(sl_slice(head, SL_PROXY_V2_HEAD)), -EPROTO);
    head[14] = 0;
    for (size_t i = 0; i < 12; i++) { /* every byte of the signature counts */
        head[i] ^= 0x20;
        assert_int_equal(sl_proxy_v2_length(sl_slice(head, SL_PROXY_V2_HEAD)), -EPROTO);
        head[i] ^= 0x20;
    }
    assert_int_equal(sl_proxy_v2_length(SL_S("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_who_speaks_for_itself),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_tlvs_fill_the_header),
        cmocka_unit_test(test_the_length_is_told_by_sixteen_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
