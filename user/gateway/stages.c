/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a route does with a request: one function a stage, put together once for each route. Read
 * sl_route_stages for the order. A stage that answers returns what sl_respond* returns; the exchange may be
 * over then and must not be touched any more.
 */
#include "gateway/exchange_priv.h"
#include "gateway/hasher_priv.h"
#include "kernel/maps.h"

#include <errno.h>

static bool _sl_in(const struct sl_cidrs *list, const struct sl_ip *ip)
{
    for (size_t i = 0; i < list->n; i++)
        if (sl_cidr_contains(&list->v[i], ip))
            return true;
    return false;
}

static enum sl_stage_result _sl_stage_sources(struct sl_exchange *ex)
{
    const struct sl_route *r = ex->route->policy->route;
    bool denied = _sl_in(&r->sources_deny, &ex->client_ip);
    if (denied || (r->sources_allow.n && !_sl_in(&r->sources_allow, &ex->client_ip)))
        return sl_respond_problem(ex, SL_WHY_FORBIDDEN_SOURCE, 403, "this address may not use this route");
    return SL_STAGE_NEXT;
}

/* ---- who */

static void _sl_count_auth(struct sl_exchange *ex, const struct sl_auth_outcome *o)
{
    struct sl_worker_counters *n = ex->w->counters;
    n->jwt_cache_hits += o->cached;
    n->jwt_cache_misses += !o->cached && o->verified;
    n->jwt_verified += o->verified;
    n->anonymous += o->anonymous;
    if (o->result == SL_AUTH_INVALID_TOKEN) {
        n->jwt_refused++;
        n->jwt_refused_by[sl_slot(o->token_reason, SL_COUNTER_TOKEN_REASONS)]++;
    }
}

