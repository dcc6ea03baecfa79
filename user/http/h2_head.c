/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 fields into a request (RFC 9113 section 8). Two kinds of refusal: what section 8.1.1 calls malformed
 * resets the stream; what is well formed and refused all the same (too large, an ambiguous path, CONNECT) is
 * answered. Invariant: a request that leaves here could have come by HTTP/1.1 word for word, so that no field
 * of it means something else once it is written so (section 10.3).
 */
#include "http/chars_priv.h"
#include "http/h1_priv.h"
#include "http/h2_priv.h"

#define SL_FIELD_OVERHEAD 32 /* section 10.5.1, after RFC 7541 section 4.1 */

void sl_h2_head_begin(struct sl_h2_head *hd, struct sl_arena *a, struct sl_request *req,
                      const struct sl_h2_limits *limits, bool trailers)
{
    *hd = (struct sl_h2_head){.arena = a, .req = req, .limits = limits, .trailers = trailers};
    if (!trailers)
        *req = (struct sl_request){0};
}

static void _sl_malformed(struct sl_h2_head *hd, enum sl_h1_error e)
{
    hd->malformed = true;
    hd->error = e;
}

static void _sl_refused(struct sl_h2_head *hd, enum sl_h1_error e)
{
    if (hd->error == SL_H1_OK)
        hd->error = e;
}

/* ---- pseudo-header fields */

static struct sl_slice *_sl_pseudo_of(struct sl_h2_head *hd, struct sl_slice name)
{
    if (sl_slice_eq(name, SL_S(":method")))
        return &hd->method;
    if (sl_slice_eq(name, SL_S(":scheme")))
        return &hd->scheme;
    if (sl_slice_eq(name, SL_S(":path")))
        return &hd->path;
    if (sl_slice_eq(name, SL_S(":authority")))
        return &hd->authority;
    return hd->limits->connect_protocol && sl_slice_eq(name, SL_S(":protocol")) ? &hd->protocol : NULL;
}

/* Section 8.3: known, once, before all others, and never in trailers. */
static void _sl_pseudo(struct sl_h2_head *hd, struct sl_slice name, struct sl_slice value)
{
    struct sl_slice *at = hd->trailers || hd->regular ? NULL : _sl_pseudo_of(hd, name);
    if (!at || at->p) {
        _sl_malformed(hd, SL_H1_PSEUDO);
        return;
    }
    *at = sl_arena_copy(hd->arena, value);
    if (!at->p)
        _sl_refused(hd, SL_H1_NO_MEMORY);
}

/* ---- other fields */

/* Section 8.2.1: a token without upper case. */
static bool _sl_name_ok(struct sl_slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!(sl_ch(name.p[i]) & SL_CH_TOKEN) || (name.p[i] >= 'A' && name.p[i] <= 'Z'))
            return false;
    return name.n > 0;
}

/* Section 8.2.1 forbids NUL, CR and LF, and space at the ends; the other controls are refused as in 1.1. */
static bool _sl_value_ok(struct sl_slice v)
{
    return sl_is_field_value(v) && sl_slice_trim(v).n == v.n;
}

/* The value as it stands once, p NULL where it stands twice. */
static void _sl_once(struct sl_h2_head *hd, struct sl_slice *at, struct sl_slice value,
                     enum sl_h1_error twice)
{
    if (at->p)
        _sl_malformed(hd, twice);
    *at = value.p ? value : SL_S("");
}

static void _sl_length(struct sl_h2_head *hd, struct sl_slice value)
{
    if (hd->has_length || sl_slice_u64(value, &hd->length) < 0 || hd->length > INT64_MAX)
        _sl_malformed(hd, SL_H1_CONTENT_LENGTH);
    hd->has_length = true;
}

static void _sl_framing_fact(struct sl_h2_head *hd, enum sl_hdr id, struct sl_slice value)
{
    if (id == SL_HDR_HOST) {
        _sl_once(hd, &hd->host, value, SL_H1_HOST_DOUBLED);
    } else if (id == SL_HDR_CONTENT_LENGTH) {
        _sl_length(hd, value);
    } else {
        hd->expect = true;
        if (!sl_slice_ieq(value, SL_S("100-continue")))
            _sl_refused(hd, SL_H1_EXPECT);
    }
}

