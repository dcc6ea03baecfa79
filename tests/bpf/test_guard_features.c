/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel has, and the guard without it: $SLUICE_WITHOUT takes away what this kernel does have. */
#include "kernel_harness.h"

static int setup(void **state)
{
    (void)th_setup(state);
    th_deny(&policy, "203.0.113.0/24");
    return 0;
}

static int teardown(void **state)
{
    (void)unsetenv("SLUICE_WITHOUT");
    return th_teardown(state);
}

static void start_without(const char *names)
{
    th_stop();
    assert_int_equal(setenv("SLUICE_WITHOUT", names, 1), 0);
    th_start();
}

static bool has(const char *name)
{
    const struct sl_feature *v;
    const size_t n = sl_kernel_features(guard, &v);
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i].name, name) == 0) {
            assert_true(strlen(v[i].without) > 0);
            return v[i].present;
        }
    fail_msg("no feature %s", name);
    return false;
}

static struct sl_attach_state at(void)
{
    struct sl_attach_state st;
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    return st;
}

static void still_guards(void)
{
    th_expect_on("sl0", "203.0.113.5", "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", "198.51.100.5", "192.0.2.1", 443, XDP_PASS);
}

static bool has_clsact(void)
{
    return system("tc qdisc show dev sl0 | grep -q clsact") == 0;
}

static bool has_tcx_links(void)
{
    return access(TH_PINS "/links/tcx_in_sl0", F_OK) == 0 && access(TH_PINS "/links/tcx_out_sl0", F_OK) == 0;
}

/* Whether sl0 is metered the way that it should be, or not at all. */
static bool is_metered(void)
{
    const bool is = strcmp(at().tc, "none") != 0, by_filter = !has("tcx");
    assert_string_equal(at().tc, !is ? "none" : by_filter ? "clsact" : "tcx");
    assert_true(has_clsact() == (is && by_filter));
    assert_true(has_tcx_links() == (is && !by_filter));
    return is;
}

/* As long as the policy names a consumer, whoever put it on; what is not applied changes nothing. */
static void metered_while_a_consumer_is_named(const char *without)
{
    start_without(without);
    const uint32_t prog = th_xdp_on("sl0");
    assert_false(is_metered());
    policy.s.kernel.interfaces.n = 2;
    policy.interfaces[1] = SL_S("nosuch0");
    th_meter(&policy);
    assert_int_equal(sl_kernel_apply(guard, &policy.s), -ENODEV);
    assert_false(is_metered());
    policy.s.kernel.interfaces.n = 1;
    th_apply();
    assert_true(is_metered());
    policy.s.n_consumers = 0;
    policy.s.kernel.interfaces.n = 2;
    assert_int_equal(sl_kernel_apply(guard, &policy.s), -ENODEV);
    assert_true(is_metered());
    policy.s.kernel.interfaces.n = 1;
    th_apply();
    assert_false(is_metered());
    assert_int_equal(th_xdp_on("sl0"), prog);
    th_meter(&policy);
    th_apply();
    policy.s.n_consumers = 0;
    start_without(without);
    assert_false(is_metered()); /* a former daemon's */
    still_guards();
}

static void the_meter_is_on_while_a_consumer_is_named(void **state)
{
    (void)state;
    metered_while_a_consumer_is_named("");
}

static void the_filter_is_on_while_a_consumer_is_named(void **state)
{
    (void)state;
    metered_while_a_consumer_is_named("tcx");
}

static void what_is_said_to_be_there_is_used(void **state)
{
    (void)state;
    th_meter(&policy);
    start_without("");
    assert_true(has("xdp_link"));
    assert_true(has("ring_buffer"));
    assert_string_equal(at().tc, !has("socket_storage") ? "none" : has("tcx") ? "tcx" : "clsact");
    still_guards();
}

