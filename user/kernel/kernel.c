/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard's life: start, apply, refresh, close. The order is load, fill the maps, attach: an interface
 * never carries a program with empty maps, and a failure before the end detaches what this start or apply
 * attached.
 */
#include "kernel/kernel.h"
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "kernel/maps.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- the bucket table without BPF */

static uint32_t _sl_table_size(const struct sl_snapshot *s)
{
    uint32_t n = 1024;
    while (n < s->kernel.table_size && n < 1u << 27)
        n *= 2;
    return n;
}

/* The table of the process before goes on, in its size: limits hold over an upgrade. */
static int _sl_start_off(struct sl_kernel_guard *g, uint32_t table_size,
                         const struct sl_kernel_handover *from)
{
    SL_CLOSE int fd =
        from ? fcntl(from->buckets, F_DUPFD_CLOEXEC, 0) : memfd_create("sluice-buckets", MFD_CLOEXEC);
    if (fd < 0 || (!from && ftruncate(fd, (off_t)(table_size * sizeof(struct sl_bucket))) < 0))
        return sl_error_r(-errno, "kernel: cannot make the bucket table");
    g->table.slots = sl_maps_buckets(fd, &g->table.n);
    if (!g->table.slots)
        return sl_error_r(-errno, "kernel: cannot map the bucket table");
    if (from)
        g->table.seed = from->bucket_seed;
    else if (getrandom(&g->table.seed, sizeof(g->table.seed), 0) != sizeof(g->table.seed))
        return sl_error_r(-EIO, "kernel: no random seed");
    g->off = true;
    g->memfd = SL_TAKE_FD(fd);
    sl_info("kernel: mode off: no packet is dropped by the kernel, and no bytes are counted per consumer");
    return 0;
}

/* ---- interfaces */

static struct sl_attachment *_sl_attachment_of(struct sl_attachment *v, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i].name, name) == 0)
            return &v[i];
    return NULL;
}

/* The policy's interfaces, those that we have with their descriptors. */
static int _sl_wanted(const struct sl_kernel_guard *g, const struct sl_snapshot *s,
                      struct sl_attachment **out, size_t *n_out)
{
    const struct sl_strings *names = &s->kernel.interfaces;
    struct sl_attachment *v = calloc(names->n ? names->n : 1, sizeof(*v));
    size_t n = 0;
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; s->kernel.mode != SL_KERNEL_OFF && i < names->n; i++) {
        struct sl_attachment a = {.xdp = -1, .tcx = {-1, -1}};
        if (names->v[i].n >= sizeof(a.name)) {
            sl_error("kernel: interface " SL_SFMT ": a name has at most 15 bytes", SL_SARG(names->v[i]));
            free(v);
            return -ENODEV;
        }
        memcpy(a.name, names->v[i].p, names->v[i].n);
        const struct sl_attachment *had = _sl_attachment_of(g->attachments, g->n_attachments, a.name);
        if (!_sl_attachment_of(v, n, a.name))
            v[n++] = had ? *had : a;
    }
    *out = v;
    *n_out = n;
    return 0;
}

/* Whether XDP is attached already, as the policy wants it. */
static bool _sl_stands(const struct sl_kernel_guard *g, struct sl_attachment *a)
{
    return a->xdp >= 0 && a->ifindex == if_nametoindex(a->name) && sl_attachment_pinned(g, a) &&
           sl_attachment_mode_stands(g, a);
}

/* Attaches all; on failure those are taken off again that had not been on. */
static int _sl_attach_all(struct sl_kernel_guard *g, struct sl_attachment *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i].fresh = false;
    for (size_t i = 0; i < n; i++) {
        const int r = _sl_stands(g, &v[i]) ? sl_meter_on(g, &v[i]) : sl_attach(g, &v[i]);
        if (r == 0)
            continue;
        while (i-- > 0)
            if (v[i].fresh)
                sl_detach(g, &v[i]);
        return r;
    }
    return 0;
}

/* The descriptors of interfaces that we had may be new ones now. */
static void _sl_write_back(struct sl_kernel_guard *g, const struct sl_attachment *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sl_attachment *had = _sl_attachment_of(g->attachments, g->n_attachments, v[i].name);
        if (had)
            *had = v[i];
    }
}

static bool _sl_on_index(const struct sl_attachment *v, size_t n, unsigned ifindex)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].ifindex == ifindex)
            return true;
    return false;
}

