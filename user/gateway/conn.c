/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection (conn_priv.h draws its states). Invariant: ex is set exactly in EXCHANGE; a closed
 * connection has no buffer, no watcher, no timer, and its memory goes at the end of the turn.
 */
#include "gateway/exchange_priv.h"
#include "gateway/overload_priv.h"
#include "http/h2.h"
#include "net/socket.h"
#include "net/tls.h"

#include <errno.h>

static void _sl_process(struct sl_conn *c);

/* ---- the end */

static void _sl_conn_free(struct sl_deferred *d)
{
    struct sl_conn *c = SL_CONTAINER_OF(d, struct sl_conn, deferred);
    if (c->h2)
        sl_codec_h2_free(c);
    sl_bind_unref(c->bind);
    sl_client_cert_free(c->cert);
    free(c);
}

void sl_conn_close(struct sl_conn *c)
{
    if (c->state == SL_CONN_CLOSED)
        return;
    struct sl_exchange *ex = c->ex;
    bool notify = c->state != SL_CONN_HANDSHAKE && !ex && !c->reset;
    c->bind->handshaking -= c->state == SL_CONN_HANDSHAKE;
    sl_conn_set_state(c, SL_CONN_CLOSED);
    if (c->reset) {
        c->stream.last = false;
        sl_socket_reset_on_close(c->stream.fd);
    }
    sl_stream_close(&c->stream, notify);
    sl_timer_stop(&c->w->loop, &c->timer);
    sl_shape_stop(&c->shape);
    sl_bufpool_return(&c->w->bufs, &c->in);
    sl_bufpool_return(&c->w->bufs, &c->out);
    sl_list_remove(&c->node);
    sl_list_remove(&c->unread);
    sl_overload_left(c->w, c->source_row);
    c->w->n_conns--;
    c->bind->active--;
    c->counters->active--;
    if (SL_TAKE_PTR(c->ex))
        sl_exchange_client_gone(ex);
    if (c->h2)
        sl_codec_h2_gone(c);
    sl_loop_defer(&c->w->loop, &c->deferred, _sl_conn_free);
    sl_worker_maybe_done(c->w);
}

void sl_conn_linger(struct sl_conn *c)
{
    sl_conn_set_state(c, SL_CONN_LINGER);
    if (c->h2)
        sl_codec_h2_gone(c);
    sl_stream_finish(&c->stream);
    sl_bufpool_return(&c->w->bufs, &c->in);
    sl_bufpool_return(&c->w->bufs, &c->out);
    sl_timer_set(&c->w->loop, &c->timer, c->w->loop.now + SL_LINGER_NS);
    if (c->stream.eof)
        sl_conn_close(c);
}

static void _sl_read_away(struct sl_conn *c)
{
    char waste[4096];
    ssize_t n = sl_stream_read(&c->stream, waste, sizeof(waste));
    if (n > 0)
        c->discarded += (size_t)n;
    if (n < 0 || c->discarded > SL_LINGER_MAX)
        sl_conn_close(c);
}

/* ---- reading */

static void _sl_hold_full(struct sl_conn *c)
{
    if (!c->full) {
        c->full = true;
        sl_conn_hold(c);
    }
}

static void _sl_release_full(struct sl_conn *c)
{
    if (c->full) {
        c->full = false;
        sl_stream_release(&c->stream);
    }
}

void sl_conn_pause(struct sl_conn *c)
{
    if (!c->paused) {
        c->paused = true;
        sl_conn_hold(c);
    }
}

void sl_conn_resume(struct sl_conn *c)
{
    if (c->paused) {
        c->paused = false;
        sl_stream_release(&c->stream);
    }
    if (c->full && (!c->in.base || sl_buf_room(&c->in) || c->in.start))
        _sl_release_full(c);
}

/* One receive into in: > 0, 0 nothing there, -errno. */
static ssize_t _sl_receive(struct sl_conn *c)
{
    if (sl_bufpool_lend(&c->w->bufs, &c->in) < 0)
        return -ENOMEM;
    if (!sl_buf_room(&c->in) && sl_buf_reserve(&c->in, 1) < 0)
        return -ENOMEM;
    ssize_t n = sl_stream_read(&c->stream, c->in.base + c->in.end, sl_buf_room(&c->in));
    if (n > 0) {
        sl_buf_commit(&c->in, (size_t)n);
        c->counters->bytes_in += (uint64_t)n;
        c->moved += (uint64_t)n;
        sl_shape_spend(&c->shape, SL_IN, (size_t)n);
    } else if (!sl_buf_len(&c->in)) {
        sl_bufpool_return(&c->w->bufs, &c->in);
    }
    return n;
}

