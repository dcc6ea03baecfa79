/* SPDX-License-Identifier: Apache-2.0 */
/* A group and its members, for the files that choose among them. */
#ifndef SL_UPSTREAM_GROUP_PRIV_H
#define SL_UPSTREAM_GROUP_PRIV_H

#include "upstream/pool_priv.h"

struct sl_member {
    struct sl_pool *pool;
    int64_t weight, current; /* current: of the smooth round robin */
    uint64_t upto;           /* sum of the weights up to and with this one */
};
struct sl_group {
    struct sl_upstreams *all;
    const struct sl_upstream *cfg;
    unsigned refs; /* its owner, and each connection that counts as pending */
    uint32_t pending;
    struct sl_upstream_counters *counters;
    uint16_t *maglev; /* [n_maglev] indices of members; NULL unless it balances by hash */
    uint32_t n_maglev;
    size_t n;
    struct sl_member members[];
};

/* ---- balance.c */
/* Sums weights and, where the group balances by hash, fills its table. Once all members are there. 0 or
 * -ENOMEM. */
int sl_balance_init(struct sl_group *g) SL_MUST_CHECK;
/* By the policy's balance; never the target that failed, unless it is the only one. */
struct sl_pool *sl_balance_pick(struct sl_group *g, const struct sl_attempts *a);

/* ---- maglev.c */
/* 0 or -ENOMEM; *out and *n are the table (free it). Members must have text and weight. */
int sl_maglev_new(const struct sl_member *m, size_t n_members, uint16_t **out, uint32_t *n) SL_MUST_CHECK;

#endif
