/* SPDX-License-Identifier: Apache-2.0 */
/* Each reason of the guard: a packet that reaches it, and one that just misses it. */
#include "verdicts.h"

/* ---- ours, and not */

static void test_listener_by_address_port_protocol(void **state)
{
    (void)state;
    expect4(CLIENT, OURS, PORT, TH_SYN, SL_PASS);
    expect4(CLIENT, OURS, PORT + 1, TH_SYN, SL_PASS_NOT_OURS);
    expect4(CLIENT, OTHER, PORT, TH_SYN, SL_PASS_NOT_OURS);
    struct th_packet p;
    th_eth(&p, 0x0800);
    th_ip4(&p, CLIENT, OURS, IPPROTO_UDP, 0);
    th_udp(&p, 40000, PORT);
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
}

static void test_listener_counts(void **state)
{
    (void)state;
    struct sl_listener_stats s;
    th_list(&guard, "203.0.113.9", SL_LIST_DENY, 0);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_PASS);
    expect4("203.0.113.9", OURS, PORT, TH_ACK, SL_DROP_DENIED);
    assert_int_equal(sl_maps_listener(bpf_map__fd(guard.skel->maps.sl_stats), 3, &s), 0);
    assert_int_equal(s.passed.packets, 1);
    assert_int_equal(s.passed.bytes, 54);
    assert_int_equal(s.dropped.packets, 1);
    assert_int_equal(s.would_drop.packets, 0);
}

static void test_return_traffic_is_not_ours(void **state)
{
    (void)state;
    /* answers of an upstream to the gateway's own ephemeral port, even where the upstream's port equals ours
     */
    const struct th_packet p = th_tcp4(OTHER, PORT, OURS, 40000, TH_SYN | TH_ACK);
    th_list(&guard, "192.0.2.0/24", SL_LIST_DENY, 0);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
}

static void test_control_traffic_passes(void **state)
{
    (void)state;
    struct th_packet p;
    th_list(&guard, "0.0.0.0/0", SL_LIST_DENY, 0);
    th_list(&guard, "::/0", SL_LIST_DENY, 0);
    th_eth(&p, 0x0806);
    (void)th_room(&p, 28);
    th_expect(&guard, &p, SL_PASS_CONTROL);
    th_eth(&p, 0x0800); /* fragmentation needed: path MTU */
    th_ip4(&p, OTHER, OURS, IPPROTO_ICMP, 0);
    memcpy(th_room(&p, 8), "\x03\x04", 2);
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS_CONTROL);
    th_eth(&p, 0x86dd); /* neighbour solicitation */
    th_ip6(&p, "fe80::1", "ff02::1:ff00:1", IPPROTO_ICMPV6);
    th_room(&p, 24)[0] = 135;
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS_CONTROL);
    th_eth(&p, 0x86dd); /* multicast listener report, behind a hop-by-hop header */
    th_ip6(&p, "fe80::1", "ff02::16", IPPROTO_ICMPV6);
    th_ext(&p, 0, 0);
    (void)th_room(&p, 28);
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS_CONTROL);
    th_eth(&p, 0x86dd); /* packet too big, in a fragment */
    th_ip6(&p, "2001:db8::9", OURS6, IPPROTO_ICMPV6);
    th_ext(&p, 44, 0);
    th_put16(p.b + p.n - 6, 8 << 3);
    (void)th_room(&p, 28);
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS_CONTROL);
}

static void test_icmp_number_means_nothing_in_ipv6(void **state)
{
    (void)state;
    struct th_packet p;
    th_eth(&p, 0x86dd);
    th_ip6(&p, "2001:db8::9", OURS6, IPPROTO_ICMP);
    (void)th_room(&p, 8);
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
}

/* ---- lists */

static void test_longest_prefix_wins(void **state)
{
    (void)state;
    th_list(&guard, "10.0.0.0/8", SL_LIST_DENY, 0);
    th_list(&guard, "10.1.0.0/16", SL_LIST_ALLOW, 0);
    th_list(&guard, "10.1.2.3/32", SL_LIST_DENY, 0);
    expect4("10.2.0.1", OURS, PORT, TH_ACK, SL_DROP_DENIED);
    expect4("10.1.2.4", OURS, PORT, TH_ACK, SL_PASS_ALLOWED);
    expect4("10.1.2.3", OURS, PORT, TH_ACK, SL_DROP_DENIED);
    expect4("11.0.0.1", OURS, PORT, TH_ACK, SL_PASS);
    expect4("10.2.0.1", OURS, 22, TH_SYN, SL_PASS_NOT_OURS);
    struct th_packet p = th_tcp6("2001:db8:bad::1", 40000, OURS6, PORT, TH_ACK);
    th_list(&guard, "2001:db8:bad::/48", SL_LIST_DENY, 0);
    th_expect(&guard, &p, SL_DROP_DENIED);
    th_list(&guard, "2001:db8:bad::1/128", SL_LIST_ALLOW, 0);
    th_expect(&guard, &p, SL_PASS_ALLOWED);
}