/* Between requests: a head, or the end. The codec's cap on heads bounds what is buffered. */
static void _sl_read_head(struct sl_conn *c)
{
    ssize_t n = _sl_receive(c);
    if (n > 0)
        _sl_process(c);
    else if (n < 0)
        sl_conn_close(c);
}

static void _sl_read_streams(struct sl_conn *c)
{
    ssize_t n = _sl_receive(c);
    if (n > 0)
        sl_codec_h2_data(c);
    else if (n == -EPIPE)
        sl_codec_h2_eof(c);
    else if (n < 0)
        sl_conn_close(c);
}

static void _sl_begin_streams(struct sl_conn *c)
{
    sl_conn_set_state(c, SL_CONN_STREAMS);
    if (sl_codec_h2_begin(c) < 0)
        sl_conn_close(c);
    else if (sl_buf_len(&c->in))
        sl_codec_h2_data(c);
    if (c->state == SL_CONN_STREAMS && sl_conn_is_last(c))
        sl_codec_h2_drain(c);
}

/* While an exchange is under way: its body, or what the client pipelines, of which one chunk is kept. */
static void _sl_read_on(struct sl_conn *c)
{
    if (c->in.base && !sl_buf_room(&c->in) && !c->in.start) {
        _sl_hold_full(c);
        return;
    }
    ssize_t n = _sl_receive(c);
    if (n > 0)
        sl_exchange_client_data(c->ex);
    else if (n == -EPIPE)
        sl_exchange_client_eof(c->ex);
    else if (n < 0)
        sl_conn_close(c);
}

static void _sl_on_readable(struct sl_stream *s);

static void _sl_handshake(struct sl_conn *c)
{
    int r = sl_stream_handshake(&c->stream);
    if (r == 1)
        r = sl_conn_handshake_done(c) < 0 ? -EACCES : 1;
    else if (r < 0)
        sl_conn_handshake_failed(c, r);
    if (r < 0)
        sl_conn_close(c);
    if (r <= 0)
        return;
    c->bind->handshaking--;
    const struct sl_listener *l = c->bind->listener;
    if (sl_tls_speaks(c->stream.ssl, SL_S("h2"))) {
        _sl_begin_streams(c);
    } else {
        sl_conn_set_state(c, SL_CONN_IDLE);
        sl_timer_set(&c->w->loop, &c->timer,
                     c->w->loop.now + (sl_conn_is_leaving(c) ? SL_FAREWELL_NS : l->timeouts.headers));
    }
    if (c->state != SL_CONN_CLOSED && SSL_has_pending(c->stream.ssl))
        _sl_on_readable(&c->stream);
}

static void _sl_on_readable(struct sl_stream *s)
{
    struct sl_conn *c = SL_CONTAINER_OF(s, struct sl_conn, stream);
    if (c->silent)
        sl_conn_begins_late(c);
    switch (c->state) {
    case SL_CONN_PROXIED:
        if (sl_conn_proxied_read(c) > 0)
            sl_conn_set_state(c, s->ssl ? SL_CONN_HANDSHAKE : SL_CONN_IDLE);
        break;
    case SL_CONN_HANDSHAKE:
        _sl_handshake(c);
        break;
    case SL_CONN_IDLE:
    case SL_CONN_HEAD:
        _sl_read_head(c);
        break;
    case SL_CONN_EXCHANGE:
        _sl_read_on(c);
        break;
    case SL_CONN_STREAMS:
        _sl_read_streams(c);
        break;
    case SL_CONN_LINGER:
        _sl_read_away(c);
        break;
    default:
        break;
    }
}

/* ---- writing */

struct sl_buf *sl_conn_out(struct sl_conn *c)
{
    return sl_bufpool_lend(&c->w->bufs, &c->out) < 0 ? NULL : &c->out;
}

