/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of HTTP/2 and the streams that holders know as their connections. A new request goes to the
 * first connection of its target that has room, and waits with others for one that is being made; only where
 * there is neither is another one made.
 *
 * Invariant: a carrier that is retired stands in no pool's list and gets no new stream; it ends with its last
 * one. A stream's memory goes at the end of a turn, after both its holder and nghttp2 have let go.
 */
#include "base/log.h"
#include "upstream/group_priv.h"
#include "upstream/h2_priv.h"

#include <errno.h>

static void _sl_on_connected(struct sl_upconn *c, int error);
static void _sl_on_readable(struct sl_upconn *c);
static void _sl_on_writable(struct sl_upconn *c);
static const struct sl_upconn_ops _sl_ops = {
    .connected = _sl_on_connected, .readable = _sl_on_readable, .writable = _sl_on_writable};

/* ---- the end */

static void _sl_free_stream(struct sl_deferred *d)
{
    free(SL_CONTAINER_OF(d, struct sl_uph2_stream, deferred));
}

static void _sl_free(struct sl_deferred *d)
{
    struct sl_uph2 *s = SL_CONTAINER_OF(d, struct sl_uph2, deferred);
    nghttp2_session_del(s->session);
    sl_pool_unref(s->pool);
    free(s);
}

void sl_uph2_drop(struct sl_uph2_stream *st)
{
    sl_list_remove(&st->node);
    sl_list_remove(&st->ready);
    sl_loop_defer(st->h2->pool->all->loop, &st->deferred, _sl_free_stream);
}

void sl_uph2_retire(struct sl_uph2 *s)
{
    s->retired = true;
    sl_list_remove(&s->node);
    if (s->carrier && s->session)
        ev_feed_event(s->pool->all->loop->ev, &s->kick, EV_TIMER);
}

/* All that hold a stream hear of it; what they do then finds this carrier in no list. error: why none could
 * be made, 0 where it stood. */
static void _sl_close(struct sl_uph2 *s, int error)
{
    struct sl_upstreams *all = s->pool->all;
    struct sl_upconn *carrier = SL_TAKE_PTR(s->carrier);
    sl_uph2_retire(s);
    ev_clear_pending(all->loop->ev, &s->kick);
    sl_timer_stop(all->loop, &s->idle);
    while (!sl_list_empty(&s->streams)) {
        struct sl_uph2_stream *st = SL_LIST_ENTRY(s->streams.next, struct sl_uph2_stream, node);
        struct sl_upconn *u = st->u;
        sl_list_remove(&st->node);
        st->closed = true;
        if (u && u->state == SL_UPCONN_CONNECTING)
            u->ops->connected(u, error ? error : -ECONNRESET);
        else if (u)
            u->ops->h2->gone(u, s->malformed ? SL_UPCONN_MALFORMED : SL_UPCONN_RESET);
        else
            sl_uph2_drop(st);
    }
    sl_bufpool_return(all->bufs, &s->out);
    sl_upconn_release(carrier, false);
    sl_loop_defer(all->loop, &s->deferred, _sl_free);
}

static bool _sl_is_held(const struct sl_uph2 *s)
{
    sl_list_for_each (it, &s->streams)
        if (SL_LIST_ENTRY(it, struct sl_uph2_stream, node)->u)
            return true;
    return false;
}

void sl_uph2_pool_ended(struct sl_pool *p)
{
    sl_list_for_each_safe (it, &p->carriers) {
        struct sl_uph2 *s = SL_LIST_ENTRY(it, struct sl_uph2, node);
        sl_uph2_retire(s);
        if (!_sl_is_held(s))
            _sl_close(s, 0);
    }
}

static void _sl_maybe_over(struct sl_uph2 *s)
{
    if (_sl_is_held(s)) /* what else stands there is only to be told that it was reset */
        return;
    if (s->retired || s->deaf || !s->pool->groups)
        _sl_close(s, 0);
    else if (sl_list_empty(&s->streams))
        sl_timer_set(s->pool->all->loop, &s->idle, s->pool->all->loop->now + s->pool->idle_timeout);
}

