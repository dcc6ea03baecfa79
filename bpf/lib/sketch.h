/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buckets of sources that nobody has vouched for, in a table whose size does not depend on how many there
 * are: a count-min sketch of GCRA cells with conservative update (Estan and Varghese, 2002), blocked as Bloom
 * filters are (Putze, Sanders and Singler, 2007). A seeded hash chooses a key's line, and in it four cells of
 * fifteen; the key is judged by the least of them.
 *
 * Invariant: no cell is below what any of its keys has used. So nobody gets more than its limit, and who
 * shares some cells with a flood, but not all, is not hurt by it: an admission raises the least cell, and the
 * others only to where that one comes to stand.
 *
 * Exact under concurrency: a line's cells are changed under its lock only. Without it, who raises some cells
 * and then loses the race for the last has debited what it did not get. The lock is a word in the line, taken
 * by compare-and-swap in so many tries, then: deny, and count, as for any bucket. (A bpf_spin_lock would not
 * be in the line: maps that hold one cannot be mapped, and only mappable ones begin at a page.) A refusal
 * takes no lock, since no cell that it has read can fall.
 *
 * Nothing is inserted and nothing evicted. What a crowded sketch does: some unproven sources share all cells
 * with others and are refused early, counted as any refusal. tests/bpf/test_sketch.c asserts how many: of
 * 10,000 innocent ones some 15 with 10,000 others over their limits, 700 with 65,536.
 */
#ifndef SL_BPF_SKETCH_H
#define SL_BPF_SKETCH_H

#include "sluice/abi.h"

#define SL_INLINE \
    static inline __attribute__((always_inline)) /* as lib/parse.h has it: tests compile this alone */

#ifdef __clang__
#define SL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SL_UNROLL
#endif

#define SL_SKETCH_LOCK_TRIES 512 /* about a microsecond */

/* Which line of all tables' lines. */
#define SL_SKETCH_LINE(table, hash) ((__u32)((table)*SL_SKETCH_LINES + ((hash) & (SL_SKETCH_LINES - 1))))

SL_INLINE __u64 sl_mix(__u64 x) /* MurmurHash3's finalizer: a bijection */
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* Chooses line and cells. tag: what kind of key it is. */
SL_INLINE __u64 sl_sketch_hash(const __u64 seed[2], __u64 high, __u64 low, __u32 tag)
{
    return sl_mix(sl_mix(high ^ seed[0]) ^ low ^ (seed[1] + tag));
}

/* The row-th draw of four numbers below 15, all different, from the hash's bits above those of the line
 * (Floyd's sampling): *drawn has a bit for each so far. Without a branch, which could not be foreseen. */
SL_INLINE __u32 sl_sketch_draw(__u64 hash, __u32 row, __u32 *drawn)
{
    const __u32 last = SL_SKETCH_CELLS - SL_SKETCH_ROWS + row;
    __u32 cell = ((__u32)(hash >> (15 + 12 * row)) & 4095) * (last + 1) >> 12;
    cell += (*drawn >> cell & 1) * (last - cell);
    *drawn |= 1u << cell;
    return cell;
}

SL_INLINE __u64 *sl_sketch_cell(struct sl_sketch_line *l, __u64 hash, __u32 row, __u32 *drawn)
{
    __u32 cell = sl_sketch_draw(hash, row, drawn);
#ifdef __bpf__
    /* For the verifier, which does not see that it is below 15: 15 would be the lock, not beyond the line. */
    __asm__ volatile("" : "+r"(cell));
    cell &= 15;
#endif
    return (__u64 *)l + cell;
}

/* The time that the key's bucket stands at. */
SL_INLINE __u64 sl_sketch_tat(struct sl_sketch_line *l, __u64 hash)
{
    __u64 least = ~0ull;
    __u32 drawn = 0;
    SL_UNROLL
    for (__u32 row = 0; row < SL_SKETCH_ROWS; row++) {
        const __u64 tat = *(volatile __u64 *)sl_sketch_cell(l, hash, row, &drawn);
        least = tat < least ? tat : least;
    }
    return least;
}

