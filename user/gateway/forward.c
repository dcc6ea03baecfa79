/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upstream's side of an exchange: a connection, the request, the head of the answer, and what happens
 * when one of them fails. Invariant: while replayable, req_out holds every byte that went out, so that the
 * request can be sent once more; the first byte of an answer ends that.
 */
#include "gateway/exchange_priv.h"

#include <errno.h>

/* Heads of upstreams are bounded as well: their cap is not a client's business. */
static const struct sl_h1_limits _sl_upstream_limits = {.head = 64 * 1024, .header_count = 256, .target = 0};

#define SL_INTERIM_MAX 16 /* interim answers to one request */

static void _sl_on_connected(struct sl_upconn *u, int error);
static void _sl_on_readable(struct sl_upconn *u);
static void _sl_on_writable(struct sl_upconn *u);
static const struct sl_upconn_ops _sl_ops = {.connected = _sl_on_connected,
                                             .readable = _sl_on_readable,
                                             .writable = _sl_on_writable,
                                             .h2 = &sl_forward_h2};

/* ---- which upstream, and by what it is balanced */

/* Shares are exact in each worker; nothing sticks to a client. */
static struct sl_group *_sl_choose(const struct sl_gw_route *r)
{
    struct sl_gw_share *best = NULL;
    int64_t total = 0;
    for (size_t i = 0; i < r->n_split; i++) {
        struct sl_gw_share *s = &r->split[i];
        s->current += s->weight;
        total += s->weight;
        if (s->weight && (!best || s->current > best->current))
            best = s;
    }
    if (!best)
        return r->group;
    best->current -= total;
    return best->group;
}

/* The same in every worker and after every restart: the seed is fixed. */
static void _sl_hash_for(struct sl_exchange *ex)
{
    const struct sl_upstream *u = sl_group_config(ex->group);
    struct sl_slice key = sl_slice((const char *)&ex->client_ip.addr, sizeof(ex->client_ip.addr));
    if (u->balance == SL_BALANCE_HASH_HEADER) {
        const struct sl_header *h = sl_headers_find(&ex->req.headers, u->hash_header);
        key = h ? h->value : SL_SLICE_NUL;
    } else if (u->balance != SL_BALANCE_HASH_IP) {
        return;
    }
    ex->attempts.hashed = key.n > 0;
    if (key.n)
        ex->attempts.hash = sl_hash(key.p, key.n, 0);
}

/* ---- connect */

/* RFC 9110 section 9.2.2 */
static bool _sl_idempotent(enum sl_method m)
{
    return m == SL_METHOD_GET || m == SL_METHOD_HEAD || m == SL_METHOD_PUT || m == SL_METHOD_DELETE ||
           m == SL_METHOD_OPTIONS || m == SL_METHOD_TRACE;
}

/* draft-ietf-httpapi-idempotency-key-header: who sends the key says that the upstream knows a request again.
 */
static bool _sl_safe(const struct sl_exchange *ex)
{
    if (_sl_idempotent(ex->req.method))
        return true;
    const struct sl_header *h = sl_headers_find(&ex->req.headers, SL_S("Idempotency-Key"));
    return h && h->value.n;
}

static enum sl_reuse _sl_reuse_for(const struct sl_exchange *ex)
{
    return _sl_idempotent(ex->req.method) ? SL_REUSE_ANY : SL_REUSE_PEEKED;
}

static void _sl_start(struct sl_exchange *ex)
{
    sl_exchange_set_state(ex, SL_EX_SENDING);
    ex->target = sl_upconn_target(ex->up);
    ex->up_started = ex->w->loop.now;
    sl_upconn_counters(ex->up)->requests++;
    if (ex->up->h2 && sl_forward_h2_ask(ex) < 0)
        return;
    if (sl_request_is_over(ex))
        sl_forward_flush(ex);
    else if (sl_relay_expect(ex) == 0)
        (void)sl_relay_request(ex);
}

