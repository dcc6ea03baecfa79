/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller and the workers as processes: forked, stripped of privilege before they read a byte, started
 * again when they die. A child that dies at once again and again is started more slowly, and said so.
 */
#include "supervisor/supervisor_priv.h"

#include "base/clock.h"
#include "control/control.h"
#include "gateway/gateway.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define SL_FILES 1048576 /* descriptors of one child, where the host lets us */

const char *sl_child_name(const struct sl_child *c, char out[16])
{
    if (c->index < 0)
        (void)snprintf(out, 16, "controller");
    else
        (void)snprintf(out, 16, "worker %u", (unsigned)c->index % 1000);
    return out;
}

/* ---- in the child */

/* Descriptors that we may have; 0: not known. */
static unsigned _sl_limits(void)
{
    struct rlimit none = {0, 0}, files, want = {SL_FILES, SL_FILES};
    (void)setrlimit(RLIMIT_CORE, &none); /* a core holds keys */
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return 0;
    if (files.rlim_max < SL_FILES && setrlimit(RLIMIT_NOFILE, &want) == 0)
        return SL_FILES;
    const unsigned before = (unsigned)SL_MIN(files.rlim_cur, (rlim_t)UINT32_MAX);
    files.rlim_cur = files.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &files) < 0 ? before
                                                : (unsigned)SL_MIN(files.rlim_max, (rlim_t)UINT32_MAX);
}

/*
 * What of the guard a child may hold. A descriptor of a map writes to it, whatever the process's privileges,
 * so that a worker gets none but the sockets' storage; the controller gets what it reads, and its filter has
 * no command that writes.
 */
static struct sl_kernel_fds _sl_guard_fds(const struct sl_child *c)
{
    struct sl_kernel_fds all = sl_kernel_fds(c->s->guard), none = SL_KERNEL_NO_FDS;
    if (c->index >= 0) {
        none.socket_storage = all.socket_storage;
        return none;
    }
    all.buckets = all.socket_storage = all.lists4 = all.lists6 = -1;
    return all;
}

static void _sl_pin(int index)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return;
    int want = index % CPU_COUNT(&allowed), cpu = 0;
    for (; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && want-- == 0)
            break;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

/* All descriptors but standard ones and these are closed, so that no child holds another's socket or a BPF
 * link. */
static int _sl_keep_only(const int *keep, size_t n)
{
    for (unsigned from = 3;;) {
        unsigned next = ~0u;
        for (size_t i = 0; i < n; i++)
            if (keep[i] >= (int)from && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > from && close_range(from, next - 1, 0) < 0)
            return -errno;
        if (next == ~0u)
            return 0;
        from = next + 1;
    }
}

static void _sl_default_signals(void)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t none;
    for (size_t i = 0; i < SL_ARRAY_LEN(ours); i++)
        (void)signal(ours[i], SIG_DFL);
    (void)signal(SIGPIPE, SIG_IGN);
    /* Ctrl-C goes to the whole group: the supervisor decides how its children end */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int _sl_become(const struct sl_child *c, const struct sl_kernel_fds *k, const char *name,
                      unsigned *files)
{
    const struct sl_supervisor *s = c->s;
    const int keep[] = {
        c->ipc,       s->counters.fd, k->socket_storage, k->reasons, k->listener_stats, k->consumer_bytes,
        k->penalties, k->samples,     k->sampled,        k->top};
    (void)prctl(PR_SET_NAME, name);
    sl_log_setup(name, s->options->log_level);
    _sl_default_signals();
    *files = _sl_limits();
    if (c->index >= 0)
        _sl_pin(c->index);
    int r = _sl_keep_only(keep, SL_ARRAY_LEN(keep));
    if (r == 0)
        r = sl_privilege_drop(s);
    /* after the change of uid, which clears it */
    if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        r = -errno;
    if (r == 0)
        r = sl_seccomp_install(c->index >= 0);
    return r;
}

/* The bucket table, with what of it is shared with other hosts: mapped once, so that every child counts in
 * the same place. */
static struct sl_bucket_table _sl_buckets(struct sl_supervisor *s)
{
    struct sl_bucket_table t = sl_kernel_buckets(s->guard);
    if (!s->shares.v && sl_shares_new(t.n, &s->shares) < 0)
        sl_error("no room to share limits with other hosts: they are local");
    if (s->shares.v && s->shares.n >= t.n)
        t.shares = &s->shares;
    return t;
}