static void _sl_detach_unwanted(struct sl_kernel_guard *g, struct sl_attachment *v, size_t n)
{
    for (size_t i = 0; i < g->n_attachments; i++) {
        struct sl_attachment *a = &g->attachments[i];
        if (_sl_attachment_of(v, n, a->name))
            continue;
        if (a->ifindex && _sl_on_index(v, n, a->ifindex)) { /* the same, by its new name */
            sl_attachment_close(a);
            continue;
        }
        sl_info("kernel: interface %s is no longer guarded", a->name);
        sl_detach(g, a);
    }
}

/* Only once a policy is in force, or in force again: until then the other one may need them. */
static void _sl_meters_off(const struct sl_kernel_guard *g, struct sl_attachment *v, size_t n)
{
    for (size_t i = 0; i < n && !sl_meter_wanted(g); i++)
        sl_meter_off(g, &v[i]);
}

/* ---- maps */

static int _sl_sync_maps(struct sl_kernel_guard *g, const struct sl_plan *p)
{
    const int r = sl_guard_sync_maps(g, p, 0, SL_PLAN_MAPS - 1);
    return r < 0 ? r : sl_guard_write_config(g);
}

/* Slots that no consumer of the plan has any more, be it of a former daemon, may be reused. */
static void _sl_unpin_buckets(struct sl_kernel_guard *g)
{
    size_t at = 0;
    for (size_t i = 0; i < g->table.n; i++) {
        while (at < g->plan->n_pinned && g->plan->pinned[at] < i)
            at++;
        if (at == g->plan->n_pinned || g->plan->pinned[at] != i)
            sl_bucket_unpin(&g->table.slots[i]);
    }
}

static int _sl_new_plan(struct sl_kernel_guard *g, const struct sl_snapshot *s, struct sl_plan **out)
{
    SL_CLEANUP(sl_addresses_free) struct sl_addresses host = {0};
    int r = sl_host_addresses(&host);
    if (r == 0)
        r = sl_plan_new(s, &host, &g->manuals, &g->table, g->generation + 1, out);
    return r < 0 ? r : sl_cookies_plan(g, s, *out);
}

/* The new plan's maps, then its interfaces; where either fails the old plan's maps come back. In *files the
 * old ones come back in each case. */
static int _sl_switch(struct sl_kernel_guard *g, struct sl_plan *p, struct sl_range_files *files,
                      struct sl_attachment *v, size_t n, enum sl_kernel_mode mode)
{
    struct sl_plan *old = g->plan;
    const enum sl_kernel_mode old_mode = g->mode;
    g->plan = p;
    g->mode = mode;
    const int swapped = sl_range_files_swap(g, files);
    int r = swapped;
    if (r == 0)
        r = _sl_sync_maps(g, p);
    if (r == 0)
        r = _sl_attach_all(g, v, n);
    if (r == 0)
        return 0;
    _sl_write_back(g, v, n);
    g->plan = old;
    g->mode = old_mode;
    _sl_meters_off(g, g->attachments, g->n_attachments);
    if (swapped == 0 && sl_range_files_swap(g, files) < 0)
        sl_error("kernel: the former policy's lists could not be brought back");
    if (old && _sl_sync_maps(g, old) < 0)
        sl_error("kernel: the former policy's maps could not be brought back whole");
    else
        sl_range_files_settle(g);
    return r;
}

static int _sl_apply(struct sl_kernel_guard *g, const struct sl_snapshot *s)
{
    SL_CLEANUP(sl_plan_freep) struct sl_plan *p = NULL;
    SL_FREE struct sl_attachment *v = NULL;
    SL_CLEANUP(sl_range_files_free) struct sl_range_files files = {.fd = -1};
    size_t n = 0;
    int r = _sl_new_plan(g, s, &p);
    if (r == 0)
        r = sl_range_files_new(g, s, &files);
    if (r == 0)
        r = _sl_wanted(g, s, &v, &n);
    if (r == 0)
        r = sl_pins_reopen(g->dir, &g->lock);
    if (r == 0)
        r = sl_guard_pin_maps(g);
    struct sl_plan *old = g->plan;
    if (r == 0)
        r = _sl_switch(g, p, &files, v, n, s->kernel.mode);
    if (r < 0)
        return r;
    sl_range_files_settle(g);
    _sl_detach_unwanted(g, v, n);
    _sl_meters_off(g, v, n);
    free(g->attachments);
    g->attachments = SL_TAKE_PTR(v);
    g->n_attachments = n;
    sl_plan_free(old);
    p = NULL; /* g->plan now */
    g->generation++;
    _sl_unpin_buckets(g);
    return 0;
}