int sl_conn_flush(struct sl_conn *c)
{
    while (sl_buf_len(&c->out)) {
        size_t want = sl_buf_len(&c->out);
        ssize_t n = sl_stream_write(&c->stream, sl_buf_data(&c->out), want);
        if (n < 0)
            return (int)n;
        sl_buf_consume(&c->out, (size_t)n);
        c->counters->bytes_out += (uint64_t)n;
        c->moved += (uint64_t)n;
        sl_shape_spend(&c->shape, SL_OUT, (size_t)n);
        if (n == 0 || (!c->stream.ssl && (size_t)n < want)) { /* the socket is full: a retry would say so */
            sl_stream_watch_write(&c->stream, true);
            return 1;
        }
    }
    sl_bufpool_return(&c->w->bufs, &c->out);
    if (ev_is_active(&c->stream.wr))
        sl_stream_watch_write(&c->stream, false);
    return 0;
}

static void _sl_on_writable(struct sl_stream *s)
{
    struct sl_conn *c = SL_CONTAINER_OF(s, struct sl_conn, stream);
    if (c->state == SL_CONN_HANDSHAKE)
        _sl_handshake(c);
    else if (c->state == SL_CONN_EXCHANGE)
        sl_exchange_client_writable(c->ex);
    else if (c->state == SL_CONN_STREAMS)
        sl_codec_h2_writable(c);
    else if (c->state != SL_CONN_CLOSED)
        sl_stream_watch_write(s, false);
}

/* ---- heads */

void sl_conn_ack_now(struct sl_conn *c)
{
    if (c->stream.ssl || c->acked || !c->peer_ip.family)
        return;
    c->acked = true;
    sl_socket_ack_now(c->stream.fd);
}

static void _sl_head_incomplete(struct sl_conn *c)
{
    if (c->state == SL_CONN_HEAD)
        return;
    sl_conn_set_state(c, SL_CONN_HEAD); /* from its first byte on, however slowly the rest comes */
    sl_conn_ack_now(c);
    sl_timer_set(&c->w->loop, &c->timer, c->w->loop.now + c->bind->listener->timeouts.headers);
}

/* RFC 9113 section 3.3: whoever knows that we speak HTTP/2 begins with its preface. False: not enough of it
 * has come to tell. */
static bool _sl_sniffed(struct sl_conn *c)
{
    const size_t n = SL_MIN(sl_buf_len(&c->in), SL_H2_PREFACE_LEN);
    const bool same = memcmp(sl_buf_data(&c->in), SL_H2_PREFACE, n) == 0;
    if (same && n < SL_H2_PREFACE_LEN && c->bind->listener->protocols.http1) {
        _sl_head_incomplete(c);
        return false;
    }
    c->sniff = false;
    if (same || !c->bind->listener->protocols.http1)
        _sl_begin_streams(c);
    return true;
}

/* Takes one head off the buffer: false where there is none yet. */
static bool _sl_next_head(struct sl_conn *c)
{
    const struct sl_h1_limits limits = sl_codec_h1_limits(c->bind->listener);
    ssize_t n = sl_h1_head_end(sl_buf_slice(&c->in), &c->scanned, &limits);
    if (n == 0) {
        _sl_head_incomplete(c);
        return false;
    }
    c->scanned = 0;
    sl_timer_set(&c->w->loop, &c->timer, 0);
    sl_conn_set_state(c, SL_CONN_EXCHANGE);
    c->counters->requests++;
    if (n < 0)
        sl_codec_h1_refuse(c, (enum sl_h1_error) - n);
    else
        sl_codec_h1_begin(c, (size_t)n);
    return true;
}

/* Runs the requests that are buffered, one after the other; answers that end at once do not nest. */
static void _sl_process(struct sl_conn *c)
{
    if (c->processing)
        return;
    c->processing = true;
    while ((c->state == SL_CONN_IDLE || c->state == SL_CONN_HEAD) && sl_buf_len(&c->in) &&
           !sl_shape_hold_next(c))
        if (c->sniff ? !_sl_sniffed(c) : !_sl_next_head(c))
            break;
    c->processing = false;
    if (c->shape.holds_client)
        return; /* what is left is looked at again when the wait is over */
    bool between = c->state == SL_CONN_IDLE || c->state == SL_CONN_HEAD;
    if (between && c->stream.eof)
        sl_conn_close(c);
    else if (between && !sl_buf_len(&c->in))
        sl_bufpool_return(&c->w->bufs, &c->in);
}

void sl_conn_go_on(struct sl_conn *c)
{
    if (c->state == SL_CONN_IDLE || c->state == SL_CONN_HEAD)
        _sl_process(c);
}

