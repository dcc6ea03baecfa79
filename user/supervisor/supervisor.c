/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start, run, stop. Start: lock, policy, sockets, guard, then the children, so that a policy that cannot be
 * had leaves nothing behind. Stop (SIGTERM, SIGINT): the children drain. However the supervisor ends, pins
 * and links stay, so that limits, penalties and counters go on: the next one takes them over, and `sluicectl
 * detach` takes them off.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"
#include "net/socket.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>

#define SL_SWEEP_EVERY 2.0                       /* s */
#define SL_LAST_CALL   (SL_SILENT_SECONDS + 0.5) /* s; for the kernel to ask, and the client to answer */

int sl_supervisor_size(struct sl_supervisor *s, const struct sl_snapshot *snap)
{
    unsigned workers = SL_MIN(snap->workers, (unsigned)SL_MAX_WORKERS);
    int r = sl_privilege_resolve(s, snap->user);
    if (r == 0)
        r = sl_counters_new(workers, &s->counters);
    if (r < 0)
        return r;
    s->children = calloc(workers + 1, sizeof(*s->children));
    if (!s->children)
        return -ENOMEM;
    s->n_children = workers + 1;
    for (size_t i = 0; i < s->n_children; i++)
        s->children[i] = (struct sl_child){.s = s, .index = (int)i - 1, .ipc = -1};
    sl_takeover_counters(s);
    return 0;
}

void sl_supervisor_drain(struct sl_supervisor *s)
{
    s->stopping = true;
    ev_timer_stop(s->loop, &s->last_call);
    sl_reload_forget(s);
    sl_trial_end(s);
    sl_state_publish(s);
    ev_timer_set(&s->kill, (double)s->snapshot->drain_timeout / 1e9 + 1, 0);
    ev_timer_start(s->loop, &s->kill);
    sl_children_drain(s);
    sl_sockets_close_listeners(s);
}

/* ---- signals and timers */

static void _sl_on_stop(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = w->data;
    if (s->stopping) { /* asked twice: now */
        sl_children_kill(s);
        return;
    }
    sl_upgrade_stop(s);
    sl_info("draining");
    if (s->trial.waits)
        sl_warn("policy version %llu was not confirmed: the next start reads it again from %s",
                (unsigned long long)s->version, s->options->policy);
    sl_notify("STOPPING=1");
    if (!sl_sockets_last_call(s, true)) {
        sl_supervisor_drain(s);
        return;
    }
    s->stopping = true;
    sl_state_publish(s);
    sl_supervisor_last_call(s);
}

void sl_supervisor_last_call(struct sl_supervisor *s)
{
    sl_timer_again(s->loop, &s->last_call);
}

static void _sl_on_last_call(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)events;
    struct sl_supervisor *s = t->data;
    ev_timer_stop(loop, t);
    if (s->stopping) {
        sl_supervisor_drain(s);
        return;
    }
    sl_sockets_close_gone(s);
    sl_children_last_called(s);
    sl_upgrade_go_on(s);
}

static void _sl_on_kill(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = t->data;
    sl_warn("connections outlived the drain's deadline and are cut");
    sl_children_kill(s);
}

static void _sl_on_hup(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    sl_reload(w->data, 0, 0);
}

static void _sl_on_usr1(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = w->data;
    sl_reopen_log(s);
}

static void _sl_on_usr2(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    sl_upgrade(w->data, 0);
}

/* The guard is another supervisor's, or is about to become so. */
static bool _sl_hands_off(const struct sl_supervisor *s)
{
    return s->handed || s->upgrade.pid || s->takeover.waits;
}

static void _sl_on_sweep(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = t->data;
    if (!_sl_hands_off(s)) {
        sl_kernel_sweep(s->guard);
        sl_kept_save(s);
        sl_kept_lists_save(s);
        sl_kept_evidence_save(s);
    }
    sl_takeover_follow(s, true);
    sl_state_publish(s);
}

static void _sl_on_watchdog(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)t, (void)events;
    sl_notify("WATCHDOG=1");
}

static void _sl_on_netlink(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = io->data;
    sl_kernel_netlink_drain(s->guard);
    if (!_sl_hands_off(s))
        (void)sl_kernel_refresh(s->guard);
    sl_state_publish(s);
}

static void _sl_signal(struct sl_supervisor *s, ev_signal *w, void (*fn)(struct ev_loop *, ev_signal *, int),
                       int sig)
{
    ev_signal_init(w, fn, sig);
    w->data = s;
    ev_signal_start(s->loop, w);
}