/* RFC 9110 section 10.2.3: when it is worth asking again. */
static enum sl_stage_result _sl_broken(struct sl_exchange *ex)
{
    const uint64_t seconds = (ex->attempts.retry_after + SL_NS_PER_SEC - 1) / SL_NS_PER_SEC;
    const char *text = sl_arena_printf(&ex->arena, "%llu", (unsigned long long)seconds);
    if (text)
        (void)sl_headers_set(&ex->res.headers, &ex->arena, SL_S("Retry-After"), sl_slice_str(text));
    return sl_respond_problem(ex, SL_WHY_UPSTREAM_BREAKER, 503,
                              "the upstream has failed too often of late and is given a rest");
}

static enum sl_stage_result _sl_no_connection(struct sl_exchange *ex, int error)
{
    switch (error) {
    case SL_GROUP_FULL:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_OVERLOADED, 503,
                                  "too many requests wait for the upstream");
    case SL_GROUP_OPEN:
        return _sl_broken(ex);
    case SL_GROUP_DRAINED:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_DRAINED, 503, "the upstream is taken out of service");
    case SL_GROUP_UNHEALTHY:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_UNHEALTHY, 503, "no target of the upstream is healthy");
    case SL_GROUP_UNRESOLVED:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_UNRESOLVED, 503,
                                  "the upstream's name has not been resolved yet");
    case -ETIMEDOUT:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_TIMEOUT, 504, "the upstream cannot be reached in time");
    case -EPROTO:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_TLS, 502, "the upstream's TLS handshake failed");
    default:
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_CONNECT, 502, "the upstream cannot be reached");
    }
}

static enum sl_stage_result _sl_connect(struct sl_exchange *ex, enum sl_reuse reuse)
{
    struct sl_group *g = ex->group;
    uint64_t timeout = ex->route->timeouts.connect;
    int r;
    do {
        r = sl_group_connect(g, &ex->attempts, timeout, reuse, &_sl_ops, ex, &ex->up);
        if (r < 0 && !sl_group_refused(r))
            sl_group_report(g, &ex->attempts, ex->attempts.failed, 0);
    } while (r < 0 && !sl_group_refused(r) && ex->attempts.tries < 2 && sl_group_size(g) > 1);
    if (r < 0)
        return _sl_no_connection(ex, r);
    if (r > 0) {
        _sl_start(ex);
        return SL_STAGE_WAIT;
    }
    if (ex->state != SL_EX_CONNECTING)
        sl_exchange_set_state(ex, SL_EX_CONNECTING);
    sl_exchange_rearm(ex);
    return SL_STAGE_WAIT;
}

enum sl_stage_result sl_forward_choose(struct sl_exchange *ex)
{
    ex->group = _sl_choose(ex->route);
    return SL_STAGE_NEXT;
}

enum sl_stage_result sl_forward_begin(struct sl_exchange *ex)
{
    if (ex->route->retry_credit)
        *ex->route->retry_credit = SL_MIN(*ex->route->retry_credit + ex->route->policy->route->retries.budget,
                                          (uint32_t)SL_RETRY_CREDIT);
    _sl_hash_for(ex);
    ex->h2_out = sl_group_config(ex->group)->h2;
    if (sl_tunnel_ask(ex) < 0 || sl_bufpool_lend(&ex->w->bufs, &ex->req_out) < 0 ||
        (!ex->h2_out && sl_h1_write_request(&ex->req_out, &ex->req) < 0))
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return _sl_connect(ex, _sl_reuse_for(ex));
}

/* ---- once more */

static void _sl_try_again(struct sl_exchange *ex, enum sl_reuse reuse)
{
    sl_group_counters(ex->group)->retries++;
    ex->retries++;
    ex->send_failed = false;
    ex->req_sent = 0;
    ex->scanned = 0;
    if (ex->state != SL_EX_CONNECTING)
        sl_exchange_set_state(ex, SL_EX_CONNECTING);
    (void)_sl_connect(ex, reuse);
}

/*
 * Whether the route's retries give another try after what happened: a status, or enum sl_retry_on. Every byte
 * that went out must be there still, and what may have reached the upstream must be safe to send twice. The
 * budget keeps retries from multiplying the load of an upstream that fails everything (PITFALLS: storms).
 */
