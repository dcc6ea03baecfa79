/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second opinion: llhttp in strict mode reads the head that the guard accepted, and must find the same
 * target, version, fields and framing at the same places. A difference is a request smuggling bug in one of
 * the two, so the message is refused.
 */
#include "http/h1_priv.h"

#include <llhttp.h>

struct _sl_witness {
    llhttp_t parser;
    const struct sl_headers *headers;
    const struct sl_h1_facts *facts;
    struct sl_slice target; /* p NULL: a response */
    uint32_t names, values; /* seen so far */
    uint16_t status;
    bool agrees, complete;
};

static struct _sl_witness *_sl_of(llhttp_t *p)
{
    return SL_CONTAINER_OF(p, struct _sl_witness, parser);
}

static int _sl_verdict(struct _sl_witness *w, bool same)
{
    w->agrees &= same;
    return same ? 0 : HPE_USER;
}

static int _sl_on_url(llhttp_t *p, const char *at, size_t n)
{
    struct _sl_witness *w = _sl_of(p);
    return _sl_verdict(w, at == w->target.p && n == w->target.n);
}

static int _sl_on_name(llhttp_t *p, const char *at, size_t n)
{
    struct _sl_witness *w = _sl_of(p);
    const struct sl_headers *h = w->headers;
    const uint32_t i = w->names++;
    return _sl_verdict(w, i < h->n && at == h->v[i].name.p && n == h->v[i].name.n);
}

/* llhttp leaves the white space behind a value on. */
static int _sl_on_value(llhttp_t *p, const char *at, size_t n)
{
    struct _sl_witness *w = _sl_of(p);
    const struct sl_headers *h = w->headers;
    const uint32_t i = w->names - 1;
    const struct sl_slice v = sl_slice_trim(sl_slice(at, n));
    w->values++;
    return _sl_verdict(w, w->names && i < h->n && v.n == h->v[i].value.n &&
                              (v.n == 0 || v.p == h->v[i].value.p));
}

static int _sl_on_headers(llhttp_t *p)
{
    struct _sl_witness *w = _sl_of(p);
    const struct sl_h1_facts *f = w->facts;
    w->complete = true;
    const bool framing = f->has_length == ((p->flags & F_CONTENT_LENGTH) != 0) &&
                         f->chunked == ((p->flags & F_CHUNKED) != 0) &&
                         (!f->has_length || f->length == p->content_length);
    const bool line = p->http_major == 1 && p->http_minor == f->minor && p->status_code == w->status;
    (void)_sl_verdict(w, framing && line && w->names == w->headers->n);
    return w->agrees ? 1 : -1; /* 1: no body follows in this buffer */
}

static const llhttp_settings_t _sl_settings = {.on_url = _sl_on_url,
                                               .on_header_field = _sl_on_name,
                                               .on_header_value = _sl_on_value,
                                               .on_headers_complete = _sl_on_headers};

static void _sl_start(struct _sl_witness *w, llhttp_type_t type)
{
    llhttp_init(&w->parser, type, &_sl_settings);
    w->agrees = true;
}

static enum sl_h1_error _sl_judge(struct _sl_witness *w, struct sl_slice bytes)
{
    const llhttp_errno_t e = llhttp_execute(&w->parser, bytes.p, bytes.n);
    const bool read = e == HPE_OK || e == HPE_PAUSED_UPGRADE;
    return read && w->agrees && w->complete ? SL_H1_OK : SL_H1_LLHTTP;
}

/* llhttp knows a fixed set of methods, some with rules of other protocols; RFC 9110 section 9.1 lets any
 * token be one. A method that we do not know either is shown to it as POST: it is the rest that needs the
 * second opinion. */
enum sl_h1_error sl_h1_confirm_request(struct sl_slice head, const struct sl_request *r,
                                       const struct sl_h1_facts *f)
{
    struct _sl_witness w = {.headers = &r->headers, .facts = f, .target = r->target};
    _sl_start(&w, HTTP_REQUEST);
    if (r->method == SL_METHOD_OTHER) {
        if (llhttp_execute(&w.parser, "POST", 4) != HPE_OK)
            return SL_H1_LLHTTP;
        head = sl_slice(head.p + r->method_name.n, head.n - r->method_name.n);
    }
    return _sl_judge(&w, head);
}

enum sl_h1_error sl_h1_confirm_response(struct sl_slice head, const struct sl_response *r,
                                        const struct sl_h1_facts *f)
{
    struct _sl_witness w = {.headers = &r->headers, .facts = f, .status = r->status};
    _sl_start(&w, HTTP_RESPONSE);
    return _sl_judge(&w, head);
}
