/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/2 codec towards clients (RFC 9113): nghttp2 for frames, HPACK and flow control; requests checked
 * here, field by field, as strictly as the HTTP/1.1 guard does; budgets for what a client may make us do
 * for nothing. Pure: bytes in, events out; answers in, bytes out. Knows no policy and no socket.
 *
 * nghttp2 calls nobody above this codec but ops->open: what happened while bytes were fed or taken stands in
 * a queue of streams afterwards (sl_h2_next), each of them once, with a set of events.
 *
 * Invariant: what is held of request bodies is bounded by the windows, which open only as the caller takes
 * bytes (sl_h2_taken); what is held of answers is bounded by the caller, who sees it (sl_h2_stream.out).
 */
#ifndef SL_HTTP_H2_H
#define SL_HTTP_H2_H

#include "base/buf.h"
#include "base/list.h"
#include "http/h1.h"
#include "http/message.h"
#include "net/bufpool.h"
#include "telemetry/counters.h"

#define SL_H2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* RFC 9113 section 3.4 */
#define SL_H2_PREFACE_LEN (sizeof(SL_H2_PREFACE) - 1)

struct sl_h2_limits {
    uint32_t headers;      /* bytes of a field list as RFC 9113 section 10.5.1 counts them; 431 past it */
    uint32_t header_count; /* fields, each crumb of a cookie counted; 431 past it */
    uint32_t streams;      /* open at once */
    bool connect_protocol; /* extended CONNECT is taken, and that is announced (RFC 8441 section 3) */
};

/* What a stream has to tell. */
enum sl_h2_event {
    SL_H2_HEAD = 1, /* a request is there, or why not (error): once */
    SL_H2_BODY = 2, /* bytes of its body, or the body's end */
    SL_H2_SENT = 4, /* something of the answer was taken by sl_h2_pull */
    SL_H2_GONE = 8, /* nothing more will come or go; the stream's memory goes after this event */
};

struct sl_h2;
struct sl_h2_stream {
    struct sl_h2 *h2;
    void *user;             /* the caller's; NULL: nobody takes its body, which is thrown away */
    struct sl_arena *arena; /* these two live as long as user is set */
    struct sl_request *req;
    int32_t id;
    uint8_t events;
    bool malformed;      /* error is one of RFC 9113 section 8.1.1: the stream is reset, not answered */
    bool ended;          /* the client has sent all */
    bool reset;          /* RST_STREAM ends it, of either side */
    bool answered, over; /* the answer's head is queued; so is its end */
    bool finished;       /* and pulled */
    bool closed;         /* for nghttp2: nothing goes out any more */
    bool overrun;        /* the client raised its window past all bounds */
    bool waiting;        /* nghttp2 waits to be told of more of the answer */
    bool has_length;     /* of the request's body: left more bytes are due */
    bool tunnel;         /* extended CONNECT: DATA and nothing else follows (RFC 9113 section 8.5) */
    enum sl_h1_error error;
    uint64_t left;
    const struct sl_headers *trailers; /* of the answer; NULL: none */
    struct sl_buf in;                  /* of the body, not taken; credit is given back by sl_h2_taken */
    struct sl_buf out;                 /* of the answer's body, not pulled */
    size_t allowance;                  /* bytes of it that may be; SIZE_MAX: all */
    size_t sent;                       /* that were, until the caller takes note of them */
    struct sl_list all, queued;
};

struct sl_h2_ops {
    /* A request begins: sets user, and the arena and message that it is read into. false: memory is out, and
     * the stream is refused. */
    bool (*open)(void *owner, struct sl_h2_stream *st);
};

/* What sessions and streams give back, kept for the next ones. Zeroed: empty. */
#define SL_H2_MEM_CLASSES 16
#define SL_H2_MEM_KEPT    (1024 * 1024)
struct sl_block;
struct sl_h2_mem {
    struct sl_block *kept[SL_H2_MEM_CLASSES];
    size_t bytes;
};
void sl_h2_mem_close(struct sl_h2_mem *m);

