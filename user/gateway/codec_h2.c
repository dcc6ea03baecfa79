/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 as an exchange's client speaks it: one stream. Bodies wait in the stream's buffers; credit is given
 * back to the client as the exchange takes them, so a slow upstream slows its own stream and no other.
 * What is queued is sent once a turn of the loop, for all streams of the connection (codec_h2_conn.c).
 *
 * Invariant: st->user is the exchange and ex->stream the stream, or both have let go of each other.
 */
#include "gateway/codec_h2_priv.h"

#include <errno.h>

/* ---- requests */

static const struct sl_codec _sl_codec; /* at the end */

static bool _sl_open(void *owner, struct sl_h2_stream *st)
{
    struct sl_h2_conn *hc = owner;
    struct sl_exchange *ex = sl_exchange_new(hc->conn, &_sl_codec);
    if (!ex)
        return false;
    hc->conn->counters->requests++;
    hc->idle_since = 0;
    ex->stream = st;
    st->user = ex;
    st->arena = &ex->arena;
    st->req = &ex->req;
    return true;
}

const struct sl_h2_ops sl_codec_h2_ops = {.open = _sl_open};

/* The stream is reset; what the client did stands in the log. */
static void _sl_malformed(struct sl_exchange *ex, enum sl_h1_error e)
{
    ex->conn->counters->malformed++;
    if (ex->state == SL_EX_STAGES && !ex->correlation_id.p) {
        sl_request_client(ex);
        (void)sl_request_correlate(ex);
        ex->log_path = ex->req.path;
    }
    sl_exchange_abort(ex, SL_WHY_BAD_REQUEST, sl_h1_error_text(e));
}

static void _sl_begin(struct sl_exchange *ex, const struct sl_h2_stream *st)
{
    /* where a body is framed, its end is still to be taken, though it may have come already */
    ex->req_body.done = ex->req.framing == SL_FRAMING_NONE ||
                        (st->ended && ex->req.framing == SL_FRAMING_LENGTH && !ex->req.content_length);
    if (st->malformed)
        _sl_malformed(ex, st->error);
    else if (st->error != SL_H1_OK)
        sl_exchange_refuse(ex, st->error);
    else
        sl_exchange_start(ex);
}

/* Each of them may end the exchange. A request that was reset in the same breath, or has made us reset it, is
 * not begun: it would cost a connection to the upstream (PITFALLS: MadeYouReset). */
void sl_codec_h2_tell(struct sl_h2_stream *st, unsigned events)
{
    const bool gone = events & SL_H2_GONE, doomed = gone || st->overrun;
    if (st->user && (events & SL_H2_HEAD) && (!doomed || st->malformed))
        _sl_begin(st->user, st);
    if (st->user && (events & SL_H2_BODY) && st->malformed)
        _sl_malformed(st->user, st->error);
    if (st->user && (events & SL_H2_BODY) && !doomed)
        sl_exchange_client_data(st->user);
    if (st->user && (events & SL_H2_SENT)) {
        sl_shape_sent(st->user, st->sent);
        st->sent = 0;
        sl_exchange_client_writable(st->user);
    }
    if (st->user && gone)
        sl_exchange_client_gone(st->user);
}

/* ---- their bodies. The end counts as a byte, so that it is asked for when it comes alone. */

static enum sl_h1_error _sl_body(struct sl_exchange *ex, size_t *used, struct sl_slice *data)
{
    const struct sl_h2_stream *st = ex->stream;
    const size_t held = sl_buf_len(&st->in), n = SL_MIN(held, (size_t)SL_CHUNK);
    *data = sl_slice(sl_buf_data(&st->in), n);
    *used = n;
    if (n == held && st->ended) {
        ex->req_body.done = true;
        *used += 1;
    }
    ex->req_body.total += n;
    return SL_H1_OK;
}

static void _sl_taken(struct sl_exchange *ex, size_t used)
{
    sl_shape_spend(&ex->shape, SL_IN, SL_MIN(used, sl_buf_len(&ex->stream->in)));
    sl_h2_taken(ex->stream, used);
    sl_codec_h2_touch(ex->conn);
}

