/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's buckets, with the clock in the test's hand: exact counts, not rates. */
#include "bpf_harness.h"

#include "base/clock.h"

static struct th_guard guard;

static int setup(void **state)
{
    (void)state;
    th_load_ours(&guard, true, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static struct sl_limit per_second(uint64_t rate, uint64_t capacity)
{
    const uint64_t interval = SL_NS_PER_SEC / rate;
    return (struct sl_limit){.interval_ns = interval, .tolerance_ns = capacity * interval};
}

static void test_connections_of_a_source(void **state)
{
    (void)state;
    const struct th_packet syn = th_tcp4(CLIENT, 1, OURS, PORT, TH_SYN),
                           ack = th_tcp4(CLIENT, 1, OURS, PORT, TH_ACK),
                           answer = th_tcp4(CLIENT, 1, OURS, PORT, TH_SYN | TH_ACK),
                           port = th_tcp4(CLIENT, 2, OURS, PORT, TH_SYN),
                           other = th_tcp4("198.51.100.8", 1, OURS, PORT, TH_SYN);
    guard.config.source_connections = per_second(10, 20);
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, &syn, 30), 20);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    th_expect(&guard, &port, SL_DROP_CONN_RATE); /* from whatever port */
    th_expect(&guard, &ack, SL_PASS);            /* what is open stays open */
    th_expect(&guard, &answer, SL_PASS);
    assert_int_equal(th_admitted(&guard, &other, 30), 20); /* each source has its own */
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10 - 1);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10);
    th_expect(&guard, &syn, SL_PASS);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    th_clock(&guard, TH_START + 3600 * SL_NS_PER_SEC); /* long idle: no more than the capacity */
    assert_int_equal(th_admitted(&guard, &syn, 30), 20);
}

static void test_connections_to_a_listener(void **state)
{
    (void)state;
    const struct th_packet a = th_tcp4(CLIENT, 1, OURS, PORT, TH_SYN),
                           b = th_tcp4("203.0.113.9", 1, OURS, PORT, TH_SYN),
                           b6 = th_tcp6("2001:db8:c::2", 1, OURS6, PORT, TH_SYN),
                           ack = th_tcp4(CLIENT, 1, OURS, PORT, TH_ACK),
                           second = th_tcp4(CLIENT, 1, OURS, PORT + 1, TH_SYN);
    th_listen(&guard, OURS, PORT + 1, 1);
    guard.config.listener_connections = per_second(10, 20);
    th_write_config(&guard);
    /* one bucket for all its addresses and all sources */
    assert_int_equal(th_admitted(&guard, &a, 8), 8);
    assert_int_equal(th_admitted(&guard, &b, 8), 8);
    assert_int_equal(th_admitted(&guard, &b6, 8), 4);
    th_expect(&guard, &a, SL_DROP_LISTENER_RATE);
    th_expect(&guard, &ack, SL_PASS);
    assert_int_equal(th_admitted(&guard, &second, 30), 20); /* another listener has its own */
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10 - 1);
    th_expect(&guard, &b, SL_DROP_LISTENER_RATE);
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10);
    th_expect(&guard, &b, SL_PASS);
    th_expect(&guard, &b6, SL_DROP_LISTENER_RATE);
}

static void test_what_a_source_limit_refuses_costs_its_neighbours_nothing(void **state)
{
    (void)state;
    const struct th_packet a = th_tcp4(CLIENT, 1, OURS, PORT, TH_SYN),
                           b = th_tcp4("203.0.113.9", 1, OURS, PORT, TH_SYN);
    guard.config.source_connections = per_second(1, 4);
    guard.config.listener_connections = per_second(1, 8);
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, &a, 50), 4);
    th_expect(&guard, &a, SL_DROP_CONN_RATE);
    assert_int_equal(th_admitted(&guard, &b, 4), 4);
}

