/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller's loop: the supervisor's messages on one side, the admin API on the other. Invariant:
 * nothing here changes anything but rows of shared health (upstreams.c); other changes are asked of the
 * supervisor, and the asking client waits for its answer.
 */
#include "control/control_priv.h"

#include "base/io.h"
#include "net/tls.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

/* The text behind a memfd, mapped; empty where there is none. */
static struct sl_slice _sl_text(int fd)
{
    struct sl_slice s = SL_SLICE_NUL;
    if (fd >= 0 && sl_memfd_map(fd, &s) < 0)
        s = SL_SLICE_NUL;
    return s;
}

static void _sl_unmap(struct sl_slice s)
{
    if (s.p)
        (void)munmap((void *)(uintptr_t)s.p, s.n);
}

static void _sl_take_result(struct sl_control *c, const struct sl_ipc_result *m, int fd)
{
    if (sl_cluster_result(c, m))
        return;
    struct sl_admin_client *a = sl_admin_waiting(c, m->h.id);
    struct sl_slice text = _sl_text(fd);
    if (a && a->answer) {
        a->asked = 0;
        a->answer(a, m, text);
    }
    _sl_unmap(text);
}

static void _sl_take_state(struct sl_control *c, int fd)
{
    struct sl_slice text = _sl_text(fd);
    json_t *j = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
    if (j) {
        json_decref(c->state);
        c->state = j;
    }
    _sl_unmap(text);
}

static void _sl_stop_all_but_errands(struct sl_control *c)
{
    sl_control_samples_stop(c);
    sl_admin_close(c);
    sl_checks_stop(c);
    sl_names_stop(c);
    sl_jwks_stop(c);
    sl_cluster_stop(c);
    sl_demand_stop(c);
}

/* Workers that drain beside us, after a binary upgrade, may still have servers asked; all else is the new
 * controller's: the ring of samples has one reader. */
static void _sl_on_drained(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)events;
    struct sl_control *c = t->data;
    const uint64_t now = sl_now_ns();
    if (sl_errands_idle(c) || now >= c->drain_deadline) {
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    c->lingers = true;
    _sl_stop_all_but_errands(c);
    ev_timer_set(t, (double)(c->drain_deadline - now) / 1e9, 0);
    ev_timer_start(loop, t);
}

void sl_control_maybe_done(struct sl_control *c)
{
    if (c->lingers && sl_errands_idle(c))
        ev_break(c->loop, EVBREAK_ALL);
}

static void _sl_drain(struct sl_control *c, const struct sl_ipc_drain *m)
{
    sl_admin_stop(c);
    c->drain_deadline = m->deadline_ns;
    if (ev_is_active(&c->drain) || c->lingers)
        return; /* said before, by an upgrade: libev must not have it twice */
    ev_timer_init(&c->drain, _sl_on_drained, 0.1, 0);
    c->drain.data = c;
    ev_timer_start(c->loop, &c->drain);
}

static void _sl_dispatch(struct sl_control *c, const union sl_ipc *m, const int *fds, size_t n)
{
    switch (m->h.type) {
    case SL_IPC_SNAPSHOT:
        sl_control_take_policy(c, &m->snapshot, fds, n);
        break;
    case SL_IPC_RESULT:
        _sl_take_result(c, &m->result, n ? fds[0] : -1);
        break;
    case SL_IPC_STATE:
        _sl_take_state(c, n ? fds[0] : -1);
        break;
    case SL_IPC_KEYS:
        sl_jwks_take(c, &m->keys, n ? fds[0] : -1);
        break;
    case SL_IPC_KEYS_WANTED:
        sl_jwks_wanted(c, m->wanted.source, m->wanted.none);
        break;
    case SL_IPC_SHARE:
        sl_cluster_share(c, &m->shared);
        break;
    case SL_IPC_LISTEN:
        sl_admin_go(c);
        break;
    case SL_IPC_DRAIN: /* nobody is left to ask about; an answer under way may still get out */
        _sl_drain(c, &m->drain);
        break;
    case SL_IPC_ERRANDS:
        sl_errands_connect(c, m->errands.worker, n ? fds[0] : -1);
        break;
    default:
        sl_warn("a message of type %u is not for the controller", m->h.type);
    }
}

static void _sl_on_ipc(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct sl_control *c = io->data;
    for (;;) {
        union sl_ipc m;
        int fds[SL_IPC_MAX_FDS];
        size_t n = SL_IPC_MAX_FDS;
        int r = sl_ipc_recv(c->args->ipc_fd, &m, fds, &n);
        if (r == 0)
            return;
        if (r < 0) { /* the supervisor is gone: no orphan stays */
            c->exit_code = 1;
            ev_break(loop, EVBREAK_ALL);
            return;
        }
        _sl_dispatch(c, &m, fds, n);
        for (size_t i = 0; i < n; i++)
            if (fds[i] >= 0 && m.h.type != SL_IPC_SNAPSHOT) /* those of a policy are taken over */
                (void)close(fds[i]);
        if (c->next)
            return;
    }
}

bool sl_control_ready(const struct sl_control *c)
{
    if (!c->version || json_is_true(json_object_get(c->state, "draining")))
        return false;
    for (uint32_t i = 0; i < c->args->counters.workers; i++)
        if (c->args->counters.blocks[i].generation != c->version)
            return false;
    return true;
}

int sl_control_run(const struct sl_control_args *args)
{
    struct sl_control c = {.args = args, .started_ns = sl_now_ns(), .next_id = sl_now_ns()};
    int r = sl_loop_init(&c.turn);
    if (r < 0)
        return sl_error_r(r, "the controller's loop"), 1;
    c.loop = c.turn.ev;
    sl_tls_init();
    sl_list_init(&c.clients);
    ev_io_init(&c.ipc, _sl_on_ipc, args->ipc_fd, EV_READ);
    c.ipc.data = &c;
    ev_io_start(c.loop, &c.ipc);
    sl_control_samples_start(&c);
    ev_run(c.loop, 0);
    sl_control_stop_policy(&c);
    _sl_stop_all_but_errands(&c);
    sl_errands_stop(&c);
    SSL_CTX_free(c.tls);
    sl_bundle_free(c.bundle);
    sl_snapshot_unref(c.snapshot);
    json_decref(c.state);
    sl_loop_close(&c.turn);
    sl_tls_close();
    return c.exit_code;
}
