/* SPDX-License-Identifier: Apache-2.0 */
/* Building the router of a snapshot; the slices of hosts and paths stay the snapshot's. */
#include "policy/router_priv.h"

#include <errno.h>

/* What a regex may cost for one path: past it the request is refused, never tried on another route. */
#define SL_REGEX_MATCH_LIMIT 20000
#define SL_REGEX_DEPTH_LIMIT 1000
#define SL_REGEX_HEAP_KIB    1024

struct sl_router_build {
    struct sl_router *r;
    struct sl_diag *diag;
};

static struct sl_host *_sl_host_new(struct sl_router *r)
{
    struct sl_host *h = sl_arena_zalloc(&r->arena, sizeof(*h));
    if (h)
        h->root.id = ++r->n_nodes;
    return h;
}

static struct sl_host *_sl_host_of(struct sl_router *r, struct sl_map *map, struct sl_slice name)
{
    struct sl_host *h = sl_map_get(map, name);
    if (h)
        return h;
    h = _sl_host_new(r);
    return h && sl_map_add(map, name, h) == 0 ? h : NULL;
}

/* Whether a matches at least what b does, as far as methods and headers go. */
static bool _sl_covers(const struct sl_route *a, const struct sl_route *b)
{
    if (!sl_route_any_method(a) &&
        (sl_route_any_method(b) || (b->methods & ~a->methods) || b->other_methods.n))
        return false;
    for (size_t i = 0; i < a->headers.n; i++) {
        bool found = false;
        for (size_t k = 0; k < b->headers.n && !found; k++)
            found = sl_slice_ieq(a->headers.v[i].name, b->headers.v[k].name) &&
                    sl_slice_eq(a->headers.v[i].value, b->headers.v[k].value);
        if (!found)
            return false;
    }
    return true;
}

/* Room for one more. */
static int _sl_leaves_reserve(struct sl_router *r)
{
    if (r->n_leaves + 1 < r->cap_leaves)
        return 0;
    const uint32_t cap = SL_MAX(r->cap_leaves * 2, 64u);
    struct sl_leaf *leaves = realloc(r->leaves, cap * sizeof(*leaves));
    if (!leaves)
        return -ENOMEM;
    r->leaves = leaves;
    r->cap_leaves = cap;
    return 0;
}

/* How *leaves goes on with that route; what was there follows it. */
static void _sl_leaf_put(struct sl_router *r, uint32_t *leaves, uint32_t route)
{
    const struct sl_route *self = &r->snapshot->routes[route];
    if (sl_route_any_method(self) && !self->headers.n) {
        *leaves = SL_LEAF_OPEN | route;
        return;
    }
    r->leaves[++r->n_leaves] = (struct sl_leaf){.route = route, .next = *leaves};
    *leaves = r->n_leaves;
}

static int _sl_leaf_add(struct sl_router_build *b, uint32_t *leaves, uint32_t route, const struct sl_pos *pos)
{
    struct sl_router *r = b->r;
    const struct sl_route *routes = r->snapshot->routes, *self = &routes[route];
    if (_sl_leaves_reserve(r) < 0)
        return -ENOMEM;
    bool told = false;
    while (*leaves) {
        const bool open = *leaves & SL_LEAF_OPEN;
        const uint32_t other = open ? *leaves & ~SL_LEAF_OPEN : r->leaves[*leaves].route;
        if (routes[other].headers.n < self->headers.n)
            break;
        if (other == route)
            return 0;
        if (!told && (told = _sl_covers(&routes[other], self)))
            sl_diag_warn(b->diag, pos,
                         "never reached here: route \"%s\" takes every request that this one would",
                         routes[other].name);
        if (open)
            return 0;
        leaves = &r->leaves[*leaves].next;
    }
    _sl_leaf_put(r, leaves, route);
    return 0;
}

