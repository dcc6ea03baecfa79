/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks how much: reads the workers' rows (telemetry/demand.h) once a second, adds up what one asker made
 * of each window, and makes evidence of windows that have ended (telemetry/evidence.h).
 *
 * Invariant: a row of the workers is taken by its difference to the last time, so that no request counts
 * twice; what was there before this controller came counts for its predecessor. Where more askers are there
 * than rows, the one who asked least today and not within a minute goes, and what he asked so far is taken
 * for all that he did.
 */
#include "control/demand_priv.h"

#include <errno.h>
#include <string.h>

#define SL_DAY          (SL_DEMAND_WINDOWS - 1)
#define SL_ASKER_REST_S 60
#define SL_SECOND_MOST  (SL_NS_PER_SEC + SL_NS_PER_SEC / 4) /* what is longer tells nothing of a second */
#define SL_SECOND_LEAST (SL_NS_PER_SEC - SL_NS_PER_SEC / 4)

static const uint32_t _sl_seconds[SL_DEMAND_WINDOWS] = {1, 60, 3600, 86400};

/* ---- series */

static int _sl_index(struct sl_demand *d, uint32_t i)
{
    const struct sl_evidence_series *s = &d->evidence->series[i];
    const uint32_t kind = s->kind;
    if (kind >= SL_EVIDENCE_KINDS)
        return -EINVAL;
    return sl_map_add(&d->names[kind], sl_evidence_name(s), (void *)(uintptr_t)(i + 1));
}

int sl_demand_series(const struct sl_demand *d, enum sl_evidence_kind kind, const char *name)
{
    const void *i = sl_map_get(&d->names[kind], sl_slice(name, strnlen(name, SL_EVIDENCE_NAME - 1)));
    return (int)(uintptr_t)i - 1;
}

/* The series that the policy in force calls for, with the limit that holds there (NULL, or no window: none).
 */
static int16_t _sl_series(struct sl_demand *d, enum sl_evidence_kind kind, const char *name,
                          const struct sl_rate_limit *rl)
{
    uint64_t limits[SL_DEMAND_WINDOWS] = {0};
    int i = sl_demand_series(d, kind, name);
    if (i < 0) {
        i = sl_evidence_new(d->evidence, kind, name);
        if (i < 0 || _sl_index(d, (uint32_t)i) < 0)
            return -1;
        d->refused[i] = 0;
    }
    for (size_t w = 0; rl && w < rl->n_windows; w++)
        limits[sl_demand_window(rl->windows[w].seconds)] = rl->windows[w].limit;
    for (unsigned w = 0; w < SL_DEMAND_WINDOWS; w++)
        sl_evidence_limit(d->evidence, i, w, limits[w]);
    return (int16_t)i;
}

/* ---- askers */

static void _sl_resolve_pair(struct sl_demand *d, struct sl_asker_row *a)
{
    const uint32_t slot = sl_demand_route(a->key);
    const char *name = sl_slots_name(sl_bundle_slots(d->control->bundle), SL_SLOT_ROUTE, slot);
    a->series[0] = (int16_t)(slot && name ? sl_demand_series(d, SL_EVIDENCE_ROUTE, name) : -1);
    a->series[1] = a->series[2] = -1;
}

static void _sl_resolve_asker(struct sl_demand *d, struct sl_asker_row *a)
{
    const struct sl_snapshot *s = d->control->snapshot;
    const struct sl_consumer *c = NULL;
    if (sl_demand_asker(a->key) == SL_ASKER_CONSUMER) {
        const char *name = sl_slots_name(sl_bundle_slots(d->control->bundle), SL_SLOT_CONSUMER,
                                         (uint32_t)sl_demand_subject(a->key));
        c = name ? sl_map_get(&s->consumers_by_name, sl_slice_str(name)) : NULL;
    }
    const struct sl_tier *tier = c ? c->tier : s->anonymous;
    const bool own = sl_rate_limit_of(c, tier) != &tier->rate_limit;
    a->series[0] = c ? _sl_series(d, SL_EVIDENCE_CONSUMER, c->name, c->rate_limit) : (int16_t)-1;
    a->series[1] = (int16_t)(own ? -1 : sl_demand_series(d, SL_EVIDENCE_TIER, tier->name));
    a->series[2] = (int16_t)sl_demand_series(d, SL_EVIDENCE_ALL, "");
}

