/* SPDX-License-Identifier: Apache-2.0 */
/* The segment tree's nodes and edges: all edges of all hosts stand in one hash table. */
#include "policy/router_priv.h"

#include <errno.h>

static struct sl_edge *_sl_slot(const struct sl_edge *edges, uint32_t cap, uint32_t parent,
                                struct sl_slice segment)
{
    uint32_t i = (uint32_t)sl_hash(segment.p, segment.n, parent) & (cap - 1);
    while (edges[i].child && !(edges[i].parent == parent && sl_slice_eq(edges[i].segment, segment)))
        i = (i + 1) & (cap - 1);
    return (struct sl_edge *)&edges[i];
}

uint32_t sl_router_child(const struct sl_router *r, uint32_t parent, struct sl_slice segment)
{
    return r->cap_edges ? _sl_slot(r->edges, r->cap_edges, parent, segment)->child : 0;
}

static int _sl_grow_edges(struct sl_router *r)
{
    const uint32_t cap = r->cap_edges ? r->cap_edges * 2 : 64;
    struct sl_edge *edges = calloc(cap, sizeof(*edges));
    if (!edges)
        return -ENOMEM;
    for (uint32_t i = 0; i < r->cap_edges; i++)
        if (r->edges[i].child)
            *_sl_slot(edges, cap, r->edges[i].parent, r->edges[i].segment) = r->edges[i];
    free(r->edges);
    r->edges = edges;
    r->cap_edges = cap;
    return 0;
}

uint32_t sl_router_node(struct sl_router *r)
{
    if (r->n_nodes == r->cap_nodes) {
        const uint32_t cap = r->cap_nodes ? r->cap_nodes * 2 : 64;
        struct sl_node *nodes = realloc(r->nodes, cap * sizeof(*nodes));
        if (!nodes)
            return 0;
        r->nodes = nodes;
        r->cap_nodes = cap;
    }
    if (r->n_nodes == 0)
        r->nodes[r->n_nodes++] = (struct sl_node){0};
    r->nodes[r->n_nodes] = (struct sl_node){0};
    return r->n_nodes++;
}

uint32_t sl_router_grow(struct sl_router *r, uint32_t parent, struct sl_slice segment)
{
    if (r->n_edges * 2 >= r->cap_edges && _sl_grow_edges(r) < 0)
        return 0;
    struct sl_edge *e = _sl_slot(r->edges, r->cap_edges, parent, segment);
    if (e->child)
        return e->child;
    const uint32_t child = sl_router_node(r);
    if (child) {
        *e = (struct sl_edge){.segment = segment, .parent = parent, .child = child};
        r->n_edges++;
    }
    return child;
}