static int _sl_regex_add(struct sl_router_build *b, struct sl_host *h, const struct sl_path_match *p,
                         uint32_t route)
{
    int code;
    PCRE2_SIZE at;
    struct sl_regex *re = sl_arena_zalloc(&b->r->arena, sizeof(*re));
    if (!re)
        return -ENOMEM;
    re->route = route;
    re->code = pcre2_compile((PCRE2_SPTR)p->text.p, p->text.n, PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (!re->code) {
        char text[120];
        (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
        sl_diag_error(b->diag, &p->pos, "the regular expression is wrong at its character %zu: %s", at + 1,
                      text);
        return 0;
    }
    struct sl_regex **end = &h->regexes;
    while (*end)
        end = &(*end)->next;
    *end = re;
    return 0;
}

static int _sl_segments_add(struct sl_router_build *b, struct sl_host *h, const struct sl_path_match *p,
                            uint32_t route)
{
    struct sl_slice rest = sl_slice(p->text.p + 1, p->text.n - 1), segment;
    struct sl_node *node = &h->root;
    uint32_t depth = 0;
    bool slash = true;
    if (sl_router_reserve(b->r) < 0)
        return -ENOMEM;
    while (rest.n) {
        const ssize_t at = sl_slice_chr(rest, '/');
        segment = sl_slice(rest.p, at < 0 ? rest.n : (size_t)at);
        rest = at < 0 ? sl_slice(rest.p + rest.n, 0) : sl_slice(rest.p + at + 1, rest.n - (size_t)at - 1);
        slash = at >= 0;
        if (++depth > SL_PATH_SEGMENTS) {
            sl_diag_error(b->diag, &p->pos, "a path of more than %d segments", SL_PATH_SEGMENTS);
            return 0;
        }
        node = sl_router_grow(b->r, node, segment);
    }
    const enum sl_leaf_kind kind = p->kind == SL_PATH_EXACT ? (slash ? SL_LEAF_EXACT_SLASH : SL_LEAF_EXACT)
                                                            : (slash ? SL_LEAF_PREFIX_SLASH : SL_LEAF_PREFIX);
    return _sl_leaf_add(b, &node->leaves[kind], route, &p->pos);
}

static int _sl_paths_add(struct sl_router_build *b, struct sl_host *h, uint32_t index)
{
    const struct sl_route *route = &b->r->snapshot->routes[index];
    if (!h)
        return -ENOMEM;
    if (!route->n_paths)
        return _sl_leaf_add(b, &h->any, index, &route->pos);
    for (size_t i = 0; i < route->n_paths; i++) {
        const struct sl_path_match *p = &route->paths[i];
        int r = 0;
        if (p->kind == SL_PATH_REGEX)
            r = _sl_regex_add(b, h, p, index);
        else if (p->text.n && p->text.p[0] == '/')
            r = _sl_segments_add(b, h, p, index);
        else
            sl_diag_error(b->diag, &p->pos, "a path begins with '/'");
        if (r < 0)
            return r;
    }
    return 0;
}

static int _sl_route_add(struct sl_router_build *b, uint32_t index)
{
    struct sl_router *r = b->r;
    const struct sl_route *route = &r->snapshot->routes[index];
    if (!route->hosts.n) {
        if (!r->any)
            r->any = _sl_host_new(r);
        return _sl_paths_add(b, r->any, index);
    }
    for (size_t i = 0; i < route->hosts.n; i++) {
        const struct sl_slice name = route->hosts.v[i];
        struct sl_host *h = sl_slice_starts(name, SL_S("*."))
                                ? _sl_host_of(r, &r->wildcards, sl_slice(name.p + 2, name.n - 2))
                                : _sl_host_of(r, &r->hosts, name);
        const int e = _sl_paths_add(b, h, index);
        if (e < 0)
            return e;
    }
    return 0;
}

static int _sl_router_regex_limits(struct sl_router *r)
{
    r->match_data = pcre2_match_data_create(1, NULL);
    r->match_limits = pcre2_match_context_create(NULL);
    if (!r->match_data || !r->match_limits)
        return -ENOMEM;
    (void)pcre2_set_match_limit(r->match_limits, SL_REGEX_MATCH_LIMIT);
    (void)pcre2_set_depth_limit(r->match_limits, SL_REGEX_DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(r->match_limits, SL_REGEX_HEAP_KIB);
    return 0;
}

int sl_router_new(const struct sl_snapshot *s, struct sl_diag *diag, struct sl_router **out)
{
    struct sl_router *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    const unsigned errors = diag->errors;
    struct sl_router_build b = {r, diag};
    sl_arena_init(&r->arena, 0);
    r->snapshot = s;
    int e = _sl_router_regex_limits(r);
    for (uint32_t i = 0; e == 0 && i < s->n_routes; i++)
        e = _sl_route_add(&b, i);
    if (e == 0 && diag->errors > errors)
        e = -EINVAL;
    if (e < 0) {
        sl_router_free(r);
        return e;
    }
    *out = r;
    return 0;
}

static void _sl_host_free(const struct sl_host *h)
{
    for (const struct sl_regex *re = h ? h->regexes : NULL; re; re = re->next)
        pcre2_code_free(re->code);
}

static void _sl_hosts_free(struct sl_map *map)
{
    for (size_t i = 0; i < map->cap; i++)
        if (map->entries[i].key.p)
            _sl_host_free(map->entries[i].value);
    sl_map_free(map);
}

void sl_router_free(struct sl_router *r)
{
    if (!r)
        return;
    _sl_host_free(r->any);
    _sl_hosts_free(&r->hosts);
    _sl_hosts_free(&r->wildcards);
    pcre2_match_data_free(r->match_data);
    pcre2_match_context_free(r->match_limits);
    free(r->edges);
    free(r->leaves);
    sl_arena_free(&r->arena);
    free(r);
}
