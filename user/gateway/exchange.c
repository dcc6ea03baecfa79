/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a request, from its head to its last byte: a codec parses it (codec_priv.h),
 * sl_exchange_start finds its route, _sl_run runs the route's stages, of which the last one answers or
 * forwards; then the bodies flow (relay.c) until sl_exchange_complete; _sl_end counts it, logs it and gives
 * the client's side back to the codec.
 *
 * Invariant: conn is set while state is neither FREE nor DONE. An exchange that is DONE is not touched again
 * until the callback is over, when it goes back to the store.
 */
#include "gateway/exchange_priv.h"

#include <assert.h>
#include <errno.h>

#define SL_SPARE_EXCHANGES 1024
#define SL_GONE_NS         SL_NS_PER_SEC

/* ---- states */

const char *sl_exchange_state_name(enum sl_exchange_state s)
{
    static const char *const names[] = {"free",     "stages",    "connecting", "sending",
                                        "awaiting", "streaming", "flushing",   "done"};
    return s < SL_EX_STATES ? names[s] : "?";
}

bool sl_exchange_edge(enum sl_exchange_state from, enum sl_exchange_state to)
{
    static const unsigned legal[SL_EX_STATES] = {
        [SL_EX_FREE] = 1u << SL_EX_STAGES,
        [SL_EX_STAGES] =
            1u << SL_EX_CONNECTING | 1u << SL_EX_SENDING | 1u << SL_EX_FLUSHING | 1u << SL_EX_DONE,
        [SL_EX_CONNECTING] = 1u << SL_EX_SENDING | 1u << SL_EX_FLUSHING | 1u << SL_EX_DONE,
        /* back to CONNECTING: the one free retry */
        [SL_EX_SENDING] = 1u << SL_EX_AWAITING | 1u << SL_EX_STREAMING | 1u << SL_EX_CONNECTING |
                          1u << SL_EX_FLUSHING | 1u << SL_EX_DONE,
        [SL_EX_AWAITING] =
            1u << SL_EX_STREAMING | 1u << SL_EX_CONNECTING | 1u << SL_EX_FLUSHING | 1u << SL_EX_DONE,
        [SL_EX_STREAMING] = 1u << SL_EX_FLUSHING | 1u << SL_EX_DONE,
        [SL_EX_FLUSHING] = 1u << SL_EX_DONE,
        [SL_EX_DONE] = 1u << SL_EX_FREE,
    };
    return legal[from] >> to & 1;
}

void sl_exchange_set_state(struct sl_exchange *ex, enum sl_exchange_state to)
{
    assert(sl_exchange_edge(ex->state, to));
    ex->state = to;
}

/* ---- the store */

static struct sl_exchange *_sl_get(struct sl_worker *w)
{
    struct sl_exchange *ex = w->spare_exchanges;
    if (ex) {
        w->spare_exchanges = ex->next_spare;
        w->n_spare--;
        return ex;
    }
    ex = calloc(1, sizeof(*ex));
    if (!ex)
        return NULL;
    ex->w = w;
    sl_arena_init(&ex->arena, 8192);
    sl_timer_init(&ex->timer, sl_exchange_on_timer);
    return ex;
}

static void _sl_count_arena(struct sl_exchange *ex)
{
    ex->w->arena_bytes += ex->arena.total - ex->arena_counted;
    ex->arena_counted = ex->arena.total;
    ex->w->counters->arena_bytes = ex->w->arena_bytes;
}

static void _sl_discard(struct sl_exchange *ex)
{
    ex->w->arena_bytes -= ex->arena_counted;
    sl_timer_stop(&ex->w->loop, &ex->timer);
    sl_arena_free(&ex->arena);
    free(ex);
}

