/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's maps shall hold for a policy: computed from the snapshot and the host's addresses,
 * without touching the kernel, then compared with what is there. Invariant: a kernel ceiling is never below
 * what the proxy admits.
 */
#ifndef SL_KERNEL_PLAN_PRIV_H
#define SL_KERNEL_PLAN_PRIV_H

#include "base/bucket.h"
#include "config/snapshot.h"
#include "kernel/kernel.h"
#include "kernel/table_priv.h"

enum sl_plan_map {
    SL_PLAN_LISTENERS,
    SL_PLAN_LISTS4,
    SL_PLAN_LISTS6,
    SL_PLAN_CONSUMERS4,
    SL_PLAN_CONSUMERS6,
    SL_PLAN_MAPS
};

/* An operator's list entry, beside the policy's. */
struct sl_manual {
    struct sl_cidr prefix;
    struct sl_list_value value; /* generation 0 */
};
struct sl_manuals {
    struct sl_manual *v;
    size_t n, cap;
};

struct sl_addresses { /* of the host */
    struct sl_ip *v;
    size_t n, cap;
};
int sl_addresses_add(struct sl_addresses *a, const struct sl_ip *ip) SL_MUST_CHECK;
void sl_addresses_free(struct sl_addresses *a);

struct sl_plan_bind { /* kept, to expand wildcards again when the host's addresses change */
    struct sl_ip ip;
    uint16_t port_be;
    bool wildcard;
    uint32_t listener;
};

enum sl_cookies_state { SL_COOKIES_OFF, SL_COOKIES_IDLE, SL_COOKIES_MISSING, SL_COOKIES_ON };
struct sl_cookies {
    enum sl_syn_cookies policy;
    enum sl_cookies_state state;
    bool bucket;              /* a listener's new connections are limited */
    char why[SL_COOKIES_WHY]; /* what is missing */
};

struct sl_plan {
    struct sl_table maps[SL_PLAN_MAPS];
    struct sl_kernel_config config; /* flags but SL_HAVE_PENALTIES */
    struct sl_cookies cookies;
    struct sl_sampling sampling;
    struct sl_plan_bind *binds;
    size_t n_binds;
    bool unmetered;              /* no consumer is named */
    struct sl_cidrs allow, deny; /* copies: the lists are rebuilt when an operator's entry goes */
    uint32_t *pinned;            /* slots of the bucket table that the kernel knows by number, ascending */
    size_t n_pinned;
};

/* 0 with *out, or -errno (logged). Consumers' buckets are taken from the table. */
int sl_plan_new(const struct sl_snapshot *s, const struct sl_addresses *host,
                const struct sl_manuals *manuals, struct sl_bucket_table *buckets, uint32_t generation,
                struct sl_plan **out) SL_MUST_CHECK;
void sl_plan_free(struct sl_plan *p);
static inline void sl_plan_freep(struct sl_plan **p)
{
    sl_plan_free(*p);
}
/* Build these maps of the plan anew; on failure they stay as they were. */
int sl_plan_listeners(struct sl_plan *p, const struct sl_addresses *host) SL_MUST_CHECK;
int sl_plan_lists(struct sl_plan *p, const struct sl_manuals *manuals) SL_MUST_CHECK;
/* LPM keys of a prefix; which map it belongs in is said by its family. */
enum sl_plan_map sl_plan_lpm(const struct sl_cidr *c, enum sl_plan_map map4, struct sl_lpm6_key *key);

/* A rate with `burst` seconds of it as capacity, at least one unit. count 0 gives interval 0: no limit. */
struct sl_limit sl_plan_rate(const struct sl_rate *rate, uint32_t burst);
/* The same in bytes: cost is (bytes * mult) >> shift; at least a packet of 64 KiB is admitted at once. */
struct sl_limit sl_plan_byte_rate(const struct sl_rate *rate, uint32_t burst);
/* headroom x the shortest window. */
struct sl_limit sl_plan_ceiling(const struct sl_rate_limit *rl, uint32_t headroom);

#endif