static void _sl_resolve(struct sl_demand *d, struct sl_asker_row *a)
{
    if (a->policy == d->policy)
        return;
    a->policy = d->policy;
    if (sl_demand_route(a->key) == SL_DEMAND_ALL_ROUTES)
        _sl_resolve_asker(d, a);
    else
        _sl_resolve_pair(d, a);
    for (size_t i = 0; i < SL_ARRAY_LEN(a->series); i++)
        if (a->series[i] >= 0)
            d->evidence->series[a->series[i]].askers |= 1u << sl_demand_asker(a->key);
}

/* What it asked in that window was all of it. */
static void _sl_settle(struct sl_demand *d, struct sl_asker_row *a, unsigned window)
{
    if (a->asked[window])
        _sl_resolve(d, a);
    for (size_t i = 0; a->asked[window] && i < SL_ARRAY_LEN(a->series); i++)
        if (a->series[i] >= 0)
            sl_evidence_add(d->evidence, a->series[i], window, a->asked[window]);
}

static void _sl_give_row(struct sl_demand *d, struct sl_asker_row *a, uint64_t key)
{
    for (unsigned w = 1; a->key && w < SL_DEMAND_WINDOWS; w++)
        _sl_settle(d, a, w);
    *a = (struct sl_asker_row){.key = key, .policy = d->policy - 1};
    _sl_resolve(d, a);
}

static struct sl_asker_row *_sl_row(struct sl_demand *d, uint64_t key, uint32_t now_s)
{
    struct sl_asker_row
        *set = &d->askers[sl_hash(&key, sizeof(key), 0) % (SL_ASKERS / SL_ASKERS_WAYS) * SL_ASKERS_WAYS],
        *spare = NULL;
    for (size_t i = 0; i < SL_ASKERS_WAYS; i++) {
        struct sl_asker_row *a = &set[i];
        if (a->key == key)
            return a;
        if (a->key && now_s - a->touched_s < SL_ASKER_REST_S)
            continue;
        if (!spare || (spare->key && a->asked[SL_DAY] < spare->asked[SL_DAY]))
            spare = a;
    }
    if (spare)
        _sl_give_row(d, spare, key);
    return spare;
}

static const struct sl_asker_row *_sl_asked(struct sl_demand *d, uint64_t key, uint32_t requests,
                                            uint32_t now_s)
{
    struct sl_asker_row *a = _sl_row(d, key, now_s);
    if (!a) {
        d->forgotten += requests;
        return NULL;
    }
    _sl_resolve(d, a);
    a->touched_s = now_s;
    for (unsigned w = 0; w < SL_DEMAND_WINDOWS; w++) {
        a->asked[w] += requests;
        for (size_t i = 0; w && i < SL_ARRAY_LEN(a->series); i++)
            if (a->series[i] >= 0)
                sl_evidence_peak(d->evidence, a->series[i], w, a->asked[w]);
    }
    return a;
}

/* ---- a worker's row */

static void _sl_refused(struct sl_demand *d, int16_t series, const uint32_t now[SL_DEMAND_WINDOWS],
                        const uint32_t before[SL_DEMAND_WINDOWS])
{
    for (unsigned w = 0; series >= 0 && w < SL_DEMAND_WINDOWS; w++)
        if (now[w] != before[w])
            d->refused[series] |= (uint8_t)(0x11u << w);
}

static void _sl_take(struct sl_demand *d, const struct sl_demand_row *row, const struct sl_demand_row *before,
                     uint32_t now_s)
{
    const uint32_t requests = row->asked - before->asked;
    if (!requests)
        return;
    const struct sl_asker_row *pair = _sl_asked(d, row->key, requests, now_s);
    const int16_t route = pair ? pair->series[0] : (int16_t)-1;
    const struct sl_asker_row *who = _sl_asked(d, sl_demand_of_all_routes(row->key), requests, now_s);
    _sl_refused(d, route, row->refused[SL_DEMAND_ROUTE], before->refused[SL_DEMAND_ROUTE]);
    if (!who)
        return;
    _sl_refused(d, who->series[1] >= 0 ? who->series[1] : who->series[0], row->refused[SL_DEMAND_OWN],
                before->refused[SL_DEMAND_OWN]);
    _sl_refused(d, who->series[2], row->refused[SL_DEMAND_ALL], before->refused[SL_DEMAND_ALL]);
}

