/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a worker runs out of descriptors or of the memory that it may use, it lets idle connections go, the
 * one that has been idle longest first; where none is left it refuses new ones, before anything is spent on
 * them. A part of the descriptors stays for upstreams. Clients that take or send less than
 * limits.min_rate while the worker waits for nothing else but them are let go as well: each would hold
 * buffers for as long as it pleases.
 *
 * Invariant: w->idle holds exactly the connections in IDLE, the longest idle one first (conn.c).
 */
#include "gateway/overload_priv.h"

#include "base/log.h"
#include "gateway/exchange_priv.h"

#include <sys/socket.h>

#define SL_RESERVE_MIN 32u /* descriptors for upstreams; else an eighth of all */
#define SL_FIXED_FILES 24u /* that a worker has besides connections, with some listeners */
#define SL_EVICT_MOST  16  /* idle connections a new one may cost: memory wants more than one */
#define SL_ASKED_MOST  64
#define SL_SLOW_WINDOW (5 * SL_NS_PER_SEC)
#define SL_SLOW_GRACE  2 /* windows in a row that are let pass; the request's first is none of them */
/* What a connection costs beside its buffers, about: with TLS as measured idle. */
#define SL_CONN_BYTES     2048u
#define SL_CONN_TLS_BYTES 16384u

/* ---- how much is left */

/* Upstreams get their share of what is left: a client that is let in will want one of them. */
static bool _sl_few_descriptors(const struct sl_worker *w)
{
    const size_t limit = w->args->files, reserve = SL_MAX(limit / 8, (size_t)SL_RESERVE_MIN);
    return limit && w->n_conns + w->upstreams.open + SL_FIXED_FILES + reserve >= limit;
}

static bool _sl_much_memory(const struct sl_worker *w)
{
    const uint64_t cap = w->config ? w->config->snapshot->worker_memory : 0;
    uint64_t used = w->bufs.lent + w->arena_bytes;
    sl_list_for_each (it, &w->binds) {
        const struct sl_bind *b = SL_LIST_ENTRY(it, struct sl_bind, node);
        used += (uint64_t)b->active * (b->tls ? SL_CONN_TLS_BYTES : SL_CONN_BYTES);
    }
    return cap && used >= cap - cap / 16;
}

/* Of HTTP/2 no list is kept: some of the oldest connections are asked whether they carry a stream. */
static struct sl_conn *_sl_idle_h2(const struct sl_worker *w)
{
    unsigned asked = 0;
    sl_list_for_each (it, &w->conns) {
        struct sl_conn *c = SL_LIST_ENTRY(it, struct sl_conn, node);
        if (c->state == SL_CONN_STREAMS && sl_codec_h2_is_idle(c))
            return c;
        if (++asked == SL_ASKED_MOST)
            break;
    }
    return NULL;
}

/* False where nobody is idle. */
static bool _sl_evict_idle(struct sl_worker *w)
{
    struct sl_conn *c =
        sl_list_empty(&w->idle) ? _sl_idle_h2(w) : SL_LIST_ENTRY(w->idle.next, struct sl_conn, idle);
    if (!c)
        return false;
    c->counters->evicted++;
    sl_conn_close(c);
    return true;
}

/* ---- refusing */

#define SL_ANSWER(status, phrase, reason, detail)                                                     \
    "HTTP/1.1 " status " " phrase "\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: "         \
    "application/problem+json\r\n\r\n{\"type\":\"urn:sluice:problem:" reason "\",\"title\":\"" phrase \
    "\",\"status\":" status ",\"detail\":\"" detail "\"}\n"
static const char *const _sl_answers[SL_REFUSED_COUNT] = {
    [SL_REFUSED_LIMIT] =
        SL_ANSWER("503", "Service Unavailable", "connections", "too many connections are open"),
    [SL_REFUSED_SOURCE] = SL_ANSWER("429", "Too Many Requests", "connections_per_source",
                                    "too many connections of this address are open"),
    [SL_REFUSED_DESCRIPTORS] =
        SL_ANSWER("503", "Service Unavailable", "descriptors", "the gateway has no descriptor left"),
    [SL_REFUSED_MEMORY] = SL_ANSWER("503", "Service Unavailable", "memory", "the gateway has no memory left"),
};

