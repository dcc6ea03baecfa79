/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7239: what the Forwarded field says of the way, and what of it is not to be believed. */
#include "http/forwarded.h"
#include "http_test.h"

static void says(const char *value, const char *want)
{
    struct sl_slice from[SL_FORWARDED_MAX], v = exact(sl_slice_str(value));
    char got[512] = "";
    const int n = sl_forwarded_for(v, from);
    for (int i = 0; i < n; i++) {
        if (i)
            strcat(got, "|");
        strncat(got, from[i].p ? from[i].p : "-", from[i].p ? from[i].n : 1);
    }
    assert_string_equal(n < 0 ? "malformed" : got, want);
    free((void *)(uintptr_t)v.p);
}

static void test_forwarded(void **state)
{
    (void)state;
    says("for=192.0.2.43", "192.0.2.43");
    says("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711");
    says("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60");
    says("proto=https;for=10.0.0.1, host=\"a,for=6.6.6.6;b\" , for=_hidden,for=unknown",
         "10.0.0.1|-|_hidden|unknown");
    says("for=\"a\\\"b\"", "");
    says("for=1.1.1.1 ; proto=http", "1.1.1.1");
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        ",",
                                        "for",
                                        "for=",
                                        "for=a,",
                                        "for=a;",
                                        "for=a b",
                                        "=a",
                                        "for=\"a",
                                        "for=\"a\\",
                                        "for=a=b",
                                        "for=[::1]",
                                        "for=a;for=b",
                                        "for = a",
                                        "for=\"a\"x",
                                        "for=1.1.1.1:80"};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
        says(cases[i], "malformed");
    char many[SL_FORWARDED_MAX * 6 + 16] = "for=a";
    for (int i = 1; i < SL_FORWARDED_MAX; i++)
        strcat(many, ",for=a");
    struct sl_slice from[SL_FORWARDED_MAX];
    assert_int_equal(sl_forwarded_for(sl_slice_str(many), from), SL_FORWARDED_MAX);
    strcat(many, ",for=a");
    assert_int_equal(sl_forwarded_for(sl_slice_str(many), from), -22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forwarded), cmocka_unit_test(test_malformed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
