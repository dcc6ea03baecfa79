/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which members get requests. The rows in shared memory say how each target does; from them a group makes its
 * members' effective weights, anew only where a row has changed or a moment has come (an ejection ends, slow
 * start goes on), so that a request costs one load and two compares.
 *
 * Failures in a row are counted over all workers: each of many workers alone would need as many again to see
 * what the others know already. Invariant: effective is 0 exactly where a member gets no requests.
 */
#include "base/log.h"
#include "upstream/group_priv.h"

#define SL_SLOW_STEPS 10 /* of slow start, and the least share of the weight in percent */
#define SL_SCALE      100

#define SL_GET(x)    __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define SL_PUT(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

static void _sl_look_at(struct sl_group *g, uint64_t at)
{
    g->look_at = SL_MIN(g->look_at, at);
}

/* Percent of its weight that a target gets at `now`, which came back at `since`. */
static int64_t _sl_warmth(struct sl_group *g, uint64_t since, uint64_t now)
{
    const uint64_t slow = g->cfg->health.slow_start;
    if (!since || now - since >= slow)
        return SL_SCALE;
    _sl_look_at(g, now + slow / SL_SLOW_STEPS + 1);
    return (int64_t)SL_MAX((now - since) * SL_SCALE / slow, (uint64_t)(SL_SCALE / SL_SLOW_STEPS));
}

/* Percent of its weight; 0: not fit; -1: drained. */
static int64_t _sl_fitness(struct sl_group *g, const struct sl_member *m, uint64_t now)
{
    const struct sl_shared_target *s = m->pool->shared;
    if (!s)
        return SL_SCALE;
    if (SL_GET(s->drained) || (m->pool->whole && SL_GET(m->pool->whole->drained)))
        return -1;
    if (SL_GET(s->unhealthy))
        return 0;
    const uint64_t ejected = SL_GET(s->ejected_until), back = SL_GET(s->back_at);
    if (ejected > now) {
        _sl_look_at(g, ejected);
        return 0;
    }
    return _sl_warmth(g, SL_MIN(SL_MAX(ejected, back), now), now);
}

/* With too few fit, those that are not are used as well. */
static void _sl_panic(struct sl_group *g, const int64_t *fitness, size_t fit, size_t there)
{
    g->panic = fit < there && fit * 100 < there * g->cfg->health.panic;
    for (size_t i = 0; i < g->n; i++) {
        const int64_t share = fitness[i] < 0 ? 0 : g->panic ? SL_SCALE : fitness[i];
        g->members[i].effective = g->members[i].weight * share;
    }
}

void sl_health_refresh(struct sl_group *g)
{
    const uint64_t now = g->all->loop->now;
    size_t fit = 0, there = 0;
    uint64_t sum = 0;
    g->seen = __atomic_load_n(&g->all->health->changes, __ATOMIC_ACQUIRE);
    g->look_at = UINT64_MAX;
    sl_named_refresh(g);
    for (size_t i = 0; i < g->n; i++) {
        const int64_t f = g->fitness[i] = _sl_fitness(g, &g->members[i], now);
        fit += f > 0;
        there += f >= 0;
    }
    _sl_panic(g, g->fitness, fit, there);
    g->usable = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct sl_member *m = &g->members[i];
        m->current = m->effective ? m->current : 0;
        m->upto = sum += (uint64_t)m->effective;
        g->usable += m->effective > 0;
    }
    g->drained = there == 0;
}

/* ---- what became of requests */

static size_t _sl_ejected(const struct sl_group *g, uint64_t now)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        n += g->members[i].pool->shared && SL_GET(g->members[i].pool->shared->ejected_until) > now;
    return n;
}

/* Two workers may at the same moment eject one each, past max_ejected: panic still bounds what that does. */
static void _sl_eject(struct sl_group *g, struct sl_pool *p)
{
    const uint64_t now = g->all->loop->now, eject = g->cfg->health.passive.eject;
    struct sl_shared_target *s = p->shared;
    uint64_t until = SL_GET(s->ejected_until);
    if (until > now || (_sl_ejected(g, now) + 1) * 100 > g->n * g->cfg->health.passive.max_ejected ||
        !__atomic_compare_exchange_n(&s->ejected_until, &until, now + eject, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return;
    SL_PUT(s->failures, 0);
    sl_health_changed(g->all->health);
    g->counters->ejections++;
    sl_warn("upstream %s: target %s: ejected for %llu ms after %u failures in a row", p->name, p->text,
            (unsigned long long)(eject / SL_NS_PER_MS), g->cfg->health.passive.failures);
}

static bool _sl_is_failure(const struct sl_upstream *u, unsigned status)
{
    const struct sl_statuses *list = &u->health.passive.statuses;
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i] == status)
            return true;
    return status == 0;
}

void sl_group_report(struct sl_group *g, struct sl_attempts *a, const void *target, unsigned status)
{
    struct sl_pool *p = (struct sl_pool *)(uintptr_t)target;
    const bool failed = _sl_is_failure(g->cfg, status);
    p->target->failures += failed;
    if (g->cfg->health.passive.enabled && p->shared) {
        if (failed &&
            __atomic_add_fetch(&p->shared->failures, 1, __ATOMIC_RELAXED) >= g->cfg->health.passive.failures)
            _sl_eject(g, p);
        else if (!failed && SL_GET(p->shared->failures))
            SL_PUT(p->shared->failures, 0);
    }
    if (g->breaker)
        sl_breaker_report(g, a, status == 0 || status >= 500);
}
