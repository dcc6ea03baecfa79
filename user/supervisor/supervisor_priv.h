/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's state, and what its files do for one another. */
#ifndef SL_SUPERVISOR_SUPERVISOR_PRIV_H
#define SL_SUPERVISOR_SUPERVISOR_PRIV_H

#include "base/bucket.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/share.h"
#include "config/config.h"
#include "kernel/kernel.h"
#include "net/ipc.h"
#include "supervisor/supervisor.h"
#include "telemetry/counters.h"
#include <ev.h>
#include <sys/types.h>

#define SL_RESTART_FAST  3   /* deaths within a second of the start before restarts are held back */
#define SL_RESTART_DELAY 1.0 /* s */

struct sl_supervisor;

/* The controller or a worker. Its place outlives the process: sockets and counters stay for the next one. */
struct sl_child {
    struct sl_supervisor *s;
    int index; /* of the worker; -1: the controller */
    pid_t pid; /* 0: not running */
    int ipc;   /* our end, -1 while not running */
    uint64_t started_ns;
    unsigned quick_deaths, restarts;
    uint64_t serves;   /* version in force there */
    uint64_t answered; /* version of its last READY */
    int error;         /* of that READY */
    __u64 asked;       /* GCRA bucket of its requests */
    ev_io io;
    ev_child watcher;
    ev_timer restart;
};

/* The listening sockets of one bind address: one a worker (SO_REUSEPORT), or one for the admin's. */
struct sl_bound {
    struct sl_sockaddr address;
    int *fds; /* [n]: a worker's own is that of its index; after an upgrade from more workers each has several
               */
    size_t n;
    size_t listening; /* the first so many; the others as soon as the supervisor before has let go */
    bool wanted;      /* by the policy that is being applied */
    bool gone;        /* by none any more: open until the last call is over */
    bool kept;        /* a unix socket's file outlives us */
};

/* ---- a binary upgrade: upgrade.c is the side that hands over, takeover.c the one that takes */
#define SL_TAKEOVER_ENV      "SLUICE_TAKEOVER" /* "FD:PROTOCOL" */
#define SL_TAKEOVER_PROTOCOL 2                 /* raised with any change of the messages between them */

struct sl_takeover {
    bool waits; /* for GO: nothing is accepted yet */
    int sock;   /* to the supervisor before, until it is gone; -1: none */
    ev_io io;
    int bundle_fd, counters_fd;
    uint64_t layout;
    struct sl_kernel_handover kernel;
    struct sl_counters former; /* its region while it drains; blocks NULL: none */
};

/* Fetched keys as the controller sent them last. */
struct sl_kept_keys {
    uint64_t source; /* 0: free */
    uint64_t deadline_ns, fetched_ns;
    int fd; /* sealed memfd; -1: none yet */
};

/* Where the bytes of a policy come from. */
enum sl_policy_from {
    SL_POLICY_FILES,
    SL_POLICY_FORMER,  /* kept of the one before */
    SL_POLICY_RENEWED, /* those in force, with certificates and keys as they stand now (watch.c) */
};

/* A file whose change alone is taken over, as it was when it was looked at last. */
struct sl_watched {
    const char *path;     /* of the snapshot in force, as is data */
    struct sl_slice data; /* what it held when it was read */
    struct {
        uint64_t dev, ino, size;
        int64_t s, ns; /* of its last change */
    } seen;            /* zeroed: not looked at yet */
};
struct sl_watch {
    int fd; /* inotify; -1: none to be had */
    ev_io io;
    ev_timer settle, look;
    struct sl_watched *files;
    size_t n;
    struct sl_bundle *renewed; /* for sl_reload_renewed, owned until then */
};

