/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared bucket table: open addressing over struct sl_bucket (sluice/abi.h), used at once by every
 * process and, by slot number, by the kernel programs. No lock: a slot is taken by compare-and-swap of its
 * key.
 *
 * Invariant: the first slot in probe order that holds a key is that key's bucket; a key that two processes
 * put into two slots at once settles on it, and the other one falls idle and is reused.
 */
#ifndef SL_BASE_BUCKET_H
#define SL_BASE_BUCKET_H

#include "base/macros.h"
#include "sluice/abi.h"
#include <stddef.h>
#include <stdint.h>

#define SL_BUCKET_PROBES 64 /* at half full, of a million keys none finds all of them taken */
/* Set in the key of a slot that the kernel knows by number: such a slot is never given to another key. */
#define SL_BUCKET_PINNED (1ull << 63)

/* What stands in the slot of a key that sl_bucket_get takes: its top bit is ours, and 0 is a free slot. */
static inline uint64_t sl_bucket_key(uint64_t key)
{
    key &= ~SL_BUCKET_PINNED;
    return key ? key : 1;
}

struct sl_shares;
/* The table as one process sees it. */
struct sl_bucket_table {
    struct sl_bucket *slots;
    size_t n; /* a power of two */
    uint64_t seed;
    const struct sl_shares *shares; /* NULL: nothing is shared with other hosts */
};

/*
 * The slot of a key, taken if need be: buckets that have been full again for longest are reused (their tat
 * lies behind now). NULL when the probe window has no room: the caller decides and counts.
 *
 * The slot may be given to another key until something is debited: who has debited looks whether the key is
 * still sl_bucket_key(key), and gives back where it is not.
 */
struct sl_bucket *sl_bucket_get(struct sl_bucket_table *t, uint64_t key, uint64_t now);
/* The slot of a key that has one, or NULL; takes none. */
struct sl_bucket *sl_bucket_find(const struct sl_bucket_table *t, uint64_t key);
/* The same as sl_bucket_get, and the slot stays the key's until sl_bucket_unpin. */
struct sl_bucket *sl_bucket_pin(struct sl_bucket_table *t, uint64_t key, uint64_t now);
/* Lets a pinned slot be reused once it is idle; a slot that is not pinned is left alone. */
void sl_bucket_unpin(struct sl_bucket *b);

#endif
