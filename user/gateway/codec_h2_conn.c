/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that carries many exchanges. What comes is fed to the session at once; what goes is pulled
 * from it once a turn of the loop, when all callbacks are over, so that the answers of a turn leave in one
 * write and one TLS record. Invariant: a connection in STREAMS that may have something to send stands in the
 * worker's list, or its socket is full and the write watcher is on.
 */
#include "gateway/codec_h2_priv.h"

#include <errno.h>

#define SL_DRAIN_NS SL_NS_PER_SEC /* for the answer to the PING of a shutdown */

/* ---- the beginning and the end */

int sl_codec_h2_begin(struct sl_conn *c)
{
    const struct sl_listener *l = c->bind->listener;
    const struct sl_h2_limits limits = {.headers = l->limits.headers,
                                        .header_count = l->limits.header_count,
                                        .streams = l->limits.streams,
                                        .connect_protocol = c->bind->config->upgrades};
    struct sl_h2_conn *hc = calloc(1, sizeof(*hc));
    if (!hc)
        return -ENOMEM;
    *hc = (struct sl_h2_conn){.conn = c, .idle_since = c->w->loop.now};
    sl_list_init(&hc->dirty);
    hc->h2 = sl_h2_new(&sl_codec_h2_ops, hc, &c->w->bufs, &c->w->h2_mem, &limits, c->w->loop.now);
    if (!hc->h2) {
        free(hc);
        return -ENOMEM;
    }
    c->h2 = hc;
    c->counters->h2_connections++;
    sl_codec_h2_touch(c);
    return 0;
}

static void _sl_count_end(struct sl_conn *c)
{
    struct sl_h2_conn *hc = c->h2;
    const enum sl_h2_why why = sl_h2_why(hc->h2);
    if (hc->counted || why == SL_H2_WHY_NONE)
        return;
    hc->counted = true;
    c->counters->h2_ended[why]++;
    c->counters->timeouts += why == SL_H2_WHY_HEADERS_TIMEOUT || why == SL_H2_WHY_SLOW_READER;
}

void sl_codec_h2_each(struct sl_conn *c, void (*fn)(struct sl_exchange *))
{
    for (struct sl_h2_stream *st = sl_h2_first(c->h2->h2); st; st = sl_h2_after(st))
        if (st->user)
            fn(st->user);
}

void sl_codec_h2_gone(struct sl_conn *c)
{
    _sl_count_end(c);
    sl_list_remove(&c->h2->dirty);
    sl_codec_h2_each(c, sl_exchange_client_gone);
}

void sl_codec_h2_free(struct sl_conn *c)
{
    struct sl_h2_conn *hc = SL_TAKE_PTR(c->h2);
    sl_list_remove(&hc->dirty);
    sl_h2_free(hc->h2);
    free(hc);
}

/* ---- deadlines */

/* What the client owes, and since when: the first of them ends the connection. */
static uint64_t _sl_deadline(const struct sl_conn *c, enum sl_h2_why *why)
{
    const struct sl_h2_conn *hc = c->h2;
    const struct sl_listener *l = c->bind->listener;
    const struct {
        uint64_t since, wait;
        enum sl_h2_why why;
    } due[] = {
        {sl_h2_owes_since(hc->h2), l->timeouts.headers, SL_H2_WHY_HEADERS_TIMEOUT},
        {hc->stalled_since, l->timeouts.body, SL_H2_WHY_SLOW_READER},
        {hc->idle_since, l->timeouts.idle, SL_H2_WHY_IDLE},
        {hc->drain_since, SL_DRAIN_NS, SL_H2_WHY_NONE},
    };
    uint64_t at = 0;
    for (size_t i = 0; i < SL_ARRAY_LEN(due); i++) {
        if (!due[i].since || (at && due[i].since + due[i].wait >= at))
            continue;
        at = due[i].since + due[i].wait;
        *why = due[i].why;
    }
    return at;
}

static void _sl_rearm(struct sl_conn *c)
{
    enum sl_h2_why why;
    if (c->state == SL_CONN_STREAMS)
        sl_timer_set(&c->w->loop, &c->timer, _sl_deadline(c, &why));
}

void sl_codec_h2_timer(struct sl_conn *c)
{
    struct sl_h2_conn *hc = c->h2;
    enum sl_h2_why why = SL_H2_WHY_NONE;
    const uint64_t at = _sl_deadline(c, &why);
    if (at && at <= c->w->loop.now && why == SL_H2_WHY_NONE) {
        hc->drain_since = 0;
        sl_h2_shutdown(hc->h2);
    } else if (at && at <= c->w->loop.now) {
        sl_h2_terminate(hc->h2, why);
        if (hc->stalled_since) { /* nothing more can be told */
            c->reset = true;
            sl_conn_close(c);
            return;
        }
    }
    sl_codec_h2_touch(c);
    _sl_rearm(c);
}

