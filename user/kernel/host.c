/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's network stack tells: its addresses, and that they or the links have changed. */
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

int sl_host_addresses(struct sl_addresses *out)
{
    struct ifaddrs *all = NULL;
    int r = 0;
    if (getifaddrs(&all) < 0)
        return sl_error_r(-errno, "kernel: cannot read the host's addresses");
    for (const struct ifaddrs *i = all; r == 0 && i; i = i->ifa_next) {
        struct sl_sockaddr sa = {0};
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        sa.len = i->ifa_addr->sa_family == AF_INET ? sizeof(sa.in) : sizeof(sa.in6);
        memcpy(&sa.sa, i->ifa_addr, sa.len);
        const struct sl_ip ip = sl_sockaddr_ip(&sa);
        r = sl_addresses_add(out, &ip);
    }
    freeifaddrs(all);
    return r;
}

int sl_host_netlink(void)
{
    const struct sockaddr_nl who = {.nl_family = AF_NETLINK,
                                    .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    SL_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&who, sizeof(who)) < 0)
        return sl_error_r(-errno, "kernel: cannot listen for changes of addresses and links");
    return SL_TAKE_FD(fd);
}

int sl_kernel_netlink_fd(const struct sl_kernel_guard *g)
{
    return g->netlink;
}

/* What changed is read from the host itself: messages only say that something did, and may be lost (ENOBUFS).
 */
void sl_kernel_netlink_drain(struct sl_kernel_guard *g)
{
    char buf[8192];
    if (g->netlink < 0)
        return;
    for (ssize_t n = 1; n > 0 || errno == ENOBUFS || errno == EINTR;) {
        errno = 0;
        n = recv(g->netlink, buf, sizeof(buf), MSG_DONTWAIT);
        if (n == 0)
            return;
    }
}
