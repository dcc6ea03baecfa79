/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to the client. Bodies are copied at most once, from their stream's buffer into the connection's;
 * a DATA frame is cut to the room that is left there, so that a full buffer is one full TLS record.
 */
#include "http/h2_priv.h"

#include <errno.h>

#define SL_LEAST_DATA 512 /* a frame is not cut smaller for want of room */
#define SL_FEW_FIELDS 48

/* ---- fields */

static nghttp2_nv _sl_nv(struct sl_slice name, struct sl_slice value)
{
    return (nghttp2_nv){.name = (uint8_t *)name.p,
                        .namelen = name.n,
                        .value = (uint8_t *)(value.p ? value.p : ""),
                        .valuelen = value.n};
}

/* RFC 9113 section 8.2.2; lengths are said anew. */
static bool _sl_is_said(const struct sl_header *h)
{
    if (h->removed)
        return false;
    switch (h->id) {
    case SL_HDR_CONNECTION:
    case SL_HDR_PROXY_CONNECTION:
    case SL_HDR_KEEP_ALIVE:
    case SL_HDR_TRANSFER_ENCODING:
    case SL_HDR_UPGRADE:
    case SL_HDR_CONTENT_LENGTH:
        return false;
    default:
        return true;
    }
}

/* A list for nghttp2, with room for `more` before it; few is used where it is large enough. NULL when memory
 * is out. *n: of the list. */
static nghttp2_nv *_sl_list(const struct sl_headers *h, nghttp2_nv few[SL_FEW_FIELDS], size_t more, size_t *n)
{
    nghttp2_nv *nv = h->n + more > SL_FEW_FIELDS ? malloc((h->n + more) * sizeof(*nv)) : few;
    *n = more;
    for (uint32_t i = 0; nv && i < h->n; i++)
        if (_sl_is_said(&h->v[i]))
            nv[(*n)++] = _sl_nv(h->v[i].name, h->v[i].value);
    return nv;
}

static int _sl_submit_trailers(struct sl_h2_stream *st)
{
    nghttp2_nv few[SL_FEW_FIELDS];
    size_t n = 0;
    nghttp2_nv *nv = _sl_list(st->trailers, few, 0, &n);
    const int r = nv ? nghttp2_submit_trailer(st->h2->session, st->id, nv, n) : -1;
    if (nv != few)
        free(nv);
    return r;
}

/* ---- bodies, as nghttp2 asks for them */

static ssize_t _sl_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                        nghttp2_data_source *source, void *user)
{
    (void)session, (void)id, (void)buf;
    const struct sl_h2 *h = user;
    struct sl_h2_stream *st = source->ptr;
    const size_t held = sl_buf_len(&st->out), room = sl_buf_room(h->out);
    size_t n = SL_MIN(SL_MIN(held, st->allowance), length);
    if (!n && (held || !st->over)) {
        st->waiting = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (room >= SL_H2_FRAME_HEAD + SL_LEAST_DATA)
        n = SL_MIN(n, room - SL_H2_FRAME_HEAD);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!st->over || n < held)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->trailers && _sl_submit_trailers(st) < 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (st->trailers)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)n;
}

/* All of the stream's buffer, which has room for the frame's head before it, becomes the connection's. */
static bool _sl_swap(struct sl_buf *to, struct sl_buf *from, const uint8_t *head, size_t n)
{
    if (sl_buf_len(to) || n != sl_buf_len(from) || from->start < SL_H2_FRAME_HEAD || n < SL_LEAST_DATA)
        return false;
    const struct sl_buf empty = *to;
    *to = *from;
    *from = empty;
    to->start -= SL_H2_FRAME_HEAD;
    memcpy(to->base + to->start, head, SL_H2_FRAME_HEAD);
    return true;
}

static int _sl_copy(struct sl_buf *to, struct sl_buf *from, const uint8_t *head, size_t n)
{
    if (sl_buf_reserve(to, SL_H2_FRAME_HEAD + n) < 0)
        return -ENOMEM;
    memcpy(to->base + to->end, head, SL_H2_FRAME_HEAD);
    if (n)
        memcpy(to->base + to->end + SL_H2_FRAME_HEAD, sl_buf_data(from), n);
    sl_buf_commit(to, SL_H2_FRAME_HEAD + n);
    sl_buf_consume(from, n);
    return 0;
}

