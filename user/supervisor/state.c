/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: a lock, so that two supervisors never share a guard, and the default admin socket's
 * place. And what the controller is told of processes and attachments. */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define SL_KEPT_DIR    "/var/lib/sluice"
#define SL_DENIES_TOLD 512 /* of the operators' entries, so many are looked at */

static int _sl_choose(struct sl_supervisor *s)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    int n;
    if (s->options->state)
        n = snprintf(s->state_dir, sizeof(s->state_dir), "%s", s->options->state);
    else if (geteuid() == 0)
        n = snprintf(s->state_dir, sizeof(s->state_dir), "/run/sluice");
    else
        n = snprintf(s->state_dir, sizeof(s->state_dir), "%s/sluice", run ? run : "/tmp");
    return n < 0 || (size_t)n >= sizeof(s->state_dir) ? -ENAMETOOLONG : 0;
}

static bool _sl_of_this_user_alone(const char *dir)
{
    struct stat st;
    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* The default in /tmp: whoever made it first could put a socket of his own in our socket's place. */
static int _sl_ours(const struct sl_supervisor *s)
{
    if (s->options->state || _sl_of_this_user_alone(s->state_dir)) /* the operator's choice, or ours */
        return 0;
    sl_error("%s is not a directory of this user alone: remove it, or give a --state directory",
             s->state_dir);
    return -EPERM;
}

/* Root's default state is in memory (FHS 3.0 section 3.15), so that what outlives a reboot goes elsewhere
 * (section 5.8). Where that cannot be had, it outlives the daemon alone. */
static void _sl_choose_kept(struct sl_supervisor *s)
{
    const bool apart = !s->options->state && geteuid() == 0;
    const bool made = apart && (mkdir(SL_KEPT_DIR, 0700) == 0 || errno == EEXIST);
    const char *why = made ? "it is not a directory of this user alone" : strerror(errno);
    memcpy(s->kept_dir, s->state_dir, sizeof(s->kept_dir));
    if (made && _sl_of_this_user_alone(SL_KEPT_DIR))
        memcpy(s->kept_dir, SL_KEPT_DIR, sizeof(SL_KEPT_DIR));
    else if (apart)
        sl_warn(SL_KEPT_DIR " cannot be used: %s: what is left of limits, penalties and operators' lists is "
                            "kept in %s and does not outlive a reboot",
                why, s->state_dir);
}

static int _sl_lock(struct sl_supervisor *s)
{
    char path[300], pid[16] = "";
    if (s->lock >= 0) /* handed over, and held */
        return 0;
    (void)snprintf(path, sizeof(path), "%s/sluiced.pid", s->state_dir);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (s->lock < 0)
        return sl_error_r(-errno, "cannot open %s", path);
    if (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = read(s->lock, pid, sizeof(pid) - 1);
        sl_error("another sluiced (pid %.*s) holds %s: stop it, or give this one another --state",
                 n > 0 ? (int)strcspn(pid, "\n") : 1, n > 0 ? pid : "?", path);
        return -EBUSY;
    }
    return sl_state_own(s);
}

int sl_state_own(const struct sl_supervisor *s)
{
    char pid[16];
    int n = snprintf(pid, sizeof(pid), "%d\n", getpid());
    if (ftruncate(s->lock, 0) < 0 || pwrite(s->lock, pid, (size_t)n, 0) != n)
        return sl_error_r(-errno, "cannot write %s/sluiced.pid", s->state_dir);
    return 0;
}

int sl_state_open(struct sl_supervisor *s)
{
    int r = _sl_choose(s);
    if (r < 0)
        return sl_error_r(r, "--state");
    if (mkdir(s->state_dir, 0755) < 0 && errno != EEXIST)
        return sl_error_r(-errno, "cannot make the state directory %s", s->state_dir);
    r = _sl_ours(s);
    if (r < 0)
        return r;
    _sl_choose_kept(s);
    s->admin_default = (struct sl_sockaddr){.un = {.sun_family = AF_UNIX}};
    int n = snprintf(s->admin_default.un.sun_path, sizeof(s->admin_default.un.sun_path), "%s/admin.sock",
                     s->state_dir);
    if (n < 0 || (size_t)n >= sizeof(s->admin_default.un.sun_path))
        return sl_error_r(-ENAMETOOLONG, "the admin socket in %s", s->state_dir);
    s->admin_default.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
    return _sl_lock(s);
}

static json_t *_sl_process_json(const struct sl_child *c)
{
    return json_pack("{s:i, s:i, s:I, s:i, s:I}", "index", SL_MAX(c->index, 0), "pid", (int)c->pid, "version",
                     (json_int_t)c->serves, "restarts", (int)c->restarts, "started_ns",
                     (json_int_t)c->started_ns);
}

static json_t *_sl_lists_json(const struct sl_supervisor *s)
{
    static const char *const lists[] = {"allow", "deny"}, *const families[] = {"ipv4", "ipv6"};
    struct sl_kernel_list_counts n[2][2];
    json_t *all = json_array();
    sl_kernel_list_counts(s->guard, n);
    for (unsigned i = 0; i < 4; i++) {
        const struct sl_kernel_list_counts *c = &n[i / 2][i % 2];
        (void)json_array_append_new(all,
                                    json_pack("{s:s, s:s, s:I, s:I, s:I}", "list", lists[i / 2], "family",
                                              families[i % 2], "policy", (json_int_t)c->policy, "operator",
                                              (json_int_t)c->operators, "file", (json_int_t)c->files));
    }
    return all;
}

/* The operators' denies, whose end is an instant of the clock that all processes share; 0: none. */
static json_t *_sl_denies_json(const struct sl_supervisor *s)
{
    struct sl_kernel_operators v[SL_DENIES_TOLD];
    const size_t n = SL_MIN(sl_kernel_list_operators(s->guard, v, SL_DENIES_TOLD), (size_t)SL_DENIES_TOLD);
    json_t *all = json_array();
    char text[SL_IP_STRLEN];
    for (size_t i = 0; i < n; i++)
        if (v[i].verdict == SL_LIST_DENY)
            (void)json_array_append_new(all,
                                        json_pack("{s:s, s:I}", "source", sl_cidr_text(&v[i].prefix, text),
                                                  "deadline_ns", (json_int_t)v[i].deadline_ns));
    return all;
}

static json_t *_sl_features_json(const struct sl_supervisor *s)
{
    const struct sl_feature *v;
    size_t n = sl_kernel_features(s->guard, &v);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, json_pack("{s:s, s:b, s:s}", "name", v[i].name, "present",
                                                   v[i].present, "without", v[i].without));
    return all;
}