static void _sl_on_idle(struct sl_timer *t)
{
    struct sl_uph2 *s = SL_CONTAINER_OF(t, struct sl_uph2, idle);
    if (s->carrier && sl_list_empty(&s->streams))
        _sl_close(s, 0);
}

/* ---- the turn */

static void _sl_give_credit(struct sl_uph2_stream *st)
{
    if (st->closed || !st->unconsumed || (st->u && st->u->stream.held))
        return;
    (void)nghttp2_session_consume_stream(st->h2->session, st->id, st->unconsumed);
    st->unconsumed = 0;
}

static void _sl_deliver(struct sl_uph2 *s)
{
    while (!sl_list_empty(&s->ready)) {
        struct sl_uph2_stream *st = SL_LIST_ENTRY(s->ready.next, struct sl_uph2_stream, ready);
        sl_list_remove(&st->ready);
        const bool pulled = st->pulled, got = st->got;
        st->pulled = st->got = false;
        if (st->u && got)
            st->u->ops->readable(st->u);
        if (st->u && st->ended)
            st->u->ops->h2->end(st->u);
        if (st->u && pulled && !st->closed)
            st->u->ops->writable(st->u);
        _sl_give_credit(st);
    }
}

/* nghttp2 has told it in a GOAWAY what it did wrong, and reads no more. */
static void _sl_broke_rules(struct sl_uph2 *s)
{
    s->malformed = true;
    sl_pool_warn(s->pool, -EPROTO, "what it sends is no HTTP/2");
    _sl_close(s, 0);
}

void sl_uph2_kick(struct sl_uph2 *s)
{
    sl_uph2_send(s);
    _sl_deliver(s);
    sl_uph2_send(s);
    if (!nghttp2_session_want_read(s->session) && _sl_is_held(s))
        _sl_broke_rules(s);
    else
        _sl_maybe_over(s);
}

static void _sl_on_kick(struct ev_loop *ev, ev_timer *t, int revents)
{
    (void)ev, (void)revents;
    struct sl_uph2 *s = t->data;
    if (s->carrier && s->session)
        sl_uph2_kick(s);
}

static void _sl_on_readable(struct sl_upconn *c)
{
    struct sl_uph2 *s = c->owner;
    const bool alive = sl_uph2_receive(s);
    if (alive) {
        sl_uph2_kick(s);
        return;
    }
    _sl_deliver(s);
    if (s->malformed)
        _sl_broke_rules(s);
    else
        _sl_close(s, 0);
}

static void _sl_on_writable(struct sl_upconn *c)
{
    sl_uph2_kick(c->owner);
}

/* ---- made */

static bool _sl_agreed(const struct sl_upconn *c)
{
    const unsigned char *p = NULL;
    unsigned n = 0;
    if (!c->stream.ssl)
        return true; /* prior knowledge (section 3.3) */
    SSL_get0_alpn_selected(c->stream.ssl, &p, &n);
    return n == 2 && memcmp(p, "h2", 2) == 0;
}

static struct sl_upconn *_sl_waiting(const struct sl_uph2 *s)
{
    sl_list_for_each (it, &s->streams) {
        struct sl_upconn *u = SL_LIST_ENTRY(it, struct sl_uph2_stream, node)->u;
        if (u && u->state == SL_UPCONN_CONNECTING)
            return u;
    }
    return NULL;
}

static void _sl_on_connected(struct sl_upconn *c, int error)
{
    struct sl_uph2 *s = c->owner;
    if (error == 0 && !_sl_agreed(c)) {
        sl_pool_warn(s->pool, -EPROTO, "its TLS does not agree to h2");
        error = -EPROTO;
    }
    if (error == 0)
        error = sl_uph2_session_new(s);
    if (error < 0) {
        _sl_close(s, error);
        return;
    }
    for (struct sl_upconn *u; (u = _sl_waiting(s));) { /* one that begins may take others along */
        sl_upconn_set_state(u, SL_UPCONN_BUSY);
        u->ops->connected(u, 0);
    }
    ev_feed_event(s->pool->all->loop->ev, &s->kick, EV_TIMER);
}

