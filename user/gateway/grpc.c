/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a gateway owes gRPC (PROTOCOL-HTTP2.md of gRPC): its deadline holds here too, and an answer of our own
 * is one that its client understands: a status in fields that are head and trailers at once.
 */
#include "gateway/exchange_priv.h"

#include <errno.h>

#define SL_TIMEOUT_DIGITS 8

/* gRPC-Web is ordinary HTTP: its status is. */
bool sl_grpc_is(const struct sl_exchange *ex)
{
    const struct sl_header *h = sl_headers_get(&ex->req.headers, SL_HDR_CONTENT_TYPE);
    static const struct sl_slice type = {"application/grpc", 16};
    return h && h->value.n >= type.n && sl_slice_ieq(sl_slice(h->value.p, type.n), type) &&
           (h->value.n == type.n || h->value.p[type.n] == '+' || h->value.p[type.n] == ';');
}

static uint64_t _sl_unit(char c)
{
    switch (c) {
    case 'H':
        return 3600 * SL_NS_PER_SEC;
    case 'M':
        return 60 * SL_NS_PER_SEC;
    case 'S':
        return SL_NS_PER_SEC;
    case 'm':
        return SL_NS_PER_MS;
    case 'u':
        return 1000;
    default:
        return c == 'n';
    }
}

uint64_t sl_grpc_timeout(struct sl_slice v)
{
    uint64_t n;
    if (v.n < 2 || v.n > SL_TIMEOUT_DIGITS + 1 || sl_slice_u64(sl_slice(v.p, v.n - 1), &n) < 0)
        return 0;
    return n * _sl_unit(v.p[v.n - 1]);
}

void sl_grpc_deadline(struct sl_exchange *ex)
{
    const struct sl_header *h = sl_headers_find(&ex->req.headers, SL_S("grpc-timeout"));
    const uint64_t timeout = h && sl_grpc_is(ex) ? sl_grpc_timeout(h->value) : 0;
    if (timeout && (!ex->total_at || ex->started + timeout < ex->total_at))
        ex->total_at = ex->started + timeout;
}

/* http-grpc-status-mapping.md; a deadline is one in gRPC too. */
static const char *_sl_status(unsigned status)
{
    switch (status) {
    case 400:
    case 431:
        return "13"; /* INTERNAL */
    case 401:
        return "16"; /* UNAUTHENTICATED */
    case 403:
        return "7"; /* PERMISSION_DENIED */
    case 404:
    case 405:
        return "12"; /* UNIMPLEMENTED */
    case 413:
        return "8"; /* RESOURCE_EXHAUSTED */
    case 504:
        return "4"; /* DEADLINE_EXCEEDED */
    case 429:
    case 502:
    case 503:
        return "14"; /* UNAVAILABLE */
    default:
        return "2"; /* UNKNOWN */
    }
}

/* Percent-encoded where it is not printable ASCII. */
static struct sl_slice _sl_message(struct sl_arena *a, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = sl_arena_alloc(a, 3 * strlen(text) + 1), *p = out;
    for (; out && *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c < 0x7f && c != '%') {
            *p++ = (char)c;
            continue;
        }
        *p++ = '%';
        *p++ = digits[c >> 4];
        *p++ = digits[c & 15];
    }
    return sl_slice(out, out ? (size_t)(p - out) : 0);
}

int sl_grpc_refusal(struct sl_exchange *ex, unsigned status, const char *detail)
{
    struct sl_headers *h = &ex->res.headers;
    struct sl_slice message = _sl_message(&ex->arena, detail ? detail : "");
    int r =
        message.p ? sl_headers_set(h, &ex->arena, SL_S("Content-Type"), SL_S("application/grpc")) : -ENOMEM;
    if (r == 0)
        r = sl_headers_set(h, &ex->arena, SL_S("grpc-status"), sl_slice_str(_sl_status(status)));
    return r < 0 ? r : sl_headers_set(h, &ex->arena, SL_S("grpc-message"), message);
}
