/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from the client, as nghttp2 tells it. Connection errors of RFC 9113 are nghttp2's own, save
 * those on streams that are no more, which it has forgotten and h2_past.c has not; malformed requests are
 * refused here. Invariant: every byte of DATA that came is in a stream's buffer, or its credit is given back.
 */
#include "http/h2_priv.h"

/* ---- header blocks */

static struct sl_h2_stream *_sl_open(struct sl_h2 *h, int32_t id)
{
    struct sl_h2_stream *st = sl_h2_alloc(h->mem, sizeof(*st));
    if (!st)
        return NULL;
    *st = (struct sl_h2_stream){.h2 = h, .id = id, .allowance = SIZE_MAX};
    sl_list_init(&st->queued);
    sl_list_push_back(&h->streams, &st->all);
    h->n_streams++;
    (void)nghttp2_session_set_stream_user_data(h->session, id, st);
    /* All take turns: one long answer must not hold up the others. */
    nghttp2_extpri turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    (void)nghttp2_session_change_extpri_stream_priority(h->session, id, &turns, 1);
    return st;
}

static int _sl_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct sl_h2 *h = user;
    const int32_t id = frame->hd.stream_id;
    struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
    const bool trailers = st != NULL;
    if (!trailers) {
        sl_h2_past_open(&h->past, id);
        st = _sl_open(h, id);
        if (!st || !h->ops->open(h->owner, st))
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    } else if (!st->user) { /* nobody waits for them */
        return 0;
    }
    sl_h2_head_begin(&h->head, st->arena, st->req, &h->limits, trailers);
    h->head_of = st;
    h->owes_since = h->now;
    return 0;
}

/* Past this, not even reading the fields away is worth it: HPACK makes kilobytes of a byte. */
static size_t _sl_unbearable(const struct sl_h2 *h)
{
    return 4 * (size_t)h->limits.headers + 65536;
}

static int _sl_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t namelen, const uint8_t *value, size_t valuelen, uint8_t flags, void *user)
{
    (void)session, (void)flags;
    struct sl_h2 *h = user;
    if (!h->head_of || h->head_of->id != frame->hd.stream_id)
        return 0;
    sl_h2_head_field(&h->head, sl_slice((const char *)name, namelen),
                     sl_slice((const char *)value, valuelen));
    return h->head.size > _sl_unbearable(h) ? sl_h2_give_up(h, SL_H2_WHY_HEADER_FLOOD) : 0;
}

/* RFC 9113 section 8.1.1: a stream error, and nothing of the request is used from here on. */
static void _sl_reject(struct sl_h2_stream *st, enum sl_h1_error e)
{
    if (st->malformed)
        return;
    st->malformed = true;
    st->error = e;
    sl_h2_reset(st, SL_H2_PROTOCOL_ERROR);
}

static void _sl_ended(struct sl_h2_stream *st)
{
    st->ended = true;
    sl_h2_past_end(&st->h2->past, st->id);
    if (st->has_length && st->left)
        _sl_reject(st, SL_H1_BODY_LENGTH);
}

static void _sl_head_done(struct sl_h2 *h, struct sl_h2_stream *st, bool end_stream)
{
    struct sl_h2_head *hd = &h->head;
    h->head_of = NULL;
    h->owes_since = 0;
    if (hd->trailers && (!end_stream || st->tunnel))
        _sl_reject(st, SL_H1_TRAILER);
    sl_h2_head_end(hd, end_stream);
    if (hd->malformed)
        _sl_reject(st, hd->error);
    else if (!hd->trailers || hd->error)
        st->error = hd->error;
    st->tunnel |= !hd->trailers && hd->protocol.p;
    if (!hd->trailers && hd->has_length) {
        st->has_length = true;
        st->left = hd->length;
    }
    if (end_stream)
        _sl_ended(st);
    sl_h2_queue(st, hd->trailers ? SL_H2_BODY : SL_H2_HEAD);
}

/* ---- bodies */

static void _sl_drop(struct sl_h2 *h, int32_t id, size_t n)
{
    (void)nghttp2_session_consume(h->session, id, n);
}