static void _sl_watch(struct sl_supervisor *s)
{
    double watchdog = sl_notify_watchdog();
    int netlink = sl_kernel_netlink_fd(s->guard);
    _sl_signal(s, &s->sigterm, _sl_on_stop, SIGTERM);
    _sl_signal(s, &s->sigint, _sl_on_stop, SIGINT);
    _sl_signal(s, &s->sighup, _sl_on_hup, SIGHUP);
    _sl_signal(s, &s->sigusr1, _sl_on_usr1, SIGUSR1);
    _sl_signal(s, &s->sigusr2, _sl_on_usr2, SIGUSR2);
    (void)signal(SIGPIPE, SIG_IGN);
    ev_init(&s->kill, _sl_on_kill);
    ev_timer_init(&s->last_call, _sl_on_last_call, 0, SL_LAST_CALL);
    s->kill.data = s->last_call.data = s;
    ev_timer_init(&s->sweep, _sl_on_sweep, SL_SWEEP_EVERY, SL_SWEEP_EVERY);
    s->sweep.data = s;
    ev_timer_start(s->loop, &s->sweep);
    if (watchdog > 0) {
        ev_timer_init(&s->watchdog, _sl_on_watchdog, watchdog, watchdog);
        ev_timer_start(s->loop, &s->watchdog);
    }
    if (netlink >= 0) {
        ev_io_init(&s->netlink, _sl_on_netlink, netlink, EV_READ);
        s->netlink.data = s;
        ev_io_start(s->loop, &s->netlink);
    }
}

/* ---- start, run, stop */

static int _sl_first_policy(struct sl_supervisor *s)
{
    struct sl_diag diag;
    SL_BUF struct sl_buf text = {0};
    sl_diag_init(&diag);
    int r = sl_policy_load(s, &diag);
    if (sl_diag_print(&diag, &text) < 0 ||
        sl_write_all(STDERR_FILENO, sl_buf_data(&text), sl_buf_len(&text)) < 0)
        sl_error("the policy's errors could not be printed");
    if (r < 0 && sl_buf_len(&text) && sl_buf_append(&text, "", 1) == 0)
        sl_takeover_failed(s, r, sl_buf_data(&text));
    sl_diag_free(&diag);
    return r;
}

static int _sl_start(struct sl_supervisor *s)
{
    int r = sl_takeover_begin(s);
    if (r == 0)
        r = sl_state_open(s);
    if (r == 0 && s->takeover.waits)
        r = sl_takeover_slots(s);
    if (r == 0 && OPENSSL_init_ssl(0, NULL) != 1) /* reads openssl.cnf, which no child may open */
        r = -ENOMEM;
    if (r == 0)
        r = _sl_first_policy(s);
    if (r < 0)
        return r;
    if (!s->takeover.waits) { /* else the table is the former supervisor's, in use */
        sl_kept_load(s);
        sl_kept_lists_load(s);
        sl_kept_evidence_load(s);
    }
    _sl_watch(s);
    for (size_t i = 0; r == 0 && i < s->n_children; i++)
        r = sl_child_start(&s->children[i]);
    if (r == 0)
        sl_reload_wait(s, 0);
    return r;
}

static void _sl_stop(struct sl_supervisor *s)
{
    sl_sockets_close(s);
    if (s->guard && s->stopping && !_sl_hands_off(s)) {
        sl_kept_save(s);
        sl_kept_lists_save(s);
        sl_kept_evidence_save(s);
    }
    if (s->guard)
        sl_kernel_close(s->guard);
    if (s->counters.blocks)
        sl_counters_unmap(&s->counters);
    sl_takeover_close(s);
    sl_closep(&s->bundle_fd);
    sl_closep(&s->former.fd);
    sl_closep(&s->log_fd);
    sl_watch_close(s);
    sl_closep(&s->lock);
    sl_snapshot_unref(SL_TAKE_PTR(s->snapshot));
    sl_keys_prune(s);
    sl_slots_free(s->slots);
    free(s->reload.text);
    free(s->children);
    ev_loop_destroy(s->loop);
}

int sl_supervisor_run(const struct sl_supervisor_options *o)
{
    struct sl_supervisor s = {
        .options = o,
        .lock = -1,
        .bundle_fd = -1,
        .former.fd = -1,
        .watch.fd = -1,
        .log_fd = -1,
        .upgrade.sock = -1,
        .takeover = {.sock = -1, .bundle_fd = -1, .counters_fd = -1, .kernel = {.lock = -1, .buckets = -1}},
        .slots = sl_slots_new()};
    s.loop = ev_default_loop(EVFLAG_AUTO);
    if (!s.slots || !s.loop)
        return sl_error_r(-ENOMEM, "starting"), 1;
    int r = _sl_start(&s);
    if (r == 0) {
        ev_run(s.loop, 0);
        r = s.start_error;
    }
    if (r < 0) {
        sl_children_kill(&s);
        sl_takeover_failed(&s, r, NULL);
        if (!s.takeover.waits && s.guard && sl_kernel_fds(s.guard).reasons >= 0)
            (void)sl_kernel_detach_all(); /* a start that failed leaves nothing on the interfaces */
        sl_error("not started");
    }
    _sl_stop(&s);
    return r < 0;
}
