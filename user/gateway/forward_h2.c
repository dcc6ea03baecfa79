/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upstream's side of an exchange where that speaks HTTP/2: what a stream asks for and tells, in terms of
 * the exchange. Invariant: req_out holds the body as it is, all of it while replayable; the answer's bytes go
 * straight to the client's codec, at most a window of them more than the client takes.
 */
#include "gateway/exchange_priv.h"

#include <errno.h>

static const struct sl_request *_sl_request(struct sl_upconn *u)
{
    return &((struct sl_exchange *)u->owner)->req;
}

static struct sl_arena *_sl_arena(struct sl_upconn *u)
{
    return &((struct sl_exchange *)u->owner)->arena;
}

/* What asks for a tunnel has an end only once that is open. */
static bool _sl_is_whole(const struct sl_exchange *ex)
{
    if (ex->req.upgrade && !ex->tunnel)
        return false;
    return sl_request_is_over(ex);
}

static const char _sl_no_tunnel[] = "the upstream does not offer WebSocket over HTTP/2 (RFC 8441)";

int sl_forward_h2_ask(struct sl_exchange *ex)
{
    const bool body = !_sl_is_whole(ex) || sl_buf_len(&ex->req_out) || ex->req.trailers.n;
    const int r = sl_upconn_ask(ex->up, body);
    if (r == -EOPNOTSUPP)
        sl_forward_failed(ex, SL_WHY_UPSTREAM_NO_UPGRADE, _sl_no_tunnel);
    else if (r < 0)
        sl_forward_failed(ex, SL_WHY_UPSTREAM_RESET, "the upstream's connection takes no more requests");
    return r;
}

static size_t _sl_pull(struct sl_upconn *u, char *to, size_t room, bool *last)
{
    struct sl_exchange *ex = u->owner;
    const size_t n = SL_MIN(room, sl_buf_len(&ex->req_out) - ex->req_sent);
    if (n)
        memcpy(to, sl_buf_data(&ex->req_out) + ex->req_sent, n);
    if (ex->replayable)
        ex->req_sent += n;
    else
        sl_buf_consume(&ex->req_out, n);
    *last = _sl_is_whole(ex) && sl_buf_len(&ex->req_out) == ex->req_sent;
    return n;
}

static void _sl_head(struct sl_upconn *u, const struct sl_response *res)
{
    struct sl_exchange *ex = u->owner;
    ex->res = *res;
    if (res->status < 200)
        (void)sl_forward_interim(ex);
    else if (sl_forward_answered(ex) == 0 && ex->tunnel) /* what the client did not wait with */
        (void)sl_relay_request(ex);
}

static void _sl_data(struct sl_upconn *u, struct sl_slice data)
{
    struct sl_exchange *ex = u->owner;
    ex->bytes_out += data.n;
    if (ex->codec->data(ex, data) < 0)
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
}

/* RFC 9110 section 6.5.1: for who offered to take them. */
static void _sl_trailers(struct sl_upconn *u, const struct sl_headers *trailers)
{
    struct sl_exchange *ex = u->owner;
    if (!ex->req.te_trailers)
        return;
    ex->res.trailers = *trailers;
    sl_relay_answer_trailers(ex);
}

static void _sl_end(struct sl_upconn *u)
{
    sl_relay_answer_done(u->owner);
}

static void _sl_gone(struct sl_upconn *u, enum sl_upconn_gone how)
{
    static const struct {
        enum sl_proxy_reason why;
        const char *detail;
    } of[] = {
        [SL_UPCONN_RESET] = {SL_WHY_UPSTREAM_RESET, "the upstream ended the stream without an answer"},
        [SL_UPCONN_MALFORMED] = {SL_WHY_UPSTREAM_MALFORMED, "the upstream's answer cannot be read"},
        [SL_UPCONN_NO_CONNECT] = {SL_WHY_UPSTREAM_NO_UPGRADE, _sl_no_tunnel},
    };
    struct sl_exchange *ex = u->owner;
    u->reused |= u->refused; /* nobody is to blame: RFC 9113 section 8.7 lets any method be sent again */
    if (!ex->head_sent) {
        sl_forward_failed(ex, of[how].why, of[how].detail);
        return;
    }
    sl_upconn_counters(u)->resets++;
    sl_exchange_abort(ex, of[how].why, "the upstream ended the stream inside its answer");
}

const struct sl_upconn_h2_ops sl_forward_h2 = {.request = _sl_request,
                                               .arena = _sl_arena,
                                               .pull = _sl_pull,
                                               .head = _sl_head,
                                               .data = _sl_data,
                                               .trailers = _sl_trailers,
                                               .end = _sl_end,
                                               .gone = _sl_gone};
