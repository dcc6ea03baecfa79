/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of propose.h. */
#include "policy/propose.h"

#define SL_MOST  1000000000u /* requests that a window may hold (config/schema_consumer.c) */
#define SL_BUSY  10          /* windows with requests that tell something */
#define SL_OFTEN 100         /* one window of so many: more is often */
#define SL_SLACK 2           /* a limit so many times what is wanted is far above */

const struct sl_propose_rules sl_propose_defaults = {.headroom = 1.5, .least = {60, 30, 24, 7}};

static const uint32_t _sl_figures[] = {10, 12, 15, 20, 25, 30, 40, 50, 60, 80};

/* 0 within ten; of each decade those of the table. */
static double _sl_next(double v, size_t *i, double *decade)
{
    if (v < 10)
        return v + 1;
    if (++*i == SL_ARRAY_LEN(_sl_figures)) {
        *i = 0;
        *decade *= 10;
    }
    return _sl_figures[*i] * *decade;
}

uint64_t sl_propose_figure(double v)
{
    double figure = 1, decade = 1;
    size_t i = 0;
    while (figure < v && figure < SL_MOST)
        figure = _sl_next(figure, &i, &decade);
    return (uint64_t)figure;
}

uint64_t sl_propose_figure_below(double v)
{
    double figure = 1, last = 0, decade = 1;
    size_t i = 0;
    while (figure <= v && figure <= SL_MOST) {
        last = figure;
        figure = _sl_next(figure, &i, &decade);
    }
    return (uint64_t)last;
}

static bool _sl_enough(const struct sl_propose_rules *r, unsigned window, const struct sl_propose_evidence *e)
{
    const uint64_t least = r->least[window];
    return e->watched >= least && e->busy >= SL_MIN(least, (uint64_t)SL_BUSY);
}

static bool _sl_daily(const struct sl_propose_evidence *e)
{
    return e->bound_days_of >= 2 && e->bound_days >= e->bound_days_of;
}

static bool _sl_often(const struct sl_propose_evidence *e)
{
    return e->shadow ? e->peak > e->limit : e->bound && e->bound * SL_OFTEN >= e->bound_of;
}

struct sl_proposal sl_propose(const struct sl_propose_rules *r, unsigned window,
                              const struct sl_propose_evidence *e)
{
    const uint64_t wanted = sl_propose_figure((double)e->peak * r->headroom);
    struct sl_proposal p = {.kind = SL_PROPOSAL_STAYS, .limit = e->limit, .daily = _sl_daily(e)};
    if (!_sl_enough(r, window, e))
        p.kind = SL_PROPOSAL_NONE;
    else if (!e->limit)
        p = (struct sl_proposal){.kind = SL_PROPOSAL_NEW, .limit = wanted};
    else if ((p.daily || _sl_often(e)) && wanted > e->limit)
        p = (struct sl_proposal){SL_PROPOSAL_HIGHER, wanted, p.daily};
    else if (!e->bound && wanted * SL_SLACK <= e->limit)
        p = (struct sl_proposal){SL_PROPOSAL_LOWER, wanted, false};
    return p;
}
