/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who sends most, in memory and time that no flood moves: a table of slots that sources share by a seeded
 * hash, each with one candidate by majority vote (Boyer and Moore; as a sketch: Tang, Huang and Lee,
 * MV-Sketch, INFOCOM 2019). Nothing is inserted or evicted for an address that a flood invents: it is one
 * vote.
 *
 * What is certain of one table: of the packets counted there, the candidate's own are at least `votes` and at
 * most (total + votes) / 2, another's at most (total - votes) / 2, and who has more than half of a slot's
 * packets is its candidate. A flood of N counted packets from invented sources leaves about N / SL_TOP_SLOTS
 * in a slot, so that who sends more than that is named. Packets are counted one in SL_TOP_ONE_IN, at random:
 * n counted ones stand for n * SL_TOP_ONE_IN, give or take about 1 / sqrt(n) of that.
 */
#ifndef SL_BPF_TOP_H
#define SL_BPF_TOP_H

#include "lib/maps.h"
#include "lib/parse.h"
#include <bpf/bpf_helpers.h>

struct { /* two windows of each kind */
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2 * SL_TOP_KINDS);
    __type(key, __u32);
    __type(value, struct sl_top_table);
} sl_top SEC(".maps");

struct { /* how many packets are still to be left out */
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} sl_top_others SEC(".maps");

const volatile __u32 top_one_in = SL_TOP_ONE_IN; /* tests count all */
const volatile __u64 top_seed = 0;               /* set at load: nobody can choose whose slot he is in */

SL_INLINE __u32 sl_top_hash(__u64 a, __u64 b)
{
    /* splitmix64's finalizer, keyed; two rounds for the two words */
    __u64 h = (a ^ top_seed) * 0xbf58476d1ce4e5b9ull;
    h = ((h ^ h >> 27) + b) * 0x94d049bb133111ebull;
    h = (h ^ h >> 31 ^ top_seed >> 7) * 0xbf58476d1ce4e5b9ull;
    return (__u32)(h >> 40);
}

SL_INLINE void sl_top_vote(struct sl_top_slot *s, __u64 a, __u64 b, __u32 family, __u32 window)
{
    if (s->window != window) {
        s->window = window;
        s->votes = s->total = 0;
    }
    s->total++;
    if (s->votes && s->addr[0] == a && s->addr[1] == b && s->family == family) {
        s->votes++;
    } else if (s->votes) {
        s->votes--;
    } else {
        s->addr[0] = a;
        s->addr[1] = b;
        s->family = family;
        s->votes = 1;
    }
}

SL_INLINE void sl_top_put(enum sl_top_kind kind, __u64 a, __u64 b, __u32 family, __u32 window)
{
    const __u32 key = (window & 1) * SL_TOP_KINDS + kind;
    struct sl_top_table *t = bpf_map_lookup_elem(&sl_top, &key);
    if (t)
        sl_top_vote(&t->slots[sl_top_hash(a, b) & (SL_TOP_SLOTS - 1)], a, b, family, window);
}

/*
 * Whether this packet is one of those that are counted: after each, a number of others at random. (By the
 * clock it could not be: the guard's stands still for all packets of a tick.)
 */
SL_INLINE int sl_top_counts(void)
{
    const __u32 zero = 0;
    __u32 *others = bpf_map_lookup_elem(&sl_top_others, &zero);
    if (!others)
        return 0;
    if (*others) {
        *others -= 1;
        return 0;
    }
    *others = bpf_get_prandom_u32() % (2 * top_one_in - 1); /* one_in - 1 on average */
    return 1;
}

/* Global, as sl_guard_sample is. */
__noinline int sl_guard_top(const struct sl_packet *p, __u64 now)
{
    if (!p)
        return 0;
    const __u32 window = (__u32)(now / SL_TOP_WINDOW_NS);
    struct sl_addr source = p->src, prefix = p->src;
    __u64 a, b;
    if (p->family == SL_AF_INET6) { /* who has one address of a /64 has them all */
        __builtin_memset(source.bytes + 8, 0, 8);
        __builtin_memset(prefix.bytes + 6, 0, 10);
    } else {
        prefix.bytes[3] = 0;
    }
    __builtin_memcpy(&a, source.bytes, 8);
    __builtin_memcpy(&b, source.bytes + 8, 8);
    sl_top_put(SL_TOP_SOURCE, a, b, p->family, window);
    __builtin_memcpy(&a, prefix.bytes, 8);
    sl_top_put(SL_TOP_PREFIX, a, 0, p->family, window);
    return 0;
}

#endif
