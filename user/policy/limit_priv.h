/* SPDX-License-Identifier: Apache-2.0 */
/* A limit compiled: what a window costs in ns, and the texts of its headers. */
#ifndef SL_POLICY_LIMIT_PRIV_H
#define SL_POLICY_LIMIT_PRIV_H

#include "policy/limit.h"

#define SL_SETS    4
#define SL_WINDOWS 4

struct sl_limit_window {
    uint64_t interval_ns;  /* a request costs this much; rounded up, so that no window admits more */
    uint64_t tolerance_ns; /* capacity x interval */
    uint64_t capacity;
    uint64_t slack_ns;      /* how far a tat may lie beyond what this limit can have written */
    unsigned kind;          /* 0 second, 1 minute, 2 hour, 3 day */
    struct sl_slice policy; /* "second";q=500;w=1 */
    struct sl_slice limit;  /* 500 */
    struct sl_slice item;   /* "second";r= */
};
struct sl_limit_set {
    const struct sl_rate_limit *config;
    uint64_t name; /* hash of it; without a seed, since buckets outlive processes */
    uint64_t seed; /* where it is shared: of its keys */
    struct sl_limit_window windows[SL_WINDOWS];
    size_t n;
    struct sl_slice policies; /* RateLimit-Policy of this set alone */
    struct sl_arena arena;
};

/* The key of a window's bucket. */
uint64_t sl_limit_bucket_key(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                             const struct sl_limit_subject *subject, size_t window);

#endif