static void _sl_fact(struct sl_h2_head *hd, enum sl_hdr id, struct sl_slice name, struct sl_slice value)
{
    switch (id) {
    case SL_HDR_CONNECTION: /* section 8.2.2 */
    case SL_HDR_PROXY_CONNECTION:
    case SL_HDR_KEEP_ALIVE:
    case SL_HDR_TRANSFER_ENCODING:
    case SL_HDR_UPGRADE:
        _sl_malformed(hd, SL_H1_CONNECTION_FIELD);
        break;
    case SL_HDR_TE:
        if (!sl_slice_ieq(value, SL_S("trailers")))
            _sl_malformed(hd, SL_H1_CONNECTION_FIELD);
        break;
    case SL_HDR_HOST:
    case SL_HDR_CONTENT_LENGTH:
    case SL_HDR_EXPECT:
        if (hd->trailers)
            _sl_malformed(hd, SL_H1_TRAILER); /* RFC 9110 section 6.5.1 */
        else
            _sl_framing_fact(hd, id, value);
        break;
    case SL_HDR_OTHER:
        if (sl_h1_disguised(name) != SL_H1_OK)
            _sl_malformed(hd, sl_h1_disguised(name));
        break;
    default:
        break;
    }
}
static void _sl_regular(struct sl_h2_head *hd, struct sl_slice name, struct sl_slice value)
{
    hd->regular = true;
    if (!_sl_name_ok(name) || !_sl_value_ok(value)) {
        _sl_malformed(hd, _sl_name_ok(name) ? SL_H1_FIELD_VALUE : SL_H1_FIELD_NAME);
        return;
    }
    char *copy = sl_arena_alloc(hd->arena, name.n + value.n + 1);
    if (!copy) {
        _sl_refused(hd, SL_H1_NO_MEMORY);
        return;
    }
    memcpy(copy, name.p, name.n);
    if (value.n)
        memcpy(copy + name.n, value.p, value.n);
    name = sl_slice(copy, name.n);
    value = sl_slice(copy + name.n, value.n);
    struct sl_headers *h = hd->trailers ? &hd->req->trailers : &hd->req->headers;
    if (sl_headers_add(h, hd->arena, name, value) < 0)
        _sl_refused(hd, SL_H1_NO_MEMORY);
    else
        _sl_fact(hd, (enum sl_hdr)h->v[h->n - 1].id, name, value);
}

void sl_h2_head_field(struct sl_h2_head *hd, struct sl_slice name, struct sl_slice value)
{
    const bool pseudo = name.n && name.p[0] == ':';
    hd->size += name.n + value.n + SL_FIELD_OVERHEAD;
    hd->count += !pseudo;
    if (hd->size > hd->limits->headers)
        _sl_refused(hd, SL_H1_HEAD_TOO_LARGE);
    else if (hd->count > hd->limits->header_count)
        _sl_refused(hd, SL_H1_TOO_MANY_HEADERS);
    if (hd->error != SL_H1_OK)
        return;
    if (pseudo)
        _sl_pseudo(hd, name, value);
    else
        _sl_regular(hd, name, value);
}

/* ---- the request */

/* Section 8.2.3: crumbs are one field again before anything else sees them. */
static int _sl_join_cookies(struct sl_h2_head *hd)
{
    struct sl_headers *h = &hd->req->headers;
    struct sl_header *first = NULL;
    size_t n = 0, crumbs = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->v[i].id != SL_HDR_COOKIE)
            continue;
        first = first ? first : &h->v[i];
        n += h->v[i].value.n + 2;
        crumbs++;
    }
    if (crumbs < 2)
        return 0;
    char *joined = sl_arena_alloc(hd->arena, n), *p = joined;
    if (!joined)
        return -1;
    for (uint32_t i = 0; i < h->n; i++) {
        if (h->v[i].id != SL_HDR_COOKIE)
            continue;
        if (p != joined) {
            *p++ = ';';
            *p++ = ' ';
        }
        if (h->v[i].value.n)
            memcpy(p, h->v[i].value.p, h->v[i].value.n);
        p += h->v[i].value.n;
        h->v[i].removed = &h->v[i] != first;
    }
    first->value = sl_slice(joined, (size_t)(p - joined));
    return 0;
}

