/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between the supervisor and its children. Invariant: what sl_ipc_recv returns has the exact
 * size of its type and NUL-terminated strings, and every descriptor that came with a refused message is
 * closed.
 */
#include "net/ipc.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define SL_SHARED_PENALTY_NS (7 * 86400 * SL_NS_PER_SEC)
#define SL_SHARED_DENY_NS    (366 * 86400 * SL_NS_PER_SEC)
#define SL_SHARED_DENY_LEN4  8
#define SL_SHARED_DENY_LEN6  32

union _sl_ipc_control {
    char bytes[CMSG_SPACE(sizeof(int) * SL_IPC_MAX_FDS)];
    struct cmsghdr align;
};

static bool _sl_prefix_ok(const struct sl_cidr *c)
{
    const bool v4 = c->ip.family == SL_AF_INET;
    if ((!v4 && c->ip.family != SL_AF_INET6) || c->len > (v4 ? 32 : 128))
        return false;
    const struct sl_ip masked = sl_ip_mask(c->ip, c->len);
    return sl_ip_eq(&c->ip, &masked);
}

bool sl_ipc_shared_ok(const struct sl_ipc_shared *m)
{
    const bool v6 = m->prefix.ip.family == SL_AF_INET6;
    if (!_sl_prefix_ok(&m->prefix))
        return false;
    switch (m->kind) {
    case SL_SHARED_REVOKED:
        return m->left_ns == 0;
    case SL_SHARED_DENY:
        return m->prefix.len >= (v6 ? SL_SHARED_DENY_LEN6 : SL_SHARED_DENY_LEN4) && m->left_ns &&
               m->left_ns <= SL_SHARED_DENY_NS;
    case SL_SHARED_PENALTY:
        return m->prefix.len == sl_ip_source(&m->prefix.ip).len && m->level && m->left_ns &&
               m->left_ns <= SL_SHARED_PENALTY_NS &&
               (m->effect == SL_PENALTY_CONNECT || m->effect == SL_PENALTY_SOURCE);
    default:
        return false;
    }
}

size_t sl_ipc_size(uint32_t type)
{
    switch (type) {
    case SL_IPC_SNAPSHOT:
        return sizeof(struct sl_ipc_snapshot);
    case SL_IPC_DRAIN:
        return sizeof(struct sl_ipc_drain);
    case SL_IPC_RESULT:
        return sizeof(struct sl_ipc_result);
    case SL_IPC_READY:
        return sizeof(struct sl_ipc_ready);
    case SL_IPC_PENALTY:
        return sizeof(struct sl_ipc_penalty);
    case SL_IPC_LIST:
        return sizeof(struct sl_ipc_list);
    case SL_IPC_SHARE:
    case SL_IPC_SHARED:
        return sizeof(struct sl_ipc_shared);
    case SL_IPC_RELOAD:
        return sizeof(struct sl_ipc_reload);
    case SL_IPC_HAND:
        return sizeof(struct sl_ipc_hand);
    case SL_IPC_HAND_REST:
        return sizeof(struct sl_ipc_hand_rest);
    case SL_IPC_TAKEN:
        return sizeof(struct sl_ipc_result);
    case SL_IPC_KEYS:
    case SL_IPC_KEYS_FETCHED:
        return sizeof(struct sl_ipc_keys);
    case SL_IPC_KEYS_WANTED:
    case SL_IPC_KEYS_UNKNOWN:
        return sizeof(struct sl_ipc_wanted);
    case SL_IPC_ERRANDS:
        return sizeof(struct sl_ipc_errands);
    case SL_IPC_REOPEN:
    case SL_IPC_STATE:
    case SL_IPC_LISTEN:
    case SL_IPC_LAST_CALLED:
    case SL_IPC_UPGRADE:
    case SL_IPC_GO:
    case SL_IPC_CONFIRM:
    case SL_IPC_ROLLBACK:
    case SL_IPC_DETACH:
        return sizeof(struct sl_ipc_plain);
    default:
        return 0;
    }
}

int sl_ipc_send(int sock, union sl_ipc *m, const int *fds, size_t n_fds)
{
    size_t size = sl_ipc_size(m->h.type);
    if (!size || n_fds > SL_IPC_MAX_FDS)
        return -EINVAL;
    m->h.size = (uint32_t)size;
    union _sl_ipc_control control = {0};
    struct iovec iov = {.iov_base = m, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EIO;
}

static void _sl_close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)close(fds[i]);
}

/* Takes the descriptors out of msg; those that the caller has no room for are closed and counted as an error.
 */
static int _sl_take_fds(struct msghdr *msg, int *fds, size_t *n_fds)
{
    size_t room = *n_fds, n = 0;
    int r = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < got; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (n < room) {
                fds[n++] = fd;
            } else {
                (void)close(fd);
                r = -EPROTO;
            }
        }
    }
    *n_fds = n;
    return r;
}

static bool _sl_terminated(const char *s, size_t n)
{
    return memchr(s, '\0', n) != NULL;
}

static bool _sl_valid(const union sl_ipc *m, size_t n)
{
    if (n < sizeof(m->h) || m->h.size != n || sl_ipc_size(m->h.type) != n)
        return false;
    if (m->h.type == SL_IPC_PENALTY)
        return _sl_terminated(m->penalty.consumer, sizeof(m->penalty.consumer)) &&
               _sl_terminated(m->penalty.rule, sizeof(m->penalty.rule));
    if (m->h.type == SL_IPC_SHARE || m->h.type == SL_IPC_SHARED)
        return _sl_terminated(m->shared.consumer, sizeof(m->shared.consumer)) &&
               _sl_terminated(m->shared.rule, sizeof(m->shared.rule));
    return true;
}

int sl_ipc_recv(int sock, union sl_ipc *m, int *fds, size_t *n_fds)
{
    union _sl_ipc_control control;
    struct iovec iov = {.iov_base = m, .iov_len = sizeof(*m)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    memset(m, 0, sizeof(*m));
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    int saved = errno;
    if (n <= 0) {
        *n_fds = 0;
        if (n == 0 || saved == ECONNRESET)
            return -EPIPE;
        return saved == EAGAIN ? 0 : -saved;
    }
    int r = _sl_take_fds(&msg, fds, n_fds);
    if (r < 0 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !_sl_valid(m, (size_t)n)) {
        _sl_close_all(fds, *n_fds);
        *n_fds = 0;
        return -EPROTO;
    }
    return 1;
}
