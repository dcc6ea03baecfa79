/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot compiled whole: every part is tried, so that one run tells all that is wrong. */
#include "policy/policy.h"

#include "http/uri.h"
#include "policy/signer.h"

#include <errno.h>
#include <stdio.h>

#define SL_LIMIT_NAME 320 /* "consumer:" and the longest name */

static int _sl_limits(const struct sl_snapshot *s, const struct sl_rate_limit *rl, const char *kind,
                      const char *name, struct sl_limit_set **out, struct sl_diag *diag)
{
    char key[SL_LIMIT_NAME];
    (void)snprintf(key, sizeof(key), "%s:%s", kind, name);
    const int r = sl_limit_set_new(rl, key, out);
    if (r == -ERANGE)
        sl_diag_error(diag, &rl->pos,
                      "this limit is beyond what a bucket can count: a smaller burst is right");
    if (*out && rl->cluster)
        sl_limit_set_share(*out, s->cluster.seed);
    return r == -ERANGE ? -EINVAL : r;
}

static int _sl_worse(int a, int b)
{
    return a == -ENOMEM || b == -ENOMEM ? -ENOMEM : a < 0 ? a : b;
}

static void _sl_check_told(const struct sl_name_value *rename, const struct sl_auth *auth, const char *header,
                           struct sl_diag *diag)
{
    if (sl_slice_ieq(rename->value, sl_slice_str(header)))
        sl_diag_error(diag, &rename->pos,
                      "\"" SL_SFMT "\" tells the upstream who is calling (auth \"%s\"): a client "
                      "must not fill it in under another name",
                      SL_SARG(rename->value), auth->name);
}

static void _sl_check_auth_rename(const struct sl_name_value *rename, const struct sl_auth *auth,
                                  struct sl_diag *diag)
{
    for (size_t i = 0; i < auth->jwt.n_claims_to_headers; i++)
        _sl_check_told(rename, auth, auth->jwt.claims_to_headers[i].header, diag);
    for (size_t i = 0; i < auth->mtls.n_headers; i++)
        _sl_check_told(rename, auth, auth->mtls.headers[i].header, diag);
}

static void _sl_check_token_rename(const struct sl_name_value *rename, const struct sl_upstream_auth *auth,
                                   struct sl_diag *diag)
{
    if (auth->header.n && !sl_upstream_auth_is_bearer(auth) && sl_slice_ieq(rename->value, auth->header))
        sl_diag_error(diag, &rename->pos,
                      "\"" SL_SFMT
                      "\" tells an upstream who is calling (%s:%u:%u): a client must not fill it in "
                      "under another name",
                      SL_SARG(auth->header), auth->pos.file, auth->pos.line, auth->pos.column);
}

/* Headers that tell who is calling are ours alone: a rename would let a client fill one in under another
 * name. Few renames are of such a one; who it is of is looked for only then. */
static void _sl_check_renames(const struct sl_policy *p, const struct sl_route *r, struct sl_diag *diag)
{
    const struct sl_snapshot *s = p->snapshot;
    for (size_t i = 0; i < r->request_headers.rename.n; i++) {
        const struct sl_name_value *rename = &r->request_headers.rename.v[i];
        if (p->auth && !sl_auth_is_identity_header(p->auth, rename->value))
            continue;
        for (size_t a = 0; a < s->n_auths; a++)
            _sl_check_auth_rename(rename, &s->auths[a], diag);
        for (size_t u = 0; u < s->n_upstreams; u++)
            _sl_check_token_rename(rename, &s->upstreams[u].upstream_auth, diag);
        for (size_t o = 0; o < s->n_routes; o++)
            _sl_check_token_rename(rename, &s->routes[o].upstream_auth, diag);
    }
}

/* Whether each request that is let through has a token of its own. */
static bool _sl_has_token(const struct sl_route *r)
{
    bool all = !r->is_public && !r->anonymous;
    for (size_t i = 0; i < r->n_auth; i++)
        all &= sl_auth_takes_tokens(r->auth[i]);
    return all;
}

