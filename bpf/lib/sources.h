/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a source may do. One that has proven that it is where it says (a socket of ours has, or just had, a
 * connection with it) has buckets of its own in a map; all others, which a flood can invent at will, share
 * the sketch. So the map has no more entries than real peers made it have, and a flood costs neither memory
 * nor an insert.
 *
 * Proof is looked for in segments that push data or end the stream, at most SL_PROOFS_PER_SECOND times a
 * second on each CPU, whatever is sent; beyond that, or with the map full, a source stays in the sketch,
 * counted. A first request proves nothing yet where the listener waits for it (TCP_DEFER_ACCEPT,
 * net/socket.c): there is no socket until the stack has seen it. What follows it does, be it only the end.
 */
#ifndef SL_BPF_SOURCES_H
#define SL_BPF_SOURCES_H

#include "lib/guard.h"
#include "lib/sketch.h"

#define SL_SOURCE_SEEN_NS        1000000000ull /* how old sl_source.seen_ns may grow before it is written anew */
#define SL_SOCKET_CONNECTED      0xb72u        /* see sl_is_connected */
#define SL_PROOFS_PER_SECOND     20000
#define SL_PROOFS_AT_ONCE        2000
#define SL_PROOF_INTERVAL_NS     (1000000000ull / SL_PROOFS_PER_SECOND)
#define SL_SKETCH_TAG(bits, ip6) ((bits) | ((ip6) ? 256u : 0u))
#define SL_SKETCH_TAG_PROVEN     512u

struct { /* lines, SL_SKETCH_LINE says which; mappable, so that a line begins where a cache line does */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SL_SKETCH_TABLES *SL_SKETCH_LINES);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct sl_sketch_line);
} sl_sketch SEC(".maps");

/*
 * Of the lines of SL_SKETCH_CONNECTIONS, how far each is over: where all its cells stand at that time or
 * later, in 2^26 ns, and none of its sources is proven. 128 KiB, which a CPU keeps close: a flood of so many
 * sources that all cells are over is refused by this alone, and never waits for the sketch. 0 says nothing.
 */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SL_SKETCH_LINES);
    __type(key, __u32);
    __type(value, __u32);
} sl_closed SEC(".maps");

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

SL_INLINE struct sl_sketch_line *sl_sketch_line(__u32 table, __u64 hash)
{
    const __u32 i = SL_SKETCH_LINE(table, hash);
    return bpf_map_lookup_elem(&sl_sketch, &i);
}

/* Global; see sl_guard_take. */
__noinline int sl_guard_sketch(struct sl_sketch_line *l, __u64 hash, __u64 now, __u64 cost, __u64 tolerance)
{
    return l ? sl_sketch_take(l, hash, now, cost, tolerance) : 1;
}

SL_INLINE int sl_sketch_admits(const struct sl_guard *g, __u32 table, __u64 hash,
                               const struct sl_limit *limit, __u64 cost)
{
    struct sl_sketch_line *l = sl_sketch_line(table, hash);
    return sl_was_admitted(g, sl_guard_sketch(l, hash, g->now, cost, limit->tolerance_ns));
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

/*
 * Whether a socket of ours has, or had until now, a connection with the sender: one of the states behind the
 * handshake, by their numbers in bpf_sock.state, which are ABI (ESTABLISHED 1, FIN_WAIT1 4, FIN_WAIT2 5,
 * TIME_WAIT 6, CLOSE_WAIT 8, LAST_ACK 9, CLOSING 11). A request socket is none: who spoofs an address can
 * send a SYN and an ACK in its name.
 */
SL_INLINE int sl_is_connected(struct xdp_md *ctx, const struct sl_packet *p)
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
    const int connected = SL_SOCKET_CONNECTED >> (sk->state & 31) & 1;
    bpf_sk_release(sk);
    return connected;
}

SL_INLINE __u64 sl_tat_in(__u32 table, __u64 hash)
{
    struct sl_sketch_line *l = sl_sketch_line(table, hash);
    return l ? sl_sketch_tat(l, hash) : 0;
}

/*
 * A line says until when one of its sources may be proven, so that a SYN from an address that a flood
 * invented costs no lookup among them. Written whenever seen_ns is: until the source is silent for long
 * enough to be forgotten and its buckets are full again.
 */
SL_INLINE __u32 sl_vouch_time(__u64 ns)
{
    return ns >> 30 < 0xffffffff ? (__u32)(ns >> 30) : 0xffffffff;
}

SL_INLINE __u64 sl_longer(__u64 a, __u64 b)
{
    return a > b ? a : b;
}

SL_INLINE __u32 *sl_closed_of(__u64 hash)
{
    const __u32 i = SL_SKETCH_LINE(SL_SKETCH_CONNECTIONS, hash);
    return bpf_map_lookup_elem(&sl_closed, &i);
}

