/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meter as clsact filters, where the kernel has no TCX. Filters cannot be pinned: our handles and
 * priority name them, and the handle says whether the qdisc was made by us, so that a detach without the
 * daemon leaves nothing behind, and nothing of others' gone.
 */
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#define SL_TC_PRIORITY    0x51ce
#define SL_HANDLE_SHARED  0x51ce /* the qdisc was there */
#define SL_HANDLE_CREATED 0x51cf /* the qdisc is ours */

static const enum bpf_tc_attach_point _sl_points[2] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
static const __u32 _sl_handles[2] = {SL_HANDLE_SHARED, SL_HANDLE_CREATED};

static struct bpf_tc_hook _sl_hook(unsigned ifindex, enum bpf_tc_attach_point point)
{
    return (struct bpf_tc_hook){
        .sz = sizeof(struct bpf_tc_hook), .ifindex = (int)ifindex, .attach_point = point};
}

static bool _sl_is_meter(__u32 prog_id)
{
    struct bpf_prog_info info = {0};
    __u32 len = sizeof(info);
    SL_CLOSE int fd = bpf_prog_get_fd_by_id(prog_id);
    return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && strncmp(info.name, "sl_tc_", 6) == 0;
}

/* The handle of our filter at the hook, or 0. */
static __u32 _sl_ours(const struct bpf_tc_hook *hook)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_handles); i++) {
        struct bpf_tc_opts o = {.sz = sizeof(o), .handle = _sl_handles[i], .priority = SL_TC_PRIORITY};
        if (bpf_tc_query(hook, &o) == 0 && _sl_is_meter(o.prog_id))
            return _sl_handles[i];
    }
    return 0;
}

int sl_clsact_attach(unsigned ifindex, int in, int out)
{
    struct bpf_tc_hook both = _sl_hook(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
    const int made = bpf_tc_hook_create(&both);
    const int progs[2] = {in, out};
    if (made < 0 && made != -EEXIST)
        return made;
    for (size_t i = 0; i < 2; i++) {
        const struct bpf_tc_hook hook = _sl_hook(ifindex, _sl_points[i]);
        const __u32 had = made == 0 ? 0 : _sl_ours(&hook);
        struct bpf_tc_opts o = {.sz = sizeof(o),
                                .prog_fd = progs[i],
                                .priority = SL_TC_PRIORITY,
                                .flags = had ? BPF_TC_F_REPLACE : 0u,
                                .handle = had         ? had
                                          : made == 0 ? SL_HANDLE_CREATED
                                                      : SL_HANDLE_SHARED};
        const int r = bpf_tc_attach(&hook, &o);
        if (r < 0) {
            (void)sl_clsact_detach(ifindex);
            return r;
        }
    }
    return 0;
}

/* ---- detaching */

static int _sl_ask_filters(int fd, unsigned ifindex, __u32 parent)
{
    struct {
        struct nlmsghdr h;
        struct tcmsg t;
    } ask = {.h = {.nlmsg_len = sizeof(ask),
                   .nlmsg_type = RTM_GETTFILTER,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
             .t = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex, .tcm_parent = parent}};
    return send(fd, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask) ? 0 : -errno;
}

/* Whether any filter is left at a hook; true as well where the kernel does not say. */
static bool _sl_filters_left(unsigned ifindex, __u32 minor)
{
    char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
    SL_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || _sl_ask_filters(fd, ifindex, TC_H_MAKE(TC_H_CLSACT, minor)) < 0)
        return true;
    for (;;) {
        const ssize_t got = recv(fd, buf, sizeof(buf), 0);
        if (got <= 0)
            return true;
        size_t left = (size_t)got;
        for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, left);
             h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_DONE)
                return false;
            if (h->nlmsg_type == RTM_NEWTFILTER || h->nlmsg_type == NLMSG_ERROR)
                return true;
        }
    }
}

static int _sl_detach_one(unsigned ifindex)
{
    int n = 0;
    bool created = false;
    for (size_t i = 0; i < 2; i++) {
        const struct bpf_tc_hook hook = _sl_hook(ifindex, _sl_points[i]);
        const __u32 handle = _sl_ours(&hook);
        if (!handle)
            continue;
        struct bpf_tc_opts o = {.sz = sizeof(o), .handle = handle, .priority = SL_TC_PRIORITY};
        if (bpf_tc_detach(&hook, &o) == 0)
            n++;
        created |= handle == SL_HANDLE_CREATED;
    }
    if (created && !_sl_filters_left(ifindex, TC_H_MIN_INGRESS) &&
        !_sl_filters_left(ifindex, TC_H_MIN_EGRESS)) {
        struct bpf_tc_hook both = _sl_hook(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
        (void)bpf_tc_hook_destroy(&both);
    }
    return n;
}

/* ifindex 0: every interface. */
int sl_clsact_detach(unsigned ifindex)
{
    int n = 0;
    if (ifindex)
        return _sl_detach_one(ifindex);
    struct if_nameindex *all = if_nameindex();
    for (const struct if_nameindex *i = all; i && i->if_index; i++)
        n += _sl_detach_one(i->if_index);
    if (all)
        if_freenameindex(all);
    return n;
}