static void test_list_deadline(void **state)
{
    (void)state;
    th_list(&guard, CLIENT, SL_LIST_DENY, TH_START + 1000);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_DROP_DENIED);
    th_clock(&guard, TH_START + 999);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_DROP_DENIED);
    th_clock(&guard, TH_START + 1000);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_PASS);
}

static void test_allow_skips_every_limit(void **state)
{
    (void)state;
    guard.config.source_connections =
        (struct sl_limit){.interval_ns = 1000000000, .tolerance_ns = 1000000000};
    th_list(&guard, CLIENT, SL_LIST_ALLOW, 0);
    for (int i = 0; i < 5; i++)
        expect4(CLIENT, OURS, PORT, TH_SYN, SL_PASS_ALLOWED);
    expect4(CLIENT, OURS, PORT, 0, SL_PASS_ALLOWED);
}

/* ---- penalties */

static void penalise(const char *src, enum sl_penalty_scope effect, uint64_t deadline)
{
    const struct sl_ip s = th_ip(src), d = th_ip(s.family == SL_AF_INET ? OURS : OURS6);
    struct sl_penalty_key k = {.addr = s.addr, .family = s.family, .scope = SL_PENALTY_SOURCE};
    const struct sl_penalty_value v = {
        .deadline_ns = deadline, .since_ns = TH_START, .effect = effect, .level = 1};
    if (s.family == SL_AF_INET6)
        k.addr = sl_ip_mask(s, 64).addr;
    if (effect == SL_PENALTY_FLOW)
        k = (struct sl_penalty_key){.addr = s.addr,
                                    .daddr = d.addr,
                                    .sport_be = htons(40000),
                                    .dport_be = htons(PORT),
                                    .family = s.family,
                                    .scope = SL_PENALTY_FLOW};
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(guard.skel->maps.sl_penalties), &k, &v, BPF_ANY), 0);
    guard.config.flags |= SL_HAVE_PENALTIES;
    th_write_config(&guard);
}

static void test_penalty_source(void **state)
{
    (void)state;
    penalise(CLIENT, SL_PENALTY_SOURCE, TH_START + 10);
    expect4(CLIENT, OURS, PORT, TH_SYN, SL_DROP_PENALTY_SOURCE);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_DROP_PENALTY_SOURCE);
    expect4(CLIENT, OURS, 22, TH_SYN, SL_PASS_NOT_OURS);
    expect4("198.51.100.8", OURS, PORT, TH_SYN, SL_PASS);
    th_clock(&guard, TH_START + 10);
    expect4(CLIENT, OURS, PORT, TH_SYN, SL_PASS);
}

static void test_penalty_connect(void **state)
{
    (void)state;
    penalise(CLIENT, SL_PENALTY_CONNECT, TH_START + 10);
    expect4(CLIENT, OURS, PORT, TH_SYN, SL_DROP_PENALTY_CONNECT);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_PASS);
    expect4(CLIENT, OURS, PORT, TH_RST, SL_PASS);
    th_clock(&guard, TH_START + 11);
    expect4(CLIENT, OURS, PORT, TH_SYN, SL_PASS);
}

static void test_penalty_flow(void **state)
{
    (void)state;
    penalise(CLIENT, SL_PENALTY_FLOW, TH_START + 10);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_DROP_PENALTY_FLOW);
    struct th_packet p = th_tcp4(CLIENT, 40001, OURS, PORT, TH_ACK);
    th_expect(&guard, &p, SL_PASS);
    th_clock(&guard, TH_START + 10);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_PASS);
}

/* The ports are given again, perhaps to a neighbour behind the same address: a SYN is another flow. */
static void test_penalty_flow_ends_with_the_flow(void **state)
{
    (void)state;
    penalise(CLIENT, SL_PENALTY_FLOW, TH_START + 10);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_DROP_PENALTY_FLOW);
    expect4(CLIENT, OURS, PORT, TH_SYN, SL_PASS);
    expect4(CLIENT, OURS, PORT, TH_ACK, SL_PASS);
}

static void test_penalty_ipv6_holds_the_64(void **state)
{
    (void)state;
    penalise("2001:db8:1:2::9", SL_PENALTY_SOURCE, TH_START + 10);
    struct th_packet p = th_tcp6("2001:db8:1:2:ffff::1", 1, OURS6, PORT, TH_SYN);
    th_expect(&guard, &p, SL_DROP_PENALTY_SOURCE);
    p = th_tcp6("2001:db8:1:3::9", 1, OURS6, PORT, TH_SYN);
    th_expect(&guard, &p, SL_PASS);
    penalise("2001:db8:7:7::9", SL_PENALTY_FLOW, TH_START + 10);
    p = th_tcp6("2001:db8:7:7::9", 40000, OURS6, PORT, TH_ACK);
    th_expect(&guard, &p, SL_DROP_PENALTY_FLOW);
    p = th_tcp6("2001:db8:7:7::a", 40000, OURS6, PORT, TH_ACK);
    th_expect(&guard, &p, SL_PASS);
}

/* ---- shadow */

