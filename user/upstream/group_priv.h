/* SPDX-License-Identifier: Apache-2.0 */
/* A group and its members, for the files that choose among them. */
#ifndef SL_UPSTREAM_GROUP_PRIV_H
#define SL_UPSTREAM_GROUP_PRIV_H

#include "upstream/pool_priv.h"

struct sl_member {
    struct sl_pool *pool;
    int64_t weight;
    int64_t effective; /* by which it gets requests now; 0: it gets none */
    int64_t current;   /* of the smooth round robin */
    uint64_t upto;     /* sum of effective up to and with this one */
};
struct sl_named_seen {                 /* a target by DNS, and its answer as the members are of it */
    const struct sl_shared_name *name; /* NULL: the table had no room for it */
    uint32_t seq;
};
struct sl_breaker_half {
    uint64_t since;
    uint32_t requests, errors;
};
struct sl_group {
    struct sl_upstreams *all;
    const struct sl_upstream *cfg;
    unsigned refs; /* its owner, and each connection that counts as pending */
    uint32_t pending;
    struct sl_upstream_counters *counters;
    uint16_t *maglev; /* [n_maglev] indices of members; NULL unless it balances by hash */
    uint32_t n_maglev;
    uint64_t seen, look_at;             /* changes of health seen; when to look again in any case */
    bool panic, drained;                /* all are used, though not fit; all are drained */
    size_t usable;                      /* members with effective > 0 */
    struct sl_shared_upstream *breaker; /* NULL: none */
    struct sl_breaker_half halves[2];   /* now, and before */
    int64_t *fitness;                   /* [cap], of sl_health_refresh alone */
    struct sl_named_seen *named;        /* [cfg->n_targets]; NULL: no target is by DNS */
    size_t n, cap;
    struct sl_member members[];
};

/* ---- balance.c */
/* Sums weights and, where the group balances by hash, fills its table. Once all members are there. 0 or
 * -ENOMEM. */
int sl_balance_init(struct sl_group *g) SL_MUST_CHECK;
/* The table of a group that balances by hash, of its members as they are. 0 or -ENOMEM: then there is none.
 */
int sl_balance_table(struct sl_group *g) SL_MUST_CHECK;
/* By the policy's balance among those that are usable; never the target that failed, unless it is the only
 * one. NULL: none is usable. */
struct sl_pool *sl_balance_pick(struct sl_group *g, const struct sl_attempts *a);

/* ---- health.c */
void sl_health_refresh(struct sl_group *g);
static inline bool sl_health_stale(const struct sl_group *g)
{
    return __atomic_load_n(&g->all->health->changes, __ATOMIC_ACQUIRE) != g->seen ||
           g->all->loop->now >= g->look_at;
}

/* ---- named.c */
/* How many members the upstream may have. */
size_t sl_named_cap(const struct sl_upstream *cfg);
/* Members of the targets, those by DNS as they stand now: one for each address, which shares the target's
 * weight. Pools of those that stay are kept. 0, or -errno as sl_pool_get has it, with the members as before;
 * -EAGAIN: an answer is just being written. */
int sl_named_members(struct sl_group *g) SL_MUST_CHECK;
/* Makes them anew where an answer has changed. */
void sl_named_refresh(struct sl_group *g);

/* ---- breaker.c */
/* 0, with a->probe set where this is the probe; SL_GROUP_OPEN with a->retry_after. */
int sl_breaker_admit(struct sl_group *g, struct sl_attempts *a);
void sl_breaker_report(struct sl_group *g, struct sl_attempts *a, bool failed);

/* ---- maglev.c */
/* 0 or -ENOMEM; *out and *n are the table (free it). Members must have text and weight. */
int sl_maglev_new(const struct sl_member *m, size_t n_members, uint16_t **out, uint32_t *n) SL_MUST_CHECK;

#endif
