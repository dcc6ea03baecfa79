/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guard at XDP: what happens to a packet is sl_judge() read downwards.
 *
 * Invariant: a packet that is neither for a configured listener (address, port, protocol), nor without
 * readable ports and for such an address, is passed as it came, whatever the policy says.
 */
#include "vmlinux.h"

#include "lib/cookie.h"
#include "lib/count.h"
#include "lib/frame.h"
#include "lib/guard.h"
#include "lib/lists.h"
#include "lib/maps.h"
#include "lib/parse.h"
#include "lib/sample.h"
#include "lib/sources.h"
#include "lib/top.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

/* Whether the kernel has bpf_tcp_gen_syncookie: without it the verifier never sees the call. */
const volatile __u32 have_syn_cookies = 1;

/*
 * The functions below are global: the verifier checks each once by itself, whatever the number of paths
 * that lead there. Inlined, the guard takes 751,000 of the 1,000,000 instructions that the verifier will look
 * at; so, a few thousand.
 */

/* ---- 1. Parse */

__noinline int sl_guard_parse(struct xdp_md *ctx, struct sl_packet *p)
{
    if (!p) /* cannot be; the verifier asks for it */
        return SL_PARSED_UNKNOWN;
    return sl_parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);
}

SL_INLINE enum sl_parsed sl_step_parse(struct xdp_md *ctx, struct sl_packet *p)
{
    if (sl_parse_quick((void *)(long)ctx->data, (void *)(long)ctx->data_end, p))
        return SL_PARSED_PORTS;
    return sl_guard_parse(ctx, p);
}

/* enum sl_cookie; see lib/cookie.h. */
__noinline int sl_guard_cookie(struct xdp_md *ctx, __u32 frame, int dry)
{
    return have_syn_cookies ? sl_cookie_answer(ctx, frame, dry) : SL_COOKIE_NONE;
}

/* ---- 2. Is it ours? */

/* The listener of a packet, or NULL; *hinted is room for one that needed no lookup. */
SL_INLINE const struct sl_listener_value *
sl_listener_of(const struct sl_packet *p, const struct sl_hints *hints, struct sl_listener_value *hinted)
{
    if (p->family == SL_AF_INET && p->proto == SL_IP_TCP && p->dport_be) {
        const __u64 pair = sl_hint_pair(&p->dst, p->dport_be), hint = hints->pairs[sl_hint_pair_slot(pair)];
        hinted->listener = (__u32)(hint >> SL_HINT_PAIR_BITS) & (SL_MAX_LISTENERS - 1);
        if (hint & SL_HINT_ONE)
            return (hint ^ pair) << (64 - SL_HINT_PAIR_BITS) ? 0 : hinted;
        if (hint & SL_HINT_NONE)
            return 0;
    }
    if (sl_hint_absent(hints->ports, p->dport_be))
        return 0;
    const struct sl_listener_key key = {
        .addr = p->dst, .port_be = p->dport_be, .proto = p->proto, .family = p->family};
    return bpf_map_lookup_elem(&sl_listeners, &key);
}

SL_INLINE enum sl_reason sl_step_ours(struct sl_guard *g, enum sl_parsed parsed)
{
    const struct sl_packet *p = &g->packet;
    if (parsed == SL_PARSED_UNKNOWN)
        return SL_PASS_UNPARSED;
    if (parsed == SL_PARSED_VLANS)
        return SL_PASS_VLANS;
    if (parsed == SL_PARSED_CONTROL)
        return SL_PASS_CONTROL;
    if (parsed == SL_PARSED_OTHER)
        return SL_PASS_NOT_OURS;
    struct sl_listener_value hinted;
    const struct sl_listener_value *v = sl_listener_of(p, g->hints, &hinted);
    if (!v)
        return SL_PASS_NOT_OURS;
    g->listener = v->listener;
    g->now = sl_now();
    return SL_UNDECIDED;
}

/* ---- 3. Lists and penalties */

SL_INLINE enum sl_reason sl_step_lists(const struct sl_guard *g)
{
    const __u32 verdict = sl_lists_verdict(&g->packet, g->config->flags, g->hints, g->now);
    return verdict == SL_LIST_ALLOW  ? SL_PASS_ALLOWED
           : verdict == SL_LIST_DENY ? SL_DROP_DENIED
                                     : SL_UNDECIDED;
}

