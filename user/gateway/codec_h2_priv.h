/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves of HTTP/2 towards clients: an exchange's stream, and the connection that carries many. */
#ifndef SL_GATEWAY_CODEC_H2_PRIV_H
#define SL_GATEWAY_CODEC_H2_PRIV_H

#include "gateway/exchange_priv.h"
#include "http/h2.h"

/* A connection in STREAMS. Memory: until its connection's. */
struct sl_h2_conn {
    struct sl_h2 *h2;
    struct sl_conn *conn;
    struct sl_list dirty;   /* in the worker's list while there may be something to send */
    uint64_t idle_since;    /* that no stream is open; 0: some are */
    uint64_t stalled_since; /* that the client takes nothing of what is to be sent; 0: it takes */
    uint64_t drain_since;   /* the first GOAWAY of a shutdown; 0: none */
    bool counted;           /* that it has ended, and why */
};

/* codec_h2.c */
extern const struct sl_h2_ops sl_codec_h2_ops;
/* What a stream has to tell. */
void sl_codec_h2_tell(struct sl_h2_stream *st, unsigned events);

/* codec_h2_conn.c: something is to be sent at the end of this turn. */
void sl_codec_h2_touch(struct sl_conn *c);

#endif
