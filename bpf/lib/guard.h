/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guard's steps share: the packet at hand, the clock, the bucket. */
#ifndef SL_BPF_GUARD_H
#define SL_BPF_GUARD_H

#include "lib/count.h"
#include "lib/maps.h"
#include "lib/parse.h"

/* Tests set the clock, so that buckets and deadlines are deterministic; the verifier removes the branch
 * otherwise. */
const volatile __u32 test_clock = 0;
volatile __u64 test_now_ns = 0;

#define SL_UNDECIDED SL_REASON_COUNT

/* What the steps know of the packet at hand. */
struct sl_guard {
    struct sl_packet packet;
    const struct sl_kernel_config *config;
    const struct sl_hints *hints;
    __u64 now, bytes;
    __u32 listener;
    __u32 proven; /* the source, where a limit asks for it; see lib/sources.h */
};

/*
 * The time of the last tick: at most a tick late, at a tenth of the price of reading the clock. Deadlines may
 * end that late, and a bucket of a second or more fills in steps of a tick, to the same sum.
 */
SL_INLINE __u64 sl_now(void)
{
    return test_clock ? test_now_ns : bpf_ktime_get_coarse_ns();
}

/* For buckets that others debit by the exact time. */
SL_INLINE __u64 sl_now_exact(void)
{
    return test_clock ? test_now_ns : bpf_ktime_get_ns();
}

/* See sl_bucket_take in bucket.h. Global, as is each function of the guard without "static": the verifier
 * checks it once by itself. */
__noinline int sl_guard_take(__u64 *tat, __u64 now, __u64 cost, __u64 tolerance)
{
    if (!tat)
        return 1;
    return sl_bucket_take(tat, now, cost, tolerance, 0);
}

/* Whether the answer of a bucket or a sketch was yes. */
SL_INLINE int sl_was_admitted(const struct sl_guard *g, int r)
{
    if (r < 0)
        sl_count_reason(SL_CAS_EXHAUSTED, g->bytes);
    return r > 0;
}

SL_INLINE int sl_admits_at(const struct sl_guard *g, __u64 now, __u64 *tat, const struct sl_limit *limit,
                           __u64 cost)
{
    return sl_was_admitted(g, sl_guard_take(tat, now, cost, limit->tolerance_ns));
}

SL_INLINE int sl_admits(const struct sl_guard *g, __u64 *tat, const struct sl_limit *limit, __u64 cost)
{
    return sl_admits_at(g, g->now, tat, limit, cost);
}

/* For what each packet of a connection meets: the first try decides nearly always, and costs less than a
 * call. */
SL_INLINE int sl_admits_each(const struct sl_guard *g, __u64 *tat, const struct sl_limit *limit, __u64 cost)
{
    const int r = sl_bucket_try(tat, g->now, cost, limit->tolerance_ns, 0, 1);
    return r >= 0 ? r : sl_admits(g, tat, limit, cost);
}

SL_INLINE __u64 sl_byte_cost(const struct sl_guard *g, const struct sl_limit *limit)
{
    return g->bytes * limit->mult >> (limit->shift & 63);
}

#endif
