/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the HTTP/2 codec share: fields into a request, budgets, and which streams have been. */
#ifndef SL_HTTP_H2_PRIV_H
#define SL_HTTP_H2_PRIV_H

#include "http/h2.h"

#include <nghttp2/nghttp2.h>

/* ---- h2_head.c: fields into one request, checked as they come */
struct sl_h2_head {
    struct sl_arena *arena;
    struct sl_request *req;
    const struct sl_h2_limits *limits;
    enum sl_h1_error error; /* the first */
    bool malformed;         /* error is one of RFC 9113 section 8.1.1 */
    bool trailers;
    bool regular; /* a field that is no pseudo-header has come */
    bool has_length, expect;
    struct sl_slice method, scheme, path, authority, protocol, host, cookie;
    uint64_t length;
    size_t size; /* as section 10.5.1 counts */
    uint32_t count;
};
/* limits: whole list; trailers: no pseudo-header may come, and nothing is kept. */
void sl_h2_head_begin(struct sl_h2_head *hd, struct sl_arena *a, struct sl_request *req,
                      const struct sl_h2_limits *limits, bool trailers);
/* One field, in the order they come. Name and value are copied where they are kept. */
void sl_h2_head_field(struct sl_h2_head *hd, struct sl_slice name, struct sl_slice value);
/* All are there: makes the request, or leaves error set. end_stream: no body follows. */
void sl_h2_head_end(struct sl_h2_head *hd, bool end_stream);

/* ---- h2_budget.c: what a client may have for nothing */
enum sl_h2_cost {
    SL_H2_COST_RESET,    /* streams reset, by the client or by us for what it did */
    SL_H2_COST_SETTINGS, /* each wants an answer */
    SL_H2_COST_PING,
    SL_H2_COST_EMPTY,    /* frames without payload that end nothing */
    SL_H2_COST_PRIORITY, /* and frames of types that we ignore */
    SL_H2_COST_WINDOW,
    SL_H2_COST_CLOSED, /* frames on streams that have ended */
    SL_H2_COSTS
};
struct sl_h2_budgets {
    struct {
        uint32_t spent; /* in thousandths */
        uint64_t at;
    } of[SL_H2_COSTS];
    uint32_t streams;
};
/* SL_H2_WHY_NONE, or why the session has to end. */
enum sl_h2_why sl_h2_spend(struct sl_h2_budgets *b, enum sl_h2_cost what, uint64_t now);
/* Something useful was done: n of a cost are given back. */
void sl_h2_earn(struct sl_h2_budgets *b, enum sl_h2_cost what, uint32_t n);

/* ---- h2_past.c: the client's last SL_H2_PAST streams */
#define SL_H2_PAST 512
struct sl_h2_past {
    uint32_t last; /* highest number, counted in streams: (id - 1) / 2 + 1; 0: none yet */
    uint64_t opened[SL_H2_PAST / 64], ended[SL_H2_PAST / 64];
};
void sl_h2_past_open(struct sl_h2_past *p, int32_t id);
/* The client itself has said its last word on it: END_STREAM or RST_STREAM. */
void sl_h2_past_end(struct sl_h2_past *p, int32_t id);
enum sl_h2_past_state {
    SL_H2_PAST_UNKNOWN, /* too long ago to tell, or still to come */
    SL_H2_PAST_SKIPPED, /* never opened, and a later one was */
    SL_H2_PAST_OPENED,
    SL_H2_PAST_ENDED
};
enum sl_h2_past_state sl_h2_past_of(const struct sl_h2_past *p, int32_t id);

/* ---- h2_mem.c */
void *sl_h2_alloc(struct sl_h2_mem *m, size_t n);
void sl_h2_dealloc(struct sl_h2_mem *m, void *p);
nghttp2_mem sl_h2_mem_of(struct sl_h2_mem *m);

/* ---- h2_scan.c: frames before nghttp2 sees them */
struct sl_h2_scan {
    uint32_t left;     /* of the frame's payload */
    uint8_t preface;   /* bytes of it still to come */
    uint8_t n;         /* of bytes */
    bool depends;      /* a PRIORITY whose payload is gathered too */
    uint8_t bytes[13]; /* the frame's head, and what it depends on */
};
/* Looks at bytes up to the next frame, or through the frame that p is within: how many nghttp2 is to get in
 * one piece, unless *why says that the session has to end. */
size_t sl_h2_scan(struct sl_h2 *h, const uint8_t *p, size_t n, enum sl_h2_why *why);

/* ---- the session */
#define SL_H2_FRAME_HEAD 9 /* RFC 9113 section 4.1 */
struct sl_h2 {
    nghttp2_session *session;
    const struct sl_h2_ops *ops;
    void *owner;
    struct sl_bufpool *pool;
    struct sl_h2_mem *mem;
    struct sl_h2_limits limits;
    struct sl_list streams, queue;
    struct sl_h2_stream *delivered; /* gone, and freed by the next call of sl_h2_next */
    size_t n_streams;
    uint64_t now;
    uint64_t owes_since;
    enum sl_h2_why why;
    bool dead;                    /* no more bytes are taken */
    bool goaway;                  /* the GOAWAY that ends it is sent */
    bool draining, drained;       /* the first GOAWAY of a shutdown is queued; the second */
    struct sl_h2_stream *head_of; /* whose header block is under way in head; NULL: none */
    struct sl_h2_head head;
    struct sl_h2_budgets budgets;
    struct sl_h2_past past;
    struct sl_h2_scan scan;
    struct sl_buf *out; /* while pulled */
    bool full;          /* out takes no more of a body */
};

/* h2_recv.c */
void sl_h2_set_receivers(nghttp2_session_callbacks *cbs);
/* h2_session.c */
void sl_h2_queue(struct sl_h2_stream *st, enum sl_h2_event e);
/* Ends the session for why at once: for callbacks, whose value it is. */
int sl_h2_give_up(struct sl_h2 *h, enum sl_h2_why why);
void sl_h2_goaway_sent(struct sl_h2 *h, uint32_t code);
/* h2_send.c */
void sl_h2_set_senders(nghttp2_session_callbacks *cbs);

#endif
