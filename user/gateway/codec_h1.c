/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 as an exchange's client speaks it: heads and bodies in the connection's own buffers. */
#include "gateway/exchange_priv.h"

#include <errno.h>

/* ---- requests */

struct sl_h1_limits sl_codec_h1_limits(const struct sl_listener *l)
{
    return (struct sl_h1_limits){
        .head = l->limits.headers, .header_count = l->limits.header_count, .target = l->limits.headers};
}

/* Nothing is served on this connection after this exchange. */
static bool _sl_is_last(const struct sl_conn *c)
{
    return sl_conn_is_last(c);
}

static const struct sl_codec _sl_codec; /* at the end */

static struct sl_exchange *_sl_new(struct sl_conn *c)
{
    struct sl_exchange *ex = sl_exchange_new(c, &_sl_codec);
    c->ex = ex;
    if (!ex)
        sl_conn_exchange_done(c, SL_CLIENT_ABORT);
    else
        ex->close = _sl_is_last(c);
    return ex;
}

/* The head's buffer becomes the exchange's, since slices point into it; what came behind it gets another. */
static int _sl_take_head(struct sl_exchange *ex, size_t head_len)
{
    struct sl_conn *c = ex->conn;
    ex->head = c->in;
    c->in = (struct sl_buf){0};
    size_t rest = sl_buf_len(&ex->head) - head_len;
    if (!rest)
        return 0;
    int r = sl_bufpool_lend(&ex->w->bufs, &c->in);
    return r < 0 ? r : sl_buf_append(&c->in, sl_buf_data(&ex->head) + head_len, rest);
}

static bool _sl_body_to_come(const struct sl_exchange *ex)
{
    return !ex->req_body.done &&
           (ex->req.framing != SL_FRAMING_LENGTH || ex->req.content_length > sl_buf_len(&ex->conn->in));
}

void sl_codec_h1_begin(struct sl_conn *c, size_t head_len)
{
    struct sl_exchange *ex = _sl_new(c);
    if (!ex)
        return;
    if (_sl_take_head(ex, head_len) < 0) {
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
        return;
    }
    const struct sl_h1_limits limits = sl_codec_h1_limits(ex->listener);
    struct sl_slice head = sl_slice(sl_buf_data(&ex->head), head_len);
    enum sl_h1_error e = sl_h1_parse_request(&ex->arena, head, &limits, &ex->req);
    if (e != SL_H1_OK) {
        sl_exchange_refuse(ex, e);
        return;
    }
    ex->close |= !ex->req.keep_alive || ex->req.minor == 0;
    sl_h1_body_init(&ex->req_body, ex->req.framing, ex->req.content_length);
    ex->req_body.keep = &ex->arena;
    if (_sl_body_to_come(ex))
        sl_conn_ack_now(c);
    sl_exchange_start(ex);
}

void sl_codec_h1_refuse(struct sl_conn *c, enum sl_h1_error e)
{
    struct sl_exchange *ex = _sl_new(c);
    if (ex)
        sl_exchange_refuse(ex, e);
}

void sl_codec_h1_timeout(struct sl_conn *c)
{
    struct sl_exchange *ex = _sl_new(c);
    if (ex)
        sl_exchange_head_timeout(ex);
}

/* ---- their bodies */

static enum sl_h1_error _sl_body(struct sl_exchange *ex, size_t *used, struct sl_slice *data)
{
    enum sl_h1_error e = sl_h1_body_feed(&ex->req_body, sl_buf_slice(&ex->conn->in), used, data);
    if (e == SL_H1_OK && ex->req_body.done && ex->req_body.n_text)
        e = sl_h1_body_trailers(&ex->req_body, &ex->req.trailers);
    return e;
}

static void _sl_taken(struct sl_exchange *ex, size_t used)
{
    sl_buf_consume(&ex->conn->in, used);
}

static size_t _sl_buffered(const struct sl_exchange *ex)
{
    return sl_buf_len(&ex->conn->in);
}

