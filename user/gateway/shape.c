/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bandwidth of a consumer, over all its connections and all workers. Each direction has one bucket in the
 * shared table. Bytes are debited once they were read from or written to the client's socket, so that nothing
 * is ever refused; who finds the bucket over its tolerance waits until what stood in it then has drained, by
 * not reading: inwards the client, outwards the upstream and the client's next request. That is a queue:
 * connections that compete take turns by what they transfer at once (SL_CHUNK).
 *
 * Over HTTP/2, where a connection may be several consumers', a stream is what a connection is over HTTP/1.1:
 * its body is not taken, so that its window stays shut, and its answer leaves by allowances, each of them
 * debited before the next is given. What counts there is DATA.
 *
 * Invariant: over any time t a consumer moves at most rate x t, the tolerance, and one transfer of each of
 * its connections or streams. No connection is broken and no packet dropped for it; nobody else waits.
 *
 * SO_MAX_PACING_RATE makes a single connection even: what is written leaves at the rate, not at once. TCP
 * paces by itself, whatever the qdisc (tcp(7), net/ipv4/tcp_output.c, tcp_pacing_check).
 */
#include "gateway/exchange_priv.h"
#include "net/socket.h"

#define SL_SHAPE_TOLERANCE (100 * SL_NS_PER_MS) /* of the rate, that may come at once */
#define SL_SHAPE_MAX_WAIT  (10 * SL_NS_PER_SEC)

static const struct sl_bandwidth *_sl_bandwidth(const struct sl_exchange *ex)
{
    const struct sl_consumer *c = ex->identity ? ex->identity->consumer : NULL;
    return sl_bandwidth_of(c, ex->tier);
}

static uint64_t _sl_per_second(const struct sl_rate *r)
{
    return r->count ? SL_MAX(r->count / (r->per_ns / SL_NS_PER_SEC), UINT64_C(1)) : 0;
}

/* The rate is part of the key: a changed one holds at once, and owes nothing to the one before. */
static uint64_t _sl_key(const struct sl_exchange *ex, enum sl_direction d, uint64_t rate)
{
    const struct sl_slice who = ex->identity ? ex->identity->consumer_name : SL_SLICE_NUL;
    const struct sl_ip ip = sl_ip_source(&ex->client_ip).ip;
    const uint64_t subject = who.n ? sl_hash(who.p, who.n, 3) : sl_hash(&ip.addr, sizeof(ip.addr), ip.family);
    const uint64_t parts[] = {0x6874646977646e61, subject, d, rate};
    return sl_hash(parts, sizeof(parts), ex->w->buckets.seed) | 1;
}

static void _sl_pace(struct sl_conn *c, uint64_t rate)
{
    if (c->shape.pacing != rate && sl_socket_pace(c->stream.fd, rate ? rate : UINT64_MAX) == 0)
        c->shape.pacing = rate;
}

