/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to a policy in force. The order makes a refused policy leave no trace: read, check, compile,
 * open new sockets, then the kernel; only when all of that went well do snapshot and bundle change, and the
 * children hear of it.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"
#include "net/background.h"
#include "policy/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>

/* How long all processes may take to be ready, s: each compiles the policy as the supervisor has, in a thread
 * that has a tenth of a core which is never idle (net/background.c). sluicectl waits for 70. */
#define SL_READY_WAIT  10.0
#define SL_READY_TIMES 12 /* what it took the supervisor, beside that */
#define SL_READY_MOST  60.0

struct sl_next {
    struct sl_bundle *bundle;
    struct sl_snapshot *snapshot;
    struct sl_policy *policy;
    int bundle_fd, log_fd;
};

static void _sl_next_free(struct sl_next *n)
{
    sl_policy_free(n->policy);
    sl_snapshot_unref(n->snapshot);
    sl_bundle_free(n->bundle);
    sl_closep(&n->bundle_fd);
    sl_closep(&n->log_fd);
}

static int _sl_open_log(const struct sl_snapshot *snap, struct sl_diag *diag)
{
    if (!snap->access_log.enabled || strcmp(snap->access_log.path, "-") == 0)
        return -1;
    /* non-blocking only while it is opened: a FIFO without a reader must not stop the supervisor */
    int fd =
        open(snap->access_log.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0)
        sl_diag_error(diag, NULL, "cannot open the access log %s: %s", snap->access_log.path,
                      errno == ENXIO ? "nobody reads from this FIFO" : strerror(errno));
    else
        (void)fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

static int _sl_check_interfaces(const struct sl_snapshot *snap, struct sl_diag *diag)
{
    for (size_t i = 0; snap->kernel.mode != SL_KERNEL_OFF && i < snap->kernel.interfaces.n; i++)
        if (if_nametoindex(snap->kernel.interfaces.v[i].p) == 0)
            sl_diag_error(diag, &snap->kernel.pos,
                          "there is no interface \"%s\" on this host: `ip link` lists them",
                          snap->kernel.interfaces.v[i].p);
    return diag->errors ? -EINVAL : 0;
}

/* One message carries all sockets of a child. */
static void _sl_check_binds(const struct sl_snapshot *snap, struct sl_diag *diag)
{
    size_t n = 0;
    for (size_t l = 0; l < snap->n_listeners; l++)
        n += snap->listeners[l].n_bind;
    n = SL_MAX(n, snap->admin.n_bind);
    if (n >= SL_IPC_MAX_FDS)
        sl_diag_error(diag, NULL,
                      "%zu bind addresses are too many: at most %d for all listeners, and for admin", n,
                      SL_IPC_MAX_FDS - 1);
}

static bool _sl_same_user(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int _sl_check(struct sl_supervisor *s, const struct sl_snapshot *snap, struct sl_diag *diag)
{
    _sl_check_binds(snap, diag);
    if (s->snapshot && !_sl_same_user(s->snapshot->user, snap->user))
        sl_diag_warn(diag, NULL, "user stays as it is until the next start");
    if (s->children && snap->workers != s->n_children - 1)
        sl_diag_warn(diag, NULL, "workers stays at %zu until the next start or upgrade", s->n_children - 1);
    if (s->guard && (snap->kernel.mode == SL_KERNEL_OFF) != (sl_kernel_fds(s->guard).reasons < 0)) {
        sl_diag_error(diag, &snap->kernel.pos,
                      "kernel.mode cannot be switched between off and on by a reload: restart "
                      "sluiced");
        return -EINVAL;
    }
    return _sl_check_interfaces(snap, diag);
}

/* The policy's bytes: of its files, those of the one before as they were then, or those in force with what
 * has changed of the files that it names. */
static int _sl_read(struct sl_supervisor *s, enum sl_policy_from from, struct sl_next *n,
                    struct sl_diag *diag)
{
    if (from == SL_POLICY_RENEWED) {
        n->bundle = SL_TAKE_PTR(s->watch.renewed);
        return 0;
    }
    if (from == SL_POLICY_FILES)
        return sl_bundle_load(s->options->policy, s->version + 1, s->slots, diag, &n->bundle);
    int r = sl_bundle_from_memfd(s->former.fd, &n->bundle);
    if (r == 0)
        sl_bundle_renumber(n->bundle, s->version + 1);
    return r;
}

/* Everything that can fail without a trace. */
static int _sl_build(struct sl_supervisor *s, enum sl_policy_from from, struct sl_next *n,
                     struct sl_diag *diag)
{
    int r = _sl_read(s, from, n, diag);
    if (r == 0)
        r = sl_snapshot_new(n->bundle, diag, &n->snapshot);
    if (r == 0)
        r = sl_policy_check(n->snapshot, diag, &n->policy);
    if (r == 0)
        r = _sl_check(s, n->snapshot, diag);
    if (r == 0 && diag->errors)
        r = -EINVAL;
    return r;
}

static int _sl_start_kernel(struct sl_supervisor *s, const struct sl_snapshot *snap)
{
    if (s->guard)
        return sl_kernel_apply(s->guard, snap);
    return s->takeover.waits ? sl_kernel_take(snap, &s->takeover.kernel, &s->guard)
                             : sl_kernel_start(snap, &s->guard);
}

/* What a rollback goes back to. The same policy applied again is no step, nor is a file that has changed;
 * after a rollback there is none. */
static void _sl_keep_former(struct sl_supervisor *s, const struct sl_snapshot *next, enum sl_policy_from from)
{
    if (from == SL_POLICY_RENEWED ||
        (from == SL_POLICY_FILES && (!s->snapshot || strcmp(s->snapshot->hash, next->hash) == 0)))
        return;
    sl_closep(&s->former.fd);
    s->former.fd = from == SL_POLICY_FORMER ? -1 : SL_TAKE_FD(s->bundle_fd);
    s->former.version = s->version;
}

static void _sl_enforce(struct sl_supervisor *s, struct sl_next *n, enum sl_policy_from from)
{
    struct sl_snapshot *old = s->snapshot;
    _sl_keep_former(s, n->snapshot, from);
    s->snapshot = SL_TAKE_PTR(n->snapshot);
    sl_snapshot_drop_ranges(s->snapshot); /* the kernel has them; a rollback reads its bundle again */
    sl_snapshot_unref(old);
    sl_closep(&s->bundle_fd);
    s->bundle_fd = SL_TAKE_FD(n->bundle_fd);
    sl_closep(&s->log_fd);
    s->log_fd = SL_TAKE_FD(n->log_fd);
    s->version++;
    sl_keys_prune(s);
    sl_sockets_commit(s);
    sl_watch_follow(s, from);
}

static void _sl_explain_kernel(const struct sl_snapshot *s, int r, struct sl_diag *diag)
{
    char why[SL_COOKIES_WHY];
    if (sl_kernel_lacks_cookies(s, why))
        sl_diag_error(diag, &s->kernel.pos, "syn_cookies: always cannot be had: %s; or write auto, or off",
                      why);
    else
        sl_diag_error(diag, &s->kernel.pos,
                      "the kernel guard could not be brought to this policy: %s (the log says more)",
                      strerror(-r));
}

static int _sl_load_here(struct sl_supervisor *s, enum sl_policy_from from, struct sl_diag *diag)
{
    struct sl_next n = {.bundle_fd = -1, .log_fd = -1};
    const uint64_t began = sl_now_ns();
    int r = _sl_build(s, from, &n, diag);
    s->reload.build_ns = sl_now_ns() - began;
    if (r == 0 && !s->children)
        r = sl_supervisor_size(s, n.snapshot);
    if (r == 0)
        r = sl_sockets_prepare(s, n.snapshot, diag);
    if (r == 0) {
        n.log_fd = _sl_open_log(n.snapshot, diag);
        r = diag->errors ? -EINVAL : 0;
    }
    if (r == 0)
        r = sl_bundle_accept(n.bundle, n.snapshot, s->slots);
    if (r == 0) {
        n.bundle_fd = sl_bundle_to_memfd(n.bundle);
        r = n.bundle_fd < 0 ? n.bundle_fd : 0;
    }
    if (r == 0) {
        r = _sl_start_kernel(s, n.snapshot);
        if (r < 0)
            _sl_explain_kernel(n.snapshot, r, diag);
    }
    if (r == 0)
        _sl_enforce(s, &n, from);
    else if (s->children)
        sl_sockets_rollback(s);
    _sl_next_free(&n);
    return r;
}

struct sl_loading {
    struct sl_supervisor *s;
    enum sl_policy_from from;
    struct sl_diag *diag;
    int r;
};
static void _sl_run_load(void *arg)
{
    struct sl_loading *l = arg;
    l->r = _sl_load_here(l->s, l->from, l->diag);
}

/* A large policy takes seconds of a CPU that a worker may have requests for. */
static int _sl_load(struct sl_supervisor *s, enum sl_policy_from from, struct sl_diag *diag)
{
    struct sl_loading l = {.s = s, .from = from, .diag = diag};
    sl_background_wait("policy", _sl_run_load, &l);
    return l.r;
}

int sl_policy_load(struct sl_supervisor *s, struct sl_diag *diag)
{
    return _sl_load(s, SL_POLICY_FILES, diag);
}

/* ---- a reload while running */

static void _sl_finish(struct sl_supervisor *s, int error, const char *text)
{
    uint64_t id = s->reload.id, trial_ns = s->reload.confirm_ns;
    bool again = s->reload.again;
    sl_reload_forget(s);
    s->up |= error == 0;
    if (!s->up) { /* the first policy, and a process cannot serve it: no version before to stay with */
        s->start_error = error;
        ev_break(s->loop, EVBREAK_ALL);
        return;
    }
    if (s->takeover.waits) { /* the first policy, beside a supervisor that serves */
        if (error == 0)
            sl_takeover_ready(s);
        sl_state_publish(s);
        return;
    }
    sl_notify("READY=1");
    if (trial_ns && error == 0)
        sl_trial_begin(s, trial_ns);
    sl_state_publish(s);
    sl_request_result(s, id, error, s->version, text);
    if (error == 0)
        sl_info("policy version %llu is in force", (unsigned long long)s->version);
    if (trial_ns && error)
        sl_trial_failed(s);
    else if (again)
        sl_reload(s, 0, 0);
}

void sl_reload_forget(struct sl_supervisor *s)
{
    ev_timer_stop(s->loop, &s->reload.deadline);
    s->reload.active = s->reload.again = false;
    s->reload.id = s->reload.confirm_ns = 0;
}

static void _sl_on_deadline(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = t->data;
    sl_warn("not every process took policy version %llu in time", (unsigned long long)s->version);
    if (s->up)
        _sl_finish(s, -ETIMEDOUT, "not every process took the policy in time");
    else /* READY=1 is said once all of them serve, not before */
        ev_timer_again(s->loop, t);
}

void sl_reload_wait(struct sl_supervisor *s, uint64_t id)
{
    s->reload.active = true;
    s->reload.id = id;
    ev_init(&s->reload.deadline, _sl_on_deadline);
    s->reload.deadline.repeat =
        SL_MIN(SL_READY_WAIT + SL_READY_TIMES * (double)s->reload.build_ns / 1e9, SL_READY_MOST);
    s->reload.deadline.data = s;
    sl_timer_again(s->loop, &s->reload.deadline);
}

void sl_reload_ready(struct sl_supervisor *s)
{
    if (!s->reload.active)
        return;
    const struct sl_child *behind = NULL;
    for (size_t i = 0; i < s->n_children; i++) {
        if (s->children[i].answered != s->version)
            return;
        if (s->children[i].serves != s->version)
            behind = &s->children[i];
    }
    if (!behind) {
        _sl_finish(s, 0, s->reload.text ? s->reload.text : "");
        return;
    }
    char text[160], name[16];
    (void)snprintf(text, sizeof(text), "%s could not take the policy%s: %s\n", sl_child_name(behind, name),
                   s->up ? " and serves the one before" : "", strerror(-behind->error));
    _sl_finish(s, behind->error, text);
}

static void _sl_log_lines(struct sl_slice text)
{
    struct sl_slice line;
    while (sl_slice_next(&text, '\n', &line))
        if (line.n)
            sl_log(memmem(line.p, line.n, ": error: ", 9) ? SL_LOG_ERROR : SL_LOG_WARNING, SL_SFMT,
                   SL_SARG(line));
}

/* Who cannot be told is ended: the next one starts with the new policy. */
static void _sl_tell(struct sl_child *c)
{
    char name[16];
    int r = c->pid ? sl_child_send_snapshot(c) : 0;
    if (r == 0)
        return;
    (void)sl_error_r(r, "%s does not take the new policy and is started anew", sl_child_name(c, name));
    (void)kill(c->pid, SIGKILL);
}

/* The policy of the files, the one before, or the one in force with other files, in force here: 0 with the
 * children told, or -errno with id answered. */
static int _sl_change(struct sl_supervisor *s, uint64_t id, enum sl_policy_from from)
{
    struct sl_diag diag;
    SL_BUF struct sl_buf text = {0};
    sl_diag_init(&diag);
    sl_notify("RELOADING=1");
    int r = _sl_load(s, from, &diag);
    if (sl_diag_print(&diag, &text) == 0)
        _sl_log_lines(sl_buf_slice(&text));
    sl_diag_free(&diag);
    if (sl_buf_append(&text, "", 1) < 0)
        sl_buf_free(&text);
    s->reload.id = id;
    if (r < 0) {
        sl_error("the policy is refused; version %llu stays in force", (unsigned long long)s->version);
        _sl_finish(s, r, text.base ? sl_buf_data(&text) : "");
        return r;
    }
    free(s->reload.text);
    s->reload.text = text.base ? strdup(sl_buf_data(&text)) : NULL;
    sl_reload_wait(s, id);
    for (size_t i = 0; i < s->n_children; i++)
        _sl_tell(&s->children[i]);
    return 0;
}

void sl_reload(struct sl_supervisor *s, uint64_t id, uint64_t confirm_ns)
{
    if (s->stopping || s->takeover.waits || sl_trial_refuses(s, id) || sl_upgrade_refuses(s, id))
        return;
    if (s->reload.active) {
        s->reload.again |= id == 0;
        sl_request_result(s, id, -EBUSY, s->version, "a reload is under way; try again when it is done");
        return;
    }
    char was[sizeof(s->snapshot->hash)];
    memcpy(was, s->snapshot->hash, sizeof(was));
    if (_sl_change(s, id, SL_POLICY_FILES) == 0 && strcmp(was, s->snapshot->hash) != 0)
        s->reload.confirm_ns = confirm_ns; /* where nothing changes there is nothing to go back to */
}

bool sl_reload_former(struct sl_supervisor *s, uint64_t id)
{
    return _sl_change(s, id, SL_POLICY_FORMER) == 0;
}

bool sl_reload_renewed(struct sl_supervisor *s)
{
    return _sl_change(s, 0, SL_POLICY_RENEWED) == 0;
}

void sl_reopen_log(struct sl_supervisor *s)
{
    struct sl_diag diag;
    sl_diag_init(&diag);
    int fd = _sl_open_log(s->snapshot, &diag);
    if (diag.errors)
        sl_error("%s; the old one stays", diag.v[0].text);
    sl_diag_free(&diag);
    if (fd < 0)
        return;
    sl_closep(&s->log_fd);
    s->log_fd = fd;
    for (size_t i = 1; i < s->n_children; i++) {
        union sl_ipc m = {.plain = {.h = {.type = SL_IPC_REOPEN}}};
        if (s->children[i].pid)
            (void)sl_ipc_send(s->children[i].ipc, &m, &fd, 1);
    }
}