static bool _sl_gives_try(struct sl_exchange *ex, unsigned what)
{
    uint32_t *credit = ex->route->retry_credit;
    if (!credit)
        return false;
    const struct sl_retries *p = &ex->route->policy->route->retries;
    bool wanted = false;
    for (size_t i = 0; i < p->on.n; i++)
        wanted |= p->on.v[i] == what;
    if (!wanted || ex->retried >= p->max || !ex->replayable || (what != SL_RETRY_CONNECT && !_sl_safe(ex)))
        return false;
    if (*credit < 100) {
        sl_group_counters(ex->group)->retries_denied++;
        return false;
    }
    *credit -= 100;
    ex->retried++;
    return true;
}

/* Leaves the connection, and the target if there is another, and begins anew. */
static void _sl_retry(struct sl_exchange *ex)
{
    if (ex->up)
        ex->attempts.failed = ex->up->pool;
    sl_forward_release(ex, false);
    _sl_try_again(ex, SL_REUSE_NONE);
}

static void _sl_on_connected(struct sl_upconn *u, int error)
{
    struct sl_exchange *ex = u->owner;
    if (error == 0) {
        _sl_start(ex);
        return;
    }
    ex->attempts.failed = u->pool;
    sl_group_report(ex->group, &ex->attempts, u->pool, 0);
    sl_forward_release(ex, false);
    if ((ex->attempts.tries < 2 && sl_group_size(ex->group) > 1) || _sl_gives_try(ex, SL_RETRY_CONNECT))
        _sl_try_again(ex, _sl_reuse_for(ex));
    else
        (void)_sl_no_connection(ex, error);
}

bool sl_forward_timed_out(struct sl_exchange *ex)
{
    sl_group_counters(ex->group)->timeouts++;
    if (!ex->up || ex->head_sent || ex->state < SL_EX_SENDING)
        return false;
    sl_upconn_timed_out(ex->up);
    sl_group_report(ex->group, &ex->attempts, ex->up->pool, 0);
    if ((ex->total_at && ex->w->loop.now >= ex->total_at) || !_sl_gives_try(ex, SL_RETRY_TIMEOUT))
        return false;
    _sl_retry(ex);
    return true;
}

void sl_forward_release(struct sl_exchange *ex, bool reuse)
{
    struct sl_upconn *u = SL_TAKE_PTR(ex->up);
    if (!u)
        return;
    const unsigned holds = (unsigned)ex->up_held + (unsigned)ex->up_shaped;
    ex->up_held = ex->up_shaped = false;
    for (unsigned i = 0; i < holds; i++)
        sl_stream_release(&u->stream);
    sl_upconn_release(u, reuse);
}

/* ---- send */

static void _sl_all_sent(struct sl_exchange *ex)
{
    bool over = sl_request_is_over(ex);
    if (!ex->replayable)
        sl_bufpool_return(&ex->w->bufs, &ex->req_out);
    if (over && ex->state == SL_EX_SENDING)
        sl_exchange_set_state(ex, SL_EX_AWAITING);
    if (over && ex->tunnel && !ex->h2_out)
        sl_stream_finish(&ex->up->stream);
}

void sl_forward_flush(struct sl_exchange *ex)
{
    if (ex->h2_out) { /* takes it when its turn comes */
        sl_upconn_more(ex->up);
        if (sl_buf_len(&ex->req_out) == ex->req_sent)
            _sl_all_sent(ex);
        sl_exchange_rearm(ex);
        return;
    }
    struct sl_stream *s = &ex->up->stream;
    for (size_t want; !ex->send_failed && (want = sl_buf_len(&ex->req_out) - ex->req_sent) > 0;) {
        ssize_t n = sl_stream_write(s, sl_buf_data(&ex->req_out) + ex->req_sent, want);
        if (n < 0) { /* what the upstream had to say before it closed may be waiting: reading will tell */
            ex->send_failed = true;
            sl_stream_watch_write(s, false);
            break;
        }
        if (ex->replayable)
            ex->req_sent += (size_t)n;
        else
            sl_buf_consume(&ex->req_out, (size_t)n);
        if (n == 0 || (!s->ssl && (size_t)n < want)) {
            sl_stream_watch_write(s, true);
            sl_exchange_rearm(ex);
            return;
        }
    }
    if (ev_is_active(&s->wr))
        sl_stream_watch_write(s, false);
    if (!ex->send_failed)
        _sl_all_sent(ex);
    sl_exchange_rearm(ex);
}

