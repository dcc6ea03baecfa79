/* SPDX-License-Identifier: Apache-2.0 */
/* From a policy to verdicts: wildcards, lists, consumers' sources, over reloads. */
#include "kernel_harness.h"

static void expect(const char *src, const char *dst, unsigned port, int action)
{
    th_expect_on("sl0", src, dst, port, action);
}

/* ---- listeners */

static void test_wildcards_follow_the_hosts_addresses(void **state)
{
    (void)state;
    th_policy(&policy, "0.0.0.0:443");
    th_bind(&policy, 0, "[::]:8443");
    th_deny(&policy, "0.0.0.0/0");
    th_deny(&policy, "::/0");
    th_start();
    expect("203.0.113.1", "192.0.2.1", 443, XDP_DROP);
    expect("203.0.113.1", "192.0.2.9", 443, XDP_PASS); /* forwarded: not the host's */
    expect("2001:db8::77", "2001:db8::1", 8443, XDP_DROP);
    expect("2001:db8::77", "2001:db8::1", 443, XDP_PASS);
    expect("203.0.113.1", "192.0.2.1", 8443, XDP_PASS); /* [::] is IPv6 alone */
    sl_kernel_netlink_drain(guard);
    th_sh("ip addr add 192.0.2.9/24 dev sl0");
    char byte;
    assert_int_equal(recv(sl_kernel_netlink_fd(guard), &byte, 1, MSG_PEEK | MSG_DONTWAIT), 1);
    sl_kernel_netlink_drain(guard);
    assert_int_equal(recv(sl_kernel_netlink_fd(guard), &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_int_equal(sl_kernel_refresh(guard), 0);
    expect("203.0.113.1", "192.0.2.9", 443, XDP_DROP);
    th_sh("ip addr del 192.0.2.9/24 dev sl0");
    assert_int_equal(sl_kernel_refresh(guard), 0);
    expect("203.0.113.1", "192.0.2.9", 443, XDP_PASS);
    expect("203.0.113.1", "192.0.2.1", 443, XDP_DROP);
}

static void test_listeners_come_and_go(void **state)
{
    (void)state;
    th_deny(&policy, "203.0.113.0/24");
    th_start();
    expect("203.0.113.1", "192.0.2.1", 443, XDP_DROP);
    expect("203.0.113.1", "192.0.2.1", 8443, XDP_PASS);
    policy.s.n_listeners = 2;
    th_bind(&policy, 1, "192.0.2.1:8443");
    th_apply();
    expect("203.0.113.1", "192.0.2.1", 443, XDP_DROP);
    expect("203.0.113.1", "192.0.2.1", 8443, XDP_DROP);
    policy.s.n_listeners = 1;
    th_apply();
    expect("203.0.113.1", "192.0.2.1", 443, XDP_DROP);
    expect("203.0.113.1", "192.0.2.1", 8443, XDP_PASS);
}

static void test_listener_counters_by_slot(void **state)
{
    (void)state;
    struct sl_listener_stats a, b;
    policy.s.n_listeners = 2;
    th_bind(&policy, 1, "192.0.2.1:8443");
    th_start();
    expect("203.0.113.1", "192.0.2.1", 443, XDP_PASS);
    expect("203.0.113.1", "192.0.2.1", 8443, XDP_PASS);
    expect("203.0.113.1", "192.0.2.1", 8443, XDP_PASS);
    assert_int_equal(sl_maps_listener(sl_kernel_fds(guard).listener_stats, 1, &a), 0);
    assert_int_equal(sl_maps_listener(sl_kernel_fds(guard).listener_stats, 2, &b), 0);
    assert_int_equal(a.passed.packets, 1);
    assert_int_equal(b.passed.packets, 2);
    assert_int_equal(sl_maps_listener(sl_kernel_fds(guard).listener_stats, SL_MAX_LISTENERS, &a), -ENOENT);
}

/* ---- lists */

static void test_operators_entries_survive_reloads(void **state)
{
    (void)state;
    const struct sl_cidr one = th_cidr("203.0.113.7/32"), range = th_cidr("203.0.113.0/24"),
                         six = th_cidr("2001:db8:bad::/48");
    th_allow(&policy, "203.0.113.0/24");
    th_bind(&policy, 0, "[2001:db8::1]:443");
    th_start();
    assert_int_equal(sl_kernel_list_add(guard, &one, SL_LIST_DENY, 0), 0);
    assert_int_equal(sl_kernel_list_add(guard, &six, SL_LIST_DENY, 3600 * SL_NS_PER_SEC), 0);
    expect("203.0.113.7", "192.0.2.1", 443, XDP_DROP);
    expect("203.0.113.8", "192.0.2.1", 443, XDP_PASS);
    expect("2001:db8:bad::5", "2001:db8::1", 443, XDP_DROP);
    th_apply();
    expect("203.0.113.7", "192.0.2.1", 443, XDP_DROP);
    expect("2001:db8:bad::5", "2001:db8::1", 443, XDP_DROP);
    assert_int_equal(sl_kernel_list_add(guard, &range, SL_LIST_DENY, 0), 0); /* the policy's own prefix */
    expect("203.0.113.8", "192.0.2.1", 443, XDP_DROP);
    assert_int_equal(sl_kernel_list_remove(guard, &range), 2); /* with what lies within */
    expect("203.0.113.7", "192.0.2.1", 443, XDP_PASS);
    expect("203.0.113.8", "192.0.2.1", 443, XDP_PASS);
    policy.s.kernel.allow.n = 0;
    th_deny(&policy, "203.0.113.0/24");
    th_apply();
    expect("203.0.113.8", "192.0.2.1", 443, XDP_DROP);
    assert_int_equal(sl_kernel_list_remove(guard, &range), 0); /* the policy's stays */
    expect("203.0.113.8", "192.0.2.1", 443, XDP_DROP);
}

static void test_sweep_brings_back_what_a_timed_entry_hid(void **state)
{
    (void)state;
    const struct sl_cidr c = th_cidr("203.0.113.0/24");
    th_deny(&policy, "203.0.113.0/24");
    th_start();
    assert_int_equal(sl_kernel_list_add(guard, &c, SL_LIST_ALLOW, 1), 0); /* over at once */
    sl_kernel_sweep(guard);
    expect("203.0.113.8", "192.0.2.1", 443, XDP_DROP);
}

/* ---- consumers' sources */

static void consumer(size_t i, const char *name, const char *source)
{
    struct sl_consumer *c = &policy.consumers[i];
    c->name = name;
    c->tier = &policy.tier;
    c->sources.v = policy.sources[i];
    c->slot = (uint32_t)i + 1;
    policy.sources[i][c->sources.n++] = th_cidr(source);
    policy.s.n_consumers = SL_MAX(policy.s.n_consumers, i + 1);
}

static unsigned admitted_of(const char *src, unsigned n)
{
    const struct th_packet p = th_tcp4(src, 1, "192.0.2.1", 443, TH_SYN);
    unsigned admitted = 0;
    for (unsigned i = 0; i < n; i++)
        admitted += th_run_on("sl0", &p) == XDP_PASS;
    return admitted;
}

/* So slow that no request comes back while the test runs. */
static void slow_tier(uint64_t limit, uint32_t headroom)
{
    policy.tier.headroom = headroom;
    policy.tier.rate_limit.n_windows = 2;
    policy.tier.rate_limit.windows[0] =
        (struct sl_window){.name = "day", .seconds = 86400, .limit = limit * 10, .capacity = limit * 10};
    policy.tier.rate_limit.windows[1] =
        (struct sl_window){.name = "hour", .seconds = 3600, .limit = limit, .capacity = limit};
}

static void test_ceiling_is_headroom_times_the_shortest_window(void **state)
{
    (void)state;
    consumer(0, "acme", "198.51.100.0/28");
    consumer(0, "acme", "203.0.113.5/32");
    slow_tier(5, 2);
    th_start();
    assert_int_equal(admitted_of("198.51.100.1", 7), 7);
    assert_int_equal(admitted_of("203.0.113.5", 7), 3); /* one bucket over all its ranges */
    assert_int_equal(admitted_of("198.51.100.16", 20), 20);
    th_apply(); /* no reload refills it */
    assert_int_equal(admitted_of("198.51.100.1", 7), 0);
    th_stop();
    th_start(); /* nor a restart */
    assert_int_equal(admitted_of("198.51.100.1", 7), 0);
    policy.tier.headroom = 0;
    th_apply();
    assert_int_equal(admitted_of("198.51.100.1", 7), 7);
}

static void test_what_two_consumers_claim_has_no_ceiling(void **state)
{
    (void)state;
    consumer(0, "acme", "198.51.100.0/24");
    consumer(1, "umbrella", "198.51.100.16/28"); /* within */
    consumer(0, "acme", "203.0.113.0/28");
    consumer(1, "umbrella", "203.0.113.0/28"); /* the same */
    slow_tier(2, 1);
    th_start();
    assert_int_equal(admitted_of("198.51.100.17", 20), 20);
    assert_int_equal(admitted_of("203.0.113.1", 20), 20);
    assert_int_equal(admitted_of("198.51.100.1", 20), 2);
}

static void test_the_kernels_bucket_is_nobody_elses(void **state)
{
    (void)state;
    consumer(0, "acme", "198.51.100.0/28");
    slow_tier(5, 1);
    th_start();
    /* the whole table is taken by other keys, again and again; the slot that the kernel knows stays */
    struct sl_bucket_table t = sl_kernel_buckets(guard);
    const uint64_t now = sl_now_ns();
    uint64_t pinned = 0;
    for (size_t i = 0; i < t.n; i++)
        if (t.slots[i].key & SL_BUCKET_PINNED)
            pinned = t.slots[i].key;
    assert_int_not_equal(pinned, 0);
    for (uint64_t i = 1; i < 20 * t.n; i++) {
        struct sl_bucket *b = sl_bucket_get(&t, i * 0x9e3779b97f4a7c15ull, now + i);
        if (b)
            assert_false(b->key & SL_BUCKET_PINNED);
    }
    assert_int_equal(admitted_of("198.51.100.1", 10), 5);
    policy.s.n_consumers = 0; /* and is given back when its consumer goes */
    th_apply();
    for (size_t i = 0; i < t.n; i++)
        assert_false(t.slots[i].key & SL_BUCKET_PINNED);
}

static void test_per_source_limits_from_the_policy(void **state)
{
    (void)state;
    policy.s.kernel.per_source.new_connections = (struct sl_rate){.count = 3, .per_ns = 3600 * SL_NS_PER_SEC};
    policy.s.kernel.per_source.burst = 3600;
    th_start();
    assert_int_equal(admitted_of("198.51.100.1", 10), 3);
    assert_int_equal(admitted_of("198.51.100.2", 10), 3);
    policy.s.kernel.shadow = true;
    th_apply();
    assert_int_equal(admitted_of("198.51.100.1", 10), 10);
    struct sl_count is[SL_REASON_COUNT], would[SL_REASON_COUNT];
    assert_int_equal(sl_maps_reasons(sl_kernel_fds(guard).reasons, is, would), 0);
    assert_int_equal(is[SL_DROP_CONN_RATE].packets, 14);
    assert_int_equal(would[SL_DROP_CONN_RATE].packets, 10);
}

static void test_listener_limit_and_fragments_from_the_policy(void **state)
{
    (void)state;
    struct th_packet later = th_tcp4("198.51.100.1", 40000, "192.0.2.1", 443, TH_ACK);
    th_put16(later.b + later.ip + 6, 1);
    policy.s.kernel.per_listener.new_connections =
        (struct sl_rate){.count = 3, .per_ns = 3600 * SL_NS_PER_SEC};
    policy.s.kernel.per_listener.burst = 3600;
    th_start();
    assert_int_equal(admitted_of("198.51.100.1", 2), 2);
    assert_int_equal(admitted_of("198.51.100.2", 10), 1);
    assert_int_equal(th_run_on("sl0", &later), 1);
    policy.s.kernel.per_listener.new_connections.count = 0;
    policy.s.kernel.fragments = SL_FRAGMENTS_PASS;
    th_apply();
    assert_int_equal(admitted_of("198.51.100.1", 10), 10);
    assert_int_equal(th_run_on("sl0", &later), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, th_setup, th_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wildcards_follow_the_hosts_addresses),
        TEST(test_listeners_come_and_go),
        TEST(test_listener_counters_by_slot),
        TEST(test_operators_entries_survive_reloads),
        TEST(test_sweep_brings_back_what_a_timed_entry_hid),
        TEST(test_ceiling_is_headroom_times_the_shortest_window),
        TEST(test_what_two_consumers_claim_has_no_ceiling),
        TEST(test_the_kernels_bucket_is_nobody_elses),
        TEST(test_per_source_limits_from_the_policy),
        TEST(test_listener_limit_and_fragments_from_the_policy),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
