/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ladder from answering 429 to dropping packets. Whoever is refused too often within his tier's window
 * loses his connection and is penalised on the narrowest key that names him: first the flow, then new
 * connections from his address, then the address.
 *
 * Invariant (NAT guard): an address is penalised only if nobody else succeeded from it within the window, a
 * flow only if nobody else did on it (or, over HTTP/2, so much as asked), and a trusted proxy never: what it
 * carries is not one client.
 *
 * Counts stand in the region that all workers share, since a flood over many connections meets all of them.
 * Fields of a count are read and written without a lock: a lost one delays a rung by one request. A success
 * is never lost (neighbours.c).
 */
#include "base/log.h"
#include "gateway/exchange_priv.h"
#include "net/ipc.h"
#include "net/socket.h"
#include "telemetry/neighbours.h"

#include <errno.h>
#include <string.h>

#define SL_WAYS             4
#define SL_GUARD_REFRESH_NS (100 * SL_NS_PER_MS) /* a success younger than this is not written again */

static uint64_t _sl_load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
static void _sl_store(uint64_t *p, uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static struct sl_ip _sl_source(const struct sl_exchange *ex)
{
    return sl_ip_source(&ex->client_ip).ip;
}

static uint64_t _sl_source_key(const struct sl_exchange *ex)
{
    const struct sl_ip ip = _sl_source(ex);
    return sl_neighbours_source(&ip, ex->w->buckets.seed);
}

/* Who it is: a consumer wherever he comes from; without one, the credential; without that, nobody in
 * particular. */
static uint64_t _sl_identity_key(const struct sl_exchange *ex)
{
    const struct sl_identity *id = ex->identity;
    if (id && id->consumer_name.n)
        return sl_neighbours_identity(id->consumer_name, ex->w->buckets.seed);
    return id && id->credential ? id->credential | 1 : SL_NEIGHBOURS_NOBODY;
}

/* ---- the NAT guard */

void sl_escalate_asked(struct sl_exchange *ex)
{
    struct sl_conn *c = ex->conn;
    if (!c->h2)
        return;
    const uint64_t id = _sl_identity_key(ex);
    c->shared |= c->asked && c->asked != id;
    c->asked = id;
}

void sl_escalate_succeeded(struct sl_exchange *ex)
{
    uint64_t id = _sl_identity_key(ex), now = ex->w->loop.now;
    struct sl_conn *c = ex->conn;
    c->mixed |= c->identity && c->identity != id;
    if (c->identity == id && now - c->identity_ns < SL_GUARD_REFRESH_NS)
        return;
    c->identity = id;
    c->identity_ns = now;
    sl_neighbours_note(ex->w->args->counters.shared->neighbours, _sl_source_key(ex), id, now);
}

static bool _sl_others_succeed(struct sl_exchange *ex, uint64_t within)
{
    return sl_neighbours_succeed(ex->w->args->counters.shared->neighbours, _sl_source_key(ex),
                                 _sl_identity_key(ex), ex->w->loop.now, within);
}

/* ---- the count */

/* By who and from where: a consumer with many hosts is not judged by the one that floods. */
static struct sl_shared_subject *_sl_subject(struct sl_exchange *ex)
{
    uint64_t parts[] = {_sl_source_key(ex), _sl_identity_key(ex)};
    uint64_t key = sl_hash(parts, sizeof(parts), ex->w->buckets.seed) | 1, now = ex->w->loop.now;
    struct sl_shared_subject *row = &ex->w->args->counters.shared
                                         ->subjects[key / 2 % (SL_SHARED_SUBJECTS / SL_WAYS) * SL_WAYS],
                             *s = row;
    for (size_t i = 0; i < SL_WAYS; i++) {
        if (_sl_load(&row[i].key) == key) {
            _sl_store(&row[i].touched_ns, now);
            return &row[i];
        }
        if (_sl_load(&row[i].touched_ns) < _sl_load(&s->touched_ns))
            s = &row[i];
    }
    _sl_store(&s->key, key);
    _sl_store(&s->since_ns, now);
    _sl_store(&s->until_ns, 0);
    __atomic_store_n(&s->rejections, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&s->rung, 0, __ATOMIC_RELAXED);
    _sl_store(&s->touched_ns, now);
    return s;
}

/* Counts one rejection: how many led to the next rung, or 0. */
static uint32_t _sl_count(struct sl_shared_subject *s, const struct sl_escalate *e, uint64_t now)
{
    uint64_t since = _sl_load(&s->since_ns);
    if (now - since > e->within) {
        _sl_store(&s->since_ns, now);
        __atomic_store_n(&s->rejections, 1, __ATOMIC_RELAXED);
        return e->rejections <= 1 ? 1 : 0;
    }
    uint32_t n = __atomic_add_fetch(&s->rejections, 1, __ATOMIC_RELAXED);
    if (n < e->rejections)
        return 0;
    __atomic_store_n(&s->rejections, 0, __ATOMIC_RELAXED);
    _sl_store(&s->since_ns, now);
    return n;
}

/* ---- the penalty */

static int _sl_ask(struct sl_exchange *ex, enum sl_penalty_scope effect, uint32_t rejections)
{
    const struct sl_escalate *e = &ex->tier->escalate;
    struct sl_sockaddr local;
    union sl_ipc m = {.penalty = {.h = {.type = SL_IPC_PENALTY},
                                  .source = ex->client_ip,
                                  .effect = effect,
                                  .duration_ns = e->penalty,
                                  .max_ns = e->max_penalty,
                                  .rejections = rejections}};
    if (effect == SL_PENALTY_FLOW) {
        int r = sl_socket_local(ex->conn->stream.fd, &local);
        if (r < 0)
            return r;
        m.penalty.destination = sl_sockaddr_ip(&local);
        m.penalty.cookie = sl_socket_cookie(ex->conn->stream.fd);
        m.penalty.source_port = sl_sockaddr_port(&ex->conn->peer);
        m.penalty.destination_port = sl_sockaddr_port(&local);
    }
    struct sl_slice who = ex->identity ? ex->identity->consumer_name : SL_S("anonymous");
    (void)snprintf(m.penalty.consumer, sizeof(m.penalty.consumer), SL_SFMT, SL_SARG(who));
    (void)snprintf(m.penalty.rule, sizeof(m.penalty.rule), "tier:%s", ex->tier->name);
    return sl_ipc_send(ex->w->args->ipc_fd, &m, NULL, 0);
}

static enum sl_penalty_scope _sl_effect(struct sl_exchange *ex, uint32_t rung)
{
    if (rung >= 2 && !_sl_others_succeed(ex, ex->tier->escalate.within))
        return rung == 2 ? SL_PENALTY_CONNECT : SL_PENALTY_SOURCE;
    return SL_PENALTY_FLOW;
}

void sl_escalate_rejected(struct sl_exchange *ex)
{
    const struct sl_escalate *e = &ex->tier->escalate;
    if (!e->enabled || ex->peer_trusted || ex->conn->proxied || !ex->client_ip.family)
        return;
    uint64_t now = ex->w->loop.now;
    struct sl_shared_subject *s = _sl_subject(ex);
    uint32_t n = _sl_count(s, e, now);
    if (!n)
        return;
    uint32_t rung = _sl_load(&s->until_ns) > now ? __atomic_load_n(&s->rung, __ATOMIC_RELAXED) : 0;
    rung = SL_MIN(rung + 1, 3u);
    __atomic_store_n(&s->rung, rung, __ATOMIC_RELAXED);
    _sl_store(&s->until_ns, now + SL_MAX(2 * e->penalty, e->within) + e->max_penalty);
    enum sl_penalty_scope effect = _sl_effect(ex, rung);
    if (effect == SL_PENALTY_FLOW && (ex->conn->mixed || ex->conn->shared))
        return; /* others succeeded over this very connection, or are about to */
    if (_sl_ask(ex, effect, n) ==
        0) /* -EAGAIN: the supervisor is busy, and the next rung comes soon enough */
        ex->w->counters->tiers[sl_slot(ex->tier->slot, SL_COUNTER_TIERS)].penalties++;
    ex->close = ex->penalised = true;
}
