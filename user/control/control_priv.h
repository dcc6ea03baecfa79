/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's state, and what its files do for one another. */
#ifndef SL_CONTROL_CONTROL_PRIV_H
#define SL_CONTROL_CONTROL_PRIV_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "config/config.h"
#include "control/control.h"
#include "http/h1.h"
#include "net/ipc.h"
#include "net/loop.h"
#include "net/tls.h"
#include <ev.h>
#include <jansson.h>

#define SL_ADMIN_CLIENTS  64
#define SL_ADMIN_RESERVED 16 /* of them, for the unix socket: TCP cannot lock the operator out */
#define SL_ADMIN_BODY     65536
#define SL_ADMIN_TIMEOUT  10.0 /* s for one request; the next may take as long again */
#define SL_ADMIN_ASKED    65.0 /* s that a request may wait for the supervisor: an upgrade has 60 */

struct sl_control;
struct sl_checks;
struct sl_names;
struct sl_cluster_link;
struct sl_demand;
struct sl_samples;
struct sl_jwks_all;
struct sl_errands;

/* A listening admin socket. */
struct sl_admin_bind {
    struct sl_control *control;
    ev_io io;
    bool local; /* a unix socket: all of the API; else only metrics and health, but for who has a certificate
                 */
};

/* One client of the admin API: a request at a time. */
struct sl_admin_client {
    struct sl_list node;
    struct sl_control *control;
    int fd;
    SSL *ssl; /* NULL: plain */
    bool shaken;
    bool local, may_change; /* the peer is root, or who started us, or client_ca vouches for it */
    ev_io in, out;
    ev_timer deadline;
    struct sl_buf rx, tx;
    size_t scanned;
    struct sl_arena arena;
    struct sl_request req;
    size_t head_len, body_len;
    bool has_head, close;
    uint64_t asked; /* id of the request that the supervisor has; 0: none */
    void (*answer)(struct sl_admin_client *, const struct sl_ipc_result *, struct sl_slice text);
};

struct sl_control {
    const struct sl_control_args *args;
    struct sl_loop turn; /* whose ev is */
    struct ev_loop *loop;
    ev_io ipc;
    ev_timer drain;
    uint64_t drain_deadline;
    bool lingers; /* while draining: only errands are left */
    struct sl_list clients;
    size_t n_clients;
    struct sl_admin_bind *binds;
    size_t n_binds;
    SSL_CTX *tls;                 /* of admin sockets over TCP; NULL: plain */
    uint64_t tls_said_ns;         /* when a handshake that failed was last said */
    bool held;                    /* nobody is accepted: the controller before us still does */
    struct sl_control_next *next; /* NULL: no policy is being built */
    struct sl_bundle *bundle;     /* of the policy in force: the slots' names */
    struct sl_snapshot *snapshot;
    json_t *state;                   /* what the supervisor says; NULL: nothing yet */
    struct sl_samples *samples;      /* NULL: the guard is off, or its ring cannot be read */
    struct sl_checks *checks;        /* NULL: none yet */
    struct sl_names *names;          /* NULL: no target is by DNS */
    struct sl_jwks_all *jwks;        /* NULL: none yet */
    struct sl_cluster_link *cluster; /* NULL: no other hosts */
    struct sl_demand *demand;        /* NULL: no policy yet, or no memory for it */
    struct sl_errands *errands;      /* NULL: none yet */
    uint64_t checks_total[2];        /* passed, failed */
    uint64_t version, next_id;
    uint64_t started_ns;
    int exit_code;
};

/* policy.c: builds what the message brings, tells the supervisor (SL_IPC_READY), and reads no further message
 * until then. fds are taken over. */
void sl_control_take_policy(struct sl_control *c, const struct sl_ipc_snapshot *m, const int *fds, size_t n);
/* Waits for what is being built, and drops it. */
void sl_control_stop_policy(struct sl_control *c);

/* admin.c: sockets and HTTP of the admin API */
int sl_admin_listen(struct sl_control *c, const int *fds, size_t n);
/* Begins to accept, where it was held back. */
void sl_admin_go(struct sl_control *c);
/* Ends the connections that speak TLS, once what they asked is answered: who vouches for them may have
 * changed. */