/* ---- the life */

/* An interface that a former daemon guarded and this policy does not name. */
static bool _sl_is_wanted(const char *interface, void *arg)
{
    const struct sl_kernel_guard *g = arg;
    return _sl_attachment_of(g->attachments, g->n_attachments, interface) != NULL;
}

static bool _sl_any(const char *interface, void *arg)
{
    (void)interface;
    (void)arg;
    return true;
}

static bool _sl_has_penalties(const struct sl_kernel_guard *g)
{
    struct sl_penalty_key key;
    return bpf_map_get_next_key(sl_guard_penalties(g), NULL, &key) == 0;
}

static int _sl_start_on(struct sl_kernel_guard *g, const struct sl_snapshot *s)
{
    int r = sl_pins_open(g->dir, g->handed, &g->lock);
    if (r < 0)
        return r;
    sl_memlock_raise();
    r = sl_before_open(g);
    if (r == 0)
        r = sl_guard_load(g, _sl_table_size(s));
    if (r == 0)
        r = sl_manuals_read(&g->manuals, sl_guard_map(g, SL_PLAN_LISTS4), sl_guard_map(g, SL_PLAN_LISTS6));
    if (r == 0) {
        g->have_penalties = _sl_has_penalties(g);
        r = sl_hints_penalties(g);
    }
    if (r == 0) {
        r = _sl_apply(g, s);
    }
    if (r == 0) {
        g->netlink = sl_host_netlink();
        r = g->netlink < 0 ? g->netlink : 0;
    }
    if (r == 0)
        sl_before_remove(g);
    sl_before_close(g);
    if (r == 0)
        (void)sl_pins_prune_links(g->dir, _sl_is_wanted, g);
    else if (g->handed < 0 && sl_pins_prune_links(g->dir, _sl_any, NULL) == 0)
        (void)sl_pins_remove(g->dir); /* no former daemon's: leave nothing */
    return r;
}

static void _sl_closep(struct sl_kernel_guard **g)
{
    sl_kernel_close(*g);
}

static int _sl_start(const struct sl_snapshot *s, const struct sl_kernel_handover *from,
                     struct sl_kernel_guard **out)
{
    SL_CLEANUP(_sl_closep) struct sl_kernel_guard *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->lock = g->memfd = g->netlink = g->files.fd = -1;
    g->handed = from ? from->lock : -1;
    g->mode = s->kernel.mode;
    sl_libbpf_quiet();
    int r;
    if (g->mode == SL_KERNEL_OFF) {
        if (!from)
            sl_pins_remove_orphans();
        r = _sl_start_off(g, _sl_table_size(s), from);
    } else {
        r = _sl_start_on(g, s);
    }
    g->handed = -1;
    if (r == 0)
        *out = SL_TAKE_PTR(g);
    return r;
}

int sl_kernel_start(const struct sl_snapshot *s, struct sl_kernel_guard **out)
{
    return _sl_start(s, NULL, out);
}

struct sl_kernel_handover sl_kernel_hand_over(const struct sl_kernel_guard *g)
{
    return (struct sl_kernel_handover){.lock = g->lock, .buckets = g->memfd, .bucket_seed = g->table.seed};
}

int sl_kernel_take(const struct sl_snapshot *s, const struct sl_kernel_handover *from,
                   struct sl_kernel_guard **out)
{
    if ((from->lock < 0) == (s->kernel.mode == SL_KERNEL_OFF))
        return _sl_start(s, from, out);
    sl_error("kernel: kernel.mode cannot be switched between off and on by an upgrade: restart sluiced");
    return -EOPNOTSUPP;
}

int sl_kernel_reclaim(struct sl_kernel_guard *g, const struct sl_snapshot *s)
{
    if (g->off)
        return 0;
    sl_pins_remove_others(g->dir); /* it may have been of another schema */
    for (size_t i = 0; i < g->n_attachments; i++)
        if (g->attachments[i].xdp >= 0)
            sl_attachment_close(&g->attachments[i]); /* attached anew: our program into the pinned link */
    sl_range_files_free(&g->files);
    g->files = (struct sl_range_files){.fd = -1};
    g->generation++; /* past what it wrote */
    return _sl_apply(g, s);
}

