/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: opened by the supervisor, one for each worker and bind address, so that the kernel
 * spreads connections and a worker that dies leaves its queue to its successor. A reload opens what is new
 * before anything else changes, and closes what is gone as its last step, or, where somebody has connected
 * there whom the kernel still keeps to itself, when he has been let in: the last call, as before a stop.
 *
 * A socket that is closed resets what waits in its queue. So the sockets of a binary upgrade are handed on
 * and all kept, in their order: from more workers to fewer each has several, from fewer to more the new ones
 * begin to listen only once their owner is in charge.
 */
#include "supervisor/supervisor_priv.h"

#include "net/flow.h"
#include "net/socket.h"

#include <errno.h>
#include <sys/stat.h>

#define SL_BACKLOG 4096

static void _sl_bound_close(struct sl_bound *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->fds[i] >= 0)
            (void)close(b->fds[i]);
    if (b->address.sa.sa_family == AF_UNIX && b->n && !b->kept)
        (void)unlink(b->address.un.sun_path);
    free(b->fds);
    *b = (struct sl_bound){0};
}

static int _sl_option(int fd, int level, int name)
{
    const int one = 1;
    return setsockopt(fd, level, name, &one, sizeof(one)) < 0 ? -errno : 0;
}

/* A stale socket file is removed only where nobody answers on it; what is no socket is never removed. */
static int _sl_unix_clear(const struct sl_sockaddr *a)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    SL_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &a->sa, a->len) == 0 || errno != ECONNREFUSED) /* EAGAIN: its backlog is full */
        return -EADDRINUSE;
    return unlink(a->un.sun_path) < 0 ? -errno : 0;
}

/*
 * SO_REUSEPORT lets two daemons of one user share a port without a word, and half of the connections go
 * astray. A socket without it finds out. Not asked where a socket of our own stands on the port, since that
 * would refuse a change from one address to all.
 */
static int _sl_taken_by_others(const struct sl_supervisor *s, const struct sl_sockaddr *a)
{
    for (size_t i = 0; i < s->n_bound + s->n_admin; i++) {
        const struct sl_bound *b = i < s->n_bound ? &s->bound[i] : &s->admin[i - s->n_bound];
        if (b->address.sa.sa_family != AF_UNIX && sl_sockaddr_port(&b->address) == sl_sockaddr_port(a))
            return 0;
    }
    SL_CLOSE int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = _sl_option(fd, SOL_SOCKET, SO_REUSEADDR); /* connections of a former run in TIME_WAIT */
    if (r == 0 && a->sa.sa_family == AF_INET6)
        r = _sl_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (r == 0 && bind(fd, &a->sa, a->len) < 0)
        r = -errno;
    return r;
}

static int _sl_bind(const struct sl_supervisor *s, const struct sl_sockaddr *a)
{
    bool local = a->sa.sa_family == AF_UNIX;
    SL_CLOSE int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = local ? _sl_unix_clear(a) : _sl_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (r == 0 && !local)
        r = _sl_option(fd, SOL_SOCKET, SO_REUSEPORT);
    if (r == 0 && a->sa.sa_family == AF_INET6)
        r = _sl_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (r < 0)
        return r;
    mode_t old = umask(0117); /* 0660 from its first moment on */
    r = bind(fd, &a->sa, a->len) < 0 ? -errno : 0;
    (void)umask(old);
    if (r < 0)
        return r;
    if ((local && s->drop && chown(a->un.sun_path, 0, s->gid) < 0) ||
        (!s->takeover.waits && listen(fd, SL_BACKLOG) < 0)) {
        r = -errno;
        if (local)
            (void)unlink(a->un.sun_path);
        return r;
    }
    return SL_TAKE_FD(fd);
}

static int _sl_bound_grow(const struct sl_supervisor *s, struct sl_bound *b, size_t n)
{
    int *fds = n > b->n ? realloc(b->fds, n * sizeof(int)) : b->fds;
    if (!fds)
        return -ENOMEM;
    b->fds = fds;
    while (b->n < n) {
        int fd = _sl_bind(s, &b->address);
        if (fd < 0)
            return fd;
        b->fds[b->n++] = fd;
    }
    b->listening = s->takeover.waits ? b->listening : b->n;
    return 0;
}

static int _sl_bound_open(struct sl_supervisor *s, struct sl_bound *b, const struct sl_sockaddr *a, size_t n)
{
    *b = (struct sl_bound){.address = *a, .wanted = true};
    int r = a->sa.sa_family == AF_UNIX ? 0 : _sl_taken_by_others(s, a);
    return r < 0 ? r : _sl_bound_grow(s, b, n);
}

