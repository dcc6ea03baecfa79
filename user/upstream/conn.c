/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a target, from connect to close. Invariant: it counts as pending of its group exactly
 * while CONNECTING or HANDSHAKE, as active while it has an owner, and is freed only after the turn in which
 * it closed.
 */
#include "base/log.h"
#include "net/socket.h"
#include "net/tls.h"
#include "upstream/h2_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

bool sl_upconn_edge(enum sl_upconn_state from, enum sl_upconn_state to)
{
    static const unsigned legal[] = {
        [SL_UPCONN_CONNECTING] = 1u << SL_UPCONN_HANDSHAKE | 1u << SL_UPCONN_BUSY | 1u << SL_UPCONN_CLOSED,
        [SL_UPCONN_HANDSHAKE] = 1u << SL_UPCONN_BUSY | 1u << SL_UPCONN_CLOSED,
        [SL_UPCONN_BUSY] = 1u << SL_UPCONN_IDLE | 1u << SL_UPCONN_CLOSED,
        [SL_UPCONN_IDLE] = 1u << SL_UPCONN_BUSY | 1u << SL_UPCONN_CLOSED,
        [SL_UPCONN_CLOSED] = 0,
    };
    return legal[from] >> to & 1;
}

void sl_upconn_set_state(struct sl_upconn *c, enum sl_upconn_state to)
{
    assert(sl_upconn_edge(c->state, to));
    bool was_pending = c->state <= SL_UPCONN_HANDSHAKE;
    c->state = to;
    if (was_pending && to > SL_UPCONN_HANDSHAKE && c->pending)
        sl_group_pending_done(SL_TAKE_PTR(c->pending));
}

static void _sl_upconn_free(struct sl_deferred *d)
{
    struct sl_upconn *c = SL_CONTAINER_OF(d, struct sl_upconn, deferred);
    sl_pool_unref(c->pool);
    free(c);
}

static void _sl_upconn_close(struct sl_upconn *c)
{
    struct sl_upstreams *u = c->pool->all;
    if (c->state == SL_UPCONN_IDLE) {
        sl_list_remove(&c->node);
        c->pool->n_idle--;
        c->pool->counters->idle--;
    }
    sl_upconn_set_state(c, SL_UPCONN_CLOSED);
    u->open -= c->stream.fd >= 0;
    sl_stream_close(&c->stream, true);
    if (!c->h2)
        sl_timer_stop(u->loop, &c->timer);
    sl_bufpool_return(u->bufs, &c->in);
    sl_loop_defer(u->loop, &c->deferred, _sl_upconn_free);
}

void sl_upconn_resume(struct sl_upconn *c)
{
    sl_stream_release(&c->stream);
    if (!c->h2 || c->stream.held)
        return;
    sl_uph2_ready(c->h2); /* what was held back of its window is given */
    sl_upconn_more(c);
}

void sl_upconn_release(struct sl_upconn *c, bool reuse)
{
    struct sl_pool *p = c->pool;
    if (c->h2)
        sl_uph2_detach(c->h2);
    if (c->owner && !c->carrier) {
        p->counters->active--;
        p->active--;
        p->target->active--;
    }
    c->owner = NULL;
    c->ops = NULL;
    if (!reuse || c->h2 || c->state != SL_UPCONN_BUSY || !p->groups || p->n_idle >= p->max_idle ||
        c->stream.eof || c->stream.held || sl_buf_len(&c->in) || c->requests >= p->max_requests) {
        _sl_upconn_close(c);
        return;
    }
    sl_bufpool_return(p->all->bufs, &c->in);
    sl_upconn_set_state(c, SL_UPCONN_IDLE);
    sl_list_push_front(&p->idle, &c->node);
    p->n_idle++;
    p->counters->idle++;
    sl_timer_set(p->all->loop, &c->timer, p->all->loop->now + p->idle_timeout);
}

/* Tells the owner, who releases it. */
static void _sl_failed(struct sl_upconn *c, int error, const char *why)
{
    const struct sl_upconn_ops *ops = c->ops;
    c->pool->counters->connect_failures++;
    sl_pool_warn(c->pool, error, why);
    ops->connected(c, error);
}

static void _sl_handshake_failed(struct sl_upconn *c, int error, enum sl_tls_failure f, const char *detail)
{
    char text[256];
    c->pool->counters->tls_failures[f]++;
    (void)snprintf(text, sizeof(text), "TLS handshake failed: %s (%s%s%s)", sl_tls_failure_text(f),
                   sl_tls_failure_name(f), *detail ? ": " : "", detail);
    _sl_failed(c, error, text);
}

static void _sl_ready(struct sl_upconn *c)
{
    sl_timer_set(c->stream.loop, &c->timer, 0);
    sl_upconn_set_state(c, SL_UPCONN_BUSY);
    c->ops->connected(c, 0);
}

static void _sl_handshake(struct sl_upconn *c)
{
    int r = sl_stream_handshake(&c->stream);
    const char *detail;
    if (r > 0) {
        c->pool->counters->handshakes++;
        c->pool->counters->resumed += SSL_session_reused(c->stream.ssl) ? 1 : 0;
        _sl_ready(c);
    } else if (r < 0) {
        const enum sl_tls_failure f = sl_tls_failed(c->stream.ssl, r, &detail);
        if (f >= SL_TLS_FAILED_PEER_ALERT) /* whatever the session was worth, the next one begins anew */
            sl_tls_forget(&c->pool->session);
        _sl_handshake_failed(c, -EPROTO, f, detail);
    }
}

