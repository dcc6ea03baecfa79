/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the exchange asks of the protocol that its client speaks. A codec turns what comes into ex->req and
 * calls sl_exchange_start; from there on the exchange takes the request's body and gives the answer through
 * these functions, and is told of the client by sl_exchange_client_*. It never looks at the protocol itself.
 *
 * codec_h1.c: one exchange at a time, its bytes in the connection's own buffers.
 * codec_h2.c: an exchange for each stream of a connection (codec_h2_conn.c).
 */
#ifndef SL_GATEWAY_CODEC_PRIV_H
#define SL_GATEWAY_CODEC_PRIV_H

#include "base/buf.h"
#include "http/h1.h"

struct sl_conn;
struct sl_exchange;
struct sl_h2_stream;
struct sl_listener;

/* How an exchange left its client. */
enum sl_client_next {
    SL_CLIENT_KEEP,   /* in order */
    SL_CLIENT_FINISH, /* in order, and what carried it alone ends */
    SL_CLIENT_DRAIN,  /* likewise, with some of the request unread */
    SL_CLIENT_ABORT,  /* without an answer */
    SL_CLIENT_CUT,    /* inside the answer, which must not look like one that ended */
    SL_CLIENT_RESET,  /* penalised: the connection ends, whatever else it carries */
};

struct sl_codec {
    const char *protocol; /* for the access log */

    /* Decodes what is there of the request's body: *used bytes of it, of which *data is payload; sets
     * req_body.done with the last one, and req.trailers where some came. */
    enum sl_h1_error (*body)(struct sl_exchange *ex, size_t *used, struct sl_slice *data);
    /* used bytes have found their place: their memory and the client's credit are free again. */
    void (*taken)(struct sl_exchange *ex, size_t used);
    /* Bytes of the body that have come and are not taken. A codec may count its end as one. */
    size_t (*buffered)(const struct sl_exchange *ex);
    /* All that came is taken, more is due, and none will come. */
    bool (*cut_short)(struct sl_exchange *ex);
    /* Backpressure on the body: as often as it pleases. */
    void (*hold)(struct sl_exchange *ex);
    void (*release)(struct sl_exchange *ex);
    /* 100 Continue. 0 or -errno: the connection is to be closed. */
    int (*go_on)(struct sl_exchange *ex);

    /* An interim answer (1xx, never 101), from ex->res; nothing where the client cannot take one. Queued. */
    int (*interim)(struct sl_exchange *ex);
    /* The upstream has agreed to what req.upgrade asked for: says so, from ex->res, whose status is the one
     * that this protocol has for it. From there on body() and data() carry bytes as they are, until end().
     * Queued. */
    int (*tunnel)(struct sl_exchange *ex);
    /* The answer's head, from ex->res, with the framing that this protocol gives it; then payload; then its
     * end, with the live ones of res.trailers. They only queue: 0 or -ENOMEM. */
    int (*head)(struct sl_exchange *ex);
    int (*data)(struct sl_exchange *ex, struct sl_slice data);
    int (*end)(struct sl_exchange *ex);
    /* Where payload of a known length may be put without data(); NULL when memory is out. */
    struct sl_buf *(*payload)(struct sl_exchange *ex);
    /* Sends what is queued: 0 all of it, 1 some is left (sl_exchange_client_writable comes), -errno gone. */
    int (*flush)(struct sl_exchange *ex);
    /* Bytes queued. */
    size_t (*unsent)(const struct sl_exchange *ex);

    /* ex is over, and has let go of c. */
    void (*done)(struct sl_exchange *ex, struct sl_conn *c, enum sl_client_next next);
};

/* ---- codec_h1.c */
/* The listener's settings as they are now: a reload holds for the next request of an old connection too. */
struct sl_h1_limits sl_codec_h1_limits(const struct sl_listener *l);
/* The head in c->in is complete, head_len bytes: takes it over. c->ex is set unless memory is out. */
void sl_codec_h1_begin(struct sl_conn *c, size_t head_len);
/* A head that cannot be: answers and closes. */
void sl_codec_h1_refuse(struct sl_conn *c, enum sl_h1_error e);
/* The client stalled inside its head: 408. */
void sl_codec_h1_timeout(struct sl_conn *c);

/* ---- codec_h2_conn.c: a connection in STREAMS */
/* Sets c->h2. 0 or -ENOMEM. */
int sl_codec_h2_begin(struct sl_conn *c);
/* What was read stands in c->in, and is taken. */
void sl_codec_h2_data(struct sl_conn *c);
void sl_codec_h2_eof(struct sl_conn *c);
/* Carries no stream. */
bool sl_codec_h2_is_idle(const struct sl_conn *c);
void sl_codec_h2_writable(struct sl_conn *c);
void sl_codec_h2_timer(struct sl_conn *c);
/* Of ex's answer n bytes more may leave, SIZE_MAX: all. */
void sl_codec_h2_allow(struct sl_exchange *ex, size_t n);
/* No new streams; the connection ends with the last one. */
void sl_codec_h2_drain(struct sl_conn *c);
/* Of each exchange that is under way. */
void sl_codec_h2_each(struct sl_conn *c, void (*fn)(struct sl_exchange *));
/* The connection is closed: its exchanges hear of it. */
void sl_codec_h2_gone(struct sl_conn *c);
/* With the connection's memory. */
void sl_codec_h2_free(struct sl_conn *c);

#endif
