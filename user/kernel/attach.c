/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs on an interface: XDP by a pinned link, native or else generic; TC by pinned TCX links, or
 * clsact filters on kernels before 6.6.
 *
 * Invariant: no other program is ever displaced. A link of a former daemon is taken over with
 * BPF_LINK_UPDATE, so that the driver does not reset its queues and no packet passes unguarded.
 */
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "tc_meter.skel.h"
#include "xdp_guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>

/* enum bpf_attach_type of kernel 6.6, which Debian 12's headers do not name. */
#define SL_TCX_INGRESS ((enum bpf_attach_type)46)
#define SL_TCX_EGRESS  ((enum bpf_attach_type)47)

static const char *const _sl_tcx_prefix[2] = {"tcx_in_", "tcx_out_"};

/* The pinned link where it is on this interface, else -1 and the pin is gone: the interface went and came
 * back, and took the link with it. */
static int _sl_pinned_link(const char *path, unsigned ifindex)
{
    struct bpf_link_info info = {0};
    __u32 len = sizeof(info);
    SL_CLOSE int fd = bpf_obj_get(path);
    if (fd < 0)
        return -1;
    /* bpf_link_info.tcx begins with ifindex as .xdp does. */
    if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.xdp.ifindex == ifindex)
        return SL_TAKE_FD(fd);
    (void)bpf_link_detach(fd);
    (void)unlink(path);
    return -1;
}

/* The link of a former daemon on this interface: pinned at path, or at *old by a schema before ("": not). */
static int _sl_former_link(const struct sl_kernel_guard *g, const struct sl_attachment *a, const char *prefix,
                           const char *path, char old[SL_PIN_PATH])
{
    int fd = _sl_pinned_link(path, a->ifindex);
    old[0] = '\0';
    for (size_t i = 0; fd < 0 && i < g->n_before; i++) {
        sl_pin_path(old, g->before[i].dir, "links", prefix, a->name);
        fd = _sl_pinned_link(old, a->ifindex);
    }
    if (fd < 0)
        old[0] = '\0';
    return fd;
}

/* Our program in the place of the one that runs there: between two packets. */
static int _sl_take_link(int fd, int prog, const char *path, const char *old)
{
    if (bpf_link_update(fd, prog, NULL) < 0)
        return -errno;
    if (old[0] && bpf_obj_pin(fd, path) < 0)
        return -errno;
    if (old[0])
        (void)unlink(old);
    return 0;
}

static int _sl_pin_link(int fd, const char *path)
{
    if (bpf_obj_pin(fd, path) == 0)
        return 0;
    const int r = -errno;
    (void)bpf_link_detach(fd);
    return sl_error_r(r, "kernel: cannot pin %s", path);
}

/* ---- XDP */

static int _sl_xdp_query(unsigned ifindex, struct bpf_xdp_query_opts *q)
{
    *q = (struct bpf_xdp_query_opts){.sz = sizeof(*q)};
    return bpf_xdp_query((int)ifindex, 0, q);
}

static void _sl_report_owner(const char *name, __u32 id)
{
    struct bpf_prog_info info = {0};
    __u32 len = sizeof(info);
    SL_CLOSE int fd = bpf_prog_get_fd_by_id(id);
    if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
        (void)snprintf(info.name, sizeof(info.name), "?");
    sl_error("kernel: interface %s already has the XDP program %s (id %u): take it off, or leave the "
             "interface out of "
             "kernel.interfaces",
             name, info.name, id);
}

static int _sl_create_xdp(const struct sl_kernel_guard *g, const struct sl_attachment *a, __u32 flags)
{
    struct bpf_link_create_opts opts = {.sz = sizeof(opts), .flags = flags};
    const int fd =
        bpf_link_create(bpf_program__fd(g->xdp->progs.sl_xdp_guard), (int)a->ifindex, BPF_XDP, &opts);
    return fd < 0 ? -errno : fd;
}

static int _sl_new_xdp(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    int fd = -EOPNOTSUPP;
    if (g->mode != SL_KERNEL_GENERIC)
        fd = _sl_create_xdp(g, a, XDP_FLAGS_DRV_MODE);
    a->mode = SL_ATTACH_NATIVE;
    if (fd < 0 && g->mode == SL_KERNEL_NATIVE)
        return sl_error_r(
            fd, "kernel: interface %s does not take native XDP: kernel.mode auto or generic would do",
            a->name);
    if (fd < 0) {
        if (g->mode == SL_KERNEL_AUTO)
            sl_warn(
                "kernel: interface %s does not take native XDP (%s): attached in GENERIC mode, which drops "
                "packets only after the host has allocated and copied them",
                a->name, strerror(-fd));
        fd = _sl_create_xdp(g, a, XDP_FLAGS_SKB_MODE);
        a->mode = SL_ATTACH_GENERIC;
    }
    return fd < 0 ? sl_error_r(fd, "kernel: interface %s does not take XDP", a->name) : fd;
}

