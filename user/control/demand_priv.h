/* SPDX-License-Identifier: Apache-2.0 */
/* What the controller knows of who asks: see demand.c. */
#ifndef SL_CONTROL_DEMAND_PRIV_H
#define SL_CONTROL_DEMAND_PRIV_H

#include "control/control_priv.h"

#define SL_ASKERS      16384 /* rows: pairs of a route and an asker, and askers */
#define SL_ASKERS_WAYS 8

/* Who asked how much in the windows that are open; of one route or of all. */
struct sl_asker_row {
    uint64_t key; /* sl_demand_key; 0: free */
    uint32_t touched_s;
    uint32_t policy;                   /* what series are of */
    uint32_t asked[SL_DEMAND_WINDOWS]; /* requests */
    /* of a pair: the route's; of an asker: the consumer's, that of the tier whose limit holds, all routes'.
     * -1: none */
    int16_t series[3];
};

struct sl_demand {
    struct sl_control *control;
    struct sl_evidence *evidence; /* in shared memory */
    ev_timer tick;
    struct sl_demand_row *last;             /* [workers * SL_DEMAND_ROWS]: as they were read last */
    struct sl_map names[SL_EVIDENCE_KINDS]; /* index of the series + 1 */
    uint32_t policy;                        /* counts up with each one in force */
    bool begun;                             /* last is what was there before we came */
    uint64_t read_ns;
    uint64_t open[SL_DEMAND_WINDOWS];    /* number of the window that is open; */
    bool whole[SL_DEMAND_WINDOWS];       /* watched since it began */
    uint64_t forgotten;                  /* requests that no row was left for */
    uint8_t refused[SL_EVIDENCE_SERIES]; /* bit per window: in the one that is open; from bit 4 on: today */
    struct sl_asker_row askers[SL_ASKERS];
};

/* What came since the last time, at that wall clock and that of the loop. */
void sl_demand_read_all(struct sl_demand *d, uint64_t wall_ns, uint64_t now_ns);
/* The index of a series, or -1. */
int sl_demand_series(const struct sl_demand *d, enum sl_evidence_kind kind, const char *name);

#endif