SL_INLINE int sl_is_vouched(const struct sl_sketch_line *l, __u64 now)
{
    return *(const volatile __u32 *)&l->vouched > sl_vouch_time(now);
}

/* Global; see sl_guard_take. */
__noinline int sl_guard_vouch(__u64 hash, __u64 now)
{
    const __u32 zero = 0;
    const struct sl_kernel_config *c = bpf_map_lookup_elem(&sl_config, &zero);
    struct sl_sketch_line *l = sl_sketch_line(SL_SKETCH_CONNECTIONS, hash);
    __u32 *closed = sl_closed_of(hash);
    if (!c || !l || !closed)
        return 0;
    const __u64 full = sl_longer(c->source_connections.tolerance_ns,
                                 sl_longer(c->source_packets.tolerance_ns, c->source_bytes.tolerance_ns));
    const __u32 until = sl_vouch_time(now + sl_longer(SL_SOURCE_IDLE_NS, full) + 2 * SL_SOURCE_SEEN_NS) + 1;
    if (*(volatile __u32 *)&l->vouched < until)
        *(volatile __u32 *)&l->vouched = until;
    (void)__sync_lock_test_and_set(closed, 0u);
    return 0;
}

/* After a line was debited. Who vouches meanwhile has the last word: either sees the other's. Global; see
 * sl_guard_take. */
__noinline int sl_guard_close(__u64 hash, __u64 now)
{
    struct sl_sketch_line *l = sl_sketch_line(SL_SKETCH_CONNECTIONS, hash);
    __u32 *closed = sl_closed_of(hash);
    if (!l || !closed)
        return 0;
    const __u64 least = sl_sketch_least(l) >> SL_SKETCH_CLOSED_SHIFT;
    const __u32 until = least < 0xffffffff ? (__u32)least : 0xffffffff;
    if (*(volatile __u32 *)closed == until || sl_is_vouched(l, now))
        return 0;
    (void)__sync_lock_test_and_set(closed, until);
    if (sl_is_vouched(l, now))
        *(volatile __u32 *)closed = 0;
    return 0;
}

SL_INLINE int sl_may_be_proven(__u64 hash, __u64 now)
{
    const struct sl_sketch_line *l = sl_sketch_line(SL_SKETCH_CONNECTIONS, hash);
    return l && sl_is_vouched(l, now);
}

/* Whether the source is one of a line that has nothing left to give. */
SL_INLINE int sl_line_is_closed(const struct sl_guard *g, __u64 hash)
{
    const struct sl_limit *limit = &g->config->source_connections;
    const __u32 *closed = limit->interval_ns ? sl_closed_of(hash) : 0;
    return closed && sl_sketch_is_closed(*(const volatile __u32 *)closed, g->now, limit->interval_ns,
                                         limit->tolerance_ns);
}

/* Makes a connected sender a proven source: 1 where it is connected. It takes along what it has used so far:
 * proof is no second burst. Global; see sl_guard_take. */
