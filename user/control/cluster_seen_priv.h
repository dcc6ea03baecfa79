/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in the stream of penalties, and whose it is: for the operator's eyes, and so that nobody tells
 * again what all know. */
#ifndef SL_CONTROL_CLUSTER_SEEN_PRIV_H
#define SL_CONTROL_CLUSTER_SEEN_PRIV_H

#include "control/cluster_event_priv.h"

#define SL_SEEN_ROWS 1024
#define SL_SEEN_WAYS 8 /* a full row forgets what ends first: it is shown as this host's own */

struct sl_seen {
    uint64_t deadline_ns; /* 0: free */
    uint32_t kind;        /* SL_SHARED_PENALTY, SL_SHARED_DENY */
    bool mine;
    struct sl_cidr prefix;
    char host[SL_CLUSTER_HOST_LEN];
};
struct sl_seen_table {
    uint64_t seed;
    struct sl_seen rows[SL_SEEN_ROWS][SL_SEEN_WAYS];
};

/* Its event with the instant of its end. */
void sl_seen_put(struct sl_seen_table *t, const struct sl_cluster_event *e, uint64_t deadline_ns, bool mine);
/* NULL: nothing is known of it, or it is over. */
const struct sl_seen *sl_seen_find(const struct sl_seen_table *t, uint32_t kind, const struct sl_cidr *c,
                                   uint64_t now);
/* All within the prefix. */
void sl_seen_revoke(struct sl_seen_table *t, const struct sl_cidr *c);
/* This host's own: the stream has lost them. */
void sl_seen_forget_mine(struct sl_seen_table *t);

#endif
