/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's life: snapshot by snapshot from the supervisor, until drained or until the supervisor is gone.
 * Invariant: what serves is a whole snapshot; a new one takes its place between two events, or not at all.
 */
#include "base/log.h"
#include "gateway/errand_priv.h"
#include "gateway/exchange_priv.h"
#include "gateway/hasher_priv.h"
#include "gateway/overload_priv.h"
#include "gateway/policy_thread_priv.h"
#include "gateway/upstream_token_priv.h"
#include "net/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SL_HOUSEKEEPING_NS SL_TICK_NS

/* ---- a new policy */

/* What came with a policy that is being built. */
struct sl_worker_pending {
    struct sl_ipc_snapshot m;
    size_t n_sockets;
    int sockets[SL_IPC_MAX_FDS];
};

/* Standard output is here already; a file comes from the supervisor (SL_IPC_REOPEN), and lines wait for it.
 */
static void _sl_open_log(struct sl_worker *w)
{
    const struct sl_snapshot *s = w->config->snapshot;
    bool to_stdout = s->access_log.path && strcmp(s->access_log.path, "-") == 0;
    if (!s->access_log.enabled || (w->log && w->log_stdout == to_stdout))
        return;
    int fd = to_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : -1;
    int r = 0;
    if (!w->log)
        r = sl_access_log_new(fd, &w->log);
    else if (fd >= 0)
        sl_access_log_reopen(w->log, fd);
    if (r < 0)
        (void)sl_error_r(r, "access log: no writer; nothing is logged");
    w->log_stdout = to_stdout;
}

static int _sl_serve(struct sl_worker *w, struct sl_policy *policy, struct sl_worker_pending *p)
{
    struct sl_gw_config *c = NULL;
    int r = sl_gw_config_new(w, policy, &c);
    if (r < 0)
        return r;
    sl_worker_keys_apply(w, c);
    w->held = p->m.hold;
    r = sl_binds_apply(w, c, &p->m, p->sockets, p->n_sockets);
    p->n_sockets = 0;
    sl_gw_config_unref(w->config);
    w->config = c;
    sl_worker_keys_prune(w);
    w->counters->generation = c->snapshot->version;
    _sl_open_log(w);
    return r;
}

static void _sl_answer(struct sl_worker *w, const struct sl_ipc_snapshot *m, int error)
{
    union sl_ipc ready = {
        .ready = {.h = {.type = SL_IPC_READY, .id = m->h.id}, .version = m->version, .error = error}};
    const int r = sl_ipc_send(w->args->ipc_fd, &ready, NULL, 0);
    if (r < 0)
        (void)sl_error_r(r, "the supervisor cannot be told that version %llu is served",
                         (unsigned long long)m->version);
}

static void _sl_pending_free(struct sl_worker_pending *p)
{
    for (size_t i = 0; p && i < p->n_sockets; i++)
        (void)close(p->sockets[i]);
    free(p);
}

/* What came meanwhile is read now. */
static void _sl_on_built(struct sl_worker *w, struct sl_policy *policy, int r)
{
    struct sl_worker_pending *p = SL_TAKE_PTR(w->pending);
    if (r == 0)
        r = _sl_serve(w, policy, p);
    _sl_answer(w, &p->m, r);
    _sl_pending_free(p);
    ev_io_start(w->loop.ev, &w->ipc);
}

/* Until the policy is built the next messages wait in the socket: their order is the supervisor's. */
static void _sl_on_snapshot(struct sl_worker *w, const union sl_ipc *m, int *fds, size_t n_fds)
{
    struct sl_worker_pending *p = calloc(1, sizeof(*p));
    const bool right = n_fds >= 1 && m->snapshot.n_sockets == n_fds - 1;
    if (!p || !right) {
        for (size_t i = 0; i < n_fds; i++)
            (void)close(fds[i]);
        free(p);
        _sl_answer(w, &m->snapshot, right ? -ENOMEM : -EPROTO);
        return;
    }
    p->m = m->snapshot;
    p->n_sockets = n_fds - 1;
    memcpy(p->sockets, fds + 1, p->n_sockets * sizeof(*fds));
    w->pending = p;
    ev_io_stop(w->loop.ev, &w->ipc);
    sl_policy_thread_start(w, fds[0], _sl_on_built);
}

/* ---- drain */

void sl_worker_maybe_done(struct sl_worker *w)
{
    if (w->draining && sl_list_empty(&w->conns))
        sl_loop_stop(&w->loop);
}

