/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a group. A target by DNS stands for the addresses of its last answer (telemetry/named.h), each a
 * member with a pool of its own; the group looks at the answers again where `changes` of shared health has
 * moved, so that no request ever waits for, or asks, a nameserver.
 *
 * Invariant: the pool of an address that stays is the same before and after; one that left loses its idle
 * connections at once and the others with their exchange, as over a reload.
 */
#include "telemetry/named.h"
#include "upstream/group_priv.h"

#include <errno.h>
#include <string.h>

#define SL_SHARES   4096 /* a weight's parts, which the addresses of a name share */
#define SL_AGAIN_NS (100 * SL_NS_PER_MS)

struct sl_making {
    struct sl_group *g;
    struct sl_member *v;
    size_t n;
    struct sl_named_seen *seen;
};

size_t sl_named_cap(const struct sl_upstream *cfg)
{
    size_t n = 0;
    for (size_t i = 0; i < cfg->n_targets; i++)
        n += cfg->targets[i].dns.host ? SL_NAMED_MAX : 1;
    return n;
}

static int _sl_add(struct sl_making *m, const struct sl_target *t, int64_t weight, struct sl_pool **pool)
{
    int r = sl_pool_get(m->g->all, m->g->cfg, t, pool);
    if (r < 0)
        return r;
    m->v[m->n++] = (struct sl_member){.pool = *pool, .weight = weight};
    return 0;
}

static int _sl_add_address(struct sl_making *m, const struct sl_target *t, const struct sl_named_address *a,
                           uint64_t sum)
{
    char text[SL_SOCK_STRLEN];
    struct sl_shared_name *name = &m->g->all->health->names[t->slot];
    struct sl_target one = *t;
    struct sl_pool *p;
    one.address = sl_named_sockaddr(a);
    one.text = sl_sockaddr_text(&one.address, text);
    const int64_t weight = (int64_t)((uint64_t)t->weight * SL_SHARES * a->weight / sum);
    int r = _sl_add(m, &one, SL_MAX(weight, (int64_t)1), &p);
    if (r < 0)
        return r;
    p->shared = &name->rows[a->row % SL_NAMED_MAX];
    p->whole = &m->g->all->health->targets[t->slot];
    return 0;
}

static int _sl_add_name(struct sl_making *m, const struct sl_target *t, struct sl_named_seen *seen)
{
    struct sl_named_answer answer;
    uint64_t sum = 0;
    if (t->slot == 0 || t->slot >= SL_COUNTER_TARGETS)
        return 0;
    seen->name = &m->g->all->health->names[t->slot];
    int r = sl_named_read(seen->name, &answer, &seen->seq);
    if (r < 0)
        return r;
    answer.n = SL_MIN(answer.n, (uint32_t)SL_NAMED_MAX);
    for (uint32_t i = 0; i < answer.n; i++)
        sum += answer.v[i].weight;
    for (uint32_t i = 0; r == 0 && sum && i < answer.n; i++)
        r = _sl_add_address(m, t, &answer.v[i], sum);
    return r;
}

static int _sl_make(struct sl_making *m, bool named)
{
    const struct sl_upstream *cfg = m->g->cfg;
    struct sl_pool *p;
    int r = 0;
    for (size_t i = 0; r == 0 && i < cfg->n_targets; i++) {
        const struct sl_target *t = &cfg->targets[i];
        if (t->dns.host)
            r = _sl_add_name(m, t, &m->seen[i]);
        else
            r = _sl_add(m, t, (int64_t)t->weight * (named ? SL_SHARES : 1), &p);
    }
    return r;
}

/* A target's place in its turn is kept. */
static void _sl_take(struct sl_group *g, const struct sl_making *m)
{
    for (size_t i = 0; i < m->n; i++)
        for (size_t k = 0; k < g->n; k++)
            if (g->members[k].pool == m->v[i].pool)
                m->v[i].current = g->members[k].current;
    for (size_t k = 0; k < g->n; k++)
        sl_pool_put_group(g->members[k].pool);
    memcpy(g->members, m->v, m->n * sizeof(m->v[0]));
    g->n = m->n;
}

int sl_named_members(struct sl_group *g)
{
    const size_t n = g->cfg->n_targets;
    const bool named = g->cap > n;
    SL_FREE struct sl_member *v = calloc(g->cap, sizeof(*v));
    struct sl_named_seen *seen = named ? calloc(n, sizeof(*seen)) : NULL;
    struct sl_making m = {.g = g, .v = v, .seen = seen};
    int r = v && (seen || !named) ? _sl_make(&m, named) : -ENOMEM;
    if (r < 0) {
        for (size_t i = 0; i < m.n; i++)
            sl_pool_put_group(m.v[i].pool);
        free(seen);
        return r;
    }
    _sl_take(g, &m);
    free(g->named);
    g->named = seen;
    return 0;
}

static bool _sl_changed(const struct sl_group *g)
{
    if (!g->named) /* the first time an answer was just being written */
        return true;
    for (size_t i = 0; i < g->cfg->n_targets; i++)
        if (g->named[i].name && sl_named_seq(g->named[i].name) != g->named[i].seq)
            return true;
    return false;
}

void sl_named_refresh(struct sl_group *g)
{
    if (g->cap <= g->cfg->n_targets || !_sl_changed(g))
        return;
    int r = sl_named_members(g);
    if (r == 0)
        r = sl_balance_table(g);
    if (r < 0)
        g->look_at = SL_MIN(g->look_at, g->all->loop->now + SL_AGAIN_NS);
}
