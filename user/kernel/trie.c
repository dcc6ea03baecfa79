/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles sorted ranges into a trie. A range sorts before all that lie in it, so painting them in order lets
 * the longest win; what lies deeper than a node reaches is a run of neighbours, which gets a node of its own
 * that begins with the verdict of what is around it.
 */
#include "kernel/trie_priv.h"

#include <errno.h>
#include <stdlib.h>

#define SL_WAYS (1u << SL_TRIE_STRIDE)

struct sl_trie_build {
    const struct sl_ranges *ranges;
    bool ipv6;
    struct sl_trie *t;
};

/* Neighbours in the sorted array that lie in one child. */
struct sl_trie_run {
    size_t first, end;
    uint32_t around; /* verdict of what the child lies in */
};

static uint32_t _sl_verdict(const struct sl_range *e)
{
    return e->allow ? SL_LIST_ALLOW : SL_LIST_DENY;
}

/* The bits of an address from depth on that a node there takes; behind the last there are zeros. */
static uint32_t _sl_chunk(uint64_t hi, uint64_t lo, unsigned depth)
{
    const unsigned __int128 all = (unsigned __int128)hi << 64 | lo;
    return (uint32_t)(all << depth >> (128 - SL_TRIE_STRIDE));
}

static uint64_t _sl_all(uint32_t verdict)
{
    return verdict * 0x5555555555555555ull;
}

static void _sl_paint(uint64_t *codes, uint32_t first, uint32_t n, uint32_t code)
{
    const uint64_t mask = (n == SL_WAYS ? ~0ull : (1ull << 2 * n) - 1) << 2 * first;
    *codes = (*codes & ~mask) | (_sl_all(1) * code & mask);
}

static int _sl_take(struct sl_trie *t, uint32_t n, uint32_t *first)
{
    if (n > SL_TRIE_MAX_NODES - t->n)
        return -ENOSPC;
    if (t->n + n > t->cap) {
        const uint32_t cap = SL_MAX(t->cap + t->cap / 2, t->n + n);
        struct sl_trie_node *nodes = reallocarray(t->nodes, cap, sizeof(*nodes));
        if (!nodes)
            return -ENOMEM;
        t->nodes = nodes;
        t->cap = cap;
    }
    *first = t->n;
    t->n += n;
    return 0;
}

/* Paints what ends within the node, and collects what does not. */
static uint32_t _sl_runs(const struct sl_trie_build *b, size_t first, size_t end, unsigned depth,
                         uint64_t *codes, struct sl_trie_run runs[SL_WAYS])
{
    uint32_t n = 0;
    while (first < end) {
        const struct sl_range e = sl_ranges_at(b->ranges, b->ipv6, first);
        const uint32_t child = _sl_chunk(e.hi, e.lo, depth);
        if (e.len <= depth + SL_TRIE_STRIDE) {
            _sl_paint(codes, child, 1u << (depth + SL_TRIE_STRIDE - e.len), _sl_verdict(&e));
            first++;
            continue;
        }
        runs[n] = (struct sl_trie_run){.first = first, .around = (uint32_t)(*codes >> 2 * child & 3)};
        for (struct sl_range next = e; _sl_chunk(next.hi, next.lo, depth) == child;) {
            if (++first == end)
                break;
            next = sl_ranges_at(b->ranges, b->ipv6, first);
        }
        runs[n++].end = first;
        _sl_paint(codes, child, 1, SL_TRIE_NODE);
    }
    return n;
}

/* Fills a node whose codes are those of what is around it. The depth of the recursion is SL_TRIE_DEPTH. */
static int _sl_fill(const struct sl_trie_build *b, uint32_t node, size_t first, size_t end, unsigned depth)
{
    struct sl_trie_run runs[SL_WAYS];
    uint64_t codes = b->t->nodes[node].codes;
    uint32_t base = 0;
    const uint32_t n = _sl_runs(b, first, end, depth, &codes, runs);
    int r = n ? _sl_take(b->t, n, &base) : 0;
    if (r < 0)
        return r;
    b->t->nodes[node] = (struct sl_trie_node){.codes = codes, .base = base};
    for (uint32_t i = 0; i < n; i++)
        b->t->nodes[base + i] = (struct sl_trie_node){.codes = _sl_all(runs[i].around)};
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = _sl_fill(b, base + i, runs[i].first, runs[i].end, depth + SL_TRIE_STRIDE);
    return r;
}

static int _sl_family(const struct sl_trie_build *b, size_t n)
{
    const uint32_t roots = b->ipv6 ? SL_TRIE_ROOTS : 0;
    const unsigned shift = 64 - SL_TRIE_ROOT_BITS;
    for (size_t i = 0; i < n; i++) {
        const struct sl_range e = sl_ranges_at(b->ranges, b->ipv6, i);
        const uint32_t first = (uint32_t)(e.hi >> shift);
        for (uint32_t k = 0; e.len <= SL_TRIE_ROOT_BITS && k < 1u << (SL_TRIE_ROOT_BITS - e.len); k++)
            b->t->nodes[roots + first + k].codes = _sl_all(_sl_verdict(&e));
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < n;) {
        const struct sl_range e = sl_ranges_at(b->ranges, b->ipv6, i);
        size_t end = i + 1;
        if (e.len > SL_TRIE_ROOT_BITS) {
            while (end < n && sl_ranges_at(b->ranges, b->ipv6, end).hi >> shift == e.hi >> shift)
                end++;
            r = _sl_fill(b, roots + (uint32_t)(e.hi >> shift), i, end, SL_TRIE_ROOT_BITS);
        }
        i = end;
    }
    return r;
}

int sl_trie_build(const struct sl_ranges *ranges, struct sl_trie *out)
{
    *out = (struct sl_trie){.n = 2 * SL_TRIE_ROOTS, .cap = 2 * SL_TRIE_ROOTS};
    out->nodes = calloc(out->cap, sizeof(*out->nodes));
    if (!out->nodes)
        return -ENOMEM;
    const int r = _sl_family(&(struct sl_trie_build){ranges, false, out}, ranges->n4);
    return r < 0 ? r : _sl_family(&(struct sl_trie_build){ranges, true, out}, ranges->n6);
}

uint32_t sl_trie_lookup(const struct sl_trie *t, const struct sl_ip *ip)
{
    uint64_t half[2] = {0};
    for (unsigned i = 0; i < 16; i++)
        half[i / 8] = half[i / 8] << 8 | ip->addr.bytes[i];
    uint32_t at =
        (ip->family == SL_AF_INET6 ? SL_TRIE_ROOTS : 0) + (uint32_t)(half[0] >> (64 - SL_TRIE_ROOT_BITS));
    for (unsigned i = 0; i < SL_TRIE_DEPTH && at < t->n; i++) {
        const uint32_t child = _sl_chunk(half[0], half[1], SL_TRIE_ROOT_BITS + i * SL_TRIE_STRIDE),
                       code = sl_trie_code(&t->nodes[at], child);
        if (code != SL_TRIE_NODE)
            return code;
        at = sl_trie_child(&t->nodes[at], child);
    }
    return 0;
}

void sl_trie_free(struct sl_trie *t)
{
    free(t->nodes);
    *t = (struct sl_trie){0};
}