void sl_admin_retire(struct sl_control *c);
/* Takes no more clients. */
void sl_admin_stop(struct sl_control *c);
void sl_admin_close(struct sl_control *c);
/* admin_tls.c: the context of a snapshot's admin.tls (NULL without it). 0 or -errno, the reason in the log.
 */
int sl_admin_tls_new(const struct sl_snapshot *s, SSL_CTX **out);
/* Makes a connection of TCP speak TLS, where it is to. False: no memory. */
bool sl_admin_tls_begin(struct sl_admin_client *a);
/* 1: through; 0: not yet (watchers are set); -1: it is to be dropped. */
int sl_admin_tls_shake(struct sl_admin_client *a);
/* As read and send on a socket: -1 with errno, EAGAIN among them. */
ssize_t sl_admin_read(struct sl_admin_client *a, void *p, size_t n);
ssize_t sl_admin_write(struct sl_admin_client *a, const void *p, size_t n);
/* Whether bytes are there that no event tells of. */
bool sl_admin_has_more(const struct sl_admin_client *a);
/* Answers, and reads the next request once all is sent. body is copied. */
void sl_admin_reply(struct sl_admin_client *a, unsigned status, const char *type, struct sl_slice body);
/* Takes j. */
void sl_admin_json(struct sl_admin_client *a, unsigned status, json_t *j);
void sl_admin_error(struct sl_admin_client *a, unsigned status, const char *text);
/* The client that waits for that answer, or NULL. */
struct sl_admin_client *sl_admin_waiting(struct sl_control *c, uint64_t id);

/* api.c: what the paths do */
void sl_api_serve(struct sl_admin_client *a);

/* totals.c: counters summed over the workers */
struct sl_totals {
    struct sl_listener_counters listeners[SL_COUNTER_LISTENERS];
    struct sl_tier_counters tiers[SL_COUNTER_TIERS];
    struct sl_upstream_counters upstreams[SL_COUNTER_UPSTREAMS];
};
/* Adds a row of counters to another; bytes is a multiple of 8. */
void sl_totals_add(void *sum, const void *part, size_t bytes);
void sl_totals_sum(const struct sl_counters *c, struct sl_totals *out);
void sl_totals_route(const struct sl_counters *c, uint32_t slot, struct sl_route_counters *out);

/* upstreams.c: how targets do, and taking one out of service */
json_t *sl_upstreams_json(const struct sl_control *c);
struct sl_metrics;
void sl_upstreams_metrics(const struct sl_control *c, struct sl_metrics *m);
/* How many targets have that name ("ADDRESS" or "UPSTREAM/ADDRESS"), now drained or no longer; -ENOSPC: one
 * stands past the table's end. *active: exchanges that are still on their way to them. */
int sl_control_drain(struct sl_control *c, const char *name, bool drained, uint64_t *active);

/* checks.c: active health checks, of c->snapshot from now on. 0 or -errno: some are not there. */
int sl_checks_start(struct sl_control *c);
void sl_checks_stop(struct sl_control *c);

/* names.c: targets by DNS, of c->snapshot from now on. 0 or -errno: not all are resolved. */
int sl_names_start(struct sl_control *c);
void sl_names_stop(struct sl_control *c);
void sl_names_metrics(const struct sl_control *c, struct sl_metrics *m);

/* jwks.c: keys of token providers that are fetched, of c->snapshot from now on. 0 or -errno: not all are. */
int sl_jwks_start(struct sl_control *c);
void sl_jwks_stop(struct sl_control *c);
/* A worker has met a key of that source that it does not know; none: it knows none at all. */
void sl_jwks_wanted(struct sl_control *c, uint64_t source, bool none);
/* What the controller before had of a source; fd is borrowed. */
void sl_jwks_take(struct sl_control *c, const struct sl_ipc_keys *m, int fd);
struct sl_jwks_state {
    const char *provider, *url;
    const char *error; /* of the last fetch; "": it succeeded */
    size_t keys;       /* that tokens are verified by now */
    double age_s;      /* since the last success; negative: there was none */
    uint64_t fetched, failed;
};
typedef void (*sl_jwks_fn)(void *ctx, const struct sl_jwks_state *s);
void sl_jwks_each(const struct sl_control *c, sl_jwks_fn f, void *ctx);

/* errand.c: what workers have the controller ask of servers. The pair's end replaces that worker's former
 * one; fd is borrowed. */