bool sl_attachment_mode_stands(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    struct bpf_xdp_query_opts q;
    if (_sl_xdp_query(a->ifindex, &q) < 0)
        return false;
    a->mode = q.attach_mode == XDP_ATTACHED_SKB ? SL_ATTACH_GENERIC : SL_ATTACH_NATIVE;
    return g->mode == SL_KERNEL_AUTO || (g->mode == SL_KERNEL_NATIVE) == (a->mode == SL_ATTACH_NATIVE);
}

static int _sl_attach_xdp(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    char path[SL_PIN_PATH], old[SL_PIN_PATH];
    struct bpf_xdp_query_opts q;
    sl_pin_path(path, g->dir, "links", "xdp_", a->name);
    SL_CLOSE int fd = _sl_former_link(g, a, "xdp_", path, old);
    if (fd >= 0 && sl_attachment_mode_stands(g, a)) {
        const int r = _sl_take_link(fd, bpf_program__fd(g->xdp->progs.sl_xdp_guard), path, old);
        if (r < 0)
            return sl_error_r(r, "kernel: cannot take over the XDP link of %s", a->name);
        a->xdp = SL_TAKE_FD(fd);
        return 0;
    }
    if (fd >= 0) {
        (void)bpf_link_detach(fd);
        (void)unlink(old[0] ? old : path);
    }
    if (_sl_xdp_query(a->ifindex, &q) == 0 && (q.prog_id || q.drv_prog_id || q.skb_prog_id || q.hw_prog_id)) {
        _sl_report_owner(a->name, q.prog_id       ? q.prog_id
                                  : q.drv_prog_id ? q.drv_prog_id
                                  : q.skb_prog_id ? q.skb_prog_id
                                                  : q.hw_prog_id);
        return -EBUSY;
    }
    SL_CLOSE int created = _sl_new_xdp(g, a);
    if (created < 0)
        return created;
    const int r = _sl_pin_link(created, path);
    if (r < 0)
        return r;
    a->xdp = SL_TAKE_FD(created);
    return 0;
}

/* ---- TC */

static int _sl_attach_tcx(const struct sl_kernel_guard *g, struct sl_attachment *a, int direction)
{
    char path[SL_PIN_PATH], old[SL_PIN_PATH];
    const int prog =
        bpf_program__fd(direction ? g->meter->progs.sl_tc_egress : g->meter->progs.sl_tc_ingress);
    sl_pin_path(path, g->dir, "links", _sl_tcx_prefix[direction], a->name);
    SL_CLOSE int fd = _sl_former_link(g, a, _sl_tcx_prefix[direction], path, old);
    if (fd >= 0) {
        const int taken = _sl_take_link(fd, prog, path, old);
        if (taken < 0)
            return sl_error_r(taken, "kernel: cannot take over the TC link of %s", a->name);
        a->tcx[direction] = SL_TAKE_FD(fd);
        return 0;
    }
    fd = bpf_link_create(prog, (int)a->ifindex, direction ? SL_TCX_EGRESS : SL_TCX_INGRESS, NULL);
    if (fd < 0)
        return -errno;
    const int r = _sl_pin_link(fd, path);
    if (r == 0)
        a->tcx[direction] = SL_TAKE_FD(fd);
    return r;
}

static int _sl_attach_tcx_both(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    int r = _sl_attach_tcx(g, a, 0);
    if (r == 0)
        r = _sl_attach_tcx(g, a, 1);
    if (r == 0)
        (void)sl_clsact_detach(a->ifindex); /* of a daemon that was told to do without TCX */
    return r < 0 ? sl_error_r(r, "kernel: interface %s does not take the meter", a->name) : 0;
}

/* Those of a daemon that was not told to do without: what is metered twice counts twice. */
static void _sl_drop_tcx(const struct sl_kernel_guard *g, const struct sl_attachment *a)
{
    char path[SL_PIN_PATH], old[SL_PIN_PATH];
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_tcx_prefix); i++) {
        sl_pin_path(path, g->dir, "links", _sl_tcx_prefix[i], a->name);
        SL_CLOSE int fd = _sl_former_link(g, a, _sl_tcx_prefix[i], path, old);
        if (fd < 0)
            continue;
        (void)bpf_link_detach(fd);
        (void)unlink(old[0] ? old : path);
    }
}

