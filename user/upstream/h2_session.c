/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to and from an upstream: nghttp2 with windows that open only as clients take what came. An upstream
 * may be hostile: what it sends without bringing anything is counted, and ends the connection past a budget.
 */
#include "base/log.h"
#include "upstream/h2_priv.h"

#include <errno.h>

void sl_uph2_ready(struct sl_uph2_stream *st)
{
    if (sl_list_empty(&st->ready))
        sl_list_push_back(&st->h2->ready, &st->ready);
}

static struct sl_uph2_stream *_sl_stream(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- what comes */

static int _sl_on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    (void)user;
    struct sl_uph2_stream *st = _sl_stream(session, f->hd.stream_id);
    if (st)
        st->head = (struct sl_uph2_head){0};
    return 0;
}

static int _sl_on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name, size_t n_name,
                         const uint8_t *value, size_t n_value, uint8_t flags, void *user)
{
    (void)flags, (void)user;
    struct sl_uph2_stream *st = _sl_stream(session, f->hd.stream_id);
    if (!st || !st->u || f->hd.type != NGHTTP2_HEADERS)
        return 0;
    sl_uph2_field(&st->head, st->u->ops->h2->arena(st->u), st->answered, sl_slice((const char *)name, n_name),
                  sl_slice((const char *)value, n_value));
    return st->head.bad ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0; /* resets the stream */
}

static void _sl_refuse(struct sl_uph2_stream *st)
{
    st->head.bad = true;
    (void)nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_PROTOCOL_ERROR);
}

static void _sl_on_head(struct sl_uph2_stream *st, bool end)
{
    const struct sl_upconn_h2_ops *ops = st->u->ops->h2;
    if (!sl_uph2_head_end(&st->head, ops->request(st->u)->method, end)) {
        _sl_refuse(st);
        return;
    }
    st->answered = st->head.res.status >= 200;
    st->tunnel &= !st->answered || st->head.res.status / 100 == 2;
    ops->head(st->u, &st->head.res);
}

static void _sl_on_headers(struct sl_uph2_stream *st, bool end)
{
    st->h2->waste = 0;
    if (!st->u)
        return;
    if (st->answered && st->tunnel)
        _sl_refuse(st);
    else if (st->answered)
        st->u->ops->h2->trailers(st->u, &st->head.res.trailers);
    else
        _sl_on_head(st, end);
    sl_uph2_ready(st);
    st->got = true;
}

static struct sl_uph2_stream *_sl_asking(const struct sl_uph2 *s)
{
    sl_list_for_each (it, &s->streams)
        if (SL_LIST_ENTRY(it, struct sl_uph2_stream, node)->asks)
            return SL_LIST_ENTRY(it, struct sl_uph2_stream, node);
    return NULL;
}

static int _sl_submit(struct sl_uph2_stream *st, bool body);

/* Those that have waited to know whether they may. */
static void _sl_on_settings(struct sl_uph2 *s)
{
    s->settled = true;
    for (struct sl_uph2_stream *st; (st = _sl_asking(s));) {
        st->asks = false;
        const int r = st->u ? _sl_submit(st, true) : 0;
        if (r < 0)
            st->u->ops->h2->gone(st->u, r == -EOPNOTSUPP ? SL_UPCONN_NO_CONNECT : SL_UPCONN_RESET);
    }
}

static int _sl_on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct sl_uph2 *s = user;
    const bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct sl_uph2_stream *st = f->hd.stream_id ? _sl_stream(session, f->hd.stream_id) : NULL;
    if (++s->waste > SL_UPH2_WASTE)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (f->hd.type == NGHTTP2_GOAWAY) /* section 6.8: what it will not answer, nghttp2 closes as refused */
        sl_uph2_retire(s);
    if (f->hd.type == NGHTTP2_SETTINGS && !(f->hd.flags & NGHTTP2_FLAG_ACK))
        _sl_on_settings(s);
    if (!st || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS)
        _sl_on_headers(st, end);
    if (end && st->answered && !st->head.bad) {
        st->ended = true;
        sl_uph2_ready(st);
    }
    return 0;
}

