/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's own state, and a snapshot made ready for it. */
#ifndef SL_GATEWAY_WORKER_PRIV_H
#define SL_GATEWAY_WORKER_PRIV_H

#include "gateway/gateway.h"
#include "http/h2.h"
#include "net/background.h"
#include "net/bufpool.h"
#include "net/loop.h"
#include "net/tls.h"
#include "policy/policy.h"
#include "telemetry/access_log.h"
#include "upstream/upstream.h"

#include <pthread.h>

struct sl_exchange;
struct sl_conn;
struct sl_uptokens;

/* What a stage decides. */
enum sl_stage_result {
    SL_STAGE_NEXT,    /* on to the next stage */
    SL_STAGE_RESPOND, /* the stage has answered: the chain ends */
    SL_STAGE_WAIT,    /* goes on later, by sl_exchange_continue or by the upstream's events */
};
typedef enum sl_stage_result (*sl_stage)(struct sl_exchange *);
#define SL_MAX_STAGES 12
/* Stages in their order, ended by NULL. Most routes have the same, and share it. */
struct sl_gw_chain {
    struct sl_gw_chain *next;
    sl_stage stages[SL_MAX_STAGES];
};

/* A share of a route's requests: smooth round robin, as among targets. */
struct sl_gw_share {
    struct sl_group *group;
    int64_t weight, current;
};

/*
 * A route compiled. What most requests read of it stands here, copied where it is another's, on two lines of
 * the cache that come as one: where there are many routes none of them is in the cache, and to wait for a
 * line takes as long as some hundred instructions.
 */
struct sl_gw_route {
    _Alignas(2 * SL_CACHE_LINE) const sl_stage *chain; /* that its exchanges run through */
    const struct sl_route_policy *policy;
    struct sl_route_counters *counters;
    struct sl_limit_set *limits;          /* of policy */
    const struct sl_in_flight *in_flight; /* of policy->route; NULL: no limit */
    const struct sl_transform *response;  /* of policy */
    struct sl_group *group;               /* NULL: no upstream, or several */
    struct sl_gw_share *split;            /* [n_split] */
    size_t n_split;
    uint32_t *retry_credit; /* hundredths of retries; NULL: the route has none */
    struct sl_timeouts timeouts;
    uint64_t request_body;
    uint32_t slot;
};
_Static_assert(sizeof(struct sl_gw_route) == 2 * SL_CACHE_LINE, "a route is two lines of the cache");
/* What a route may retry at once before it has earned more by requests. */
#define SL_RETRY_CREDIT 1000

/*
 * A snapshot as this worker runs it. Counted: the worker holds it while it is the current one, each bind that
 * took its settings from it, and each exchange that began under it.
 */
struct sl_gw_config {
    unsigned refs;
    struct sl_worker *w;
    struct sl_policy *policy; /* owned, with its snapshot */
    const struct sl_snapshot *snapshot;
    struct sl_gw_route *routes; /* [n_routes] */
    size_t n_routes;
    struct sl_gw_chain *chains; /* those that routes have */
    bool upgrades;              /* a route lets connections become something else */
    struct sl_group **groups;   /* [n_upstreams] */
    SSL_CTX **tls;              /* [n_listeners]; NULL: plain */
    size_t n_groups, n_tls;
    struct sl_access_format *log_format; /* NULL: JSON */
    struct sl_slice correlation_header;
    uint16_t https_port; /* where redirect_https sends to */
};

/* One listening socket. Outlives its policy: connections hold it. */
struct sl_bind {
    struct sl_list node;
    struct sl_worker *w;
    unsigned refs; /* the worker's list, and each connection */
    int fd;        /* -1: no longer listening */
    bool gone;     /* its address is in the policy no more: closed, or open until the last call is over */
    unsigned nth;  /* of this worker's sockets of that address */
    ev_io watcher;
    struct sl_sockaddr address;
    struct sl_gw_config *config; /* one reference */
    const struct sl_listener *listener;
    SSL_CTX *tls;   /* of config; NULL: plain */
    uint64_t trust; /* stands for who vouches for its clients, and whether they must be; 0: nobody */
    struct sl_listener_counters *counters;
    uint32_t active;      /* connections */
    uint32_t handshaking; /* of them */
};

/* Exchanges that wait for the same thing. */
struct sl_parking {
    struct sl_list waiting;
    unsigned n;
};

/* Fetched keys of one provider, as they came last. */
struct sl_worker_keys {
    struct sl_list node;
    uint64_t source;
    char *text; /* JWKS; NULL: none */
    size_t n;
    uint64_t deadline;  /* when they are dropped */
    bool asked;         /* the controller owes an answer */
    uint64_t asked_at;  /* 0: never */
    bool asked_for_one; /* there were others */
    struct sl_parking parking;
};

/* What the controller is asked: errand.c. */
struct sl_worker_errands {
    int fd; /* -1: there is no controller */
    ev_io io;
    struct sl_list calls; /* struct sl_errand_call, in the order of their beginning */
    unsigned n;
    uint64_t next_id;
    char *buf; /* of one answer */
};

struct sl_uuid_source {
    size_t used;
    uint8_t bytes[4096];
};

