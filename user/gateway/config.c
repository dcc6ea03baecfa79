/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy made ready for this worker: chains put together, TLS contexts and upstream groups built.
 * Invariant: it is built whole or not at all; what serves meanwhile is untouched.
 */
#include "base/log.h"
#include "gateway/exchange_priv.h"
#include "gateway/policy_thread_priv.h"

#include <errno.h>

/* RFC 7301 section 3.1 */
static struct sl_slice _sl_alpn(const struct sl_listener *l)
{
    if (!l->protocols.h2)
        return SL_S("\x08http/1.1");
    if (!l->protocols.http1)
        return SL_S("\x02h2");
    return l->protocols.h2_first ? SL_S("\x02h2\x08http/1.1") : SL_S("\x08http/1.1\x02h2");
}

static int _sl_tls_of(struct sl_worker *w, const struct sl_listener *l, SSL_CTX **out)
{
    size_t n = l->tls.n_certificates;
    SL_FREE struct sl_tls_cert *certs = calloc(n, sizeof(*certs));
    if (!certs)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct sl_certificate *c = &l->tls.certificates[i];
        certs[i] = (struct sl_tls_cert){.cert = c->cert.data,
                                        .key = c->key.data,
                                        .names = c->names.v,
                                        .n_names = c->names.n,
                                        .ocsp = c->ocsp.data,
                                        .ocsp_until = c->ocsp_until};
    }
    const bool asks = l->tls.client_auth != SL_CLIENT_AUTH_NONE;
    const struct sl_tls_server server = {.certs = certs,
                                         .n_certs = n,
                                         .min_version = l->tls.min_version,
                                         .alpn = _sl_alpn(l),
                                         .client_ca = asks ? l->tls.client_ca.data : SL_SLICE_NUL,
                                         .client_required = l->tls.client_auth == SL_CLIENT_AUTH_REQUIRED,
                                         .ciphers = l->tls.ciphers,
                                         .ciphersuites = l->tls.ciphersuites,
                                         .groups = l->tls.groups,
                                         .tickets = l->tls.session_tickets ? &w->tickets : NULL};
    const char *why = "";
    int r = sl_tls_server_new(&server, &why, out);
    return r < 0 ? sl_error_r(r, "listener %s: tls: %s", l->name, why) : 0;
}

static int _sl_build_tls(struct sl_worker *w, struct sl_gw_config *c)
{
    c->n_tls = c->snapshot->n_listeners;
    c->tls = calloc(c->n_tls, sizeof(SSL_CTX *));
    if (c->n_tls && !c->tls)
        return -ENOMEM;
    c->https_port = 443;
    for (size_t i = 0, first = 1; i < c->n_tls; i++) {
        const struct sl_listener *l = &c->snapshot->listeners[i];
        if (!l->tls.enabled)
            continue;
        int r = _sl_tls_of(w, l, &c->tls[i]);
        if (r < 0)
            return r;
        if (first && l->n_bind)
            c->https_port = sl_sockaddr_port(&l->bind[0]);
        first = 0;
    }
    return 0;
}

