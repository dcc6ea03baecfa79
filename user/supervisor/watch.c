/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates, keys (those of signers too), authorities and stapled answers that change on the disk are
 * taken over without an apply: they are renewed by programs that know nothing of policies. Nothing else of
 * the policy is read again, and what is taken over is checked as a whole, so a certificate whose key is not
 * there yet leaves the old pair in force.
 *
 * inotify says when to look, on the directories, since files are replaced by rename and mounted secrets by a
 * symbolic link beside them; and every few seconds all are looked at anyway, for file systems that say
 * nothing.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"

#include <errno.h>
#include <openssl/x509.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define SL_SETTLE_S 0.3 /* certificate and key are seldom written at once */
#define SL_LOOK_S   10.0

/* ---- which files */

struct sl_watch_list {
    struct sl_watched *v;
    size_t n;
};

static void _sl_add(struct sl_watch_list *l, const struct sl_blob *b)
{
    /* the system's authorities may stand elsewhere than their name says (SSL_CERT_FILE) */
    if (!b->path || !b->data.n || strcmp(b->path, X509_get_default_cert_file()) == 0)
        return;
    if (l->v)
        l->v[l->n] = (struct sl_watched){.path = b->path, .data = b->data};
    l->n++;
}

static void _sl_list_tls(const struct sl_tls_config *t, struct sl_watch_list *l)
{
    _sl_add(l, &t->client_ca);
    for (size_t k = 0; k < t->n_certificates; k++) {
        _sl_add(l, &t->certificates[k].cert);
        _sl_add(l, &t->certificates[k].key);
        _sl_add(l, &t->certificates[k].ocsp);
    }
}

/* Counts where l->v is NULL. */
static void _sl_list(const struct sl_snapshot *snap, struct sl_watch_list *l)
{
    for (size_t i = 0; i < snap->n_listeners; i++)
        _sl_list_tls(&snap->listeners[i].tls, l);
    _sl_list_tls(&snap->admin.tls, l);
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        _sl_add(l, &snap->upstreams[i].tls.ca);
        _sl_add(l, &snap->upstreams[i].tls.cert);
        _sl_add(l, &snap->upstreams[i].tls.key);
    }
    for (size_t i = 0; i < snap->n_signers; i++)
        for (size_t k = 0; k < snap->signers[i].n_keys; k++)
            _sl_add(l, &snap->signers[i].keys[k]);
}

/* ---- looking */

/* True where the file is another than it was, or was never looked at. */
static bool _sl_is_touched(struct sl_watched *w)
{
    struct stat st;
    if (stat(w->path, &st) < 0) /* between two states: it comes back, or an apply says what is wrong */
        return false;
    const struct sl_watched now = {.seen = {.dev = st.st_dev,
                                            .ino = st.st_ino,
                                            .size = (uint64_t)st.st_size,
                                            .s = st.st_mtim.tv_sec,
                                            .ns = st.st_mtim.tv_nsec}};
    const bool same = memcmp(&w->seen, &now.seen, sizeof(w->seen)) == 0;
    w->seen = now.seen;
    return !same;
}

/* Of secrets the end of the last line is not kept. */
static bool _sl_is_changed(const struct sl_watched *w)
{
    SL_BUF struct sl_buf data = {0};
    if (sl_read_file(w->path, w->data.n + strlen("\r\n"), &data) != 0)
        return true;
    const struct sl_slice now = sl_buf_slice(&data);
    return !sl_slice_eq(now, w->data) && !sl_slice_eq(sl_slice_chomp(now), w->data);
}

static void _sl_take_over(struct sl_supervisor *s)
{
    int r = sl_bundle_from_memfd(s->bundle_fd, &s->watch.renewed), changed = 0;
    for (size_t i = 0; r == 0 && i < s->watch.n; i++) {
        const int one = sl_bundle_reread(s->watch.renewed, s->watch.files[i].path);
        if (one < 0)
            (void)sl_error_r(one, "%s has changed and cannot be read: what it held before stays in use",
                             s->watch.files[i].path);
        changed += one == 1;
    }
    if (r < 0 || !changed) {
        sl_bundle_free(SL_TAKE_PTR(s->watch.renewed));
        return;
    }
    sl_info("files of certificates or keys have changed (%d) and are taken over", changed);
    sl_bundle_renumber(s->watch.renewed, s->version + 1);
    if (!sl_reload_renewed(s))
        sl_warn("the changed files are not used as they are now; looked at again when they change");
}