struct sl_worker {
    const struct sl_worker_args *args;
    struct sl_loop loop;
    struct sl_bufpool bufs;
    struct sl_upstreams upstreams;
    struct sl_tls_tickets tickets;
    struct sl_worker_counters *counters;
    struct sl_bucket_table buckets;
    struct sl_access_log *log; /* NULL: none yet */
    bool log_stdout;           /* it goes to standard output */
    struct sl_gw_config *config;
    struct sl_policy_thread *policy_thread; /* NULL: no policy is being built */
    struct sl_worker_pending *pending;      /* what came with that policy */
    struct sl_background freeing;           /* of the policy before */
    bool closing;                           /* no thread is started any more */
    struct sl_list binds, conns, idle;      /* idle: connections in IDLE, the longest idle first */
    struct sl_list unread;                  /* connections that are not read from, or were not (gone.c) */
    size_t n_conns;
    uint64_t descriptors_said; /* the second in which that was said last */
    uint64_t slow_at;          /* when slow clients are looked for again */
    uint64_t look_at;          /* and those that have left */
    struct sl_hasher *hasher;  /* NULL: no password came yet */
    struct sl_list keys;       /* struct sl_worker_keys */
    size_t n_keys;
    struct sl_worker_errands errands;
    struct sl_uptokens *uptokens;        /* NULL: none yet */
    struct sl_exchange *spare_exchanges; /* for reuse, with their arenas */
    size_t n_spare;
    size_t arena_bytes; /* held by exchanges */
    struct sl_h2_mem h2_mem;
    struct sl_list h2_dirty; /* connections that may have something to send at the end of this turn */
    struct sl_deferred h2_send;
    struct sl_uuid_source uuids;
    ev_io ipc;
    struct sl_timer housekeeping;
    bool h2_sending; /* h2_send is deferred */
    bool draining;
    bool patient;        /* while draining: another process accepts, and who is idle may ask once more */
    bool held;           /* nothing is accepted: the process before us still does */
    bool accepts_paused; /* for a tick: no descriptor was left */
    uint64_t drain_deadline;
    int exit_code;
    uint64_t rng;
    struct { /* of handshakes that failed: some lines a second and reason, then only how many */
        uint64_t second;
        unsigned said[SL_TLS_FAILED_COUNT], kept_back;
    } tls_log;
    char date[32]; /* of the second date_s */
    uint64_t date_s;
    uint64_t proxied_s; /* the second that proxied_lines counts in */
    uint32_t proxied_lines;
};

/* config.c: 0 or -errno, reasons in the log. The policy is taken over, also on failure. */
int sl_gw_config_new(struct sl_worker *w, struct sl_policy *policy, struct sl_gw_config **out);
struct sl_gw_config *sl_gw_config_ref(struct sl_gw_config *c);
void sl_gw_config_unref(struct sl_gw_config *c);

struct sl_ipc_snapshot;
/* listener.c: takes the sockets (in the order of listener, bind, of which the k-th has 1 + m->more[k]); those
 * it has no use for are closed, and so are, but in a last call, those it had. */
int sl_binds_apply(struct sl_worker *w, struct sl_gw_config *c, const struct sl_ipc_snapshot *m,
                   const int *fds, size_t n_fds);
/* The last call is over. */
void sl_binds_close_gone(struct sl_worker *w);
/* No longer held: begins to accept. */
void sl_binds_listen(struct sl_worker *w);
/* Takes what waits in the accept queues, where nobody else would, then stops listening. */
void sl_binds_close(struct sl_worker *w);
void sl_bind_unref(struct sl_bind *b);

/* worker.c */
/* Ends the loop once draining and the last connection is gone. */
void sl_worker_maybe_done(struct sl_worker *w);
/* "Sun, 22 Nov 2026 22:19:00 GMT" of now (RFC 9110 section 5.6.7). */
struct sl_slice sl_worker_date(struct sl_worker *w);
uint64_t sl_worker_random(struct sl_worker *w);

/* gone.c, every tick: clients that have left while nobody read from them */
void sl_gone_tick(struct sl_worker *w);

/* keys.c */
struct sl_ipc_keys;
/* fd is borrowed; -1: the keys are as before. */
void sl_worker_keys_take(struct sl_worker *w, const struct sl_ipc_keys *m, int fd);
/* Gives all that are there to a policy that was just built. */
void sl_worker_keys_apply(struct sl_worker *w, struct sl_gw_config *c);
/* Forgets those of no provider of the policy in force. */
void sl_worker_keys_prune(struct sl_worker *w);
/* Drops those whose deadline is over. */
void sl_worker_keys_tick(struct sl_worker *w);
void sl_worker_keys_close(struct sl_worker *w);

/* ticket.c: takes the current seed from the shared region, making or ratcheting it where due. */
int sl_worker_tickets_refresh(struct sl_worker *w);

#define SL_UUID_LEN 36
/* uuid.c: a random UUID (RFC 9562 section 5.4) as text, without NUL. 0 or -errno. */
int sl_uuid_new(struct sl_uuid_source *u, char out[SL_UUID_LEN]);

#endif
