/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of HTTP/2 on the upstream's side (RFC 9113 section 8): requests as they go out, answers as they
 * come. nghttp2 has checked what section 8 calls malformed; what is checked here besides is that an answer
 * could have come by HTTP/1.1 word for word, since it may go on so (section 10.3).
 */
#include "http/h1.h"
#include "upstream/h2_priv.h"

static nghttp2_nv _sl_nv(struct sl_slice name, struct sl_slice value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
                        .namelen = name.n,
                        .value = (uint8_t *)(uintptr_t)(value.p ? value.p : ""),
                        .valuelen = value.n};
}

/* Section 8.2.2; what frames is said anew. */
static bool _sl_is_said(const struct sl_header *h)
{
    switch (h->id) {
    case SL_HDR_HOST:
    case SL_HDR_CONNECTION:
    case SL_HDR_PROXY_CONNECTION:
    case SL_HDR_KEEP_ALIVE:
    case SL_HDR_TRANSFER_ENCODING:
    case SL_HDR_UPGRADE:
    case SL_HDR_TE:
    case SL_HDR_CONTENT_LENGTH:
        return false;
    default:
        return !h->removed;
    }
}

static struct sl_slice _sl_path(const struct sl_request *r, struct sl_arena *a)
{
    if (!r->query.p)
        return r->path;
    char *p = sl_arena_alloc(a, r->path.n + 1 + r->query.n);
    if (!p)
        return SL_SLICE_NUL;
    memcpy(p, r->path.p, r->path.n);
    p[r->path.n] = '?';
    if (r->query.n)
        memcpy(p + r->path.n + 1, r->query.p, r->query.n);
    return sl_slice(p, r->path.n + 1 + r->query.n);
}

/* RFC 8441 section 5: extended CONNECT has no key. */
static bool _sl_is_key(const struct sl_request *r, const struct sl_header *h)
{
    return r->upgrade && sl_slice_ieq(h->name, SL_S("Sec-WebSocket-Key"));
}

static struct sl_slice _sl_method(const struct sl_request *r)
{
    if (r->upgrade)
        return SL_S("CONNECT");
    return r->method_name.p ? r->method_name : sl_slice_str(sl_method_name(r->method));
}

nghttp2_nv *sl_uph2_fields(const struct sl_request *r, bool tls, struct sl_arena *a, size_t *n)
{
    const struct sl_header *host = sl_headers_get(&r->headers, SL_HDR_HOST);
    const struct sl_slice path = _sl_path(r, a);
    nghttp2_nv *nv = sl_arena_alloc(a, (r->headers.n + 7) * sizeof(*nv));
    if (!nv || !path.p)
        return NULL;
    size_t k = 0;
    nv[k++] = _sl_nv(SL_S(":method"), _sl_method(r));
    if (r->upgrade)
        nv[k++] = _sl_nv(SL_S(":protocol"), SL_S("websocket"));
    nv[k++] = _sl_nv(SL_S(":scheme"), tls ? SL_S("https") : SL_S("http"));
    if (host || r->authority.n)
        nv[k++] = _sl_nv(SL_S(":authority"), host ? host->value : r->authority);
    nv[k++] = _sl_nv(SL_S(":path"), path);
    for (uint32_t i = 0; i < r->headers.n; i++)
        if (_sl_is_said(&r->headers.v[i]) && !_sl_is_key(r, &r->headers.v[i]))
            nv[k++] = _sl_nv(r->headers.v[i].name, r->headers.v[i].value);
    if (r->te_trailers)
        nv[k++] = _sl_nv(SL_S("te"), SL_S("trailers"));
    if (r->framing == SL_FRAMING_LENGTH) {
        const char *length = sl_arena_printf(a, "%llu", (unsigned long long)r->content_length);
        if (!length)
            return NULL;
        nv[k++] = _sl_nv(SL_S("content-length"), sl_slice_str(length));
    }
    *n = k;
    return nv;
}

nghttp2_nv *sl_uph2_trailers(const struct sl_headers *h, struct sl_arena *a, size_t *n)
{
    nghttp2_nv *nv = sl_arena_alloc(a, (h->n + 1) * sizeof(*nv));
    size_t k = 0;
    for (uint32_t i = 0; nv && i < h->n; i++)
        if (!h->v[i].removed)
            nv[k++] = _sl_nv(h->v[i].name, h->v[i].value);
    *n = k;
    return nv;
}

/* ---- answers */

static void _sl_status(struct sl_uph2_head *hd, struct sl_slice value)
{
    uint64_t status = 0;
    if (value.n != 3 || sl_slice_u64(value, &status) < 0 || status < 100 || status > 599)
        hd->bad = true;
    hd->res.status = (uint16_t)status;
}

static void _sl_length(struct sl_uph2_head *hd, struct sl_slice value)
{
    if (hd->has_length || sl_slice_u64(value, &hd->res.content_length) < 0 ||
        hd->res.content_length > INT64_MAX)
        hd->bad = true;
    hd->has_length = true;
}

void sl_uph2_field(struct sl_uph2_head *hd, struct sl_arena *a, bool trailers, struct sl_slice name,
                   struct sl_slice value)
{
    hd->size += name.n + value.n + 32;
    if (++hd->count > SL_UPH2_FIELDS || hd->size > SL_UPH2_HEADERS)
        hd->bad = true;
    if (hd->bad)
        return;
    if (name.n && name.p[0] == ':') {
        _sl_status(hd, value);
        return;
    }
    value = sl_slice_trim(value);
    if (!sl_is_token(name) || !sl_is_field_value(value)) {
        hd->bad = true;
        return;
    }
    if (trailers && !sl_trailer_allowed(name))
        return;
    struct sl_headers *h = trailers ? &hd->res.trailers : &hd->res.headers;
    name = sl_arena_copy(a, name);
    value = sl_arena_copy(a, value);
    if (!name.p || !value.p || sl_headers_add(h, a, name, value) < 0)
        hd->bad = true;
    else if (!trailers && h->v[h->n - 1].id == SL_HDR_CONTENT_LENGTH)
        _sl_length(hd, value);
}

bool sl_uph2_head_end(struct sl_uph2_head *hd, enum sl_method method, bool end_stream)
{
    struct sl_response *r = &hd->res;
    const bool never = r->status < 200 || r->status == 204;
    if (hd->bad || !r->status || r->status == 101 || (r->status < 200 && end_stream))
        return false;
    r->minor = 1;
    r->keep_alive = true;
    if (never)
        r->content_length = 0;
    if (never || method == SL_METHOD_HEAD || r->status == 304 || end_stream)
        r->framing = SL_FRAMING_NONE;
    else
        r->framing = hd->has_length ? SL_FRAMING_LENGTH : SL_FRAMING_CHUNKED;
    if (end_stream && method != SL_METHOD_HEAD && r->status != 304 && !never) {
        r->framing = SL_FRAMING_LENGTH; /* nothing comes, and that is said */
        r->content_length = 0;
    }
    return true;
}
