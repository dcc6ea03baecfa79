/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The router's inside: a host has the root of a tree of segments, whose nodes lead to routes; the edges of
 * all hosts' trees stand in one table. Built once, then only read.
 */
#ifndef SL_POLICY_ROUTER_PRIV_H
#define SL_POLICY_ROUTER_PRIV_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include "policy/router.h"

#include <pcre2.h>

static inline bool sl_route_any_method(const struct sl_route *r)
{
    return !r->methods && !r->other_methods.n;
}

#define SL_PATH_SEGMENTS 64 /* of a path in the policy; a request's may be longer, its walk just ends */

/*
 * Leaves: routes in the order in which they are tried, those with more header matches first, then in the
 * policy's order. 0: none; SL_LEAF_OPEN and a route's index: that route takes whatever comes, so that it is
 * the last; else which of the router's leaves is the first.
 */
#define SL_LEAF_OPEN (1u << 31)
struct sl_leaf { /* of a route that asks for methods or headers */
    uint32_t route;
    uint32_t next; /* leaves */
};

/* "/a/" is another path than "/a": what ends in a slash has leaves of its own. */
enum sl_leaf_kind { SL_LEAF_EXACT, SL_LEAF_EXACT_SLASH, SL_LEAF_PREFIX, SL_LEAF_PREFIX_SLASH, SL_LEAF_KINDS };

struct sl_node {
    uint32_t id; /* 0: it is none */
    bool inner;  /* there are edges from it */
    uint32_t leaves[SL_LEAF_KINDS];
};
/* An edge of the tree and the node that it leads to: open addressing over (parent, segment). One line of the
 * cache, since most requests meet one that none has met for a while. */
#define SL_EDGE_TEXT 32
struct sl_edge {
    _Alignas(SL_CACHE_LINE) struct sl_node child;
    uint32_t parent; /* its id */
    uint32_t n;      /* bytes of the segment */
    union {
        char text[SL_EDGE_TEXT];
        const char *long_text; /* borrowed, of more than these */
    };
};
_Static_assert(sizeof(struct sl_edge) == SL_CACHE_LINE, "an edge is a line of the cache");

struct sl_regex {
    struct sl_regex *next;
    pcre2_code *code;
    uint32_t route;
};

struct sl_host {
    struct sl_node root;
    struct sl_regex *regexes;
    uint32_t any; /* leaves: routes without paths, last of all */
};

struct sl_router {
    const struct sl_snapshot *snapshot;
    struct sl_arena arena;
    struct sl_map hosts;     /* exact name -> struct sl_host */
    struct sl_map wildcards; /* "suffix" of "*.suffix" -> struct sl_host */
    struct sl_host *any;     /* routes without hosts; NULL: none */
    uint32_t n_nodes;        /* roots too */
    struct sl_edge *edges;
    uint32_t n_edges, cap_edges;
    struct sl_leaf *leaves; /* [0] is unused */
    uint32_t n_leaves, cap_leaves;
    pcre2_match_data *match_data;
    pcre2_match_context *match_limits;
};

/* The child of parent by that segment, or NULL. */
const struct sl_node *sl_router_child(const struct sl_router *r, const struct sl_node *parent,
                                      struct sl_slice segment);
/* Room for the edges of one path more: until then no node moves. 0 or -ENOMEM. */
int sl_router_reserve(struct sl_router *r) SL_MUST_CHECK;
/* The child, made if need be. The segment is borrowed. */
struct sl_node *sl_router_grow(struct sl_router *r, struct sl_node *parent, struct sl_slice segment);

#endif
