/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What takes the whole policy to judge: addresses bound twice, certificates, and kernel ceilings under the
 * proxy's limits. Runs after errors too, so everything here expects holes (NULL names, empty lists).
 */
#include "config/reader_priv.h"

#include "base/clock.h"
#include <errno.h>

/* ---- addresses bound twice */

struct sl_binds {
    struct sl_map seen; /* text of the address to the node that bound it */
    struct sl_arena arena;
    size_t tcp;
};

static void _sl_bind(struct sl_reader *r, struct sl_binds *b, const struct sl_sockaddr *sa,
                     const struct sl_node *n)
{
    char text[SL_SOCK_STRLEN];
    if (sa->len == 0)
        return;
    b->tcp += sa->sa.sa_family != AF_UNIX;
    struct sl_slice key = sl_arena_copy(&b->arena, sl_slice_str(sl_sockaddr_text(sa, text)));
    int rc = key.p ? sl_map_add(&b->seen, key, (void *)(uintptr_t)n) : -ENOMEM;
    if (rc == -EEXIST)
        sl_read_error(r, n, "%s is bound twice: the first is at %s", sl_read_known(n, text),
                      sl_read_place(r, sl_map_get(&b->seen, key)));
    else if (rc < 0)
        r->oom = true;
}

static void _sl_bind_all(struct sl_reader *r, struct sl_binds *b, const struct sl_node *list,
                         const struct sl_sockaddr *v, size_t n)
{
    const struct sl_node *c = list && list->kind == SL_NODE_LIST && list->n == n ? list->first : NULL;
    for (; c; c = c->next)
        _sl_bind(r, b, v++, c);
}

static void _sl_check_binds(struct sl_reader *r, const struct sl_node *root)
{
    const struct sl_snapshot *s = r->s;
    const struct sl_node *listeners = sl_node_get(root, "listeners");
    struct sl_binds b = {0};
    sl_arena_init(&b.arena, 0);
    const struct sl_node *c = listeners && listeners->n == s->n_listeners ? listeners->first : NULL;
    for (size_t i = 0; c; c = c->next, i++)
        _sl_bind_all(r, &b, sl_node_get(c, "bind"), s->listeners[i].bind, s->listeners[i].n_bind);
    if (b.tcp > SL_MAX_LISTENERS)
        sl_read_key_error(r, listeners, "%zu addresses are bound: at most %d", b.tcp, SL_MAX_LISTENERS);
    _sl_bind_all(r, &b, sl_node_get(sl_node_get(root, "admin"), "bind"), s->admin.bind, s->admin.n_bind);
    sl_map_free(&b.seen);
    sl_arena_free(&b.arena);
}

static void _sl_check_redirects(struct sl_reader *r)
{
    const struct sl_snapshot *s = r->s;
    bool tls = false;
    for (size_t i = 0; i < s->n_listeners; i++)
        tls |= s->listeners[i].tls.enabled;
    for (size_t i = 0; i < s->n_listeners && !tls; i++)
        if (s->listeners[i].redirect_https)
            sl_diag_warn(r->diag, &s->listeners[i].pos,
                         "redirects to https, but no listener of this policy speaks TLS");
}

static void _sl_check_proxied(struct sl_reader *r, const struct sl_node *root)
{
    const struct sl_node *listeners = sl_node_get(root, "listeners");
    const struct sl_node *c = listeners && listeners->n == r->s->n_listeners ? listeners->first : NULL;
    for (size_t i = 0; c && r->s->trusted_proxies.n == 0; c = c->next, i++)
        if (r->s->listeners[i].proxy_protocol)
            sl_read_key_error(r, sl_node_get(c, "proxy_protocol"),
                              "nobody could connect: trusted_proxies names no address that is believed");
}

/* ---- certificates */

static void _sl_check_tls(struct sl_reader *r, const struct sl_tls_config *t)
{
    for (size_t k = 0; k < t->n_certificates; k++)
        sl_check_certificate(r, &t->certificates[k]);
    sl_check_ca(r, &t->client_ca);
}

static void _sl_check_certificates(struct sl_reader *r)
{
    for (size_t i = 0; i < r->s->n_listeners; i++)
        _sl_check_tls(r, &r->s->listeners[i].tls);
    _sl_check_tls(r, &r->s->admin.tls);
    for (size_t i = 0; i < r->s->n_upstreams; i++) {
        const struct sl_upstream *u = &r->s->upstreams[i];
        sl_check_ca(r, &u->tls.ca);
        sl_check_key_pair(r, &u->tls.cert, &u->tls.key);
    }
}

/* ---- kernel ceilings */

/* Whether the kernel admits less in a unit of time than the limit's shortest window: then it would drop what
 * the proxy admits. */
static bool _sl_under(const struct sl_rate *kernel, const struct sl_rate_limit *limit)
{
    if (kernel->count == 0 || limit->n_windows == 0 || limit->shadow)
        return false;
    const struct sl_window *w = &limit->windows[0];
    return (unsigned __int128)kernel->count * w->seconds * SL_NS_PER_SEC <
           (unsigned __int128)w->limit * kernel->per_ns;
}

