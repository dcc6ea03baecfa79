/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary upgrade as the supervisor sees it that serves: it starts the program at its own path anew, hands
 * it what must not be opened twice, and lets go once that one says that every process of it serves. Until
 * then nothing has changed here: a new one that fails is buried, and the guard is brought back to our
 * programs. takeover.c is the other side.
 *
 * Invariant: while one is under way nobody changes the guard but the new one; from GO on it is the new
 * one's for good, and this supervisor only waits for its connections to end.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SL_UPGRADE_WAIT 60.0 /* s that the new one has: loading its programs may take long */

bool sl_upgrade_refuses(struct sl_supervisor *s, uint64_t id)
{
    if (!sl_upgrade_under_way(s))
        return false;
    sl_request_result(s, id, -EBUSY, s->version, "an upgrade is under way; try again when it is done");
    return true;
}

/* ---- starting it */

/* What stands in argv[0] may be a link that is moved to a new version; /proc/self/exe is what it meant. */
static int _sl_program(const struct sl_supervisor *s, char out[PATH_MAX])
{
    const char *named = s->options->argv[0];
    if (strchr(named, '/')) {
        int n = snprintf(out, PATH_MAX, "%s", named);
        return n < PATH_MAX ? 0 : -ENAMETOOLONG;
    }
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n < 0)
        return -errno;
    out[n] = '\0';
    static const char gone[] = " (deleted)"; /* replaced: its successor has the name */
    size_t k = sizeof(gone) - 1;
    if ((size_t)n > k && strcmp(out + n - k, gone) == 0)
        out[(size_t)n - k] = '\0';
    return 0;
}

static void _sl_exec(const struct sl_supervisor *s, const char *program, int sock)
{
    char text[32];
    sigset_t none;
    (void)snprintf(text, sizeof(text), "%d:%d", sock, SL_TAKEOVER_PROTOCOL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (fcntl(sock, F_SETFD, 0) == 0 && setenv(SL_TAKEOVER_ENV, text, 1) == 0)
        (void)execv(program, s->options->argv);
    _exit(127);
}

static int _sl_fork(struct sl_supervisor *s, const char *program)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        _sl_exec(s, program, pair[1]);
    int r = pid < 0 ? -errno : 0;
    (void)close(pair[1]);
    if (r < 0)
        (void)close(pair[0]);
    else
        s->upgrade.sock = pair[0];
    s->upgrade.pid = r < 0 ? 0 : pid;
    return r;
}

/* ---- handing over */

static int _sl_hand(int sock, const struct sl_bound *b, bool admin)
{
    union sl_ipc m = {.hand = {.h = {.type = SL_IPC_HAND}, .address = b->address, .admin = admin}};
    return sl_ipc_send(sock, &m, b->fds, b->n);
}

static int _sl_hand_rest(struct sl_supervisor *s)
{
    const struct sl_kernel_handover k = sl_kernel_hand_over(s->guard);
    const int fds[] = {s->lock, s->bundle_fd, s->counters.fd, k.lock, k.buckets};
    int given[SL_ARRAY_LEN(fds)];
    union sl_ipc m = {.rest = {.h = {.type = SL_IPC_HAND_REST},
                               .version = s->version,
                               .layout = sl_counters_layout(),
                               .bucket_seed = k.bucket_seed}};
    size_t n = 0;
    for (size_t i = 0; i < SL_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0) {
            m.rest.has |= 1u << i;
            given[n++] = fds[i];
        }
    return sl_ipc_send(s->upgrade.sock, &m, given, n);
}

static int _sl_hand_all(struct sl_supervisor *s)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_bound; i++)
        r = _sl_hand(s->upgrade.sock, &s->bound[i], false);
    for (size_t i = 0; r == 0 && i < s->n_admin; i++)
        r = _sl_hand(s->upgrade.sock, &s->admin[i], true);
    if (r == 0)
        r = sl_keys_send_all(s, s->upgrade.sock);
    return r < 0 ? r : _sl_hand_rest(s);
}

/* ---- how it ends */