static bool _sl_same(const struct sl_sockaddr *a, const struct sl_sockaddr *b)
{
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

static struct sl_bound *_sl_find(struct sl_bound *v, size_t n, const struct sl_sockaddr *a)
{
    for (size_t i = 0; i < n; i++)
        if (_sl_same(&v[i].address, a))
            return &v[i];
    return NULL;
}

static const char *_sl_listen_hint(int r)
{
    switch (-r) {
    case EADDRINUSE:
        return "; is another server, or another sluiced, running there?";
    case EEXIST:
        return "; what is there is no socket, and is left alone";
    case EACCES:
        return "; ports below 1024 want root or CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
        return "; `ip address` lists this host's addresses";
    default:
        return "";
    }
}

static int _sl_cannot_listen(const struct sl_sockaddr *a, int r, const struct sl_pos *pos,
                             struct sl_diag *diag)
{
    char text[SL_SOCK_STRLEN];
    sl_diag_error(diag, pos, "cannot listen on %s: %s%s", sl_sockaddr_text(a, text), strerror(-r),
                  _sl_listen_hint(r));
    return r;
}

/* Finds or opens one address in the table. New ones stand at its end, until commit. */
static int _sl_want(struct sl_supervisor *s, struct sl_bound **v, size_t *n, const struct sl_sockaddr *a,
                    size_t fds, const struct sl_pos *pos, struct sl_diag *diag)
{
    struct sl_bound *b = _sl_find(*v, *n, a);
    if (b) {
        b->wanted = true;
        int r = _sl_bound_grow(s, b, fds); /* handed over by fewer workers */
        return r < 0 ? _sl_cannot_listen(a, r, pos, diag) : 0;
    }
    struct sl_bound *bigger = realloc(*v, (*n + 1) * sizeof(*bigger));
    if (!bigger)
        return -ENOMEM;
    *v = bigger;
    b = &bigger[*n];
    int r = _sl_bound_open(s, b, a, fds);
    if (r < 0) {
        b->address.sa.sa_family = AF_UNSPEC; /* never unlink another's socket */
        _sl_bound_close(b);
        return _sl_cannot_listen(a, r, pos, diag);
    }
    (*n)++;
    return 0;
}

/* The policy's admin addresses, or the state directory's socket where it names none. */
static size_t _sl_admin_binds(const struct sl_supervisor *s, const struct sl_snapshot *snap,
                              const struct sl_sockaddr **v)
{
    *v = snap->admin.n_bind ? snap->admin.bind : &s->admin_default;
    return snap->admin.n_bind ? snap->admin.n_bind : 1;
}

int sl_sockets_prepare(struct sl_supervisor *s, const struct sl_snapshot *snap, struct sl_diag *diag)
{
    size_t workers = s->n_children - 1;
    int r = 0;
    for (size_t i = 0; i < s->n_bound; i++)
        s->bound[i].wanted = false;
    for (size_t i = 0; i < s->n_admin; i++)
        s->admin[i].wanted = false;
    for (size_t l = 0; r == 0 && l < snap->n_listeners; l++)
        for (size_t b = 0; r == 0 && b < snap->listeners[l].n_bind; b++)
            r = _sl_want(s, &s->bound, &s->n_bound, &snap->listeners[l].bind[b], workers,
                         &snap->listeners[l].pos, diag);
    const struct sl_sockaddr *admin;
    size_t n_admin = _sl_admin_binds(s, snap, &admin);
    for (size_t b = 0; r == 0 && b < n_admin; b++)
        r = _sl_want(s, &s->admin, &s->n_admin, &admin[b], 1, NULL, diag);
    return r;
}

static void _sl_sweep(struct sl_bound *v, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        if (v[i].wanted || v[i].gone)
            v[kept++] = v[i];
        else
            _sl_bound_close(&v[i]);
    }
    *n = kept;
}

void sl_sockets_sweep(struct sl_supervisor *s)
{
    if (s->takeover.waits) /* they are still the other's */
        return;
    _sl_sweep(s->bound, &s->n_bound);
    _sl_sweep(s->admin, &s->n_admin);
}

/* Workers keep none or all of what is gone, so while one is waited for all are kept. */
void sl_sockets_commit(struct sl_supervisor *s)
{
    if (sl_sockets_last_call(s, false))
        sl_supervisor_last_call(s);
    for (size_t i = 0; i < s->n_bound; i++)
        s->bound[i].gone = !s->bound[i].wanted && ev_is_active(&s->last_call);
    sl_sockets_sweep(s);
}

