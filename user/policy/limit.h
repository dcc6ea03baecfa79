/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits over the shared bucket table (GCRA, sluice/abi.h). A bucket is keyed by what is counted and the
 * limit's name and window, never by worker or reload. All windows of a request are looked at together, none
 * is debited when one refuses.
 */
#ifndef SL_POLICY_LIMIT_H
#define SL_POLICY_LIMIT_H

#include "base/bucket.h"
#include "base/buf.h"
#include "config/snapshot.h"
#include "http/message.h"

struct sl_limit_set;
/* name: what the buckets are keyed by beside the subject ("tier:partner", "route:orders"). NULL where rl has
 * no window; -ENOMEM as errno. */
int sl_limit_set_new(const struct sl_rate_limit *rl, const char *name,
                     struct sl_limit_set **out) SL_MUST_CHECK;
/* Its buckets are shared with the hosts that have this seed. */
void sl_limit_set_share(struct sl_limit_set *l, uint64_t seed);
void sl_limit_set_free(struct sl_limit_set *l);
const struct sl_rate_limit *sl_limit_set_config(const struct sl_limit_set *l);

/* What is counted: filled by the gateway from the connection and the identity. */
struct sl_limit_subject {
    struct sl_slice consumer; /* n 0: falls back to ip */
    struct sl_ip ip;          /* the client's, IPv6 by /64 */
    uint64_t credential;      /* 0: falls back to ip */
    const struct sl_request *request;
    bool full_refuses; /* what there is no bucket for is refused */
};
/* What is hashed to the key of a bucket; no padding. */
struct sl_limit_key {
    uint64_t name, seconds, by, subject;
};
/* Fills by and subject: what by means for this one, who may have to be counted by his address. */
void sl_limit_subject_key(enum sl_limit_by by, const char *by_header, const struct sl_limit_subject *s,
                          struct sl_limit_key *k);

struct sl_limit_verdict {
    bool admitted;
    bool table_full;                /* no bucket could be had */
    bool shadowed;                  /* a limit in shadow mode would have refused */
    bool cas_exhausted;             /* refused because of contention */
    const struct sl_limit_set *set; /* the one that refused, or the tightest */
    unsigned window;                /* its window */
    uint64_t wait_ns;               /* until the next request would be admitted; 0 when admitted */
    uint64_t remaining[4][4];       /* [set][window], requests */
    uint64_t reset_ns[4][4];        /* until the window's bucket is full again */
};
/* Checks up to 4 sets (NULLs are skipped) as one decision at time now (CLOCK_MONOTONIC ns). Those in shadow
 * mode have no part in it: what the others admit is put to each of them by itself, and only counted. */
void sl_limits_take(struct sl_bucket_table *t, struct sl_limit_set *const *sets, size_t n_sets,
                    const struct sl_limit_subject *subject, uint64_t now, struct sl_limit_verdict *out);
/* What is left for one who is not asking. */
struct sl_limit_usage {
    const struct sl_window *window;
    uint64_t remaining;        /* requests */
    uint64_t reset_ns;         /* until all of it is there again */
    uint64_t admitted, denied; /* since its bucket was taken */
    bool seen;                 /* it has a bucket */
};
/* Per window of the set; how many. Debits nothing and takes no bucket. */
size_t sl_limit_usage(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                      const struct sl_limit_subject *subject, uint64_t now, struct sl_limit_usage out[4]);
/* Fills its buckets again: how many were not full, their keys in keys. */
unsigned sl_limit_reset(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                        const struct sl_limit_subject *subject, uint64_t now, uint64_t keys[4]);
/* Adds RateLimit, RateLimit-Policy and/or X-RateLimit-* and, when refused, Retry-After (whole seconds,
 * rounded up) as the sets' policies want. 0 or -ENOMEM. */
int sl_limits_headers(struct sl_limit_set *const *sets, size_t n_sets, const struct sl_limit_verdict *v,
                      struct sl_headers *headers, struct sl_arena *a);

#endif