/* What other hosts show this one by: of the characters that names of the policy may have. */
static void _sl_host_name(char *out, size_t room)
{
    if (gethostname(out, room) < 0)
        out[0] = '\0';
    out[room - 1] = '\0';
    for (char *c = out; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            *c = '-';
    if (!*out)
        (void)snprintf(out, room, "unknown");
}

static int _sl_child_main(const struct sl_child *c, pid_t parent)
{
    char name[16];
    struct sl_supervisor *s = c->s;
    struct sl_kernel_fds k = _sl_guard_fds(c);
    const struct sl_bucket_table buckets = _sl_buckets(s);
    struct sl_worker_args w = {.ipc_fd = c->ipc,
                               .index = (unsigned)c->index,
                               .counters = s->counters,
                               .kernel = k,
                               .buckets = buckets};
    struct sl_control_args a = {
        .ipc_fd = c->ipc, .counters = s->counters, .kernel = k, .buckets = buckets, .owner = s->owner};
    _sl_host_name(a.host, sizeof(a.host));
    int r = _sl_become(c, &k, sl_child_name(c, name), &w.files);
    if (r < 0)
        return sl_error_r(r, "dropping privileges"), 1;
    if (getppid() != parent) /* it died before PDEATHSIG was set */
        return 1;
    if (c->index >= 0)
        return sl_worker_run(&w);
    return sl_control_run(&a);
}

/* ---- in the supervisor */

static void _sl_on_ipc(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    struct sl_child *c = io->data;
    union sl_ipc m;
    for (int budget = 256; budget && c->ipc >= 0; budget--) {
        SL_CLOSE int fd = -1;
        size_t n = 1;
        int r = sl_ipc_recv(c->ipc, &m, &fd, &n);
        if (!n)
            fd = -1; /* closed already, where the message was refused */
        if (r == 0)
            return;
        if (r > 0)
            r = sl_request_serve(c, &m, fd);
        if (r >= 0)
            continue;
        char name[16];
        if (r != -EPIPE && c->pid) {
            (void)sl_error_r(r, "%s sent what it has no business to send: it is ended",
                             sl_child_name(c, name));
            (void)kill(c->pid, SIGKILL);
        }
        ev_io_stop(c->s->loop, io); /* its death is heard of by SIGCHLD */
        return;
    }
}

static void _sl_drain(struct sl_child *c)
{
    union sl_ipc m = {.drain = {.h = {.type = SL_IPC_DRAIN},
                                .deadline_ns = sl_now_ns() + c->s->snapshot->drain_timeout,
                                .patient = c->s->handed}};
    if (c->pid && sl_ipc_send(c->ipc, &m, NULL, 0) < 0)
        (void)kill(c->pid, SIGKILL);
}

/* While stopping: metrics and health answer until the last worker has drained, so the controller goes last.
 * Who has handed over stays until the one before him has gone too, whose figures go on through his.
 */
void sl_children_ended(struct sl_supervisor *s)
{
    for (size_t i = 1; i < s->n_children; i++)
        if (s->children[i].pid)
            return;
    if (s->children[0].pid && !s->handed)
        _sl_drain(&s->children[0]);
    else if (!s->children[0].pid && !(s->handed && s->takeover.former.blocks))
        ev_break(s->loop, EVBREAK_ALL);
}

static void _sl_on_restart(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    struct sl_child *c = t->data;
    if (!c->s->stopping && !c->pid && sl_child_start(c) < 0 && !c->pid)
        ev_timer_again(c->s->loop, &c->restart);
}

static void _sl_on_death(struct ev_loop *loop, ev_child *w, int events)
{
    (void)events;
    struct sl_child *c = w->data;
    struct sl_supervisor *s = c->s;
    char name[16];
    ev_child_stop(loop, w);
    ev_io_stop(loop, &c->io);
    (void)close(c->ipc);
    c->ipc = -1;
    c->pid = 0;
    if (c->index >= 0) /* requests that it had under way are none any more */
        sl_flights_forget(&s->counters.shared->flights, (uint32_t)c->index);
    if (s->stopping) {
        sl_children_ended(s);
        return;
    }
    if (WIFSIGNALED(w->rstatus))
        sl_error("%s (pid %d) died of signal %d", sl_child_name(c, name), w->rpid, WTERMSIG(w->rstatus));
    else
        sl_error("%s (pid %d) ended with code %d", sl_child_name(c, name), w->rpid, WEXITSTATUS(w->rstatus));
    bool quick = sl_now_ns() - c->started_ns < SL_NS_PER_SEC;
    c->quick_deaths = quick ? c->quick_deaths + 1 : 0;
    c->restarts++;
    if (c->quick_deaths > SL_RESTART_FAST || (sl_child_start(c) < 0 && !c->pid))
        ev_timer_again(loop, &c->restart);
    sl_reload_ready(s); /* a reload does not wait for the dead */
}

int sl_child_start(struct sl_child *c)
{
    int pair[2];
    char name[16];
    struct sl_supervisor *s = c->s;
    ev_timer_stop(s->loop, &c->restart);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return sl_error_r(-errno, "a socket pair for %s", sl_child_name(c, name));
    (void)_sl_buckets(s); /* made before the first fork */
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        c->ipc = pair[1];
        _exit(_sl_child_main(c, parent));
    }
    (void)close(pair[1]);
    if (pid < 0) {
        int r = -errno;
        (void)close(pair[0]);
        return sl_error_r(r, "forking %s", sl_child_name(c, name));
    }
    c->pid = pid;
    c->ipc = pair[0];
    c->serves = c->answered = 0;
    c->started_ns = sl_now_ns();
    ev_io_init(&c->io, _sl_on_ipc, c->ipc, EV_READ);
    c->io.data = c;
    ev_io_start(s->loop, &c->io);
    ev_child_init(&c->watcher, _sl_on_death, pid, 0);
    c->watcher.data = c;
    ev_child_start(s->loop, &c->watcher);
    ev_init(&c->restart, _sl_on_restart);
    c->restart.repeat = SL_RESTART_DELAY;
    c->restart.data = c;
    sl_errands_pair(c);
    int r = sl_child_send_snapshot(c);
    sl_state_publish(s);
    if (r < 0) {
        (void)kill(pid, SIGKILL); /* its death starts the next one */
        return sl_error_r(r, "sending the policy to %s", sl_child_name(c, name));
    }
    return 0;
}

