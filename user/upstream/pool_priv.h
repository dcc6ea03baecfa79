/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_UPSTREAM_POOL_PRIV_H
#define SL_UPSTREAM_POOL_PRIV_H

#include "net/tls.h"
#include "upstream/upstream.h"

struct sl_pool {
    struct sl_list node; /* in sl_upstreams.pools */
    struct sl_upstreams *all;
    unsigned refs;   /* groups and connections */
    unsigned groups; /* 0: no snapshot names it any more */
    uint64_t key;
    char *name; /* the upstream's */
    char *text; /* the target as written; one by DNS: the address */
    uint64_t warned_ns;
    struct sl_sockaddr address;
    char *sni;
    SSL_CTX *tls; /* NULL: plain */
    struct sl_tls_session session;
    uint32_t max_idle;
    uint64_t idle_timeout, max_requests;
    bool h2;                 /* it is spoken there */
    struct sl_list carriers; /* of HTTP/2, that take streams */
    struct sl_list idle;     /* most recently used first */
    uint32_t n_idle;
    uint32_t active; /* connections with an owner: what this worker has on its way there */
    struct sl_upstream_counters *counters;
    struct sl_target_counters *target;
    struct sl_shared_target *shared;      /* NULL: the table has no room for it */
    const struct sl_shared_target *whole; /* of an address by DNS: its target's, which may be drained */
};

/* The pool of that target, new or kept from before, with one group reference. */
int sl_pool_get(struct sl_upstreams *u, const struct sl_upstream *cfg, const struct sl_target *t,
                struct sl_pool **out);
void sl_pool_put_group(struct sl_pool *p);
void sl_pool_unref(struct sl_pool *p);
/* The most recently used idle connection, now BUSY, or NULL. */
struct sl_upconn *sl_pool_take(struct sl_pool *p);
/* Begins a new connection: 0 or -errno. pending NULL: a carrier. */
int sl_upconn_new(struct sl_pool *p, struct sl_group *pending, uint64_t timeout_ns,
                  const struct sl_upconn_ops *ops, void *owner, struct sl_upconn **out);
/* The one place where a connection's state moves; asserts the legal edges. */
void sl_upconn_set_state(struct sl_upconn *c, enum sl_upconn_state to);
bool sl_upconn_edge(enum sl_upconn_state from, enum sl_upconn_state to);
/* Tells the operator, at most every few seconds a target. why: text, or NULL for that of error. */
void sl_pool_warn(struct sl_pool *p, int error, const char *why);
void sl_group_pending_done(struct sl_group *g);
/* c is of its pool, and has an owner from here on. */
void sl_upconn_counted(struct sl_upconn *c);
/* h2.c: no snapshot names the pool any more. */
void sl_uph2_pool_ended(struct sl_pool *p);

#endif
