/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads: the guard, what the fields say, llhttp's confirmation, and from these one message with one framing
 * (RFC 9112 section 6.3). Nothing of a message that was refused is used.
 */
#include "http/h1_priv.h"

/* RFC 9112 section 9.3: "close" wins; 1.1 persists by default, 1.0 where it says so. */
static bool _sl_persists(const struct sl_h1_facts *f)
{
    return !f->close && (f->minor > 0 || f->keep_alive);
}

static void _sl_request_framing(const struct sl_h1_facts *f, struct sl_request *r)
{
    r->framing = f->chunked ? SL_FRAMING_CHUNKED : f->has_length ? SL_FRAMING_LENGTH : SL_FRAMING_NONE;
    r->content_length = f->length;
    r->keep_alive = _sl_persists(f);
    r->upgrade = f->upgrade_option && f->upgrade_field && f->minor > 0;
    /* RFC 9110 section 10.1.1: ignored on 1.0, and where no content follows */
    r->expect_continue = f->expect && f->minor > 0 && (f->chunked || f->length > 0);
}

enum sl_h1_error sl_h1_parse_request(struct sl_arena *a, struct sl_slice head,
                                     const struct sl_h1_limits *limits, struct sl_request *out)
{
    struct sl_h1_cursor c = {head.p, head.p + head.n};
    struct sl_h1_facts f = {0};
    *out = (struct sl_request){0};
    enum sl_h1_error e = head.n > limits->head ? SL_H1_HEAD_TOO_LARGE : SL_H1_OK;
    if (e == SL_H1_OK)
        e = sl_h1_guard_request_line(&c, limits, out);
    if (e == SL_H1_OK)
        e = sl_h1_guard_fields(&c, a, limits, &out->headers);
    f.minor = out->minor;
    if (e == SL_H1_OK)
        e = sl_h1_read_facts(&out->headers, &f);
    if (e == SL_H1_OK)
        e = sl_h1_read_target(a, f.host, out);
    if (e == SL_H1_OK)
        e = sl_h1_confirm_request(head, out, &f);
    if (e == SL_H1_OK)
        _sl_request_framing(&f, out);
    return e;
}

/* RFC 9112 section 6.3, in its order. content_length is kept where it tells of a body that is not sent (HEAD,
 * 304). */
static void _sl_response_framing(const struct sl_h1_facts *f, enum sl_method method, struct sl_response *r)
{
    const bool never = r->status < 200 || r->status == 204;
    r->content_length = never ? 0 : f->length;
    if (never || method == SL_METHOD_HEAD || r->status == 304)
        r->framing = SL_FRAMING_NONE;
    else if (f->chunked)
        r->framing = SL_FRAMING_CHUNKED;
    else
        r->framing = f->has_length ? SL_FRAMING_LENGTH : SL_FRAMING_EOF;
    /* A 204 that announces a body may send one, which would be read as the next response. */
    const bool lies = never && r->status >= 200 && (f->chunked || f->length > 0);
    r->keep_alive = _sl_persists(f) && r->framing != SL_FRAMING_EOF && !lies;
}

enum sl_h1_error sl_h1_parse_response(struct sl_arena *a, struct sl_slice head,
                                      const struct sl_h1_limits *limits, enum sl_method request_method,
                                      struct sl_response *out)
{
    struct sl_h1_cursor c = {head.p, head.p + head.n};
    struct sl_h1_facts f = {.response = true};
    *out = (struct sl_response){0};
    enum sl_h1_error e = head.n > limits->head ? SL_H1_HEAD_TOO_LARGE : SL_H1_OK;
    if (e == SL_H1_OK)
        e = sl_h1_guard_status_line(&c, out);
    if (e == SL_H1_OK)
        e = sl_h1_guard_fields(&c, a, limits, &out->headers);
    f.minor = out->minor;
    if (e == SL_H1_OK)
        e = sl_h1_read_facts(&out->headers, &f);
    if (e == SL_H1_OK)
        e = sl_h1_confirm_response(head, out, &f);
    if (e == SL_H1_OK)
        _sl_response_framing(&f, request_method, out);
    out->upgrade = e == SL_H1_OK && out->status == 101 && f.upgrade_option && f.upgrade_field;
    return e;
}
