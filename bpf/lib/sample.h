/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Samples of what is dropped, for `sluicectl capture`: the frame's beginning with the reason, into a ring
 * that the controller reads.
 *
 * Bounded: so many a second over all CPUs (a GCRA bucket, which a drop over the rate only reads), each of
 * 192 bytes. What is over the rate, and what finds the ring full because nobody reads it, is counted apart.
 */
#ifndef SL_BPF_SAMPLE_H
#define SL_BPF_SAMPLE_H

#include "lib/frame.h"
#include "lib/maps.h"
#include "lib/parse.h"

struct { /* full: the sample is not taken, and counted; the packet's fate is the same */
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, SL_SAMPLE_RING);
} sl_samples SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sl_sampling);
} sl_sampling SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sl_sample_counts);
} sl_sampled SEC(".maps");

/* The helper's length must be a constant or provably not 0. */
SL_INLINE __u8 sl_sample_frame(struct xdp_md *ctx, struct sl_sample *s)
{
    if (s->length >= SL_SAMPLE_BYTES)
        return (__u8)sl_frame_copy(ctx, s->data, SL_SAMPLE_BYTES, SL_SAMPLE_BYTES);
    /* 6.1 does not learn from a comparison with 0; of an empty frame 128 bytes cannot be had */
    const __u32 n = ((s->length - 1) & (SL_SAMPLE_BYTES - 1)) + 1;
    return (__u8)sl_frame_copy(ctx, s->data, n, SL_SAMPLE_BYTES);
}

/* verdict: the reason, and SL_SAMPLE_PASSED for one that shadow mode lets pass. */
#define SL_SAMPLE_PASSED 0x10000u

SL_INLINE int sl_sample_put(struct xdp_md *ctx, const struct sl_packet *p, __u32 verdict, __u32 listener,
                            __u64 now)
{
    struct sl_sample *s = bpf_ringbuf_reserve(&sl_samples, sizeof(*s), 0);
    if (!s)
        return 0;
    s->time_ns = now;
    s->ifindex = ctx->ingress_ifindex;
    s->length = sl_frame_length(ctx);
    s->listener = listener;
    s->reason = (__u16)verdict;
    s->passed = (verdict & SL_SAMPLE_PASSED) != 0;
    s->src = p->src;
    s->dst = p->dst;
    s->sport_be = p->sport_be;
    s->dport_be = p->dport_be;
    s->family = p->family;
    s->proto = p->proto;
    s->tcp_flags = p->tcp_flags;
    s->zero = 0;
    s->captured = sl_sample_frame(ctx, s);
    bpf_ringbuf_submit(s, 0);
    return 1;
}

/* Whether a sample may be due; if not, which is what most of a flood is, it is counted here and at once. */
SL_INLINE int sl_sample_due(__u64 now)
{
    const __u32 zero = 0;
    const struct sl_sampling *rate = bpf_map_lookup_elem(&sl_sampling, &zero);
    if (!rate)
        return 0;
    const __u64 tat = *(const volatile __u64 *)&rate->tat;
    if (tat + rate->interval_ns <= now + rate->tolerance_ns ||
        tat > now + rate->tolerance_ns + SL_CLOCK_SLACK_NS)
        return 1;
    struct sl_sample_counts *counts = bpf_map_lookup_elem(&sl_sampled, &zero);
    if (counts)
        counts->skipped++;
    return 0;
}

/* Global, so that the verifier looks at it once and the path of what is not sampled stays short. */
__noinline int sl_guard_sample(struct xdp_md *ctx, const struct sl_packet *p, __u32 verdict, __u32 listener,
                               __u64 now)
{
    const __u32 zero = 0;
    struct sl_sampling *rate = bpf_map_lookup_elem(&sl_sampling, &zero);
    struct sl_sample_counts *counts = bpf_map_lookup_elem(&sl_sampled, &zero);
    if (!p || !rate || !counts || !rate->interval_ns)
        return 0;
    if (sl_bucket_take(&rate->tat, now, rate->interval_ns, rate->tolerance_ns, 0) <= 0)
        counts->skipped++;
    else if (sl_sample_put(ctx, p, verdict, listener, now))
        counts->taken++;
    else
        counts->lost++;
    return 0;
}

#endif