SL_INLINE struct sl_penalty_value *sl_penalty_of(const struct sl_penalty_key *key, __u64 now)
{
    struct sl_penalty_value *v = bpf_map_lookup_elem(&sl_penalties, key);
    return v && v->deadline_ns > now ? v : 0;
}

/*
 * A flow's penalty ends with the flow: a SYN on the same ports is another connection, perhaps of a neighbour
 * behind the same address to whom the ports were given next. Dropping it would punish him; who reconnects to
 * escape meets the next rung. The deadline is the one field that the program writes.
 */
SL_INLINE enum sl_reason sl_penalty_of_flow(const struct sl_packet *p, __u64 now)
{
    const struct sl_penalty_key key = {.addr = p->src,
                                       .daddr = p->dst,
                                       .sport_be = p->sport_be,
                                       .dport_be = p->dport_be,
                                       .family = p->family,
                                       .scope = SL_PENALTY_FLOW};
    struct sl_penalty_value *v = sl_penalty_of(&key, now);
    if (!v)
        return SL_UNDECIDED;
    if (!sl_packet_opens(p))
        return SL_DROP_PENALTY_FLOW;
    v->deadline_ns = now;
    return SL_UNDECIDED;
}

/* enum sl_reason. Global: few packets come here, and the keys need not lie on the stack of all. */
__noinline int sl_guard_penalty(const struct sl_packet *p, __u64 now)
{
    if (!p)
        return SL_UNDECIDED;
    struct sl_penalty_key key = {.addr = p->src, .family = p->family, .scope = SL_PENALTY_SOURCE};
    if (p->family == SL_AF_INET6)
        __builtin_memset(key.addr.bytes + 8, 0, 8);
    const struct sl_penalty_value *v = sl_penalty_of(&key, now);
    if (v && v->effect == SL_PENALTY_SOURCE)
        return SL_DROP_PENALTY_SOURCE;
    if (v && sl_packet_opens(p))
        return SL_DROP_PENALTY_CONNECT;
    return sl_penalty_of_flow(p, now);
}

/* Whether the source is known to be under a penalty without a lookup. */
SL_INLINE int sl_penalty_hinted(const struct sl_guard *g)
{
    const __u64 source = sl_hint_pair(&g->packet.src, 0), hint = g->hints->sources[sl_hint_pair_slot(source)];
    return g->packet.family == SL_AF_INET && (hint & SL_HINT_ONE) && (__u32)hint == (__u32)source &&
           g->now >> 30 < sl_hint_until(hint);
}

SL_INLINE enum sl_reason sl_step_penalties(const struct sl_guard *g)
{
    if (!(g->config->flags & SL_HAVE_PENALTIES) ||
        sl_hint_absent(g->hints->penalties, sl_hint_host(&g->packet.src)))
        return SL_UNDECIDED;
    if (sl_penalty_hinted(g))
        return SL_DROP_PENALTY_SOURCE;
    return (enum sl_reason)sl_guard_penalty(&g->packet, g->now);
}

/* ---- 5. and 6. Buckets. The source's own stand in lib/sources.h. */

/* Where the range has one consumer: headroom x its limit, in the table that the proxy counts in. */
SL_INLINE int sl_consumer_admits(const struct sl_guard *g)
{
    const struct sl_packet *p = &g->packet;
    const struct sl_consumer_source *c;
    if (p->family == SL_AF_INET6) {
        struct sl_lpm6_key key = {.prefixlen = 128};
        __builtin_memcpy(key.addr, p->src.bytes, 16);
        c = bpf_map_lookup_elem(&sl_consumers6, &key);
    } else {
        struct sl_lpm4_key key = {.prefixlen = 32};
        __builtin_memcpy(key.addr, p->src.bytes, 4);
        c = bpf_map_lookup_elem(&sl_consumers4, &key);
    }
    if (!c || !c->limit.interval_ns)
        return 1;
    struct sl_bucket *b = bpf_map_lookup_elem(&sl_buckets, &c->bucket);
    if (!b)
        return 1;
    const int admitted = sl_admits_at(g, sl_now_exact(), &b->tat, &c->limit, c->limit.interval_ns);
    __sync_fetch_and_add(admitted ? &b->admitted : &b->denied, 1);
    return admitted;
}

