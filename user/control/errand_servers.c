/* SPDX-License-Identifier: Apache-2.0 */
/* The servers that a policy has asked, by kind, and how each of them does. */
#include "control/errand_priv.h"

#include "net/tls.h"

#include <errno.h>

static const char *_sl_kind_name(enum sl_errand_kind kind)
{
    static const char *const names[] = {[SL_ERRAND_INTROSPECT] = "introspection",
                                        [SL_ERRAND_LDAP] = "ldap",
                                        [SL_ERRAND_CLIENT_CREDENTIALS] = "client_credentials",
                                        [SL_ERRAND_TOKEN_EXCHANGE] = "token_exchange"};
    return names[kind];
}

struct sl_errand_server *sl_errand_server_find(struct sl_errands *all, uint32_t kind, uint64_t source)
{
    for (size_t i = 0; i < all->n_servers; i++)
        if (all->servers[i].kind == kind && all->servers[i].source == source)
            return &all->servers[i];
    return NULL;
}

static void _sl_inherit(struct sl_errand_server *s, const struct sl_errand_server *former, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (former[i].kind != s->kind || former[i].source != s->source)
            continue;
        s->failures = former[i].failures;
        s->held_until = former[i].held_until;
        s->connects = former[i].connects;
        memcpy(s->total, former[i].total, sizeof(s->total));
        memcpy(s->why, former[i].why, sizeof(s->why));
    }
}

static int _sl_add(struct sl_errands *all, struct sl_errand_server server, struct sl_slice ca)
{
    const char *why = "";
    struct sl_errand_server *s = &all->servers[all->n_servers];
    *s = server;
    s->all = all;
    const int r = ca.n ? sl_tls_client_new(&(struct sl_tls_client){.ca = ca}, &why, &s->tls) : 0;
    if (r < 0)
        return sl_error_r(r, "%s: tls: %s", s->name, why);
    all->n_servers++;
    return 0;
}

static int _sl_add_directory(struct sl_errands *all, const struct sl_auth *a)
{
    const struct sl_errand_server s = {.ops = &sl_ldap_ops,
                                       .kind = SL_ERRAND_LDAP,
                                       .source = a->ldap.source,
                                       .name = a->name,
                                       .url = a->ldap.uri,
                                       .conf = a,
                                       .timeout = a->ldap.timeout};
    return _sl_add(all, s, a->ldap.ca.data);
}

static int _sl_add_auth(struct sl_errands *all, const struct sl_auth *a)
{
    const struct sl_errand_server s = {.ops = &sl_introspect_ops,
                                       .kind = SL_ERRAND_INTROSPECT,
                                       .source = a->introspection.source,
                                       .name = a->name,
                                       .url = a->introspection.url,
                                       .conf = a,
                                       .timeout = a->introspection.timeout};
    if (a->type == SL_AUTH_LDAP)
        return _sl_add_directory(all, a);
    return a->type == SL_AUTH_INTROSPECTION ? _sl_add(all, s, a->introspection.ca.data) : 0;
}

/* Those that would ask for the same share a server. */
static int _sl_add_token(struct sl_errands *all, const struct sl_upstream_auth *a)
{
    const enum sl_errand_kind kind =
        a->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE ? SL_ERRAND_TOKEN_EXCHANGE : SL_ERRAND_CLIENT_CREDENTIALS;
    const struct sl_errand_server s = {.ops = &sl_token_ops,
                                       .kind = kind,
                                       .source = a->token.source,
                                       .name = a->token.name,
                                       .url = a->token.url,
                                       .conf = a,
                                       .timeout = a->token.timeout};
    if (!a->token.source || sl_errand_server_find(all, kind, a->token.source))
        return 0;
    return _sl_add(all, s, a->token.ca.data);
}

static size_t _sl_count(const struct sl_snapshot *s)
{
    size_t n = s->n_auths;
    for (size_t i = 0; i < s->n_upstreams; i++)
        n += s->upstreams[i].upstream_auth.token.source != 0;
    for (size_t i = 0; i < s->n_routes; i++)
        n += s->routes[i].upstream_auth.token.source != 0;
    return n;
}

/* Each failure is in the log. */
static bool _sl_add_all(struct sl_errands *all, const struct sl_snapshot *s)
{
    bool r = false;
    for (size_t i = 0; i < s->n_auths; i++)
        r |= _sl_add_auth(all, &s->auths[i]) < 0;
    for (size_t i = 0; i < s->n_upstreams; i++)
        r |= _sl_add_token(all, &s->upstreams[i].upstream_auth) < 0;
    for (size_t i = 0; i < s->n_routes; i++)
        r |= _sl_add_token(all, &s->routes[i].upstream_auth) < 0;
    return !r;
}

int sl_errand_servers_new(struct sl_errands *all, const struct sl_errand_server *former, size_t n)
{
    const struct sl_snapshot *s = all->snapshot;
    all->n_servers = 0;
    all->servers = calloc(_sl_count(s) + 1, sizeof(*all->servers));
    if (!all->servers)
        return -ENOMEM;
    const bool whole = _sl_add_all(all, s);
    for (size_t i = 0; i < all->n_servers; i++)
        _sl_inherit(&all->servers[i], former, n);
    return whole ? 0 : -EINVAL;
}

void sl_errand_servers_free(struct sl_errand_server *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i].ops->close(&v[i]);
        SSL_CTX_free(v[i].tls);
    }
    free(v);
}

void sl_errands_each(const struct sl_control *c, sl_errand_state_fn f, void *ctx)
{
    const struct sl_errands *all = c->errands;
    const uint64_t now = sl_now_ns();
    for (size_t i = 0; all && i < all->n_servers; i++) {
        const struct sl_errand_server *s = &all->servers[i];
        f(ctx, &(struct sl_errand_state){.kind = _sl_kind_name(s->kind),
                                         .provider = s->name,
                                         .url = s->url,
                                         .error = s->why,
                                         .held_ns = s->held_until > now ? s->held_until - now : 0,
                                         .running = s->running,
                                         .queued = s->queued,
                                         .connections = s->ops->connections(s),
                                         .connects = s->connects,
                                         .total = s->total});
    }
}