static int _sl_attach_tc(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    if (sl_has(g, SL_FEATURE_TCX))
        return _sl_attach_tcx_both(g, a);
    int r = sl_clsact_attach(a->ifindex, bpf_program__fd(g->meter->progs.sl_tc_ingress),
                             bpf_program__fd(g->meter->progs.sl_tc_egress));
    a->clsact = r == 0;
    if (r == 0)
        _sl_drop_tcx(g, a);
    return r < 0 ? sl_error_r(r, "kernel: interface %s does not take the meter by clsact", a->name) : 0;
}

bool sl_meter_wanted(const struct sl_kernel_guard *g)
{
    return g->meter && !g->plan->unmetered;
}

int sl_meter_on(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    if (!sl_meter_wanted(g) || a->tcx[0] >= 0 || a->clsact)
        return 0;
    const int r = _sl_attach_tc(g, a);
    if (r == 0)
        sl_info("kernel: interface %s metered at TC (%s)", a->name, a->clsact ? "clsact" : "tcx");
    return r;
}

static void _sl_drop(const struct sl_kernel_guard *g, const struct sl_attachment *a, const char *prefix,
                     int *fd)
{
    char path[SL_PIN_PATH];
    if (*fd < 0)
        return;
    sl_pin_path(path, g->dir, "links", prefix, a->name);
    (void)bpf_link_detach(*fd);
    (void)unlink(path);
    (void)close(*fd);
    *fd = -1;
}

void sl_meter_off(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    for (int i = 0; i < 2; i++)
        _sl_drop(g, a, _sl_tcx_prefix[i], &a->tcx[i]);
    _sl_drop_tcx(g, a); /* of a former daemon */
    if (a->ifindex)     /* 0 would be all */
        (void)sl_clsact_detach(a->ifindex);
    a->clsact = false;
}

/* ---- both */

void sl_detach(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    _sl_drop(g, a, "xdp_", &a->xdp);
    sl_meter_off(g, a);
    a->mode = SL_ATTACH_NONE;
}

void sl_attachment_close(struct sl_attachment *a)
{
    sl_closep(&a->xdp);
    sl_closep(&a->tcx[0]);
    sl_closep(&a->tcx[1]);
    a->xdp = a->tcx[0] = a->tcx[1] = -1;
    a->clsact = false; /* filters have no descriptor: they are found again */
}

bool sl_attachment_pinned(const struct sl_kernel_guard *g, const struct sl_attachment *a)
{
    char path[SL_PIN_PATH];
    sl_pin_path(path, g->dir, "links", "xdp_", a->name);
    return access(path, F_OK) == 0;
}

/* What runs there is ours, pinned under the name that the interface had before. */
static void _sl_find_renamed(const struct sl_kernel_guard *g, const struct sl_attachment *a)
{
    struct bpf_xdp_query_opts q;
    if (_sl_xdp_query(a->ifindex, &q) < 0)
        return;
    const __u32 id = q.prog_id ? q.prog_id : q.drv_prog_id ? q.drv_prog_id : q.skb_prog_id;
    if (!id)
        return;
    sl_pins_rename(g->dir, a->ifindex, id, a->name);
    for (size_t i = 0; i < g->n_before; i++)
        sl_pins_rename(g->before[i].dir, a->ifindex, id, a->name);
}

static bool _sl_had_pin(const struct sl_kernel_guard *g, const struct sl_attachment *a)
{
    char path[SL_PIN_PATH];
    bool had = a->xdp >= 0 || sl_attachment_pinned(g, a);
    for (size_t i = 0; !had && i < g->n_before; i++) {
        sl_pin_path(path, g->before[i].dir, "links", "xdp_", a->name);
        had = access(path, F_OK) == 0;
    }
    return had;
}

int sl_attach(struct sl_kernel_guard *g, struct sl_attachment *a)
{
    a->ifindex = if_nametoindex(a->name);
    if (a->ifindex == 0)
        return sl_error_r(-ENODEV, "kernel: there is no interface %s in this network namespace", a->name);
    _sl_find_renamed(g, a);
    const bool had = _sl_had_pin(g, a);
    sl_attachment_close(a);
    int r = _sl_attach_xdp(g, a);
    if (r == 0)
        r = sl_meter_on(g, a);
    if (r < 0) {
        if (had)
            sl_attachment_close(a); /* it was on when we came */
        else
            sl_detach(g, a);
        return r;
    }
    a->released = a->renamed = false;
    a->fresh = !had;
    sl_info("kernel: interface %s guarded at XDP (%s)", a->name,
            a->mode == SL_ATTACH_NATIVE ? "native" : "generic");
    return 0;
}