/* Section 8.3.1: what must be there, and in which form. */
static void _sl_check_pseudo(struct sl_h2_head *hd)
{
    const struct sl_request *r = hd->req;
    const bool rooted = hd->path.n && hd->path.p[0] == '/';
    const bool whole = r->method == SL_METHOD_OPTIONS && sl_slice_eq(hd->path, SL_S("*"));
    if (!sl_is_token(hd->method) || !hd->scheme.n || !(rooted || whole))
        _sl_malformed(hd, SL_H1_PSEUDO);
    else if (hd->authority.p && hd->host.p && !sl_slice_ieq(hd->authority, hd->host))
        _sl_malformed(hd, SL_H1_HOST);
    else if (hd->authority.p && sl_slice_chr(hd->authority, '@') >= 0)
        _sl_malformed(hd, SL_H1_HOST);
    else if (!sl_slice_ieq(hd->scheme, SL_S("http")) && !sl_slice_ieq(hd->scheme, SL_S("https")))
        _sl_refused(hd, SL_H1_TARGET);
}

/* Section 8.5: CONNECT has an authority and nothing else; a well-formed one is refused. */
static void _sl_connect(struct sl_h2_head *hd)
{
    if (hd->scheme.p || hd->path.p || !hd->authority.n)
        _sl_malformed(hd, SL_H1_PSEUDO);
    else
        _sl_refused(hd, SL_H1_CONNECT);
}

/* RFC 8441 section 4: what it asks for, and how it is routed, is what GET with Upgrade is in HTTP/1.1. A
 * tunnel has no content whose length could be told (RFC 9110 section 9.3.6). */
static void _sl_extended_connect(struct sl_h2_head *hd)
{
    struct sl_request *r = hd->req;
    _sl_check_pseudo(hd);
    if (!sl_is_token(hd->protocol))
        _sl_malformed(hd, SL_H1_PSEUDO);
    else if (hd->has_length)
        _sl_malformed(hd, SL_H1_BODY_LENGTH);
    else if (!sl_slice_ieq(hd->protocol, SL_S("websocket")))
        _sl_refused(hd, SL_H1_PROTOCOL);
    if (hd->error != SL_H1_OK)
        return;
    r->extended_connect = r->upgrade = true;
    r->method = SL_METHOD_GET;
    r->method_name = SL_S("GET");
}

static void _sl_check_method(struct sl_h2_head *hd)
{
    const bool connect = hd->req->method == SL_METHOD_CONNECT;
    if (connect && hd->protocol.p)
        _sl_extended_connect(hd);
    else if (connect)
        _sl_connect(hd);
    else if (hd->protocol.p)
        _sl_malformed(hd, SL_H1_PSEUDO);
    else
        _sl_check_pseudo(hd);
}

/* As the target and the Host of HTTP/1.1. */
static void _sl_target(struct sl_h2_head *hd)
{
    struct sl_request *r = hd->req;
    const struct sl_header host = {.name = SL_S("host"), .value = hd->host.p ? hd->host : hd->authority};
    r->target = hd->path;
    if (!sl_is_field_value(r->target) || sl_slice_chr(r->target, ' ') >= 0) {
        _sl_refused(hd, SL_H1_TARGET);
        return;
    }
    const enum sl_h1_error e = sl_h1_read_target(hd->arena, host.value.p ? &host : NULL, r);
    if (e != SL_H1_OK)
        _sl_refused(hd, e);
    else if (!hd->host.p && sl_headers_add(&r->headers, hd->arena, host.name, host.value) < 0)
        _sl_refused(hd, SL_H1_NO_MEMORY);
}

static void _sl_framing(struct sl_h2_head *hd, bool end_stream)
{
    struct sl_request *r = hd->req;
    if (end_stream && hd->length)
        _sl_malformed(hd, SL_H1_BODY_LENGTH);
    r->framing = hd->has_length                      ? SL_FRAMING_LENGTH
                 : end_stream || r->extended_connect ? SL_FRAMING_NONE
                                                     : SL_FRAMING_CHUNKED;
    r->content_length = hd->length;
    r->expect_continue = hd->expect && !end_stream;
}

void sl_h2_head_end(struct sl_h2_head *hd, bool end_stream)
{
    struct sl_request *r = hd->req;
    if (hd->trailers || hd->malformed)
        return;
    r->method_name = hd->method;
    r->method = sl_method_from(hd->method);
    r->minor = 1;
    r->keep_alive = true;
    if (hd->error != SL_H1_OK) /* not all fields were kept */
        return;
    _sl_check_method(hd);
    if (hd->error == SL_H1_OK)
        _sl_target(hd);
    if (hd->error == SL_H1_OK && _sl_join_cookies(hd) < 0)
        _sl_refused(hd, SL_H1_NO_MEMORY);
    if (hd->error == SL_H1_OK)
        _sl_framing(hd, end_stream);
}
