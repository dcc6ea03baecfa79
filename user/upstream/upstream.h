/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to upstreams: which target, an idle connection or a new one, and what becomes of it afterwards.
 *
 * A pool holds the connections to one target of one upstream, and outlives reloads that keep the target. A
 * group is an upstream as one snapshot knows it: its targets' pools and how it chooses among them.
 */
#ifndef SL_UPSTREAM_UPSTREAM_H
#define SL_UPSTREAM_UPSTREAM_H

#include "config/snapshot.h"
#include "http/message.h"
#include "net/bufpool.h"
#include "net/stream.h"
#include "telemetry/counters.h"

struct sl_pool;
struct sl_group;
struct sl_upconn;

/* What a worker's upstreams share. Zero-initialised but for loop, bufs, counters, health; call
 * sl_upstreams_init. */
struct sl_upstreams {
    struct sl_loop *loop;
    struct sl_bufpool *bufs;
    struct sl_worker_counters *counters;
    struct sl_shared_health *health;
    struct sl_list pools;
    size_t open;  /* connections */
    uint64_t rng; /* for least_request */
};
void sl_upstreams_init(struct sl_upstreams *u, struct sl_loop *loop, struct sl_bufpool *bufs,
                       struct sl_worker_counters *counters, struct sl_shared_health *health);

/* cfg is borrowed and must outlive the group. 0, -ENOMEM, or -EINVAL for unusable TLS material, named in the
 * log. */
int sl_group_new(struct sl_upstreams *u, const struct sl_upstream *cfg, struct sl_group **out) SL_MUST_CHECK;
/* Pools that no group names any more close their idle connections; those in use end with their exchange. */
void sl_group_free(struct sl_group *g);
const struct sl_upstream *sl_group_config(const struct sl_group *g);
/* How many targets, each address of one by DNS for itself. */
size_t sl_group_size(const struct sl_group *g);

/* What the holder of a connection hears. All are called from the loop, never from within sl_group_connect. */
struct sl_upconn_ops {
    void (*connected)(struct sl_upconn *c,
                      int error); /* 0; -ETIMEDOUT, -EPROTO (TLS) or another -errno: it is gone */
    void (*readable)(struct sl_upconn *c);
    void (*writable)(struct sl_upconn *c);
    const struct sl_upconn_h2_ops *h2; /* NULL: the holder speaks HTTP/1.1 alone */
};

/* How a stream of HTTP/2 ended that did not end in order. */
enum sl_upconn_gone {
    SL_UPCONN_RESET,
    SL_UPCONN_MALFORMED,  /* by what must not be sent */
    SL_UPCONN_NO_CONNECT, /* before it began: the upstream does not offer extended CONNECT (RFC 8441) */
};

/* What the holder of a stream of HTTP/2 is asked and told. The answer comes in pieces while bytes are read;
 * readable() follows once they are, and then is the time to send on. The holder may let go at any time. */
struct sl_upconn_h2_ops {
    const struct sl_request *(*request)(struct sl_upconn *c);
    struct sl_arena *(*arena)(struct sl_upconn *c); /* for fields of both messages */
    /* Up to room bytes of the request's body; *last with its last. 0 and not last: there are none now. */
    size_t (*pull)(struct sl_upconn *c, char *to, size_t room, bool *last);
    void (*head)(struct sl_upconn *c, const struct sl_response *res); /* 1xx too, never 101 */
    void (*data)(struct sl_upconn *c, struct sl_slice data);
    void (*trailers)(struct sl_upconn *c, const struct sl_headers *trailers);
    void (*end)(struct sl_upconn *c);
    void (*gone)(struct sl_upconn *c, enum sl_upconn_gone how);
};
struct sl_uph2_stream;

enum sl_upconn_state {
    SL_UPCONN_CONNECTING,
    SL_UPCONN_HANDSHAKE,
    SL_UPCONN_BUSY,
    SL_UPCONN_IDLE,
    SL_UPCONN_CLOSED
};

struct sl_upconn {
    struct sl_stream stream;
    enum sl_upconn_state state;
    struct sl_pool *pool;
    struct sl_group *pending; /* while connecting: whose max_pending it counts against */
    const struct sl_upconn_ops *ops;
    void *owner; /* of the holder; NULL while idle */
    struct sl_buf in;
    struct sl_uph2_stream *h2; /* a stream of HTTP/2, without a socket of its own; NULL: HTTP/1.1 */
    bool carrier;              /* of such streams, which are counted themselves */
    bool refused;              /* a stream: nothing of the request was processed */
    bool reused;               /* served a request before the one it serves now */
    uint64_t requests;
    uint64_t sent_before;  /* stream.sent when this request began */
    struct sl_timer timer; /* connect, or idle */
    struct sl_list node;
    struct sl_deferred deferred;
};