static void _sl_drain(struct sl_worker *w, const struct sl_ipc_drain *m)
{
    w->drain_deadline = m->deadline_ns;
    if (!w->draining) {
        w->draining = true;
        w->patient = m->patient;
        sl_binds_close(w);
        sl_list_for_each_safe (it, &w->conns)
            sl_conn_drain(SL_LIST_ENTRY(it, struct sl_conn, node));
    }
    sl_worker_maybe_done(w);
}

/* ---- the supervisor's messages */

static void _sl_on_reopen(struct sl_worker *w, int *fds, size_t n_fds)
{
    if (n_fds == 1 && !w->log && sl_access_log_new(-1, &w->log) < 0)
        w->log = NULL;
    if (n_fds == 1 && w->log)
        sl_access_log_reopen(w->log, SL_TAKE_FD(fds[0]));
    for (size_t i = 0; i < n_fds; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

static void _sl_dispatch(struct sl_worker *w, const union sl_ipc *m, int *fds, size_t n_fds)
{
    switch (m->h.type) {
    case SL_IPC_SNAPSHOT:
        _sl_on_snapshot(w, m, fds, n_fds);
        return;
    case SL_IPC_REOPEN:
        _sl_on_reopen(w, fds, n_fds);
        return;
    case SL_IPC_KEYS:
        sl_worker_keys_take(w, &m->keys, n_fds == 1 ? fds[0] : -1);
        break;
    case SL_IPC_ERRANDS:
        sl_worker_errands_connect(w, n_fds == 1 ? fds[0] : -1);
        break;
    case SL_IPC_DRAIN:
        _sl_drain(w, &m->drain);
        break;
    case SL_IPC_LISTEN:
        sl_binds_listen(w);
        break;
    case SL_IPC_LAST_CALLED:
        sl_binds_close_gone(w);
        break;
    default:
        break; /* nothing else is expected here, and nothing is answered */
    }
    for (size_t i = 0; i < n_fds; i++)
        (void)close(fds[i]);
}

static void _sl_on_ipc(struct ev_loop *ev, ev_io *watcher, int revents)
{
    (void)ev, (void)revents;
    struct sl_worker *w = watcher->data;
    for (;;) {
        union sl_ipc m;
        int fds[SL_IPC_MAX_FDS];
        size_t n = SL_IPC_MAX_FDS;
        int r = sl_ipc_recv(w->args->ipc_fd, &m, fds, &n);
        if (r == 0)
            return;
        if (r == -EPROTO) {
            sl_warn("a malformed message from the supervisor was refused");
            continue;
        }
        if (r < 0) { /* no supervisor, no worker */
            w->exit_code = 1;
            ev_io_stop(w->loop.ev, &w->ipc);
            sl_loop_stop(&w->loop);
            return;
        }
        _sl_dispatch(w, &m, fds, n);
        if (w->pending)
            return;
    }
}

/* ---- every tick */

static void _sl_housekeep(struct sl_timer *t)
{
    struct sl_worker *w = SL_CONTAINER_OF(t, struct sl_worker, housekeeping);
    w->counters->loop_turns = w->loop.turns;
    w->counters->buffer_bytes = w->bufs.lent;
    if (w->log) {
        sl_access_log_kick(w->log);
        w->counters->log_dropped = sl_access_log_dropped(w->log);
    }
    (void)sl_worker_tickets_refresh(w);
    sl_overload_tick(w);
    sl_gone_tick(w);
    sl_worker_keys_tick(w);
    sl_worker_errands_tick(w);
    if (w->draining && w->loop.now >= w->drain_deadline)
        sl_loop_stop(&w->loop);
    sl_timer_set(&w->loop, t, w->loop.now + SL_HOUSEKEEPING_NS);
}

struct sl_slice sl_worker_date(struct sl_worker *w)
{
    uint64_t s = sl_loop_wall(&w->loop) / SL_NS_PER_SEC;
    if (s != w->date_s) {
        time_t t = (time_t)s;
        struct tm tm;
        (void)gmtime_r(&t, &tm);
        (void)strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm); /* the C locale's names */
        w->date_s = s;
    }
    return sl_slice_str(w->date);
}

uint64_t sl_worker_random(struct sl_worker *w)
{
    w->rng ^= w->rng << 13; /* xorshift64: for sampling, never for secrets */
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng;
}

/* ---- start and end */

/* Each request is counted at its listener when it begins and at its route when it ends: what a predecessor
 * that died leaves between the two were its requests under way. */
static void _sl_count_lost(struct sl_worker_counters *b)
{
    uint64_t begun = 0, ended = b->requests_lost;
    for (size_t i = 0; i < SL_COUNTER_LISTENERS; i++) {
        begun += b->listeners[i].requests;
        b->connections_lost += b->listeners[i].active;
    }
    for (size_t i = 0; begun && i < SL_COUNTER_ROUTES; i++)
        for (size_t k = 0; k < SL_ARRAY_LEN(b->routes[i].codes); k++)
            ended += b->routes[i].codes[k];
    if (begun > ended)
        b->requests_lost += begun - ended;
}

static int _sl_worker_init(struct sl_worker *w, const struct sl_worker_args *args)
{
    *w = (struct sl_worker){.args = args, .buckets = args->buckets};
    w->counters = &args->counters.blocks[args->index];
    w->uuids.used = sizeof(w->uuids.bytes);
    sl_list_init(&w->binds);
    sl_list_init(&w->conns);
    sl_list_init(&w->idle);
    sl_list_init(&w->unread);
    sl_list_init(&w->keys);
    w->errands.fd = -1;
    sl_list_init(&w->errands.calls);
    sl_list_init(&w->h2_dirty);
    int r = sl_loop_init(&w->loop);
    if (r < 0)
        return r;
    sl_tls_init();
    sl_upstreams_init(&w->upstreams, &w->loop, &w->bufs, w->counters, &args->counters.shared->health);
    w->rng = w->loop.now | 1;
    _sl_count_lost(w->counters);
    for (size_t i = 0; i < SL_COUNTER_LISTENERS; i++) /* gauges of a predecessor that died */
        w->counters->listeners[i].active = w->counters->listeners[i].tunnels_active = 0;
    for (size_t i = 0; i < SL_COUNTER_UPSTREAMS; i++)
        w->counters->upstreams[i].active = w->counters->upstreams[i].idle =
            w->counters->upstreams[i].pending = 0;
    for (size_t i = 0; i < SL_COUNTER_TARGETS; i++)
        w->counters->targets[i].active = 0;
    w->counters->started_ns = w->loop.now;
    w->counters->pid = (uint64_t)getpid();
    ev_io_init(&w->ipc, _sl_on_ipc, args->ipc_fd, EV_READ);
    w->ipc.data = w;
    ev_io_start(w->loop.ev, &w->ipc);
    sl_timer_init(&w->housekeeping, _sl_housekeep);
    sl_timer_set(&w->loop, &w->housekeeping, w->loop.now + SL_HOUSEKEEPING_NS);
    (void)sl_worker_tickets_refresh(w);
    return 0;
}

static void _sl_worker_close(struct sl_worker *w)
{
    if (w->loop.ev) {
        sl_policy_thread_close(w);
        _sl_pending_free(SL_TAKE_PTR(w->pending));
        sl_binds_close(w);
        sl_list_for_each_safe (it, &w->conns)
            sl_conn_close(SL_LIST_ENTRY(it, struct sl_conn, node));
        sl_worker_keys_close(w);
        sl_worker_errands_close(w);
        sl_uptokens_free(w->uptokens);
        sl_hasher_close(w);
        sl_gw_config_unref(w->config);
        ev_io_stop(w->loop.ev, &w->ipc);
        sl_timer_stop(&w->loop, &w->housekeeping);
        sl_loop_close(&w->loop);
    }
    sl_exchanges_free_spare(w);
    sl_bufpool_close(&w->bufs);
    sl_h2_mem_close(&w->h2_mem);
    sl_access_log_free(w->log, 2000);
    sl_tls_close();
    explicit_bzero(&w->tickets, sizeof(w->tickets));
}

int sl_worker_run(const struct sl_worker_args *args)
{
    (void)signal(SIGPIPE, SIG_IGN);
    SL_FREE struct sl_worker *w = calloc(1, sizeof(*w));
    if (!w)
        return sl_error_r(-ENOMEM, "worker %u", args->index), 1;
    int r = _sl_worker_init(w, args);
    if (r == 0)
        sl_loop_run(&w->loop);
    else
        (void)sl_error_r(r, "worker %u cannot start its loop", args->index);
    int code = r < 0 ? 1 : w->exit_code;
    _sl_worker_close(w);
    return code;
}