static void test_shadow_counts_and_passes(void **state)
{
    (void)state;
    struct sl_listener_stats s;
    int action;
    bool would;
    guard.config.shadow = 1;
    th_list(&guard, CLIENT, SL_LIST_DENY, 0);
    struct th_packet p = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN);
    assert_int_equal(th_judge(&guard, p.b, p.n, &action, &would), SL_DROP_DENIED);
    assert_true(would);
    assert_int_equal(action, XDP_PASS);
    p = th_tcp4("198.51.100.8", 40000, OURS, PORT, 0);
    assert_int_equal(th_judge(&guard, p.b, p.n, &action, &would), SL_DROP_MALFORMED);
    assert_true(would);
    assert_int_equal(action, XDP_PASS);
    p = th_tcp4("198.51.100.8", 40000, OURS, PORT, TH_SYN);
    assert_int_equal(th_judge(&guard, p.b, p.n, &action, &would), SL_PASS);
    assert_false(would);
    assert_int_equal(sl_maps_listener(bpf_map__fd(guard.skel->maps.sl_stats), 3, &s), 0);
    assert_int_equal(s.would_drop.packets, 2);
    assert_int_equal(s.dropped.packets, 0);
    assert_int_equal(s.passed.packets, 1);
}

/* ---- what is not ours, whatever it is, is never dropped */

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* A packet that is not for our listener: another address, another port, or another protocol. */
static void foreign_packet(struct th_packet *p, uint64_t *seed)
{
    const uint64_t r = next_random(seed);
    const bool v6 = r & 1, other_port = r & 2;
    const unsigned proto =
        r & 4 || other_port ? (r & 8 || other_port ? IPPROTO_TCP : IPPROTO_UDP) : (unsigned)(r >> 32 & 0xff);
    char dst[48];
    snprintf(dst, sizeof(dst), v6 ? "2001:db8:ff::%x" : "100.64.1.%u", (unsigned)(r >> 16 & 0x7f));
    th_eth(p, v6 ? 0x86dd : 0x0800);
    if (r & 16)
        th_vlan(p, 0x8100, v6 ? 0x86dd : 0x0800);
    if (v6)
        th_ip6(p, "2001:db8:bad::1", other_port ? OURS6 : dst, proto);
    else
        th_ip4(p, CLIENT, other_port ? OURS : dst, proto, (r >> 8 & 7) * 4);
    for (unsigned i = 0; v6 && i < (r >> 12 & 3); i++)
        th_ext(p, i & 1 ? 60 : 0, (unsigned)(r >> (20 + i)) & 3);
    th_tcp(p, (unsigned)(r >> 40) & 0xffff, other_port ? 1 + ((unsigned)(r >> 48) % 442) : PORT,
           (unsigned)(r >> 24) & 0xff);
    if (!other_port && r & 32)
        th_put16(p->b + p->ip + 6, v6 ? 0x0640 : (unsigned)(r >> 50) & 0x3fff);
    (void)th_room(p, r >> 56 & 0x3f);
    th_finish(p);
    if (!other_port && r & 64) /* cut anywhere behind the addresses */
        p->n -= (r >> 44) % (p->n - p->ip - 40 + 1);
}

static void test_foreign_packets_always_pass(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15ull;
    struct th_packet p;
    /* a policy as harsh as can be */
    guard.config.source_connections = guard.config.source_packets =
        (struct sl_limit){.interval_ns = 1000000000000, .tolerance_ns = 1000000000000};
    th_list(&guard, "0.0.0.0/0", SL_LIST_DENY, 0);
    th_list(&guard, "::/0", SL_LIST_DENY, 0);
    penalise(CLIENT, SL_PENALTY_SOURCE, UINT64_MAX);
    penalise("2001:db8:bad::1", SL_PENALTY_SOURCE, UINT64_MAX);
    for (unsigned i = 0; i < 20000; i++) {
        foreign_packet(&p, &seed);
        if (th_run_raw(&guard, p.b, p.n) != XDP_PASS)
            fail_msg("foreign packet %u was dropped", i);
    }
    struct th_counts c;
    th_counts(&guard, &c);
    for (int i = 0; i < SL_REASON_COUNT; i++)
        assert_true(c.is[i].packets == 0 || !sl_reason_drops(i));
    assert_true(c.is[SL_PASS_NOT_OURS].packets > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_listener_by_address_port_protocol),
        TEST(test_listener_counts),
        TEST(test_return_traffic_is_not_ours),
        TEST(test_control_traffic_passes),
        TEST(test_icmp_number_means_nothing_in_ipv6),
        TEST(test_longest_prefix_wins),
        TEST(test_list_deadline),
        TEST(test_allow_skips_every_limit),
        TEST(test_penalty_source),
        TEST(test_penalty_connect),
        TEST(test_penalty_flow),
        TEST(test_penalty_flow_ends_with_the_flow),
        TEST(test_penalty_ipv6_holds_the_64),
        TEST(test_shadow_counts_and_passes),
        TEST(test_foreign_packets_always_pass),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