/* Targets that an exchange has tried already, and what it is balanced by. */
struct sl_attempts {
    const void *failed; /* the target that could not be connected to; NULL: none */
    unsigned tries;
    bool probe;           /* of a half open breaker: sl_group_report or sl_group_unprobe ends it */
    uint64_t retry_after; /* ns, with SL_GROUP_OPEN */
    bool hashed;          /* hash is one: of the client's address or a header's value */
    uint64_t hash;        /* by which an upstream with balance: hash:… chooses; without one, round robin */
};

enum sl_reuse {
    SL_REUSE_ANY,    /* what is lost may be sent again */
    SL_REUSE_PEEKED, /* it may not: the socket is asked before a kept connection is trusted with it */
    SL_REUSE_NONE,   /* a new connection, since a kept one has just let us down */
};
/* Why an upstream takes no request now: no fault of a target's, and no other try helps. */
enum sl_group_refusal {
    SL_GROUP_FULL = -100001,      /* max_pending */
    SL_GROUP_OPEN = -100002,      /* the breaker */
    SL_GROUP_DRAINED = -100003,   /* all targets, by the operator */
    SL_GROUP_UNHEALTHY = -100004, /* none is fit, and health.panic is 0% */
    SL_GROUP_UNRESOLVED = -100005 /* its names have had no answer yet */
};
static inline bool sl_group_refused(int r)
{
    return r <= SL_GROUP_FULL;
}
/*
 * Picks a target (as the upstream is balanced, not the one that failed before) and gives an idle connection
 * (returns 1, ready to be written) or begins to connect within timeout_ns (returns 0). enum
 * sl_group_refusal; -errno where not even a socket could be had; a->failed is then set as well.
 */
int sl_group_connect(struct sl_group *g, struct sl_attempts *a, uint64_t timeout_ns, enum sl_reuse reuse,
                     const struct sl_upconn_ops *ops, void *owner, struct sl_upconn **out) SL_MUST_CHECK;
/* What became of a try at that target (of an upconn, or of attempts.failed): the status of its answer, or 0
 * where none came. Once a try; not where nobody is to blame. */
void sl_group_report(struct sl_group *g, struct sl_attempts *a, const void *target, unsigned status);
/* The exchange ends without an answer that says how the upstream does. */
void sl_group_unprobe(struct sl_group *g, struct sl_attempts *a);
/* After a row of shared health was written: every worker looks again. */
static inline void sl_health_changed(struct sl_shared_health *h)
{
    (void)__atomic_add_fetch(&h->changes, 1, __ATOMIC_RELEASE);
}
/* Gives the connection back: kept where reuse is set and the pool has room, else closed. No callback comes
 * after. */
void sl_upconn_release(struct sl_upconn *c, bool reuse);
/* Ends one hold on reading (sl_stream_hold). */
void sl_upconn_resume(struct sl_upconn *c);
/* A stream, once connected: sends the request's head; with body, what pull() gives behind it. A request with
 * upgrade goes as extended CONNECT, once the upstream has said that it offers that. 0, -ENOMEM, or
 * -EOPNOTSUPP: it does not. */
int sl_upconn_ask(struct sl_upconn *c, bool body) SL_MUST_CHECK;
/* The request ran into a deadline. A connection on which nothing at all has come since is given no more: its
 * peer may be gone without a word. (One of HTTP/1.1 ends with its request.) */
void sl_upconn_timed_out(struct sl_upconn *c);
/* pull() has more to give, or the last has been given. */
void sl_upconn_more(struct sl_upconn *c);
/* Whether the peer's kernel has acknowledged nothing of the current request: no application can have read it.
 */
bool sl_upconn_unread(const struct sl_upconn *c);
const char *sl_upconn_target(const struct sl_upconn *c);
/* The counters of its upstream. */
struct sl_upstream_counters *sl_upconn_counters(const struct sl_upconn *c);
struct sl_upstream_counters *sl_group_counters(const struct sl_group *g);

#endif