static void _sl_look(struct sl_supervisor *s)
{
    bool changed = false;
    if (s->stopping)
        return;
    if (s->reload.active || s->trial.waits || sl_upgrade_under_way(s) ||
        s->takeover.waits) { /* one thing at a time */
        ev_timer_again(s->loop, &s->watch.settle);
        return;
    }
    for (size_t i = 0; i < s->watch.n; i++)
        if (_sl_is_touched(&s->watch.files[i]))
            changed |= _sl_is_changed(&s->watch.files[i]);
    if (changed)
        _sl_take_over(s);
}

static void _sl_on_settled(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)events;
    ev_timer_stop(loop, t);
    _sl_look(t->data);
}

static void _sl_on_look(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    _sl_look(t->data);
}

/* What it says does not matter: that something has changed beside a file of ours is enough to look. */
static void _sl_on_inotify(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct sl_supervisor *s = io->data;
    char waste[4096];
    while (read(io->fd, waste, sizeof(waste)) > 0)
        continue;
    if (!ev_is_active(&s->watch.settle))
        ev_timer_again(loop, &s->watch.settle);
}

/* ---- following */

static void _sl_watch_directories(struct sl_watch *w)
{
    char dir[PATH_MAX];
    for (size_t i = 0; i < w->n; i++) {
        const char *slash = strrchr(w->files[i].path, '/');
        const size_t n = slash ? (size_t)(slash - w->files[i].path) : 0;
        if (n >= sizeof(dir))
            continue;
        memcpy(dir, w->files[i].path, n);
        dir[n] = '\0';
        (void)inotify_add_watch(w->fd,
                                !slash ? "."
                                : n    ? dir
                                       : "/",
                                IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE);
    }
}

static void _sl_start(struct sl_supervisor *s)
{
    struct sl_watch *w = &s->watch;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0)
        sl_warn("changed certificates and keys are seen only every %.0f s: inotify: %s", SL_LOOK_S,
                strerror(errno));
    ev_init(&w->settle, _sl_on_settled);
    w->settle.repeat = SL_SETTLE_S;
    ev_timer_init(&w->look, _sl_on_look, SL_LOOK_S, SL_LOOK_S);
    w->settle.data = w->look.data = s;
    ev_timer_start(s->loop, &w->look);
    if (w->fd < 0)
        return;
    ev_io_init(&w->io, _sl_on_inotify, w->fd, EV_READ);
    w->io.data = s;
    ev_io_start(s->loop, &w->io);
    _sl_watch_directories(w);
}

void sl_watch_close(struct sl_supervisor *s)
{
    struct sl_watch *w = &s->watch;
    if (!w->files)
        return;
    ev_timer_stop(s->loop, &w->settle);
    ev_timer_stop(s->loop, &w->look);
    if (w->fd >= 0)
        ev_io_stop(s->loop, &w->io);
    sl_closep(&w->fd);
    free(SL_TAKE_PTR(w->files));
    w->n = 0;
}

void sl_watch_follow(struct sl_supervisor *s, enum sl_policy_from from)
{
    struct sl_watch_list l = {0};
    sl_watch_close(s);
    _sl_list(s->snapshot, &l);
    l.v = l.n ? calloc(l.n, sizeof(*l.v)) : NULL;
    if (!l.v)
        return;
    l.n = 0;
    _sl_list(s->snapshot, &l);
    s->watch.files = l.v;
    s->watch.n = l.n;
    _sl_start(s);
    /* a rollback brings back what files held then: only what changes after it is taken over */
    for (size_t i = 0; from == SL_POLICY_FORMER && i < l.n; i++)
        (void)_sl_is_touched(&l.v[i]);
}