static void _sl_on_writable(struct sl_upconn *u)
{
    struct sl_exchange *ex = u->owner;
    if (sl_request_is_over(ex))
        sl_forward_flush(ex);
    else
        (void)sl_relay_request(ex);
}

/* ---- failure */

/*
 * A kept connection may be closed by the upstream in the very moment in which it is used again. Nobody is to
 * blame for that, so the request is sent once more on a new connection: where it may be repeated, or where
 * the kernel says that not one byte of it arrived.
 */
static bool _sl_may_replay(const struct sl_exchange *ex)
{
    return ex->up && ex->up->reused && ex->replayable && !ex->replayed && !sl_buf_len(&ex->up->in) &&
           (_sl_idempotent(ex->req.method) || sl_upconn_unread(ex->up));
}

void sl_forward_failed(struct sl_exchange *ex, enum sl_proxy_reason why, const char *detail)
{
    bool replay = why == SL_WHY_UPSTREAM_RESET && _sl_may_replay(ex);
    if (ex->up && why == SL_WHY_UPSTREAM_RESET)
        sl_upconn_counters(ex->up)->resets++;
    if (ex->up && !replay && (why == SL_WHY_UPSTREAM_RESET || why == SL_WHY_UPSTREAM_MALFORMED))
        sl_group_report(ex->group, &ex->attempts, ex->up->pool, 0);
    if (!replay && why == SL_WHY_UPSTREAM_RESET && ex->up && _sl_gives_try(ex, SL_RETRY_RESET)) {
        _sl_retry(ex);
        return;
    }
    sl_forward_release(ex, false);
    if (!replay) {
        (void)sl_respond_problem(ex, why, 502, detail);
        return;
    }
    ex->replayed = true;
    ex->attempts.tries = 0;
    _sl_try_again(ex, SL_REUSE_NONE);
}

/* ---- the head of the answer */

static int _sl_begin_answer(struct sl_exchange *ex)
{
    struct sl_response *res = &ex->res;
    sl_h1_body_init(&ex->res_body, res->framing, res->content_length);
    ex->res_body.keep = ex->req.te_trailers ? &ex->arena : NULL; /* RFC 9110 section 6.5.1 */
    ex->up_keep = res->keep_alive && res->framing != SL_FRAMING_EOF;
    sl_headers_strip_hop_by_hop(&res->headers, NULL, 0);
    int r = sl_respond_decorate(ex, ex->route->response);
    if (r == 0)
        r = sl_tunnel_opens(ex) ? sl_tunnel_open(ex) : ex->codec->head(ex);
    return r;
}

/* RFC 9110 section 15.2: all go on but the 100 that the gateway has said itself. */
int sl_forward_interim(struct sl_exchange *ex)
{
    int r = 0;
    if (++ex->interims > SL_INTERIM_MAX) {
        sl_forward_failed(ex, SL_WHY_UPSTREAM_MALFORMED, "the upstream sends interim answers without end");
        return -1;
    }
    sl_headers_strip_hop_by_hop(&ex->res.headers, NULL, 0);
    if (ex->res.status != 100 || (ex->req.expect_continue && !ex->expect_sent))
        r = ex->codec->interim(ex);
    ex->expect_sent |= ex->res.status == 100;
    ex->res = (struct sl_response){0};
    if (r == 0 && ex->codec->unsent(ex))
        r = ex->codec->flush(ex);
    if (r < 0) {
        sl_conn_close(ex->conn);
        return -1;
    }
    return 0;
}

