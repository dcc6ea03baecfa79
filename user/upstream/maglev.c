/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev's lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
 * 2016, section 3.4): each target has a permutation of the places, made of its name alone, and the targets
 * take turns to claim the next free place of theirs. Who comes or goes moves little more than his own places.
 *
 * Invariant: every place is taken, and each target has at least one.
 */
#include "upstream/group_priv.h"

#include <errno.h>
#include <string.h>

/* Primes, so that each skip visits all places; about a hundred places a target keep the shares within some
 * percent. The larger one is under 128 KiB. */
#define SL_MAGLEV_SMALL 2039
#define SL_MAGLEV_LARGE 65521
#define SL_MAGLEV_FREE  UINT16_MAX

struct sl_permutation {
    uint32_t at, skip;
    uint64_t due; /* turns owed, in units of the largest weight */
};

static void _sl_permute(struct sl_permutation *p, const struct sl_member *m, uint32_t places)
{
    const char *text = m->pool->text;
    size_t n = strlen(text);
    *p = (struct sl_permutation){.at = (uint32_t)(sl_hash(text, n, 0x0ff5e7) % places),
                                 .skip = (uint32_t)(sl_hash(text, n, 0x5419) % (places - 1)) + 1};
}

static void _sl_claim(struct sl_permutation *p, uint16_t *table, uint32_t places, uint16_t who)
{
    while (table[p->at] != SL_MAGLEV_FREE)
        p->at = (p->at + p->skip) % places;
    table[p->at] = who;
}

/* A target of the largest weight claims a place each turn, others as often as their share says; the first
 * turn is everybody's. */
static void _sl_fill(const struct sl_member *m, size_t n, struct sl_permutation *p, uint16_t *table,
                     uint32_t places)
{
    uint64_t largest = 1;
    uint32_t taken = 0;
    for (size_t i = 0; i < n; i++)
        largest = SL_MAX(largest, (uint64_t)m[i].weight);
    for (bool first = true; taken < places; first = false)
        for (size_t i = 0; i < n && taken < places; i++) {
            p[i].due += (uint64_t)m[i].weight;
            if (!first && p[i].due < largest)
                continue;
            p[i].due -= SL_MIN(p[i].due, largest);
            _sl_claim(&p[i], table, places, (uint16_t)i);
            taken++;
        }
}

int sl_maglev_new(const struct sl_member *m, size_t n_members, uint16_t **out, uint32_t *n)
{
    uint32_t places = n_members * 100 <= SL_MAGLEV_SMALL ? SL_MAGLEV_SMALL : SL_MAGLEV_LARGE;
    SL_FREE struct sl_permutation *p = calloc(n_members, sizeof(*p));
    uint16_t *table = malloc(places * sizeof(*table));
    if (!p || !table) {
        free(table);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n_members; i++)
        _sl_permute(&p[i], &m[i], places);
    memset(table, 0xff, places * sizeof(*table));
    _sl_fill(m, n_members, p, table, places);
    *out = table;
    *n = places;
    return 0;
}