struct sl_ceiling {
    const struct sl_rate *rate;
    const struct sl_node *node;
    const char *what;
};

static void _sl_check_ceiling(struct sl_reader *r, const struct sl_ceiling *c, const char *kind,
                              const char *name, const struct sl_rate_limit *limit)
{
    if (!c->node || !_sl_under(c->rate, limit))
        return;
    sl_read_error(r, c->node,
                  "%s only %s in the kernel, but the proxy admits %llu requests per %s for "
                  "%s \"%s\" (%s): raise this, or lower that",
                  c->what, sl_read_known(c->node, c->node->text.p),
                  (unsigned long long)limit->windows[0].limit, limit->windows[0].name, kind, name,
                  sl_place(r, &limit->pos));
}

static void _sl_check_ceilings(struct sl_reader *r, const struct sl_ceiling *c)
{
    const struct sl_snapshot *s = r->s;
    _sl_check_ceiling(r, c, "section", "limits", &s->limits.rate_limit);
    for (size_t i = 0; i < s->n_tiers; i++)
        _sl_check_ceiling(r, c, "tier", s->tiers[i].name, &s->tiers[i].rate_limit);
    for (size_t i = 0; i < s->n_consumers; i++)
        if (s->consumers[i].rate_limit)
            _sl_check_ceiling(r, c, "consumer", s->consumers[i].name, s->consumers[i].rate_limit);
    for (size_t i = 0; i < s->n_routes; i++)
        _sl_check_ceiling(r, c, "route", s->routes[i].name, &s->routes[i].rate_limit);
}

static void _sl_list_entry(struct sl_reader *r, struct sl_map *seen, struct sl_arena *a,
                           const struct sl_node *n, const struct sl_cidr *cidr)
{
    char text[SL_IP_STRLEN];
    if (cidr->ip.family == 0)
        return;
    struct sl_slice key = sl_arena_copy(a, sl_slice_str(sl_cidr_text(cidr, text)));
    int rc = key.p ? sl_map_add(seen, key, (void *)(uintptr_t)n) : -ENOMEM;
    const struct sl_node *first = rc == -EEXIST ? sl_map_get(seen, key) : NULL;
    if (first && first->parent != n->parent)
        sl_read_error(r, n, "%s is both allowed and denied: it is allowed at %s", sl_read_known(n, text),
                      sl_read_place(r, first));
    else if (first)
        sl_read_warn(r, n, "%s stands twice: the first is at %s", sl_read_known(n, text),
                     sl_read_place(r, first));
    else if (rc < 0)
        r->oom = true;
}

static void _sl_check_lists(struct sl_reader *r, const struct sl_node *kernel)
{
    const struct sl_cidrs *lists[] = {&r->s->kernel.allow, &r->s->kernel.deny};
    const char *keys[] = {"allow", "deny"};
    struct sl_map seen = {0};
    struct sl_arena a;
    sl_arena_init(&a, 0);
    for (size_t i = 0; i < 2; i++) {
        const struct sl_node *list = sl_node_get(kernel, keys[i]);
        size_t k = 0;
        if (!list || list->kind != SL_NODE_LIST)
            continue;
        for (const struct sl_node *c = list->first; c && k < lists[i]->n; c = c->next)
            if (!sl_is_range_file(c))
                _sl_list_entry(r, &seen, &a, c, &lists[i]->v[k++]);
    }
    if (seen.len > SL_MAX_LIST_ENTRIES)
        sl_read_key_error(r, kernel, "allow and deny have %zu ranges: at most %d", seen.len,
                          SL_MAX_LIST_ENTRIES);
    sl_map_free(&seen);
    sl_arena_free(&a);
}

void sl_check_kernel(struct sl_reader *r, const struct sl_node *root)
{
    const struct sl_node *kernel = sl_node_get(root, "kernel");
    const struct sl_kernel *k = &r->s->kernel;
    if (!kernel || kernel->kind != SL_NODE_MAP)
        return;
    _sl_check_lists(r, kernel);
    sl_check_range_files(r, kernel);
    if (k->mode == SL_KERNEL_OFF)
        return;
    const struct sl_node *source = sl_node_get(kernel, "per_source"),
                         *prefix = sl_node_get(kernel, "per_prefix"),
                         *listener = sl_node_get(kernel, "per_listener");
    struct sl_ceiling c[] = {
        {&k->per_source.new_connections, sl_node_get(source, "new_connections"),
         "a source may open new connections at"},
        {&k->per_source.packets, sl_node_get(source, "packets"), "a source may send packets at"},
        {&k->per_prefix.new_connections, sl_node_get(prefix, "new_connections"),
         "a prefix may open new connections at"},
        {&k->per_listener.new_connections, sl_node_get(listener, "new_connections"),
         "a listener takes new connections at"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(c); i++)
        _sl_check_ceilings(r, &c[i]);
}

void sl_check_policy(struct sl_reader *r, const struct sl_node *root)
{
    _sl_check_binds(r, root);
    _sl_check_redirects(r);
    _sl_check_proxied(r, root);
    _sl_check_certificates(r);
    sl_check_kernel(r, root);
    sl_check_consumers(r, root);
    sl_check_cluster(r);
}
