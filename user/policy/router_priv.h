/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The router's inside: a host leads to a root of one segment tree that all hosts share, a node of the tree to
 * lists of routes. Built once, then only read.
 */
#ifndef SL_POLICY_ROUTER_PRIV_H
#define SL_POLICY_ROUTER_PRIV_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include "policy/router.h"

#include <pcre2.h>

#define SL_PATH_SEGMENTS 64 /* of a path in the policy; a request's may be longer, its walk just ends */

/* A route in a list: more header matches first, then in the policy's order. */
struct sl_leaf {
    struct sl_leaf *next;
    uint32_t route;
};

/* "/a/" is another path than "/a": what ends in a slash has lists of its own. */
enum sl_leaf_kind { SL_LEAF_EXACT, SL_LEAF_EXACT_SLASH, SL_LEAF_PREFIX, SL_LEAF_PREFIX_SLASH, SL_LEAF_KINDS };

struct sl_node {
    struct sl_leaf *leaves[SL_LEAF_KINDS];
};
/* An edge of the tree: open addressing over (parent, segment). child 0: free. */
struct sl_edge {
    struct sl_slice segment;
    uint32_t parent, child;
};

struct sl_regex {
    struct sl_regex *next;
    pcre2_code *code;
    uint32_t route;
};

struct sl_host {
    uint32_t root;
    struct sl_regex *regexes;
    struct sl_leaf *any; /* routes without paths: last of all */
};

struct sl_router {
    const struct sl_snapshot *snapshot;
    struct sl_arena arena;
    struct sl_map hosts;     /* exact name -> struct sl_host */
    struct sl_map wildcards; /* "suffix" of "*.suffix" -> struct sl_host */
    struct sl_host *any;     /* routes without hosts; NULL: none */
    struct sl_node *nodes;   /* [0] is unused, so that 0 is no node */
    uint32_t n_nodes, cap_nodes;
    struct sl_edge *edges;
    uint32_t n_edges, cap_edges;
    pcre2_match_data *match_data;
    pcre2_match_context *match_limits;
};

/* The child of parent by that segment, or 0. */
uint32_t sl_router_child(const struct sl_router *r, uint32_t parent, struct sl_slice segment);
/* The same, made if need be; 0 when memory is out. The segment is borrowed. */
uint32_t sl_router_grow(struct sl_router *r, uint32_t parent, struct sl_slice segment);
/* A new node; 0 when memory is out. */
uint32_t sl_router_node(struct sl_router *r);

#endif