/* now: monotonic ns, here and below. NULL when memory is out. ops, owner, pool and mem outlive it. */
struct sl_h2 *sl_h2_new(const struct sl_h2_ops *ops, void *owner, struct sl_bufpool *pool,
                        struct sl_h2_mem *mem, const struct sl_h2_limits *limits, uint64_t now);
/* Streams go without an event. */
void sl_h2_free(struct sl_h2 *h);

/* Takes all of data, or as much as comes before the session ends (sl_h2_why says whether it has). */
void sl_h2_feed(struct sl_h2 *h, struct sl_slice data, uint64_t now);
/* The next stream with events, which it takes off the stream (into *events); NULL: none. The stream lives
 * until the next call. */
struct sl_h2_stream *sl_h2_next(struct sl_h2 *h, unsigned *events);
/* Appends frames to out until it is about full: 1 there is more, 0 that is all, -ENOMEM. */
int sl_h2_pull(struct sl_h2 *h, struct sl_buf *out, uint64_t now);

/* ---- one stream. Whatever is queued goes out with the next pulls. */
/* n bytes of in have found their place. */
void sl_h2_taken(struct sl_h2_stream *st, size_t n);
/* Nobody takes its body any more: it has no user from here on. */
void sl_h2_abandon(struct sl_h2_stream *st);
/* An interim answer (1xx). 0 or -ENOMEM. */
int sl_h2_interim(struct sl_h2_stream *st, unsigned status, const struct sl_headers *fields) SL_MUST_CHECK;
/* The answer's head; with end nothing follows it. framing tells whether a length is said. 0 or -ENOMEM. */
int sl_h2_answer(struct sl_h2_stream *st, const struct sl_response *r, bool end) SL_MUST_CHECK;
/* Gives out memory where it has none, with room before it for a frame's head. 0 or -ENOMEM. */
int sl_h2_lend(struct sl_h2_stream *st) SL_MUST_CHECK;
/* out has more in it. */
void sl_h2_more(struct sl_h2_stream *st);
/* out's last byte is the answer's. Live trailers go behind it, and must stay as they are until then. */
void sl_h2_end(struct sl_h2_stream *st, const struct sl_headers *trailers);
/* Ends the stream with an error code of RFC 9113 section 7; nothing where it has ended. */
void sl_h2_reset(struct sl_h2_stream *st, uint32_t code);
#define SL_H2_NO_ERROR          0x0u
#define SL_H2_PROTOCOL_ERROR    0x1u
#define SL_H2_INTERNAL_ERROR    0x2u
#define SL_H2_REFUSED_STREAM    0x7u
#define SL_H2_CANCEL            0x8u
#define SL_H2_ENHANCE_YOUR_CALM 0xbu

/* ---- the connection */
/* GOAWAY with the code of why, and nothing after it; the first reason stays. */
void sl_h2_terminate(struct sl_h2 *h, enum sl_h2_why why);
/* No new streams: GOAWAY twice, a round trip apart (RFC 9113 section 6.8); those that are open go on. */
void sl_h2_shutdown(struct sl_h2 *h);
bool sl_h2_is_draining(const struct sl_h2 *h);
/* Why it ended, or ends once all is pulled; SL_H2_WHY_NONE: it has not. */
enum sl_h2_why sl_h2_why(const struct sl_h2 *h);
/* Ended, and all is pulled: the connection can be closed. */
bool sl_h2_is_over(const struct sl_h2 *h);
/* Streams that are open, as we know them. */
size_t sl_h2_streams(const struct sl_h2 *h);
struct sl_h2_stream *sl_h2_first(struct sl_h2 *h);
struct sl_h2_stream *sl_h2_after(struct sl_h2_stream *st); /* NULL: it was the last */
/* Since when the client owes the rest of a header block (or of its first SETTINGS); 0: it owes none. */
uint64_t sl_h2_owes_since(const struct sl_h2 *h);

#endif