/* Proven and unproven sources are counted apart here too: a flood of invented ones shuts no client out. */
SL_INLINE int sl_listener_admits(const struct sl_guard *g)
{
    const struct sl_limit *limit = &g->config->listener_connections;
    const __u32 i = 2 * g->listener + g->proven;
    __u64 *tat = limit->interval_ns ? bpf_map_lookup_elem(&sl_listener_rate, &i) : 0;
    return !tat || sl_admits(g, tat, limit, limit->interval_ns);
}

SL_INLINE enum sl_reason sl_step_connection(const struct sl_guard *g)
{
    if ((g->config->flags & SL_HAVE_CONSUMER_SOURCES) && !sl_consumer_admits(g))
        return SL_DROP_CONSUMER_RATE;
    return SL_UNDECIDED;
}

/* ---- 7. SYN cookies: last, so that a source over its limits gets none. What r is without, where none is
 * given */

SL_INLINE enum sl_reason sl_step_cookie(struct xdp_md *ctx, const struct sl_guard *g, enum sl_reason r)
{
    const __u32 wants = r == SL_PASS ? SL_COOKIES_ALWAYS : SL_COOKIES_ALWAYS | SL_COOKIES_AUTO;
    if (!(g->config->flags & wants) || !sl_packet_opens(&g->packet))
        return r;
    const int answer = sl_guard_cookie(ctx, (__u32)g->bytes, g->config->shadow != 0);
    if (answer == SL_COOKIE_SENT)
        return SL_TX_SYN_COOKIE;
    if (answer == SL_COOKIE_STACK)
        return SL_PASS;
    sl_count_reason(SL_SYN_COOKIE_FAILED, g->bytes);
    return r;
}

/* ---- The pipeline */

SL_INLINE enum sl_reason sl_judge(struct xdp_md *ctx, struct sl_guard *g, enum sl_parsed parsed)
{
    enum sl_reason r = sl_step_ours(g, parsed);
    if (r != SL_UNDECIDED)
        return r;
    r = sl_step_lists(g);
    if (r != SL_UNDECIDED)
        return r;
    r = sl_step_penalties(g);
    if (r != SL_UNDECIDED)
        return r;
    /* 4. malformed headers and fragments */
    r = sl_packet_fault(&g->packet, g->config->flags & SL_PASS_FRAGMENTS);
    if (r != SL_UNDECIDED)
        return r;

    r = sl_step_source(ctx, g);
    if (r != SL_UNDECIDED)
        return r;
    if (!sl_packet_opens(&g->packet))
        return SL_PASS;
    r = sl_step_connection(g);
    if (r != SL_UNDECIDED)
        return r;
    /* Last, so that what a narrower limit refuses takes nothing from the listener's other clients. */
    return sl_listener_admits(g) ? SL_PASS : SL_DROP_LISTENER_RATE;
}

/* Not "xdp.frags": whether the flag is set is for userspace to say (have_frags). */
SEC("xdp")
int sl_xdp_guard(struct xdp_md *ctx)
{
    const __u32 zero = 0;
    struct sl_guard g = {.bytes = sl_frame_length(ctx), .listener = SL_NO_LISTENER};
    g.config = bpf_map_lookup_elem(&sl_config, &zero);
    g.hints = bpf_map_lookup_elem(&sl_hints, &zero);
    if (!g.config || !g.hints)
        return XDP_PASS;
    const enum sl_parsed parsed = sl_step_parse(ctx, &g.packet);
    const __u32 shadow = g.config->shadow != 0;
    enum sl_reason r = sl_judge(ctx, &g, parsed);
    if (r == SL_PASS || r == SL_DROP_LISTENER_RATE)
        r = sl_step_cookie(ctx, &g, r);
    const __u32 top = sl_reason_is_drop(r) ? SL_TOP_DROPPED | SL_TOP_ALL : SL_TOP_ALL;
    if ((g.config->flags & top) && g.listener != SL_NO_LISTENER && sl_top_counts())
        (void)sl_guard_top(&g.packet, g.now);
    if ((g.config->flags & SL_SAMPLE_DROPS) && sl_reason_is_drop(r) && sl_sample_due(g.now))
        (void)sl_guard_sample(ctx, &g.packet, r | (shadow ? SL_SAMPLE_PASSED : 0), g.listener, g.now);
    return sl_count_verdict(r, g.listener, g.bytes, (int)shadow);
}
