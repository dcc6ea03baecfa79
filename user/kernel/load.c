/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading the programs over the pinned maps of a former daemon, or over new ones.
 *
 * Invariant: a map is taken over only where its shape is the one that the programs want; the bucket table
 * alone is carried over into one of another size, so that limits hold over a change of kernel.table_size.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "kernel/maps.h"
#include "tc_meter.skel.h"
#include "xdp_guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define SL_USAGE_BYTES (64u << 20) /* ceiling of the per-CPU byte counters, over all CPUs */

static int _sl_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
    char *line = NULL;
    const int kept = errno;
    (void)level;
    if (vasprintf(&line, fmt, args) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        sl_debug("libbpf: %s", line);
        free(line);
    }
    errno = kept;
    return 0;
}

void sl_libbpf_quiet(void)
{
    (void)libbpf_set_print(_sl_print);
}

/* Before 5.11 BPF memory counts as locked memory. */
int sl_memlock_raise(void)
{
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &all) < 0)
        sl_debug("kernel: RLIMIT_MEMLOCK stays as it is: %s", strerror(errno));
    return 0;
}

/* ---- the state header */

static int _sl_boot_id(__u8 out[16])
{
    SL_BUF struct sl_buf text = {0};
    size_t n = 0;
    const int r = sl_read_file("/proc/sys/kernel/random/boot_id", 64, &text);
    if (r < 0)
        return sl_error_r(r, "kernel: cannot read the boot id");
    for (const char *p = sl_buf_data(&text); p < text.base + text.end && n < 32; p++) {
        const int v = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (v < 0)
            continue;
        out[n / 2] = (__u8)(n % 2 ? out[n / 2] | v : v << 4);
        n++;
    }
    return n == 32 ? 0 : sl_error_r(-EINVAL, "kernel: the boot id is no UUID");
}

/* 1: the pinned state is of this schema and boot; 0: there is none, or it was discarded with a message. */
static int _sl_state_is_ours(const struct sl_kernel_guard *g, struct sl_state_header *header)
{
    char path[SL_PIN_PATH];
    struct sl_state_header was = {0};
    const __u32 zero = 0;
    sl_pin_path(path, g->dir, "maps", "", "sl_state");
    SL_CLOSE int fd = bpf_obj_get(path);
    if (fd < 0 && errno == ENOENT)
        return 0;
    const bool read = fd >= 0 && bpf_map_lookup_elem(fd, &zero, &was) == 0;
    if (read && was.schema == header->schema &&
        memcmp(was.boot_id, header->boot_id, sizeof(was.boot_id)) == 0) {
        *header = was;
        return 1;
    }
    sl_warn("kernel: the state pinned at %s is of another %s: discarded, buckets start full and penalties "
            "are gone",
            g->dir, !read || was.schema != SL_ABI_SCHEMA ? "schema" : "boot");
    return 0;
}

/* ---- maps */

