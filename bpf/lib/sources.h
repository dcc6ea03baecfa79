/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a source may do. One that has proven that it is where it says (a socket of ours has an established
 * connection with it) has buckets of its own in a map; all others, which a flood can invent at will, share
 * the sketch. So the map has no more entries than real peers made it have, and a flood costs neither memory
 * nor an insert.
 *
 * Proof is looked for in segments that push data, at most SL_PROOFS_PER_SECOND times a second on each CPU,
 * whatever is sent; beyond that, or with the map full, a source stays in the sketch, counted.
 */
#ifndef SL_BPF_SOURCES_H
#define SL_BPF_SOURCES_H

#include "lib/guard.h"
#include "lib/sketch.h"

#define SL_SOURCE_SEEN_NS        1000000000ull /* how old sl_source.seen_ns may grow before it is written anew */
#define SL_SOCKET_ESTABLISHED    1             /* TCP_ESTABLISHED in bpf_sock.state, which is ABI */
#define SL_PROOFS_PER_SECOND     20000
#define SL_PROOFS_AT_ONCE        2000
#define SL_PROOF_INTERVAL_NS     (1000000000ull / SL_PROOFS_PER_SECOND)
#define SL_SKETCH_TAG(bits, ip6) ((bits) | ((ip6) ? 256u : 0u))
#define SL_SKETCH_TAG_PROVEN     512u

struct { /* the cells of the first row, SL_SKETCH_FIRST says where */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SL_SKETCH_TABLES *SL_SKETCH_CELLS);
    __type(key, __u32);
    __type(value, struct sl_sketch_first);
} sl_sketch_firsts SEC(".maps");

struct { /* those of the other rows, by enum sl_sketch_table */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SL_SKETCH_TABLES);
    __type(key, __u32);
    __type(value, struct sl_sketch);
} sl_sketches SEC(".maps");

struct { /* how often proof is looked for: a tat */
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} sl_proofs SEC(".maps");

/* The source of the packet at hand: its address as two numbers, most significant first, cut to what counts as
 * one source. */
struct sl_origin {
    __u64 high, low;
    __u64 hash;               /* of it */
    struct sl_source *proven; /* or NULL */
    __u32 ip6;
};

/* Global; see sl_guard_take. A limit whose table is not there admits: cannot be. */
__noinline int sl_guard_sketch(__u32 table, __u64 hash, __u64 now, __u64 cost, __u64 tolerance)
{
    const __u32 i = SL_SKETCH_FIRST(table, hash);
    struct sl_sketch_first *first = bpf_map_lookup_elem(&sl_sketch_firsts, &i);
    struct sl_sketch *s = bpf_map_lookup_elem(&sl_sketches, &table);
    return first && s ? sl_sketch_take(first, s, hash, now, cost, tolerance) : 1;
}

SL_INLINE int sl_sketch_admits(const struct sl_guard *g, __u32 table, __u64 hash,
                               const struct sl_limit *limit, __u64 cost)
{
    return sl_was_admitted(g, sl_guard_sketch(table, hash, g->now, cost, limit->tolerance_ns));
}

/* ---- who it is */

SL_INLINE __u64 sl_origin_word(const __u8 *bytes)
{
    __u32 half[2];
    __builtin_memcpy(half, bytes, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (__u64)__builtin_bswap32(half[0]) << 32 | __builtin_bswap32(half[1]);
#else
    return (__u64)half[0] << 32 | half[1];
#endif
}

SL_INLINE void sl_origin_key(const struct sl_origin *o, struct sl_source_key *key)
{
    const __u64 word[2] = {o->high, o->low};
    __u32 *to = (__u32 *)key->addr.bytes;
    key->family = o->ip6 ? SL_AF_INET6 : SL_AF_INET;
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        const __u32 half = (__u32)(i & 1 ? word[i / 2] : word[i / 2] >> 32);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        to[i] = __builtin_bswap32(half);
#else
        to[i] = half;
#endif
    }
}