struct sl_supervisor {
    const struct sl_supervisor_options *options;
    char state_dir[256];
    char kept_dir[256]; /* of what outlives a restart: the same, but where that is in memory */
    int lock;
    struct ev_loop *loop;
    struct sl_slots *slots;
    struct sl_snapshot *snapshot;
    int bundle_fd; /* memfd of the policy in force */
    uint64_t version;
    struct sl_kernel_guard *guard;
    struct sl_counters counters;
    struct {              /* limits.state */
        uint64_t next_ns; /* it is not written before */
        bool empty, failed;
        uint64_t evidence_ns; /* evidence.state is not written before */
        uint64_t lists;       /* of what stands in lists.state; 0: not written yet */
        bool lists_failed;
    } kept;
    struct sl_shares shares; /* v NULL: not made yet */
    struct sl_bound *bound;
    size_t n_bound;
    struct sl_sockaddr admin_default; /* in the state directory */
    struct sl_bound *admin;
    size_t n_admin;
    struct sl_child *children; /* [1 + workers]: the controller, then the workers */
    size_t n_children;
    struct sl_kept_keys keys[SL_REMOTE_MAX];
    uid_t uid; /* what children become; 0 with drop false: they stay who they are */
    gid_t gid;
    bool drop;
    uid_t owner; /* who started us: may change things by the admin socket */
    int log_fd;  /* access log; -1: none or standard output */
    bool up;     /* every child has served a policy */
    bool stopping;
    bool handed;     /* another supervisor serves: this one drains */
    int start_error; /* -errno: no process could serve the first policy */
    ev_signal sigterm, sigint, sighup, sigusr1, sigusr2;
    ev_timer sweep, last_call, kill, watchdog;
    ev_io netlink;
    struct { /* a reload waits for every child's READY */
        bool active;
        bool again;          /* SIGHUP came meanwhile */
        uint64_t id;         /* of the controller's request; 0: SIGHUP, or the start */
        char *text;          /* warnings of the policy being applied; owned */
        uint64_t confirm_ns; /* it is on trial for that long; 0: for good */
        uint64_t build_ns;   /* what reading and compiling it took */
        ev_timer deadline;
    } reload;
    struct sl_takeover takeover;
    struct {
        pid_t pid; /* of the new supervisor until it serves; 0: none is under way */
        int sock;
        uint64_t id; /* of the controller's request; 0: SIGUSR2 */
        bool waits;  /* for the end of a last call, to begin */
        ev_io io;
        ev_child watcher;
        ev_timer deadline;
    } upgrade;
    struct {    /* the policy before the one in force, as its bundle; one level */
        int fd; /* memfd; -1: there is none */
        uint64_t version;
    } former;
    struct { /* the policy in force stays only where it is confirmed in time */
        bool waits;
        uint64_t deadline_ns;
        ev_timer timer;
    } trial;
    struct sl_watch watch;
};

/* state.c */
int sl_state_open(struct sl_supervisor *s);
/* Writes our pid beside the lock. 0 or -errno (logged). */
int sl_state_own(const struct sl_supervisor *s);
/* Tells the controller what only the supervisor knows. */
void sl_state_publish(struct sl_supervisor *s);

/* kept.c: what is left of limits and penalties, over a restart and a reboot */
void sl_kept_load(struct sl_supervisor *s);
void sl_kept_save(struct sl_supervisor *s);
/* Where a file of kept_dir stands. 0 or -ENAMETOOLONG. */
int sl_kept_path(const struct sl_supervisor *s, const char *name, const char *suffix, char out[300]);
/* Writes one whole, under another name first; with sync, of the two the disk has one or the other, whatever
 * happens. 0 or -errno. */
int sl_kept_replace(const struct sl_supervisor *s, const char *name, const struct sl_buf *b, bool sync);
/* Renames one that is wrong, which may be of a version that comes back or tell what damaged it, and warns of
 * what is lost. */
void sl_kept_lay_aside(const struct sl_supervisor *s, const char *name, const char *wrong, const char *lost);
/* Reads one of at most so many bytes into out, its first n into head where it has as many, and says its path.
 * 0, -ENOENT, or another -errno. */
int sl_kept_read(const struct sl_supervisor *s, const char *name, size_t most, void *head, size_t n,
                 struct sl_buf *out, char path[300]);

/* kept_evidence.c: what limits are proposed of, likewise; saved now and then, or where it is the last time */
void sl_kept_evidence_load(struct sl_supervisor *s);
void sl_kept_evidence_save(struct sl_supervisor *s);

/* kept_lists.c: what operators have denied and allowed, likewise; saved where it has changed */
void sl_kept_lists_load(struct sl_supervisor *s);
void sl_kept_lists_save(struct sl_supervisor *s);

/* privilege.c: whom children become, and becoming it. */
int sl_privilege_resolve(struct sl_supervisor *s, const char *user);
/* In a child, after which nothing can be got back. 0 or -errno. */
int sl_privilege_drop(const struct sl_supervisor *s);

/* seccomp.c: last of all, for the rest of the process's life. 0 or -errno. */
int sl_seccomp_install(bool worker);

