/* SPDX-License-Identifier: Apache-2.0 */
/* Headers as the guard reads them: tags, options, extensions; and what it drops for being cut, malformed or
 * in fragments: a packet that is, and one that just is not. */
#include "verdicts.h"

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

/* The bytes of a frame in several buffers are those of all of them, not of the first: th_judge compares what
 * was counted, and a byte limit takes as much. */
static void test_frames_in_several_buffers(void **state)
{
    (void)state;
    static unsigned char big[9000];
    int action;
    bool would;
    const struct th_packet head = th_tcp4(CLIENT, 40000, OURS, PORT, TH_ACK);
    memcpy(big, head.b, head.n);
    th_put16(big + head.ip + 2, sizeof(big) - 14);
    guard.config.source_bytes =
        (struct sl_limit){.interval_ns = 1000, .tolerance_ns = 2 * sizeof(big) * 1000, .mult = 1000};
    th_write_config(&guard);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(th_judge(&guard, big, sizeof(big), &action, &would),
                         i < 2 ? SL_PASS : SL_DROP_BYTE_RATE);
    th_put16(big + head.l4 + 2, 22);
    assert_int_equal(th_judge(&guard, big, sizeof(big), &action, &would), SL_PASS_NOT_OURS);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_vlan_tags),
        TEST(test_ipv4_options),
        TEST(test_bad_ip_headers_are_left_to_the_stack),
        TEST(test_ipv6_extension_headers),
        TEST(test_authentication_header_in_ipv4),
        TEST(test_frames_in_several_buffers),
        TEST(test_tcp_flags),
        TEST(test_tcp_offsets),
        TEST(test_cut_headers),
        TEST(test_cut_extension_headers),
        TEST(test_ipv4_fragments),
        TEST(test_ipv6_fragments),
        TEST(test_fragments_pass_where_the_policy_says_so),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