SL_INLINE void sl_origin_read(const struct sl_guard *g, struct sl_origin *o)
{
    const __u32 bits = g->config->ipv6_prefix;
    o->ip6 = g->packet.family == SL_AF_INET6;
    o->high = sl_origin_word(g->packet.src.bytes);
    if (o->ip6) {
        o->low = sl_origin_word(g->packet.src.bytes + 8);
        o->high &= bits < 64 ? ~0ull << ((64 - bits) & 63) : ~0ull;
        o->low &= bits > 64 ? ~0ull << ((128 - bits) & 63) : 0;
    }
    o->hash = sl_sketch_hash(g->config->sketch_seed, o->high, o->low, SL_SKETCH_TAG(0, o->ip6));
}

/* ---- proof */

/* Whether a socket of ours has an established connection with the sender. A request socket is none: who
 * spoofs an address can send a SYN and an ACK in its name. */
SL_INLINE int sl_is_established(struct xdp_md *ctx, const struct sl_packet *p)
{
    struct bpf_sock_tuple t = {};
    __u32 size = sizeof(t.ipv4);
    if (p->family == SL_AF_INET6) {
        __builtin_memcpy(t.ipv6.saddr, p->src.bytes, 16);
        __builtin_memcpy(t.ipv6.daddr, p->dst.bytes, 16);
        t.ipv6.sport = p->sport_be;
        t.ipv6.dport = p->dport_be;
        size = sizeof(t.ipv6);
    } else {
        __builtin_memcpy(&t.ipv4.saddr, p->src.bytes, 4);
        __builtin_memcpy(&t.ipv4.daddr, p->dst.bytes, 4);
        t.ipv4.sport = p->sport_be;
        t.ipv4.dport = p->dport_be;
    }
    struct bpf_sock *sk = bpf_skc_lookup_tcp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);
    if (!sk)
        return 0;
    const int established = sk->state == SL_SOCKET_ESTABLISHED;
    bpf_sk_release(sk);
    return established;
}

SL_INLINE __u64 sl_tat_in(__u32 table, __u64 hash)
{
    const __u32 i = SL_SKETCH_FIRST(table, hash);
    struct sl_sketch_first *first = bpf_map_lookup_elem(&sl_sketch_firsts, &i);
    struct sl_sketch *s = bpf_map_lookup_elem(&sl_sketches, &table);
    return first && s ? sl_sketch_tat(first, s, hash) : 0;
}

/* Makes a connected sender a proven source: 1 where it is connected. It takes along what it has used so far:
 * proof is no second burst. Global; see sl_guard_take. */
__noinline int sl_guard_prove(struct xdp_md *ctx, const struct sl_packet *p, const struct sl_source_key *key,
                              __u64 hash, __u64 now)
{
    if (!p || !key || !sl_is_established(ctx, p))
        return 0;
    const struct sl_source fresh = {.tat_connections = sl_tat_in(SL_SKETCH_CONNECTIONS, hash),
                                    .tat_packets = sl_tat_in(SL_SKETCH_PACKETS, hash),
                                    .tat_bytes = sl_tat_in(SL_SKETCH_BYTES, hash),
                                    .seen_ns = now};
    const struct sl_source_key own = *key; /* until 6.2 helpers want keys on the stack */
    /* Two CPUs may race: whoever comes second finds the first one's entry. */
    (void)bpf_map_update_elem(&sl_sources, &own, &fresh, BPF_NOEXIST);
    return 1;
}

SL_INLINE int sl_may_prove(const struct sl_guard *g)
{
    const __u32 zero = 0;
    __u64 *tat = bpf_map_lookup_elem(&sl_proofs, &zero);
    if (tat && sl_guard_take(tat, g->now, SL_PROOF_INTERVAL_NS, SL_PROOFS_AT_ONCE * SL_PROOF_INTERVAL_NS) > 0)
        return 1;
    sl_count_reason(SL_PROOF_DEFERRED, g->bytes);
    return 0;
}

SL_INLINE struct sl_source *sl_prove(struct xdp_md *ctx, const struct sl_guard *g,
                                     const struct sl_source_key *key, __u64 hash)
{
    if (!sl_may_prove(g) || !sl_guard_prove(ctx, &g->packet, key, hash, g->now))
        return 0;
    struct sl_source *s = bpf_map_lookup_elem(&sl_sources, key);
    if (!s)
        sl_count_reason(SL_SOURCE_INSERT_FAILED, g->bytes);
    return s;
}

/* ---- limits */