/* What the gateway shows an upstream of who asks is written last: a route that writes there too means
 * something else. */
static void _sl_check_token_header(const struct sl_route *r, const struct sl_upstream_auth *auth,
                                   struct sl_diag *diag)
{
    const struct sl_name_values *lists[] = {&r->request_headers.set, &r->request_headers.add};
    if (auth->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE && !_sl_has_token(r))
        sl_diag_error(
            diag, &r->pos,
            "its requests are shown to their upstream by token_exchange (%s:%u:%u), but not all of them "
            "have a token: name providers of type jwt or introspection alone under auth, and no anonymous",
            auth->pos.file, auth->pos.line, auth->pos.column);
    for (size_t l = 0; auth->header.n && l < SL_ARRAY_LEN(lists); l++)
        for (size_t i = 0; i < lists[l]->n; i++)
            if (sl_slice_ieq(lists[l]->v[i].name, auth->header))
                sl_diag_error(diag, &lists[l]->v[i].pos, "upstream_auth writes \"" SL_SFMT "\" (%s:%u:%u)",
                              SL_SARG(auth->header), auth->pos.file, auth->pos.line, auth->pos.column);
}

static void _sl_check_shown(const struct sl_route *r, struct sl_diag *diag)
{
    if (r->upstream_auth.type != SL_UPSTREAM_AUTH_INHERIT)
        _sl_check_token_header(r, &r->upstream_auth, diag);
    else if (r->upstream)
        _sl_check_token_header(r, &r->upstream->upstream_auth, diag);
    else
        for (size_t i = 0; i < r->n_split; i++)
            _sl_check_token_header(r, &r->split[i].upstream->upstream_auth, diag);
}

static int _sl_route(struct sl_policy *p, size_t i, struct sl_diag *diag)
{
    const struct sl_route *route = &p->snapshot->routes[i];
    struct sl_route_policy *out = &p->routes[i];
    const struct sl_header_ops *respond = NULL;
    out->route = route;
    _sl_check_renames(p, route, diag);
    _sl_check_shown(route, diag);
    int r = _sl_limits(p->snapshot, &route->rate_limit, "route", route->name, &out->limits, diag);
    r = _sl_worse(r, sl_transform_new(&route->request_headers, diag, &out->request));
    r = _sl_worse(r, sl_transform_new(&route->response_headers, diag, &out->response));
    if (route->action == SL_ACTION_RESPOND) {
        p->respond[i].set = route->respond.headers;
        respond = &p->respond[i];
        r = _sl_worse(r, sl_transform_new(respond, diag, &out->respond));
    }
    r = _sl_worse(r, sl_mint_new(p->minter, &route->upstream_auth, diag, &out->mint));
    if (route->action == SL_ACTION_REDIRECT)
        r = _sl_worse(r, sl_template_new(route->redirect.location, &route->pos, diag, &out->redirect));
    return r;
}

static int _sl_all_limits(struct sl_policy *p, struct sl_diag *diag)
{
    const struct sl_snapshot *s = p->snapshot;
    int r = _sl_limits(s, &s->limits.rate_limit, "all", "routes", &p->limits, diag);
    for (size_t i = 0; i < s->n_tiers; i++) {
        p->tiers[i].tier = &s->tiers[i];
        r = _sl_worse(
            r, _sl_limits(s, &s->tiers[i].rate_limit, "tier", s->tiers[i].name, &p->tiers[i].limits, diag));
    }
    for (size_t i = 0; i < s->n_consumers; i++)
        if (s->consumers[i].rate_limit)
            r = _sl_worse(r, _sl_limits(s, s->consumers[i].rate_limit, "consumer", s->consumers[i].name,
                                        &p->consumer_limits[i], diag));
    return r;
}

