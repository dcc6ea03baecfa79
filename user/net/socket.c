/* SPDX-License-Identifier: Apache-2.0 */
#include "net/socket.h"

#include <errno.h>
#include <linux/tcp.h>
#include <stddef.h>

static void _sl_no_delay(int fd, sa_family_t family)
{
    int one = 1;
    if (family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* slower without, never wrong */
}

/* A child is a copy of its listener (inet_csk_clone_lock), its TCP_NODELAY and its "ping-pong" mode included;
 * TCP_QUICKACK 0 is what enters that mode. Where the family has no such option nothing happens. */
void sl_socket_listener(int listener, bool with_answer)
{
    int one = 1, quick = !with_answer;
    (void)setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(listener, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof(quick));
}

void sl_socket_ack_now(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

int sl_socket_accept(int listener, struct sl_sockaddr *peer)
{
    *peer = (struct sl_sockaddr){.len = sizeof(peer->un)};
    int fd = accept4(listener, &peer->sa, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int sl_socket_connect(const struct sl_sockaddr *to, bool *done)
{
    SL_CLOSE int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    _sl_no_delay(fd, to->sa.sa_family);
    *done = connect(fd, &to->sa, to->len) == 0;
    if (!*done && errno != EINPROGRESS)
        return -errno;
    return SL_TAKE_FD(fd);
}

int sl_socket_error(int fd)
{
    int e = 0;
    socklen_t n = sizeof(e);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0)
        return -errno;
    return -e;
}

int sl_socket_local(int fd, struct sl_sockaddr *out)
{
    *out = (struct sl_sockaddr){.len = sizeof(out->un)};
    return getsockname(fd, &out->sa, &out->len) < 0 ? -errno : 0;
}

int sl_socket_pace(int fd, uint64_t bytes_per_second)
{
    return setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_second, sizeof(bytes_per_second)) < 0
               ? -errno
               : 0;
}

void sl_socket_reset_on_close(int fd)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)); /* at worst a FIN goes instead */
}

uint64_t sl_socket_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t n = sizeof(cookie);
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &n) < 0 ? 0 : cookie;
}

uint64_t sl_socket_acked(int fd)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 ||
        n < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
        return UINT64_MAX;
    return info.tcpi_bytes_acked;
}
