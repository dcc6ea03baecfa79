/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of the controller's HTTPS client, and which of them are kept.
 *
 * Invariant: of an idle connection nothing was heard since the answer that it was kept after. Whatever comes
 * over it is its end: that of the peer, or bytes that nobody asked for, which the next fetch would take for
 * its answer. Its TLS was verified for the host and by the context of its pool, which has no other.
 */
#include "control/fetch_priv.h"

#include "net/socket.h"
#include "net/tls.h"

#include <errno.h>

struct sl_fetch_pool {
    struct sl_loop *loop;
    struct sl_list idle; /* most recently used first */
    unsigned n_idle, open;
    uint64_t *connects;
};

/* ---- one connection */

static void _sl_free(struct sl_deferred *d)
{
    free(SL_CONTAINER_OF(d, struct sl_fetch_link, end));
}

void sl_fetch_link_close(struct sl_fetch_link *k)
{
    struct sl_loop *l = k->stream.loop;
    if (k->pool) {
        k->pool->open--;
        k->pool->n_idle -= !k->fetch;
    }
    sl_list_remove(&k->node);
    sl_timer_stop(l, &k->idle);
    sl_stream_close(&k->stream, true);
    sl_loop_defer(l, &k->end, _sl_free);
}

/* Of TLS a ticket that comes late is read here, and is nothing. */
static bool _sl_is_quiet(struct sl_fetch_link *k)
{
    char byte;
    return sl_stream_read(&k->stream, &byte, 1) == 0;
}

static void _sl_on_readable(struct sl_stream *s)
{
    struct sl_fetch_link *k = SL_CONTAINER_OF(s, struct sl_fetch_link, stream);
    if (k->fetch)
        sl_fetch_readable(k->fetch);
    else if (!_sl_is_quiet(k))
        sl_fetch_link_close(k);
}

static void _sl_on_writable(struct sl_stream *s)
{
    struct sl_fetch_link *k = SL_CONTAINER_OF(s, struct sl_fetch_link, stream);
    if (k->fetch)
        sl_fetch_writable(k->fetch);
    else
        sl_stream_watch_write(s, false);
}

static void _sl_on_idle(struct sl_timer *t)
{
    sl_fetch_link_close(SL_CONTAINER_OF(t, struct sl_fetch_link, idle));
}

static void _sl_open(struct sl_fetch_link *k, struct sl_loop *l, int fd, SSL *ssl)
{
    sl_list_init(&k->node);
    sl_timer_init(&k->idle, _sl_on_idle);
    k->until = l->now + SL_FETCH_LIFE_NS;
    k->stream = (struct sl_stream){.on_readable = _sl_on_readable, .on_writable = _sl_on_writable};
    sl_stream_open(&k->stream, l, fd, ssl);
    sl_stream_watch_write(&k->stream, true);
    if (k->pool) {
        k->pool->open++;
        ++*k->pool->connects;
    }
}

int sl_fetch_link_connect(struct sl_fetch *f, struct sl_loop *l, const struct sl_fetch_request *req,
                          const char *host, const struct sl_sockaddr *to, struct sl_fetch_link **out)
{
    bool done = false;
    *out = NULL;
    SL_CLOSE int fd = sl_socket_connect(to, &done);
    if (fd < 0)
        return fd;
    SSL *ssl = sl_tls_connect_new(req->tls, host);
    struct sl_fetch_link *k = ssl ? calloc(1, sizeof(*k)) : NULL;
    if (!k) {
        SSL_free(ssl);
        return -ENOMEM;
    }
    *k = (struct sl_fetch_link){.pool = req->pool, .fetch = f};
    _sl_open(k, l, SL_TAKE_FD(fd), ssl);
    *out = k;
    return 0;
}

void sl_fetch_link_done(struct sl_fetch_link *k, bool reusable)
{
    struct sl_fetch_pool *p = k->pool;
    struct sl_loop *l = k->stream.loop;
    if (!p || !reusable || p->n_idle >= SL_FETCH_IDLE || l->now >= k->until || !_sl_is_quiet(k)) {
        sl_fetch_link_close(k);
        return;
    }
    k->fetch = NULL;
    k->kept = true;
    sl_list_push_front(&p->idle, &k->node);
    p->n_idle++;
    sl_timer_set(l, &k->idle, SL_MIN(l->now + SL_FETCH_IDLE_NS, k->until));
}

/* ---- a pool */

/* Each is asked before it is trusted: what has come in this very turn has raised no event yet. */
struct sl_fetch_link *sl_fetch_link_take(struct sl_fetch_pool *p, struct sl_fetch *f)
{
    sl_list_for_each_safe (it, &p->idle) {
        struct sl_fetch_link *k = SL_LIST_ENTRY(it, struct sl_fetch_link, node);
        if (!_sl_is_quiet(k)) {
            sl_fetch_link_close(k);
            continue;
        }
        sl_list_remove(&k->node);
        p->n_idle--;
        sl_timer_set(p->loop, &k->idle, 0);
        k->fetch = f;
        return k;
    }
    return NULL;
}

struct sl_fetch_pool *sl_fetch_pool_new(struct sl_loop *l, uint64_t *connects)
{
    struct sl_fetch_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    *p = (struct sl_fetch_pool){.loop = l, .connects = connects};
    sl_list_init(&p->idle);
    return p;
}

void sl_fetch_pool_drop(struct sl_fetch_pool *p)
{
    sl_list_for_each_safe (it, &p->idle)
        sl_fetch_link_close(SL_LIST_ENTRY(it, struct sl_fetch_link, node));
}

void sl_fetch_pool_free(struct sl_fetch_pool *p)
{
    if (!p)
        return;
    sl_fetch_pool_drop(p);
    free(p);
}

unsigned sl_fetch_pool_connections(const struct sl_fetch_pool *p)
{
    return p->open;
}
