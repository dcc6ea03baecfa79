/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads and the body behind them, for each kind of request that changes where the body ends. */
#include "http/h1.h"

#include <assert.h>

static const struct sl_h1_limits limits = {.head = 8192, .header_count = 40, .target = 2048};

static void drain(const struct sl_response *r, struct sl_slice in)
{
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used = 1;
    uint64_t total = 0;
    enum sl_h1_error e = SL_H1_OK;
    sl_h1_body_init(&b, r->framing, r->content_length);
    while (e == SL_H1_OK && !b.done && used) {
        e = sl_h1_body_feed(&b, in, &used, &data);
        assert(used <= in.n && data.n <= used);
        in = sl_slice(in.p + used, in.n - used);
        total += data.n;
    }
    assert(total == b.total);
    assert(r->framing != SL_FRAMING_LENGTH || total <= r->content_length);
}

static void check_round_trip(struct sl_arena *a, const struct sl_response *r, enum sl_method m)
{
    struct sl_buf out = {0};
    struct sl_response back;
    const struct sl_h1_limits wide = {.head = 65536, .header_count = 42, .target = 65536};
    assert(sl_h1_write_response(&out, r, !r->keep_alive) == 0);
    assert(sl_h1_parse_response(a, sl_buf_slice(&out), &wide, m, &back) == SL_H1_OK);
    assert(back.status == r->status && back.framing == r->framing && back.keep_alive == r->keep_alive);
    assert(back.content_length == r->content_length);
    sl_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum sl_method methods[] = {SL_METHOD_GET, SL_METHOD_HEAD, SL_METHOD_OTHER};
    const struct sl_slice in = sl_slice((const char *)data, size);
    size_t scanned = 0;
    const ssize_t n = sl_h1_head_end(in, &scanned, &limits);
    const struct sl_slice head = n > 0 ? sl_slice(in.p, (size_t)n) : in;
    for (unsigned i = 0; i < SL_ARRAY_LEN(methods); i++) {
        struct sl_arena a;
        struct sl_response r;
        sl_arena_init(&a, 0);
        if (sl_h1_parse_response(&a, head, &limits, methods[i], &r) == SL_H1_OK) {
            assert(n > 0 && r.status >= 100 && r.status <= 599 && sl_is_field_value(r.reason));
            assert(methods[i] != SL_METHOD_HEAD || r.framing == SL_FRAMING_NONE);
            assert(!r.keep_alive || r.framing != SL_FRAMING_EOF);
            check_round_trip(&a, &r, methods[i]);
            drain(&r, sl_slice(in.p + n, in.n - (size_t)n));
        }
        sl_arena_free(&a);
    }
    return 0;
}