static int _sl_compile(struct sl_policy *p, struct sl_diag *diag)
{
    const struct sl_snapshot *s = p->snapshot;
    p->routes = calloc(s->n_routes + 1, sizeof(*p->routes));
    p->respond = calloc(s->n_routes + 1, sizeof(*p->respond));
    p->tiers = calloc(s->n_tiers + 1, sizeof(*p->tiers));
    p->consumer_limits = calloc(s->n_consumers + 1, sizeof(struct sl_limit_set *));
    p->upstream_mints = calloc(s->n_upstreams + 1, sizeof(struct sl_mint *));
    if (!p->routes || !p->respond || !p->tiers || !p->consumer_limits || !p->upstream_mints)
        return -ENOMEM;
    int r = sl_router_new(s, diag, &p->router);
    r = _sl_worse(r, sl_authenticator_new(s, diag, &p->auth));
    r = _sl_worse(r, sl_oauth2_clients_build(s, &p->clients));
    r = _sl_worse(r, sl_minter_new(s, diag, &p->minter));
    if (!p->minter)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_upstreams; i++)
        r = _sl_worse(r, sl_mint_new(p->minter, &s->upstreams[i].upstream_auth, diag, &p->upstream_mints[i]));
    r = _sl_worse(r, _sl_all_limits(p, diag));
    for (size_t i = 0; i < s->n_routes; i++)
        r = _sl_worse(r, _sl_route(p, i, diag));
    return r;
}

int sl_policy_new(struct sl_snapshot *s, struct sl_diag *diag, struct sl_policy **out)
{
    const unsigned errors = diag->errors;
    struct sl_policy *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->snapshot = sl_snapshot_ref(s);
    int r = _sl_compile(p, diag);
    if (r == 0 && diag->errors > errors)
        r = -EINVAL;
    if (r < 0) {
        sl_policy_free(p);
        return r;
    }
    *out = p;
    return 0;
}

int sl_policy_check(struct sl_snapshot *s, struct sl_diag *diag, struct sl_policy **out)
{
    int keys = 0;
    for (size_t i = 0; i < s->n_signers; i++)
        keys = _sl_worse(keys, sl_signer_check(&s->signers[i], diag));
    const int r = sl_policy_new(s, diag, out);
    if (r == 0 && keys < 0)
        sl_policy_free(SL_TAKE_PTR(*out));
    return _sl_worse(r, keys);
}

static void _sl_routes_free(struct sl_policy *p)
{
    for (size_t i = 0; p->routes && i < p->snapshot->n_routes; i++) {
        struct sl_route_policy *r = &p->routes[i];
        sl_limit_set_free(r->limits);
        sl_transform_free(r->request);
        sl_transform_free(r->response);
        sl_transform_free(r->respond);
        sl_template_free(r->redirect);
        sl_mint_free(r->mint);
    }
    free(p->routes);
    free(p->respond);
}

void sl_policy_free(struct sl_policy *p)
{
    if (!p)
        return;
    _sl_routes_free(p);
    sl_limit_set_free(p->limits);
    for (size_t i = 0; p->tiers && i < p->snapshot->n_tiers; i++)
        sl_limit_set_free(p->tiers[i].limits);
    free(p->tiers);
    for (size_t i = 0; p->consumer_limits && i < p->snapshot->n_consumers; i++)
        sl_limit_set_free(p->consumer_limits[i]);
    free(p->consumer_limits);
    for (size_t i = 0; p->upstream_mints && i < p->snapshot->n_upstreams; i++)
        sl_mint_free(p->upstream_mints[i]);
    free(p->upstream_mints);
    sl_minter_free(p->minter);
    sl_oauth2_clients_free(&p->clients);
    sl_authenticator_free(p->auth);
    sl_router_free(p->router);
    sl_snapshot_unref(p->snapshot);
    free(p);
}

int sl_policy_normalize(struct sl_arena *a, struct sl_request *req)
{
    return sl_uri_normalize(a, req->target, &req->path, &req->query);
}