/* The answer is worth one attempt; what the client sent is read, so that closing sends no RST over it. */
static void _sl_refuse(struct sl_bind *b, int fd, enum sl_refused why)
{
    b->counters->refused++;
    b->counters->refused_by[why]++;
    if (!b->tls) {
        char waste[4096];
        (void)send(fd, _sl_answers[why], strlen(_sl_answers[why]), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        (void)recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
    }
    (void)close(fd);
}

/* ---- of one source */

static uint64_t _sl_source_key(const struct sl_worker *w, const struct sl_listener *l, const struct sl_ip *ip)
{
    struct {
        char kind[8];
        uint64_t name;
        struct sl_ip source;
    } key = {.kind = "source"};
    key.name = sl_hash(l->name, strlen(l->name), 0);
    key.source = sl_ip_source(ip).ip;
    return sl_hash(&key, sizeof(key), w->buckets.seed);
}

/* A proxy that we trust speaks for many. A full table passes: other limits hold. */
static bool _sl_one_too_many(struct sl_bind *b, const struct sl_sockaddr *peer, uint32_t *row)
{
    const struct sl_worker_args *a = b->w->args;
    const uint32_t max = b->listener->limits.connections_per_source;
    const struct sl_ip ip = sl_sockaddr_ip(peer);
    *row = SL_NO_ROW;
    if (!max || !ip.family || sl_trusted_proxy(b->config->snapshot, &ip))
        return false;
    switch (sl_flight_take(&a->counters.shared->flights, a->counters.workers, a->index,
                           _sl_source_key(b->w, b->listener, &ip), max, row)) {
    case SL_FLIGHT_TAKEN:
        return false;
    case SL_FLIGHT_REFUSED:
        *row = SL_NO_ROW;
        return true;
    default:
        *row = SL_NO_ROW;
        b->counters->source_table_full++;
        return false;
    }
}

void sl_overload_left(struct sl_worker *w, uint32_t row)
{
    if (row != SL_NO_ROW)
        sl_flight_give(&w->args->counters.shared->flights, w->args->index, row);
}

/* ---- accepting */

/* limits.connections holds over all workers; each gets its share, rounded up. The kernel spreads connections
 * evenly enough over SO_REUSEPORT sockets for that. */
static bool _sl_is_full(const struct sl_bind *b)
{
    uint32_t workers = SL_MAX(b->w->args->counters.workers, 1u), active = 0;
    uint32_t share = (b->listener->limits.connections + workers - 1) / workers;
    sl_list_for_each (it, &b->w->binds) {
        const struct sl_bind *other = SL_LIST_ENTRY(it, struct sl_bind, node);
        if (other->listener == b->listener)
            active += other->active;
    }
    return active >= share;
}

/* SL_REFUSED_COUNT: there is room, or there is now. */
static enum sl_refused _sl_short_of(struct sl_worker *w)
{
    for (unsigned i = 0; _sl_few_descriptors(w); i++)
        if (i == SL_EVICT_MOST || !_sl_evict_idle(w))
            return SL_REFUSED_DESCRIPTORS;
    for (unsigned i = 0; _sl_much_memory(w); i++)
        if (i == SL_EVICT_MOST || !_sl_evict_idle(w))
            return SL_REFUSED_MEMORY;
    return SL_REFUSED_COUNT;
}

bool sl_overload_admit(struct sl_bind *b, int fd, const struct sl_sockaddr *peer, uint32_t *row)
{
    enum sl_refused why = _sl_is_full(b) ? SL_REFUSED_LIMIT : _sl_short_of(b->w);
    *row = SL_NO_ROW;
    if (why == SL_REFUSED_COUNT && _sl_one_too_many(b, peer, row))
        why = SL_REFUSED_SOURCE;
    if (why == SL_REFUSED_COUNT)
        return true;
    _sl_refuse(b, fd, why);
    return false;
}

static void _sl_stop_accepting(struct sl_worker *w, bool stop)
{
    w->accepts_paused = stop;
    sl_list_for_each (it, &w->binds) {
        struct sl_bind *b = SL_LIST_ENTRY(it, struct sl_bind, node);
        if (stop)
            ev_io_stop(w->loop.ev, &b->watcher);
        else if (!w->held)
            ev_io_start(w->loop.ev, &b->watcher);
    }
}

/* What cannot be accepted stays readable: who went on asking would spin. */
void sl_overload_no_descriptor(struct sl_bind *b)
{
    struct sl_worker *w = b->w;
    const uint64_t second = w->loop.now / SL_NS_PER_SEC;
    b->counters->accept_failures++;
    if (_sl_evict_idle(w))
        return;
    if (w->descriptors_said != second)
        sl_warn("listener %s: no descriptor is left for a connection: raise the file limit (LimitNOFILE)",
                b->listener->name);
    w->descriptors_said = second;
    _sl_stop_accepting(w, true);
}

/* ---- who is too slow */

static bool _sl_waits_for_client(const struct sl_conn *c)
{
    const struct sl_exchange *ex = c->ex;
    return c->state == SL_CONN_EXCHANGE && ex && !ex->tunnel && !c->shape.rate[SL_IN] &&
           !c->shape.rate[SL_OUT] &&
           (ex->waiting == SL_WAIT_CLIENT_READ || ex->waiting == SL_WAIT_CLIENT_BODY);
}

static void _sl_look(struct sl_conn *c)
{
    const struct sl_rate *min = &c->bind->listener->limits.min_rate;
    const uint64_t moved = c->moved - c->moved_before;
    const bool slow = min->count && c->ex && c->ex->started + SL_SLOW_WINDOW <= c->w->loop.now &&
                      _sl_waits_for_client(c) &&
                      moved < (uint64_t)((double)min->count * ((double)SL_SLOW_WINDOW / (double)min->per_ns));
    c->moved_before = c->moved;
    c->slow = slow ? c->slow + 1 : 0;
    if (c->slow <= SL_SLOW_GRACE)
        return;
    c->counters->too_slow++;
    struct sl_exchange *ex = c->ex;
    static const char why[] = "the client sends or takes less than limits.min_rate";
    if (ex->head_sent) {
        sl_exchange_abort(ex, SL_WHY_CLIENT_TOO_SLOW, why);
        return;
    }
    sl_forward_release(ex, false);
    ex->close = true;
    (void)sl_respond_problem(ex, SL_WHY_CLIENT_TOO_SLOW, 408, why);
}

void sl_overload_tick(struct sl_worker *w)
{
    if (w->accepts_paused)
        _sl_stop_accepting(w, false);
    if (w->loop.now < w->slow_at)
        return;
    w->slow_at = w->loop.now + SL_SLOW_WINDOW;
    sl_list_for_each_safe (it, &w->conns)
        _sl_look(SL_LIST_ENTRY(it, struct sl_conn, node));
}
