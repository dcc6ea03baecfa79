/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of a plain or TLS socket. Invariant: fd -1 implies that both watchers are stopped and no
 * callback comes any more.
 */
#include "net/stream.h"

#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

/* Comes back for what OpenSSL holds: the socket is empty and will not say so. */
static void _sl_feed(struct sl_stream *s)
{
    if (s->fd >= 0 && s->ssl && s->filled && !s->held && !s->eof && SSL_has_pending(s->ssl))
        ev_feed_event(s->loop->ev, &s->rd, EV_READ);
}

void sl_stream_poke(struct sl_stream *s)
{
    s->filled = false;
    s->on_readable(s);
    _sl_feed(s);
}

static void _sl_on_rd(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)revents;
    struct sl_stream *s = w->data;
    if (s->held || s->eof) {
        ev_io_stop(ev, w);
        return;
    }
    sl_stream_poke(s);
    sl_loop_settle(s->loop);
}

static void _sl_on_wr(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev, (void)revents;
    struct sl_stream *s = w->data;
    if (s->read_wants_write) {
        s->read_wants_write = false;
        ev_feed_event(s->loop->ev, &s->rd, EV_READ);
    }
    s->on_writable(s);
    _sl_feed(s);
    sl_loop_settle(s->loop);
}

void sl_stream_open(struct sl_stream *s, struct sl_loop *l, int fd, SSL *ssl)
{
    s->fd = fd;
    s->loop = l;
    s->ssl = ssl;
    s->held = 0;
    s->eof = s->drained = s->no_receive = s->filled = s->read_wants_write = s->last = s->more = false;
    s->sent = 0;
    if (ssl)
        sl_tls_attach(ssl, s);
    ev_io_init(&s->rd, _sl_on_rd, fd, EV_READ);
    ev_io_init(&s->wr, _sl_on_wr, fd, EV_WRITE);
    s->rd.data = s->wr.data = s;
    ev_io_start(l->ev, &s->rd);
}

void sl_stream_close(struct sl_stream *s, bool notify)
{
    if (s->fd < 0)
        return;
    ev_io_stop(s->loop->ev, &s->rd);
    ev_io_stop(s->loop->ev, &s->wr);
    if (s->ssl) {
        ERR_clear_error();
        if (notify && SSL_is_init_finished(s->ssl) && !(SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN))
            (void)SSL_shutdown(s->ssl); /* one way: the peer need not answer */
        SSL_free(s->ssl);
        s->ssl = NULL;
        ERR_clear_error();
    }
    if (s->last) /* before close(), which would drop what MSG_MORE holds back if the peer had sent more */
        (void)shutdown(s->fd, SHUT_WR);
    (void)close(s->fd);
    s->fd = -1;
}

/* What an SSL call that did not succeed means, as a return of read or write. */
static ssize_t _sl_ssl_result(struct sl_stream *s, int r, bool reading)
{
    int saved = errno;
    switch (SSL_get_error(s->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_WANT_WRITE:
        if (reading) {
            s->read_wants_write = true;
            sl_stream_watch_write(s, true);
        }
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return -EPIPE;
    case SSL_ERROR_SYSCALL:
        return saved ? -saved : -ECONNRESET;
    default:
        return -EPROTO;
    }
}

static ssize_t _sl_end_of_stream(struct sl_stream *s)
{
    s->eof = true;
    ev_io_stop(s->loop->ev, &s->rd);
    return -EPIPE;
}

/* All records of one receive, up to n bytes: a second receive is made only if the first one was not short. */
static ssize_t _sl_ssl_read(struct sl_stream *s, char *p, size_t n)
{
    size_t got = 0;
    int r = 0;
    n = SL_MIN(n, (size_t)INT32_MAX);
    ERR_clear_error();
    errno = 0;
    s->drained = false;
    do {
        r = SSL_read(s->ssl, p + got, (int)(n - got));
        if (r <= 0)
            break;
        got += (size_t)r;
        s->no_receive = s->drained;
    } while (got < n && SSL_has_pending(s->ssl));
    s->no_receive = false;
    s->filled = got == n;
    if (got)
        return (ssize_t)got;
    ssize_t e = _sl_ssl_result(s, r, true);
    return e == -EPIPE ? _sl_end_of_stream(s) : e;
}

ssize_t sl_stream_read(struct sl_stream *s, void *p, size_t n)
{
    if (s->ssl)
        return _sl_ssl_read(s, p, n);
    ssize_t r = recv(s->fd, p, n, 0);
    s->drained = r < (ssize_t)n;
    if (r > 0)
        return r;
    if (r == 0)
        return _sl_end_of_stream(s);
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

ssize_t sl_stream_write(struct sl_stream *s, const void *p, size_t n)
{
    if (s->ssl) {
        ERR_clear_error();
        errno = 0;
        s->more = n > SSL3_RT_MAX_PLAIN_LENGTH; /* one record is written at a time */
        int put = SSL_write(s->ssl, p, (int)SL_MIN(n, (size_t)INT32_MAX));
        s->more = false;
        if (put > 0)
            return put;
        ssize_t r = _sl_ssl_result(s, put, false);
        return r == -EPIPE ? -ECONNRESET : r;
    }
    ssize_t r = send(s->fd, p, n, sl_stream_send_flags(s));
    if (r >= 0) {
        s->sent += (uint64_t)r;
        return r;
    }
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int sl_stream_handshake(struct sl_stream *s)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_do_handshake(s->ssl);
    int saved = errno;
    if (r == 1) {
        sl_stream_watch_write(s, false);
        return 1;
    }
    switch (SSL_get_error(s->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        sl_stream_watch_write(s, false);
        return 0;
    case SSL_ERROR_WANT_WRITE:
        sl_stream_watch_write(s, true);
        return 0;
    case SSL_ERROR_SYSCALL:
        return saved ? -saved : -ECONNRESET;
    default:
        return -EPROTO;
    }
}

void sl_stream_finish(struct sl_stream *s)
{
    if (s->ssl && SSL_is_init_finished(s->ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl);
    }
    (void)shutdown(s->fd, SHUT_WR);
}

void sl_stream_hold(struct sl_stream *s)
{
    s->held++;
}

void sl_stream_release(struct sl_stream *s)
{
    if (--s->held || s->eof || s->fd < 0)
        return;
    if (!ev_is_active(&s->rd))
        ev_io_start(s->loop->ev, &s->rd);
    if (s->ssl && SSL_has_pending(s->ssl)) /* decrypted bytes raise no event */
        ev_feed_event(s->loop->ev, &s->rd, EV_READ);
}

void sl_stream_watch_write(struct sl_stream *s, bool on)
{
    if (on)
        ev_io_start(s->loop->ev, &s->wr);
    else
        ev_io_stop(s->loop->ev, &s->wr);
}
