/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets. Each worker has its own socket for each address (SO_REUSEPORT), handed over by the
 * supervisor. On a reload a socket whose address stays keeps its place in the loop and takes the new
 * settings, so that nothing in its accept queue is lost.
 */
#include "base/log.h"
#include "gateway/overload_priv.h"
#include "net/ipc.h"
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define SL_ACCEPTS_A_TURN 64   /* then other connections have their turn */
#define SL_ACCEPTS_LAST   8192 /* more than the queue of a socket that is to be closed holds */

void sl_bind_unref(struct sl_bind *b)
{
    if (--b->refs)
        return;
    sl_gw_config_unref(b->config);
    free(b);
}

/* Handshakes are what costs most before anything is known of who asks. */
static bool _sl_is_busy(const struct sl_bind *b)
{
    uint32_t under_way = 0;
    if (!b->tls)
        return false;
    sl_list_for_each (it, &b->w->binds) {
        const struct sl_bind *other = SL_LIST_ENTRY(it, struct sl_bind, node);
        if (other->listener == b->listener)
            under_way += other->handshaking;
    }
    return under_way >= b->listener->limits.handshakes;
}

static void _sl_accept(struct sl_bind *b, int most)
{
    for (int i = 0; i < most && b->fd >= 0; i++) {
        struct sl_sockaddr peer;
        int fd = sl_socket_accept(b->fd, &peer);
        if (fd == -ECONNABORTED || fd == -EINTR)
            continue;
        if (fd == -EMFILE || fd == -ENFILE)
            sl_overload_no_descriptor(b);
        if (fd < 0)
            return;
        uint32_t row;
        if (!sl_overload_admit(b, fd, &peer, &row))
            continue;
        if (_sl_is_busy(b)) {
            b->counters->handshake_failures++;
            b->counters->tls_failures[SL_TLS_FAILED_LIMIT]++;
            sl_overload_left(b->w, row);
            (void)close(fd);
            continue;
        }
        sl_conn_accept(b, fd, &peer, row);
        sl_loop_settle(&b->w->loop);
    }
}

static uint64_t _sl_trust(const struct sl_listener *l)
{
    const struct sl_slice ca = l->tls.client_ca.data;
    if (!l->tls.enabled || l->tls.client_auth == SL_CLIENT_AUTH_NONE)
        return 0;
    return sl_hash(ca.p, ca.n, l->tls.client_auth) | 1;
}

/* Who was vouched for by authorities that no longer count goes as soon as nothing is under way. */
static void _sl_retire(struct sl_worker *w)
{
    sl_list_for_each_safe (it, &w->conns) {
        struct sl_conn *c = SL_LIST_ENTRY(it, struct sl_conn, node);
        if (c->trust != c->bind->trust)
            sl_conn_drain(c);
    }
}

static void _sl_on_accept(struct ev_loop *ev, ev_io *watcher, int revents)
{
    (void)ev, (void)revents;
    _sl_accept(watcher->data, SL_ACCEPTS_A_TURN);
}

static void _sl_configure(struct sl_bind *b, struct sl_gw_config *c, size_t listener)
{
    struct sl_gw_config *old = b->config;
    b->config = sl_gw_config_ref(c);
    b->listener = &c->snapshot->listeners[listener];
    b->tls = c->tls[listener];
    b->trust = _sl_trust(b->listener);
    sl_socket_listener(b->fd, !b->tls); /* a TLS handshake has flights that nothing of ours answers */
    b->counters = &b->w->counters->listeners[sl_slot(b->listener->slot, SL_COUNTER_LISTENERS)];
    sl_gw_config_unref(old);
}

static struct sl_bind *_sl_find(struct sl_worker *w, const struct sl_sockaddr *a, unsigned nth)
{
    sl_list_for_each (it, &w->binds) {
        struct sl_bind *b = SL_LIST_ENTRY(it, struct sl_bind, node);
        if (b->fd >= 0 && b->nth == nth && b->address.len == a->len &&
            memcmp(&b->address.sa, &a->sa, a->len) == 0)
            return b;
    }
    return NULL;
}

