/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, prefixes and socket addresses as a policy writes them. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct sl_ip ip(const char *s)
{
    struct sl_ip out;
    assert_int_equal(sl_ip_parse(sl_slice_str(s), &out), 0);
    return out;
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const same[] = {
        "192.0.2.7", "0.0.0.0", "255.255.255.255", "10.100.99.9", "2001:db8::1",
        "::",        "::1",     "fe80::1:2:3:4"};
    static const char *const bad[] = {"",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "256.1.1.1",
                                      "1.2.3.4 ",
                                      " 1.2.3.4",
                                      "1.2.3.4/8",
                                      "::g",
                                      "1::2::3",
                                      "[::1]",
                                      "fe80::1%eth0",
                                      "localhost",
                                      "01.2.3.4x",
                                      "::ffff:1.2.3.4.5",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999",
                                      "0x7f.1"};
    char text[SL_IP_STRLEN];
    struct sl_ip out;
    for (size_t i = 0; i < SL_ARRAY_LEN(same); i++) {
        out = ip(same[i]);
        assert_string_equal(sl_ip_text(&out, text), same[i]);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (sl_ip_parse(sl_slice_str(bad[i]), &out) != -EINVAL)
            fail_msg("%s: taken", bad[i]);
    assert_int_equal(sl_ip_parse(SL_S("1.2.3.4\0"), &out), -EINVAL);
    out = (struct sl_ip){0};
    assert_string_equal(sl_ip_text(&out, text), "-");
}

/* One client, one key: what arrives on a dual-stack socket is the IPv4 address. */
static void test_mapped_addresses_are_ipv4(void **state)
{
    (void)state;
    const struct sl_ip a = ip("::ffff:192.0.2.7"), b = ip("192.0.2.7"), c = ip("::192.0.2.7");
    struct sl_sockaddr sa = {.len = sizeof(sa.in6), .in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)}};
    assert_true(sl_ip_eq(&a, &b));
    assert_int_equal(a.family, SL_AF_INET);
    assert_false(sl_ip_eq(&b, &c));
    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.7", &sa.in6.sin6_addr), 1);
    const struct sl_ip d = sl_sockaddr_ip(&sa);
    assert_true(sl_ip_eq(&d, &b));
    assert_int_equal(sl_sockaddr_port(&sa), 80);
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char *const same[] = {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32",   "2001:db8::/32",
                                       "::/0",       "::1/128",   "192.0.2.128/25", "2001:db8:8000::/33"};
    static const struct {
        const char *s;
        int want;
    } bad[] = {{"10.0.0.1/8", -EDOM},
               {"192.0.2.129/25", -EDOM},
               {"2001:db8::1/64", -EDOM},
               {"10.0.0.0/33", -EINVAL},
               {"::/129", -EINVAL},
               {"10.0.0.0/", -EINVAL},
               {"10.0.0.0/ 8", -EINVAL},
               {"10.0.0.0/-1", -EINVAL},
               {"10/8", -EINVAL},
               {"/8", -EINVAL},
               {"", -EINVAL},
               {"10.0.0.0/8/8", -EINVAL},
               {"10.0.0.0/99999999999999999999999", -EINVAL}};
    char text[SL_IP_STRLEN];
    struct sl_cidr c;
    for (size_t i = 0; i < SL_ARRAY_LEN(same); i++) {
        assert_int_equal(sl_cidr_parse(sl_slice_str(same[i]), &c), 0);
        assert_string_equal(sl_cidr_text(&c, text), same[i]);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (sl_cidr_parse(sl_slice_str(bad[i].s), &c) != bad[i].want)
            fail_msg("%s: not %d", bad[i].s, bad[i].want);
    assert_int_equal(sl_cidr_parse(SL_S("192.0.2.7"), &c), 0);
    assert_int_equal(c.len, 32);
    assert_int_equal(sl_cidr_parse(SL_S("2001:db8::7"), &c), 0);
    assert_int_equal(c.len, 128);
}

