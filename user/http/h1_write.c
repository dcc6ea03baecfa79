/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads as we send them. The framing fields are always made here, from the framing itself, never copied: what
 * goes out is framed as what follows it. The size is known before a byte is written, so writing is memcpy
 * alone.
 */
#include "http/h1.h"

/* The longest of "Transfer-Encoding: chunked" and "Content-Length: " with 20 digits, then the longest of
 * "Connection: close", "TE: trailers" with "Connection: TE", "Connection: upgrade" with "Upgrade: websocket",
 * and the empty line */
#define SL_FRAMING_ROOM 96

static const struct sl_slice _sl_upgrade = {"Connection: upgrade\r\nUpgrade: websocket\r\n", 41};

static char *_sl_put(char *p, struct sl_slice s)
{
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

static bool _sl_is_written(const struct sl_header *h)
{
    return !h->removed && h->id != SL_HDR_CONTENT_LENGTH && h->id != SL_HDR_TRANSFER_ENCODING &&
           h->id != SL_HDR_CONNECTION;
}

/* It stands in its head as it would be written: "Name: value" CR LF. */
static bool _sl_is_line(const struct sl_header *h)
{
    const char *colon = h->name.p + h->name.n;
    return h->in_line && h->value.p == colon + 2 && colon[1] == ' ' && h->value.p[h->value.n] == '\r';
}

static size_t _sl_headers_size(const struct sl_headers *h)
{
    size_t n = 0;
    for (uint32_t i = 0; i < h->n; i++)
        if (_sl_is_written(&h->v[i]))
            n += h->v[i].name.n + h->v[i].value.n + 4;
    return n;
}

static char *_sl_put_field(char *p, struct sl_slice name, struct sl_slice value)
{
    p = _sl_put(_sl_put(p, name), SL_S(": "));
    return _sl_put(_sl_put(p, value), SL_S("\r\n"));
}

/* Lines that are passed on as they came, one behind the other, are copied at once. */
static char *_sl_put_headers(char *p, const struct sl_headers *h)
{
    struct sl_slice lines = SL_SLICE_NUL;
    for (uint32_t i = 0; i < h->n; i++) {
        const struct sl_header *f = &h->v[i];
        if (!_sl_is_written(f))
            continue;
        const bool line = _sl_is_line(f);
        if (!line || !lines.n || f->name.p != lines.p + lines.n) {
            p = _sl_put(p, lines);
            lines = sl_slice(f->name.p, 0);
        }
        if (line)
            lines.n += f->name.n + f->value.n + 4;
        else
            p = _sl_put_field(p, f->name, f->value);
    }
    return _sl_put(p, lines);
}

static char *_sl_put_length(char *p, uint64_t n)
{
    p = sl_put_u64(_sl_put(p, SL_S("Content-Length: ")), n);
    return _sl_put(p, SL_S("\r\n"));
}

static char *_sl_put_framing(char *p, enum sl_framing framing, uint64_t length)
{
    if (framing == SL_FRAMING_CHUNKED)
        return _sl_put(p, SL_S("Transfer-Encoding: chunked\r\n"));
    return framing == SL_FRAMING_LENGTH ? _sl_put_length(p, length) : p;
}

/* RFC 9110 section 8.6: where a method means content to be there, its absence is said. */
static bool _sl_wants_length(const struct sl_request *r)
{
    return r->framing == SL_FRAMING_NONE &&
           (r->method == SL_METHOD_POST || r->method == SL_METHOD_PUT || r->method == SL_METHOD_PATCH);
}

/* A request of 1.0 may have no Host; what we send is 1.1 (RFC 9112 section 2.3) and has one. */
int sl_h1_write_request(struct sl_buf *out, const struct sl_request *r)
{
    const struct sl_slice method =
        r->method_name.p ? r->method_name : sl_slice_str(sl_method_name(r->method));
    const bool add_host = !sl_headers_get(&r->headers, SL_HDR_HOST);
    const size_t room = method.n + r->path.n + r->query.n + r->authority.n +
                        sizeof(" ? HTTP/1.1\r\nHost: \r\n") + _sl_headers_size(&r->headers) + SL_FRAMING_ROOM;
    const int e = sl_buf_reserve(out, room);
    if (e < 0)
        return e;
    char *const start = out->base + out->end;
    char *p = _sl_put(_sl_put(_sl_put(start, method), SL_S(" ")), r->path);
    if (r->query.p)
        p = _sl_put(_sl_put(p, SL_S("?")), r->query);
    p = _sl_put(p, SL_S(" HTTP/1.1\r\n"));
    if (add_host)
        p = _sl_put_field(p, SL_S("Host"), r->authority);
    p = _sl_put_headers(p, &r->headers);
    if (r->upgrade)
        p = _sl_put(p, _sl_upgrade);
    else if (r->te_trailers) /* for this hop alone (RFC 9110 section 10.1.4) */
        p = _sl_put(p, SL_S("TE: trailers\r\nConnection: TE\r\n"));
    p = _sl_wants_length(r) ? _sl_put_length(p, 0) : _sl_put_framing(p, r->framing, r->content_length);
    p = _sl_put(p, SL_S("\r\n"));
    sl_buf_commit(out, (size_t)(p - start));
    return 0;
}

/* RFC 9110 section 8.6: the answer to HEAD and a 304 may tell the length of what they leave out; 1xx and 204
 * not. */
static char *_sl_put_response_framing(char *p, const struct sl_response *r)
{
    const bool tells =
        r->framing == SL_FRAMING_NONE && r->content_length > 0 && r->status >= 200 && r->status != 204;
    return tells ? _sl_put_length(p, r->content_length) : _sl_put_framing(p, r->framing, r->content_length);
}

int sl_h1_write_response(struct sl_buf *out, const struct sl_response *r, bool close)
{
    const struct sl_slice reason = r->reason.p ? r->reason : sl_slice_str(sl_status_phrase(r->status));
    const int e = sl_buf_reserve(out, sizeof("HTTP/1.1 65535 \r\n") + reason.n +
                                          _sl_headers_size(&r->headers) + SL_FRAMING_ROOM);
    if (e < 0)
        return e;
    char *const start = out->base + out->end;
    char *p = sl_put_u64(_sl_put(start, SL_S("HTTP/1.1 ")), r->status);
    p = _sl_put(_sl_put(_sl_put(p, SL_S(" ")), reason), SL_S("\r\n"));
    p = _sl_put_headers(p, &r->headers);
    p = _sl_put_response_framing(p, r);
    if (r->upgrade)
        p = _sl_put(p, _sl_upgrade);
    else if (close)
        p = _sl_put(p, SL_S("Connection: close\r\n"));
    p = _sl_put(p, SL_S("\r\n"));
    sl_buf_commit(out, (size_t)(p - start));
    return 0;
}

int sl_h1_write_chunk_head(struct sl_buf *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * sizeof(n) + 2];
    size_t at = sizeof(text);
    text[--at] = '\n';
    text[--at] = '\r';
    do
        text[--at] = digits[n & 15];
    while (n >>= 4);
    return sl_buf_append(out, text + at, sizeof(text) - at);
}

int sl_h1_write_data(struct sl_buf *out, struct sl_slice data, bool chunked)
{
    if (!data.n)
        return 0;
    int r = sl_buf_reserve(out, data.n + SL_H1_CHUNK_OVERHEAD);
    if (r == 0 && chunked)
        r = sl_h1_write_chunk_head(out, data.n);
    if (r == 0)
        r = sl_buf_append_slice(out, data);
    if (r == 0 && chunked)
        r = sl_buf_append_slice(out, SL_S("\r\n"));
    return r;
}

int sl_h1_write_last(struct sl_buf *out, const struct sl_headers *trailers)
{
    const int r = sl_buf_reserve(out, sizeof("0\r\n\r\n") + _sl_headers_size(trailers));
    if (r < 0)
        return r;
    char *const start = out->base + out->end;
    char *p = _sl_put(start, SL_S("0\r\n"));
    p = _sl_put(_sl_put_headers(p, trailers), SL_S("\r\n"));
    sl_buf_commit(out, (size_t)(p - start));
    return 0;
}
