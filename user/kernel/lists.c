/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's entries in the allow and deny lists. They stand in the same tries as the policy's, marked by
 * generation 0, and win over a policy entry of the same prefix as long as they last.
 */
#include "base/clock.h"
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <bpf/bpf.h>
#include <errno.h>

static bool _sl_same_prefix(const struct sl_cidr *a, const struct sl_cidr *b)
{
    return a->len == b->len && sl_ip_eq(&a->ip, &b->ip);
}

int sl_manuals_put(struct sl_manuals *m, const struct sl_cidr *c, const struct sl_list_value *v)
{
    for (size_t i = 0; i < m->n; i++)
        if (_sl_same_prefix(&m->v[i].prefix, c)) {
            m->v[i].value = *v;
            return 0;
        }
    if (m->n == m->cap) {
        const size_t cap = m->cap ? m->cap * 2 : 16;
        struct sl_manual *bigger = reallocarray(m->v, cap, sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        m->v = bigger;
        m->cap = cap;
    }
    m->v[m->n++] = (struct sl_manual){.prefix = *c, .value = *v};
    return 0;
}

/* All within the prefix. */
size_t sl_manuals_remove(struct sl_manuals *m, const struct sl_cidr *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].prefix.len < c->len || !sl_cidr_contains(c, &m->v[i].prefix.ip))
            m->v[kept++] = m->v[i];
    const size_t removed = m->n - kept;
    m->n = kept;
    return removed;
}

static int _sl_read_family(struct sl_manuals *m, int fd, uint8_t family, size_t addr_size)
{
    SL_CLEANUP(sl_table_free)
    struct sl_table t = {.key_size = sizeof(uint32_t) + addr_size,
                         .value_size = sizeof(struct sl_list_value),
                         .max = SL_MAX_LIST_ENTRIES};
    int r = sl_table_read(&t, fd);
    for (size_t i = 0; r == 0 && i < t.n; i++) {
        struct sl_list_value v;
        struct sl_cidr c = {.ip = {.family = family}};
        uint32_t len;
        memcpy(&v, sl_table_value(&t, i), sizeof(v));
        memcpy(&len, sl_table_key(&t, i), sizeof(len));
        memcpy(c.ip.addr.bytes, (const char *)sl_table_key(&t, i) + sizeof(len), addr_size);
        c.len = (uint8_t)len;
        if (v.generation == 0)
            r = sl_manuals_put(m, &c, &v);
    }
    return r;
}

int sl_manuals_read(struct sl_manuals *m, int fd4, int fd6)
{
    const int r = _sl_read_family(m, fd4, SL_AF_INET, 4);
    return r < 0 ? r : _sl_read_family(m, fd6, SL_AF_INET6, 16);
}

void sl_manuals_free(struct sl_manuals *m)
{
    free(m->v);
    *m = (struct sl_manuals){0};
}

int sl_guard_sync_lists(struct sl_kernel_guard *g)
{
    int r = sl_plan_lists(g->plan, &g->manuals);
    if (r == 0)
        r = sl_guard_sync_maps(g, g->plan, SL_PLAN_LISTS4, SL_PLAN_LISTS6);
    return r < 0 ? r : sl_guard_write_config(g);
}

int sl_kernel_list_put(struct sl_kernel_guard *g, const struct sl_kernel_operators *v, size_t n)
{
    if (g->off)
        return -ENODEV;
    const size_t before = g->manuals.n;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = sl_manuals_put(&g->manuals, &v[i].prefix,
                           &(struct sl_list_value){.verdict = v[i].verdict, .deadline_ns = v[i].deadline_ns});
    if (r == 0 && n)
        r = sl_guard_sync_lists(g);
    if (r < 0)
        g->manuals.n = before;
    return r;
}

int sl_kernel_list_add(struct sl_kernel_guard *g, const struct sl_cidr *c, enum sl_list_verdict verdict,
                       uint64_t for_ns)
{
    const struct sl_kernel_operators one = {
        .prefix = *c, .verdict = verdict, .deadline_ns = for_ns ? sl_now_ns() + for_ns : 0};
    return sl_kernel_list_put(g, &one, 1);
}

size_t sl_kernel_list_operators(const struct sl_kernel_guard *g, struct sl_kernel_operators *out, size_t max)
{
    for (size_t i = 0; i < SL_MIN(g->manuals.n, max); i++) {
        const struct sl_manual *m = &g->manuals.v[i];
        out[i] = (struct sl_kernel_operators){.prefix = m->prefix,
                                              .verdict = (enum sl_list_verdict)m->value.verdict,
                                              .deadline_ns = m->value.deadline_ns};
    }
    return g->manuals.n;
}

uint64_t sl_kernel_list_denied_until(const struct sl_kernel_guard *g, const struct sl_cidr *c)
{
    for (size_t i = 0; i < g->manuals.n; i++) {
        const struct sl_manual *m = &g->manuals.v[i];
        if (m->value.verdict == SL_LIST_DENY && _sl_same_prefix(&m->prefix, c))
            return m->value.deadline_ns ? m->value.deadline_ns : UINT64_MAX;
    }
    return 0;
}

bool sl_kernel_list_allows(const struct sl_kernel_guard *g, const struct sl_cidr *c)
{
    const uint64_t now = sl_now_ns();
    for (size_t i = 0; i < g->manuals.n; i++) {
        const struct sl_manual *m = &g->manuals.v[i];
        if (m->value.verdict == SL_LIST_ALLOW && (!m->value.deadline_ns || m->value.deadline_ns > now) &&
            sl_cidr_overlaps(&m->prefix, c))
            return true;
    }
    return false;
}

int sl_kernel_list_remove(struct sl_kernel_guard *g, const struct sl_cidr *c)
{
    if (g->off)
        return -ENODEV;
    const size_t n = sl_manuals_remove(&g->manuals, c);
    const int r = n ? sl_guard_sync_lists(g) : 0;
    return r < 0 ? r : (int)n;
}
