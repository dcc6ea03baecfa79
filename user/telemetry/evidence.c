/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of evidence.h: series by name, histograms, and two periods that take turns. */
#include "telemetry/evidence.h"

#include <stdio.h>
#include <string.h>

static unsigned _sl_bucket(uint32_t v)
{
    if (v < 8)
        return v;
    const unsigned e = 31u - (unsigned)__builtin_clz(v);
    return (e - 2) * 8 + (v >> (e - 3) & 7);
}

/* The highest figure that the bucket is of. */
static uint64_t _sl_top(unsigned bucket)
{
    if (bucket < 8)
        return bucket;
    return ((8ull + bucket % 8 + 1) << (bucket / 8 - 1)) - 1;
}

static unsigned _sl_now(const struct sl_evidence *e)
{
    return e->now & 1;
}

/* ---- series */

static void _sl_begin(struct sl_evidence *e, struct sl_evidence_series *s)
{
    for (unsigned p = 0; p < 2; p++)
        for (unsigned w = 0; w < SL_DEMAND_WINDOWS; w++) {
            struct sl_evidence_span *span = &s->spans[p][w];
            span->since = span->bound_since = e->closed[p][w];
            span->days_since = e->closed[p][SL_DEMAND_WINDOWS - 1];
        }
}

int sl_evidence_new(struct sl_evidence *e, enum sl_evidence_kind kind, const char *name)
{
    const uint32_t n = sl_evidence_count(e);
    if (n == SL_EVIDENCE_SERIES) {
        e->without++;
        return -1;
    }
    struct sl_evidence_series *s = &e->series[n];
    memset(s, 0, sizeof(*s));
    (void)snprintf(s->name, sizeof(s->name), "%s", name);
    s->kind = kind;
    _sl_begin(e, s);
    e->n = n + 1;
    return (int)n;
}

void sl_evidence_remove(struct sl_evidence *e, uint32_t index)
{
    const uint32_t n = sl_evidence_count(e);
    if (index + 1 < n)
        memcpy(&e->series[index], &e->series[n - 1], sizeof(e->series[0]));
    e->n = n - 1;
}

void sl_evidence_copy(struct sl_evidence *to, const struct sl_evidence *from)
{
    const uint32_t n = sl_evidence_count(from);
    memcpy(to, from, offsetof(struct sl_evidence, series) + n * sizeof(from->series[0]));
    to->n = n;
}

/* ---- what comes */

static struct sl_evidence_span *_sl_span(struct sl_evidence *e, int series, unsigned window)
{
    return &e->series[series].spans[_sl_now(e)][window];
}

void sl_evidence_peak(struct sl_evidence *e, int series, unsigned window, uint32_t requests)
{
    struct sl_evidence_span *s = _sl_span(e, series, window);
    s->peak = SL_MAX(s->peak, requests);
}

void sl_evidence_add(struct sl_evidence *e, int series, unsigned window, uint32_t requests)
{
    sl_evidence_peak(e, series, window, requests);
    _sl_span(e, series, window)->counts[_sl_bucket(requests)]++;
}

void sl_evidence_bound(struct sl_evidence *e, int series, unsigned window, bool day)
{
    struct sl_evidence_span *s = _sl_span(e, series, window);
    if (day)
        s->bound_days++;
    else
        s->bound++;
}

void sl_evidence_close(struct sl_evidence *e, unsigned window)
{
    e->closed[_sl_now(e)][window]++;
}

void sl_evidence_turn(struct sl_evidence *e, uint64_t wall_s)
{
    const unsigned now = _sl_now(e);
    if (!e->begun_s[now])
        e->begun_s[now] = wall_s;
    if (wall_s < e->begun_s[now] + SL_EVIDENCE_PERIOD_S)
        return;
    e->now = !now;
    /* after a long rest what was the period before is as old as the one that is forgotten */
    if (wall_s >= e->begun_s[now] + 2ull * SL_EVIDENCE_PERIOD_S)
        e->begun_s[now] = 0;
    e->begun_s[!now] = wall_s;
    for (unsigned p = 0; p < 2; p++) {
        if (p == now && e->begun_s[now])
            continue;
        memset(e->closed[p], 0, sizeof(e->closed[p]));
        for (uint32_t i = 0; i < sl_evidence_count(e); i++)
            memset(e->series[i].spans[p], 0, sizeof(e->series[i].spans[p]));
    }
}

void sl_evidence_limit(struct sl_evidence *e, int series, unsigned window, uint64_t limit)
{
    struct sl_evidence_series *s = &e->series[series];
    if (s->limit[window] == limit)
        return;
    s->limit[window] = limit;
    for (unsigned p = 0; p < 2; p++) {
        struct sl_evidence_span *span = &s->spans[p][window];
        span->bound = span->bound_days = 0;
        span->bound_since = e->closed[p][window];
        span->days_since = e->closed[p][SL_DEMAND_WINDOWS - 1];
    }
}

/* ---- what it comes to */

static uint64_t _sl_percentile(const struct sl_evidence_series *s, unsigned window, uint64_t busy,
                               uint64_t peak)
{
    const uint64_t wanted = busy - busy / 100; /* so many windows lie at or below it */
    uint64_t seen = 0;
    unsigned b = 0;
    for (; b < SL_EVIDENCE_BUCKETS; b++) {
        seen += (uint64_t)s->spans[0][window].counts[b] + s->spans[1][window].counts[b];
        if (seen >= wanted)
            break;
    }
    return busy ? SL_MIN(_sl_top(b), peak) : 0;
}

static uint32_t _sl_less(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0;
}

void sl_evidence_sum(const struct sl_evidence *e, uint32_t series, unsigned window,
                     struct sl_evidence_sum *out)
{
    const struct sl_evidence_series *s = &e->series[series];
    *out = (struct sl_evidence_sum){0};
    for (unsigned p = 0; p < 2; p++) {
        const struct sl_evidence_span *span = &s->spans[p][window];
        out->peak = SL_MAX(out->peak, (uint64_t)span->peak);
        for (unsigned b = 0; b < SL_EVIDENCE_BUCKETS; b++)
            out->busy += span->counts[b];
        out->watched += _sl_less(e->closed[p][window], span->since);
        out->bound += span->bound;
        out->bound_of += _sl_less(e->closed[p][window], span->bound_since);
        out->bound_days += span->bound_days;
        out->bound_days_of += _sl_less(e->closed[p][SL_DEMAND_WINDOWS - 1], span->days_since);
    }
    out->p99 = _sl_percentile(s, window, out->busy, out->peak);
}
