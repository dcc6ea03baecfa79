/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which target a request goes to. Round robin is smooth: each turn adds every weight, the largest wins and
 * pays the sum, which spreads a heavy target's turns instead of bunching them. least_request takes the less
 * busy, by weight, of two that were drawn by weight: the load of all need not be looked at, and workers that
 * do not know each other's load do not all run to the same target. A hash looks into Maglev's table.
 *
 * What is busy is what this worker has on its way there.
 */
#include "upstream/group_priv.h"

#include <errno.h>

#define SL_HASH_TRIES 8 /* places looked at for a target that can be used */

static bool _sl_usable(const struct sl_member *m, const struct sl_attempts *a)
{
    return m->effective > 0 && m->pool != a->failed;
}

/* xorshift64: for spreading load, never for secrets */
static uint64_t _sl_random(struct sl_upstreams *u)
{
    u->rng ^= u->rng << 13;
    u->rng ^= u->rng >> 7;
    u->rng ^= u->rng << 17;
    return u->rng;
}

static struct sl_member *_sl_in_turn(struct sl_group *g, const struct sl_attempts *a)
{
    struct sl_member *best = NULL;
    int64_t total = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct sl_member *m = &g->members[i];
        if (!_sl_usable(m, a))
            continue;
        m->current += m->effective;
        total += m->effective;
        if (!best || m->current > best->current)
            best = m;
    }
    if (best)
        best->current -= total;
    return best;
}

/* The member whose share of the sum of effective weights holds a random point. */
static struct sl_member *_sl_draw(struct sl_group *g)
{
    uint64_t point = _sl_random(g->all) % g->members[g->n - 1].upto;
    size_t low = 0, high = g->n - 1;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (point < g->members[mid].upto)
            high = mid;
        else
            low = mid + 1;
    }
    return &g->members[low];
}

static struct sl_member *_sl_less_busy(struct sl_group *g, const struct sl_attempts *a)
{
    struct sl_member *x = _sl_draw(g), *y = _sl_draw(g);
    if (!_sl_usable(x, a) || !_sl_usable(y, a))
        return _sl_usable(x, a) ? x : _sl_usable(y, a) ? y : NULL;
    return (int64_t)y->pool->active * x->effective < (int64_t)x->pool->active * y->effective ? y : x;
}

/* One key always finds the same target; where that cannot be used, the same other one. */
static struct sl_member *_sl_hashed(struct sl_group *g, const struct sl_attempts *a)
{
    uint64_t h = a->hash;
    for (unsigned i = 0; i < SL_HASH_TRIES; i++) {
        struct sl_member *m = &g->members[g->maglev[h % g->n_maglev]];
        if (_sl_usable(m, a))
            return m;
        h = sl_hash(&h, sizeof(h), i);
    }
    return NULL;
}

struct sl_pool *sl_balance_pick(struct sl_group *g, const struct sl_attempts *a)
{
    struct sl_member *m = NULL;
    if (sl_health_stale(g))
        sl_health_refresh(g);
    if (g->usable == 0)
        return NULL;
    if (g->panic)
        g->counters->panics++;
    if (g->n == 1)
        return g->members[0].pool;
    if (g->maglev && a->hashed)
        m = _sl_hashed(g, a);
    else if (g->cfg->balance == SL_BALANCE_LEAST_REQUEST)
        m = _sl_less_busy(g, a);
    if (!m)
        m = _sl_in_turn(g, a);
    for (m = m ? m : g->members; !m->effective; m++)
        ; /* all that are left have failed this request: there is one, since some are usable */
    return m->pool;
}

int sl_balance_init(struct sl_group *g)
{
    g->fitness = calloc(SL_MAX(g->cap, g->n) + 1, sizeof(*g->fitness));
    if (!g->fitness)
        return -ENOMEM;
    sl_health_refresh(g);
    return sl_balance_table(g);
}

int sl_balance_table(struct sl_group *g)
{
    free(g->maglev);
    g->maglev = NULL;
    if (g->n < 2 || (g->cfg->balance != SL_BALANCE_HASH_IP && g->cfg->balance != SL_BALANCE_HASH_HEADER))
        return 0;
    return sl_maglev_new(g->members, g->n, &g->maglev, &g->n_maglev);
}