static void _sl_watch_no_more(struct sl_supervisor *s)
{
    ev_timer_stop(s->loop, &s->upgrade.deadline);
    ev_io_stop(s->loop, &s->upgrade.io);
    ev_child_stop(s->loop, &s->upgrade.watcher);
    s->upgrade.pid = 0;
}

static void _sl_forget(struct sl_supervisor *s)
{
    _sl_watch_no_more(s);
    if (s->upgrade.sock >= 0)
        (void)close(s->upgrade.sock);
    s->upgrade.sock = -1;
}

/* Lists of files are read anew: the snapshot in force has dropped them (sl_snapshot_drop_ranges). */
static int _sl_reclaim(struct sl_supervisor *s)
{
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *snapshot = NULL;
    struct sl_diag diag;
    sl_diag_init(&diag);
    int r = sl_bundle_from_memfd(s->bundle_fd, &bundle);
    if (r == 0)
        r = sl_snapshot_new(bundle, &diag, &snapshot);
    if (r == 0)
        r = sl_kernel_reclaim(s->guard, snapshot);
    sl_diag_free(&diag);
    sl_bundle_free(bundle);
    sl_snapshot_unref(snapshot);
    return r;
}

static void _sl_failed(struct sl_supervisor *s, int error, const char *text)
{
    uint64_t id = s->upgrade.id;
    if (s->upgrade.pid) {
        (void)kill(s->upgrade.pid, SIGKILL); /* its children go with it (PR_SET_PDEATHSIG) */
        (void)waitpid(s->upgrade.pid, NULL, 0);
    }
    _sl_forget(s);
    sl_error("the upgrade failed: %.*s; this one serves on", (int)strcspn(text, "\n"), text);
    if (_sl_reclaim(s) < 0)
        sl_error("the guard could not be brought back whole: apply the policy again");
    sl_state_publish(s);
    sl_request_result(s, id, error, s->version, text);
}

static void _sl_on_deadline(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    _sl_failed(t->data, -ETIMEDOUT, "the new sluiced was not ready in time\n");
}

/* It serves. The order: the service manager hears who is the main process before that one speaks to it; the
 * asking client has its answer before the controller goes. */
static void _sl_let_go(struct sl_supervisor *s)
{
    char main_pid[32];
    union sl_ipc go = {.plain = {.h = {.type = SL_IPC_GO}}};
    pid_t pid = s->upgrade.pid;
    (void)snprintf(main_pid, sizeof(main_pid), "MAINPID=%d", (int)pid);
    sl_notify(main_pid);
    if (sl_ipc_send(s->upgrade.sock, &go, NULL, 0) < 0) {
        (void)snprintf(main_pid, sizeof(main_pid), "MAINPID=%d", (int)getpid());
        sl_notify(main_pid);
        _sl_failed(s, -EPIPE, "the new sluiced died when it was to take over\n");
        return;
    }
    sl_request_result(s, s->upgrade.id, 0, (uint64_t)pid, NULL);
    _sl_watch_no_more(s); /* the socket stays open: its end says that nothing counts here any more */
    sl_info("pid %d has taken over; draining", (int)pid);
    s->handed = true;
    sl_supervisor_drain(s);
}

static void _sl_on_message(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = io->data;
    union sl_ipc m;
    int fd = -1;
    size_t n = 1;
    int r = sl_ipc_recv(s->upgrade.sock, &m, &fd, &n);
    if (r == 0)
        return;
    if (r == -EPIPE) { /* SIGCHLD tells how */
        ev_io_stop(s->loop, io);
        return;
    }
    if (r < 0 || m.h.type != SL_IPC_TAKEN) {
        _sl_failed(s, -EPROTO, "the new sluiced says what this one does not understand\n");
    } else if (m.result.error == 0) {
        _sl_let_go(s);
    } else {
        struct sl_slice text = SL_SLICE_NUL;
        SL_FREE char *copy = n && sl_memfd_map(fd, &text) == 0 && text.n ? strndup(text.p, text.n) : NULL;
        _sl_failed(s, m.result.error, copy ? copy : "the new sluiced could not start; its log says why\n");
        if (text.p)
            (void)munmap((void *)(uintptr_t)text.p, text.n);
    }
    sl_closep(&fd);
}

