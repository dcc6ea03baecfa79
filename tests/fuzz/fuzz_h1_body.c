/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked bodies, in pieces and whole, and beside llhttp: where both take a body to its end they agree on its
 * payload and on where it ends.
 */
#include "http/h1.h"

#include <assert.h>
#include <llhttp.h>

struct outcome {
    struct sl_buf payload;
    size_t used;
    enum sl_h1_error error;
    bool done;
};

static struct outcome ours(struct sl_slice in, const uint8_t *cuts, size_t n_cuts)
{
    struct outcome o = {0};
    struct sl_h1_body b;
    size_t piece = 0;
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    while (o.error == SL_H1_OK && !b.done && o.used < in.n) {
        const size_t most = n_cuts ? 1 + cuts[piece++ % n_cuts] % 23 : in.n;
        struct sl_slice data;
        size_t used = 0;
        o.error = sl_h1_body_feed(&b, sl_slice(in.p + o.used, SL_MIN(most, in.n - o.used)), &used, &data);
        if (o.error != SL_H1_OK)
            break;
        assert(used > 0 && data.n <= used);
        assert(sl_buf_append_slice(&o.payload, data) == 0);
        o.used += used;
    }
    o.done = b.done;
    assert(b.total == sl_buf_len(&o.payload));
    return o;
}

struct theirs {
    llhttp_t parser;
    struct sl_buf payload;
    bool complete;
};

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct theirs *t = SL_CONTAINER_OF(p, struct theirs, parser);
    return sl_buf_append(&t->payload, at, n);
}

static int on_complete(llhttp_t *p)
{
    SL_CONTAINER_OF(p, struct theirs, parser)->complete = true;
    return HPE_PAUSED;
}

static void compare(const struct outcome *o, struct sl_slice in)
{
    static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    llhttp_settings_t settings;
    struct theirs t = {0};
    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    llhttp_init(&t.parser, HTTP_REQUEST, &settings);
    assert(llhttp_execute(&t.parser, head, sizeof(head) - 1) == HPE_OK);
    const llhttp_errno_t e = llhttp_execute(&t.parser, in.p, in.n);
    if (e == HPE_PAUSED && t.complete) {
        assert((size_t)(llhttp_get_error_pos(&t.parser) - in.p) == o->used);
        assert(sl_slice_eq(sl_buf_slice(&t.payload), sl_buf_slice(&o->payload)));
    } else {
        assert(e != HPE_OK); /* it may be stricter on extensions, but not still wait for more */
    }
    sl_buf_free(&t.payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    const struct sl_slice in = sl_slice((const char *)data + 4, size - 4);
    struct outcome whole = ours(in, NULL, 0), pieces = ours(in, data, 4);
    assert(whole.error == pieces.error && whole.done == pieces.done);
    if (whole.error == SL_H1_OK) {
        assert(whole.used == pieces.used);
        assert(sl_slice_eq(sl_buf_slice(&whole.payload), sl_buf_slice(&pieces.payload)));
    }
    if (whole.done)
        compare(&whole, in);
    sl_buf_free(&whole.payload);
    sl_buf_free(&pieces.payload);
    return 0;
}
