/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much: requests at once first, then rates, so that what is refused for the one costs nothing of the
 * other. Invariant: what an exchange holds of requests at once stands in ex->flights, and is given back once,
 * when it ends or is refused; what a worker held that died is struck out by the supervisor (child.c).
 */
#include "base/flight.h"
#include "gateway/exchange_priv.h"

static struct sl_tier_counters *_sl_counters(const struct sl_exchange *ex)
{
    return &ex->w->counters->tiers[sl_slot(ex->tier->slot, SL_COUNTER_TIERS)];
}

/* ---- at once */

static enum sl_flight_result _sl_take_flight(struct sl_exchange *ex, const struct sl_in_flight *f,
                                             const char *kind, const char *name,
                                             const struct sl_limit_subject *subject)
{
    const struct sl_worker_args *a = ex->w->args;
    struct sl_limit_key key = {.name = sl_hash(name, strlen(name), sl_hash(kind, strlen(kind), 0))};
    sl_limit_subject_key(f->by, f->by_header, subject, &key);
    uint32_t row = 0;
    enum sl_flight_result r = sl_flight_take(&a->counters.shared->flights, a->counters.workers, a->index,
                                             sl_hash(&key, sizeof(key), ex->w->buckets.seed), f->max, &row);
    if (r == SL_FLIGHT_TAKEN)
        ex->flights[ex->n_flights++] = row;
    if (r == SL_FLIGHT_REFUSED && f->shadow) { /* not counted as under way: the limit would have refused it */
        _sl_counters(ex)->shadowed++;
        r = SL_FLIGHT_TAKEN;
    }
    return r;
}

void sl_limits_release(struct sl_exchange *ex)
{
    const struct sl_worker_args *a = ex->w->args;
    while (ex->n_flights)
        sl_flight_give(&a->counters.shared->flights, a->index, ex->flights[--ex->n_flights]);
}

static enum sl_stage_result _sl_table_full(struct sl_exchange *ex)
{
    sl_limits_release(ex);
    ex->n_limits = 0; /* there is nothing to tell of them */
    return sl_respond_problem(ex, SL_WHY_LIMIT_TABLE_FULL, 503,
                              "there is no room to count this request, and the policy refuses such");
}

static enum sl_stage_result _sl_too_many(struct sl_exchange *ex, const struct sl_in_flight *f)
{
    sl_limits_release(ex);
    ex->n_limits = 0; /* rates were not looked at */
    _sl_counters(ex)->in_flight++;
    /* when one of the others ends nobody knows: the least that the field can say */
    if (sl_headers_set(&ex->res.headers, &ex->arena, SL_S("Retry-After"), SL_S("1")) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond_problem(ex, SL_WHY_IN_FLIGHT, f->status, f->message);
}

static enum sl_stage_result _sl_at_once(struct sl_exchange *ex, const struct sl_limit_subject *subject)
{
    const struct sl_snapshot *s = ex->config->snapshot;
    const struct sl_consumer *c = ex->identity ? ex->identity->consumer : NULL;
    const struct sl_in_flight *theirs = sl_in_flight_of(c, ex->tier);
    const bool own = theirs != &ex->tier->in_flight;
    const struct {
        const struct sl_in_flight *f;
        const char *kind, *name;
    } all[] = {{&s->limits.in_flight, "all:", "routes"},
               {ex->route->in_flight, "route:", ex->route->in_flight ? ex->route->policy->route->name : NULL},
               {theirs, own ? "consumer:" : "tier:", own ? c->name : ex->tier->name}};
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        if (!all[i].f || !all[i].f->max)
            continue;
        switch (_sl_take_flight(ex, all[i].f, all[i].kind, all[i].name, subject)) {
        case SL_FLIGHT_REFUSED:
            return _sl_too_many(ex, all[i].f);
        case SL_FLIGHT_FULL:
            ex->w->counters->bucket_table_full++;
            if (subject->full_refuses)
                return _sl_table_full(ex);
            break;
        case SL_FLIGHT_TAKEN:
            break;
        }
    }
    return SL_STAGE_NEXT;
}

/* ---- rates */

/* A consumer's own limit takes the place of its tier's. */
static struct sl_limit_set *_sl_limits_of(const struct sl_exchange *ex)
{
    const struct sl_policy *p = ex->config->policy;
    const struct sl_consumer *consumer = ex->identity ? ex->identity->consumer : NULL;
    struct sl_limit_set *own = consumer ? p->consumer_limits[consumer - p->snapshot->consumers] : NULL;
    return own ? own : p->tiers[ex->tier - p->snapshot->tiers].limits;
}