static void _sl_on_exit(struct ev_loop *loop, ev_child *w, int events)
{
    (void)events;
    struct sl_supervisor *s = w->data;
    char text[160];
    ev_child_stop(loop, w);
    s->upgrade.pid = 0;
    if (ev_is_active(&s->upgrade.io)) /* its last words may be there already */
        _sl_on_message(loop, &s->upgrade.io, EV_READ);
    if (s->upgrade.sock < 0)
        return;
    if (WIFEXITED(w->rstatus) && WEXITSTATUS(w->rstatus) == 127)
        (void)snprintf(text, sizeof(text),
                       "the new sluiced cannot be run: is the program there, and whole?\n");
    else
        (void)snprintf(text, sizeof(text), "the new sluiced %s %d before it was ready; its log says why\n",
                       WIFSIGNALED(w->rstatus) ? "died of signal" : "ended with code",
                       WIFSIGNALED(w->rstatus) ? WTERMSIG(w->rstatus) : WEXITSTATUS(w->rstatus));
    _sl_failed(s, -ECHILD, text);
}

static const char *_sl_why_not(const struct sl_supervisor *s)
{
    if (s->stopping)
        return "sluiced is stopping\n";
    if (s->reload.active)
        return "a reload is under way; try again when it is done\n";
    if (s->trial.waits)
        return "the policy in force waits to be confirmed: `sluicectl confirm` or `rollback` first\n";
    if (getpid() == 1)
        return "sluiced is the first process of its container, which ends with it: replace the container\n";
    return NULL;
}

void sl_upgrade(struct sl_supervisor *s, uint64_t id)
{
    char program[PATH_MAX] = "";
    const char *why = _sl_why_not(s);
    if (!why && sl_upgrade_refuses(s, id))
        return;
    if (why) {
        sl_warn("no upgrade: %.*s", (int)strcspn(why, "\n"), why);
        sl_request_result(s, id, -EBUSY, s->version, why);
        return;
    }
    s->upgrade.id = id;
    s->upgrade.waits = ev_is_active(&s->last_call); /* whom it lets in no worker of another's would serve */
    if (s->upgrade.waits)
        return;
    int r = _sl_program(s, program);
    if (r == 0)
        r = _sl_fork(s, program);
    if (r < 0) {
        s->upgrade.pid = 0;
        (void)sl_error_r(r, "no upgrade: starting %s", program);
        sl_request_result(s, id, r, s->version, "the new sluiced could not be started\n");
        return;
    }
    sl_info("upgrade: pid %d is %s", (int)s->upgrade.pid, program);
    ev_child_init(&s->upgrade.watcher, _sl_on_exit, s->upgrade.pid, 0);
    ev_io_init(&s->upgrade.io, _sl_on_message, s->upgrade.sock, EV_READ);
    ev_timer_init(&s->upgrade.deadline, _sl_on_deadline, SL_UPGRADE_WAIT, 0);
    s->upgrade.watcher.data = s->upgrade.io.data = s->upgrade.deadline.data = s;
    ev_child_start(s->loop, &s->upgrade.watcher);
    ev_io_start(s->loop, &s->upgrade.io);
    ev_timer_start(s->loop, &s->upgrade.deadline);
    r = _sl_hand_all(s);
    if (r < 0 && r != -EPIPE) /* it died already: SIGCHLD tells how */
        _sl_failed(s, r, "what the new sluiced needs could not be handed to it\n");
}

void sl_upgrade_go_on(struct sl_supervisor *s)
{
    if (!s->upgrade.waits)
        return;
    s->upgrade.waits = false;
    sl_upgrade(s, s->upgrade.id);
}

void sl_upgrade_stop(struct sl_supervisor *s)
{
    static const char text[] = "sluiced was told to stop\n";
    if (s->upgrade.pid)
        _sl_failed(s, -ECANCELED, text);
    else if (s->upgrade.waits)
        sl_request_result(s, s->upgrade.id, -ECANCELED, s->version, text);
    s->upgrade.waits = false;
}
