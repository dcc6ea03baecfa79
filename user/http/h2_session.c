/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session from its preface to its GOAWAY. Invariant: a stream is in the list from its HEADERS until the
 * caller has been told that it is gone; it is in the queue exactly while it has events.
 */
#include "http/h2_priv.h"

#include <errno.h>

/* What a client may send before we have passed it on: a stream's window, and all of a connection's. */
#define SL_STREAM_WINDOW     (256 * 1024)
#define SL_CONNECTION_WINDOW (1024 * 1024)
#define SL_CONTINUATIONS     16
#define SL_PULL_ROOM         1024 /* with less than that left, a buffer is full */

/* ---- the beginning */

static int _sl_options(nghttp2_option **out)
{
    nghttp2_option *o = NULL;
    if (nghttp2_option_new(&o) != 0)
        return -ENOMEM;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_http_messaging(o, 1); /* h2_head.c is stricter, and tells why */
    nghttp2_option_set_no_closed_streams(o, 1); /* h2_past.c remembers them in less */
    nghttp2_option_set_max_continuations(o, SL_CONTINUATIONS);
    nghttp2_option_set_stream_reset_rate_limit(o, UINT64_MAX >> 1, UINT64_MAX >> 1); /* h2_budget.c does */
    *out = o;
    return 0;
}

static int _sl_session(struct sl_h2 *h)
{
    nghttp2_session_callbacks *cbs = NULL;
    nghttp2_option *options = NULL;
    int r = nghttp2_session_callbacks_new(&cbs) != 0 ? -ENOMEM : _sl_options(&options);
    if (r == 0) {
        sl_h2_set_receivers(cbs);
        sl_h2_set_senders(cbs);
        nghttp2_mem mem = sl_h2_mem_of(h->mem);
        r = nghttp2_session_server_new3(&h->session, cbs, h, options, &mem) != 0 ? -ENOMEM : 0;
    }
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(cbs);
    return r;
}

/* RFC 9113 section 6.5.2; the dependency trees of RFC 7540 are neither kept nor wanted (RFC 9218
 * section 2.1). */
static int _sl_settings(struct sl_h2 *h)
{
    const nghttp2_settings_entry s[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->limits.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, SL_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h->limits.headers},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    const size_t n = SL_ARRAY_LEN(s) - !h->limits.connect_protocol;
    int r = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, s, n);
    if (r == 0)
        r = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, SL_CONNECTION_WINDOW);
    return r < 0 ? -ENOMEM : 0;
}

struct sl_h2 *sl_h2_new(const struct sl_h2_ops *ops, void *owner, struct sl_bufpool *pool,
                        struct sl_h2_mem *mem, const struct sl_h2_limits *limits, uint64_t now)
{
    struct sl_h2 *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    *h = (struct sl_h2){.ops = ops, .owner = owner, .pool = pool, .mem = mem, .limits = *limits, .now = now};
    h->owes_since = now;
    h->scan.preface = SL_H2_PREFACE_LEN;
    h->budgets.streams = limits->streams;
    sl_list_init(&h->streams);
    sl_list_init(&h->queue);
    if (_sl_session(h) < 0 || _sl_settings(h) < 0) {
        sl_h2_free(h);
        return NULL;
    }
    return h;
}

/* ---- streams */

static void _sl_stream_free(struct sl_h2_stream *st)
{
    struct sl_h2 *h = st->h2;
    sl_list_remove(&st->all);
    sl_list_remove(&st->queued);
    sl_bufpool_return(h->pool, &st->in);
    sl_bufpool_return(h->pool, &st->out);
    h->n_streams--;
    sl_h2_dealloc(h->mem, st);
}

void sl_h2_free(struct sl_h2 *h)
{
    nghttp2_session_del(h->session);
    sl_list_for_each_safe (it, &h->streams)
        _sl_stream_free(SL_LIST_ENTRY(it, struct sl_h2_stream, all));
    free(h);
}

void sl_h2_queue(struct sl_h2_stream *st, enum sl_h2_event e)
{
    if (!st->events)
        sl_list_push_back(&st->h2->queue, &st->queued);
    st->events |= (uint8_t)e;
}

struct sl_h2_stream *sl_h2_next(struct sl_h2 *h, unsigned *events)
{
    if (h->delivered)
        _sl_stream_free(SL_TAKE_PTR(h->delivered));
    if (sl_list_empty(&h->queue))
        return NULL;
    struct sl_h2_stream *st = SL_LIST_ENTRY(h->queue.next, struct sl_h2_stream, queued);
    sl_list_remove(&st->queued);
    *events = st->events;
    st->events = 0;
    if (*events & SL_H2_GONE)
        h->delivered = st;
    return st;
}

size_t sl_h2_streams(const struct sl_h2 *h)
{
    return h->n_streams;
}

struct sl_h2_stream *sl_h2_first(struct sl_h2 *h)
{
    return sl_list_empty(&h->streams) ? NULL : SL_LIST_ENTRY(h->streams.next, struct sl_h2_stream, all);
}

struct sl_h2_stream *sl_h2_after(struct sl_h2_stream *st)
{
    return st->all.next == &st->h2->streams ? NULL : SL_LIST_ENTRY(st->all.next, struct sl_h2_stream, all);
}