int sl_forward_answered(struct sl_exchange *ex)
{
    ex->first_byte = ex->w->loop.now;
    if (ex->res.status == 401 && ex->upstream_token.p)
        sl_upstream_token_refused(ex);
    sl_group_report(ex->group, &ex->attempts, ex->up->pool, ex->res.status);
    sl_histogram_observe(&sl_upconn_counters(ex->up)->first_byte, (ex->first_byte - ex->up_started) / 1000);
    if (_sl_gives_try(ex, ex->res.status)) {
        ex->res = (struct sl_response){0};
        ex->first_byte = 0;
        _sl_retry(ex);
        return -1;
    }
    sl_exchange_set_state(ex, SL_EX_STREAMING);
    ex->replayable = false;
    sl_buf_consume(&ex->req_out, ex->req_sent);
    ex->req_sent = 0;
    ex->status = ex->res.status;
    ex->head_sent = true;
    if (_sl_begin_answer(ex) < 0) {
        sl_exchange_abort(ex, SL_WHY_OVERLOADED, "out of memory");
        return -1;
    }
    return 0;
}

/* Takes one head off the buffer: 1 the answer has begun, 0 more is needed (or an interim answer was skipped:
 * *again), or the exchange has failed and is gone (-1). */
static int _sl_take_answer(struct sl_exchange *ex, bool *again)
{
    struct sl_buf *in = &ex->up->in;
    ssize_t n = sl_h1_head_end(sl_buf_slice(in), &ex->scanned, &_sl_upstream_limits);
    *again = false;
    if (n == 0)
        return 0;
    ex->scanned = 0;
    enum sl_h1_error e = n < 0 ? (enum sl_h1_error) - n : SL_H1_OK;
    ex->res = (struct sl_response){0};
    if (e == SL_H1_OK)
        e = sl_h1_parse_response(&ex->arena, sl_slice(sl_buf_data(in), (size_t)n), &_sl_upstream_limits,
                                 ex->req.method, &ex->res);
    const enum sl_proxy_reason why = e == SL_H1_OK ? sl_tunnel_check(ex) : SL_WHY_UPSTREAM_MALFORMED;
    if (why != SL_WHY_NONE) {
        ex->res = (struct sl_response){0};
        sl_forward_failed(ex, why,
                          why == SL_WHY_UPSTREAM_MALFORMED ? "the upstream's answer cannot be read"
                                                           : "the upstream takes no WebSocket there");
        return -1;
    }
    *again = ex->res.status < 200 && !sl_tunnel_opens(ex);
    int r = *again ? sl_forward_interim(ex) : sl_forward_answered(ex);
    if (r == 0)
        sl_buf_consume(in, (size_t)n);
    return r < 0 ? r : *again ? 0 : 1;
}

static void _sl_read_answer(struct sl_exchange *ex)
{
    struct sl_upconn *u = ex->up;
    if (sl_bufpool_lend(&ex->w->bufs, &u->in) < 0 || sl_buf_reserve(&u->in, 1) < 0) {
        sl_forward_failed(ex, SL_WHY_OVERLOADED, "out of memory");
        return;
    }
    ssize_t n = sl_stream_read(&u->stream, u->in.base + u->in.end, sl_buf_room(&u->in));
    if (n == 0)
        return;
    if (n < 0) {
        sl_forward_failed(ex, SL_WHY_UPSTREAM_RESET, "the upstream closed the connection without an answer");
        return;
    }
    sl_buf_commit(&u->in, (size_t)n);
    bool again = true;
    int r = 0;
    while (again && sl_buf_len(&u->in))
        if ((r = _sl_take_answer(ex, &again)) != 0)
            break;
    if (r > 0)
        sl_relay_answer(ex);
    if (ex->tunnel && ex->state == SL_EX_STREAMING) /* what the client did not wait with */
        (void)sl_relay_request(ex);
}

static void _sl_on_readable(struct sl_upconn *u)
{
    struct sl_exchange *ex = u->owner;
    if (ex->h2_out)
        sl_relay_pass_on(ex);
    else if (ex->state == SL_EX_STREAMING)
        sl_relay_response(ex);
    else
        _sl_read_answer(ex);
}