static bool _sl_cut_short(struct sl_exchange *ex)
{
    struct sl_conn *c = ex->conn;
    if (sl_buf_len(&c->in))
        return false;
    sl_bufpool_return(&ex->w->bufs, &c->in);
    return c->stream.eof && !ex->req_body.done;
}

static void _sl_hold(struct sl_exchange *ex)
{
    sl_conn_pause(ex->conn);
}

static void _sl_release(struct sl_exchange *ex)
{
    sl_conn_resume(ex->conn);
}

static int _sl_go_on(struct sl_exchange *ex)
{
    struct sl_buf *out = sl_conn_out(ex->conn);
    int r = out ? sl_buf_append_slice(out, SL_S("HTTP/1.1 100 Continue\r\n\r\n")) : -ENOMEM;
    return r < 0 ? r : sl_conn_flush(ex->conn);
}

/* ---- answers */

/* Nothing can follow this answer, or the request's rest is still to come. */
static void _sl_decide_close(struct sl_exchange *ex)
{
    ex->close |= _sl_is_last(ex->conn);
    if (!sl_request_is_over(ex))
        ex->close = ex->linger = true;
}

/* RFC 9110 section 15.2: never to a client of 1.0 */
static int _sl_interim(struct sl_exchange *ex)
{
    if (ex->req.minor == 0)
        return 0;
    struct sl_buf *out = sl_conn_out(ex->conn);
    return out ? sl_h1_write_response(out, &ex->res, false) : -ENOMEM;
}

static int _sl_tunnel(struct sl_exchange *ex)
{
    ex->chunked_out = false;
    struct sl_buf *out = sl_conn_out(ex->conn);
    return out ? sl_h1_write_response(out, &ex->res, false) : -ENOMEM;
}

static int _sl_head(struct sl_exchange *ex)
{
    struct sl_response *res = &ex->res;
    if (res->framing == SL_FRAMING_EOF || res->framing == SL_FRAMING_CHUNKED) {
        ex->chunked_out = ex->req.minor >= 1;
        res->framing = ex->chunked_out ? SL_FRAMING_CHUNKED : SL_FRAMING_EOF;
        ex->close |= !ex->chunked_out;
    }
    _sl_decide_close(ex);
    struct sl_buf *out = sl_conn_out(ex->conn);
    return out ? sl_h1_write_response(out, res, ex->close) : -ENOMEM;
}

static int _sl_data(struct sl_exchange *ex, struct sl_slice data)
{
    struct sl_buf *out = sl_conn_out(ex->conn);
    return out ? sl_h1_write_data(out, data, ex->chunked_out) : -ENOMEM;
}

static int _sl_end(struct sl_exchange *ex)
{
    if (!ex->chunked_out)
        return 0;
    struct sl_buf *out = sl_conn_out(ex->conn);
    return out ? sl_h1_write_last(out, &ex->res.trailers) : -ENOMEM;
}

static struct sl_buf *_sl_payload(struct sl_exchange *ex)
{
    return sl_conn_out(ex->conn);
}

static int _sl_flush(struct sl_exchange *ex)
{
    if (ex->state == SL_EX_FLUSHING && ex->close && !ex->penalised)
        ex->conn->stream.last = true;
    return sl_conn_flush(ex->conn);
}

static size_t _sl_unsent(const struct sl_exchange *ex)
{
    return sl_buf_len(&ex->conn->out);
}

/* A connection that ended first has let go of ex already. */
static void _sl_done(struct sl_exchange *ex, struct sl_conn *c, enum sl_client_next next)
{
    if (c->ex == ex)
        sl_conn_exchange_done(c, next);
}

static const struct sl_codec _sl_codec = {
    .protocol = "HTTP/1.1",
    .body = _sl_body,
    .taken = _sl_taken,
    .buffered = _sl_buffered,
    .cut_short = _sl_cut_short,
    .hold = _sl_hold,
    .release = _sl_release,
    .go_on = _sl_go_on,
    .interim = _sl_interim,
    .tunnel = _sl_tunnel,
    .head = _sl_head,
    .data = _sl_data,
    .end = _sl_end,
    .payload = _sl_payload,
    .flush = _sl_flush,
    .unsent = _sl_unsent,
    .done = _sl_done,
};
