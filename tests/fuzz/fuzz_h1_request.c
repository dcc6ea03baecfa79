/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request heads. However the bytes arrive the verdict is the same, and what is taken reads back from our own
 * writer as the same request: nothing in it can be taken for a line, a field or a message of its own.
 */
#include "http/h1.h"

#include <assert.h>

static const struct sl_h1_limits limits = {.head = 8192, .header_count = 40, .target = 2048};

static ssize_t head_end_in_pieces(struct sl_slice s, size_t step)
{
    size_t scanned = 0;
    ssize_t r = 0;
    for (size_t n = step; r == 0; n += step) {
        r = sl_h1_head_end(sl_slice(s.p, n < s.n ? n : s.n), &scanned, &limits);
        if (n >= s.n)
            break;
    }
    return r;
}

static void check_headers(const struct sl_headers *h)
{
    unsigned hosts = 0;
    assert(h->n <= limits.header_count);
    for (uint32_t i = 0; i < h->n; i++) {
        assert(sl_is_token(h->v[i].name) && sl_is_field_value(h->v[i].value));
        assert(sl_slice_trim(h->v[i].value).n == h->v[i].value.n);
        assert(h->v[i].id == sl_hdr_id(h->v[i].name));
        hosts += h->v[i].id == SL_HDR_HOST;
    }
    assert(hosts <= 1);
}

static void check_round_trip(struct sl_arena *a, const struct sl_request *r)
{
    struct sl_buf out = {0}, twice = {0};
    struct sl_request back;
    const struct sl_h1_limits wide = {.head = 65536, .header_count = 41, .target = 65536};
    size_t scanned = 0;
    assert(sl_h1_write_request(&out, r) == 0);
    assert(sl_h1_head_end(sl_buf_slice(&out), &scanned, &wide) == (ssize_t)sl_buf_len(&out));
    if (r->authority.n ||
        sl_headers_get(&r->headers, SL_HDR_HOST)) { /* 1.0 without Host goes out with an empty one */
        assert(sl_h1_parse_request(a, sl_buf_slice(&out), &wide, &back) == SL_H1_OK);
        assert(sl_slice_eq(r->method_name, back.method_name) && sl_slice_eq(r->path, back.path));
        assert(sl_slice_eq(r->query, back.query) && sl_slice_eq(r->authority, back.authority));
        assert(r->framing == SL_FRAMING_NONE ||
               (r->framing == back.framing && r->content_length == back.content_length));
        assert(sl_h1_write_request(&twice, &back) == 0);
        assert(sl_slice_eq(sl_buf_slice(&out), sl_buf_slice(&twice)));
    }
    sl_buf_free(&out);
    sl_buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sl_slice in = sl_slice((const char *)data, size);
    struct sl_arena a;
    struct sl_request r;
    size_t scanned = 0;
    sl_arena_init(&a, 0);
    const ssize_t n = sl_h1_head_end(in, &scanned, &limits);
    assert(n == head_end_in_pieces(in, 1) && n == head_end_in_pieces(in, 7));
    /* Also what head_end refuses must be refused, or at least not crash, when parsed all the same. */
    const struct sl_slice head = n > 0 ? sl_slice(in.p, (size_t)n) : in;
    const enum sl_h1_error e = sl_h1_parse_request(&a, head, &limits, &r);
    if (e == SL_H1_OK) {
        assert(n > 0);
        assert(r.path.n && (r.path.p[0] == '/' || sl_slice_eq(r.path, SL_S("*"))));
        check_headers(&r.headers);
        check_round_trip(&a, &r);
        const struct sl_slice keep[] = {SL_S("X-User-Id")};
        sl_headers_strip_hop_by_hop(&r.headers, keep, 1);
        assert(!sl_headers_get(&r.headers, SL_HDR_CONNECTION) &&
               !sl_headers_get(&r.headers, SL_HDR_TRANSFER_ENCODING));
    }
    sl_arena_free(&a);
    return 0;
}