void sl_h2_taken(struct sl_h2_stream *st, size_t n)
{
    struct sl_h2 *h = st->h2;
    n = SL_MIN(n, sl_buf_len(&st->in)); /* the end of a body is no byte */
    sl_buf_consume(&st->in, n);
    if (!sl_buf_len(&st->in))
        sl_bufpool_return(h->pool, &st->in);
    if (n && !st->closed) /* else it was given back with the stream */
        (void)nghttp2_session_consume(h->session, st->id, n);
}

void sl_h2_abandon(struct sl_h2_stream *st)
{
    st->user = NULL;
    sl_h2_taken(st, sl_buf_len(&st->in));
}

/* ---- in */

static enum sl_h2_why _sl_why_of(ssize_t error)
{
    switch (error) {
    case NGHTTP2_ERR_NOMEM:
        return SL_H2_WHY_INTERNAL;
    case NGHTTP2_ERR_FLOODED:
        return SL_H2_WHY_PING_FLOOD;
    case NGHTTP2_ERR_TOO_MANY_SETTINGS:
        return SL_H2_WHY_SETTINGS_FLOOD;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        return SL_H2_WHY_HEADER_FLOOD;
    default:
        return SL_H2_WHY_PROTOCOL_ERROR;
    }
}

static enum sl_h2_why _sl_recv(struct sl_h2 *h, const char *p, size_t n)
{
    const ssize_t r = nghttp2_session_mem_recv(h->session, (const uint8_t *)p, n);
    if (r >= 0)
        return SL_H2_WHY_NONE;
    const enum sl_h2_why why = h->why != SL_H2_WHY_NONE ? h->why : _sl_why_of(r);
    h->why = SL_H2_WHY_NONE; /* for sl_h2_terminate to set */
    return why;
}

void sl_h2_feed(struct sl_h2 *h, struct sl_slice data, uint64_t now)
{
    h->now = now;
    while (data.n && !h->dead) {
        enum sl_h2_why why = SL_H2_WHY_NONE;
        const size_t n = sl_h2_scan(h, (const uint8_t *)data.p, data.n, &why);
        if (why == SL_H2_WHY_NONE)
            why = _sl_recv(h, data.p, n);
        sl_h2_terminate(h, why);
        data = sl_slice(data.p + n, data.n - n);
    }
}

/* ---- out */

int sl_h2_pull(struct sl_h2 *h, struct sl_buf *out, uint64_t now)
{
    int r = 0;
    h->now = now;
    h->out = out;
    h->full = false;
    while (r == 0 && !h->goaway && (!sl_buf_len(out) || sl_buf_room(out) >= SL_PULL_ROOM)) {
        const uint8_t *p = NULL;
        const ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n == 0 && !h->full)
            break;
        if (n < 0)
            r = -ENOMEM;
        else if (n == 0)
            r = 1;
        else
            r = sl_buf_append(out, p, (size_t)n);
    }
    h->out = NULL;
    if (r != 0 || h->goaway)
        return r;
    return nghttp2_session_want_write(h->session) ? 1 : 0;
}

/* ---- the end */

int sl_h2_give_up(struct sl_h2 *h, enum sl_h2_why why)
{
    h->why = why;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

void sl_h2_terminate(struct sl_h2 *h, enum sl_h2_why why)
{
    if (why == SL_H2_WHY_NONE || h->why != SL_H2_WHY_NONE)
        return;
    h->why = why;
    h->dead = true;
    if (nghttp2_session_terminate_session(h->session, sl_h2_why_code(why)) < 0)
        h->goaway = true; /* not even that */
}

/* nghttp2 ends a session by itself where a frame breaks the protocol. */
void sl_h2_goaway_sent(struct sl_h2 *h, uint32_t code)
{
    static const enum sl_h2_why of[] = {
        [NGHTTP2_INTERNAL_ERROR] = SL_H2_WHY_INTERNAL,
        [NGHTTP2_FLOW_CONTROL_ERROR] = SL_H2_WHY_FLOW_CONTROL,
        [NGHTTP2_STREAM_CLOSED] = SL_H2_WHY_STREAM_CLOSED,
        [NGHTTP2_FRAME_SIZE_ERROR] = SL_H2_WHY_FRAME_SIZE,
        [NGHTTP2_COMPRESSION_ERROR] = SL_H2_WHY_COMPRESSION,
    };
    if (code != NGHTTP2_NO_ERROR && h->why == SL_H2_WHY_NONE) {
        h->why = code < SL_ARRAY_LEN(of) && of[code] ? of[code] : SL_H2_WHY_PROTOCOL_ERROR;
        h->dead = true;
    }
    h->goaway = h->why != SL_H2_WHY_NONE;
}

void sl_h2_shutdown(struct sl_h2 *h)
{
    if (h->why != SL_H2_WHY_NONE || h->drained)
        return;
    if (!h->draining) {
        h->draining = true;
        (void)nghttp2_submit_shutdown_notice(h->session);
        (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
        return;
    }
    h->drained = true;
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL,
                                0);
}

bool sl_h2_is_draining(const struct sl_h2 *h)
{
    return h->draining;
}

enum sl_h2_why sl_h2_why(const struct sl_h2 *h)
{
    return h->why;
}

bool sl_h2_is_over(const struct sl_h2 *h)
{
    return h->goaway || (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session));
}

uint64_t sl_h2_owes_since(const struct sl_h2 *h)
{
    return h->owes_since;
}