void sl_conn_exchange_done(struct sl_conn *c, enum sl_client_next next)
{
    c->ex = NULL;
    bool unread = sl_buf_len(&c->in) > 0;
    bool leaving = sl_conn_is_last(c) && !sl_conn_may_ask_once_more(c);
    bool last = next == SL_CLIENT_FINISH || leaving || (c->stream.eof && !unread);
    sl_conn_resume(c);
    _sl_release_full(c);
    c->reset = next == SL_CLIENT_CUT || next == SL_CLIENT_RESET;
    if (c->reset || next == SL_CLIENT_ABORT) {
        sl_conn_close(c);
    } else if (next == SL_CLIENT_DRAIN || (last && unread)) {
        sl_conn_linger(c);
    } else if (last) {
        sl_conn_close(c);
    } else {
        sl_conn_set_state(c, SL_CONN_IDLE);
        c->scanned = 0;
        sl_timer_set(&c->w->loop, &c->timer, sl_conn_idle_until(c));
        if (!sl_shape_hold_next(c))
            _sl_process(c);
    }
}

/* ---- deadlines, and the beginning */

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_conn *c = SL_CONTAINER_OF(t, struct sl_conn, timer);
    if (c->state == SL_CONN_EXCHANGE)
        return;
    if (c->state == SL_CONN_STREAMS) {
        sl_codec_h2_timer(c);
        return;
    }
    if ((c->state <= SL_CONN_HANDSHAKE && !c->silent) || c->state == SL_CONN_HEAD)
        c->counters->timeouts++;
    if (c->state == SL_CONN_HANDSHAKE && !c->silent)
        sl_conn_handshake_failed(c, -ETIMEDOUT);
    if (c->state != SL_CONN_HEAD) {
        sl_conn_close(c);
        return;
    }
    sl_conn_set_state(c, SL_CONN_EXCHANGE);
    c->counters->requests++;
    sl_codec_h1_timeout(c);
}

void sl_conn_accept(struct sl_bind *b, int fd, const struct sl_sockaddr *peer, uint32_t source_row)
{
    struct sl_conn *c = malloc(sizeof(*c));
    SSL *ssl = b->tls ? sl_tls_accept_new(b->tls) : NULL;
    if (!c || (b->tls && !ssl)) {
        free(c);
        SSL_free(ssl);
        (void)close(fd);
        sl_overload_left(b->w, source_row);
        b->counters->refused++;
        b->counters->refused_by[SL_REFUSED_MEMORY]++;
        return;
    }
    b->refs++;
    b->w->n_conns++;
    b->active++;
    b->handshaking += ssl != NULL;
    *c = (struct sl_conn){.w = b->w,
                          .bind = b,
                          .peer = *peer,
                          .counters = b->counters,
                          .trust = b->trust,
                          .source_row = source_row};
    c->state = b->listener->proxy_protocol ? SL_CONN_PROXIED : ssl ? SL_CONN_HANDSHAKE : SL_CONN_IDLE;
    c->sniff = !ssl && b->listener->protocols.h2;
    c->peer_ip = sl_sockaddr_ip(peer);
    if (c->peer_ip.family)
        (void)sl_ip_text(&c->peer_ip, c->peer_text);
    else
        (void)strcpy(c->peer_text, "unix");
    c->counters->connections++;
    c->counters->active++;
    c->stream.on_readable = _sl_on_readable;
    c->stream.on_writable = _sl_on_writable;
    sl_timer_init(&c->timer, _sl_on_timer);
    sl_list_init(&c->unread);
    sl_shape_init(c);
    sl_list_push_back(&b->w->conns, &c->node);
    if (c->state == SL_CONN_IDLE)
        sl_list_push_back(&b->w->idle, &c->idle);
    sl_stream_open(&c->stream, &b->w->loop, fd, ssl);
    uint64_t wait = ssl ? b->listener->timeouts.handshake : b->listener->timeouts.headers;
    sl_timer_set(&b->w->loop, &c->timer, b->w->loop.now + wait);
    /* The first request is there (sl_socket_listener), and one that is answered at once needs no place in the
     * loop. c may be closed then, but its memory is there until the end of the turn. */
    if (sl_conn_proxied_begin(c) && !ssl)
        sl_stream_poke(&c->stream);
}