void sl_codec_h2_drain(struct sl_conn *c)
{
    struct sl_h2_conn *hc = c->h2;
    if (hc->drain_since || sl_h2_is_draining(hc->h2))
        return;
    hc->drain_since = c->w->loop.now;
    sl_h2_shutdown(hc->h2);
    sl_codec_h2_touch(c);
    _sl_rearm(c);
}

/* ---- events */

static void _sl_run(struct sl_conn *c)
{
    struct sl_h2_conn *hc = c->h2;
    struct sl_h2_stream *st;
    unsigned events = 0;
    while (c->state == SL_CONN_STREAMS && (st = sl_h2_next(hc->h2, &events)))
        sl_codec_h2_tell(st, events);
    if (c->state != SL_CONN_STREAMS)
        return;
    if (sl_h2_streams(hc->h2))
        hc->idle_since = 0;
    else if (!hc->idle_since)
        hc->idle_since = c->w->loop.now;
}

/* ---- in */

void sl_codec_h2_data(struct sl_conn *c)
{
    sl_h2_feed(c->h2->h2, sl_buf_slice(&c->in), c->w->loop.now);
    sl_buf_consume(&c->in, sl_buf_len(&c->in));
    sl_bufpool_return(&c->w->bufs, &c->in);
    sl_codec_h2_touch(c);
    _sl_run(c);
    _sl_rearm(c);
}

/* FIN: what is under way may still be answered, for as long as an exchange waits for one who left. */
void sl_codec_h2_eof(struct sl_conn *c)
{
    sl_codec_h2_each(c, sl_exchange_client_eof);
    _sl_run(c);
    if (c->state == SL_CONN_STREAMS && !sl_h2_streams(c->h2->h2))
        sl_conn_close(c);
}

bool sl_codec_h2_is_idle(const struct sl_conn *c)
{
    return !sl_h2_streams(c->h2->h2);
}

/* ---- out */

static bool _sl_is_over(const struct sl_conn *c)
{
    return sl_h2_is_over(c->h2->h2) || (c->stream.eof && !sl_h2_streams(c->h2->h2));
}

/* Errors are told, and then the rest of what the client sends is read away: RST must not overtake GOAWAY. */
static void _sl_finish(struct sl_conn *c)
{
    const enum sl_h2_why why = sl_h2_why(c->h2->h2);
    if (c->reset || why == SL_H2_WHY_NONE || why == SL_H2_WHY_IDLE || why == SL_H2_WHY_DRAINED)
        sl_conn_close(c);
    else
        sl_conn_linger(c);
}

/* Pulls and writes until there is nothing more, or the socket is full. -errno: the client is gone. */
static int _sl_pump(struct sl_conn *c)
{
    struct sl_h2_conn *hc = c->h2;
    int more = 1, r = 0;
    while (more && r == 0) {
        struct sl_buf *out = sl_conn_out(c);
        more = out ? sl_h2_pull(hc->h2, out, c->w->loop.now) : -ENOMEM;
        if (more < 0)
            return more;
        const size_t before = sl_buf_len(out);
        r = sl_conn_flush(c);
        if (r > 0 && sl_buf_len(&c->out) == before)
            hc->stalled_since = hc->stalled_since ? hc->stalled_since : c->w->loop.now;
        else
            hc->stalled_since = r > 0 ? c->w->loop.now : 0;
    }
    return r;
}

static void _sl_send(struct sl_conn *c)
{
    const int r = _sl_pump(c);
    if (r < 0) {
        sl_conn_close(c);
        return;
    }
    _sl_run(c);
    if (c->state != SL_CONN_STREAMS)
        return;
    if (r == 0 && _sl_is_over(c))
        _sl_finish(c);
    else
        _sl_rearm(c);
}

void sl_codec_h2_writable(struct sl_conn *c)
{
    sl_list_remove(&c->h2->dirty);
    _sl_send(c);
}

static void _sl_send_all(struct sl_deferred *d)
{
    struct sl_worker *w = SL_CONTAINER_OF(d, struct sl_worker, h2_send);
    while (!sl_list_empty(&w->h2_dirty)) {
        struct sl_h2_conn *hc = SL_LIST_ENTRY(w->h2_dirty.next, struct sl_h2_conn, dirty);
        sl_list_remove(&hc->dirty);
        _sl_send(hc->conn);
    }
    w->h2_sending = false;
}

void sl_codec_h2_touch(struct sl_conn *c)
{
    struct sl_h2_conn *hc = c->h2;
    struct sl_worker *w = c->w;
    if (c->state != SL_CONN_STREAMS || !sl_list_empty(&hc->dirty) || ev_is_active(&c->stream.wr))
        return;
    sl_list_push_back(&w->h2_dirty, &hc->dirty);
    if (!w->h2_sending) {
        w->h2_sending = true;
        sl_loop_defer(&w->loop, &w->h2_send, _sl_send_all);
    }
}
