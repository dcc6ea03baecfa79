/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NAT guard's table, in the region that all workers write: who succeeded from an address, and when.
 *
 * Invariant: a success is one word, put in place by one compare-and-swap. Two workers that meet a new address
 * at once cannot undo what the other noted, and none holds a lock that it could die with.
 *
 * A word holds 19 bits of the address's hash, beside those that choose its row; 20 of the identity's: one
 * pair of identities in a million is taken for one, whose neighbourhood then protects neither; and 24 of the
 * time, which wraps after 13 days: what was not seen for so long may spare an address once.
 */
#include "telemetry/neighbours.h"

#include "base/macros.h"

#include <stddef.h>

#define SL_TICK_SHIFT 26 /* ns: 67 ms */
#define SL_TICKS      0xffffffu
#define SL_AHEAD      16 /* ticks by which another worker's clock may be ahead */
#define SL_TAG        0xfffffu

/* Never 0, which is a free place. */
static uint64_t _sl_word(uint64_t source, uint64_t identity, uint64_t now)
{
    return (source >> 44 | 1) << 44 | (identity >> 44 & SL_TAG) << 24 | (now >> SL_TICK_SHIFT & SL_TICKS);
}

static uint32_t _sl_age(uint64_t word, uint64_t at)
{
    const uint32_t age = (uint32_t)(at - word) & SL_TICKS;
    return age > SL_TICKS - SL_AHEAD ? 0 : age;
}

static bool _sl_same_source(uint64_t a, uint64_t b)
{
    return a >> 44 == b >> 44;
}

static bool _sl_same_identity(uint64_t a, uint64_t b)
{
    return a >> 24 == b >> 24;
}

struct sl_oldest {
    size_t at;
    uint32_t age, n; /* n: how many there are to choose from */
};

static void _sl_older(struct sl_oldest *o, size_t at, uint32_t age)
{
    if (o->n++ == 0 || age > o->age) {
        o->at = at;
        o->age = age;
    }
}

/* Where a success belongs: in the place of the same identity's former one, else of the source's oldest where
 * it has its share, else of the row's oldest. *was: the word that stands there. */
static size_t _sl_place(const uint64_t *row, uint64_t word, uint64_t *was)
{
    struct sl_oldest of_source = {0}, of_row = {0};
    uint64_t seen[SL_SHARED_NEIGHBOURS_ROW];
    for (size_t i = 0; i < SL_SHARED_NEIGHBOURS_ROW; i++) {
        seen[i] = __atomic_load_n(&row[i], __ATOMIC_RELAXED);
        if (seen[i] && _sl_same_identity(seen[i], word)) {
            *was = seen[i];
            return i;
        }
        if (seen[i] && _sl_same_source(seen[i], word))
            _sl_older(&of_source, i, _sl_age(seen[i], word));
        _sl_older(&of_row, i, seen[i] ? _sl_age(seen[i], word) : UINT32_MAX);
    }
    const size_t at = of_source.n >= SL_NEIGHBOURS_OF_A_SOURCE ? of_source.at : of_row.at;
    *was = seen[at];
    return at;
}

static uint64_t *_sl_row(uint64_t (*all)[SL_SHARED_NEIGHBOURS_ROW], uint64_t source)
{
    return all[source / 2 % SL_SHARED_NEIGHBOURS];
}

void sl_neighbours_note(uint64_t (*all)[SL_SHARED_NEIGHBOURS_ROW], uint64_t source, uint64_t identity,
                        uint64_t now)
{
    uint64_t *row = _sl_row(all, source), was;
    const uint64_t word = _sl_word(source, identity, now);
    size_t at;
    do /* each turn is another worker's success: nobody waits for one that stands still */
        at = _sl_place(row, word, &was);
    while (was != word &&
           !__atomic_compare_exchange_n(&row[at], &was, word, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

bool sl_neighbours_succeed(uint64_t (*all)[SL_SHARED_NEIGHBOURS_ROW], uint64_t source, uint64_t identity,
                           uint64_t now, uint64_t within)
{
    const uint64_t *row = _sl_row(all, source), asks = _sl_word(source, identity, now);
    for (size_t i = 0; i < SL_SHARED_NEIGHBOURS_ROW; i++) {
        const uint64_t word = __atomic_load_n(&row[i], __ATOMIC_RELAXED);
        if (word && _sl_same_source(word, asks) && !_sl_same_identity(word, asks) &&
            _sl_age(word, asks) <= (within >> SL_TICK_SHIFT) + 1)
            return true;
    }
    return false;
}
