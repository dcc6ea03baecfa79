/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to upstreams that speak HTTP/2 (RFC 9113): what a pool's holders see as one connection each is
 * a stream of one of these. h2.c: connections and which of them takes a stream; h2_session.c: frames;
 * h2_head.c: fields.
 *
 * Invariant: nghttp2 is fed and drained in two places only, when the socket is readable and in `kick`, which
 * runs in the same turn of the loop; so holders may be told of anything from there, and whatever they ask for
 * is only queued.
 */
#ifndef SL_UPSTREAM_H2_PRIV_H
#define SL_UPSTREAM_H2_PRIV_H

#include "upstream/pool_priv.h"

#include <nghttp2/nghttp2.h>

#define SL_UPH2_STREAMS 100               /* of one connection at once, whatever the upstream would take */
#define SL_UPH2_WINDOW  (128 * 1024)      /* of a stream: what may be on its way to a client that stalls */
#define SL_UPH2_CREDIT  (4 * 1024 * 1024) /* of a connection */
#define SL_UPH2_HEADERS (64 * 1024)       /* bytes of a field list, as section 10.5.1 counts */
#define SL_UPH2_FIELDS  256
#define SL_UPH2_WASTE   10000 /* frames that bring nothing, between two that do */

struct sl_uph2 {
    struct sl_list node; /* in its pool's carriers, until retired */
    struct sl_pool *pool;
    struct sl_upconn *carrier; /* the socket; NULL: closed */
    nghttp2_session *session;  /* NULL until it is connected */
    struct sl_list streams;    /* all with a holder, or not yet ended */
    struct sl_list ready;      /* of them, those whose holder has to hear something */
    size_t n_streams;
    uint64_t requests;
    uint64_t heard; /* when anything came last */
    struct sl_buf out;
    ev_timer kick;
    bool retired;   /* takes no new streams */
    bool deaf;      /* the socket takes no more: what it still says is read */
    bool malformed; /* it broke the protocol */
    bool settled;   /* its first SETTINGS have come */
    uint32_t waste;
    struct sl_timer idle;
    struct sl_deferred deferred;
};

/* Fields of one header block. */
struct sl_uph2_head {
    struct sl_response res;
    size_t size;
    uint32_t count;
    bool has_length, bad;
};

struct sl_uph2_stream {
    struct sl_list node, ready;
    struct sl_uph2 *h2;
    struct sl_upconn *u; /* NULL: nobody holds it any more */
    int32_t id;          /* 0: not asked yet */
    bool answered;       /* the final head has come */
    bool ended;          /* so has the answer's end */
    bool closed;         /* for nghttp2 */
    bool pulled, got;    /* what its holder has to hear */
    bool waits;          /* nghttp2 waits to be told of more of the request */
    bool asks;           /* for a tunnel, as soon as SETTINGS tell whether it may */
    bool tunnel;         /* DATA and nothing else may follow (section 8.5) */
    size_t unconsumed;   /* of its window */
    uint64_t began;
    struct sl_uph2_head head;
    struct sl_deferred deferred;
};

/* ---- h2_head.c */
/* The request's fields, in the arena. NULL when memory is out. */
nghttp2_nv *sl_uph2_fields(const struct sl_request *r, bool tls, struct sl_arena *a, size_t *n);
nghttp2_nv *sl_uph2_trailers(const struct sl_headers *h, struct sl_arena *a, size_t *n);
/* One field of an answer or, with trailers, of what comes behind it; sets hd->bad where it must not be. */
void sl_uph2_field(struct sl_uph2_head *hd, struct sl_arena *a, bool trailers, struct sl_slice name,
                   struct sl_slice value);
/* The block is whole: the answer's framing. False: it is no answer. */
bool sl_uph2_head_end(struct sl_uph2_head *hd, enum sl_method method, bool end_stream);

/* ---- h2_session.c */
/* 0 or -ENOMEM: the preface and our settings are queued. */
int sl_uph2_session_new(struct sl_uph2 *s);
/* Sends what is queued, as far as the socket takes it. */
void sl_uph2_send(struct sl_uph2 *s);
/* The socket is readable: false: the connection has ended. */
bool sl_uph2_receive(struct sl_uph2 *s);
void sl_uph2_ready(struct sl_uph2_stream *st);

/* ---- h2.c */
/* Before the loop waits: sends, and tells holders. */
void sl_uph2_kick(struct sl_uph2 *s);
/* As sl_group_connect, for a pool whose upstream speaks HTTP/2. */
int sl_uph2_connect(struct sl_pool *p, struct sl_group *pending, uint64_t timeout_ns,
                    const struct sl_upconn_ops *ops, void *owner, struct sl_upconn **out);
/* The holder lets go: what has not ended is reset. */
void sl_uph2_detach(struct sl_uph2_stream *st);
void sl_uph2_retire(struct sl_uph2 *s);
/* Neither nghttp2 nor a holder knows it any more. */
void sl_uph2_drop(struct sl_uph2_stream *st);

#endif