static int _sl_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                       void *user)
{
    (void)flags;
    struct sl_uph2 *s = user;
    struct sl_uph2_stream *st = _sl_stream(session, id);
    s->waste = n ? 0 : s->waste;
    (void)nghttp2_session_consume_connection(session, n); /* one that stalls must not stall all */
    if (!st || !st->u) {
        (void)nghttp2_session_consume_stream(session, id, n);
        return 0;
    }
    st->unconsumed += n;
    st->got = true;
    sl_uph2_ready(st);
    st->u->ops->h2->data(st->u, sl_slice((const char *)p, n));
    return 0;
}

static int _sl_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct sl_uph2 *s = user;
    struct sl_uph2_stream *st = _sl_stream(session, id);
    if (!st)
        return 0;
    st->closed = true;
    s->n_streams--;
    sl_list_remove(&st->node);
    if (!st->u) {
        sl_uph2_drop(st);
    } else if (!st->ended) {
        st->u->refused = code == NGHTTP2_REFUSED_STREAM; /* section 8.7: nothing of it was processed */
        const bool malformed = st->head.bad || code == NGHTTP2_PROTOCOL_ERROR;
        st->u->ops->h2->gone(st->u, malformed ? SL_UPCONN_MALFORMED : SL_UPCONN_RESET);
    }
    return 0;
}

/* ---- what goes */

