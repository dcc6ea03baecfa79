/* SPDX-License-Identifier: Apache-2.0 */
/* Lists from files as the guard keeps them: over policies, failures, restarts; memory only where there are
 * any. */
#include "kernel_harness.h"

#include "harness/ranges.h"

#define LISTS TH_PINS "/maps/sl_list_files"

static struct sl_snapshot *lists[2]; /* .51.100.0/24 and .51.101.0/24 of 198 */

static int setup(void **state)
{
    (void)th_setup(state);
    lists[0] =
        tr_snapshot(SL_S("198.51.100.9\n"), SL_S("198.51.100.0/24\n2001:db8:1::/48\n2001:db8:2::/48\n"));
    lists[1] = tr_snapshot(SL_SLICE_NUL, SL_S("198.51.101.0/24\n"));
    return lists[0] && lists[1] ? 0 : -1;
}

static int teardown(void **state)
{
    sl_snapshot_unref(lists[0]);
    sl_snapshot_unref(lists[1]);
    return th_teardown(state);
}

/* The policy names the files of one of the lists, or none: -1. */
static void name(int i)
{
    policy.s.kernel.ranges = i < 0 ? NULL : lists[i]->kernel.ranges;
    memset(policy.s.kernel.ranges_digest, 0, SL_DIGEST);
    if (i >= 0)
        memcpy(policy.s.kernel.ranges_digest, lists[i]->kernel.ranges_digest, SL_DIGEST);
}

static void expect(int first, int second)
{
    th_expect_on("sl0", "198.51.100.5", "192.0.2.1", 443, first);
    th_expect_on("sl0", "198.51.101.5", "192.0.2.1", 443, second);
    th_expect_on("sl0", "198.51.100.9", "192.0.2.1", 443, XDP_PASS);
    th_expect_on("sl0", "198.51.102.5", "192.0.2.1", 443, XDP_PASS);
}

/* The id of the nodes that stand in the kernel; 0: none. */
static uint32_t nodes(void)
{
    const uint32_t zero = 0;
    uint32_t id = 0;
    const int fd = bpf_obj_get(LISTS);
    assert_true(fd >= 0);
    const int r = bpf_map_lookup_elem(fd, &zero, &id);
    close(fd);
    return r == 0 ? id : 0;
}

static void apply(int i, int want)
{
    name(i);
    assert_int_equal(sl_kernel_apply(guard, &policy.s), want);
}

static void start(int i)
{
    name(i);
    th_start();
}

static void test_from_policy_to_policy(void **state)
{
    (void)state;
    start(-1);
    assert_int_equal(nodes(), 0);
    expect(XDP_PASS, XDP_PASS);
    apply(0, 0);
    expect(XDP_DROP, XDP_PASS);
    const uint32_t first = nodes();
    assert_int_not_equal(first, 0);
    apply(0, 0); /* the same bytes: nothing is compiled again */
    assert_int_equal(nodes(), first);
    expect(XDP_DROP, XDP_PASS);
    apply(1, 0);
    assert_int_not_equal(nodes(), first);
    expect(XDP_PASS, XDP_DROP);
    apply(-1, 0);
    assert_int_equal(nodes(), 0);
    expect(XDP_PASS, XDP_PASS);
}

static void test_a_failed_apply_brings_the_old_lists_back(void **state)
{
    (void)state;
    start(0);
    const uint32_t first = nodes();
    policy.interfaces[1] = SL_S("nonesuch0");
    policy.s.kernel.interfaces.n = 2;
    apply(1, -ENODEV);
    assert_int_equal(nodes(), first);
    expect(XDP_DROP, XDP_PASS);
    apply(-1, -ENODEV);
    assert_int_equal(nodes(), first);
    expect(XDP_DROP, XDP_PASS);
    policy.s.kernel.interfaces.n = 1;
    apply(-1, 0);
    policy.s.kernel.interfaces.n = 2;
    apply(1, -ENODEV); /* from none to some, and back */
    assert_int_equal(nodes(), 0);
    expect(XDP_PASS, XDP_PASS);
}

static void test_they_outlive_the_daemon(void **state)
{
    (void)state;
    start(0);
    th_stop();
    expect(XDP_DROP, XDP_PASS);
    start(1);
    expect(XDP_PASS, XDP_DROP);
    th_stop();
    start(-1); /* what a former daemon left is dropped */
    assert_int_equal(nodes(), 0);
    expect(XDP_PASS, XDP_PASS);
}

static void test_counts(void **state)
{
    (void)state;
    const struct sl_cidr mine = th_cidr("203.0.113.0/24");
    struct sl_kernel_list_counts n[2][2];
    th_deny(&policy, "203.0.113.7/32");
    th_allow(&policy, "2001:db8:9::/48");
    start(0);
    assert_int_equal(sl_kernel_list_add(guard, &mine, SL_LIST_DENY, 0), 0);
    sl_kernel_list_counts(guard, n);
    assert_int_equal(n[0][0].files, 1);
    assert_int_equal(n[0][1].files, 0);
    assert_int_equal(n[1][0].files, 1);
    assert_int_equal(n[1][1].files, 2);
    assert_int_equal(n[0][1].policy, 1);
    assert_int_equal(n[1][0].policy, 1);
    assert_int_equal(n[1][0].operators, 1);
    assert_true(sl_kernel_list_bytes(guard) > 4u << 20);
    apply(-1, 0);
    sl_kernel_list_counts(guard, n);
    assert_int_equal(n[1][1].files, 0);
    assert_int_equal(n[1][0].operators, 1);
    assert_int_equal(sl_kernel_list_bytes(guard), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_from_policy_to_policy),
        TEST(test_a_failed_apply_brings_the_old_lists_back),
        TEST(test_they_outlive_the_daemon),
        TEST(test_counts),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