static int _sl_build_groups(struct sl_worker *w, struct sl_gw_config *c)
{
    c->n_groups = c->snapshot->n_upstreams;
    c->groups = calloc(c->n_groups, sizeof(struct sl_group *));
    if (c->n_groups && !c->groups)
        return -ENOMEM;
    for (size_t i = 0; i < c->n_groups; i++) {
        int r = sl_group_new(&w->upstreams, &c->snapshot->upstreams[i], &c->groups[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* NULL: memory is out. */
static const sl_stage *_sl_chain_of(struct sl_gw_config *c, const struct sl_route_policy *p)
{
    struct sl_gw_chain *mine = calloc(1, sizeof(*mine));
    if (!mine)
        return NULL;
    sl_route_stages(p, mine->stages);
    for (const struct sl_gw_chain *i = c->chains; i; i = i->next)
        if (memcmp(i->stages, mine->stages, sizeof(i->stages)) == 0) {
            free(mine);
            return i->stages;
        }
    mine->next = c->chains;
    c->chains = mine;
    return mine->stages;
}

static int _sl_build_split(struct sl_gw_config *c, struct sl_gw_route *to, const struct sl_route *r)
{
    to->split = calloc(r->n_split, sizeof(*to->split));
    if (!to->split)
        return -ENOMEM;
    to->n_split = r->n_split;
    for (size_t i = 0; i < r->n_split; i++)
        to->split[i] = (struct sl_gw_share){.group = c->groups[r->split[i].upstream - c->snapshot->upstreams],
                                            .weight = r->split[i].weight};
    return 0;
}

static int _sl_build_retries(struct sl_gw_route *to, const struct sl_route *r)
{
    to->retry_credit = r->retries.max ? malloc(sizeof(*to->retry_credit)) : NULL;
    if (to->retry_credit)
        *to->retry_credit = SL_RETRY_CREDIT;
    return r->retries.max && !to->retry_credit ? -ENOMEM : 0;
}

static int _sl_build_route(struct sl_gw_config *c, struct sl_gw_route *to, const struct sl_route_policy *p)
{
    const struct sl_route *r = p->route;
    *to = (struct sl_gw_route){.chain = _sl_chain_of(c, p),
                               .policy = p,
                               .counters = &c->w->counters->routes[sl_slot(r->slot, SL_COUNTER_ROUTES)],
                               .limits = p->limits,
                               .in_flight = r->in_flight.max ? &r->in_flight : NULL,
                               .response = p->response,
                               .timeouts = r->timeouts,
                               .request_body = r->request_body,
                               .slot = r->slot};
    if (r->upstream)
        to->group = c->groups[r->upstream - c->snapshot->upstreams];
    c->upgrades |= r->upgrade.n > 0;
    if (!to->chain || _sl_build_retries(to, r) < 0 || (r->n_split && _sl_build_split(c, to, r) < 0))
        return -ENOMEM;
    return 0;
}

static int _sl_build_routes(struct sl_gw_config *c)
{
    const size_t n = c->snapshot->n_routes;
    c->routes = aligned_alloc(_Alignof(struct sl_gw_route), n * sizeof(*c->routes));
    if (n && !c->routes)
        return -ENOMEM;
    int r = 0;
    for (; r == 0 && c->n_routes < n; c->n_routes++)
        r = _sl_build_route(c, &c->routes[c->n_routes], &c->policy->routes[c->n_routes]);
    return r;
}

int sl_gw_config_new(struct sl_worker *w, struct sl_policy *policy, struct sl_gw_config **out)
{
    const struct sl_snapshot *s = policy->snapshot;
    struct sl_gw_config *c = calloc(1, sizeof(*c));
    if (!c) {
        sl_policy_thread_discard(w, policy);
        return -ENOMEM;
    }
    *c = (struct sl_gw_config){.refs = 1,
                               .w = w,
                               .policy = policy,
                               .snapshot = s,
                               .correlation_header = sl_slice_str(s->correlation_id.header)};
    int r = _sl_build_tls(w, c);
    if (r == 0)
        r = _sl_build_groups(w, c);
    if (r == 0)
        r = _sl_build_routes(c);
    if (r == 0 && s->access_log.format)
        r = sl_access_format_new(s->access_log.format, &c->log_format);
    if (r < 0)
        sl_gw_config_unref(c);
    else
        *out = c;
    return r;
}

struct sl_gw_config *sl_gw_config_ref(struct sl_gw_config *c)
{
    c->refs++;
    return c;
}

void sl_gw_config_unref(struct sl_gw_config *c)
{
    if (!c || --c->refs)
        return;
    for (size_t i = 0; c->groups && i < c->n_groups; i++)
        sl_group_free(c->groups[i]);
    for (size_t i = 0; c->tls && i < c->n_tls; i++)
        SSL_CTX_free(c->tls[i]);
    for (size_t i = 0; i < c->n_routes; i++) {
        free(c->routes[i].split);
        free(c->routes[i].retry_credit);
    }
    for (struct sl_gw_chain *i = c->chains, *next; i; i = next) {
        next = i->next;
        free(i);
    }
    sl_access_format_free(c->log_format);
    free(c->groups);
    free(c->tls);
    free(c->routes);
    sl_policy_thread_discard(c->w, c->policy);
    free(c);
}