static void _sl_read(struct sl_demand *d, const struct sl_demand_row *from, struct sl_demand_row *last,
                     uint32_t now_s)
{
    struct sl_demand_row row;
    if (__atomic_load_n(&from->key, __ATOMIC_RELAXED) == last->key &&
        __atomic_load_n(&from->asked, __ATOMIC_RELAXED) == last->asked)
        return; /* nobody asked, as in most rows; what is refused by now is told with what is asked next */
    if (!sl_demand_read(from, &row))
        return;
    if (row.key != last->key)
        *last = (struct sl_demand_row){.key = row.key};
    if (d->begun)
        _sl_take(d, &row, last, now_s);
    *last = row;
}

/* ---- windows that end */

static void _sl_close(struct sl_demand *d, unsigned window, bool whole)
{
    for (size_t i = 0; i < SL_ASKERS; i++) {
        struct sl_asker_row *a = &d->askers[i];
        if (a->key && whole)
            _sl_settle(d, a, window);
        a->asked[window] = 0;
    }
    for (uint32_t i = 0; i < sl_evidence_count(d->evidence); i++) {
        if (whole && d->refused[i] & 1u << window)
            sl_evidence_bound(d->evidence, (int)i, window, false);
        for (unsigned w = 0; whole && window == SL_DAY && w < SL_DEMAND_WINDOWS; w++)
            if (d->refused[i] & 0x10u << w)
                sl_evidence_bound(d->evidence, (int)i, w, true);
        d->refused[i] &= (uint8_t)(window == SL_DAY ? 0x0fu & ~(1u << window) : 0xffu & ~(1u << window));
    }
    if (whole)
        sl_evidence_close(d->evidence, window);
}

static void _sl_close_due(struct sl_demand *d, uint64_t wall_ns, uint64_t now_ns)
{
    const uint64_t wall_s = wall_ns / SL_NS_PER_SEC, gap = now_ns - d->read_ns;
    _sl_close(d, 0, d->begun && gap >= SL_SECOND_LEAST && gap <= SL_SECOND_MOST);
    for (unsigned w = 1; w < SL_DEMAND_WINDOWS; w++) {
        const uint64_t window = wall_s / _sl_seconds[w];
        if (window == d->open[w])
            continue;
        _sl_close(d, w, d->whole[w] && window == d->open[w] + 1);
        d->whole[w] = d->begun;
        d->open[w] = window;
    }
}

void sl_demand_read_all(struct sl_demand *d, uint64_t wall_ns, uint64_t now_ns)
{
    const struct sl_counters *all = &d->control->args->counters;
    const uint32_t now_s = (uint32_t)(now_ns / SL_NS_PER_SEC);
    for (uint32_t w = 0; w < all->workers; w++)
        for (size_t i = 0; i < SL_DEMAND_ROWS; i++)
            _sl_read(d, &all->blocks[w].demand[i], &d->last[w * (size_t)SL_DEMAND_ROWS + i], now_s);
    _sl_close_due(d, wall_ns, now_ns);
    sl_evidence_turn(d->evidence, wall_ns / SL_NS_PER_SEC);
    d->read_ns = now_ns;
    d->begun = true;
}

static void _sl_on_tick(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    sl_demand_read_all(t->data, sl_wall_ns(), sl_now_ns());
}

/* ---- a policy comes into force */

static int _sl_in_policy(struct sl_map names[SL_EVIDENCE_KINDS], const struct sl_snapshot *s)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_tiers; i++)
        r = sl_map_add(&names[SL_EVIDENCE_TIER], sl_slice_str(s->tiers[i].name), &s->tiers[i]);
    for (size_t i = 0; r == 0 && i < s->n_routes; i++)
        r = sl_map_add(&names[SL_EVIDENCE_ROUTE], sl_slice_str(s->routes[i].name), &s->routes[i]);
    names[SL_EVIDENCE_CONSUMER] = s->consumers_by_name; /* borrowed */
    return r == -EEXIST ? 0 : r;
}