static uint64_t _sl_debt(uint64_t *tat_p, uint64_t now, uint64_t cost)
{
    uint64_t tat = __atomic_load_n(tat_p, __ATOMIC_RELAXED), next;
    do {
        next = SL_MAX(tat, now) + cost;
    } while (!__atomic_compare_exchange_n(tat_p, &tat, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return next - now;
}

static void _sl_arm(struct sl_shape *s, uint64_t wait)
{
    struct ev_loop *ev = s->conn->w->loop.ev;
    if (ev_is_active(&s->timer) && ev_timer_remaining(ev, &s->timer) * 1e9 <= (double)wait)
        return;
    ev_timer_stop(ev, &s->timer);
    ev_timer_set(&s->timer, (double)wait / 1e9, 0.);
    ev_timer_start(ev, &s->timer);
}

static void _sl_hold_in(struct sl_conn *c)
{
    if (!c->shape.holds_client) {
        c->shape.holds_client = true;
        sl_conn_hold(c);
    }
}

void sl_shape_hold_up(struct sl_exchange *ex)
{
    const struct sl_shape *s = sl_shape_of(ex);
    if (s->until[SL_OUT] > ex->w->loop.now && ex->up && !ex->up_shaped) {
        ex->up_shaped = true;
        sl_stream_hold(&ex->up->stream);
    }
}

bool sl_shape_hold_next(struct sl_conn *c)
{
    if (c->shape.until[SL_OUT] > c->w->loop.now || c->shape.until[SL_IN] > c->w->loop.now)
        _sl_hold_in(c);
    return c->shape.holds_client;
}

void sl_shape_spend(struct sl_shape *s, enum sl_direction d, size_t n)
{
    if (!s->rate[d])
        return;
    struct sl_worker *w = s->conn->w;
    struct sl_bucket *b = sl_bucket_get(&w->buckets, s->key[d], w->loop.now);
    if (!b) {
        w->counters->bucket_table_full++;
        return;
    }
    __atomic_fetch_add(&b->admitted, n, __ATOMIC_RELAXED);
    const uint64_t debt = _sl_debt((uint64_t *)&b->tat, w->loop.now, n * SL_NS_PER_SEC / s->rate[d]);
    if (debt <= SL_SHAPE_TOLERANCE)
        return;
    const uint64_t wait = SL_MIN(debt - SL_SHAPE_TOLERANCE, SL_SHAPE_MAX_WAIT);
    s->until[d] = w->loop.now + wait;
    w->counters->tiers[s->tier].bandwidth_waits++;
    if (d == SL_IN && !s->ex)
        _sl_hold_in(s->conn);
    _sl_arm(s, wait);
}

/* Ten milliseconds of the rate, within what a stream's buffer gives at once. */
static size_t _sl_allowance(const struct sl_shape *s)
{
    return (size_t)SL_MIN(SL_MAX(s->rate[SL_OUT] / 100, (uint64_t)SL_CHUNK), (uint64_t)SL_OUT_HIGH);
}

void sl_shape_sent(struct sl_exchange *ex, size_t n)
{
    struct sl_shape *s = &ex->shape;
    if (!s->rate[SL_OUT])
        return;
    sl_shape_spend(s, SL_OUT, n);
    if (s->until[SL_OUT] <= ex->w->loop.now)
        sl_codec_h2_allow(ex, _sl_allowance(s));
}

/* What is over was set to 0 by the timer. */
static bool _sl_holds_next(const struct sl_conn *c)
{
    return c->shape.until[SL_IN] || (c->state != SL_CONN_EXCHANGE && c->shape.until[SL_OUT]);
}

static void _sl_connection_goes_on(struct sl_conn *c)
{
    struct sl_shape *s = &c->shape;
    if (c->ex && !s->until[SL_OUT])
        sl_shape_release_up(c->ex);
    if (s->holds_client && !_sl_holds_next(c)) {
        s->holds_client = false;
        sl_stream_release(&c->stream);
        sl_conn_go_on(c);
    }
}

/* Others of the consumer's may have run up a debt meanwhile: sl_shape_sent looks. */
static void _sl_stream_goes_on(struct sl_exchange *ex)
{
    struct sl_shape *s = &ex->shape;
    if (!s->until[SL_OUT]) {
        sl_shape_release_up(ex);
        sl_shape_sent(ex, 0);
    }
    if (!s->until[SL_IN])
        sl_exchange_client_data(ex);
}

static void _sl_on_timer(struct ev_loop *ev, ev_timer *t, int revents)
{
    (void)ev, (void)revents;
    struct sl_shape *s = t->data;
    const uint64_t now = s->conn->w->loop.now + SL_NS_PER_MS; /* libev wakes within one */
    for (size_t d = 0; d < SL_ARRAY_LEN(s->until); d++) {
        if (s->until[d] > now)
            _sl_arm(s, s->until[d] - now);
        else
            s->until[d] = 0;
    }
    if (s->ex)
        _sl_stream_goes_on(s->ex);
    else
        _sl_connection_goes_on(s->conn);
}

void sl_shape_release_up(struct sl_exchange *ex)
{
    if (!ex->up_shaped)
        return;
    ex->up_shaped = false;
    sl_upconn_resume(ex->up);
}

static void _sl_init(struct sl_shape *s, struct sl_conn *c, struct sl_exchange *ex)
{
    s->conn = c;
    s->ex = ex;
    ev_timer_init(&s->timer, _sl_on_timer, 0., 0.);
    s->timer.data = s;
}

void sl_shape_init(struct sl_conn *c)
{
    _sl_init(&c->shape, c, NULL);
}

void sl_shape_stop(struct sl_shape *s)
{
    if (s->conn)
        ev_timer_stop(s->conn->w->loop.ev, &s->timer);
}

uint64_t sl_shape_from(const struct sl_shape *s, uint64_t now)
{
    return SL_MAX(now, SL_MAX(s->until[SL_IN], s->until[SL_OUT]));
}

static void _sl_set(struct sl_shape *s, const struct sl_exchange *ex, const struct sl_bandwidth *b)
{
    s->tier = sl_slot(ex->tier->slot, SL_COUNTER_TIERS);
    s->rate[SL_IN] = _sl_per_second(&b->in);
    s->rate[SL_OUT] = _sl_per_second(&b->out);
    for (unsigned d = 0; d < SL_ARRAY_LEN(s->rate); d++)
        s->key[d] = s->rate[d] ? _sl_key(ex, (enum sl_direction)d, s->rate[d]) : 0;
}

/* The socket may be others' too: it is not paced. */
static void _sl_begin_stream(struct sl_exchange *ex, const struct sl_bandwidth *b)
{
    _sl_init(&ex->shape, ex->conn, ex);
    _sl_set(&ex->shape, ex, b);
    if (!ex->shape.rate[SL_OUT])
        return;
    sl_codec_h2_allow(ex, 0);
    sl_shape_sent(ex, 0); /* what the consumer owes from before */
}

static void _sl_begin_connection(struct sl_exchange *ex, const struct sl_bandwidth *b)
{
    struct sl_conn *c = ex->conn;
    const bool was = c->shape.rate[SL_IN] || c->shape.rate[SL_OUT];
    if (!was && !b->in.count && !b->out.count)
        return;
    _sl_set(&c->shape, ex, b);
    _sl_pace(c, c->shape.rate[SL_OUT]);
    if (!was) /* what was read before it was known who sent it */
        sl_shape_spend(&c->shape, SL_IN, sl_buf_len(&ex->head) + sl_buf_len(&c->in));
}

void sl_shape_begin(struct sl_exchange *ex)
{
    const struct sl_bandwidth *b = _sl_bandwidth(ex);
    if (!ex->conn->h2)
        _sl_begin_connection(ex, b);
    else if (b->in.count || b->out.count)
        _sl_begin_stream(ex, b);
}
