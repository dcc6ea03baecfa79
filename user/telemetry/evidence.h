/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What limits are proposed of: for each route, tier and consumer, and for all routes together, how many
 * requests one asker made in a window, as a histogram, and how often a limit refused. Plain figures in shared
 * memory, so that they outlive the controller, which alone writes them; the supervisor keeps them in the
 * state directory and looks at none.
 *
 * Two periods of SL_EVIDENCE_PERIOD_S stand side by side, the one that is and the one before: what is older
 * is forgotten. Windows follow one another by the wall clock; those that were not watched whole count only
 * for the peak. Where all series are taken, what else there is has none, and that is counted.
 */
#ifndef SL_TELEMETRY_EVIDENCE_H
#define SL_TELEMETRY_EVIDENCE_H

#include "base/slice.h"
#include "telemetry/demand.h"
#include <stddef.h>

#define SL_EVIDENCE_SERIES   4096
#define SL_EVIDENCE_BUCKETS  240 /* eight to each doubling: a figure is at most an eighth too high */
#define SL_EVIDENCE_NAME     264
#define SL_EVIDENCE_PERIOD_S (7 * 86400u)

enum sl_evidence_kind {
    SL_EVIDENCE_ALL,
    SL_EVIDENCE_TIER,
    SL_EVIDENCE_CONSUMER,
    SL_EVIDENCE_ROUTE,
    SL_EVIDENCE_KINDS
};

/* One window of a series, in one period. */
struct sl_evidence_span {
    uint32_t peak;
    uint32_t since;       /* closed[] when the series began */
    uint32_t bound;       /* windows in which the limit of now refused */
    uint32_t bound_days;  /* days likewise */
    uint32_t bound_since; /* closed[] when that limit came into force; */
    uint32_t days_since;  /* that of the days */
    uint32_t counts[SL_EVIDENCE_BUCKETS];
};
struct sl_evidence_series {
    char name[SL_EVIDENCE_NAME];
    uint32_t kind;
    uint32_t askers;                   /* bit per enum sl_asker: who they were */
    uint64_t limit[SL_DEMAND_WINDOWS]; /* that bound is of; 0: none */
    struct sl_evidence_span spans[2][SL_DEMAND_WINDOWS];
};
struct sl_evidence {
    uint64_t begun_s[2];                   /* wall clock; 0: there was no such period */
    uint32_t closed[2][SL_DEMAND_WINDOWS]; /* windows that were watched whole */
    uint32_t now;                          /* which period is */
    uint32_t n;
    uint64_t without; /* times that there was no series to be had */
    struct sl_evidence_series series[SL_EVIDENCE_SERIES];
};

/* What a window's evidence comes to, over both periods. */
struct sl_evidence_sum {
    uint64_t peak, p99; /* requests of one asker in one window; p99 of the windows with any */
    uint64_t busy;      /* such windows: of each asker by itself */
    uint64_t watched;   /* windows */
    uint64_t bound, bound_of, bound_days, bound_days_of;
};

/* How many series there are, whatever stands in memory that others can write. */
static inline uint32_t sl_evidence_count(const struct sl_evidence *e)
{
    return SL_MIN(e->n, (uint32_t)SL_EVIDENCE_SERIES);
}
/* Cut where it is too long, and it need not end by a NUL: others write here. */
static inline struct sl_slice sl_evidence_name(const struct sl_evidence_series *s)
{
    return sl_slice(s->name, strnlen(s->name, SL_EVIDENCE_NAME - 1));
}
/* Bytes of it that say something. */
static inline size_t sl_evidence_bytes(const struct sl_evidence *e)
{
    return offsetof(struct sl_evidence, series) + sl_evidence_count(e) * sizeof(e->series[0]);
}
void sl_evidence_copy(struct sl_evidence *to, const struct sl_evidence *from);
/* The index of a new series, or -1: none is left. */
int sl_evidence_new(struct sl_evidence *e, enum sl_evidence_kind kind, const char *name);
/* Takes a series out; the last one comes to its place. */
void sl_evidence_remove(struct sl_evidence *e, uint32_t index);
/* So many requests of one asker, in a window that goes on; in one that has ended whole. */
void sl_evidence_peak(struct sl_evidence *e, int series, unsigned window, uint32_t requests);
void sl_evidence_add(struct sl_evidence *e, int series, unsigned window, uint32_t requests);
/* The limit's window refused, in a window that has ended; a day, in which it did. */
void sl_evidence_bound(struct sl_evidence *e, int series, unsigned window, bool day);
/* A window has ended that was watched whole. */
void sl_evidence_close(struct sl_evidence *e, unsigned window);
/* A period ends where it has lasted long enough, and the first begins. */
void sl_evidence_turn(struct sl_evidence *e, uint64_t wall_s);
/* The limit in force: what an earlier one refused says nothing of it. */
void sl_evidence_limit(struct sl_evidence *e, int series, unsigned window, uint64_t limit);
void sl_evidence_sum(const struct sl_evidence *e, uint32_t series, unsigned window,
                     struct sl_evidence_sum *out);

#endif
