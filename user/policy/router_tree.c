/* SPDX-License-Identifier: Apache-2.0 */
/* The segment trees' edges and nodes: all edges of all hosts stand in one hash table. */
#include "policy/router_priv.h"

#include <errno.h>

static struct sl_slice _sl_segment(const struct sl_edge *e)
{
    return sl_slice(e->n <= SL_EDGE_TEXT ? e->text : e->long_text, e->n);
}

static struct sl_edge *_sl_slot(const struct sl_edge *edges, uint32_t cap, uint32_t parent,
                                struct sl_slice segment)
{
    uint32_t i = (uint32_t)sl_hash(segment.p, segment.n, parent) & (cap - 1);
    while (edges[i].child.id && !(edges[i].parent == parent && sl_slice_eq(_sl_segment(&edges[i]), segment)))
        i = (i + 1) & (cap - 1);
    return (struct sl_edge *)&edges[i];
}

const struct sl_node *sl_router_child(const struct sl_router *r, const struct sl_node *parent,
                                      struct sl_slice segment)
{
    if (!parent->inner)
        return NULL;
    const struct sl_edge *e = _sl_slot(r->edges, r->cap_edges, parent->id, segment);
    return e->child.id ? &e->child : NULL;
}

static int _sl_double(struct sl_router *r)
{
    const uint32_t cap = SL_MAX(r->cap_edges * 2, 64u);
    struct sl_edge *edges = aligned_alloc(SL_CACHE_LINE, cap * sizeof(*edges));
    if (!edges)
        return -ENOMEM;
    memset(edges, 0, cap * sizeof(*edges));
    for (uint32_t i = 0; i < r->cap_edges; i++)
        if (r->edges[i].child.id)
            *_sl_slot(edges, cap, r->edges[i].parent, _sl_segment(&r->edges[i])) = r->edges[i];
    free(r->edges);
    r->edges = edges;
    r->cap_edges = cap;
    return 0;
}

int sl_router_reserve(struct sl_router *r)
{
    int e = 0;
    while (e == 0 && (r->n_edges + SL_PATH_SEGMENTS) * 2 > r->cap_edges)
        e = _sl_double(r);
    return e;
}

struct sl_node *sl_router_grow(struct sl_router *r, struct sl_node *parent, struct sl_slice segment)
{
    struct sl_edge *e = _sl_slot(r->edges, r->cap_edges, parent->id, segment);
    if (e->child.id)
        return &e->child;
    *e = (struct sl_edge){.child.id = ++r->n_nodes, .parent = parent->id, .n = (uint32_t)segment.n};
    if (segment.n <= SL_EDGE_TEXT)
        memcpy(e->text, segment.p, segment.n);
    else
        e->long_text = segment.p;
    parent->inner = true;
    r->n_edges++;
    return &e->child;
}
