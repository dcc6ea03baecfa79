/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies, both ways, decoded and framed anew. Invariant (backpressure): no side is read while SL_OUT_HIGH
 * bytes of its have not been taken by the other; reading goes on at half of that.
 */
#include "gateway/exchange_priv.h"

#include <errno.h>

/* ---- the request's body */

int sl_relay_bad_body(struct sl_exchange *ex, enum sl_proxy_reason why, unsigned status, const char *detail)
{
    if (ex->head_sent) {
        sl_exchange_abort(ex, why, detail);
        return -EPROTO;
    }
    sl_forward_release(ex, false);
    ex->close = ex->linger = true;
    (void)sl_respond_problem(ex, why, status, detail);
    return -EPROTO;
}

/* Once more is to go out than one chunk holds, the request can no longer be sent again. */
static void _sl_forget_sent(struct sl_exchange *ex, size_t coming)
{
    if (!ex->replayable || sl_buf_len(&ex->req_out) + coming + SL_H1_CHUNK_OVERHEAD <= SL_CHUNK)
        return;
    ex->replayable = false;
    sl_buf_consume(&ex->req_out, ex->req_sent);
    ex->req_sent = 0;
}

int sl_relay_body(struct sl_exchange *ex, size_t *used, struct sl_slice *data)
{
    enum sl_h1_error e = ex->codec->body(ex, used, data);
    if (e != SL_H1_OK)
        return sl_relay_bad_body(ex, SL_WHY_BAD_REQUEST, sl_h1_error_status(e), sl_h1_error_text(e));
    ex->bytes_in += data->n;
    if (ex->bytes_in > ex->body_limit)
        return sl_relay_bad_body(ex, SL_WHY_BODY_TOO_LARGE, 413,
                                 "the request's body is larger than this route takes");
    return 0;
}

