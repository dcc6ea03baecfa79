/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buckets of sources that nobody has vouched for, in a table whose size does not depend on how many there
 * are: a count-min sketch of GCRA cells with conservative update (Estan and Varghese, 2002). A key has one
 * cell in each row, chosen by a seeded hash, and is judged by the least of them.
 *
 * Invariant: no cell is below what any of its keys has used. So nobody gets more than its limit, and who
 * shares some rows with a flood, but not all, is not hurt by it: an admission raises the least cell, and the
 * others only to where that one comes to stand.
 *
 * Exact under concurrency: the decision is taken under a lock that all CPUs with this key share, in the cell
 * of the first row. Without it, who raises some cells and then loses the race for the last has debited what
 * it did not get, as soon as keys share cells. Cells of the other rows are moved by keys with other locks
 * too: by compare-and-swap, and only ever up. A refusal takes no lock, since no cell that it has read can
 * fall.
 *
 * Nothing is inserted and nothing evicted. What a crowded sketch does: some unproven sources share all rows
 * with others and are refused early, counted as any refusal; 4 x 65,536 cells are crowded once the unproven
 * sources together use some 262,144 times what one may.
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

#ifndef SL_SKETCH_LOCK /* tests bring their own */
#define SL_SKETCH_LOCK(lock)   bpf_spin_lock(lock)
#define SL_SKETCH_UNLOCK(lock) bpf_spin_unlock(lock)
#endif

/* The cells of the first row, each an element of an array of its own: a lock guards the value it is in. */
struct sl_sketch_first {
    struct bpf_spin_lock lock;
    __u32 reserved;
    __u64 tat;
};

#define SL_SKETCH_CELL(hash, row) ((hash) >> (16 * (row)) & (SL_SKETCH_CELLS - 1))
/* Which element of the array that holds the first rows of all tables. */
#define SL_SKETCH_FIRST(table, hash) ((__u32)((table)*SL_SKETCH_CELLS + SL_SKETCH_CELL(hash, 0)))

SL_INLINE __u64 sl_mix(__u64 x) /* MurmurHash3's finalizer: a bijection */
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* 16 bits of it choose the cell of each row. tag: what kind of key it is. */
SL_INLINE __u64 sl_sketch_hash(const __u64 seed[2], __u64 high, __u64 low, __u32 tag)
{
    return sl_mix(sl_mix(high ^ seed[0]) ^ low ^ (seed[1] + tag));
}

/* The cell of a row after the first. */
SL_INLINE __u64 *sl_sketch_cell(struct sl_sketch *s, __u64 hash, __u32 row)
{
    return &s->tat[(row - 1) % (SL_SKETCH_ROWS - 1)][SL_SKETCH_CELL(hash, row)];
}

/* The time that the key's bucket stands at. */
SL_INLINE __u64 sl_sketch_tat(struct sl_sketch_first *first, struct sl_sketch *s, __u64 hash)
{
    __u64 least = *(volatile __u64 *)&first->tat;
    SL_UNROLL
    for (__u32 row = 1; row < SL_SKETCH_ROWS; row++) {
        const __u64 tat = *(volatile __u64 *)sl_sketch_cell(s, hash, row);
        least = tat < least ? tat : least;
    }
    return least;
}

/* A time beyond what this limit can have written is one of a wider limit; see sl_bucket_take. */
SL_INLINE __u64 sl_sketch_clamped(__u64 *cell, __u64 now, __u64 tolerance)
{
    const __u64 tat = *(volatile __u64 *)cell;
    if (tat <= now + tolerance + SL_CLOCK_SLACK_NS)
        return tat;
    /* Who has moved it meanwhile has done this, or is a key of now. */
    (void)__sync_val_compare_and_swap(cell, tat, now + tolerance);
    return now + tolerance;
}

/* Whether the cell stands at tat or later now. */
SL_INLINE int sl_sketch_raise(__u64 *cell, __u64 tat)
{
    for (int try = 0; try < SL_CAS_TRIES; try++) {
        const __u64 is = *(volatile __u64 *)cell;
        if (is >= tat || __sync_val_compare_and_swap(cell, is, tat) == is)
            return 1;
    }
    return 0;
}

/* Under the lock, where the verifier allows no call. */
SL_INLINE int sl_sketch_debit(struct sl_sketch_first *first, struct sl_sketch *s, __u64 hash, __u64 now,
                              __u64 cost, __u64 tolerance)
{
    __u64 least = sl_sketch_clamped(&first->tat, now, tolerance);
    SL_UNROLL
    for (__u32 row = 1; row < SL_SKETCH_ROWS; row++) {
        const __u64 tat = sl_sketch_clamped(sl_sketch_cell(s, hash, row), now, tolerance);
        least = tat < least ? tat : least;
    }
    const __u64 next = (least > now ? least : now) + cost;
    if (next - now > tolerance)
        return 0;
    int raised = sl_sketch_raise(&first->tat, next);
    SL_UNROLL
    for (__u32 row = 1; row < SL_SKETCH_ROWS; row++)
        raised &= sl_sketch_raise(sl_sketch_cell(s, hash, row), next);
    return raised ? 1 : -1;
}

/* As sl_bucket_take: 1 admitted, 0 refused, -1 too many lost races for one cell. */
SL_INLINE int sl_sketch_take(struct sl_sketch_first *first, struct sl_sketch *s, __u64 hash, __u64 now,
                             __u64 cost, __u64 tolerance)
{
    const __u64 tat = sl_sketch_tat(first, s, hash);
    if (tat <= now + tolerance + SL_CLOCK_SLACK_NS && (tat > now ? tat - now : 0) + cost > tolerance)
        return 0;
    SL_SKETCH_LOCK(&first->lock);
    const int r = sl_sketch_debit(first, s, hash, now, cost, tolerance);
    SL_SKETCH_UNLOCK(&first->lock);
    return r;
}

#endif