static void _sl_connected(struct sl_upconn *c)
{
    int r = sl_socket_error(c->stream.fd);
    if (r < 0) {
        _sl_failed(c, r, NULL);
        return;
    }
    sl_stream_watch_write(&c->stream, false);
    if (!c->stream.ssl) {
        _sl_ready(c);
        return;
    }
    sl_upconn_set_state(c, SL_UPCONN_HANDSHAKE);
    _sl_handshake(c);
}

static void _sl_on_readable(struct sl_stream *s)
{
    struct sl_upconn *c = SL_CONTAINER_OF(s, struct sl_upconn, stream);
    switch (c->state) {
    case SL_UPCONN_CONNECTING:
        _sl_connected(c);
        break;
    case SL_UPCONN_HANDSHAKE:
        _sl_handshake(c);
        break;
    case SL_UPCONN_BUSY:
        c->ops->readable(c);
        break;
    case SL_UPCONN_IDLE: {
        char byte; /* TLS: a ticket that comes late is no reason to part */
        if (!s->ssl || sl_stream_read(s, &byte, 1) != 0)
            _sl_upconn_close(c);
        break;
    }
    case SL_UPCONN_CLOSED:
        break;
    }
}

static void _sl_on_writable(struct sl_stream *s)
{
    struct sl_upconn *c = SL_CONTAINER_OF(s, struct sl_upconn, stream);
    if (c->state == SL_UPCONN_CONNECTING)
        _sl_connected(c);
    else if (c->state == SL_UPCONN_HANDSHAKE)
        _sl_handshake(c);
    else if (c->state == SL_UPCONN_BUSY)
        c->ops->writable(c);
    else
        sl_stream_watch_write(s, false);
}

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_upconn *c = SL_CONTAINER_OF(t, struct sl_upconn, timer);
    if (c->state == SL_UPCONN_IDLE)
        _sl_upconn_close(c);
    else if (c->state == SL_UPCONN_HANDSHAKE)
        _sl_handshake_failed(c, -ETIMEDOUT, SL_TLS_FAILED_TIMEOUT, "");
    else if (c->state == SL_UPCONN_CONNECTING)
        _sl_failed(c, -ETIMEDOUT, NULL);
}

static void _sl_upconn_open(struct sl_upconn *c, int fd, SSL *ssl, uint64_t timeout_ns)
{
    struct sl_loop *loop = c->pool->all->loop;
    sl_list_init(&c->node);
    c->stream.on_readable = _sl_on_readable;
    c->stream.on_writable = _sl_on_writable;
    sl_timer_init(&c->timer, _sl_on_timer);
    sl_stream_open(&c->stream, loop, fd, ssl);
    c->pool->all->open++;
    sl_stream_watch_write(&c->stream,
                          true); /* connected already? The answer comes from the loop all the same */
    sl_timer_set(loop, &c->timer, loop->now + timeout_ns);
    if (c->carrier)
        c->pool->refs++;
    else
        sl_upconn_counted(c);
}

void sl_upconn_counted(struct sl_upconn *c)
{
    c->pool->refs++;
    c->pool->counters->active++;
    c->pool->active++;
    c->pool->target->active++;
    c->pool->target->requests++;
}

int sl_upconn_new(struct sl_pool *p, struct sl_group *pending, uint64_t timeout_ns,
                  const struct sl_upconn_ops *ops, void *owner, struct sl_upconn **out)
{
    SSL *ssl = p->tls ? sl_tls_connect_new(p->tls, p->sni) : NULL;
    bool done = false;
    int fd = ssl || !p->tls ? sl_socket_connect(&p->address, &done) : -ENOMEM;
    struct sl_upconn *c = fd >= 0 ? calloc(1, sizeof(*c)) : NULL;
    p->counters->connects++;
    if (!c) {
        SSL_free(ssl);
        p->counters->connect_failures++;
        sl_pool_warn(p, fd < 0 ? fd : -ENOMEM, NULL);
        sl_closep(&fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    if (ssl)
        sl_tls_resume(ssl, &p->session);
    *c = (struct sl_upconn){.state = SL_UPCONN_CONNECTING,
                            .pool = p,
                            .pending = pending,
                            .ops = ops,
                            .owner = owner,
                            .carrier = !pending,
                            .requests = 1};
    _sl_upconn_open(c, fd, ssl, timeout_ns);
    *out = c;
    return 0;
}

bool sl_upconn_unread(const struct sl_upconn *c)
{
    if (c->h2)
        return c->refused;
    uint64_t acked = sl_socket_acked(c->stream.fd);
    return acked != UINT64_MAX && acked <= c->sent_before + 1; /* tcpi_bytes_acked counts the SYN */
}

const char *sl_upconn_target(const struct sl_upconn *c)
{
    return c->pool->text;
}

struct sl_upstream_counters *sl_upconn_counters(const struct sl_upconn *c)
{
    return c->pool->counters;
}