static enum sl_stage_result _sl_refuse_auth(struct sl_exchange *ex, const struct sl_auth_outcome *o)
{
    static const struct {
        enum sl_proxy_reason why;
        unsigned status;
        const char *detail;
    } as[] = {
        [SL_AUTH_NO_CREDENTIALS] = {SL_WHY_NO_CREDENTIALS, 401, "credentials are needed"},
        [SL_AUTH_INVALID_TOKEN] = {SL_WHY_INVALID_TOKEN, 401, "the token was refused"},
        [SL_AUTH_INVALID_KEY] = {SL_WHY_INVALID_KEY, 401, "the key is not known"},
        [SL_AUTH_INVALID_CERTIFICATE] = {SL_WHY_INVALID_CERTIFICATE, 401, "the certificate names nobody"},
        [SL_AUTH_INVALID_PASSWORD] = {SL_WHY_INVALID_PASSWORD, 401, "the user or the password is wrong"},
        [SL_AUTH_NO_KEYS] = {SL_WHY_KEYS_UNAVAILABLE, 503, "the token cannot be verified now"},
        [SL_AUTH_FORBIDDEN_ROLE] = {SL_WHY_FORBIDDEN_ROLE, 403, "a role is missing"},
        [SL_AUTH_FORBIDDEN_SCOPE] = {SL_WHY_FORBIDDEN_SCOPE, 403, "a scope is missing"},
        [SL_AUTH_FORBIDDEN_GROUP] = {SL_WHY_FORBIDDEN_GROUP, 403, "a group is missing"},
    };
    if (o->challenge && as[o->result].status == 401 &&
        sl_headers_add(&ex->res.headers, &ex->arena, SL_S("WWW-Authenticate"), sl_slice_str(o->challenge)) <
            0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond_problem(ex, as[o->result].why, as[o->result].status,
                              o->detail ? o->detail : as[o->result].detail);
}

/* The kernel counts a consumer's bytes by the socket they flow over: those of a connection that several share
 * are nobody's ("other", slot 0). */
static void _sl_tag_socket(struct sl_exchange *ex)
{
    struct sl_conn *c = ex->conn;
    const struct sl_consumer *consumer = ex->identity ? ex->identity->consumer : NULL;
    int storage = ex->w->args->kernel.socket_storage;
    uint32_t tag = c->shared && c->tag ? 1 : consumer && !c->shared ? consumer->slot + 1 : 0;
    if (storage < 0 || !tag || tag == c->tag)
        return;
    if (sl_maps_tag_socket(storage, c->stream.fd, tag - 1) == 0)
        c->tag = tag;
}

/* Who asks is known, or need not be. */
static enum sl_stage_result _sl_admit(struct sl_exchange *ex)
{
    sl_escalate_asked(ex);
    _sl_tag_socket(ex);
    sl_shape_begin(ex);
    return SL_STAGE_NEXT;
}

static enum sl_stage_result _sl_stage_authenticate(struct sl_exchange *ex);

static enum sl_stage_result _sl_wait_for(struct sl_exchange *ex, const struct sl_auth_outcome *o)
{
    if (o->job) {
        ex->again.known = true; /* where no verdict comes in time, it is none */
        if (sl_hasher_submit(ex, o->job))
            return SL_STAGE_WAIT;
        return sl_respond_problem(ex, SL_WHY_AUTH_OVERLOADED, 503, "too many passwords wait to be checked");
    }
    if (o->errand)
        return sl_auth_errand_begin(ex, o->errand);
    ex->again.sought = true;
    return sl_worker_keys_wait(ex, o->source) ? SL_STAGE_WAIT : _sl_stage_authenticate(ex);
}

static enum sl_stage_result _sl_stage_authenticate(struct sl_exchange *ex)
{
    uint64_t now_s = sl_loop_wall(&ex->w->loop) / SL_NS_PER_SEC;
    struct sl_auth_outcome o = sl_authenticate(ex->config->policy->auth, ex->route->policy->route, &ex->req,
                                               &ex->arena, now_s, &ex->again);
    if (o.result == SL_AUTH_WAIT)
        return _sl_wait_for(ex, &o);
    _sl_count_auth(ex, &o);
    ex->identity = o.identity;
    ex->token = o.token;
    if (ex->identity)
        ex->tier = ex->identity->tier;
    if (o.result == SL_AUTH_UNAVAILABLE)
        return sl_auth_errand_refuse(ex, o.detail);
    return o.result == SL_AUTH_OK ? _sl_admit(ex) : _sl_refuse_auth(ex, &o);
}

/* Of an open route: what is left to do is to remove identity headers that a client made up. */
static enum sl_stage_result _sl_stage_let_in(struct sl_exchange *ex)
{
    sl_auth_clean(ex->config->policy->auth, &ex->req.headers);
    return _sl_admit(ex);
}

static enum sl_stage_result _sl_stage_body_size(struct sl_exchange *ex)
{
    if (ex->req.framing == SL_FRAMING_LENGTH && ex->req.content_length > ex->body_limit)
        return sl_respond_problem(ex, SL_WHY_BODY_TOO_LARGE, 413,
                                  "the request's body is larger than this route takes");
    return SL_STAGE_NEXT;
}

/* ---- what is made of it */

/* Whole segments: /v1 is no prefix of /v10. */
static void _sl_strip_prefix(struct sl_request *req, struct sl_slice prefix)
{
    if (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (!prefix.n || !sl_slice_starts(req->path, prefix))
        return;
    struct sl_slice rest = sl_slice(req->path.p + prefix.n, req->path.n - prefix.n);
    if (rest.n && rest.p[0] != '/')
        return;
    req->path = rest.n ? rest : SL_S("/");
}

static enum sl_stage_result _sl_stage_transform(struct sl_exchange *ex)
{
    const struct sl_route_policy *p = ex->route->policy;
    _sl_strip_prefix(&ex->req, p->route->strip_prefix);
    if (!p->request)
        return SL_STAGE_NEXT;
    struct sl_template_vars vars = sl_exchange_vars(ex);
    if (sl_transform_run(p->request, &vars, &ex->req.headers, &ex->arena) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return SL_STAGE_NEXT;
}

/* ---- where it ends */

static enum sl_stage_result _sl_stage_respond(struct sl_exchange *ex)
{
    const struct sl_route_policy *p = ex->route->policy;
    struct sl_template_vars vars = sl_exchange_vars(ex);
    int r = p->respond ? sl_transform_run(p->respond, &vars, &ex->res.headers, &ex->arena) : 0;
    if (r < 0 || sl_respond_decorate(ex, p->response) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond(ex, p->route->respond.status, p->route->respond.body);
}

/* RFC 7517. Verifiers ask again when they meet a kid that they do not know, and else when this is over. */
static enum sl_stage_result _sl_stage_jwks(struct sl_exchange *ex)
{
    const struct sl_route_policy *p = ex->route->policy;
    struct sl_headers *h = &ex->res.headers;
    int r = sl_headers_set(h, &ex->arena, SL_S("Content-Type"), SL_S("application/jwk-set+json"));
    if (r == 0)
        r = sl_headers_set(h, &ex->arena, SL_S("Cache-Control"), SL_S("public, max-age=300"));
    if (r < 0 || sl_respond_decorate(ex, p->response) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond(ex, 200, sl_minter_jwks(ex->config->policy->minter, p->route->jwks));
}

static enum sl_stage_result _sl_redirect(struct sl_exchange *ex, unsigned status, struct sl_slice location,
                                         const struct sl_transform *extra)
{
    if (!location.p || sl_headers_set(&ex->res.headers, &ex->arena, SL_S("Location"), location) < 0 ||
        sl_respond_decorate(ex, extra) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond(ex, status, SL_S(""));
}

static enum sl_stage_result _sl_stage_redirect(struct sl_exchange *ex)
{
    const struct sl_route_policy *p = ex->route->policy;
    struct sl_template_vars vars = sl_exchange_vars(ex);
    return _sl_redirect(ex, p->route->redirect.status, sl_template_run(p->redirect, &vars, &ex->arena),
                        p->response);
}

/* The same host and target over TLS; 308 keeps the method of those that have a body (RFC 9110
 * section 15.4.9). */
static enum sl_stage_result _sl_stage_redirect_https(struct sl_exchange *ex)
{
    struct sl_slice host = ex->req.authority;
    ssize_t colon = host.n && host.p[0] == '[' ? sl_slice_chr(host, ']') + 1 : sl_slice_chr(host, ':');
    if (colon > 0)
        host.n = (size_t)colon;
    if (!host.n)
        return sl_respond_problem(ex, SL_WHY_BAD_REQUEST, 400, "no Host to redirect to");
    char port[8] = "";
    if (ex->config->https_port != 443)
        (void)snprintf(port, sizeof(port), ":%u", ex->config->https_port);
    const char *text =
        sl_arena_printf(&ex->arena, "https://" SL_SFMT "%s" SL_SFMT "%s" SL_SFMT, SL_SARG(host), port,
                        SL_SARG(ex->req.path), ex->req.query.p ? "?" : "", SL_SARG(ex->req.query));
    bool safe = ex->req.method == SL_METHOD_GET || ex->req.method == SL_METHOD_HEAD;
    return _sl_redirect(ex, safe ? 301 : 308, sl_slice_str(text), NULL);
}

const sl_stage sl_chain_redirect_https[] = {_sl_stage_redirect_https, NULL};

/* Whether one of its upstreams is shown who asks. */
static bool _sl_shows_who(const struct sl_route *r)
{
    bool any = r->upstream && r->upstream->upstream_auth.type > SL_UPSTREAM_AUTH_NONE;
    for (size_t i = 0; i < r->n_split; i++)
        any |= r->split[i].upstream->upstream_auth.type > SL_UPSTREAM_AUTH_NONE;
    return r->upstream_auth.type == SL_UPSTREAM_AUTH_INHERIT ? any
                                                             : r->upstream_auth.type > SL_UPSTREAM_AUTH_NONE;
}

void sl_route_stages(const struct sl_route_policy *p, sl_stage chain[SL_MAX_STAGES])
{
    const struct sl_route *cfg = p->route;
    size_t n = 0;
    if (cfg->sources_allow.n || cfg->sources_deny.n)
        chain[n++] = _sl_stage_sources;
    chain[n++] = sl_route_is_open(cfg) ? _sl_stage_let_in : _sl_stage_authenticate;
    chain[n++] = sl_stage_limits;
    chain[n++] = sl_stage_upgrade;
    chain[n++] = _sl_stage_body_size;
    switch (cfg->action) {
    case SL_ACTION_UPSTREAM:
        if (cfg->strip_prefix.n || p->request)
            chain[n++] = _sl_stage_transform;
        chain[n++] = sl_forward_choose;
        if (_sl_shows_who(cfg))
            chain[n++] = sl_stage_upstream_auth;
        chain[n++] = sl_forward_begin;
        break;
    case SL_ACTION_RESPOND:
        chain[n++] = _sl_stage_respond;
        break;
    case SL_ACTION_REDIRECT:
        chain[n++] = _sl_stage_redirect;
        break;
    case SL_ACTION_JWKS:
        chain[n++] = _sl_stage_jwks;
        break;
    case SL_ACTION_OAUTH2:
        chain[n++] = sl_stage_collect;
        chain[n++] = sl_stage_oauth2;
        break;
    }
    chain[n] = NULL;
}