/* Whether each cell refuses by itself, as a flooder's all do: no lock is asked for. 0 says nothing yet: so
 * where a wider limit wrote them all (see sl_bucket_take). */
SL_INLINE int sl_sketch_refuses(struct sl_sketch_line *l, __u64 hash, __u64 now, __u64 cost, __u64 tolerance)
{
    __u32 drawn = 0, sane = 0;
    if (cost > tolerance)
        return 1;
    SL_UNROLL
    for (__u32 row = 0; row < SL_SKETCH_ROWS; row++) {
        const __u64 tat = *(volatile __u64 *)sl_sketch_cell(l, hash, row, &drawn);
        if (tat <= now + tolerance - cost)
            return 0;
        sane |= tat <= now + tolerance + SL_CLOCK_SLACK_NS;
    }
    return sane != 0;
}

/* The least of all cells: the line's keys stand there or later. */
SL_INLINE __u64 sl_sketch_least(const struct sl_sketch_line *l)
{
    __u64 least = ~0ull;
    SL_UNROLL
    for (__u32 i = 0; i < SL_SKETCH_CELLS; i++) {
        const __u64 tat = *(const volatile __u64 *)&l->tat[i];
        least = tat < least ? tat : least;
    }
    return least;
}

/* Whether a line whose least cell stands at that many 2^26 ns, or later, refuses each of its keys. */
SL_INLINE int sl_sketch_is_closed(__u32 least, __u64 now, __u64 cost, __u64 tolerance)
{
    return cost <= tolerance && least > (now + tolerance - cost) >> SL_SKETCH_CLOSED_SHIFT &&
           least <= (now + tolerance + SL_CLOCK_SLACK_NS) >> SL_SKETCH_CLOSED_SHIFT;
}

/* A time beyond what this limit can have written is one of a wider limit; see sl_bucket_take. */
SL_INLINE __u64 sl_sketch_clamped(__u64 *cell, __u64 now, __u64 tolerance)
{
    if (sl_bucket_is_beyond(*cell, tolerance + SL_CLOCK_SLACK_NS, &now))
        *cell = now + tolerance;
    return *cell;
}

/* With the lock held. */
SL_INLINE int sl_sketch_debit(struct sl_sketch_line *l, __u64 hash, __u64 now, __u64 cost, __u64 tolerance)
{
    __u64 *cell[SL_SKETCH_ROWS], least = ~0ull;
    __u32 drawn = 0;
    SL_UNROLL
    for (__u32 row = 0; row < SL_SKETCH_ROWS; row++) {
        cell[row] = sl_sketch_cell(l, hash, row, &drawn);
        const __u64 tat = sl_sketch_clamped(cell[row], now, tolerance);
        least = tat < least ? tat : least;
    }
    const __u64 next = (least > now ? least : now) + cost;
    if (next - now > tolerance)
        return 0;
    SL_UNROLL
    for (__u32 row = 0; row < SL_SKETCH_ROWS; row++)
        if (*cell[row] < next)
            *(volatile __u64 *)cell[row] = next;
    return 1;
}

/* As sl_bucket_take: 1 admitted, 0 refused, -1 too many lost races for the line. */
SL_INLINE int sl_sketch_take(struct sl_sketch_line *l, __u64 hash, __u64 now, __u64 cost, __u64 tolerance)
{
    if (sl_sketch_refuses(l, hash, now, cost, tolerance))
        return 0;
    for (int try = 0; try < SL_SKETCH_LOCK_TRIES; try++) {
        if (*(volatile __u32 *)&l->lock || __sync_val_compare_and_swap(&l->lock, 0u, 1u) != 0)
            continue;
        const int r = sl_sketch_debit(l, hash, now, cost, tolerance);
        (void)__sync_val_compare_and_swap(&l->lock, 1u, 0u);
        return r;
    }
    return -1;
}

#endif
