/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluicectl suggest` makes of the daemon's evidence, and how it prints it. */
#ifndef SL_CTL_SUGGEST_PRIV_H
#define SL_CTL_SUGGEST_PRIV_H

#include "ctl/ctl_priv.h"
#include "policy/propose.h"

/* One limit: as it is, or as it might be where there is none. */
struct sl_suggest_limit {
    const json_t *j; /* as the daemon tells of it */
    struct sl_propose_evidence evidence[SL_PROPOSE_WINDOWS];
    struct sl_proposal proposal[SL_PROPOSE_WINDOWS];
    bool shown[SL_PROPOSE_WINDOWS];  /* that is said of: a window of the limit, or what is new */
    bool capped[SL_PROPOSE_WINDOWS]; /* by the kernel's rate */
    const char *blind;               /* why nothing can be said; NULL: it can */
};

/* suggest.c: what follows from what the daemon tells of a limit. per_second: the kernel's rate; 0: none. */
void sl_suggest_judge(const json_t *j, const struct sl_propose_rules *rules, double per_second,
                      struct sl_suggest_limit *l);
extern const char *const sl_suggest_windows[SL_PROPOSE_WINDOWS];
static inline bool sl_suggest_changes(const struct sl_suggest_limit *l, unsigned window)
{
    return l->shown[window] && !l->blind && l->proposal[window].kind >= SL_PROPOSAL_NEW;
}

/* suggest_text.c: the patch in YAML, the evidence beside each line. 0 or -ENOMEM. */
int sl_suggest_yaml(const json_t *answer, const struct sl_suggest_limit *v, size_t n, double headroom,
                    struct sl_buf *out);

#endif