/* Back to the store, as new but for its arena's block and its place in the timer wheel. */
static void _sl_put(struct sl_deferred *d)
{
    struct sl_exchange *ex = SL_CONTAINER_OF(d, struct sl_exchange, deferred);
    struct sl_worker *w = ex->w;
    sl_exchange_set_state(ex, SL_EX_FREE);
    sl_bufpool_return(&w->bufs, &ex->head);
    sl_bufpool_return(&w->bufs, &ex->req_out);
    sl_bufpool_return(&w->bufs, &ex->collected);
    if (ex->identity)
        sl_identity_unref(ex->identity);
    sl_auth_again_clear(&ex->again);
    sl_gw_config_unref(ex->config);
    sl_arena_reset(&ex->arena);
    _sl_count_arena(ex);
    if (w->n_spare >= SL_SPARE_EXCHANGES) {
        _sl_discard(ex);
        return;
    }
    memset((char *)ex + offsetof(struct sl_exchange, state), 0,
           sizeof(*ex) - offsetof(struct sl_exchange, state));
    ex->next_spare = w->spare_exchanges;
    w->spare_exchanges = ex;
    w->n_spare++;
}

void sl_exchanges_free_spare(struct sl_worker *w)
{
    while (w->spare_exchanges) {
        struct sl_exchange *ex = w->spare_exchanges;
        w->spare_exchanges = ex->next_spare;
        _sl_discard(ex);
    }
    w->n_spare = 0;
}

/* ---- the beginning */

struct sl_exchange *sl_exchange_new(struct sl_conn *c, const struct sl_codec *codec)
{
    struct sl_worker *w = c->w;
    struct sl_exchange *ex = _sl_get(w);
    if (!ex)
        return NULL;
    sl_exchange_set_state(ex, SL_EX_STAGES);
    ex->conn = c;
    ex->codec = codec;
    ex->config = sl_gw_config_ref(c->bind->config);
    ex->listener = c->bind->listener;
    ex->tier = ex->config->snapshot->anonymous;
    ex->started = w->loop.now;
    ex->replayable = true;
    return ex;
}

static enum sl_proxy_reason _sl_why_of(enum sl_h1_error e)
{
    switch (sl_h1_error_status(e)) {
    case 405:
        return SL_WHY_METHOD_NOT_ALLOWED;
    case 414:
        return SL_WHY_TARGET_TOO_LONG;
    case 417:
        return SL_WHY_EXPECTATION_FAILED;
    case 431:
        return SL_WHY_HEADERS_TOO_LARGE;
    case 501:
        return SL_WHY_UPGRADE_UNKNOWN;
    case 503:
        return SL_WHY_OVERLOADED;
    case 505:
        return SL_WHY_VERSION_NOT_SUPPORTED;
    default:
        return SL_WHY_BAD_REQUEST;
    }
}

/* ---- the beginning, where it goes wrong */