/* Against every length: an address is within its own masked prefix, and one bit off at the edge is not. */
static void test_contains(void **state)
{
    (void)state;
    static const char *const addresses[] = {"203.0.113.165", "2001:db8:a5a5:5a5a:1234:8765:dead:beef"};
    for (size_t k = 0; k < 2; k++) {
        const struct sl_ip a = ip(addresses[k]);
        const unsigned max = a.family == SL_AF_INET ? 32 : 128;
        for (unsigned len = 0; len <= max; len++) {
            struct sl_cidr c = {.ip = sl_ip_mask(a, (uint8_t)len), .len = (uint8_t)len};
            assert_true(sl_cidr_contains(&c, &a));
            for (unsigned bit = 0; bit < max; bit++) {
                struct sl_ip b = a;
                b.addr.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
                assert_int_equal(sl_cidr_contains(&c, &b), bit >= len);
            }
        }
    }
    struct sl_cidr all4;
    const struct sl_ip six = ip("::1");
    assert_int_equal(sl_cidr_parse(SL_S("0.0.0.0/0"), &all4), 0);
    assert_false(sl_cidr_contains(&all4, &six));
}

static void test_a_source_is_an_address_or_a_64(void **state)
{
    (void)state;
    const struct sl_ip four = ip("192.0.2.7"), six = ip("2001:db8:1:2:3:4:5:6"), net = ip("2001:db8:1:2::");
    const struct sl_cidr s4 = sl_ip_source(&four), s6 = sl_ip_source(&six);
    assert_true(s4.len == 32 && sl_ip_eq(&s4.ip, &four));
    assert_true(s6.len == 64 && sl_ip_eq(&s6.ip, &net));
}

static void test_overlaps(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool want;
    } t[] = {{"10.0.0.0/8", "10.1.2.3/32", true},
             {"10.1.2.0/24", "10.1.3.0/24", false},
             {"0.0.0.0/0", "2001:db8::/32", false},
             {"2001:db8::/32", "2001:db8:1::/48", true},
             {"192.0.2.1/32", "192.0.2.1/32", true}};
    for (size_t i = 0; i < SL_ARRAY_LEN(t); i++) {
        struct sl_cidr a, b;
        assert_int_equal(sl_cidr_parse(sl_slice_str(t[i].a), &a), 0);
        assert_int_equal(sl_cidr_parse(sl_slice_str(t[i].b), &b), 0);
        assert_int_equal(sl_cidr_overlaps(&a, &b), t[i].want);
        assert_int_equal(sl_cidr_overlaps(&b, &a), t[i].want);
    }
}

static void test_sockets(void **state)
{
    (void)state;
    static const char *const same[] = {"192.0.2.7:80", "0.0.0.0:65535", "[::1]:80", "[2001:db8::1]:8443",
                                       "unix:/run/x.sock"};
    static const char *const bad[] = {"",
                                      "80",
                                      ":80",
                                      "192.0.2.7",
                                      "192.0.2.7:",
                                      "192.0.2.7:65536",
                                      "192.0.2.7:-1",
                                      "192.0.2.7:8a",
                                      "::1:80x",
                                      "[::1]",
                                      "[::1]:",
                                      "[::1]80",
                                      "[]:80",
                                      "[1.2.3.4]:80",
                                      "host:80",
                                      "unix:",
                                      "192.0.2.7 :80"};
    char text[SL_SOCK_STRLEN], path[256];
    struct sl_sockaddr sa;
    for (size_t i = 0; i < SL_ARRAY_LEN(same); i++) {
        assert_int_equal(sl_sockaddr_parse(sl_slice_str(same[i]), &sa), 0);
        assert_string_equal(sl_sockaddr_text(&sa, text), same[i]);
        assert_true(sa.len > 0 && sa.len <= sizeof(struct sockaddr_un));
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (sl_sockaddr_parse(sl_slice_str(bad[i]), &sa) != -EINVAL)
            fail_msg("%s: taken", bad[i]);
    (void)snprintf(path, sizeof(path), "unix:/%0200d", 0);
    assert_int_equal(sl_sockaddr_parse(sl_slice_str(path), &sa), -EINVAL);
    assert_int_equal(sl_sockaddr_parse(SL_S("192.0.2.7\0x:80"), &sa), -EINVAL);
    assert_int_equal(sl_sockaddr_parse(SL_S("unix:/run/a\0b"), &sa), -EINVAL);
    assert_int_equal(sl_sockaddr_parse(sl_slice(path, 5 + 107), &sa), 0); /* sun_path with its NUL */
    assert_int_equal(strlen(sl_sockaddr_text(&sa, text)), 5 + 107);
    assert_int_equal(sl_sockaddr_parse(sl_slice(path, 5 + 108), &sa), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_mapped_addresses_are_ipv4),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_a_source_is_an_address_or_a_64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
