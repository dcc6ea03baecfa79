/* SPDX-License-Identifier: Apache-2.0 */
/* A SYN as a client's stack sends it, and the SYN-ACK that must come of it, made by other means than the
 * guard's. */
#ifndef SL_TESTS_SYN_FRAMES_H
#define SL_TESTS_SYN_FRAMES_H

#include "bpf_harness.h"

#include <arpa/inet.h>

#define CLIENT6 "2001:db8:c::7"
#define ISN     0x89abfffeu

/* ---- the SYN */

enum { PLAIN, TAGGED, DOUBLE };

static void put32(unsigned char *at, uint32_t v)
{
    th_put16(at, v >> 16);
    th_put16(at + 2, v & 0xffff);
}

static void link_header(struct th_packet *p, int tags, unsigned type)
{
    th_eth(p, type);
    if (tags == DOUBLE)
        th_vlan(p, 0x88a8, type);
    if (tags)
        th_vlan(p, 0x8100, type);
}

static struct th_packet syn_with(int family, int tags, const char *options, size_t n, size_t payload)
{
    struct th_packet p;
    link_header(&p, tags, family == SL_AF_INET ? 0x0800 : 0x86dd);
    if (family == SL_AF_INET)
        th_ip4(&p, CLIENT, OURS, IPPROTO_TCP, 0);
    else
        th_ip6(&p, CLIENT6, OURS6, IPPROTO_TCP);
    th_tcp(&p, 40000, PORT, TH_SYN);
    memcpy(th_room(&p, n), options, n);
    p.b[p.l4 + 12] = (unsigned char)((5 + n / 4) << 4);
    put32(p.b + p.l4 + 4, ISN);
    memset(th_room(&p, payload), 0xaa, payload);
    th_finish(&p);
    return p;
}

#define MSS(n)        "\x02\x04" n
#define LINUX_OPTIONS MSS("\x05\xb4") "\x04\x02\x08\x0a\x01\x02\x03\x04\x00\x00\x00\x00\x01\x03\x03\x07"

static struct th_packet syn(int family, int tags)
{
    return syn_with(family, tags, LINUX_OPTIONS, sizeof(LINUX_OPTIONS) - 1, 0);
}

/* ---- the answer, made by other means: bytes, and sums over bytes */

static uint32_t sum(const unsigned char *p, size_t n, uint32_t start)
{
    for (size_t i = 0; i < n; i++)
        start += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return start;
}

static struct th_packet syn_ack(const struct th_packet *s, int tags, uint32_t cookie, unsigned mss)
{
    struct th_packet p;
    const int v4 = s->family == SL_AF_INET;
    link_header(&p, tags, v4 ? 0x0800 : 0x86dd);
    memcpy(p.b, s->b + 6, 6);
    memcpy(p.b + 6, s->b, 6);
    if (v4)
        th_ip4(&p, OURS, CLIENT, IPPROTO_TCP, 0);
    else
        th_ip6(&p, OURS6, CLIENT6, IPPROTO_TCP);
    th_tcp(&p, PORT, 40000, TH_SYN | TH_ACK);
    unsigned char *t = p.b + p.l4, *mss_option = th_room(&p, 4);
    put32(t + 4, cookie);
    put32(t + 8, ISN + 1);
    t[12] = 6 << 4;
    th_put16(t + 14, 29200);
    put32(mss_option, 2u << 24 | 4u << 16 | mss);
    th_finish(&p);
    th_put16(t + 16, 0xffff ^ sum(t, 24, sum(p.b + p.ip + (v4 ? 12 : 8), v4 ? 8 : 32, IPPROTO_TCP + 24)));
    if (v4) {
        p.b[p.ip + 6] = 0x40; /* DF */
        th_put16(p.b + p.ip + 10, 0xffff ^ sum(p.b + p.ip, 20, 0));
    }
    if (p.n < 60)
        (void)th_room(&p, 60 - p.n);
    return p;
}

#endif
