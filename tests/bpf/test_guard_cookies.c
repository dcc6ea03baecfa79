/* SPDX-License-Identifier: Apache-2.0 */
/* SYN cookies as the daemon keeps them: what is refused, what goes without, and what comes back by itself. */
#include "kernel_harness.h"

static int setup(void **state)
{
    (void)state;
    th_syncookies("2");
    return th_setup(state);
}

static void stands(const char *state, const char *why)
{
    const struct sl_cookies_status s = sl_kernel_syn_cookies(guard);
    assert_string_equal(s.state, state);
    if (!strstr(s.why, why) || !*why != !*s.why)
        fail_msg("\"%s\" does not say \"%s\"", s.why, why);
}

/* What the program has been told: a SYN that nobody listens for is counted as failed where cookies are on. */
static uint64_t asked(void)
{
    struct sl_count was[SL_REASON_COUNT], is[SL_REASON_COUNT];
    const int fd = sl_kernel_fds(guard).reasons;
    assert_int_equal(sl_maps_reasons(fd, was, NULL), 0);
    th_expect_on("sl0", "198.51.100.7", "192.0.2.1", 443, 2);
    assert_int_equal(sl_maps_reasons(fd, is, NULL), 0);
    return is[SL_SYN_COOKIE_FAILED].packets - was[SL_SYN_COOKIE_FAILED].packets;
}

static void test_always_is_refused_where_they_are_missing(void **state)
{
    (void)state;
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_ALWAYS;
    th_syncookies("1");
    char why[SL_COOKIES_WHY];
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -EOPNOTSUPP);
    assert_true(sl_kernel_lacks_cookies(&policy.s, why));
    assert_non_null(strstr(why, "tcp_syncookies is 1"));
    assert_int_equal(th_xdp_on("sl0"), 0);
    th_syncookies("2");
    th_start();
    stands("on", "");
    assert_false(sl_kernel_lacks_cookies(&policy.s, why));
    assert_string_equal(sl_kernel_syn_cookies(guard).policy, "always");
    assert_int_equal(asked(), 1);
}

static void test_a_reload_is_refused_and_the_old_policy_stands(void **state)
{
    (void)state;
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_OFF;
    th_syncookies("1");
    th_start();
    stands("off", "");
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_ALWAYS;
    assert_int_equal(sl_kernel_apply(guard, &policy.s), -EOPNOTSUPP);
    stands("off", "");
    assert_int_equal(asked(), 0);
    th_syncookies("2");
    th_apply();
    stands("on", "");
    assert_int_equal(asked(), 1);
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_OFF;
    th_apply();
    stands("off", "");
    assert_int_equal(asked(), 0);
}

static void test_auto_without_a_bucket_asks_for_nothing(void **state)
{
    (void)state;
    th_syncookies("1");
    th_start();
    stands("idle", "");
    assert_string_equal(sl_kernel_syn_cookies(guard).policy, "auto");
    assert_int_equal(asked(), 0);
}

/* One connection in an hour, so that the second SYN is past the limit. */
static void test_auto_goes_without_and_says_so(void **state)
{
    (void)state;
    policy.s.kernel.per_listener.new_connections =
        (struct sl_rate){.count = 1, .per_ns = 3600 * SL_NS_PER_SEC};
    policy.s.kernel.per_listener.burst = 1;
    th_syncookies("1");
    th_start();
    stands("missing", "net.ipv4.tcp_syncookies is 1 and must be 2");
    assert_int_equal(asked(), 0);
    th_expect_on("sl0", "198.51.100.7", "192.0.2.1", 443, XDP_DROP);
    th_syncookies("2");
    th_apply();
    stands("on", "");
    struct sl_count is[SL_REASON_COUNT];
    th_expect_on("sl0", "198.51.100.7", "192.0.2.1", 443, XDP_DROP); /* nobody listens */
    assert_int_equal(sl_maps_reasons(sl_kernel_fds(guard).reasons, is, NULL), 0);
    assert_int_equal(is[SL_SYN_COOKIE_FAILED].packets, 1);
}

/* Somebody turns the sysctl under a running daemon. */
static void test_what_is_lost_is_said_and_comes_back(void **state)
{
    (void)state;
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_ALWAYS;
    th_start();
    th_syncookies("0");
    sl_kernel_sweep(guard);
    stands("missing", "net.ipv4.tcp_syncookies is 0 and must be 2: sysctl -w net.ipv4.tcp_syncookies=2");
    assert_int_equal(asked(), 0);
    th_syncookies("2");
    sl_kernel_sweep(guard);
    stands("on", "");
    assert_int_equal(asked(), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, th_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_always_is_refused_where_they_are_missing),
        TEST(test_a_reload_is_refused_and_the_old_policy_stands),
        TEST(test_auto_without_a_bucket_asks_for_nothing),
        TEST(test_auto_goes_without_and_says_so),
        TEST(test_what_is_lost_is_said_and_comes_back),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