void sl_errands_connect(struct sl_control *c, uint32_t worker, int fd);
/* The servers of c->snapshot from now on. 0 or -errno: not all can be asked. */
int sl_errands_start(struct sl_control *c);
void sl_errands_stop(struct sl_control *c);
/* Nobody is there who could still ask. */
bool sl_errands_idle(const struct sl_control *c);
struct sl_errand_state {
    const char *kind, *provider, *url;
    const char *error; /* of the last question; "": it was answered */
    uint64_t held_ns;  /* it is left alone for so long; 0: it is not */
    unsigned running, queued;
    unsigned connections;  /* to it */
    uint64_t connects;     /* that were begun */
    const uint64_t *total; /* by enum sl_errand_status */
};
typedef void (*sl_errand_state_fn)(void *ctx, const struct sl_errand_state *s);
void sl_errands_each(const struct sl_control *c, sl_errand_state_fn f, void *ctx);

/* cluster.c: limits shared with other hosts, as c->snapshot says from now on. 0 or -ENOMEM. */
int sl_cluster_start(struct sl_control *c);
void sl_cluster_stop(struct sl_control *c);
void sl_metrics_limits(const struct sl_control *c, struct sl_metrics *m); /* metrics_limits.c */
/* NULL: the policy has no cluster. */
json_t *sl_cluster_json(const struct sl_control *c);

/* cluster_penalties.c: what this host put in or took back, for the others; and the name of the host that a
 * penalty or deny (enum sl_shared_kind) came from, "" for this one's own. */
void sl_cluster_share(struct sl_control *c, const struct sl_ipc_shared *m);
const char *sl_cluster_origin(const struct sl_control *c, uint32_t kind, const struct sl_cidr *prefix);
/* cluster_heard.c: false: it answers nothing that was asked there. */
bool sl_cluster_result(struct sl_control *c, const struct sl_ipc_result *m);

/* cluster_buckets.c: the bucket of that key is full again, in Redis too. */
void sl_cluster_forget_bucket(struct sl_control *c, uint64_t key);

/* consumers.c: what is left of their limits, of one (also of a name that the policy has not) or of all; NULL:
 * memory is out. */
json_t *sl_consumers_json(struct sl_control *c, const char *who);
/* How many buckets are full again; -E2BIG: too many consumers to do them all, -ENOMEM. */
int sl_consumers_reset(struct sl_control *c, const char *who);

/* demand.c: who asks how much, under c->snapshot from now on. 0 or -ENOMEM. */
int sl_demand_start(struct sl_control *c);
void sl_demand_stop(struct sl_control *c);
/* suggest.c: what limits may be proposed of; c->demand must be there. NULL: memory is out. */
json_t *sl_suggest_json(const struct sl_control *c);

/* samples.c: sampled drops */
void sl_control_samples_start(struct sl_control *c);
void sl_control_samples_stop(struct sl_control *c);
/* Those after that number, oldest first; 0: all that are kept, SL_SAMPLES_NOW: only where they stand. */
#define SL_SAMPLES_NOW UINT64_MAX
json_t *sl_samples_json(const struct sl_control *c, uint64_t after);
/* The number after which the last n begin. */
uint64_t sl_samples_before_last(const struct sl_control *c, uint64_t n);
json_t *sl_top_sources_json(const struct sl_control *c);

/* metrics_auth.c: why tokens were refused, and how fetched keys are */
void sl_metrics_auth(const struct sl_control *c, struct sl_metrics *m);

/* signers.c: keys of the gateway's own; /jwks?signer=NAME */
json_t *sl_signers_json(const struct sl_control *c);
void sl_signers_serve(struct sl_admin_client *a);

/* metrics_tokens.c: tokens of the gateway's own */
void sl_metrics_tokens(const struct sl_control *c, struct sl_metrics *m);

/* top.c, metrics.c, status.c */
json_t *sl_top_json(const struct sl_control *c);
json_t *sl_penalties_json(const struct sl_control *c);
json_t *sl_status_json(const struct sl_control *c);
int sl_metrics_print(const struct sl_control *c, struct sl_buf *out);
/* control.c: an asker is gone; perhaps nothing is left to do. */
void sl_control_maybe_done(struct sl_control *c);
/* Do all workers serve the version in force? */
bool sl_control_ready(const struct sl_control *c);

#endif
