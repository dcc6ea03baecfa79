/* SPDX-License-Identifier: Apache-2.0 */
/* See top.h. A source has the same slot in each CPU's table, so that slots are merged one by one. */
#include "kernel/top.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

static bool _sl_live(const struct sl_top_slot *s, uint32_t window)
{
    return s->total && (s->window == window || s->window == window - 1);
}

static bool _sl_same(const struct sl_top_slot *a, const struct sl_top_slot *b)
{
    return a->addr[0] == b->addr[0] && a->addr[1] == b->addr[1] && a->family == b->family;
}

static struct sl_cidr _sl_cidr(const struct sl_top_slot *s, enum sl_top_kind kind)
{
    struct sl_cidr c = {.ip = {.family = (uint8_t)s->family}};
    memcpy(&c.ip.addr, s->addr, sizeof(c.ip.addr));
    if (s->family == SL_AF_INET6)
        c.len = kind == SL_TOP_SOURCE ? 64 : 48;
    else
        c.len = kind == SL_TOP_SOURCE ? 32 : 24;
    return c;
}

/* Sums the bounds of one candidate over all copies of its slot. */
static struct sl_top_entry _sl_bounds(const struct sl_top_table *t, size_t n, size_t slot, uint32_t window,
                                      const struct sl_top_slot *who, enum sl_top_kind kind)
{
    struct sl_top_entry e = {.who = _sl_cidr(who, kind)};
    for (size_t i = 0; i < n; i++) {
        const struct sl_top_slot *s = &t[i].slots[slot];
        if (!_sl_live(s, window))
            continue;
        const bool his = s->votes && _sl_same(s, who);
        e.at_least += his ? s->votes : 0;
        e.at_most += his ? ((uint64_t)s->total + s->votes) / 2 : ((uint64_t)s->total - s->votes) / 2;
    }
    e.at_least *= SL_TOP_ONE_IN;
    e.at_most *= SL_TOP_ONE_IN;
    return e;
}

/* Keeps the list in order: highest lower bound first. */
static size_t _sl_insert(struct sl_top_entry *out, size_t n, size_t max, const struct sl_top_entry *e)
{
    size_t at = n;
    while (at > 0 && (out[at - 1].at_least < e->at_least ||
                      (out[at - 1].at_least == e->at_least && out[at - 1].at_most < e->at_most)))
        at--;
    if (at >= max)
        return n;
    n = n < max ? n + 1 : n;
    memmove(out + at + 1, out + at, (n - at - 1) * sizeof(*out));
    out[at] = *e;
    return n;
}

static bool _sl_first(const struct sl_top_table *t, size_t i, size_t slot, uint32_t window)
{
    for (size_t j = 0; j < i; j++) {
        const struct sl_top_slot *s = &t[j].slots[slot];
        if (_sl_live(s, window) && s->votes && _sl_same(s, &t[i].slots[slot]))
            return false;
    }
    return true;
}

size_t sl_top_merge(const struct sl_top_table *tables, size_t n_tables, enum sl_top_kind kind,
                    uint32_t window, struct sl_top_entry *out, size_t max)
{
    size_t n = 0;
    for (size_t slot = 0; slot < SL_TOP_SLOTS; slot++)
        for (size_t i = 0; i < n_tables; i++) {
            const struct sl_top_slot *s = &tables[i].slots[slot];
            if (!_sl_live(s, window) || !s->votes || !_sl_first(tables, i, slot, window))
                continue;
            const struct sl_top_entry e = _sl_bounds(tables, n_tables, slot, window, s, kind);
            n = _sl_insert(out, n, max, &e);
        }
    return n;
}

int sl_top_read(int fd, enum sl_top_kind kind, uint64_t now_ns, struct sl_top_entry *out, size_t max)
{
    const int cpus = libbpf_num_possible_cpus();
    if (fd < 0)
        return -ENODEV;
    if (cpus < 0)
        return cpus;
    struct sl_top_table *t SL_FREE = calloc(2 * (size_t)cpus, sizeof(*t));
    if (!t)
        return -ENOMEM;
    for (uint32_t parity = 0; parity < 2; parity++) {
        const uint32_t key = parity * SL_TOP_KINDS + (uint32_t)kind;
        if (bpf_map_lookup_elem(fd, &key, t + parity * (size_t)cpus) < 0)
            return -errno;
    }
    return (int)sl_top_merge(t, 2 * (size_t)cpus, kind, (uint32_t)(now_ns / SL_TOP_WINDOW_NS), out, max);
}

double sl_top_seconds(uint64_t now_ns)
{
    return (double)(SL_TOP_WINDOW_NS + now_ns % SL_TOP_WINDOW_NS) / 1e9;
}