static ssize_t _sl_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                        nghttp2_data_source *source, void *user)
{
    (void)user;
    struct sl_uph2_stream *st = source->ptr;
    bool last = false;
    if (!st->u)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const struct sl_upconn_h2_ops *ops = st->u->ops->h2;
    const size_t n = ops->pull(st->u, (char *)to, room, &last);
    if (n) {
        st->pulled = true;
        sl_uph2_ready(st);
    }
    if (!n && !last) {
        st->waits = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (!last)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    const struct sl_headers *t = &ops->request(st->u)->trailers;
    size_t n_fields = 0;
    nghttp2_nv *nv = t->n ? sl_uph2_trailers(t, ops->arena(st->u), &n_fields) : NULL;
    if (n_fields && nghttp2_submit_trailer(session, id, nv, n_fields) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)n;
}

/* RFC 8441 section 3 */
static bool _sl_offers_connect(const struct sl_uph2 *s)
{
    return nghttp2_session_get_remote_settings(s->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

static int _sl_submit(struct sl_uph2_stream *st, bool body)
{
    struct sl_upconn *u = st->u;
    const struct sl_upconn_h2_ops *ops = u->ops->h2;
    const nghttp2_data_provider from = {.source = {.ptr = st}, .read_callback = _sl_read};
    size_t n = 0;
    st->tunnel = ops->request(u)->upgrade;
    if (st->tunnel && !_sl_offers_connect(st->h2))
        return -EOPNOTSUPP;
    nghttp2_nv *nv = sl_uph2_fields(ops->request(u), st->h2->pool->tls != NULL, ops->arena(u), &n);
    const int32_t id =
        nv ? nghttp2_submit_request(st->h2->session, NULL, nv, n, body ? &from : NULL, st) : -1;
    if (id < 0) {
        sl_uph2_retire(st->h2); /* out of numbers, or of memory */
        return -ENOMEM;
    }
    st->id = id;
    sl_upconn_more(u);
    return 0;
}

int sl_upconn_ask(struct sl_upconn *u, bool body)
{
    struct sl_uph2_stream *st = u->h2;
    st->began = st->h2->pool->all->loop->now;
    st->asks = u->ops->h2->request(u)->upgrade && !st->h2->settled;
    return st->asks ? 0 : _sl_submit(st, body);
}

void sl_upconn_timed_out(struct sl_upconn *u)
{
    if (u->h2 && u->h2->h2->heard < u->h2->began)
        sl_uph2_retire(u->h2->h2);
}

void sl_upconn_more(struct sl_upconn *u)
{
    struct sl_uph2_stream *st = u->h2;
    if (st->waits && !st->closed) {
        st->waits = false;
        (void)nghttp2_session_resume_data(st->h2->session, st->id);
    }
    ev_feed_event(st->h2->pool->all->loop->ev, &st->h2->kick, EV_TIMER);
}

/* Frames until the buffer is about full: 1 there may be more, 0 that is all, -errno. */
static int _sl_fill(struct sl_uph2 *s)
{
    while (sl_buf_len(&s->out) < SL_CHUNK) {
        const uint8_t *p;
        const ssize_t n = nghttp2_session_mem_send(s->session, &p);
        if (n <= 0)
            return n < 0 ? -EPROTO : 0;
        if (sl_bufpool_lend(s->pool->all->bufs, &s->out) < 0 || sl_buf_append(&s->out, p, (size_t)n) < 0)
            return -ENOMEM;
    }
    return 1;
}

void sl_uph2_send(struct sl_uph2 *s)
{
    struct sl_stream *to = &s->carrier->stream;
    for (int more = 1; !s->deaf && more > 0;) {
        more = _sl_fill(s);
        const size_t want = sl_buf_len(&s->out);
        const ssize_t n = want ? sl_stream_write(to, sl_buf_data(&s->out), want) : 0;
        if (more < 0 || n < 0) {
            s->deaf = true;
            break;
        }
        sl_buf_consume(&s->out, (size_t)n);
        if ((size_t)n < want) {
            if (n == 0 || !to->ssl) {
                sl_stream_watch_write(to, true);
                return;
            }
            more = 1;
        }
    }
    sl_bufpool_return(s->pool->all->bufs, &s->out);
    if (ev_is_active(&to->wr))
        sl_stream_watch_write(to, false);
}

bool sl_uph2_receive(struct sl_uph2 *s)
{
    SL_BUF struct sl_buf in = {0};
    struct sl_bufpool *bufs = s->pool->all->bufs;
    if (sl_bufpool_lend(bufs, &in) < 0)
        return false;
    const ssize_t n = sl_stream_read(&s->carrier->stream, in.base, sl_buf_room(&in));
    const ssize_t fed = n > 0 ? nghttp2_session_mem_recv(s->session, (const uint8_t *)in.base, (size_t)n) : 0;
    sl_bufpool_return(bufs, &in);
    s->malformed |= fed < 0;
    s->heard = n > 0 ? s->pool->all->loop->now : s->heard;
    return n >= 0 && fed >= 0 &&
           (nghttp2_session_want_read(s->session) || nghttp2_session_want_write(s->session));
}

/* ---- the session */

static int _sl_callbacks(nghttp2_session_callbacks **out)
{
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c) < 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, _sl_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, _sl_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, _sl_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, _sl_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, _sl_on_close);
    *out = c;
    return 0;
}

static int _sl_settings(struct sl_uph2 *s)
{
    static const nghttp2_settings_entry ours[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                  {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0},
                                                  {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, SL_UPH2_WINDOW},
                                                  {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, SL_UPH2_HEADERS}};
    int r = nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, ours, SL_ARRAY_LEN(ours));
    if (r == 0)
        r = nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0, SL_UPH2_CREDIT);
    return r < 0 ? -ENOMEM : 0;
}

int sl_uph2_session_new(struct sl_uph2 *s)
{
    nghttp2_session_callbacks *c = NULL;
    nghttp2_option *o = NULL;
    int r = _sl_callbacks(&c);
    if (r == 0 && nghttp2_option_new(&o) < 0)
        r = -ENOMEM;
    if (r == 0) {
        nghttp2_option_set_no_auto_window_update(o, 1);
        r = nghttp2_session_client_new2(&s->session, c, s, o) < 0 ? -ENOMEM : 0;
    }
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(c);
    return r < 0 ? r : _sl_settings(s);
}