static enum sl_stage_result _sl_not_allowed(struct sl_exchange *ex, uint32_t methods)
{
    char *allow = sl_arena_alloc(&ex->arena, 128);
    size_t n = 0;
    for (unsigned m = 1; allow && m < SL_METHOD_COUNT; m++) {
        struct sl_slice name = sl_slice_str(sl_method_name(m));
        if (!(methods >> m & 1) || n + name.n + 2 > 128)
            continue;
        if (n) {
            memcpy(allow + n, ", ", 2);
            n += 2;
        }
        memcpy(allow + n, name.p, name.n);
        n += name.n;
    }
    /* an empty Allow is legal (RFC 9110 section 10.2.1): only methods without a name are routed here */
    if (!allow || sl_headers_add(&ex->res.headers, &ex->arena, SL_S("Allow"), sl_slice(allow, n)) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond_problem(ex, SL_WHY_METHOD_NOT_ALLOWED, 405, "the resource does not have this method");
}

/* Nothing after such a head can be told apart: the connection ends. */
void sl_exchange_refuse(struct sl_exchange *ex, enum sl_h1_error e)
{
    ex->close = ex->linger = true;
    ex->conn->counters->malformed++;
    sl_request_client(ex);
    if (sl_request_correlate(ex) < 0) {
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
        return;
    }
    if (e == SL_H1_CONNECT) {
        (void)_sl_not_allowed(ex, ~(1u << SL_METHOD_CONNECT));
        return;
    }
    (void)sl_respond_problem(ex, _sl_why_of(e), sl_h1_error_status(e), sl_h1_error_text(e));
}

void sl_exchange_head_timeout(struct sl_exchange *ex)
{
    ex->close = ex->linger = true;
    sl_request_client(ex);
    if (sl_request_correlate(ex) < 0)
        sl_exchange_abort(ex, SL_WHY_REQUEST_TIMEOUT, "out of memory");
    else
        (void)sl_respond_problem(ex, SL_WHY_REQUEST_TIMEOUT, 408, "the request's head took too long");
}

/* Finds the route and its chain; RESPOND where it is answered already. */
static enum sl_stage_result _sl_route(struct sl_exchange *ex)
{
    if (ex->listener->redirect_https) {
        ex->stage = sl_chain_redirect_https;
        return SL_STAGE_NEXT;
    }
    uint32_t index = 0, methods = 0;
    switch (sl_router_match(ex->config->policy->router, &ex->req, &index, &methods)) {
    case SL_ROUTE_FOUND:
        ex->route = &ex->config->routes[index];
        ex->stage = ex->route->chain;
        __builtin_prefetch(ex->route->counters, 1); /* they are there by the end */
        __builtin_prefetch(&ex->route->counters->seconds, 1);
        if (ex->route->timeouts.total)
            ex->total_at = ex->started + ex->route->timeouts.total;
        if (ex->req.te_trailers) /* as every gRPC client says (PROTOCOL-HTTP2.md) */
            sl_grpc_deadline(ex);
        ex->body_limit = SL_MIN(ex->listener->limits.body, ex->route->request_body);
        return SL_STAGE_NEXT;
    case SL_ROUTE_METHOD:
        return _sl_not_allowed(ex, methods);
    default:
        return sl_respond_problem(ex, SL_WHY_NO_ROUTE, 404, "no route takes this request");
    }
}

static void _sl_run(struct sl_exchange *ex)
{
    while (*ex->stage) {
        sl_stage stage = *ex->stage++;
        if (stage(ex) != SL_STAGE_NEXT)
            return; /* RESPOND: ex may be done already; WAIT: it goes on when something happens */
    }
    assert(!"a chain ends in a stage that answers or forwards");
}

void sl_exchange_continue(struct sl_exchange *ex)
{
    if (ex->state == SL_EX_STAGES)
        _sl_run(ex);
}

void sl_exchange_start(struct sl_exchange *ex)
{
    ex->log_path = ex->req.path;
    if (ex->conn->trust == ex->conn->bind->trust)
        ex->req.client_cert = ex->conn->cert;
    ex->body_limit = ex->listener->limits.body;
    sl_request_client(ex);
    if (sl_request_correlate(ex) < 0 || sl_request_prepare(ex) < 0) {
        (void)sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
        return;
    }
    if (_sl_route(ex) == SL_STAGE_NEXT)
        _sl_run(ex);
}

/* ---- the end */

static void _sl_end(struct sl_exchange *ex, enum sl_client_next next)
{
    sl_exchange_unpark(ex);
    if (ex->up)
        sl_forward_release(ex, false);
    if (ex->attempts.probe)
        sl_group_unprobe(ex->group, &ex->attempts);
    sl_exchange_set_state(ex, SL_EX_DONE);
    ex->timer.at = 0;
    sl_shape_stop(&ex->shape);
    sl_limits_release(ex);
    sl_account(ex);
    struct sl_conn *c = SL_TAKE_PTR(ex->conn);
    ex->req.client_cert = NULL;
    sl_loop_release(&ex->w->loop, &ex->deferred, _sl_put);
    ex->codec->done(ex, c, next);
}

/* A body that is there already is thrown away, so that a small refused POST need not cost the connection. */
void sl_exchange_discard_body(struct sl_exchange *ex)
{
    while (!ex->close && !ex->req_body.done && ex->codec->buffered(ex)) {
        size_t used = 0;
        struct sl_slice data;
        if (ex->codec->body(ex, &used, &data) != SL_H1_OK || !used)
            break;
        ex->codec->taken(ex, used);
    }
}

static void _sl_after_flush(struct sl_exchange *ex, int flushed)
{
    if (flushed < 0)
        sl_conn_close(ex->conn); /* comes back as sl_exchange_client_gone */
    else if (flushed == 0)
        _sl_end(ex, ex->penalised ? SL_CLIENT_RESET
                    : ex->linger  ? SL_CLIENT_DRAIN
                    : ex->close   ? SL_CLIENT_FINISH
                                  : SL_CLIENT_KEEP);
    else
        sl_exchange_rearm(ex);
}

void sl_exchange_complete(struct sl_exchange *ex)
{
    sl_exchange_set_state(ex, SL_EX_FLUSHING);
    _sl_after_flush(ex, ex->codec->flush(ex));
}

void sl_exchange_abort(struct sl_exchange *ex, enum sl_proxy_reason why, const char *detail)
{
    ex->why = why;
    ex->detail = detail;
    _sl_end(ex, ex->head_sent ? SL_CLIENT_CUT : SL_CLIENT_ABORT);
}

/* ---- what the connection tells */

void sl_exchange_client_data(struct sl_exchange *ex)
{
    if (ex->collecting && ex->state == SL_EX_STAGES)
        sl_collect_more(ex);
    else if (ex->up && ex->state >= SL_EX_SENDING && ex->state <= SL_EX_STREAMING && !ex->req_body.done)
        (void)sl_relay_request(ex);
}

void sl_exchange_client_writable(struct sl_exchange *ex)
{
    int r = ex->codec->flush(ex);
    if (r < 0) {
        sl_conn_close(ex->conn);
        return;
    }
    if (ex->state == SL_EX_FLUSHING) {
        _sl_after_flush(ex, r);
        return;
    }
    if (ex->up_held && ex->codec->unsent(ex) <= SL_OUT_LOW) {
        ex->up_held = false;
        sl_upconn_resume(ex->up);
    }
    sl_exchange_rearm(ex);
}

/*
 * FIN from a client may mean that it has sent all and waits for its answer, or that it has left: TCP does not
 * tell. So the answer is sought for a moment longer; after that the upstream is not kept busy for nobody.
 */
void sl_exchange_client_eof(struct sl_exchange *ex)
{
    bool inside = !sl_request_is_over(ex);
    if (ex->state == SL_EX_FLUSHING)
        return;
    if (ex->tunnel) {
        sl_tunnel_client_eof(ex);
        return;
    }
    if (inside && !ex->codec->buffered(ex)) {
        sl_exchange_abort(ex, SL_WHY_CLIENT_GONE, "the request's body ended early");
        return;
    }
    sl_exchange_client_left(ex);
}

void sl_exchange_client_left(struct sl_exchange *ex)
{
    if (ex->gone_at || ex->tunnel || ex->state >= SL_EX_STREAMING)
        return;
    ex->gone_at = ex->w->loop.now + SL_GONE_NS;
    sl_exchange_rearm(ex);
}

void sl_exchange_client_gone(struct sl_exchange *ex)
{
    bool deadline = ex->w->draining && ex->w->loop.now >= ex->w->drain_deadline;
    if (ex->state != SL_EX_FLUSHING || ex->why == SL_WHY_NONE) {
        ex->why = deadline ? SL_WHY_DRAINING : SL_WHY_CLIENT_GONE;
        ex->detail = deadline ? "the worker's drain deadline passed" : "the client closed its connection";
    }
    _sl_end(ex, SL_CLIENT_ABORT);
}