SL_INLINE int sl_prefix_admits(const struct sl_guard *g, const struct sl_origin *o, __u32 table, __u32 bits)
{
    const struct sl_limit *limit = &g->config->prefix_connections;
    const __u32 tag = SL_SKETCH_TAG(bits, o->ip6) | (o->proven ? SL_SKETCH_TAG_PROVEN : 0u);
    const __u64 hash = sl_sketch_hash(g->config->sketch_seed, o->high & ~0ull << (64 - bits), 0, tag);
    return sl_sketch_admits(g, table, hash, limit, limit->interval_ns);
}

/* Proven and unproven sources of a prefix are counted apart, or who spoofs one's neighbours would shut one
 * out. */
SL_INLINE int sl_prefixes_admit(const struct sl_guard *g, const struct sl_origin *o)
{
    const __u32 own = g->config->ipv6_prefix;
    if (!g->config->prefix_connections.interval_ns)
        return 1;
    if (!o->ip6)
        return sl_prefix_admits(g, o, SL_SKETCH_NEAR, 24);
    return (own <= 64 || sl_prefix_admits(g, o, SL_SKETCH_NEAR, 64)) &&
           (own <= 56 || sl_prefix_admits(g, o, SL_SKETCH_MIDDLE, 56)) &&
           (own <= 48 || sl_prefix_admits(g, o, SL_SKETCH_FAR, 48));
}

SL_INLINE enum sl_reason sl_source_connects(const struct sl_guard *g, const struct sl_origin *o)
{
    const struct sl_limit *limit = &g->config->source_connections;
    if (limit->interval_ns &&
        !(o->proven ? sl_admits(g, &o->proven->tat_connections, limit, limit->interval_ns)
                    : sl_sketch_admits(g, SL_SKETCH_CONNECTIONS, o->hash, limit, limit->interval_ns)))
        return SL_DROP_CONN_RATE;
    return sl_prefixes_admit(g, o) ? SL_UNDECIDED : SL_DROP_PREFIX_RATE;
}

SL_INLINE enum sl_reason sl_source_sends(const struct sl_guard *g, const struct sl_origin *o)
{
    const struct sl_limit *packets = &g->config->source_packets, *bytes = &g->config->source_bytes;
    if (packets->interval_ns &&
        !(o->proven ? sl_admits(g, &o->proven->tat_packets, packets, packets->interval_ns)
                    : sl_sketch_admits(g, SL_SKETCH_PACKETS, o->hash, packets, packets->interval_ns)))
        return SL_DROP_PACKET_RATE;
    if (bytes->interval_ns &&
        !(o->proven ? sl_admits(g, &o->proven->tat_bytes, bytes, sl_byte_cost(g, bytes))
                    : sl_sketch_admits(g, SL_SKETCH_BYTES, o->hash, bytes, sl_byte_cost(g, bytes))))
        return SL_DROP_BYTE_RATE;
    return SL_UNDECIDED;
}

/* All of the source's own limits. Without one on packets or bytes, only packets that open or push are looked
 * at.
 */
SL_INLINE enum sl_reason sl_step_source(struct xdp_md *ctx, struct sl_guard *g)
{
    const struct sl_kernel_config *c = g->config;
    const int opens = sl_packet_opens(&g->packet),
              pushes = (g->packet.tcp_flags & (SL_TCP_PSH | SL_TCP_ACK)) == (SL_TCP_PSH | SL_TCP_ACK),
              volume = c->source_packets.interval_ns || c->source_bytes.interval_ns,
              connections = c->source_connections.interval_ns || c->prefix_connections.interval_ns ||
                            c->listener_connections.interval_ns;
    struct sl_origin o = {};
    if (!volume && !(connections && (opens || pushes)))
        return SL_UNDECIDED;
    struct sl_source_key key;
    sl_origin_read(g, &o);
    sl_origin_key(&o, &key);
    o.proven = bpf_map_lookup_elem(&sl_sources, &key);
    if (o.proven && g->now - o.proven->seen_ns > SL_SOURCE_SEEN_NS)
        o.proven->seen_ns = g->now;
    if (!o.proven && pushes)
        o.proven = sl_prove(ctx, g, &key, o.hash);
    g->proven = o.proven != 0;
    const enum sl_reason r = opens ? sl_source_connects(g, &o) : SL_UNDECIDED;
    return r == SL_UNDECIDED && volume ? sl_source_sends(g, &o) : r;
}

#endif