__noinline int sl_guard_prove(struct xdp_md *ctx, const struct sl_packet *p, const struct sl_source_key *key,
                              __u64 hash, __u64 now)
{
    if (!p || !key || !sl_is_connected(ctx, p))
        return 0;
    const struct sl_source fresh = {.tat_connections = sl_tat_in(SL_SKETCH_CONNECTIONS, hash),
                                    .tat_packets = sl_tat_in(SL_SKETCH_PACKETS, hash),
                                    .tat_bytes = sl_tat_in(SL_SKETCH_BYTES, hash),
                                    .seen_ns = now};
    const struct sl_source_key own = *key; /* until 6.2 helpers want keys on the stack */
    /* Two CPUs may race: whoever comes second finds the first one's entry. */
    (void)bpf_map_update_elem(&sl_sources, &own, &fresh, BPF_NOEXIST);
    (void)sl_guard_vouch(hash, now);
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

/* Global; see sl_guard_take. */
__noinline int sl_guard_prefix(__u64 prefix, __u32 table, __u32 tag, __u64 now)
{
    const __u32 zero = 0;
    const struct sl_kernel_config *c = bpf_map_lookup_elem(&sl_config, &zero);
    if (!c)
        return 1;
    const struct sl_limit *limit = &c->prefix_connections;
    const __u64 hash = sl_sketch_hash(c->sketch_seed, prefix, 0, tag);
    struct sl_sketch_line *l = sl_sketch_line(table, hash);
    return l ? sl_sketch_take(l, hash, now, limit->interval_ns, limit->tolerance_ns) : 1;
}

SL_INLINE int sl_prefix_admits(const struct sl_guard *g, const struct sl_origin *o, __u32 table, __u32 bits)
{
    const __u32 tag = SL_SKETCH_TAG(bits, o->ip6) | (o->proven ? SL_SKETCH_TAG_PROVEN : 0u);
    return sl_was_admitted(g, sl_guard_prefix(o->high & ~0ull << (64 - bits), table, tag, g->now));
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

/* What comes of a flood of SYNs is refused without a call. */
SL_INLINE int sl_unproven_connects(const struct sl_guard *g, __u64 hash)
{
    const struct sl_limit *limit = &g->config->source_connections;
    struct sl_sketch_line *l = sl_sketch_line(SL_SKETCH_CONNECTIONS, hash);
    if (l && sl_sketch_refuses(l, hash, g->now, limit->interval_ns, limit->tolerance_ns))
        return 0;
    if (!sl_sketch_admits(g, SL_SKETCH_CONNECTIONS, hash, limit, limit->interval_ns))
        return 0;
    (void)sl_guard_close(hash, g->now);
    return 1;
}

SL_INLINE enum sl_reason sl_source_connects(const struct sl_guard *g, const struct sl_origin *o)
{
    const struct sl_limit *limit = &g->config->source_connections;
    if (limit->interval_ns &&
        !(o->proven ? sl_admits(g, &o->proven->tat_connections, limit, limit->interval_ns)
                    : sl_unproven_connects(g, o->hash)))
        return SL_DROP_CONN_RATE;
    return sl_prefixes_admit(g, o) ? SL_UNDECIDED : SL_DROP_PREFIX_RATE;
}

SL_INLINE enum sl_reason sl_source_sends(const struct sl_guard *g, const struct sl_origin *o)
{
    const struct sl_limit *packets = &g->config->source_packets, *bytes = &g->config->source_bytes;
    if (packets->interval_ns &&
        !(o->proven ? sl_admits_each(g, &o->proven->tat_packets, packets, packets->interval_ns)
                    : sl_sketch_admits(g, SL_SKETCH_PACKETS, o->hash, packets, packets->interval_ns)))
        return SL_DROP_PACKET_RATE;
    if (bytes->interval_ns &&
        !(o->proven ? sl_admits_each(g, &o->proven->tat_bytes, bytes, sl_byte_cost(g, bytes))
                    : sl_sketch_admits(g, SL_SKETCH_BYTES, o->hash, bytes, sl_byte_cost(g, bytes))))
        return SL_DROP_BYTE_RATE;
    return SL_UNDECIDED;
}

/* The source's own buckets, or NULL. */
SL_INLINE struct sl_source *sl_proven(struct xdp_md *ctx, const struct sl_guard *g, const struct sl_origin *o,
                                      int tells)
{
    struct sl_source_key key;
    sl_origin_key(o, &key);
    struct sl_source *s = bpf_map_lookup_elem(&sl_sources, &key);
    if (s && g->now - s->seen_ns > SL_SOURCE_SEEN_NS) {
        s->seen_ns = g->now;
        (void)sl_guard_vouch(o->hash, g->now);
    }
    return s || !tells ? s : sl_prove(ctx, g, &key, o->hash);
}

/* Whether proof may lie in it: pure acknowledgements, the most there are, are not looked at. */
SL_INLINE int sl_packet_tells(const struct sl_packet *p)
{
    return (p->tcp_flags & SL_TCP_ACK) && (p->tcp_flags & (SL_TCP_PSH | SL_TCP_FIN));
}

/* All of the source's own limits. Without one on packets or bytes, only packets that open or tell are looked
 * at. */
SL_INLINE enum sl_reason sl_step_source(struct xdp_md *ctx, struct sl_guard *g)
{
    const struct sl_kernel_config *c = g->config;
    const int opens = sl_packet_opens(&g->packet), tells = sl_packet_tells(&g->packet),
              volume = c->source_packets.interval_ns || c->source_bytes.interval_ns,
              connections = c->source_connections.interval_ns || c->prefix_connections.interval_ns ||
                            c->listener_connections.interval_ns;
    struct sl_origin o = {};
    if (!volume && !(connections && (opens || tells)))
        return SL_UNDECIDED;
    sl_origin_read(g, &o);
    if (opens && sl_line_is_closed(g, o.hash))
        return SL_DROP_CONN_RATE;
    if (!opens || sl_may_be_proven(o.hash, g->now))
        o.proven = sl_proven(ctx, g, &o, tells);
    g->proven = o.proven != 0;
    const enum sl_reason r = opens ? sl_source_connects(g, &o) : SL_UNDECIDED;
    return r == SL_UNDECIDED && volume ? sl_source_sends(g, &o) : r;
}

#endif