/* Of a table that is full, what the policy has no more makes room. */
static void _sl_prune(struct sl_demand *d)
{
    struct sl_map names[SL_EVIDENCE_KINDS] = {0};
    struct sl_evidence *e = d->evidence;
    if (sl_evidence_count(e) == SL_EVIDENCE_SERIES && _sl_in_policy(names, d->control->snapshot) == 0)
        for (uint32_t i = sl_evidence_count(e); i-- > 0;) {
            const struct sl_evidence_series *s = &e->series[i];
            const uint32_t kind = s->kind;
            if (kind != SL_EVIDENCE_ALL &&
                (kind >= SL_EVIDENCE_KINDS || !sl_map_get(&names[kind], sl_evidence_name(s)))) {
                d->refused[i] = d->refused[sl_evidence_count(e) - 1]; /* the last one comes to its place */
                sl_evidence_remove(e, i);
            }
        }
    sl_map_free(&names[SL_EVIDENCE_TIER]);
    sl_map_free(&names[SL_EVIDENCE_ROUTE]);
}

/* Those that asked before: what a former limit refused says nothing of one that is new. */
static void _sl_take_consumers(struct sl_demand *d, const struct sl_snapshot *s)
{
    for (uint32_t i = 0; i < sl_evidence_count(d->evidence); i++) {
        const struct sl_evidence_series *e = &d->evidence->series[i];
        const struct sl_consumer *c =
            e->kind == SL_EVIDENCE_CONSUMER ? sl_map_get(&s->consumers_by_name, sl_evidence_name(e)) : NULL;
        if (c)
            (void)_sl_series(d, SL_EVIDENCE_CONSUMER, c->name, c->rate_limit);
    }
}

/* Routes and tiers first: however many consumers there are, they have theirs. */
static void _sl_take_policy(struct sl_demand *d)
{
    const struct sl_snapshot *s = d->control->snapshot;
    _sl_prune(d);
    for (size_t k = 0; k < SL_EVIDENCE_KINDS; k++)
        sl_map_free(&d->names[k]);
    memset(d->names, 0, sizeof(d->names));
    for (uint32_t i = 0; i < sl_evidence_count(d->evidence); i++)
        (void)_sl_index(d, i); /* without memory, or a name twice: it is not found, and another begins */
    (void)_sl_series(d, SL_EVIDENCE_ALL, "", &s->limits.rate_limit);
    for (size_t i = 0; i < s->n_tiers; i++)
        (void)_sl_series(d, SL_EVIDENCE_TIER, s->tiers[i].name, &s->tiers[i].rate_limit);
    for (size_t i = 0; i < s->n_routes; i++)
        (void)_sl_series(d, SL_EVIDENCE_ROUTE, s->routes[i].name, &s->routes[i].rate_limit);
    _sl_take_consumers(d, s);
    d->policy++;
}

int sl_demand_start(struct sl_control *c)
{
    struct sl_demand *d = c->demand;
    if (!d) {
        d = calloc(1, sizeof(*d));
        if (!d || !(d->last = calloc(c->args->counters.workers, SL_DEMAND_ROWS * sizeof(*d->last)))) {
            free(d);
            return -ENOMEM;
        }
        d->control = c;
        d->evidence = &c->args->counters.shared->evidence;
        ev_timer_init(&d->tick, _sl_on_tick, 1., 1.);
        d->tick.data = d;
        if (c->loop)
            ev_timer_start(c->loop, &d->tick);
        c->demand = d;
    }
    _sl_take_policy(d);
    return 0;
}

void sl_demand_stop(struct sl_control *c)
{
    struct sl_demand *d = c->demand;
    if (!d)
        return;
    if (c->loop)
        ev_timer_stop(c->loop, &d->tick);
    for (size_t k = 0; k < SL_EVIDENCE_KINDS; k++)
        sl_map_free(&d->names[k]);
    free(d->last);
    free(d);
    c->demand = NULL;
}
