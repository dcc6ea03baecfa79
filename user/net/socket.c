/* SPDX-License-Identifier: Apache-2.0 */
#include "net/socket.h"

#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stddef.h>

static void _sl_no_delay(int fd, sa_family_t family)
{
    int one = 1;
    if (family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* slower without, never wrong */
}

/* Counted in retransmissions of the SYN-ACK (tcp_check_req), of which the first comes after a second. */
static void _sl_defer(int listener, int seconds)
{
    (void)setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
}

/* A child is a copy of its listener (inet_csk_clone_lock), its TCP_NODELAY and its "ping-pong" mode included;
 * TCP_QUICKACK 0 is what enters that mode. Where the family has no such option nothing happens. */
void sl_socket_listener(int listener, bool with_answer)
{
    int one = 1, quick = !with_answer;
    (void)setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(listener, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof(quick));
    _sl_defer(listener, SL_SILENT_SECONDS);
}

void sl_socket_take_silent(int listener)
{
    _sl_defer(listener, 0);
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

/* Whether the kernel knows all of it up to that offset. */
static bool _sl_info(int fd, struct tcp_info *info, size_t up_to)
{
    socklen_t n = sizeof(*info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &n) == 0 && n >= up_to;
}

uint64_t sl_socket_acked(int fd)
{
    struct tcp_info info;
    const size_t end = offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked);
    return _sl_info(fd, &info, end) ? info.tcpi_bytes_acked : UINT64_MAX;
}

bool sl_socket_is_silent(int fd)
{
    struct tcp_info info;
    const size_t end = offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received);
    return _sl_info(fd, &info, end) && info.tcpi_bytes_received == 0;
}

enum sl_peer sl_socket_peer(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    if (poll(&p, 1, 0) <= 0)
        return SL_PEER_THERE;
    return p.revents & (POLLHUP | POLLERR) ? SL_PEER_GONE : SL_PEER_SAID_FIN;
}

/* tcp(7): with MSG_TRUNC nothing is copied, and with MSG_PEEK (tcp_recvmsg) nothing is taken either. */
size_t sl_socket_unread(int fd)
{
    const ssize_t n = recv(fd, NULL, INT32_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}
