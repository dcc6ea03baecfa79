/* SPDX-License-Identifier: Apache-2.0 */
/* Matching a request: hosts from the narrowest to the widest, and within each exact, prefix, regex, any. */
#include "policy/router_priv.h"

struct sl_search {
    const struct sl_router *r;
    const struct sl_request *req;
    uint32_t found;
    uint32_t methods; /* of routes that would match but for the method */
    bool method_known;
    bool refused; /* a regex ran out of its budget: no other route may have the request */
};

static bool _sl_headers_match(const struct sl_route *route, const struct sl_headers *h)
{
    for (size_t i = 0; i < route->headers.n; i++) {
        const struct sl_name_value *want = &route->headers.v[i];
        bool found = false;
        for (uint32_t k = 0; k < h->n && !found; k++)
            found = !h->v[k].removed && sl_slice_ieq(h->v[k].name, want->name) &&
                    sl_slice_eq(h->v[k].value, want->value);
        if (!found)
            return false;
    }
    return true;
}

static bool _sl_method_matches(const struct sl_route *route, const struct sl_request *req)
{
    if (sl_route_any_method(route))
        return true;
    if (req->method != SL_METHOD_OTHER)
        return route->methods & (1u << req->method);
    for (size_t i = 0; i < route->other_methods.n; i++)
        if (sl_slice_eq(route->other_methods.v[i], req->method_name))
            return true;
    return false;
}

static bool _sl_try_route(struct sl_search *s, uint32_t index)
{
    const struct sl_route *route = &s->r->snapshot->routes[index];
    if (!_sl_headers_match(route, &s->req->headers))
        return false;
    if (!_sl_method_matches(route, s->req)) {
        s->method_known = true;
        s->methods |= route->methods;
        return false;
    }
    s->found = index;
    return true;
}

static bool _sl_try(struct sl_search *s, uint32_t leaves)
{
    for (; leaves && !(leaves & SL_LEAF_OPEN); leaves = s->r->leaves[leaves].next)
        if (_sl_try_route(s, s->r->leaves[leaves].route))
            return true;
    if (leaves)
        s->found = leaves & ~SL_LEAF_OPEN;
    return leaves != 0;
}

/* The nodes along a path. slash: a '/' follows the node's segment in the request. */
struct sl_walk {
    uint32_t n;
    bool whole; /* the path's last segment was reached */
    struct {
        const struct sl_node *node;
        bool slash;
    } at[SL_PATH_SEGMENTS + 1];
};

static void _sl_walk(const struct sl_router *r, const struct sl_node *root, struct sl_slice path,
                     struct sl_walk *w)
{
    const char *p = path.p + 1, *end = path.p + path.n;
    w->n = 1;
    w->at[0].node = root;
    w->at[0].slash = true;
    while (p < end && w->n <= SL_PATH_SEGMENTS) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        const struct sl_node *child =
            sl_router_child(r, w->at[w->n - 1].node, sl_slice(p, (size_t)(stop - p)));
        if (!child)
            break;
        w->at[w->n].node = child;
        w->at[w->n++].slash = slash != NULL;
        p = slash ? slash + 1 : end;
    }
    w->whole = p == end;
}

static bool _sl_try_paths(struct sl_search *s, const struct sl_node *root)
{
    struct sl_walk w;
    _sl_walk(s->r, root, s->req->path, &w);
    if (w.whole) {
        const struct sl_node *last = w.at[w.n - 1].node;
        if (_sl_try(s, last->leaves[w.at[w.n - 1].slash ? SL_LEAF_EXACT_SLASH : SL_LEAF_EXACT]))
            return true;
    }
    for (uint32_t i = w.n; i-- > 0;) {
        const struct sl_node *node = w.at[i].node;
        if (w.at[i].slash && _sl_try(s, node->leaves[SL_LEAF_PREFIX_SLASH]))
            return true;
        if (_sl_try(s, node->leaves[SL_LEAF_PREFIX]))
            return true;
    }
    return false;
}

static bool _sl_try_regexes(struct sl_search *s, const struct sl_host *h)
{
    const struct sl_slice path = s->req->path;
    for (const struct sl_regex *re = h->regexes; re; re = re->next) {
        const int n = pcre2_match(re->code, (PCRE2_SPTR)path.p, path.n, 0, PCRE2_NO_UTF_CHECK,
                                  s->r->match_data, s->r->match_limits);
        if (n < 0 && n != PCRE2_ERROR_NOMATCH) {
            s->refused = true;
            return false;
        }
        if (n >= 0 && _sl_try_route(s, re->route))
            return true;
    }
    return false;
}

static bool _sl_try_host(struct sl_search *s, const struct sl_host *h)
{
    if (!h || s->refused)
        return false;
    const struct sl_slice path = s->req->path;
    /* "OPTIONS *" has no path (RFC 9110 section 9.3.7): only routes without paths take it. */
    if (path.n && path.p[0] == '/' && (_sl_try_paths(s, &h->root) || _sl_try_regexes(s, h)))
        return true;
    return !s->refused && _sl_try(s, h->any);
}

/* Without the port, and without the dot that ends a fully qualified name. */
static struct sl_slice _sl_host_name(struct sl_slice authority)
{
    if (authority.n && authority.p[0] == '[') {
        const ssize_t end = sl_slice_chr(authority, ']');
        return end < 0 ? authority : sl_slice(authority.p, (size_t)end + 1);
    }
    const ssize_t colon = sl_slice_chr(authority, ':');
    if (colon >= 0)
        authority.n = (size_t)colon;
    if (authority.n > 1 && authority.p[authority.n - 1] == '.')
        authority.n--;
    return authority;
}

static bool _sl_try_hosts(struct sl_search *s)
{
    struct sl_slice name = _sl_host_name(s->req->authority);
    if (s->r->hosts.len && _sl_try_host(s, sl_map_get(&s->r->hosts, name)))
        return true;
    /* At most 255 bytes of a name lead anywhere, so this loop is short. */
    while (s->r->wildcards.len && name.n <= 255) {
        const ssize_t dot = sl_slice_chr(name, '.');
        if (dot < 0)
            break;
        /* "*." stands for at least one label: ".example.org" is no host of it */
        const bool label = dot > 0;
        name = sl_slice(name.p + dot + 1, name.n - (size_t)dot - 1);
        if (label && _sl_try_host(s, sl_map_get(&s->r->wildcards, name)))
            return true;
    }
    return _sl_try_host(s, s->r->any);
}

enum sl_route_result sl_router_match(const struct sl_router *r, const struct sl_request *req, uint32_t *index,
                                     uint32_t *methods)
{
    struct sl_search s = {.r = r, .req = req};
    if (_sl_try_hosts(&s)) {
        *index = s.found;
        return SL_ROUTE_FOUND;
    }
    if (s.refused || !s.method_known)
        return SL_ROUTE_NONE;
    *methods = s.methods;
    return SL_ROUTE_METHOD;
}
