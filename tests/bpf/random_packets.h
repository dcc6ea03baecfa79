/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that nobody sends, and some that people do. One seed, which is printed, makes them all; SL_SEED
 * repeats it. */
#ifndef SL_TESTS_RANDOM_PACKETS_H
#define SL_TESTS_RANDOM_PACKETS_H

#include "bpf_harness.h"

#include "../../bpf/lib/parse.h"

#include "base/clock.h"

static inline uint64_t th_seed(void)
{
    const char *given = getenv("SL_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : sl_wall_ns() | 1;
    print_message("SL_SEED=%#lx\n", (unsigned long)seed);
    return seed;
}

static inline uint64_t th_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* A SYN (or, one in 16 each, ICMP and what UDP makes of one) with tags, options and extension headers in any
 * number. */
static inline struct th_packet th_random_packet(uint64_t *seed, const char *dst4, const char *dst6,
                                                unsigned port)
{
    static const unsigned exts[] = {0, 60, 43, 51, 44};
    const unsigned which = (unsigned)(th_next(seed) >> 16);
    struct th_packet p;
    const bool v6 = which & 1;
    const unsigned icmp = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, kind = (which >> 14) % 16,
                   proto = kind == 0   ? icmp
                           : kind == 1 ? IPPROTO_UDP
                                       : IPPROTO_TCP;
    th_eth(&p, v6 ? 0x86dd : 0x0800);
    for (unsigned i = 0; i < (which >> 1) % 4; i++)
        th_vlan(&p, i ? 0x8100 : 0x88a8, v6 ? 0x86dd : 0x0800);
    if (v6) {
        th_ip6(&p, "2001:db8::9", dst6, proto);
        for (unsigned i = 0; i < (which >> 3) % 8; i++)
            th_ext(&p, exts[(which >> (i + 4)) % 5], (which >> i) % 3);
    } else {
        th_ip4(&p, "198.51.100.7", dst4, proto, (which >> 3) % 4 * 4);
        if ((which >> 6) % 4 == 0)
            th_ext(&p, 51, 4);
    }
    th_tcp(&p, 40000, port, TH_SYN);
    (void)th_room(&p, (which >> 8) % 64);
    th_finish(&p);
    return p;
}

/* A few bytes changed, the end cut off or something added. */
static inline void th_mutate(uint64_t *seed, struct th_packet *p)
{
    static const unsigned char interesting[] = {0,  1,  4,  5,    6,    17,   41,   43,   44,  51,
                                                58, 59, 60, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xff};
    for (unsigned i = (unsigned)(th_next(seed) % 5); i > 0; i--) {
        const uint64_t r = th_next(seed);
        /* the addresses are let be, mostly, or nothing would be ours any more */
        size_t at = 12 + (r >> 8) % SL_MIN(p->n - 12, (size_t)120);
        if (r & 3)
            p->b[at] = (r & 4) ? (unsigned char)(r >> 48) : interesting[(r >> 40) % sizeof(interesting)];
        else
            p->b[at] ^= (unsigned char)(1u << ((r >> 32) % 8));
    }
    const uint64_t r = th_next(seed);
    if (r % 8 == 0)
        p->n = 14 + (r >> 8) % (p->n - 13);
    else if (r % 8 == 1)
        memset(th_room(p, (r >> 8) % 300), (int)(r >> 20), (r >> 8) % 300);
}

#endif