static int _sl_take_body(struct sl_exchange *ex)
{
    size_t used = 0;
    struct sl_slice data = SL_SLICE_NUL;
    int r = sl_relay_body(ex, &used, &data);
    if (r < 0)
        return r;
    _sl_forget_sent(ex, data.n);
    bool chunked = ex->req.framing == SL_FRAMING_CHUNKED && !ex->h2_out;
    r = sl_bufpool_lend(&ex->w->bufs, &ex->req_out);
    if (r == 0)
        r = sl_h1_write_data(&ex->req_out, data, chunked);
    if (r == 0 && ex->req_body.done)
        sl_request_clean_trailers(ex);
    if (r == 0 && chunked && ex->req_body.done)
        r = sl_h1_write_last(&ex->req_out, &ex->req.trailers);
    if (r < 0)
        return sl_relay_bad_body(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    ex->codec->taken(ex, used);
    return used ? 1 : 0;
}

static size_t _sl_unsent(const struct sl_exchange *ex)
{
    return sl_buf_len(&ex->req_out) - ex->req_sent;
}

static bool _sl_is_more(const struct sl_exchange *ex)
{
    return !ex->req_body.done && ex->codec->buffered(ex) && !sl_shape_holds_body(ex);
}

/* Takes and sends until the client has no more or the upstream takes no more. */
static int _sl_pump(struct sl_exchange *ex)
{
    int r = 1;
    do {
        while (r > 0 && _sl_is_more(ex) && _sl_unsent(ex) < SL_OUT_HIGH)
            r = _sl_take_body(ex);
        if (r < 0)
            return r;
        sl_forward_flush(ex);
    } while (r > 0 && !ex->send_failed && _sl_is_more(ex) && !_sl_unsent(ex));
    return 0;
}

int sl_relay_expect(struct sl_exchange *ex)
{
    if (!ex->req.expect_continue || ex->expect_sent || ex->codec->buffered(ex))
        return 0;
    ex->expect_sent = true;
    if (ex->codec->go_on(ex) == 0)
        return 0;
    sl_conn_close(ex->conn);
    return -EPIPE;
}

int sl_relay_request(struct sl_exchange *ex)
{
    int r = ex->send_failed ? 0 : _sl_pump(ex);
    if (r < 0)
        return r;
    if (ex->send_failed || _sl_unsent(ex) >= SL_OUT_HIGH) {
        ex->codec->hold(ex);
        return 0;
    }
    if (ex->codec->cut_short(ex) && ex->tunnel) {
        sl_tunnel_client_eof(ex);
        return 0;
    }
    if (ex->codec->cut_short(ex)) {
        sl_exchange_abort(ex, SL_WHY_CLIENT_GONE, "the request's body ended early");
        return -EPIPE;
    }
    if (_sl_unsent(ex) <= SL_OUT_LOW)
        ex->codec->release(ex);
    return 0;
}

/* ---- the answer's body */

/* All of the answer is in the client's buffer. */
void sl_relay_answer_done(struct sl_exchange *ex)
{
    if (ex->codec->end(ex) < 0) {
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
        return;
    }
    bool request_over = sl_request_is_over(ex);
    bool clean = request_over && !sl_buf_len(&ex->req_out) && !ex->send_failed;
    sl_forward_release(ex, ex->up_keep && clean);
    sl_exchange_complete(ex);
}

/* Sends on what there is; holds the upstream where the client does not keep up. */
void sl_relay_pass_on(struct sl_exchange *ex)
{
    if (ex->codec->flush(ex) < 0) {
        sl_conn_close(ex->conn);
        return;
    }
    if (!ex->up_held && ex->codec->unsent(ex) >= SL_OUT_HIGH) {
        ex->up_held = true;
        sl_stream_hold(&ex->up->stream);
    }
    sl_shape_hold_up(ex);
    sl_exchange_rearm(ex);
}

/* What the route takes out of the head does not come back in the trailers. */
void sl_relay_answer_trailers(struct sl_exchange *ex)
{
    if (ex->route->response)
        sl_transform_clean(ex->route->response, &ex->res.trailers);
}

static int _sl_take_answer_body(struct sl_exchange *ex, struct sl_buf *in)
{
    size_t used = 0;
    struct sl_slice data = SL_SLICE_NUL;
    enum sl_h1_error e = sl_h1_body_feed(&ex->res_body, sl_buf_slice(in), &used, &data);
    if (e == SL_H1_OK && ex->res_body.done && ex->res_body.n_text)
        e = sl_h1_body_trailers(&ex->res_body, &ex->res.trailers);
    if (e == SL_H1_OK && ex->res.trailers.n)
        sl_relay_answer_trailers(ex);
    if (e != SL_H1_OK) {
        sl_exchange_abort(ex, SL_WHY_UPSTREAM_MALFORMED, "the upstream's body cannot be read");
        return -EPROTO;
    }
    if (ex->codec->data(ex, data) < 0) {
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
        return -ENOMEM;
    }
    ex->bytes_out += data.n;
    sl_buf_consume(in, used);
    return used ? 1 : 0;
}

void sl_relay_answer(struct sl_exchange *ex)
{
    struct sl_buf *in = &ex->up->in;
    int r = 1;
    while (r > 0 && !ex->res_body.done && sl_buf_len(in))
        r = _sl_take_answer_body(ex, in);
    if (r < 0)
        return;
    if (!sl_buf_len(in))
        sl_bufpool_return(&ex->w->bufs, in);
    if (ex->res_body.done || ex->res_body.framing == SL_FRAMING_NONE)
        sl_relay_answer_done(ex);
    else
        sl_relay_pass_on(ex);
}

static void _sl_answer_ended(struct sl_exchange *ex)
{
    if (sl_h1_body_eof(&ex->res_body) == SL_H1_OK) {
        sl_relay_answer_done(ex);
        return;
    }
    sl_upconn_counters(ex->up)->resets++;
    sl_exchange_abort(ex, SL_WHY_UPSTREAM_RESET, "the upstream closed the connection inside its answer");
}

/* A body that needs no other framing goes from one socket's buffer into the other's without a copy between.
 */
static bool _sl_direct(const struct sl_exchange *ex)
{
    return ex->res_body.framing == SL_FRAMING_LENGTH && !sl_buf_len(&ex->up->in);
}

static ssize_t _sl_read_direct(struct sl_exchange *ex)
{
    struct sl_buf *out = ex->codec->payload(ex);
    if (out && ex->res_body.left > SL_CHUNK)
        sl_bufpool_widen(&ex->w->bufs, out);
    if (!out || sl_buf_reserve(out, SL_CHUNK / 4) < 0)
        return -ENOMEM;
    size_t room = (size_t)SL_MIN((uint64_t)sl_buf_room(out), ex->res_body.left);
    char *at = out->base + out->end;
    ssize_t n = sl_stream_read(&ex->up->stream, at, room);
    if (n <= 0)
        return n;
    size_t used = 0;
    struct sl_slice data = SL_SLICE_NUL;
    if (sl_h1_body_feed(&ex->res_body, sl_slice(at, (size_t)n), &used, &data) != SL_H1_OK ||
        used != (size_t)n)
        return -EPROTO;
    sl_buf_commit(out, data.n);
    ex->bytes_out += data.n;
    return n;
}

void sl_relay_response(struct sl_exchange *ex)
{
    struct sl_upconn *u = ex->up;
    ssize_t n;
    if (_sl_direct(ex)) {
        n = _sl_read_direct(ex);
    } else if (sl_bufpool_lend(&ex->w->bufs, &u->in) < 0 || sl_buf_reserve(&u->in, 1) < 0) {
        n = -ENOMEM;
    } else {
        n = sl_stream_read(&u->stream, u->in.base + u->in.end, sl_buf_room(&u->in));
        if (n > 0)
            sl_buf_commit(&u->in, (size_t)n);
    }
    if (n > 0)
        sl_relay_answer(ex);
    else if (n == -EPIPE)
        _sl_answer_ended(ex);
    else if (n < 0)
        sl_exchange_abort(ex, SL_WHY_UPSTREAM_RESET, "the upstream's connection failed inside its answer");
}
