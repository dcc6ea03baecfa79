/* SPDX-License-Identifier: Apache-2.0 */
/* Proven and unproven sources: prefixes, listeners, and that a flood of invented addresses leaves no trace.
 */
#include "sources.h"

/* ---- prefixes */

static void test_prefix_of_ipv4(void **state)
{
    (void)state;
    guard.config.prefix_connections = per_second(10, 20);
    th_write_config(&guard);
    assert_int_equal(admitted("198.51.100.1", TH_SYN, 15), 15);
    assert_int_equal(admitted("198.51.100.254", TH_SYN, 15), 5);
    expect("198.51.100.77", TH_SYN, SL_DROP_PREFIX_RATE);
    expect("198.51.100.77", TH_ACK, SL_PASS);
    expect("198.51.101.77", TH_SYN, SL_PASS); /* the next one */
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10 - 1);
    expect("198.51.100.77", TH_SYN, SL_DROP_PREFIX_RATE);
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10);
    expect("198.51.100.77", TH_SYN, SL_PASS);
    expect("198.51.100.78", TH_SYN, SL_DROP_PREFIX_RATE);
}

static void test_prefixes_of_ipv6(void **state)
{
    (void)state;
    guard.config.prefix_connections = per_second(1, 10);
    th_write_config(&guard);
    assert_int_equal(admitted("2001:db8:5:0100::1", TH_SYN, 12), 10); /* the /56 */
    expect("2001:db8:5:01ff::1", TH_SYN, SL_DROP_PREFIX_RATE);
    expect("2001:db8:5:0200::1", TH_SYN, SL_DROP_PREFIX_RATE); /* the /48 with it: the same rate */
    expect("2001:db8:6:0100::1", TH_SYN, SL_PASS);
    /* with single addresses as sources the /64 is a prefix too */
    guard.config.ipv6_prefix = 128;
    guard.config.source_connections = per_second(1, 4);
    th_write_config(&guard);
    th_clock(&guard, TH_START + 100 * SL_NS_PER_SEC);
    assert_int_equal(admitted("2001:db8:5:1::1", TH_SYN, 8), 4);
    expect("2001:db8:5:1::1", TH_SYN, SL_DROP_CONN_RATE);
    assert_int_equal(admitted("2001:db8:5:1::2", TH_SYN, 4), 4);
    assert_int_equal(admitted("2001:db8:5:1::3", TH_SYN, 4), 2);
    expect("2001:db8:5:1::4", TH_SYN, SL_DROP_PREFIX_RATE);
    /* and a source as wide as a prefix is none of its own */
    guard.config.ipv6_prefix = 48;
    guard.config.source_connections = (struct sl_limit){0};
    th_write_config(&guard);
    th_clock(&guard, TH_START + 200 * SL_NS_PER_SEC);
    assert_int_equal(admitted("2001:db8:5:1::1", TH_SYN, 30), 30);
}

static void test_proven_and_unproven_of_a_prefix_are_apart(void **state)
{
    (void)state;
    guard.config.prefix_connections = per_second(1, 10);
    th_write_config(&guard);
    prove(CLIENT);
    assert_int_equal(admitted("198.51.100.66", TH_SYN, 20), 10); /* spoofed, say */
    assert_int_equal(admitted(CLIENT, TH_SYN, 20), 10);
    expect(CLIENT, TH_SYN, SL_DROP_PREFIX_RATE);
}

static void test_a_flood_leaves_a_listener_to_proven_sources(void **state)
{
    (void)state;
    guard.config.listener_connections = per_second(1, 10);
    th_write_config(&guard);
    prove(CLIENT);
    assert_int_equal(admitted("203.0.113.66", TH_SYN, 20), 10);
    expect("203.0.113.67", TH_SYN, SL_DROP_LISTENER_RATE);
    assert_int_equal(admitted(CLIENT, TH_SYN, 20), 10);
    expect(CLIENT, TH_SYN, SL_DROP_LISTENER_RATE);
}

/* ---- proven sources have their own */

static void test_proven_source(void **state)
{
    (void)state;
    guard.config.source_connections = per_second(1, 3);
    guard.config.source_packets = per_second(1, 8);
    th_write_config(&guard);
    assert_int_equal(admitted(CLIENT, TH_SYN, 5), 3);
    prove(CLIENT); /* by hand: with full buckets */
    assert_int_equal(admitted(CLIENT, TH_SYN, 5), 3);
    expect(CLIENT, TH_SYN, SL_DROP_CONN_RATE);
    assert_int_equal(admitted(CLIENT, TH_ACK, 9), 5);
    expect(CLIENT, TH_ACK, SL_DROP_PACKET_RATE);
    prove("2001:db8:5:6::1"); /* its whole /64 */
    assert_int_equal(admitted("2001:db8:5:6::1", TH_ACK, 20), 8);
    expect("2001:db8:5:6:ffff::1", TH_ACK, SL_DROP_PACKET_RATE);
}

/* ---- what a flood leaves behind */

static void test_invented_sources_leave_nothing(void **state)
{
    (void)state;
    char src[32];
    guard.config.source_connections = per_second(10, 20);
    guard.config.source_packets = per_second(1000, 1000);
    th_write_config(&guard);
    uint64_t x = 1;
    for (unsigned i = 0; i < 50000; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        snprintf(src, sizeof(src), "%u.%u.%u.%u", 1 + (unsigned)(x >> 33) % 197, (unsigned)(x >> 41) & 255,
                 (unsigned)(x >> 49) & 255, (unsigned)(x >> 56) & 255);
        assert_int_equal(admitted(src, i % 2 ? TH_SYN : TH_PSH | TH_ACK, 1), 1);
    }
    assert_int_equal(proven_sources(), 0);
    assert_int_equal(admitted(CLIENT, TH_SYN, 30), 20); /* and a newcomer has all that is his */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prefix_of_ipv4),
        TEST(test_prefixes_of_ipv6),
        TEST(test_proven_and_unproven_of_a_prefix_are_apart),
        TEST(test_a_flood_leaves_a_listener_to_proven_sources),
        TEST(test_proven_source),
        TEST(test_invented_sources_leave_nothing),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
