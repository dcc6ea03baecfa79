/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for a consumer. */
#include "ctl/explain_priv.h"

#include <string.h>

void sl_explain_penalties_of(struct sl_explain *x, const char *consumer)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(x->penalties, "penalties"), i, p)
    {
        char left[SL_CTL_UNIT];
        if (strncmp(sl_ctl_str(p, "consumer"), consumer, SL_NAME_LEN - 1) == 0)
            sl_explain_say(x, NULL, "a penalty of %s on %s for another %s%s, by %s", sl_ctl_str(p, "effect"),
                           sl_ctl_str(p, "source"), sl_ctl_span(sl_ctl_num(p, "left_ms") / 1000, left),
                           sl_explain_from(x, p), sl_ctl_str(p, "rule"));
    }
}

/* What is left of its limits, as the daemon has it. */
void sl_explain_usage(struct sl_explain *x, const char *consumer)
{
    struct sl_buf SL_BUF path = {0};
    struct sl_ctl quiet = *x->ctl;
    size_t i;
    json_t *l;
    quiet.quiet = true;
    if (!x->penalties || sl_ctl_consumers_path(consumer, &path) < 0)
        return;
    json_t *j = sl_ctl_call(&quiet, "GET", sl_buf_data(&path), NULL);
    const json_t *first = json_array_get(json_object_get(j, "consumers"), 0);
    json_array_foreach(json_object_get(first, "limits"), i, l)
    {
        char span[SL_CTL_UNIT];
        sl_explain_say(x, NULL, "of %s it has %.0f of %.0f a %s left, all again in %s",
                       sl_ctl_str(l, "limit"), sl_ctl_num(l, "remaining"), sl_ctl_num(l, "quota"),
                       sl_ctl_str(l, "window"), sl_ctl_span(sl_ctl_num(l, "reset_ms") / 1000, span));
    }
    json_decref(j);
}

static void _sl_escalation(struct sl_explain *x, const struct sl_tier *t)
{
    const struct sl_escalate *e = &t->escalate;
    if (!e->enabled)
        return;
    sl_explain_say(
        x, &t->pos,
        "%u refusals within %.0f s make a penalty: its connection first, then new connections from "
        "its address, then the address; %.0f s, doubled each time up to %.0f s; an address only "
        "where nobody else succeeds from it, and never a trusted proxy",
        e->rejections, (double)e->within / 1e9, (double)e->penalty / 1e9, (double)e->max_penalty / 1e9);
}

static void _sl_ceiling(struct sl_explain *x, const struct sl_consumer *c, const struct sl_rate_limit *l)
{
    const uint32_t headroom = c->tier->headroom;
    if (!c->sources.n || !headroom || !l->n_windows || l->by != SL_BY_CONSUMER || l->shadow)
        return;
    sl_explain_say(x, &c->pos,
                   "the kernel holds new connections from its sources to %llu a %s: %u times the limit",
                   (unsigned long long)l->windows[0].limit * headroom, l->windows[0].name, headroom);
}

void sl_explain_consumer(struct sl_explain *x, const char *name)
{
    const struct sl_snapshot *s = x->s;
    const struct sl_consumer *c = sl_map_get(&s->consumers_by_name, sl_slice_str(name));
    const struct sl_tier *t = c ? c->tier : s->anonymous;
    const struct sl_rate_limit *l = sl_rate_limit_of(c, t);
    const struct sl_in_flight *at_once = sl_in_flight_of(c, t);
    const bool own = l != &t->rate_limit;
    if (c)
        sl_explain_say(x, &c->pos, "consumer %s, of tier %s", c->name, t->name);
    else
        sl_explain_say(x, NULL,
                       "the policy names no such consumer: a token may, and its requests are of tier %s",
                       t->name);
    if (t->pos.line)
        sl_explain_say(x, &t->pos, "tier %s", t->name);
    for (size_t i = 0; c && i < s->n_routes; i++)
        if (s->routes[i].anonymous == c)
            sl_explain_say(x, &s->routes[i].pos, "requests without credentials on route %s are its",
                           s->routes[i].name);
    sl_explain_limit(x, own ? "its own limit, instead of the tier's," : "the tier", l);
    sl_explain_in_flight(x, at_once != &t->in_flight ? "it by itself" : "the tier", at_once);
    sl_explain_limit(x, "the policy", &s->limits.rate_limit);
    sl_explain_in_flight(x, "the policy", &s->limits.in_flight);
    if (c)
        _sl_ceiling(x, c, l);
    _sl_escalation(x, t);
    sl_explain_penalties_of(x, name);
    sl_explain_usage(x, name);
    sl_explain_verdict(x, c ? "a consumer of tier %s%s" : "not in the policy: tier %s%s", t->name,
                       l->n_windows ? "" : ", without a limit");
}