static size_t _sl_buffered(const struct sl_exchange *ex)
{
    const struct sl_h2_stream *st = ex->stream;
    return sl_buf_len(&st->in) + (st->ended && !ex->req_body.done);
}

/* A stream that breaks off says so itself; its connection may end before. */
static bool _sl_cut_short(struct sl_exchange *ex)
{
    return ex->conn->stream.eof && !ex->stream->ended && !sl_buf_len(&ex->stream->in);
}

/* Credit that is not given back holds the client. */
static void _sl_no_hold(struct sl_exchange *ex)
{
    (void)ex;
}

static int _sl_go_on(struct sl_exchange *ex)
{
    static const struct sl_headers none;
    sl_codec_h2_touch(ex->conn);
    return sl_h2_interim(ex->stream, 100, &none);
}

/* ---- answers */

void sl_codec_h2_allow(struct sl_exchange *ex, size_t n)
{
    ex->stream->allowance = n;
    sl_h2_more(ex->stream);
    sl_codec_h2_touch(ex->conn);
}

static int _sl_interim(struct sl_exchange *ex)
{
    sl_codec_h2_touch(ex->conn);
    return sl_h2_interim(ex->stream, ex->res.status, &ex->res.headers);
}

/* RFC 8441 section 5 */
static int _sl_tunnel(struct sl_exchange *ex)
{
    return sl_h2_answer(ex->stream, &ex->res, false);
}

static int _sl_head(struct sl_exchange *ex)
{
    const struct sl_response *r = &ex->res;
    const bool end = r->framing == SL_FRAMING_NONE || ex->req.method == SL_METHOD_HEAD ||
                     (r->framing == SL_FRAMING_LENGTH && r->content_length == 0);
    return sl_h2_answer(ex->stream, r, end);
}

static int _sl_data(struct sl_exchange *ex, struct sl_slice data)
{
    struct sl_h2_stream *st = ex->stream;
    if (!data.n || st->over || st->closed)
        return 0;
    const int r = sl_h2_lend(st);
    return r < 0 ? r : sl_buf_append_slice(&st->out, data);
}

static int _sl_end(struct sl_exchange *ex)
{
    struct sl_h2_stream *st = ex->stream;
    if (!st->over)
        sl_h2_end(st, &ex->res.trailers);
    return 0;
}

static struct sl_buf *_sl_payload(struct sl_exchange *ex)
{
    struct sl_h2_stream *st = ex->stream;
    return sl_h2_lend(st) < 0 ? NULL : &st->out;
}

static int _sl_flush(struct sl_exchange *ex)
{
    struct sl_h2_stream *st = ex->stream;
    sl_h2_more(st);
    sl_codec_h2_touch(ex->conn);
    return sl_buf_len(&st->out) || (st->over && !st->finished) ? 1 : 0;
}

static size_t _sl_unsent(const struct sl_exchange *ex)
{
    const struct sl_h2_stream *st = ex->stream;
    return sl_buf_len(&st->out);
}

/* RFC 9113 section 8.1: an answer that is whole before the request is tells the client to stop. RFC 8441
 * section 5: a WebSocket that breaks is cancelled. */
static void _sl_done(struct sl_exchange *ex, struct sl_conn *c, enum sl_client_next next)
{
    struct sl_h2_stream *st = SL_TAKE_PTR(ex->stream);
    sl_h2_abandon(st);
    if (next == SL_CLIENT_RESET) {
        c->reset = true;
        sl_h2_terminate(st->h2, SL_H2_WHY_PENALISED);
    } else if (next == SL_CLIENT_ABORT || next == SL_CLIENT_CUT) {
        sl_h2_reset(st, ex->tunnel ? SL_H2_CANCEL : SL_H2_INTERNAL_ERROR);
    } else if (!st->ended) {
        sl_h2_reset(st, SL_H2_NO_ERROR);
    }
    if (sl_conn_is_last(c))
        sl_codec_h2_drain(c);
    sl_codec_h2_touch(c);
}

static const struct sl_codec _sl_codec = {
    .protocol = "HTTP/2",
    .body = _sl_body,
    .taken = _sl_taken,
    .buffered = _sl_buffered,
    .cut_short = _sl_cut_short,
    .hold = _sl_no_hold,
    .release = _sl_no_hold,
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
