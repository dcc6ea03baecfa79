/* SPDX-License-Identifier: Apache-2.0 */
/* URLs that the gateway goes to: what is read, and all that is refused. */
#include "base/url.h"
#include "harness/arena.h"

#define unit_test_arena(t) cmocka_unit_test_setup_teardown(t, with_arena, drop_arena)

static struct sl_url good(const char *text)
{
    struct sl_url u;
    const char *wrong = sl_url_parse(&arena, sl_slice_str(text), &u);
    if (wrong)
        fail_msg("%s: %s", text, wrong);
    assert_string_equal(u.text, text);
    return u;
}

static void wants(const char *text, const char *host, unsigned port, const char *field, const char *target)
{
    const struct sl_url u = good(text);
    assert_string_equal(u.host, host);
    assert_int_equal(u.port, port);
    assert_string_equal(u.field, field);
    assert_string_equal(u.target, target);
}

static void parts(void **state)
{
    (void)state;
    wants("https://a.example", "a.example", 443, "a.example", "/");
    wants("HTTPS://A.Example:443/x?y=z", "a.example", 443, "a.example", "/x?y=z");
    wants("https://a.example:8443?q", "a.example", 8443, "a.example:8443", "/?q");
    wants("https://192.0.2.7:1/", "192.0.2.7", 1, "192.0.2.7:1", "/");
    wants("https://[2001:DB8::1]:444/k", "2001:db8::1", 444, "[2001:db8::1]:444", "/k");
    wants("https://[::1]", "::1", 443, "[::1]", "/");
    assert_int_equal(good("https://[::1]").ip.family, SL_AF_INET6);
    assert_int_equal(good("https://127.0.0.1").ip.family, SL_AF_INET);
    assert_int_equal(good("https://localhost").ip.family, 0);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "https://",
                                      "https:///x",
                                      "http://a/",
                                      "ftp://a/",
                                      "//a/",
                                      "/x",
                                      "https:/a",
                                      "https://a:b@c/",
                                      "https://good@evil/",
                                      "https://a\\@b/",
                                      "https://a/b\\c",
                                      "https://a/#f",
                                      "https://a/b c",
                                      "https://a/\r\nHost: b",
                                      "https://a/\xc3\xa9",
                                      "https://\xc3\xa9/",
                                      "https://a_b/",
                                      "https://.a/",
                                      "https://a./",
                                      "https://a..b/",
                                      "https://-a/",
                                      "https://127.1/",
                                      "https://2130706433/",
                                      "https://1.2.3.4.5/",
                                      "https://0x7f.1.2.3.4/",
                                      "https://a:0/",
                                      "https://a:65536/",
                                      "https://a:/",
                                      "https://a:44x/",
                                      "https://a:443:443/",
                                      "https://::1/",
                                      "https://[::1/",
                                      "https://[::1]x/",
                                      "https://[127.0.0.1]/",
                                      "https://[::ffff:127.0.0.1]/",
                                      "https://[fe80::1%eth0]/",
                                      "https://a%2fb/"};
    struct sl_url u;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (!sl_url_parse(&arena, sl_slice_str(bad[i]), &u))
            fail_msg("accepted: %s", bad[i]);
    assert_non_null(sl_url_parse(&arena, sl_slice("https://a\0.b/", 13), &u));
    char *text = sl_arena_alloc(&arena, 4096);
    memset(text, 'a', 4096);
    memcpy(text, "https://a/", 10);
    assert_non_null(sl_url_parse(&arena, sl_slice(text, 2049), &u));
    assert_null(sl_url_parse(&arena, sl_slice(text, 2048), &u));
}

static void directories(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port;
        bool tls;
    } good_ones[] = {{"ldaps://Dir.Example", "dir.example", 636, true},
                     {"LDAP://dir.example/", "dir.example", 389, false},
                     {"ldap://192.0.2.7:1389", "192.0.2.7", 1389, false},
                     {"ldaps://[2001:db8::1]:637", "2001:db8::1", 637, true}};
    static const char *const bad[] = {"",           "ldap",          "ldap://",      "ldapi://x",
                                      "http://a",   "ldap://a/dc=x", "ldap://a?uid", "ldap://u@a",
                                      "ldap://a:0", "ldap://a b",    "ldap://a//",   "ldap://a ldap://b",
                                      "ldap://[::1"};
    struct sl_url u;
    bool tls;
    for (size_t i = 0; i < SL_ARRAY_LEN(good_ones); i++) {
        assert_null(sl_url_parse_ldap(&arena, sl_slice_str(good_ones[i].text), &tls, &u));
        assert_string_equal(u.text, good_ones[i].text);
        assert_string_equal(u.host, good_ones[i].host);
        assert_int_equal(u.port, good_ones[i].port);
        assert_int_equal(tls, good_ones[i].tls);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (!sl_url_parse_ldap(&arena, sl_slice_str(bad[i]), &tls, &u))
            fail_msg("accepted: %s", bad[i]);
}

static void references(void **state)
{
    (void)state;
    const struct sl_url base = good("https://a.example:8443/x/y?z");
    struct sl_url u;
    assert_null(sl_url_resolve(&arena, &base, SL_S("/k?1"), &u));
    assert_string_equal(u.text, "https://a.example:8443/k?1");
    assert_true(sl_url_same_origin(&base, &u));
    assert_null(sl_url_resolve(&arena, &base, SL_S("//b/k"), &u));
    assert_string_equal(u.text, "https://b/k");
    assert_false(sl_url_same_origin(&base, &u));
    assert_null(sl_url_resolve(&arena, &base, SL_S("https://a.example/k"), &u));
    assert_false(sl_url_same_origin(&base, &u)); /* another port is another server */
    static const char *const bad[] = {"",     "k",   "../k", "http://a.example:8443/", "javascript:1",
                                      "/a b", "///x"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        assert_non_null(sl_url_resolve(&arena, &base, sl_slice_str(bad[i]), &u));
}

static void public_addresses(void **state)
{
    (void)state;
    static const char *const yes[] = {"1.1.1.1",      "9.255.255.255",  "11.0.0.1",    "100.63.0.1",
                                      "100.128.0.1",  "126.0.0.1",      "128.0.0.1",   "172.15.0.1",
                                      "172.32.0.1",   "192.0.1.1",      "192.167.0.1", "223.255.255.255",
                                      "2001:4860::1", "2606:4700::1111"};
    static const char *const no[] = {
        "0.0.0.0",    "10.1.2.3",     "100.64.0.1",      "127.0.0.1",      "169.254.169.254",
        "172.16.0.1", "172.31.9.9",   "192.0.0.8",       "192.0.2.1",      "192.168.1.1",
        "198.18.0.1", "198.51.100.1", "203.0.113.9",     "224.0.0.1",      "255.255.255.255",
        "::",         "::1",          "::ffff:10.0.0.1", "64:ff9b::a00:1", "fc00::1",
        "fe80::1",    "ff02::1",      "2001:db8::1",     "2001::1",        "2002:a00:1::"};
    struct sl_ip ip;
    for (size_t i = 0; i < SL_ARRAY_LEN(yes) + SL_ARRAY_LEN(no); i++) {
        const bool want = i < SL_ARRAY_LEN(yes);
        const char *text = want ? yes[i] : no[i - SL_ARRAY_LEN(yes)];
        assert_int_equal(sl_ip_parse(sl_slice_str(text), &ip), 0);
        if (sl_ip_is_public(&ip) != want)
            fail_msg("%s: %s", text, want ? "not public" : "public");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(parts),      unit_test_arena(what_is_refused),  unit_test_arena(directories),
        unit_test_arena(references), unit_test_arena(public_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
