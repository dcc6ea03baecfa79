/* SPDX-License-Identifier: Apache-2.0 */
/* Whose connections are now: sock_diag(7), one question and one answer. */
#include "net/flow.h"

#include "base/macros.h"
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define SL_TCP_LISTEN    10 /* include/net/tcp_states.h */
#define SL_TCP_TIME_WAIT 6
#define SL_TCP_SYN_RECV  3

struct sl_question {
    struct nlmsghdr h;
    struct inet_diag_req_v2 r;
};

static int _sl_ask(const struct sl_question *q, struct inet_diag_msg *out)
{
    union {
        struct nlmsghdr h;
        char bytes[4096];
    } a;
    const struct timeval patience = {.tv_sec = 1};
    SL_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (send(fd, q, sizeof(*q), 0) < 0)
        return -errno;
    const ssize_t n = recv(fd, &a, sizeof(a), 0);
    if (n < 0)
        return -errno;
    const int error = (size_t)n >= NLMSG_LENGTH(sizeof(struct nlmsgerr)) && a.h.nlmsg_type == NLMSG_ERROR
                          ? ((const struct nlmsgerr *)NLMSG_DATA(&a.h))->error
                          : 0;
    if (error < 0)
        return error;
    if ((size_t)n < NLMSG_LENGTH(sizeof(*out)) || a.h.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -EPROTO; /* an acknowledgement, which was not asked for, among them */
    memcpy(out, NLMSG_DATA(&a.h), sizeof(*out));
    return 0;
}

bool sl_flow_is_anothers(const struct sl_flow *f, uint64_t cookie)
{
    struct inet_diag_msg m = {0};
    struct sl_question q = {
        .h = {.nlmsg_len = sizeof(q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .r = {.sdiag_family = f->local.family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = UINT32_MAX}};
    q.r.id.idiag_sport = htons(f->local_port);
    q.r.id.idiag_dport = htons(f->peer_port);
    memcpy(q.r.id.idiag_src, &f->local.addr, sizeof(q.r.id.idiag_src));
    memcpy(q.r.id.idiag_dst, &f->peer.addr, sizeof(q.r.id.idiag_dst));
    q.r.id.idiag_cookie[0] = q.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (_sl_ask(&q, &m) != 0 || m.idiag_state == SL_TCP_LISTEN || m.idiag_state == SL_TCP_TIME_WAIT)
        return false; /* nobody's */
    return (m.id.idiag_cookie[0] | (uint64_t)m.id.idiag_cookie[1] << 32) != cookie;
}

bool sl_flow_is_opening(const struct sl_sockaddr *to)
{
    struct inet_diag_msg m;
    struct sl_question q = {.h = {.nlmsg_len = sizeof(q),
                                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                            .r = {.sdiag_family = (uint8_t)to->sa.sa_family,
                                  .sdiag_protocol = IPPROTO_TCP,
                                  .idiag_states = 1u << SL_TCP_SYN_RECV}};
    q.r.id.idiag_sport = htons(sl_sockaddr_port(to));
    return _sl_ask(&q, &m) == 0; /* what is not there is answered by the end of the list */
}