static void test_no_limit_keeps_no_source(void **state)
{
    (void)state;
    struct sl_source_key key;
    const struct th_packet syn = th_tcp4(CLIENT, 1, OURS, PORT, TH_SYN);
    assert_int_equal(th_admitted(&guard, &syn, 100), 100);
    assert_int_equal(bpf_map_get_next_key(bpf_map__fd(guard.skel->maps.sl_sources), NULL, &key), -ENOENT);
}

static void test_packets_of_a_source(void **state)
{
    (void)state;
    const struct th_packet ack = th_tcp4(CLIENT, 1, OURS, PORT, TH_ACK);
    guard.config.source_packets = per_second(1000, 50);
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, &ack, 60), 50);
    th_expect(&guard, &ack, SL_DROP_PACKET_RATE);
    th_clock(&guard, TH_START + 7 * SL_NS_PER_MS);
    assert_int_equal(th_admitted(&guard, &ack, 60), 7);
}

static void test_bytes_of_a_source(void **state)
{
    (void)state;
    struct th_packet big = th_tcp4(CLIENT, 1, OURS, PORT, TH_ACK);
    (void)th_room(&big, 1000 - big.n);
    th_finish(&big);
    /* 1 MB/s, 10,000 bytes at once: 1,000 ns a byte */
    guard.config.source_bytes = (struct sl_limit){
        .interval_ns = 1000, .tolerance_ns = 10000 * 1000, .mult = 1000u << 20, .shift = 20};
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, &big, 20), 10);
    th_expect(&guard, &big, SL_DROP_BYTE_RATE);
    const struct th_packet small = th_tcp4(CLIENT, 1, OURS, PORT, TH_ACK);
    th_clock(&guard, TH_START + 100 * 1000); /* 100 bytes back: one packet of 54, not one of 1,000 */
    th_expect(&guard, &big, SL_DROP_BYTE_RATE);
    th_expect(&guard, &small, SL_PASS);
    th_expect(&guard, &small, SL_DROP_BYTE_RATE);
}

static void test_ipv6_sources_are_prefixes(void **state)
{
    (void)state;
    const struct th_packet a = th_tcp6("2001:db8:5:6::1", 1, OURS6, PORT, TH_SYN),
                           b = th_tcp6("2001:db8:5:6:ffff::2", 1, OURS6, PORT, TH_SYN),
                           c = th_tcp6("2001:db8:5:7::1", 1, OURS6, PORT, TH_SYN);
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, &a, 2), 2);
    assert_int_equal(th_admitted(&guard, &b, 5), 1);
    assert_int_equal(th_admitted(&guard, &c, 5), 3);
    static const uint32_t bits[] = {1, 7, 8, 9, 47, 48, 49, 127, 128};
    for (size_t i = 0; i < SL_ARRAY_LEN(bits); i++) {
        struct th_packet same = a, next = a; /* the first bit beyond the source, and the last of it */
        const uint32_t last = bits[i] - 1;
        next.b[next.ip + 8 + last / 8] ^= (unsigned char)(0x80 >> last % 8);
        if (bits[i] < 128)
            same.b[same.ip + 8 + bits[i] / 8] ^= (unsigned char)(0x80 >> bits[i] % 8);
        guard.config.ipv6_prefix = bits[i];
        th_write_config(&guard);
        th_clock(&guard, TH_START + (i + 1) * 100 * SL_NS_PER_SEC);
        assert_int_equal(th_admitted(&guard, &a, 5), 3);
        th_expect(&guard, &same, SL_DROP_CONN_RATE);
        assert_int_equal(th_admitted(&guard, &next, 5), 3);
    }
}

static void claim(const char *cidr, uint32_t bucket, struct sl_limit limit)
{
    const struct sl_cidr c = th_cidr(cidr);
    struct sl_lpm6_key k = {.prefixlen = c.len};
    const struct sl_consumer_source v = {.bucket = bucket, .limit = limit};
    const bool v6 = c.ip.family == SL_AF_INET6;
    memcpy(k.addr, c.ip.addr.bytes, 16);
    assert_int_equal(
        bpf_map_update_elem(bpf_map__fd(v6 ? guard.skel->maps.sl_consumers6 : guard.skel->maps.sl_consumers4),
                            &k, &v, 0),
        0);
    guard.config.flags |= SL_HAVE_CONSUMER_SOURCES;
    th_write_config(&guard);
}