static int _sl_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                         nghttp2_data_source *source, void *user)
{
    (void)session;
    struct sl_h2 *h = user;
    struct sl_h2_stream *st = source->ptr;
    if (sl_buf_len(h->out) && sl_buf_room(h->out) < SL_H2_FRAME_HEAD + n) {
        h->full = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (!_sl_swap(h->out, &st->out, head, n) && _sl_copy(h->out, &st->out, head, n) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    st->sent += n;
    st->allowance -= st->allowance == SIZE_MAX ? 0 : n;
    if (!sl_buf_len(&st->out))
        sl_bufpool_return(h->pool, &st->out);
    st->finished = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    sl_h2_queue(st, SL_H2_SENT);
    return 0;
}

/* ---- what has gone out */

/* RFC 9113 section 7. Resets that the client has provoked cost it as those it sends (PITFALLS: MadeYouReset).
 */
static bool _sl_is_provoked(uint32_t code)
{
    switch (code) {
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_STREAM_CLOSED:
    case NGHTTP2_FRAME_SIZE_ERROR:
    case NGHTTP2_REFUSED_STREAM:
        return true;
    default:
        return false;
    }
}

/* nghttp2 resets a stream alone where SETTINGS have raised its window too far, which section 6.9.2 makes an
 * error of the connection. */
static void _sl_reset_sent(struct sl_h2 *h, const struct sl_h2_stream *st, uint32_t code)
{
    if (st && code == NGHTTP2_FLOW_CONTROL_ERROR && !st->overrun)
        sl_h2_terminate(h, SL_H2_WHY_FLOW_CONTROL);
    if (_sl_is_provoked(code))
        sl_h2_terminate(h, sl_h2_spend(&h->budgets, SL_H2_COST_RESET, h->now));
}

static int _sl_on_sent(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct sl_h2 *h = user;
    struct sl_h2_stream *st;
    switch (f->hd.type) {
    case NGHTTP2_HEADERS:
        st = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
        if (st && (f->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
            st->finished = true;
            sl_h2_queue(st, SL_H2_SENT);
        }
        break;
    case NGHTTP2_RST_STREAM:
        st = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
        _sl_reset_sent(h, st, f->rst_stream.error_code);
        break;
    case NGHTTP2_GOAWAY:
        sl_h2_goaway_sent(h, f->goaway.error_code);
        break;
    default:
        break;
    }
    return 0;
}

void sl_h2_set_senders(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_send_data_callback(cbs, _sl_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, _sl_on_sent);
}

/* ---- answers */

/* RFC 9110 section 8.6, as in HTTP/1.1. */
static bool _sl_tells_length(const struct sl_response *r)
{
    if (r->framing == SL_FRAMING_LENGTH)
        return true;
    return r->framing == SL_FRAMING_NONE && r->content_length > 0 && r->status >= 200 && r->status != 204;
}

static int _sl_submit(struct sl_h2_stream *st, const nghttp2_nv *nv, size_t n, bool end)
{
    const nghttp2_data_provider body = {.source = {.ptr = st}, .read_callback = _sl_read};
    const int r = nghttp2_submit_response(st->h2->session, st->id, nv, n, end ? NULL : &body);
    return r < 0 ? -ENOMEM : 0;
}

/* The digits of v at the end of text, at least `least` of them. */
static struct sl_slice _sl_digits(char *text, size_t size, uint64_t v, size_t least)
{
    size_t at = size;
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v || size - at < least);
    return sl_slice(text + at, size - at);
}

int sl_h2_answer(struct sl_h2_stream *st, const struct sl_response *r, bool end)
{
    nghttp2_nv few[SL_FEW_FIELDS];
    char status[8], length[20];
    size_t n = 0;
    if (st->closed)
        return 0;
    const bool tells = _sl_tells_length(r);
    nghttp2_nv *nv = _sl_list(&r->headers, few, 1 + tells, &n);
    if (!nv)
        return -ENOMEM;
    nv[0] = _sl_nv(SL_S(":status"), _sl_digits(status, sizeof(status), r->status, 3));
    if (tells)
        nv[1] = _sl_nv(SL_S("content-length"), _sl_digits(length, sizeof(length), r->content_length, 1));
    st->over = end;
    const int e = _sl_submit(st, nv, n, end);
    if (nv != few)
        free(nv);
    return e;
}

int sl_h2_interim(struct sl_h2_stream *st, unsigned status, const struct sl_headers *fields)
{
    nghttp2_nv few[SL_FEW_FIELDS];
    char text[8];
    size_t n = 0;
    if (st->closed)
        return 0;
    nghttp2_nv *nv = _sl_list(fields, few, 1, &n);
    if (!nv)
        return -ENOMEM;
    nv[0] = _sl_nv(SL_S(":status"), _sl_digits(text, sizeof(text), status, 3));
    const int r = nghttp2_submit_headers(st->h2->session, NGHTTP2_FLAG_NONE, st->id, NULL, nv, n, NULL);
    if (nv != few)
        free(nv);
    return r < 0 ? -ENOMEM : 0;
}

int sl_h2_lend(struct sl_h2_stream *st)
{
    if (st->out.base)
        return 0;
    const int r = sl_bufpool_lend(st->h2->pool, &st->out);
    if (r == 0)
        st->out.start = st->out.end = SL_H2_FRAME_HEAD;
    return r;
}

void sl_h2_more(struct sl_h2_stream *st)
{
    const size_t held = sl_buf_len(&st->out);
    if (!st->waiting || st->closed || (held ? !st->allowance : !st->over))
        return;
    st->waiting = false;
    (void)nghttp2_session_resume_data(st->h2->session, st->id);
}

void sl_h2_end(struct sl_h2_stream *st, const struct sl_headers *trailers)
{
    for (uint32_t i = 0; !st->trailers && i < trailers->n; i++)
        if (_sl_is_said(&trailers->v[i]))
            st->trailers = trailers;
    st->over = true;
    sl_h2_more(st);
}

void sl_h2_reset(struct sl_h2_stream *st, uint32_t code)
{
    if (st->closed || st->reset)
        return;
    st->reset = true;
    (void)nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id, code);
}
