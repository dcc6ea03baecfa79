/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The bucket and its arithmetic, which kernel programs, workers and the controller run on one and the same
 * word at once. A part of abi.h, by which it is included.
 */
#ifndef SLUICE_BUCKET_H
#define SLUICE_BUCKET_H

#ifdef __bpf__
#include <bpf/bpf_helpers.h>
#else
#include <time.h>
#endif

#define SL_CAS_TRIES 8 /* then: deny, and count cas_exhausted */

/*
 * A GCRA bucket. `tat` is the theoretical arrival time on CLOCK_MONOTONIC in ns: bpf_ktime_get_ns() and
 * clock_gettime(CLOCK_MONOTONIC) are the same clock. `key` is 0 for a free slot, and is written once by
 * compare-and-swap when the slot is taken.
 */
struct sl_bucket {
    __u64 key;      /* seeded hash of what is counted and the limit's name; 0: free */
    __u64 tat;      /* ns */
    __u64 admitted; /* units admitted since the slot was taken */
    __u64 denied;   /* units refused since then */
};

/*
 * A limit: one unit costs interval_ns; a bucket of capacity C has tolerance_ns = C * interval_ns.
 * interval_ns 0 means unlimited. Bytes cost (bytes * mult) >> shift ns instead (no rate * elapsed, no
 * overflow: bytes < 2^32 and mult < 2^32).
 */
struct sl_limit {
    __u64 interval_ns;
    __u64 tolerance_ns;
    __u32 mult;
    __u32 shift;
};

/*
 * How far a tat may lie beyond now + tolerance before it is taken for one of a wider limit: what the clocks
 * of two CPUs may differ by, and much more.
 */
#define SL_CLOCK_SLACK_NS 1000000000ull

/* The clock anew, and never before `now`: tests set that ahead of it. */
static inline __attribute__((always_inline)) __u64 sl_bucket_clock(__u64 now)
{
#ifdef __bpf__
    const __u64 clock = bpf_ktime_get_ns();
#else
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    const __u64 clock = (__u64)t.tv_sec * 1000000000ull + (__u64)t.tv_nsec;
#endif
    return clock > now ? clock : now;
}

/*
 * Whether a tat lies further ahead of the clock than a limit can have written, by `most` (its tolerance, and
 * the slack). Callers read the clock before the tat and may be put off the CPU in between, for seconds:
 * against such an old *now an honest tat lies too far ahead, and cutting it back would hand out what was
 * already spent. So the clock is read once more, after the tat, before that is believed, and *now is that
 * reading then.
 */
static inline __attribute__((always_inline)) int sl_bucket_is_beyond(__u64 tat, __u64 most, __u64 *now)
{
    if (tat <= *now + most)
        return 0;
    *now = sl_bucket_clock(*now);
    return tat > *now + most;
}

/*
 * Advances the bucket by cost_ns if that keeps it within tolerance_ns of now. Returns 1 admitted, 0 refused
 * (*wait_ns, if not NULL, is then how long until cost_ns would be admitted), -1 after SL_CAS_TRIES lost races
 * (refused; count it; sl_bucket_try: after so many). A refused request only reads, save where the tat lies
 * beyond what this limit can have written (a limit was raised): then the clamp is written back, or the key
 * would be locked out for ever. Loads are volatile: clang 14 has no __atomic_load_n for BPF, and aligned
 * 64-bit loads are single on all targets we have.
 */
static inline __attribute__((always_inline)) int sl_bucket_try(__u64 *tat_p, __u64 now, __u64 cost_ns,
                                                               __u64 tolerance_ns, __u64 *wait_ns, int tries)
{
    for (int i = 0; i < tries; i++) {
        __u64 tat = *(volatile __u64 *)tat_p, old = tat;
        if (sl_bucket_is_beyond(tat, tolerance_ns + SL_CLOCK_SLACK_NS, &now))
            tat = now + tolerance_ns;
        __u64 next = (tat > now ? tat : now) + cost_ns;
        if (next - now > tolerance_ns) {
            if (wait_ns)
                *wait_ns = next - now - tolerance_ns;
            if (tat != old && __sync_val_compare_and_swap(tat_p, old, tat) != old)
                continue;
            return 0;
        }
        if (__sync_val_compare_and_swap(tat_p, old, next) == old)
            return 1;
    }
    if (wait_ns)
        *wait_ns = cost_ns;
    return -1;
}

static inline __attribute__((always_inline)) int sl_bucket_take(__u64 *tat_p, __u64 now, __u64 cost_ns,
                                                                __u64 tolerance_ns, __u64 *wait_ns)
{
    return sl_bucket_try(tat_p, now, cost_ns, tolerance_ns, wait_ns, SL_CAS_TRIES);
}

#endif