static struct sl_bind *_sl_bind_new(struct sl_worker *w, const struct sl_sockaddr *a, unsigned nth, int fd)
{
    struct sl_bind *b = calloc(1, sizeof(*b));
    int flags = fcntl(fd, F_GETFL);
    if (!b || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        free(b);
        return NULL;
    }
    *b = (struct sl_bind){.w = w, .refs = 1, .fd = fd, .nth = nth, .address = *a};
    ev_io_init(&b->watcher, _sl_on_accept, fd, EV_READ);
    ev_set_priority(&b->watcher, EV_MINPRI); /* those who are in come first */
    b->watcher.data = b;
    sl_list_push_back(&w->binds, &b->node);
    return b;
}

static void _sl_bind_close(struct sl_bind *b)
{
    if (b->fd < 0)
        return;
    if (!b->w->patient && !b->w->held)
        _sl_accept(b, SL_ACCEPTS_LAST); /* who got through the handshake is served */
    ev_io_stop(b->w->loop.ev, &b->watcher);
    (void)close(b->fd);
    b->fd = -1;
    sl_list_remove(&b->node);
    sl_bind_unref(b);
}

static int _sl_apply_one(struct sl_worker *w, struct sl_gw_config *c, size_t listener,
                         const struct sl_sockaddr *a, unsigned nth, int fd)
{
    struct sl_bind *b = _sl_find(w, a, nth);
    if (b) {
        (void)close(fd); /* a duplicate of the one we have */
        _sl_configure(b, c, listener);
        return 0;
    }
    b = _sl_bind_new(w, a, nth, fd);
    if (!b) {
        (void)close(fd);
        return -ENOMEM;
    }
    _sl_configure(b, c, listener);
    if (!w->held && !w->accepts_paused)
        ev_io_start(w->loop.ev, &b->watcher);
    return 0;
}

void sl_binds_listen(struct sl_worker *w)
{
    w->held = false;
    sl_list_for_each (it, &w->binds) {
        struct sl_bind *b = SL_LIST_ENTRY(it, struct sl_bind, node);
        ev_io_start(w->loop.ev, &b->watcher);
    }
}

int sl_binds_apply(struct sl_worker *w, struct sl_gw_config *c, const struct sl_ipc_snapshot *m,
                   const int *fds, size_t n_fds)
{
    size_t at = 0, address = 0;
    int r = 0;
    for (size_t i = 0; i < c->snapshot->n_listeners; i++)
        for (size_t k = 0; k < c->snapshot->listeners[i].n_bind && at < n_fds; k++, address++)
            for (unsigned nth = 0; nth <= m->more[address] && at < n_fds; nth++) {
                int e = _sl_apply_one(w, c, i, &c->snapshot->listeners[i].bind[k], nth, fds[at++]);
                r = e < 0 ? e : r;
            }
    for (; at < n_fds; at++)
        (void)close(fds[at]);
    sl_list_for_each_safe (it, &w->binds) {
        struct sl_bind *b = SL_LIST_ENTRY(it, struct sl_bind, node);
        b->gone = b->config != c;
        if (b->gone && !m->last_call)
            _sl_bind_close(b);
    }
    _sl_retire(w);
    return r;
}

void sl_binds_close_gone(struct sl_worker *w)
{
    sl_list_for_each_safe (it, &w->binds) {
        struct sl_bind *b = SL_LIST_ENTRY(it, struct sl_bind, node);
        if (b->gone)
            _sl_bind_close(b);
    }
}

void sl_binds_close(struct sl_worker *w)
{
    sl_list_for_each_safe (it, &w->binds)
        _sl_bind_close(SL_LIST_ENTRY(it, struct sl_bind, node));
}
