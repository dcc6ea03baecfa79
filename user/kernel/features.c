/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel has of what the guard can use. Each is tried, never concluded from a version: vendors
 * backport, and leave out. What is missing is switched off, said in the log and listed by `sluicectl status`;
 * a guard cannot be had without the required ones.
 */
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SL_TCX_INGRESS    ((enum bpf_attach_type)46) /* kernel 6.6 */
#define SL_NO_SUCH_DEVICE 0x7ffffff0

/* r0 = verdict; exit */
static int _sl_program(enum bpf_prog_type type, int verdict, __u32 flags)
{
    const struct bpf_insn code[] = {{.code = 0xb7, .imm = verdict}, {.code = 0x95}};
    LIBBPF_OPTS(bpf_prog_load_opts, o, .prog_flags = flags,
                .expected_attach_type = type == BPF_PROG_TYPE_XDP ? BPF_XDP : 0);
    return bpf_prog_load(type, "sl_probe", "GPL", code, SL_ARRAY_LEN(code), &o);
}

/* An invalid device tells nothing (EINVAL, as from a kernel without such links): for a moment on lo, passing.
 */
static bool _sl_has_xdp_link(void)
{
    LIBBPF_OPTS(bpf_link_create_opts, o, .flags = XDP_FLAGS_SKB_MODE);
    SL_CLOSE int prog = _sl_program(BPF_PROG_TYPE_XDP, XDP_PASS, 0);
    if (prog < 0)
        return false;
    SL_CLOSE int link = bpf_link_create(prog, (int)if_nametoindex("lo"), BPF_XDP, &o);
    return link >= 0 || errno == EBUSY || errno == EEXIST;
}

/* Who knows TCX looks for the device, and finds none. */
static bool _sl_has_tcx(void)
{
    SL_CLOSE int prog = _sl_program(BPF_PROG_TYPE_SCHED_CLS, 0, 0);
    if (prog < 0)
        return false;
    SL_CLOSE int link = bpf_link_create(prog, SL_NO_SUCH_DEVICE, SL_TCX_INGRESS, NULL);
    return link < 0 && errno == ENODEV;
}

static bool _sl_has_frags(void)
{
    SL_CLOSE int prog = _sl_program(BPF_PROG_TYPE_XDP, XDP_PASS, BPF_F_XDP_HAS_FRAGS);
    return prog >= 0;
}

static bool _sl_has_ringbuf(void)
{
    return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1;
}

static bool _sl_has_socket_storage(void)
{
    return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL) == 1 &&
           libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_sk_storage_get, NULL) == 1;
}

static int _sl_drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};
    return (int)syscall(SYS_capset, &head, none);
}

/* As the controller and the workers will: through a descriptor, without any privilege. */
static bool _sl_has_unprivileged_maps(void)
{
    const __u32 zero = 0;
    __u32 value;
    int status = 0;
    SL_CLOSE int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_probe", sizeof(zero), sizeof(value), 1, NULL);
    const pid_t pid = map < 0 ? -1 : fork();
    if (pid == 0)
        _exit(_sl_drop_capabilities() == 0 && bpf_map_lookup_elem(map, &zero, &value) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static const struct {
    struct sl_feature what; /* present: required */
    bool (*probe)(void);
} _sl_features[SL_FEATURES] = {
    [SL_FEATURE_XDP_LINK] = {{"xdp_link", true, "no guard: programs could not be replaced without a gap"},
                             _sl_has_xdp_link},
    [SL_FEATURE_RINGBUF] = {{"ring_buffer", true, "no guard: its drops could not be sampled"},
                            _sl_has_ringbuf},
    [SL_FEATURE_FRAGS] = {{"xdp_frags", false,
                           "frames larger than a page (MTU above about 3500) have the guard in generic mode "
                           "only"},
                          _sl_has_frags},
    [SL_FEATURE_SYN_COOKIES] = {{"syn_cookies", false, "no SYN is answered with a cookie by the guard"},
                                sl_cookies_probe},
    [SL_FEATURE_SOCKET_STORAGE] = {{"socket_storage", false, "bytes per consumer are not counted"},
                                   _sl_has_socket_storage},
    [SL_FEATURE_TCX] = {{"tcx", false, "the meter is attached by clsact, whose filters others can remove"},
                        _sl_has_tcx},
    [SL_FEATURE_UNPRIVILEGED_MAPS] = {{"unprivileged_maps", false,
                                       "what the kernel counts is missing in metrics, top and penalties, and "
                                       "bytes per consumer are not counted"},
                                      _sl_has_unprivileged_maps},
};

/* $SLUICE_WITHOUT, "tcx,xdp_frags": to be tried on a kernel that has them. */
static bool _sl_told_without(const char *name)
{
    const char *list = secure_getenv("SLUICE_WITHOUT");
    struct sl_slice rest = sl_slice_str(list ? list : ""), one;
    while (sl_slice_next(&rest, ',', &one))
        if (sl_slice_eq(one, sl_slice_str(name)))
            return true;
    return false;
}

bool sl_feature_probe(enum sl_feature_id id)
{
    return !_sl_told_without(_sl_features[id].what.name) && _sl_features[id].probe();
}

int sl_features_probe(struct sl_kernel_guard *g)
{
    int r = 0;
    for (unsigned i = 0; i < SL_FEATURES; i++) {
        const struct sl_feature *f = &_sl_features[i].what;
        g->features[i] = *f;
        g->features[i].present = sl_feature_probe(i);
        if (g->features[i].present)
            continue;
        sl_log(f->present ? SL_LOG_ERROR : SL_LOG_WARNING, "kernel: this kernel has no %s: %s", f->name,
               f->without);
        r = f->present ? -EOPNOTSUPP : r;
    }
    return r;
}

bool sl_has(const struct sl_kernel_guard *g, enum sl_feature_id id)
{
    return g->features[id].present;
}

size_t sl_kernel_features(const struct sl_kernel_guard *g, const struct sl_feature **out)
{
    *out = g->features;
    return g->off ? 0 : SL_FEATURES;
}
