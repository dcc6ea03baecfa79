/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's side of an HTTP/2 session: any bytes, in pieces, with answers, resets and backpressure in
 * between. What is held stays within the windows, what goes out is a row of whole frames, an ended session
 * says why, and a request that comes out of it could be written as HTTP/1.1.
 *
 * Input: one byte of choices, then bytes; with its lowest bit the preface and an empty SETTINGS go before.
 */
#include "http/h2.h"

#include <assert.h>

#define STREAMS 16
#define ALLOWED 2 /* bytes of an answer at once, where it goes by allowances */
static const struct sl_h2_limits limits = {
    .headers = 4096, .header_count = 30, .streams = STREAMS, .connect_protocol = true};

struct exchange {
    struct sl_arena arena;
    struct sl_request req;
    uint64_t taken;
};

struct world {
    struct sl_h2 *h2;
    struct sl_bufpool pool;
    struct sl_h2_mem mem;
    struct sl_buf out;
    unsigned choices;
    size_t open;
    uint64_t now;
};

static bool on_open(void *owner, struct sl_h2_stream *st)
{
    struct world *w = owner;
    struct exchange *ex = calloc(1, sizeof(*ex));
    sl_arena_init(&ex->arena, 0);
    st->user = ex;
    st->arena = &ex->arena;
    st->req = &ex->req;
    w->open++;
    return true;
}
static const struct sl_h2_ops ops = {.open = on_open};

static void done(struct world *w, struct sl_h2_stream *st)
{
    struct exchange *ex = st->user;
    if (!ex)
        return;
    sl_h2_abandon(st);
    sl_arena_free(&ex->arena);
    free(ex);
    w->open--;
}

static void check_request(struct sl_arena *a, const struct sl_request *r)
{
    struct sl_buf out = {0};
    struct sl_request back;
    const struct sl_h1_limits wide = {.head = 65536, .header_count = 100, .target = 65536};
    assert(r->path.n && (r->path.p[0] == '/' || sl_slice_eq(r->path, SL_S("*"))));
    assert(sl_h1_write_request(&out, r) == 0);
    assert(sl_h1_parse_request(a, sl_buf_slice(&out), &wide, &back) == SL_H1_OK);
    assert(sl_slice_eq(r->method_name, back.method_name) && sl_slice_eq(r->path, back.path));
    assert(sl_slice_eq(r->authority, back.authority) && sl_slice_eq(r->query, back.query));
    assert(!r->extended_connect || (back.upgrade && back.method == SL_METHOD_GET));
    sl_buf_free(&out);
}

static void answer(struct world *w, struct sl_h2_stream *st)
{
    static const struct sl_headers none;
    struct exchange *ex = st->user;
    struct sl_response r = {.status = 200, .framing = SL_FRAMING_CHUNKED};
    assert(sl_headers_add(&r.headers, &ex->arena, SL_S("X-Upper"), SL_S("v")) == 0);
    assert(sl_headers_add(&r.headers, &ex->arena, SL_S("Connection"), SL_S("close")) == 0);
    assert(sl_h2_answer(st, &r, w->choices & 2) == 0);
    if (w->choices & 2)
        return;
    assert(sl_h2_lend(st) == 0 && sl_buf_append(&st->out, "hello", 5) == 0);
    if (w->choices & 128)
        st->allowance = ALLOWED;
    if (w->choices & 4)
        sl_h2_end(st, &none);
    else
        sl_h2_more(st);
}

static void tell(struct world *w, struct sl_h2_stream *st, unsigned events)
{
    struct exchange *ex = st->user;
    if (ex && (events & SL_H2_HEAD) && !(events & SL_H2_GONE)) {
        if (!st->malformed && st->error == SL_H1_OK)
            check_request(&ex->arena, &ex->req);
        if (!st->malformed)
            answer(w, st);
    }
    if (ex && (events & SL_H2_SENT) && st->allowance != SIZE_MAX) {
        assert(st->sent <= ALLOWED);
        st->sent = 0;
        st->allowance = ALLOWED;
        sl_h2_more(st);
    }
    if (ex && (events & SL_H2_BODY) && !(w->choices & 8)) {
        ex->taken += sl_buf_len(&st->in);
        sl_h2_taken(st, sl_buf_len(&st->in));
    }
    if (ex && ex->req.framing == SL_FRAMING_LENGTH && !st->malformed && st->error == SL_H1_OK)
        assert(ex->taken + sl_buf_len(&st->in) <= ex->req.content_length);
    if ((events & SL_H2_GONE) || st->finished)
        done(w, st);
}

/* Whole frames of at most the size that every client takes. */
static void check_out(struct sl_buf *out)
{
    while (sl_buf_len(out)) {
        const uint8_t *p = (const uint8_t *)sl_buf_data(out);
        assert(sl_buf_len(out) >= 9);
        const size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        assert(n <= 16384 && sl_buf_len(out) >= 9 + n);
        sl_buf_consume(out, 9 + n);
    }
}

static void turn(struct world *w)
{
    unsigned events, n = 0;
    for (struct sl_h2_stream *st; (st = sl_h2_next(w->h2, &events));)
        tell(w, st, events);
    int r;
    do {
        assert(sl_bufpool_lend(&w->pool, &w->out) == 0);
        r = sl_h2_pull(w->h2, &w->out, w->now);
        assert(r >= 0 && ++n < 1000);
        check_out(&w->out);
        sl_bufpool_return(&w->pool, &w->out);
    } while (r > 0);
    size_t held = 0;
    for (struct sl_h2_stream *st = sl_h2_first(w->h2); st; st = sl_h2_after(st))
        held += sl_buf_len(&st->in);
    assert(held <= 1024 * 1024);
    assert(w->open <= 2 * STREAMS);
    w->now += 1000000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = SL_H2_PREFACE "\0\0\0\4\0\0\0\0";
    struct world w = {.now = 1000000000};
    if (size < 1)
        return 0;
    w.choices = data[0];
    w.h2 = sl_h2_new(&ops, &w, &w.pool, &w.mem, &limits, w.now);
    assert(w.h2);
    turn(&w);
    if (w.choices & 1)
        sl_h2_feed(w.h2, sl_slice(begin, sizeof(begin)), w.now);
    const size_t step = w.choices & 16 ? 1 : w.choices & 32 ? 17 : size;
    for (size_t at = 1; at < size && sl_h2_why(w.h2) == SL_H2_WHY_NONE; at += step) {
        sl_h2_feed(w.h2, sl_slice((const char *)data + at, SL_MIN(step, size - at)), w.now);
        if (w.choices & 64)
            sl_h2_shutdown(w.h2);
        turn(&w);
    }
    turn(&w);
    if (sl_h2_why(w.h2) != SL_H2_WHY_NONE)
        assert(sl_h2_is_over(w.h2));
    for (struct sl_h2_stream *st = sl_h2_first(w.h2); st; st = sl_h2_after(st))
        done(&w, st);
    sl_h2_free(w.h2);
    sl_bufpool_close(&w.pool);
    sl_h2_mem_close(&w.mem);
    assert(w.open == 0);
    return 0;
}