/* Maps of ours, in both objects; libbpf's own (.rodata, .bss) belong to one loaded program. */
static int _sl_each_map(struct sl_kernel_guard *g, int (*fn)(struct sl_kernel_guard *, struct bpf_map *))
{
    struct bpf_object *objects[2] = {g->xdp->obj, g->meter ? g->meter->obj : NULL};
    for (size_t i = 0; i < 2; i++) {
        struct bpf_map *m;
        if (!objects[i])
            continue;
        bpf_object__for_each_map(m, objects[i])
        {
            const int r = bpf_map__is_internal(m) ? 0 : fn(g, m);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static bool _sl_same_shape(const struct bpf_map *m, const struct bpf_map_info *i)
{
    /* libbpf leaves max_entries of SK_STORAGE at 0, and the kernel adds flags of its own to none of our
     * types. */
    return i->type == bpf_map__type(m) && i->key_size == bpf_map__key_size(m) &&
           i->value_size == bpf_map__value_size(m) && i->max_entries == bpf_map__max_entries(m) &&
           i->map_flags == bpf_map__map_flags(m);
}

static int _sl_reuse(struct sl_kernel_guard *g, struct bpf_map *m)
{
    char path[SL_PIN_PATH];
    struct bpf_map_info info = {0};
    __u32 len = sizeof(info);
    sl_pin_path(path, g->dir, "maps", "", bpf_map__name(m));
    SL_CLOSE int fd = bpf_obj_get(path);
    if (fd < 0)
        return errno == ENOENT ? 0 : sl_error_r(-errno, "kernel: cannot open %s", path);
    if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
        return sl_error_r(-errno, "kernel: cannot look at %s", path);
    if (!_sl_same_shape(m, &info)) {
        sl_info("kernel: map %s changes its shape (%u entries to %u)", bpf_map__name(m), info.max_entries,
                bpf_map__max_entries(m));
        return 0;
    }
    const int r = bpf_map__reuse_fd(m, fd);
    return r < 0 ? sl_error_r(r, "kernel: cannot take over %s", path) : 0;
}

/* A pin of another map by that name is one that _sl_reuse refused. */
static int _sl_pin(struct sl_kernel_guard *g, struct bpf_map *m)
{
    char path[SL_PIN_PATH];
    struct bpf_map_info mine = {0}, there = {0};
    __u32 len = sizeof(mine);
    sl_pin_path(path, g->dir, "maps", "", bpf_map__name(m));
    SL_CLOSE int fd = bpf_obj_get(path);
    if (fd >= 0) {
        if (bpf_obj_get_info_by_fd(bpf_map__fd(m), &mine, &len) < 0 ||
            bpf_obj_get_info_by_fd(fd, &there, &len) < 0)
            return sl_error_r(-errno, "kernel: cannot look at %s", path);
        if (mine.id == there.id)
            return 0;
        if (unlink(path) < 0)
            return sl_error_r(-errno, "kernel: cannot replace %s", path);
    }
    return bpf_obj_pin(bpf_map__fd(m), path) < 0 ? sl_error_r(-errno, "kernel: cannot pin %s", path) : 0;
}

int sl_guard_pin_maps(struct sl_kernel_guard *g)
{
    return _sl_each_map(g, _sl_pin);
}

int sl_guard_carry_buckets(struct sl_kernel_guard *g, int fd)
{
    size_t n = 0;
    struct sl_bucket *old = sl_maps_buckets(fd, &n);
    if (!old)
        return sl_error_r(-errno, "kernel: cannot read the former bucket table");
    const uint64_t now = sl_now_ns();
    for (size_t i = 0; i < n; i++) {
        /* Pins are taken anew by the plan; what lies behind now is a full bucket, like none. */
        struct sl_bucket *b =
            old[i].key && old[i].tat > now ? sl_bucket_get(&g->table, old[i].key, now) : NULL;
        if (old[i].key & SL_BUCKET_PINNED)
            b = sl_bucket_pin(&g->table, old[i].key, now);
        if (b)
            *b = (struct sl_bucket){b->key, old[i].tat, old[i].admitted, old[i].denied};
    }
    (void)munmap(old, n * sizeof(*old));
    return 0;
}

/* A table of another size was not taken over: its buckets are. */
static int _sl_carry_size(struct sl_kernel_guard *g)
{
    char path[SL_PIN_PATH];
    struct bpf_map_info info = {0};
    __u32 len = sizeof(info);
    sl_pin_path(path, g->dir, "maps", "", "sl_buckets");
    SL_CLOSE int fd = bpf_obj_get(path);
    if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.max_entries == g->table.n)
        return 0;
    return sl_guard_carry_buckets(g, fd);
}

static uint32_t _sl_usage_slots(void)
{
    const int cpus = libbpf_num_possible_cpus();
    const size_t fit = SL_USAGE_BYTES / sizeof(struct sl_consumer_bytes) / (size_t)SL_MAX(cpus, 1);
    return (uint32_t)SL_MIN(fit, (size_t)SL_MAX_CONSUMER_SLOTS);
}

/* ---- the whole */

static int _sl_use_frags(struct sl_kernel_guard *g)
{
    g->xdp->rodata->have_frags = sl_has(g, SL_FEATURE_FRAGS);
    return sl_has(g, SL_FEATURE_FRAGS)
               ? bpf_program__set_flags(g->xdp->progs.sl_xdp_guard, BPF_F_XDP_HAS_FRAGS)
               : 0;
}

static int _sl_open(struct sl_kernel_guard *g, uint32_t table_size)
{
    g->xdp = xdp_guard__open();
    g->meter = g->xdp ? tc_meter__open() : NULL;
    if (!g->xdp || !g->meter)
        return sl_error_r(-errno, "kernel: cannot open the built-in programs");
    g->xdp->rodata->have_syn_cookies = sl_has(g, SL_FEATURE_SYN_COOKIES);
    int r = _sl_use_frags(g);
    if (r == 0)
        r = bpf_map__set_max_entries(g->xdp->maps.sl_buckets, table_size);
    if (r == 0)
        r = bpf_map__set_max_entries(g->xdp->maps.sl_sources, table_size);
    if (r == 0)
        r = bpf_map__set_max_entries(g->meter->maps.sl_usage, _sl_usage_slots());
    return r < 0 ? sl_error_r(r, "kernel: cannot set up the programs and maps") : 0;
}

/* bpf_sk_storage_get wants the kernel's BTF; everything else does without. */
static int _sl_load_meter(struct sl_kernel_guard *g)
{
    if (!sl_has(g, SL_FEATURE_SOCKET_STORAGE)) { /* said by the probe */
        tc_meter__destroy(g->meter);
        g->meter = NULL;
        return 0;
    }
    int r = bpf_map__reuse_fd(g->meter->maps.sl_hints, bpf_map__fd(g->xdp->maps.sl_hints));
    if (r == 0)
        r = tc_meter__load(g->meter);
    if (r == 0)
        return 0;
    if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
        return sl_error_r(
            r, "kernel: the meter at TC was refused; --log-level debug shows the verifier's words");
    sl_warn("kernel: this kernel has no BTF (CONFIG_DEBUG_INFO_BTF): bytes per consumer are not counted");
    tc_meter__destroy(g->meter);
    g->meter = NULL;
    g->features[SL_FEATURE_SOCKET_STORAGE].present = false;
    return 0;
}

static int _sl_load_programs(struct sl_kernel_guard *g)
{
    struct utsname u;
    const int r = xdp_guard__load(g->xdp);
    if (r == 0)
        return _sl_load_meter(g);
    if (r == -EPERM)
        return sl_error_r(r, "kernel: loading BPF needs CAP_BPF and CAP_NET_ADMIN: start as root, or write "
                             "kernel.mode: off");
    (void)uname(&u);
    return sl_error_r(
        r,
        "kernel: the guard was refused by kernel %s (it needs 5.15 or later); --log-level debug "
        "shows the verifier's words",
        u.release);
}

static int _sl_map_table(struct sl_kernel_guard *g, const struct sl_state_header *header)
{
    g->table.slots = sl_maps_buckets(bpf_map__fd(g->xdp->maps.sl_buckets), &g->table.n);
    g->table.seed = header->bucket_seed;
    return g->table.slots ? 0 : sl_error_r(-errno, "kernel: cannot map the bucket table");
}

static int _sl_write_header(struct sl_kernel_guard *g, struct sl_state_header *header)
{
    const __u32 zero = 0;
    header->bucket_slots = g->table.n;
    if (bpf_map_update_elem(bpf_map__fd(g->xdp->maps.sl_state), &zero, header, BPF_ANY) < 0)
        return sl_error_r(-errno, "kernel: cannot write the state's header");
    return 0;
}

int sl_guard_load(struct sl_kernel_guard *g, uint32_t table_size)
{
    struct sl_state_header header = {.schema = SL_ABI_SCHEMA};
    int r = _sl_boot_id(header.boot_id);
    if (r == 0 && getrandom(&header.bucket_seed, sizeof(header.bucket_seed), 0) != sizeof(header.bucket_seed))
        r = sl_error_r(-EIO, "kernel: no random seed");
    if (r == 0)
        r = sl_features_probe(g);
    if (r == 0)
        r = _sl_open(g, table_size);
    if (r < 0)
        return r;
    const bool ours = _sl_state_is_ours(g, &header) == 1;
    const bool before = !ours && sl_before_state(g, &header);
    if (ours)
        r = _sl_each_map(g, _sl_reuse);
    g->xdp->rodata->top_seed = header.bucket_seed; /* the one kept, so that sources stay in their slots */
    if (r == 0)
        r = _sl_load_programs(g);
    if (r == 0)
        r = _sl_map_table(g, &header);
    if (r == 0)
        r = sl_hints_open(g);
    if (r == 0 && ours)
        r = _sl_carry_size(g);
    if (r == 0 && before)
        r = sl_before_copy(g, &header);
    return r < 0 ? r : _sl_write_header(g, &header);
}

void sl_guard_unload(struct sl_kernel_guard *g)
{
    if (g->table.slots)
        (void)munmap(g->table.slots, g->table.n * sizeof(*g->table.slots));
    g->table.slots = NULL;
    sl_hints_close(g);
    xdp_guard__destroy(g->xdp);
    tc_meter__destroy(g->meter);
    g->xdp = NULL;
    g->meter = NULL;
}

int sl_guard_map(const struct sl_kernel_guard *g, enum sl_plan_map m)
{
    const struct bpf_map *maps[SL_PLAN_MAPS];
    if (!g->xdp)
        return -1;
    maps[SL_PLAN_LISTENERS] = g->xdp->maps.sl_listeners;
    maps[SL_PLAN_LISTS4] = g->xdp->maps.sl_lists4;
    maps[SL_PLAN_LISTS6] = g->xdp->maps.sl_lists6;
    maps[SL_PLAN_CONSUMERS4] = g->xdp->maps.sl_consumers4;
    maps[SL_PLAN_CONSUMERS6] = g->xdp->maps.sl_consumers6;
    return bpf_map__fd(maps[m]);
}

int sl_guard_penalties(const struct sl_kernel_guard *g)
{
    return g->xdp ? bpf_map__fd(g->xdp->maps.sl_penalties) : -1;
}

int sl_guard_list_files(const struct sl_kernel_guard *g)
{
    return g->xdp ? bpf_map__fd(g->xdp->maps.sl_list_files) : -1;
}

int sl_guard_write_config(struct sl_kernel_guard *g)
{
    const __u32 zero = 0;
    struct sl_kernel_config c = g->plan->config;
    if (bpf_map_update_elem(bpf_map__fd(g->xdp->maps.sl_sampling), &zero, &g->plan->sampling, BPF_ANY) < 0)
        return sl_error_r(-errno, "kernel: cannot write how often drops are sampled");
    c.flags |= g->have_penalties ? SL_HAVE_PENALTIES : 0u;
    c.flags |= g->files.fd >= 0 ? SL_HAVE_LIST_FILES : 0u;
    if (bpf_map_update_elem(bpf_map__fd(g->xdp->maps.sl_config), &zero, &c, BPF_ANY) < 0)
        return sl_error_r(-errno, "kernel: cannot write the settings");
    return 0;
}

struct sl_kernel_fds sl_kernel_fds(const struct sl_kernel_guard *g)
{
    struct sl_kernel_fds f = SL_KERNEL_NO_FDS;
    f.buckets = g->memfd;
    if (!g->xdp)
        return f;
    f.buckets = bpf_map__fd(g->xdp->maps.sl_buckets);
    f.reasons = bpf_map__fd(g->xdp->maps.sl_reasons);
    f.listener_stats = bpf_map__fd(g->xdp->maps.sl_stats);
    f.penalties = sl_guard_penalties(g);
    f.lists4 = sl_guard_map(g, SL_PLAN_LISTS4);
    f.lists6 = sl_guard_map(g, SL_PLAN_LISTS6);
    f.samples = bpf_map__fd(g->xdp->maps.sl_samples);
    f.sampled = bpf_map__fd(g->xdp->maps.sl_sampled);
    f.top = bpf_map__fd(g->xdp->maps.sl_top);
    if (g->meter) {
        f.socket_storage = bpf_map__fd(g->meter->maps.sl_sockets);
        f.consumer_bytes = bpf_map__fd(g->meter->maps.sl_usage);
    }
    return f;
}

int sl_kernel_keep_seed(struct sl_kernel_guard *g, uint64_t seed)
{
    struct sl_state_header header;
    const __u32 zero = 0;
    if (g->table.seed == seed)
        return 0;
    for (size_t at = 0, end; (at = sl_kernel_buckets_written(g, at, &end)) < g->table.n; at = end)
        for (size_t i = at; i < end; i++)
            if (g->table.slots[i].key && !(g->table.slots[i].key & SL_BUCKET_PINNED))
                return -EBUSY;
    g->table.seed = seed;
    if (g->off)
        return 0;
    if (bpf_map_lookup_elem(bpf_map__fd(g->xdp->maps.sl_state), &zero, &header) < 0)
        return -errno;
    header.bucket_seed = seed;
    return bpf_map_update_elem(bpf_map__fd(g->xdp->maps.sl_state), &zero, &header, BPF_ANY) < 0 ? -errno : 0;
}