static void without_tcx_the_meter_is_a_filter(void **state)
{
    (void)state;
    th_meter(&policy);
    start_without("tcx");
    assert_false(has("tcx"));
    assert_string_equal(at().tc, "clsact");
    assert_true(has_clsact());
    assert_int_not_equal(access(TH_PINS "/links/tcx_in_sl0", F_OK), 0);
    start_without("tcx"); /* taken over */
    assert_string_equal(at().tc, "clsact");
    still_guards();
    assert_true(sl_kernel_detach_all() >= 1);
    assert_false(has_clsact());
}

static void never_both_at_tc(void **state)
{
    (void)state;
    th_meter(&policy);
    start_without("");
    if (!has("tcx")) {
        print_message("this kernel has no TCX\n");
        skip();
    }
    start_without("tcx");
    assert_int_not_equal(access(TH_PINS "/links/tcx_in_sl0", F_OK), 0);
    assert_int_not_equal(access(TH_PINS "/links/tcx_out_sl0", F_OK), 0);
    assert_true(has_clsact());
    start_without("");
    assert_int_equal(access(TH_PINS "/links/tcx_in_sl0", F_OK), 0);
    assert_false(has_clsact());
}

static void without_frags_jumbo_frames_are_for_generic_mode(void **state)
{
    (void)state;
    start_without("xdp_frags");
    assert_false(has("xdp_frags"));
    assert_int_equal(at().xdp, SL_ATTACH_NATIVE);
    still_guards();
    th_stop();
    (void)sl_kernel_detach_all();
    th_sh("ip link set sl0 mtu 9000 && ip link set sl1 mtu 9000");
    start_without("xdp_frags");
    assert_int_equal(at().xdp, SL_ATTACH_GENERIC); /* the driver refuses: the flag is not set */
    still_guards();
}

static void without_the_helper_no_cookies(void **state)
{
    (void)state;
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_ALWAYS;
    assert_int_equal(setenv("SLUICE_WITHOUT", "syn_cookies", 1), 0);
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -EOPNOTSUPP);
    assert_null(guard);
    policy.s.kernel.syn_cookies = SL_SYN_COOKIES_AUTO;
    start_without("syn_cookies");
    still_guards();
}

static void without_socket_storage_no_meter(void **state)
{
    (void)state;
    th_meter(&policy);
    start_without("socket_storage,tcx");
    assert_string_equal(at().tc, "none");
    assert_int_equal(sl_kernel_fds(guard).socket_storage, -1);
    assert_false(has_clsact());
    still_guards();
}

static void without_what_is_required_no_guard(void **state)
{
    (void)state;
    static const char *const required[] = {"xdp_link", "ring_buffer"};
    for (size_t i = 0; i < SL_ARRAY_LEN(required); i++) {
        assert_int_equal(setenv("SLUICE_WITHOUT", required[i], 1), 0);
        assert_int_equal(sl_kernel_start(&policy.s, &guard), -EOPNOTSUPP);
        assert_null(guard);
        assert_int_equal(th_xdp_on("sl0"), 0);
        assert_int_not_equal(access(SL_PIN_ROOT, F_OK), 0);
    }
}

static void with_the_guard_off_nothing_is_looked_for(void **state)
{
    (void)state;
    const struct sl_feature *v;
    policy.s.kernel.mode = SL_KERNEL_OFF;
    start_without("");
    assert_int_equal(sl_kernel_features(guard, &v), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_said_to_be_there_is_used),
        TEST(without_tcx_the_meter_is_a_filter),
        TEST(never_both_at_tc),
        TEST(the_meter_is_on_while_a_consumer_is_named),
        TEST(the_filter_is_on_while_a_consumer_is_named),
        TEST(without_frags_jumbo_frames_are_for_generic_mode),
        TEST(without_the_helper_no_cookies),
        TEST(without_socket_storage_no_meter),
        TEST(without_what_is_required_no_guard),
        TEST(with_the_guard_off_nothing_is_looked_for),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