/* sockets.c: opens what a snapshot wants beside what is open; commit closes what is no longer wanted, or,
 * where somebody has connected to it and said nothing yet, begins a last call; rollback closes what was newly
 * opened. */
int sl_sockets_prepare(struct sl_supervisor *s, const struct sl_snapshot *snap, struct sl_diag *diag);
void sl_sockets_commit(struct sl_supervisor *s);
void sl_sockets_rollback(struct sl_supervisor *s);
/* At once what is not wanted, but for what is in its last call. */
void sl_sockets_sweep(struct sl_supervisor *s);
/* Descriptors for a child, in the order of (listener, bind), or of admin.bind; more[k]: those of the k-th
 * address beyond its first. How many, or -E2BIG. */
int sl_sockets_for(const struct sl_supervisor *s, const struct sl_child *c, int *fds, uint8_t *more,
                   size_t max);
/* Those that did not listen while the supervisor before served. */
void sl_sockets_listen(struct sl_supervisor *s);
void sl_sockets_close(struct sl_supervisor *s);
/* Who has connected, to all addresses or to those that have just lost their listener, and said nothing yet is
 * to be accepted in the next SL_SILENT_SECONDS. False: there is nobody. */
bool sl_sockets_last_call(const struct sl_supervisor *s, bool all);
/* The last call of those without a listener is over. */
void sl_sockets_close_gone(struct sl_supervisor *s);
/* All but the admin's: while this process holds one, clients still connect to it. */
void sl_sockets_close_listeners(struct sl_supervisor *s);

/* child.c */
int sl_child_start(struct sl_child *c);
int sl_child_send_snapshot(struct sl_child *c);
/* "controller", "worker 3" */
const char *sl_child_name(const struct sl_child *c, char out[16]);
/* What a policy before has left open to the workers is closed. */
void sl_children_last_called(struct sl_supervisor *s);
void sl_children_drain(struct sl_supervisor *s);
void sl_children_kill(struct sl_supervisor *s);
/* While stopping: ends the loop once nobody is left. */
void sl_children_ended(struct sl_supervisor *s);

/* Starts a timer of that repeat from now: what came before in this turn, building a policy, may have taken
 * seconds. */
static inline void sl_timer_again(struct ev_loop *loop, ev_timer *t)
{
    ev_now_update(loop);
    ev_timer_again(loop, t);
}

/* supervisor.c: makes room for the snapshot's children and their counters. 0 or -errno. */
int sl_supervisor_size(struct sl_supervisor *s, const struct sl_snapshot *snap);
/* Sockets that are to be closed stay open until all have been accepted who have connected so far: then the
 * drain begins, or those without a listener go. */
void sl_supervisor_last_call(struct sl_supervisor *s);
/* Lets connections end, then the children, then the loop. */
void sl_supervisor_drain(struct sl_supervisor *s);

/* upgrade.c */
void sl_upgrade(struct sl_supervisor *s, uint64_t id);
static inline bool sl_upgrade_under_way(const struct sl_supervisor *s)
{
    return s->upgrade.pid || s->upgrade.waits;
}
/* What other changes are answered while one is under way; false: none is. */
bool sl_upgrade_refuses(struct sl_supervisor *s, uint64_t id);
/* One that was asked for in a last call begins. */
void sl_upgrade_go_on(struct sl_supervisor *s);
void sl_upgrade_stop(struct sl_supervisor *s);

/* takeover.c */
/* Takes what is handed over where sluiced was started for that. 0 or -errno (logged). */
int sl_takeover_begin(struct sl_supervisor *s) SL_MUST_CHECK;
/* The slots go on, before the policy gives out new ones; 0 or -ENOMEM. */
int sl_takeover_slots(struct sl_supervisor *s) SL_MUST_CHECK;
/* What was counted goes on, once there are counters. */
void sl_takeover_counters(struct sl_supervisor *s);
/* What the processes before count while they drain; drains false: a last time. */
void sl_takeover_follow(struct sl_supervisor *s, bool drains);
/* Every process serves, but for accepting. */
void sl_takeover_ready(struct sl_supervisor *s);
void sl_takeover_failed(struct sl_supervisor *s, int error, const char *text);
void sl_takeover_close(struct sl_supervisor *s);