static void test_consumer_ceiling_over_all_its_sources(void **state)
{
    (void)state;
    struct sl_bucket b;
    const uint32_t slot = 77;
    claim("198.51.100.0/28", slot, per_second(10, 20));
    claim("2001:db8:c::/48", slot, per_second(10, 20));
    claim("198.51.100.12/32", 0, (struct sl_limit){0}); /* claimed by another as well */
    const struct th_packet a = th_tcp4("198.51.100.1", 1, OURS, PORT, TH_SYN),
                           b4 = th_tcp4("198.51.100.2", 1, OURS, PORT, TH_SYN),
                           b6 = th_tcp6("2001:db8:c::2", 1, OURS6, PORT, TH_SYN),
                           ack = th_tcp4("198.51.100.1", 1, OURS, PORT, TH_ACK),
                           shared = th_tcp4("198.51.100.12", 1, OURS, PORT, TH_SYN),
                           outside = th_tcp4("198.51.100.16", 1, OURS, PORT, TH_SYN);
    assert_int_equal(th_admitted(&guard, &a, 8), 8);
    assert_int_equal(th_admitted(&guard, &b4, 8), 8);
    assert_int_equal(th_admitted(&guard, &b6, 8), 4);
    th_expect(&guard, &a, SL_DROP_CONSUMER_RATE);
    th_expect(&guard, &ack, SL_PASS);
    assert_int_equal(th_admitted(&guard, &shared, 50), 50);
    assert_int_equal(th_admitted(&guard, &outside, 50), 50);
    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(guard.skel->maps.sl_buckets), &slot, &b), 0);
    assert_int_equal(b.admitted, 20);
    assert_int_equal(b.denied, 5);
}

static void test_a_raised_limit_is_not_locked_out(void **state)
{
    (void)state;
    const struct th_packet syn = th_tcp4(CLIENT, 1, OURS, PORT, TH_SYN);
    guard.config.source_connections =
        (struct sl_limit){.interval_ns = 3600 * SL_NS_PER_SEC, .tolerance_ns = 100 * 3600 * SL_NS_PER_SEC};
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, &syn, 200), 100);
    guard.config.source_connections =
        per_second(10, 10); /* the tat lies 100 hours ahead: clamped, and written back */
    th_write_config(&guard);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10);
    th_expect(&guard, &syn, SL_PASS);
    th_clock(&guard, TH_START + 2 * SL_NS_PER_SEC);
    assert_int_equal(th_admitted(&guard, &syn, 20), 10);
}

static void test_updates_evict_nobody(void **state)
{
    (void)state;
    /* known sources keep their buckets, however often they are seen */
    guard.config.source_connections = per_second(1, 2);
    th_write_config(&guard);
    const struct th_packet a = th_tcp4("198.51.100.1", 1, OURS, PORT, TH_SYN);
    assert_int_equal(th_admitted(&guard, &a, 2), 2);
    for (unsigned i = 0; i < 50; i++) {
        char src[32];
        snprintf(src, sizeof(src), "198.51.100.%u", 2 + i);
        const struct th_packet p = th_tcp4(src, 1, OURS, PORT, TH_SYN);
        assert_int_equal(th_admitted(&guard, &p, 100), 2);
    }
    th_expect(&guard, &a, SL_DROP_CONN_RATE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connections_of_a_source),
        TEST(test_connections_to_a_listener),
        TEST(test_what_a_source_limit_refuses_costs_its_neighbours_nothing),
        TEST(test_no_limit_keeps_no_source),
        TEST(test_packets_of_a_source),
        TEST(test_bytes_of_a_source),
        TEST(test_ipv6_sources_are_prefixes),
        TEST(test_consumer_ceiling_over_all_its_sources),
        TEST(test_a_raised_limit_is_not_locked_out),
        TEST(test_updates_evict_nobody),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