int sl_child_send_snapshot(struct sl_child *c)
{
    struct sl_supervisor *s = c->s;
    int fds[SL_IPC_MAX_FDS] = {s->bundle_fd};
    union sl_ipc m = {.snapshot = {.h = {.type = SL_IPC_SNAPSHOT},
                                   .version = s->version,
                                   .hold = s->takeover.waits,
                                   .last_call = ev_is_active(&s->last_call) != 0}};
    int n = sl_sockets_for(s, c, fds + 1, m.snapshot.more, SL_IPC_MAX_FDS - 1);
    if (n < 0)
        return n;
    m.snapshot.n_sockets = (uint32_t)n;
    int r = c->index >= 0 ? sl_keys_send_all(s, c->ipc)
                          : 0; /* first, so that no token meets a policy without keys */
    if (r == 0)
        r = sl_ipc_send(c->ipc, &m, fds, (size_t)n + 1);
    if (r == 0 && c->index < 0)
        r = sl_keys_send_all(s, c->ipc); /* of the controller before it; one that has some knows better */
    if (r == 0 && s->log_fd >= 0 && c->index >= 0) {
        union sl_ipc log = {.plain = {.h = {.type = SL_IPC_REOPEN}}};
        r = sl_ipc_send(c->ipc, &log, &s->log_fd, 1);
    }
    return r;
}

void sl_children_last_called(struct sl_supervisor *s)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_LAST_CALLED}}};
    for (size_t i = 1; i < s->n_children; i++)
        if (s->children[i].pid && sl_ipc_send(s->children[i].ipc, &m, NULL, 0) < 0)
            (void)kill(s->children[i].pid, SIGKILL); /* the next one has none of them */
}

void sl_children_drain(struct sl_supervisor *s)
{
    for (size_t i = 0; i < s->n_children; i++) {
        ev_timer_stop(s->loop, &s->children[i].restart);
        if (i > 0 || s->handed) /* the admin's clients are another controller's */
            _sl_drain(&s->children[i]);
    }
    sl_children_ended(s);
}

void sl_children_kill(struct sl_supervisor *s)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i].pid)
            (void)kill(s->children[i].pid, SIGKILL);
}