int sl_kernel_apply(struct sl_kernel_guard *g, const struct sl_snapshot *s)
{
    if (g->off && s->kernel.mode != SL_KERNEL_OFF) {
        sl_error("kernel: the daemon was started with kernel.mode off: restart it to guard interfaces");
        return -EOPNOTSUPP;
    }
    if (_sl_table_size(s) != g->table.n)
        sl_warn("kernel: kernel.table_size takes effect when the daemon is restarted");
    return g->off ? 0 : _sl_apply(g, s);
}

static void _sl_refresh_attachment(struct sl_kernel_guard *g, struct sl_attachment *a)
{
    const unsigned ifindex = if_nametoindex(a->name);
    char now[IF_NAMESIZE];
    if (ifindex == 0 && a->xdp >= 0 && if_indextoname(a->ifindex, now)) {
        if (!a->renamed)
            sl_warn("kernel: interface %s is called %s now: it stays guarded; write the new name into "
                    "kernel.interfaces and apply",
                    a->name, now);
        a->renamed = true;
        return;
    }
    a->renamed = false;
    if (ifindex == 0) {
        if (a->ifindex)
            sl_warn("kernel: interface %s is gone; it is guarded again when it comes back", a->name);
        sl_attachment_close(a);
        a->ifindex = 0;
        a->mode = SL_ATTACH_NONE;
        return;
    }
    if (a->ifindex == ifindex && a->xdp >= 0 && !sl_attachment_pinned(g, a)) {
        sl_warn("kernel: interface %s was detached by an operator: not guarded until the next apply",
                a->name);
        sl_attachment_close(a);
        a->mode = SL_ATTACH_NONE;
        a->released = true;
    }
    if (!a->released && (a->ifindex != ifindex || a->xdp < 0) && sl_attach(g, a) < 0)
        sl_warn("kernel: interface %s is back and not guarded", a->name);
}

int sl_kernel_refresh(struct sl_kernel_guard *g)
{
    SL_CLEANUP(sl_addresses_free) struct sl_addresses host = {0};
    if (g->off)
        return 0;
    int r = sl_host_addresses(&host);
    if (r == 0)
        r = sl_plan_listeners(g->plan, &host);
    if (r == 0)
        r = sl_guard_sync_maps(g, g->plan, SL_PLAN_LISTENERS, SL_PLAN_LISTENERS);
    for (size_t i = 0; i < g->n_attachments; i++)
        _sl_refresh_attachment(g, &g->attachments[i]);
    return r;
}

struct sl_bucket_table sl_kernel_buckets(const struct sl_kernel_guard *g)
{
    return g->table;
}

size_t sl_kernel_buckets_written(const struct sl_kernel_guard *g, size_t at, size_t *end)
{
    const size_t size = sizeof(struct sl_bucket);
    *end = g->table.n;
    if (!g->off || at >= g->table.n)
        return at;
    const off_t data = lseek(g->memfd, (off_t)(at * size), SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? g->table.n : at; /* nothing but a hole; else all may be */
    const off_t hole = lseek(g->memfd, data, SEEK_HOLE);
    if (hole > data)
        *end = SL_MIN(g->table.n, ((size_t)hole + size - 1) / size);
    return (size_t)data / size;
}

size_t sl_kernel_attach_states(const struct sl_kernel_guard *g, struct sl_attach_state *out, size_t max)
{
    size_t n = 0;
    for (; n < g->n_attachments && n < max; n++) {
        const struct sl_attachment *a = &g->attachments[n];
        out[n].xdp = a->mode;
        out[n].ifindex = a->ifindex;
        out[n].tc = a->tcx[0] >= 0 ? "tcx" : a->clsact ? "clsact" : "none";
        memcpy(out[n].interface, a->name, sizeof(a->name));
    }
    return n;
}

void sl_kernel_close(struct sl_kernel_guard *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_attachments; i++)
        sl_attachment_close(&g->attachments[i]);
    free(g->attachments);
    sl_plan_free(g->plan);
    sl_manuals_free(&g->manuals);
    sl_penalty_heap_free(&g->penalty_heap);
    sl_range_files_free(&g->files);
    sl_guard_unload(g);
    sl_closep(&g->memfd);
    sl_closep(&g->netlink);
    sl_closep(&g->lock);
    free(g);
}
