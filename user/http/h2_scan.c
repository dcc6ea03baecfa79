/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as they come, before nghttp2 sees them: what each costs, those on streams that are no more, and the
 * little that nghttp2 does not look at because it heeds no priorities. Invariant: when a frame's head is
 * judged, nghttp2 has taken every frame before it, so the streams are as that frame finds them.
 */
#include "http/h2_priv.h"

/* On a stream that nghttp2 knows no more (RFC 9113 sections 5.1 and 5.1.1). */
static enum sl_h2_why _sl_on_closed(struct sl_h2 *h, unsigned type, int32_t id)
{
    const enum sl_h2_past_state past = sl_h2_past_of(&h->past, id);
    const bool opens = type == NGHTTP2_HEADERS;
    if (opens && past == SL_H2_PAST_SKIPPED)
        return SL_H2_WHY_PROTOCOL_ERROR;
    if ((opens || type == NGHTTP2_DATA) && (past == SL_H2_PAST_ENDED || past == SL_H2_PAST_SKIPPED))
        return SL_H2_WHY_STREAM_CLOSED;
    return sl_h2_spend(&h->budgets, SL_H2_COST_CLOSED, h->now);
}

static bool _sl_is_closed(struct sl_h2 *h, int32_t id)
{
    return id % 2 && ((uint32_t)id + 1) / 2 <= h->past.last &&
           !nghttp2_session_get_stream_user_data(h->session, id);
}

static enum sl_h2_why _sl_judge(struct sl_h2 *h, unsigned type, size_t length, int32_t id)
{
    switch (type) {
    case NGHTTP2_SETTINGS:
        return sl_h2_spend(&h->budgets, SL_H2_COST_SETTINGS, h->now);
    case NGHTTP2_PING:
        return sl_h2_spend(&h->budgets, SL_H2_COST_PING, h->now);
    case NGHTTP2_CONTINUATION:
        return length ? SL_H2_WHY_NONE : sl_h2_spend(&h->budgets, SL_H2_COST_EMPTY, h->now);
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM:
        if (_sl_is_closed(h, id))
            return _sl_on_closed(h, type, id);
        return type == NGHTTP2_WINDOW_UPDATE ? sl_h2_spend(&h->budgets, SL_H2_COST_WINDOW, h->now)
                                             : SL_H2_WHY_NONE;
    case NGHTTP2_PRIORITY:
        if (id == 0) /* section 6.3 */
            return SL_H2_WHY_PROTOCOL_ERROR;
        return sl_h2_spend(&h->budgets, SL_H2_COST_PRIORITY, h->now);
    default:
        return sl_h2_spend(&h->budgets, SL_H2_COST_PRIORITY, h->now);
    }
}

static uint32_t _sl_u31(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) & 0x7fffffffu;
}

/* Bytes into s->bytes until there are `want`; how many were taken of n. */
static size_t _sl_gather(struct sl_h2_scan *s, const uint8_t *p, size_t n, size_t want)
{
    n = SL_MIN(n, want - s->n);
    memcpy(s->bytes + s->n, p, n);
    s->n += (uint8_t)n;
    return n;
}

static enum sl_h2_why _sl_head(struct sl_h2 *h)
{
    struct sl_h2_scan *s = &h->scan;
    const size_t length = (size_t)s->bytes[0] << 16 | (size_t)s->bytes[1] << 8 | s->bytes[2];
    const int32_t id = (int32_t)_sl_u31(s->bytes + 5);
    s->left = (uint32_t)length;
    s->depends = s->bytes[3] == NGHTTP2_PRIORITY && length == 5;
    return _sl_judge(h, s->bytes[3], length, id);
}

/* RFC 7540 section 5.3.1: what RFC 9113 has dropped is still an error to who tests for it. */
static enum sl_h2_why _sl_dependency(struct sl_h2_scan *s)
{
    s->depends = false;
    return _sl_u31(s->bytes + 5) == _sl_u31(s->bytes + SL_H2_FRAME_HEAD) ? SL_H2_WHY_PROTOCOL_ERROR
                                                                         : SL_H2_WHY_NONE;
}

static size_t _sl_payload(struct sl_h2 *h, const uint8_t *p, size_t n, enum sl_h2_why *why)
{
    struct sl_h2_scan *s = &h->scan;
    n = SL_MIN(n, s->left);
    if (s->depends) {
        n = _sl_gather(s, p, n, sizeof(s->bytes));
        if (s->n == sizeof(s->bytes))
            *why = _sl_dependency(s);
    }
    s->left -= (uint32_t)n;
    if (!s->left)
        s->n = 0;
    return n;
}

size_t sl_h2_scan(struct sl_h2 *h, const uint8_t *p, size_t n, enum sl_h2_why *why)
{
    struct sl_h2_scan *s = &h->scan;
    size_t at = SL_MIN(n, (size_t)s->preface);
    s->preface -= (uint8_t)at;
    *why = SL_H2_WHY_NONE;
    while (at < n && *why == SL_H2_WHY_NONE) {
        if (s->n >= SL_H2_FRAME_HEAD) {
            at += _sl_payload(h, p + at, n - at, why);
            continue;
        }
        if (at && s->n == 0)
            return at; /* what is before this frame goes first */
        at += _sl_gather(s, p + at, n - at, SL_H2_FRAME_HEAD);
        if (s->n == SL_H2_FRAME_HEAD)
            *why = _sl_head(h);
        if (s->n == SL_H2_FRAME_HEAD && !s->left)
            s->n = 0;
    }
    return at;
}
