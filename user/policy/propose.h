/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a limit might be, by what was seen: arithmetic over the evidence of one window, without a policy.
 *
 * Invariant: nothing is proposed of too little. A limit goes up only where it refused often or daily, and
 * down only where it never refused and lies far above what anybody asked. One in shadow, which refuses
 * nothing, goes up where somebody asked for more.
 */
#ifndef SL_POLICY_PROPOSE_H
#define SL_POLICY_PROPOSE_H

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

#define SL_PROPOSE_WINDOWS 4 /* second, minute, hour, day */

struct sl_propose_evidence {
    uint64_t limit;           /* in force; 0: none */
    uint64_t peak, p99;       /* requests of one asker in one window, also refused ones */
    uint64_t busy;            /* windows in which somebody asked */
    uint64_t watched;         /* windows */
    uint64_t bound, bound_of; /* windows in which the limit refused, of so many */
    uint64_t bound_days, bound_days_of;
    bool shadow; /* the limit refuses nothing: what was asked alone tells of it */
};
struct sl_propose_rules {
    double headroom;
    uint64_t least[SL_PROPOSE_WINDOWS]; /* windows to be watched */
};
enum sl_proposal_kind {
    SL_PROPOSAL_NONE, /* too little was seen */
    SL_PROPOSAL_STAYS,
    SL_PROPOSAL_NEW,
    SL_PROPOSAL_LOWER,
    SL_PROPOSAL_HIGHER
};
struct sl_proposal {
    enum sl_proposal_kind kind;
    uint64_t limit; /* what is proposed, or stays */
    bool daily;     /* the limit refused on every day that was watched, two at least */
};

extern const struct sl_propose_rules sl_propose_defaults;
struct sl_proposal sl_propose(const struct sl_propose_rules *r, unsigned window,
                              const struct sl_propose_evidence *e);
/* The next figure that a person would write, at least v: 1 to 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, …
 */
uint64_t sl_propose_figure(double v);
/* The last of them that is at most v; 0 below 1. */
uint64_t sl_propose_figure_below(double v);

#endif
