/* SPDX-License-Identifier: Apache-2.0 */
/* Each reason of the guard: a packet that reaches it, and one that just misses it. */
#include "bpf_harness.h"

#define OTHER "192.0.2.2"

static struct th_guard guard;

static int setup(void **state)
{
    (void)state;
    th_load_ours(&guard, true, 3, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static void expect4(const char *src, const char *dst, unsigned port, unsigned flags, enum sl_reason want)
{
    const struct th_packet p = th_tcp4(src, 40000, dst, port, flags);
    th_expect(&guard, &p, want);
}

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

/* ---- parsing */

static void test_vlan_tags(void **state)
{
    (void)state;
    struct th_packet p;
    th_list(&guard, CLIENT, SL_LIST_DENY, 0);
    for (unsigned tags = 0; tags <= 3; tags++) {
        th_eth(&p, 0x0800);
        for (unsigned i = 0; i < tags; i++)
            th_vlan(&p, i == 0 && tags > 1 ? 0x88a8 : 0x8100, 0x0800);
        th_ip4(&p, CLIENT, OURS, IPPROTO_TCP, 0);
        th_tcp(&p, 40000, PORT, TH_SYN);
        th_finish(&p);
        th_expect(&guard, &p, tags <= 2 ? SL_DROP_DENIED : SL_PASS_VLANS);
    }
}

static void test_ipv4_options(void **state)
{
    (void)state;
    struct th_packet p;
    th_list(&guard, CLIENT, SL_LIST_DENY, 0);
    for (size_t options = 0; options <= 40; options += 4) {
        th_eth(&p, 0x0800);
        th_ip4(&p, CLIENT, OURS, IPPROTO_TCP, options);
        /* what a parser that ignores ihl would take for the ports */
        if (options)
            memcpy(p.b + p.ip + 20, "\x9c\x40\x00\x16", 4);
        th_tcp(&p, 40000, PORT, TH_SYN);
        th_finish(&p);
        th_expect(&guard, &p, SL_DROP_DENIED);
    }
}

static void test_bad_ip_headers_are_left_to_the_stack(void **state)
{
    (void)state;
    struct th_packet p = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN);
    for (unsigned ihl = 0; ihl < 5; ihl++) {
        p.b[p.ip] = (unsigned char)(0x40 | ihl);
        th_expect(&guard, &p, SL_PASS_UNPARSED);
    }
    p.b[p.ip] = 0x55;
    th_expect(&guard, &p, SL_PASS_UNPARSED);
    p.b[p.ip] = 0x45;
    th_put16(p.b + p.ip + 2, 19);
    th_expect(&guard, &p, SL_PASS_UNPARSED);
    p.n = 33;
    th_expect(&guard, &p, SL_PASS_UNPARSED);
    p = th_tcp6("2001:db8::9", 40000, OURS6, PORT, TH_SYN);
    p.b[p.ip] = 0x40;
    th_expect(&guard, &p, SL_PASS_UNPARSED);
}

static void test_ipv6_extension_headers(void **state)
{
    (void)state;
    static const unsigned types[] = {0, 43, 60, 51};
    struct th_packet p;
    th_list(&guard, "2001:db8:bad::/48", SL_LIST_DENY, 0);
    for (unsigned n = 0; n <= 7; n++)
        for (unsigned t = 0; t < 4; t++) {
            th_eth(&p, 0x86dd);
            th_ip6(&p, "2001:db8::9", OURS6, IPPROTO_TCP);
            for (unsigned i = 0; i < n; i++)
                th_ext(&p, types[(t + i) % 4], i % 3 + 1);
            th_tcp(&p, 40000, PORT, TH_SYN);
            th_finish(&p);
            th_expect(&guard, &p, n <= 6 ? SL_PASS : SL_DROP_HEADERS);
            memcpy(p.b + p.ip + 8, "\x20\x01\x0d\xb8\x0b\xad", 6);
            th_expect(&guard, &p, SL_DROP_DENIED);
            memcpy(p.b + p.ip + 24, "\x20\x01\x0d\xb8\x00\xff", 6);
            th_expect(&guard, &p, SL_PASS_NOT_OURS);
        }
}

static void test_authentication_header_in_ipv4(void **state)
{
    (void)state;
    struct th_packet p;
    th_list(&guard, CLIENT, SL_LIST_DENY, 0);
    th_eth(&p, 0x0800);
    th_ip4(&p, CLIENT, OURS, IPPROTO_TCP, 0);
    th_ext(&p, 51, 4);
    th_tcp(&p, 40000, PORT, TH_SYN);
    th_finish(&p);
    th_expect(&guard, &p, SL_DROP_DENIED);
    th_put16(p.b + p.l4 + 2, 22);
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

/* ---- malformed, fragments, cut */

static void test_tcp_flags(void **state)
{
    (void)state;
    /* nf_conntrack_proto_tcp.c's table, spelled out */
    static const unsigned valid[] = {TH_SYN, TH_SYN | TH_URG,          TH_SYN | TH_ACK,
                                     TH_RST, TH_RST | TH_ACK,          TH_FIN | TH_ACK,
                                     TH_ACK, TH_FIN | TH_ACK | TH_URG, TH_ACK | TH_URG};
    for (unsigned flags = 0; flags < 256; flags++) {
        bool ok = false;
        for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
            ok |= (flags & 0x37) == valid[i];
        expect4(CLIENT, OURS, PORT, flags, ok ? SL_PASS : SL_DROP_MALFORMED);
    }
    expect4(CLIENT, OURS, 22, 0, SL_PASS_NOT_OURS);
    expect4(CLIENT, OURS, 22, TH_FIN | TH_PSH | TH_URG, SL_PASS_NOT_OURS);
}

static void test_tcp_offsets(void **state)
{
    (void)state;
    struct th_packet p = th_tcp4(CLIENT, 40000, OURS, PORT, TH_ACK);
    memset(th_room(&p, 12), 1, 12);
    th_finish(&p);
    for (unsigned offset = 0; offset < 16; offset++) {
        p.b[p.l4 + 12] = (unsigned char)(offset << 4);
        th_expect(&guard, &p, offset >= 5 && offset <= 8 ? SL_PASS : SL_DROP_MALFORMED);
    }
    /* options that the datagram does not hold, though the frame does: padding is no header */
    p.b[p.l4 + 12] = 8 << 4;
    th_put16(p.b + p.ip + 2, 20 + 20 + 11);
    th_expect(&guard, &p, SL_DROP_MALFORMED);
}

static void test_cut_headers(void **state)
{
    (void)state;
    const struct th_packet whole = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN);
    for (size_t n = whole.l4; n < whole.n; n++) {
        struct th_packet p = whole; /* by the frame */
        p.n = n;
        th_expect(&guard, &p, SL_DROP_TRUNCATED);
        p = whole; /* by the datagram's own length */
        th_put16(p.b + p.ip + 2, (unsigned)(n - p.ip));
        th_expect(&guard, &p, SL_DROP_TRUNCATED);
        p = th_tcp4(CLIENT, 40000, OTHER, PORT, TH_SYN);
        p.n = n;
        th_expect(&guard, &p, SL_PASS_NOT_OURS);
        p = th_tcp4(CLIENT, 40000, OURS, 22, TH_SYN); /* readable ports say whose it is */
        p.n = n;
        th_expect(&guard, &p, n < p.l4 + 4 ? SL_DROP_TRUNCATED : SL_PASS_NOT_OURS);
    }
    th_expect(&guard, &whole, SL_PASS);
}

static void test_cut_extension_headers(void **state)
{
    (void)state;
    struct th_packet p;
    th_eth(&p, 0x86dd);
    th_ip6(&p, "2001:db8::9", OURS6, IPPROTO_TCP);
    th_ext(&p, 60, 255);
    th_tcp(&p, 1, PORT, TH_SYN);
    th_finish(&p);
    th_expect(&guard, &p, SL_PASS);
    p.n = p.l4 - 4;
    th_expect(&guard, &p, SL_DROP_TRUNCATED);
    memcpy(p.b + p.ip + 24, "\x20\x01\x0d\xb8\x00\xff", 6);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
}

static void test_ipv4_fragments(void **state)
{
    (void)state;
    struct th_packet p = th_tcp4(CLIENT, 40000, OURS, PORT, TH_ACK);
    th_put16(p.b + p.ip + 6, 0x4000); /* don't fragment: none */
    th_expect(&guard, &p, SL_PASS);
    th_put16(p.b + p.ip + 6, 0x2000); /* first */
    th_expect(&guard, &p, SL_DROP_FRAGMENT);
    th_put16(p.b + p.l4 + 2, 22);
    th_expect(&guard, &p, SL_PASS_NOT_OURS); /* its ports are there to be read */
    p.n = p.l4;
    th_finish(&p);
    th_expect(&guard, &p, SL_DROP_FRAGMENT); /* tiny: they are not */
    p = th_tcp4(CLIENT, 40000, OURS, 22, TH_ACK);
    th_put16(p.b + p.ip + 6, 0x2001); /* later: what looks like ports is data */
    th_expect(&guard, &p, SL_DROP_FRAGMENT);
    th_put16(p.b + p.ip + 6, 1); /* last */
    th_expect(&guard, &p, SL_DROP_FRAGMENT);
    memcpy(p.b + p.ip + 16, "\xc0\x00\x02\x02", 4);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
    p = th_tcp4(CLIENT, 40000, OURS, 22, TH_ACK);
    p.b[p.ip + 9] = IPPROTO_UDP; /* no UDP listener has this address */
    th_put16(p.b + p.ip + 6, 1);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
}

static void ip6_fragment(struct th_packet *p, unsigned offset_and_more, unsigned port)
{
    th_eth(p, 0x86dd);
    th_ip6(p, "2001:db8::9", OURS6, IPPROTO_TCP);
    th_ext(p, 44, 0);
    th_put16(p->b + p->n - 6, offset_and_more);
    th_tcp(p, 40000, port, TH_ACK);
    th_finish(p);
}

static void test_ipv6_fragments(void **state)
{
    (void)state;
    struct th_packet p;
    ip6_fragment(&p, 0, PORT); /* atomic: whole */
    th_expect(&guard, &p, SL_PASS);
    ip6_fragment(&p, 1, PORT);
    th_expect(&guard, &p, SL_DROP_FRAGMENT);
    ip6_fragment(&p, 1, 22);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
    ip6_fragment(&p, 8, 22);
    th_expect(&guard, &p, SL_DROP_FRAGMENT);
    memcpy(p.b + p.ip + 24, "\x20\x01\x0d\xb8\x00\xff", 6);
    th_expect(&guard, &p, SL_PASS_NOT_OURS);
    /* a first fragment that ends within its chain of headers (RFC 7112 forbids it) */
    th_eth(&p, 0x86dd);
    th_ip6(&p, "2001:db8::9", OURS6, IPPROTO_TCP);
    th_ext(&p, 44, 0);
    th_put16(p.b + p.n - 6, 1);
    th_ext(&p, 60, 2);
    p.n -= 8;
    th_finish(&p);
    th_expect(&guard, &p, SL_DROP_FRAGMENT);
}

static void test_fragments_pass_where_the_policy_says_so(void **state)
{
    (void)state;
    guard.config.flags |= SL_PASS_FRAGMENTS;
    guard.config.source_connections =
        (struct sl_limit){.interval_ns = 1000000000, .tolerance_ns = 1000000000};
    th_write_config(&guard);
    struct th_packet p = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN);
    th_put16(p.b + p.ip + 6, 0x2000); /* first: judged as a whole packet is */
    th_expect(&guard, &p, SL_PASS);
    th_expect(&guard, &p, SL_DROP_CONN_RATE);
    p.b[p.l4 + 13] = 0;
    th_expect(&guard, &p, SL_DROP_MALFORMED);
    p.n = p.l4 + 8; /* RFC 3128: flags in the second fragment */
    th_finish(&p);
    th_expect(&guard, &p, SL_DROP_TRUNCATED);
    p = th_tcp4(CLIENT, 40000, OURS, 22, 0); /* later: what looks like ports and flags is data */
    th_put16(p.b + p.ip + 6, 1);
    th_expect(&guard, &p, SL_PASS);
    ip6_fragment(&p, 8, 22);
    th_expect(&guard, &p, SL_PASS);
    th_list(&guard, CLIENT, SL_LIST_DENY, 0);
    p = th_tcp4(CLIENT, 40000, OURS, 22, 0);
    th_put16(p.b + p.ip + 6, 1);
    th_expect(&guard, &p, SL_DROP_DENIED);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_listener_by_address_port_protocol),
        TEST(test_listener_counts),
        TEST(test_return_traffic_is_not_ours),
        TEST(test_control_traffic_passes),
        TEST(test_icmp_number_means_nothing_in_ipv6),
        TEST(test_vlan_tags),
        TEST(test_ipv4_options),
        TEST(test_bad_ip_headers_are_left_to_the_stack),
        TEST(test_ipv6_extension_headers),
        TEST(test_authentication_header_in_ipv4),
        TEST(test_longest_prefix_wins),
        TEST(test_list_deadline),
        TEST(test_allow_skips_every_limit),
        TEST(test_penalty_source),
        TEST(test_penalty_connect),
        TEST(test_penalty_flow),
        TEST(test_penalty_flow_ends_with_the_flow),
        TEST(test_penalty_ipv6_holds_the_64),
        TEST(test_tcp_flags),
        TEST(test_tcp_offsets),
        TEST(test_cut_headers),
        TEST(test_cut_extension_headers),
        TEST(test_ipv4_fragments),
        TEST(test_ipv6_fragments),
        TEST(test_fragments_pass_where_the_policy_says_so),
        TEST(test_shadow_counts_and_passes),
        TEST(test_foreign_packets_always_pass),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
