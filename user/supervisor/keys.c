/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetched keys on their way from the controller to the workers. The supervisor never looks at the bytes: it
 * checks who sends them, whose they are, that they cannot change any more and how many there are; and keeps
 * the last ones of each provider for workers that start later.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static bool _sl_is_ours(const struct sl_snapshot *s, uint64_t source)
{
    for (size_t i = 0; source && i < s->n_auths; i++)
        if (s->auths[i].type == SL_AUTH_JWT && s->auths[i].jwt.remote.source == source)
            return true;
    return false;
}

static struct sl_kept_keys *_sl_kept(struct sl_supervisor *s, uint64_t source)
{
    struct sl_kept_keys *free_one = NULL;
    for (size_t i = 0; i < SL_REMOTE_MAX; i++) {
        if (s->keys[i].source == source)
            return &s->keys[i];
        if (!s->keys[i].source && !free_one)
            free_one = &s->keys[i];
    }
    if (free_one)
        *free_one = (struct sl_kept_keys){.source = source, .fd = -1};
    return free_one;
}

static int _sl_send(int sock, const struct sl_ipc_keys *k, int fd)
{
    union sl_ipc m = {.keys = *k};
    m.h = (struct sl_ipc_header){.type = SL_IPC_KEYS};
    return sl_ipc_send(sock, &m, &fd, fd >= 0 ? 1 : 0);
}

/* A worker that cannot be told would go on with keys that were taken back: it is ended, and its successor
 * told.
 */
static void _sl_relay(struct sl_supervisor *s, const struct sl_ipc_keys *k, int fd)
{
    char name[16];
    for (size_t i = 1; i < s->n_children; i++) {
        struct sl_child *c = &s->children[i];
        const int r = c->pid && c->ipc >= 0 ? _sl_send(c->ipc, k, fd) : 0;
        if (r == 0)
            continue;
        (void)sl_error_r(r, "%s does not take new keys and is started anew", sl_child_name(c, name));
        (void)kill(c->pid, SIGKILL);
    }
}

int sl_keys_fetched(struct sl_supervisor *s, const struct sl_ipc_keys *k, int fd)
{
    if (!_sl_is_ours(s->snapshot, k->source))
        return 0; /* of the policy before: it may cross the new one on its way */
    if (fd >= 0 && !sl_memfd_is_sealed(fd, SL_KEYS_BYTES))
        return -EPERM;
    struct sl_kept_keys *kept = _sl_kept(s, k->source);
    if (!kept)
        return 0;
    if (fd >= 0) {
        const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (own < 0)
            return 0; /* the controller sends them again */
        sl_closep(&kept->fd);
        kept->fd = own;
    }
    kept->deadline_ns = k->deadline_ns ? k->deadline_ns : kept->deadline_ns;
    kept->fetched_ns = k->fetched_ns;
    _sl_relay(s, k, fd);
    return 0;
}

int sl_keys_send_all(const struct sl_supervisor *s, int sock)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < SL_REMOTE_MAX; i++) {
        const struct sl_kept_keys *k = &s->keys[i];
        if (k->source && k->fd >= 0)
            r = _sl_send(sock,
                         &(struct sl_ipc_keys){
                             .source = k->source, .deadline_ns = k->deadline_ns, .fetched_ns = k->fetched_ns},
                         k->fd);
    }
    return r;
}

/* ---- a binary upgrade: the bytes go on as they are, and so do their ends */

int sl_keys_take_over(struct sl_supervisor *s, const struct sl_ipc_keys *k, int fd)
{
    if (!k->source || !sl_memfd_is_sealed(fd, SL_KEYS_BYTES))
        return -EPROTO;
    struct sl_kept_keys *kept = _sl_kept(s, k->source);
    if (!kept || kept->fd >= 0)
        return -EPROTO;
    kept->fd = fd;
    kept->deadline_ns = k->deadline_ns;
    kept->fetched_ns = k->fetched_ns;
    return 0;
}

void sl_keys_unknown(struct sl_supervisor *s, const struct sl_ipc_wanted *w)
{
    const struct sl_child *controller = &s->children[0];
    union sl_ipc m = {.wanted = {.h = {.type = SL_IPC_KEYS_WANTED}, .source = w->source, .none = w->none}};
    if (controller->pid && _sl_is_ours(s->snapshot, w->source))
        (void)sl_ipc_send(controller->ipc, &m, NULL,
                          0); /* lost where it is slow: requests wait a bounded time */
}

void sl_keys_prune(struct sl_supervisor *s)
{
    for (size_t i = 0; i < SL_REMOTE_MAX; i++) {
        if (!s->keys[i].source || (s->snapshot && _sl_is_ours(s->snapshot, s->keys[i].source)))
            continue;
        sl_closep(&s->keys[i].fd);
        s->keys[i] = (struct sl_kept_keys){.fd = -1};
    }
}