static int _sl_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                       void *user)
{
    (void)flags;
    struct sl_h2 *h = user;
    struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
    if (st && st->has_length && n > st->left) {
        _sl_reject(st, SL_H1_BODY_LENGTH);
        sl_h2_queue(st, SL_H2_BODY);
    }
    if (!st || !st->user || st->malformed) {
        _sl_drop(h, id, n);
        return 0;
    }
    st->left -= st->has_length ? n : 0;
    if (sl_bufpool_lend(h->pool, &st->in) < 0 || sl_buf_append(&st->in, data, n) < 0)
        return sl_h2_give_up(h, SL_H2_WHY_INTERNAL);
    sl_h2_queue(st, SL_H2_BODY);
    return 0;
}

static enum sl_h2_why _sl_data_frame(struct sl_h2 *h, const nghttp2_frame *f)
{
    struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(h->session, f->hd.stream_id);
    if (f->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        if (st) {
            _sl_ended(st);
            sl_h2_queue(st, SL_H2_BODY);
        }
        return SL_H2_WHY_NONE;
    }
    return f->hd.length == f->data.padlen ? sl_h2_spend(&h->budgets, SL_H2_COST_EMPTY, h->now)
                                          : SL_H2_WHY_NONE;
}

/* ---- whole frames */

static enum sl_h2_why _sl_reset_frame(struct sl_h2 *h, const nghttp2_frame *f)
{
    struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(h->session, f->hd.stream_id);
    sl_h2_past_end(&h->past, f->hd.stream_id);
    if (!st)
        return SL_H2_WHY_NONE;
    st->reset = true;
    return sl_h2_spend(&h->budgets, SL_H2_COST_RESET, h->now);
}

static void _sl_ping_frame(struct sl_h2 *h, const nghttp2_frame *f)
{
    if ((f->hd.flags & NGHTTP2_FLAG_ACK) && h->draining)
        sl_h2_shutdown(h);
}

static int _sl_on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct sl_h2 *h = user;
    struct sl_h2_stream *st = NULL;
    enum sl_h2_why why = SL_H2_WHY_NONE;
    switch (f->hd.type) {
    case NGHTTP2_HEADERS:
        st = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
        if (st && st == h->head_of)
            _sl_head_done(h, st, f->hd.flags & NGHTTP2_FLAG_END_STREAM);
        break;
    case NGHTTP2_DATA:
        why = _sl_data_frame(h, f);
        break;
    case NGHTTP2_RST_STREAM:
        why = _sl_reset_frame(h, f);
        break;
    case NGHTTP2_PING:
        _sl_ping_frame(h, f);
        break;
    case NGHTTP2_SETTINGS:
        h->owes_since = h->head_of ? h->owes_since : 0;
        break;
    default:
        break;
    }
    return why == SL_H2_WHY_NONE ? 0 : sl_h2_give_up(h, why);
}

/* A window that the client itself has raised too far is its stream's error: see _sl_reset_sent. */
static int _sl_on_invalid(nghttp2_session *session, const nghttp2_frame *f, int error, void *user)
{
    (void)user, (void)error;
    struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
    if (st && f->hd.type == NGHTTP2_WINDOW_UPDATE)
        st->overrun = true;
    return 0;
}

static int _sl_on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct sl_h2 *h = user;
    struct sl_h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
    if (!st)
        return 0;
    if (h->head_of == st) {
        h->head_of = NULL;
        h->owes_since = 0;
    }
    if (code == NGHTTP2_NO_ERROR)
        sl_h2_earn(&h->budgets, SL_H2_COST_RESET, 1);
    (void)nghttp2_session_consume_connection(session, sl_buf_len(&st->in));
    st->closed = true;
    sl_h2_queue(st, SL_H2_GONE);
    return 0;
}

void sl_h2_set_receivers(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, _sl_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, _sl_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, _sl_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, _sl_on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cbs, _sl_on_invalid);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, _sl_on_stream_close);
}