/* reload.c */
int sl_policy_load(struct sl_supervisor *s, struct sl_diag *diag);
/* confirm_ns other than 0: on trial for that long (confirm.c). */
void sl_reload(struct sl_supervisor *s, uint64_t id, uint64_t confirm_ns);
/* The policy before comes back, as a new version. False, with id answered: there is none, or it cannot be had
 * any more (the log says why). */
bool sl_reload_former(struct sl_supervisor *s, uint64_t id);
/* watch.renewed comes into force, as a new version that is no step for a rollback. False: it cannot (the log
 * says why). */
bool sl_reload_renewed(struct sl_supervisor *s);
/* Waits for every child's READY, and answers the request of that id (0: nobody asked). */
void sl_reload_wait(struct sl_supervisor *s, uint64_t id);
void sl_reload_ready(struct sl_supervisor *s);
/* Nothing is waited for any more: the daemon stops. */
void sl_reload_forget(struct sl_supervisor *s);
/* SIGUSR1: the access log moved away is left, a new one opened. */
void sl_reopen_log(struct sl_supervisor *s);

/* watch.c: from now on, the files of the snapshot in force. */
void sl_watch_follow(struct sl_supervisor *s, enum sl_policy_from from);
void sl_watch_close(struct sl_supervisor *s);

/* confirm.c: a policy on trial */
#define SL_TRIAL_MIN_NS SL_NS_PER_SEC
#define SL_TRIAL_MAX_NS (86400 * SL_NS_PER_SEC)
void sl_trial_begin(struct sl_supervisor *s, uint64_t ns);
void sl_trial_end(struct sl_supervisor *s);
/* What a reload is answered while a policy is on trial; false: none is. */
bool sl_trial_refuses(struct sl_supervisor *s, uint64_t id);
void sl_trial_confirm(struct sl_supervisor *s, uint64_t id);
void sl_trial_rollback(struct sl_supervisor *s, uint64_t id);
/* The policy on trial could not be served by all: back at once. */
void sl_trial_failed(struct sl_supervisor *s);

/* keys.c */
/* Keeps and relays; fd is borrowed, -1: none came. 0, or -EPERM: a descriptor that is no sealed text. */
int sl_keys_fetched(struct sl_supervisor *s, const struct sl_ipc_keys *k, int fd) SL_MUST_CHECK;
void sl_keys_unknown(struct sl_supervisor *s, const struct sl_ipc_wanted *w);
/* To a child that has none yet (a worker, before its first policy; the controller, after it), and as they
 * are, with their ends, to the supervisor that takes over. 0 or -errno. */
int sl_keys_send_all(const struct sl_supervisor *s, int sock) SL_MUST_CHECK;
/* What the one that takes over makes of each: 0 or -errno; fd becomes ours with 0. */
int sl_keys_take_over(struct sl_supervisor *s, const struct sl_ipc_keys *k, int fd) SL_MUST_CHECK;
/* Forgets those that the policy in force does not fetch (NULL: all). */
void sl_keys_prune(struct sl_supervisor *s);

/* errands.c: the pairs over which workers have the controller ask servers, once a child is there that has
 * none yet. Neither end stays here. */
void sl_errands_pair(const struct sl_child *c);

/* requests.c */
/* fd: what came with it, borrowed; -1: nothing. 0, or -EPERM: a message that this child has no business to
 * send.
 */
int sl_request_serve(struct sl_child *c, const union sl_ipc *m, int fd) SL_MUST_CHECK;
void sl_request_result(struct sl_supervisor *s, uint64_t id, int error, uint64_t value, const char *text);

/* shared.c: penalties and timed denies that other hosts are to have, and theirs */
/* After a worker's penalty was added, at begun or later. */
void sl_shared_tell_penalty(struct sl_supervisor *s, const struct sl_penalty_request *r, uint64_t begun);
/* After an operator's entry was. */
void sl_shared_tell_list(struct sl_supervisor *s, const struct sl_ipc_list *l);
/* Puts in or takes back what another host has, and answers: 0; -EEXIST: what stands is as strong; -EPERM:
 * this host protects the source; -EBUSY: ask again; or another -errno. */
void sl_shared_take(struct sl_supervisor *s, const struct sl_ipc_shared *m);

/* notify.c: sd_notify(3) over $NOTIFY_SOCKET; without it, nothing. */
void sl_notify(const char *text);
/* Half of $WATCHDOG_USEC in seconds; 0: no watchdog. */
double sl_notify_watchdog(void);

#endif