void sl_sockets_close_gone(struct sl_supervisor *s)
{
    for (size_t i = 0; i < s->n_bound; i++)
        s->bound[i].gone = false;
    _sl_sweep(s->bound, &s->n_bound);
}

static bool _sl_in_force(const struct sl_supervisor *s, const struct sl_sockaddr *a)
{
    const struct sl_snapshot *snap = s->snapshot;
    for (size_t l = 0; snap && l < snap->n_listeners; l++)
        for (size_t b = 0; b < snap->listeners[l].n_bind; b++)
            if (_sl_same(&snap->listeners[l].bind[b], a))
                return true;
    const struct sl_sockaddr *admin;
    size_t n_admin = snap ? _sl_admin_binds(s, snap, &admin) : 0;
    for (size_t b = 0; b < n_admin; b++)
        if (_sl_same(&admin[b], a))
            return true;
    return false;
}

void sl_sockets_rollback(struct sl_supervisor *s)
{
    for (size_t i = 0; i < s->n_bound; i++)
        s->bound[i].wanted = _sl_in_force(s, &s->bound[i].address);
    for (size_t i = 0; i < s->n_admin; i++)
        s->admin[i].wanted = _sl_in_force(s, &s->admin[i].address);
    sl_sockets_sweep(s);
}

void sl_sockets_listen(struct sl_supervisor *s)
{
    for (size_t i = 0; i < s->n_bound + s->n_admin; i++) {
        struct sl_bound *b = i < s->n_bound ? &s->bound[i] : &s->admin[i - s->n_bound];
        char text[SL_SOCK_STRLEN];
        for (; b->listening < b->n; b->listening++)
            if (listen(b->fds[b->listening], SL_BACKLOG) < 0)
                (void)sl_error_r(-errno, "cannot listen on %s", sl_sockaddr_text(&b->address, text));
    }
}

int sl_sockets_for(const struct sl_supervisor *s, const struct sl_child *c, int *fds, uint8_t *more,
                   size_t max)
{
    const struct sl_snapshot *snap = s->snapshot;
    size_t n = 0, workers = s->n_children - 1, k = 0;
    const struct sl_sockaddr *admin;
    size_t n_admin = _sl_admin_binds(s, snap, &admin);
    for (size_t b = 0; c->index < 0 && b < n_admin && n < max; b++)
        fds[n++] = _sl_find(s->admin, s->n_admin, &admin[b])->fds[0];
    for (size_t l = 0; c->index >= 0 && l < snap->n_listeners; l++)
        for (size_t b = 0; b < snap->listeners[l].n_bind; b++, k++) {
            const struct sl_bound *of = _sl_find(s->bound, s->n_bound, &snap->listeners[l].bind[b]);
            for (size_t i = (size_t)c->index; i < of->n; i += workers) {
                if (n == max)
                    return -E2BIG;
                fds[n++] = of->fds[i];
                if (i >= workers)
                    more[k]++;
            }
        }
    return (int)n;
}

static void _sl_close_all(const struct sl_supervisor *s, struct sl_bound **v, size_t *n)
{
    for (size_t i = 0; i < *n; i++) {
        (*v)[i].kept = s->handed || s->takeover.waits; /* another serves on it */
        _sl_bound_close(&(*v)[i]);
    }
    free(*v);
    *v = NULL;
    *n = 0;
}

bool sl_sockets_last_call(const struct sl_supervisor *s, bool all)
{
    bool opening = false;
    if (s->takeover.waits) /* they are another's, who goes on */
        return false;
    for (size_t i = 0; i < s->n_bound; i++) {
        const struct sl_bound *b = &s->bound[i];
        if (!all && (b->wanted || b->gone))
            continue;
        for (size_t k = 0; k < b->n; k++)
            sl_socket_take_silent(b->fds[k]);
        opening = opening || (b->address.sa.sa_family != AF_UNIX && sl_flow_is_opening(&b->address));
    }
    return opening;
}

void sl_sockets_close_listeners(struct sl_supervisor *s)
{
    _sl_close_all(s, &s->bound, &s->n_bound);
}

void sl_sockets_close(struct sl_supervisor *s)
{
    _sl_close_all(s, &s->bound, &s->n_bound);
    _sl_close_all(s, &s->admin, &s->n_admin);
}