/* ---- what was asked: the evidence that `sluicectl suggest` proposes limits of */

static uint64_t _sl_asker(const struct sl_exchange *ex, const struct sl_limit_subject *s)
{
    const struct sl_consumer *c = ex->identity ? ex->identity->consumer : NULL;
    const uint32_t route = ex->route->slot;
    if (c && c->slot)
        return sl_demand_key(route, SL_ASKER_CONSUMER, c->slot);
    if (s->consumer.n)
        return sl_demand_key(route, SL_ASKER_NAME, sl_hash(s->consumer.p, s->consumer.n, 0));
    return sl_demand_key(route, SL_ASKER_ADDRESS,
                         sl_hash(s->ip.addr.bytes, sizeof(s->ip.addr.bytes), s->ip.family));
}

/* NULL: there is no room to tell of it. */
static struct sl_demand_row *_sl_note_asked(struct sl_exchange *ex, const struct sl_limit_subject *s)
{
    struct sl_worker_counters *n = ex->w->counters;
    struct sl_demand_row *row =
        sl_demand_take(n->demand, _sl_asker(ex, s), (uint32_t)(ex->w->loop.now / SL_NS_PER_SEC));
    if (row)
        row->asked++;
    else
        n->demand_untold++;
    return row;
}

static void _sl_note_refused(const struct sl_exchange *ex, struct sl_demand_row *row)
{
    const struct sl_limit_verdict *v = &ex->verdict;
    const enum sl_demand_limit which = v->set == ex->route->limits            ? SL_DEMAND_ROUTE
                                       : v->set == ex->config->policy->limits ? SL_DEMAND_ALL
                                                                              : SL_DEMAND_OWN;
    row->refused[which][sl_demand_window(sl_limit_set_config(v->set)->windows[v->window].seconds)]++;
}

static enum sl_stage_result _sl_limited(struct sl_exchange *ex, const struct sl_limit_subject *subject,
                                        struct sl_demand_row *asked)
{
    if (ex->verdict.table_full && subject->full_refuses)
        return _sl_table_full(ex);
    const struct sl_rate_limit *rl = sl_limit_set_config(ex->verdict.set);
    if (asked)
        _sl_note_refused(ex, asked);
    sl_limits_release(ex);
    _sl_counters(ex)->limited++;
    ex->w->counters->bucket_cas_exhausted += ex->verdict.cas_exhausted;
    sl_escalate_rejected(ex);
    return sl_respond_problem(ex, SL_WHY_RATE_LIMITED, rl->status,
                              rl->message ? rl->message : "rate limit exceeded");
}

static enum sl_stage_result _sl_rates(struct sl_exchange *ex, const struct sl_limit_subject *subject,
                                      struct sl_demand_row *asked)
{
    sl_limits_take(&ex->w->buckets, ex->limits, ex->n_limits, subject, ex->w->loop.now, &ex->verdict);
    ex->w->counters->bucket_table_full += ex->verdict.table_full;
    _sl_counters(ex)->shadowed += ex->verdict.shadowed;
    return ex->verdict.admitted ? SL_STAGE_NEXT : _sl_limited(ex, subject, asked);
}

enum sl_stage_result sl_stage_limits(struct sl_exchange *ex)
{
    const struct sl_policy *p = ex->config->policy;
    struct sl_limit_set *sets[] = {ex->route->limits, _sl_limits_of(ex), p->limits};
    for (size_t i = 0; i < SL_ARRAY_LEN(sets); i++)
        if (sets[i])
            ex->limits[ex->n_limits++] = sets[i];
    const struct sl_limit_subject subject = {
        .consumer = ex->identity ? ex->identity->consumer_name : SL_SLICE_NUL,
        .ip = sl_ip_source(&ex->client_ip).ip,
        .credential = ex->identity ? ex->identity->credential : 0,
        .request = &ex->req,
        .full_refuses = p->snapshot->limits.table_full == SL_TABLE_FULL_REFUSE,
    };
    struct sl_demand_row *asked = _sl_note_asked(ex, &subject);
    enum sl_stage_result r = _sl_at_once(ex, &subject);
    if (r == SL_STAGE_NEXT && ex->n_limits)
        r = _sl_rates(ex, &subject, asked);
    if (r == SL_STAGE_NEXT)
        _sl_counters(ex)->admitted++;
    return r;
}