static json_t *_sl_maps_json(const struct sl_supervisor *s)
{
    struct sl_map_fill m[SL_MAP_FILLS];
    const size_t n = sl_kernel_map_fills(s->guard, m);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, json_pack("{s:s, s:I, s:I}", "map", m[i].map, "entries",
                                                   (json_int_t)m[i].entries, "max", (json_int_t)m[i].max));
    return all;
}

static json_t *_sl_programs_json(const struct sl_supervisor *s)
{
    struct sl_program_runs p[SL_PROGRAMS];
    const size_t n = sl_kernel_program_runs(s->guard, p);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, json_pack("{s:s, s:I, s:I}", "program", p[i].program, "runs",
                                                   (json_int_t)p[i].runs, "run_ns", (json_int_t)p[i].run_ns));
    return all;
}

static json_t *_sl_kernel_json(const struct sl_supervisor *s)
{
    static const char *const modes[] = {"none", "native", "generic"};
    struct sl_attach_state at[64];
    size_t n = sl_kernel_attach_states(s->guard, at, SL_ARRAY_LEN(at));
    json_t *interfaces = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(interfaces,
                                    json_pack("{s:s, s:i, s:s, s:s}", "interface", at[i].interface, "ifindex",
                                              (int)at[i].ifindex, "xdp", modes[at[i].xdp], "tc",
                                              at[i].tc ? at[i].tc : "none"));
    const struct sl_cookies_status cookies = sl_kernel_syn_cookies(s->guard);
    json_t *j =
        json_pack("{s:o, s:b, s:{s:s, s:s, s:s}, s:I, s:I, s:o, s:I}", "interfaces", interfaces, "shadow",
                  s->snapshot->kernel.shadow, "syn_cookies", "policy", cookies.policy, "state", cookies.state,
                  "why", cookies.why, "penalties_evicted", (json_int_t)sl_kernel_penalties_evicted(s->guard),
                  "penalties_refused", (json_int_t)sl_kernel_penalties_refused(s->guard), "lists",
                  _sl_lists_json(s), "list_bytes", (json_int_t)sl_kernel_list_bytes(s->guard));
    (void)json_object_set_new(j, "denies", _sl_denies_json(s));
    (void)json_object_set_new(j, "features", _sl_features_json(s));
    (void)json_object_set_new(j, "maps", _sl_maps_json(s));
    (void)json_object_set_new(j, "programs", _sl_programs_json(s));
    return j;
}

/* Instants, not spans: the controller answers long after it was told. */
static json_t *_sl_trial_json(const struct sl_supervisor *s)
{
    return json_pack("{s:b, s:I, s:I}", "waits", s->trial.waits, "deadline_ns",
                     (json_int_t)(s->trial.waits ? s->trial.deadline_ns : 0), "former",
                     (json_int_t)(s->former.fd >= 0 ? s->former.version : 0));
}

/* As it was named, and whole: who asks has another working directory. */
static json_t *_sl_policy_path(const struct sl_supervisor *s)
{
    SL_FREE char *here = s->options->policy[0] == '/' ? NULL : getcwd(NULL, 0);
    return json_sprintf("%s%s%s", here ? here : "", here ? "/" : "", s->options->policy);
}

static json_t *_sl_state_json(const struct sl_supervisor *s)
{
    json_t *workers = json_array();
    for (size_t i = 1; i < s->n_children; i++)
        (void)json_array_append_new(workers, _sl_process_json(&s->children[i]));
    return json_pack("{s:I, s:s, s:o, s:b, s:{s:i}, s:o, s:o, s:o, s:o}", "version", (json_int_t)s->version,
                     "hash", s->snapshot->hash, "policy", _sl_policy_path(s), "draining", s->stopping,
                     "supervisor", "pid", (int)getpid(), "controller", _sl_process_json(&s->children[0]),
                     "workers", workers, "kernel", _sl_kernel_json(s), "trial", _sl_trial_json(s));
}

void sl_state_publish(struct sl_supervisor *s)
{
    struct sl_child *controller = &s->children[0];
    if (!controller->pid)
        return;
    json_t *j = _sl_state_json(s);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    SL_CLOSE int fd = text ? sl_memfd_sealed("sluice-state", text, strlen(text)) : -ENOMEM;
    free(text);
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_STATE}}};
    if (fd >= 0)
        (void)sl_ipc_send(controller->ipc, &m, &fd, 1); /* a slow controller gets the next one */
}
