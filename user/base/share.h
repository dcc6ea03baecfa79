/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the bucket table is shared with other hosts: beside each slot how much was admitted since the
 * others last heard of it. Workers add, the controller takes; the request path does no more than that.
 *
 * Invariant: a slot with something in `admitted` has its dirty bit set, or a worker is about to set it. A
 * slot that goes to another key takes what had not been told with it: that bucket was idle, and so owed
 * nothing.
 */
#ifndef SL_BASE_SHARE_H
#define SL_BASE_SHARE_H

#include "base/bucket.h"

struct sl_share {
    uint64_t key;          /* of the bucket that this is about; the same on every host */
    uint64_t admitted;     /* requests that the other hosts have not heard of */
    uint64_t interval_ns;  /* what each costs */
    uint64_t tolerance_ns; /* capacity x interval */
};

struct sl_shares {
    struct sl_share *v; /* [n]; NULL: this host shares nothing */
    uint64_t *dirty;    /* bit per slot: there is something to tell */
    uint64_t *known;    /* bit per slot: it was shared once */
    size_t n;           /* of the bucket table */
};

/* How far a shared bucket may be overdrawn by what all hosts admit between two syncs, and still pays it back:
 * 15 times its capacity, at most ten minutes of it. */
static inline uint64_t sl_share_slack(uint64_t tolerance_ns)
{
    const uint64_t most = 600ull * 1000000000;
    return SL_CLOCK_SLACK_NS + (tolerance_ns > most / 15 ? most : 15 * tolerance_ns);
}

/* Maps room for n slots, zeroed, for this process and those forked from it; pages come as they are used. 0 or
 * -errno. */
int sl_shares_new(size_t n, struct sl_shares *out);

/* One more was admitted by the bucket in that slot. */
void sl_share_admitted(const struct sl_shares *s, size_t slot, const struct sl_share *what);
/* The next slot from `from` on whose dirty bit was set, which is cleared; s->n: none. */
size_t sl_shares_next_dirty(const struct sl_shares *s, size_t from);
void sl_shares_set_dirty(const struct sl_shares *s, size_t slot);
/* All that was ever shared is told again. */
void sl_shares_all_dirty(const struct sl_shares *s);
/* Moves a bucket on to what all hosts have debited; never back. */
void sl_share_advance(struct sl_bucket *b, uint64_t tat);

#endif
