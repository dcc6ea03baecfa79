/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranges of files in the kernel. A new trie is compiled and copied into an array of its own first; one
 * update of sl_list_files then swaps it in, and what stood there before is kept until the policy is in force,
 * so that it can come back.
 */
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "kernel/trie_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

static int _sl_map_of(const struct sl_trie *t)
{
    LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
    const size_t size = (size_t)t->n * sizeof(*t->nodes);
    SL_CLOSE int fd =
        bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_list_nodes", sizeof(uint32_t), sizeof(*t->nodes), t->n, &o);
    if (fd < 0)
        return sl_error_r(-errno, "kernel: no room for lists of %zu MiB", size >> 20);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return sl_error_r(-errno, "kernel: cannot map the lists");
    memcpy(p, t->nodes, size);
    (void)munmap(p, size);
    return SL_TAKE_FD(fd);
}

static int _sl_compile(const struct sl_ranges *ranges, struct sl_range_files *out)
{
    SL_CLEANUP(sl_trie_free) struct sl_trie t = {0};
    const int r = sl_trie_build(ranges, &t);
    if (r == -ENOSPC)
        return sl_error_r(r,
                          "kernel: the files of allow and deny need more than %u MiB: write fewer or wider "
                          "ranges",
                          (unsigned)(SL_TRIE_MAX_NODES / (1u << 20) * sizeof(*t.nodes)));
    if (r < 0)
        return sl_error_r(r, "kernel: the lists of files");
    out->fd = _sl_map_of(&t);
    out->bytes = (uint64_t)t.n * sizeof(*t.nodes);
    return out->fd < 0 ? out->fd : 0;
}

int sl_range_files_new(const struct sl_kernel_guard *g, const struct sl_snapshot *s,
                       struct sl_range_files *out)
{
    const struct sl_kernel *k = &s->kernel;
    *out = (struct sl_range_files){.fd = -1};
    if (!k->ranges)
        return 0;
    for (unsigned six = 0; six < 2; six++)
        out->n[six] = sl_ranges_count(k->ranges, six);
    memcpy(out->digest, k->ranges_digest, sizeof(out->digest));
    if (g->files.fd < 0 || memcmp(g->files.digest, k->ranges_digest, sizeof(out->digest)) != 0)
        return _sl_compile(k->ranges, out);
    out->bytes = g->files.bytes; /* the same files: what stands in the kernel stays */
    out->fd = fcntl(g->files.fd, F_DUPFD_CLOEXEC, 0);
    return out->fd < 0 ? sl_error_r(-errno, "kernel: the lists of files") : 0;
}

int sl_range_files_swap(struct sl_kernel_guard *g, struct sl_range_files *with)
{
    const uint32_t zero = 0;
    const struct sl_range_files was = g->files;
    if (with->fd >= 0 && bpf_map_update_elem(sl_guard_list_files(g), &zero, &with->fd, BPF_ANY) < 0)
        return sl_error_r(-errno, "kernel: cannot put the lists of files in place");
    g->files = *with;
    *with = was;
    return 0;
}

void sl_range_files_settle(struct sl_kernel_guard *g)
{
    const uint32_t zero = 0;
    if (g->files.fd < 0 && bpf_map_delete_elem(sl_guard_list_files(g), &zero) < 0 && errno != ENOENT)
        sl_warn("kernel: lists that no policy names any more keep their memory: %s", strerror(errno));
}

void sl_range_files_free(struct sl_range_files *f)
{
    sl_closep(&f->fd);
}

/* ---- how many */

static void _sl_count_policy(const struct sl_cidrs *c, struct sl_kernel_list_counts out[2])
{
    for (size_t i = 0; i < c->n; i++)
        out[c->v[i].ip.family == SL_AF_INET6].policy++;
}

void sl_kernel_list_counts(const struct sl_kernel_guard *g, struct sl_kernel_list_counts out[2][2])
{
    memset(out, 0, 2 * sizeof(out[0]));
    if (g->off || !g->plan)
        return;
    _sl_count_policy(&g->plan->allow, out[0]);
    _sl_count_policy(&g->plan->deny, out[1]);
    for (size_t i = 0; i < g->manuals.n; i++) {
        const struct sl_manual *m = &g->manuals.v[i];
        out[m->value.verdict == SL_LIST_DENY][m->prefix.ip.family == SL_AF_INET6].operators++;
    }
    for (unsigned six = 0; six < 2; six++) {
        out[0][six].files = g->files.n[six].allow;
        out[1][six].files = g->files.n[six].deny;
    }
}

uint64_t sl_kernel_list_bytes(const struct sl_kernel_guard *g)
{
    return g->files.bytes;
}
