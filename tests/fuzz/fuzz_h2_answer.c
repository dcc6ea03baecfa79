/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an upstream of HTTP/2 may send, frame by frame, to two requests: an answer has one head, payload only
 * behind it, trailers that may stand there, and fields that HTTP/1.1 could carry word for word; after its end
 * nothing is told any more.
 */
#include "upstream/h2_priv.h"

#include <assert.h>

struct holder {
    struct sl_arena arena;
    struct sl_request req;
    bool head, trailers, gone;
    uint64_t length, got;
    bool has_length;
};

static void check_fields(const struct sl_headers *h, bool trailers)
{
    for (uint32_t i = 0; i < h->n; i++) {
        assert(sl_is_token(h->v[i].name) && sl_is_field_value(h->v[i].value));
        assert(!trailers || sl_trailer_allowed(h->v[i].name));
    }
}

static const struct sl_request *request_of(struct sl_upconn *u)
{
    return &((struct holder *)u->owner)->req;
}
static struct sl_arena *arena_of(struct sl_upconn *u)
{
    return &((struct holder *)u->owner)->arena;
}
static size_t pull(struct sl_upconn *u, char *to, size_t room, bool *last)
{
    (void)u, (void)to, (void)room;
    *last = true;
    return 0;
}
static void on_head(struct sl_upconn *u, const struct sl_response *res)
{
    struct holder *h = u->owner;
    assert(!h->head && !h->gone && res->status >= 100 && res->status <= 599 && res->status != 101);
    check_fields(&res->headers, false);
    h->head = res->status >= 200;
    h->has_length = res->framing == SL_FRAMING_LENGTH;
    h->length = res->content_length;
}
static void on_data(struct sl_upconn *u, struct sl_slice data)
{
    struct holder *h = u->owner;
    assert(h->head && !h->trailers && !h->gone);
    h->got += data.n;
    assert(!h->has_length || h->got <= h->length);
}
static void on_trailers(struct sl_upconn *u, const struct sl_headers *t)
{
    struct holder *h = u->owner;
    assert(h->head && !h->trailers && !h->gone);
    h->trailers = true;
    check_fields(t, true);
}
static void on_end(struct sl_upconn *u)
{
    (void)u;
    assert(!"told by the turn, which does not come here");
}
static void on_gone(struct sl_upconn *u, bool malformed)
{
    struct holder *h = u->owner;
    (void)malformed;
    assert(!h->gone);
    h->gone = true;
}
static const struct sl_upconn_h2_ops h2_ops = {request_of, arena_of,    pull,   on_head,
                                               on_data,    on_trailers, on_end, on_gone};
static const struct sl_upconn_ops ops = {.h2 = &h2_ops};

static void ask(struct sl_uph2 *s, struct sl_uph2_stream *st, struct sl_upconn *u, struct holder *h,
                enum sl_method m)
{
    *h = (struct holder){
        .req = {.method = m, .path = SL_S("/"), .authority = SL_S("a.test"), .te_trailers = true}};
    sl_arena_init(&h->arena, 0);
    *u = (struct sl_upconn){.ops = &ops, .owner = h, .h2 = st, .pool = s->pool, .stream = {.fd = -1}};
    *st = (struct sl_uph2_stream){.h2 = s, .u = u};
    sl_list_init(&st->ready);
    sl_list_push_back(&s->streams, &st->node);
    s->n_streams++;
    assert(sl_upconn_ask(u, false) == 0);
}

static void drain(struct sl_uph2 *s)
{
    const uint8_t *p;
    while (nghttp2_session_mem_send(s->session, &p) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sl_loop loop;
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    if (!loop.ev)
        assert(sl_loop_init(&loop) == 0);
    struct sl_upstreams all = {.loop = &loop};
    struct sl_pool pool = {.all = &all};
    struct sl_uph2 s = {.pool = &pool};
    struct sl_uph2_stream st[2];
    struct sl_upconn u[2];
    struct holder h[2];
    sl_list_init(&s.node);
    sl_list_init(&s.streams);
    sl_list_init(&s.ready);
    ev_init(&s.kick, NULL);
    assert(sl_uph2_session_new(&s) == 0);
    ask(&s, &st[0], &u[0], &h[0], SL_METHOD_GET);
    ask(&s, &st[1], &u[1], &h[1], SL_METHOD_HEAD);
    drain(&s);
    (void)nghttp2_session_mem_recv(s.session, settings, sizeof(settings));
    (void)nghttp2_session_mem_recv(s.session, data, size);
    drain(&s);
    for (size_t i = 0; i < SL_ARRAY_LEN(st); i++)
        assert(!st[i].ended || st[i].answered);
    ev_clear_pending(loop.ev, &s.kick);
    for (size_t i = 0; i < SL_ARRAY_LEN(st); i++) {
        st[i].u = NULL;
        st[i].ended = true; /* what is left goes unheard */
        sl_list_remove(&st[i].ready);
        if (st[i].id)
            (void)nghttp2_session_set_stream_user_data(s.session, st[i].id, NULL);
        sl_arena_free(&h[i].arena);
    }
    nghttp2_session_del(s.session);
    return 0;
}