static int _sl_carrier_new(struct sl_pool *p, uint64_t timeout_ns, struct sl_uph2 **out)
{
    struct sl_uph2 *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->pool = p;
    sl_list_init(&s->node);
    sl_list_init(&s->streams);
    sl_list_init(&s->ready);
    ev_init(&s->kick, _sl_on_kick);
    s->kick.data = s;
    sl_timer_init(&s->idle, _sl_on_idle);
    const int r = sl_upconn_new(p, NULL, timeout_ns, &_sl_ops, s, &s->carrier);
    if (r < 0) {
        free(s);
        return r;
    }
    p->refs++;
    sl_list_push_back(&p->carriers, &s->node);
    *out = s;
    return 0;
}

static uint32_t _sl_most(const struct sl_uph2 *s)
{
    uint32_t theirs = SL_UPH2_STREAMS;
    if (s->session)
        theirs = nghttp2_session_get_remote_settings(s->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return SL_MIN(theirs, (uint32_t)SL_UPH2_STREAMS);
}

/* One that takes no stream at all is of no use: what waits on it would wait for ever. */
static struct sl_uph2 *_sl_find(struct sl_pool *p)
{
    sl_list_for_each_safe (it, &p->carriers) {
        struct sl_uph2 *s = SL_LIST_ENTRY(it, struct sl_uph2, node);
        const uint32_t most = _sl_most(s);
        if (s->requests >= p->max_requests || most == 0)
            sl_uph2_retire(s);
        else if (!s->deaf && s->n_streams < most)
            return s;
    }
    return NULL;
}

/* ---- streams */

int sl_uph2_connect(struct sl_pool *p, struct sl_group *pending, uint64_t timeout_ns,
                    const struct sl_upconn_ops *ops, void *owner, struct sl_upconn **out)
{
    struct sl_uph2 *s = _sl_find(p);
    struct sl_uph2_stream *st = calloc(1, sizeof(*st));
    struct sl_upconn *u = calloc(1, sizeof(*u));
    int r = st && u ? 0 : -ENOMEM;
    if (r == 0 && !s)
        r = _sl_carrier_new(p, timeout_ns, &s);
    if (r < 0) {
        free(st);
        free(u);
        return r;
    }
    *st = (struct sl_uph2_stream){.h2 = s, .u = u};
    sl_list_init(&st->ready);
    sl_list_push_back(&s->streams, &st->node);
    *u = (struct sl_upconn){.pool = p, .ops = ops, .owner = owner, .h2 = st, .stream = {.fd = -1}};
    sl_list_init(&u->node);
    u->reused = s->requests > 0;
    u->requests = ++s->requests;
    s->n_streams++;
    sl_upconn_counted(u);
    p->counters->reused += u->reused;
    u->state = s->session ? SL_UPCONN_BUSY : SL_UPCONN_CONNECTING;
    if (s->session) {
        sl_group_pending_done(pending);
        sl_timer_set(p->all->loop, &s->idle, 0);
    } else {
        u->pending = pending;
    }
    *out = u;
    return s->session ? 1 : 0;
}

void sl_uph2_detach(struct sl_uph2_stream *st)
{
    struct sl_uph2 *s = st->h2;
    st->u = NULL;
    if (!st->closed && st->id) { /* nghttp2 tells when it is over, and gives the number free */
        const bool whole = nghttp2_session_get_stream_remote_close(s->session, st->id) == 1;
        (void)nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id,
                                        whole ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
    } else if (!st->closed) {
        st->closed = true;
        s->n_streams--;
    }
    if (st->closed)
        sl_uph2_drop(st);
    if (s->carrier)
        ev_feed_event(s->pool->all->loop->ev, &s->kick, EV_TIMER);
}
