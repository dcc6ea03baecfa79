/* SPDX-License-Identifier: Apache-2.0 */
/* What would happen to a request: the way that it takes through the proxy, by the code that it would take. */
#include "ctl/explain_priv.h"

#include "base/clock.h"

#include <string.h>

/* ---- from words to a request */

struct sl_asked {
    struct sl_request req;
    bool tls;
    uint16_t port;
};

static bool _sl_wrong(struct sl_explain *x, const char *why)
{
    (void)x;
    (void)sl_ctl_usage("explain", "explain: %s; wanted: \"GET https://host/path\"", why);
    return false;
}

/* "host", "host:port", "[v6]:port": the port behind it, or the scheme's. */
static uint16_t _sl_port(const char *authority, bool tls)
{
    const char *colon = strrchr(authority, ':'), *bracket = strrchr(authority, ']');
    uint64_t port = tls ? 443 : 80;
    if (colon && (!bracket || colon > bracket))
        (void)sl_slice_u64(sl_slice_str(colon + 1), &port);
    return (uint16_t)port;
}

static bool _sl_headers(struct sl_explain *x, struct sl_request *req)
{
    for (size_t i = 0; i < x->n_headers; i++) {
        const char *name = x->headers[i], *colon = strchr(name, ':');
        if (!colon || colon == name)
            return _sl_wrong(x, "a header is -H \"Name: value\"");
        if (sl_headers_add(&req->headers, &x->arena, sl_slice(name, (size_t)(colon - name)),
                           sl_slice_trim(sl_slice_str(colon + 1))) < 0)
            return _sl_wrong(x, "no memory for its headers");
    }
    return true;
}

static bool _sl_parse(struct sl_explain *x, struct sl_slice method, struct sl_slice url, struct sl_asked *out)
{
    const bool tls = sl_slice_starts(url, SL_S("https://"));
    if (!tls && !sl_slice_starts(url, SL_S("http://")))
        return _sl_wrong(x, "only http and https are served");
    url = sl_slice(url.p + (tls ? 8 : 7), url.n - (tls ? 8 : 7));
    const ssize_t slash = sl_slice_chr(url, '/');
    const struct sl_slice authority = slash < 0 ? url : sl_slice(url.p, (size_t)slash),
                          target = slash < 0 ? SL_S("/") : sl_slice(url.p + slash, url.n - (size_t)slash);
    char *host = sl_arena_strdup(&x->arena, authority);
    if (!authority.n || !host)
        return _sl_wrong(x, "it names no host");
    for (char *p = host; *p; p++)
        *p = sl_lower(*p);
    *out = (struct sl_asked){.req = {.method = sl_method_from(method),
                                     .method_name = method,
                                     .target = target,
                                     .authority = sl_slice_str(host),
                                     .minor = 1,
                                     .keep_alive = true},
                             .tls = tls,
                             .port = _sl_port(host, tls)};
    if (sl_headers_add(&out->req.headers, &x->arena, SL_S("Host"), out->req.authority) < 0)
        return _sl_wrong(x, "no memory for its headers");
    return _sl_headers(x, &out->req);
}

/* ---- its way */

static const struct sl_listener *_sl_listener(const struct sl_explain *x, const struct sl_asked *a)
{
    for (size_t i = 0; i < x->s->n_listeners; i++)
        for (size_t b = 0; b < x->s->listeners[i].n_bind; b++)
            if (sl_sockaddr_port(&x->s->listeners[i].bind[b]) == a->port &&
                x->s->listeners[i].tls.enabled == a->tls)
                return &x->s->listeners[i];
    return NULL;
}

static const struct sl_route *_sl_route(struct sl_explain *x, const struct sl_asked *a)
{
    uint32_t index = 0, methods = 0;
    switch (sl_router_match(x->policy->router, &a->req, &index, &methods)) {
    case SL_ROUTE_FOUND:
        sl_explain_say(x, &x->s->routes[index].pos, "route %s takes it", x->s->routes[index].name);
        return &x->s->routes[index];
    case SL_ROUTE_METHOD:
        sl_explain_verdict(x, "405: a route has this path, but none of them this method");
        return NULL;
    default:
        sl_explain_verdict(x, "404: no route takes it");
        return NULL;
    }
}

static void _sl_wants(struct sl_explain *x, const struct sl_route *r)
{
    for (size_t i = 0; i < r->n_auth; i++)
        sl_explain_say(x, &r->auth[i]->pos, "it may show itself to %s", r->auth[i]->name);
    if (r->is_public)
        sl_explain_say(x, &r->pos, "the route is public: no credentials are needed");
    if (r->anonymous)
        sl_explain_say(x, &r->pos, "without credentials it is of consumer %s", r->anonymous->name);
    const struct {
        const struct sl_strings *list;
        const char *what;
    } needs[] = {{&r->require_roles, "role"}, {&r->require_scopes, "scope"}, {&r->require_groups, "group"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(needs); i++)
        for (size_t k = 0; k < needs[i].list->n; k++)
            sl_explain_say(x, &r->pos, "the route requires %s the %s " SL_SFMT, k ? "or" : "", needs[i].what,
                           SL_SARG(needs[i].list->v[k]));
}

/* Who asks, as the gateway would find; false: it would be refused, and the verdict says so. */
static bool _sl_who(struct sl_explain *x, const struct sl_route *r, struct sl_request *req,
                    struct sl_identity **out)
{
    const struct sl_auth_again again = {.sought = true}; /* nobody here fetches keys */
    const struct sl_auth_outcome o =
        sl_authenticate(x->policy->auth, r, req, &x->arena, sl_wall_ns() / SL_NS_PER_SEC, &again);
    *out = o.identity;
    if (o.anonymous)
        sl_explain_say(x, &o.identity->consumer->pos,
                       "it has no credentials, and so is of consumer %s, tier %s", o.identity->consumer->name,
                       o.identity->tier->name);
    else if (o.identity)
        sl_explain_say(
            x, o.identity->consumer ? &o.identity->consumer->pos : NULL,
            "its credentials are those of " SL_SFMT ", tier %s",
            SL_SARG(o.identity->consumer_name.n ? o.identity->consumer_name : SL_S("nobody named")),
            o.identity->tier->name);
    if (o.result == SL_AUTH_OK)
        return true;
    if (o.result == SL_AUTH_WAIT && o.errand) {
        const struct sl_auth *a = o.errand->auth;
        const bool user = a->type == SL_AUTH_LDAP;
        sl_explain_verdict(x, "its %s cannot be judged here: the daemon asks %s about it",
                           user ? "password" : "token", user ? a->ldap.uri : a->introspection.url);
        return false;
    }
    if (o.result == SL_AUTH_WAIT) {
        sl_explain_verdict(x, "its password cannot be judged here: the daemon hashes it");
        return false;
    }
    if (o.result == SL_AUTH_NO_KEYS) { /* the daemon has them, where it could fetch them */
        sl_explain_verdict(x,
                           "its token cannot be judged here: the provider's keys are fetched by the daemon");
        return false;
    }
    const bool forbidden = o.result >= SL_AUTH_FORBIDDEN_ROLE;
    sl_explain_verdict(x, "%u: %s", forbidden ? 403 : 401,
                       o.detail                             ? o.detail
                       : o.result == SL_AUTH_NO_CREDENTIALS ? "credentials are needed, and it has none"
                       : forbidden                          ? "it lacks what the route requires"
                                                            : "its credentials are refused");
    return false;
}

static void _sl_limits(struct sl_explain *x, const struct sl_route *r, const struct sl_identity *id)
{
    const struct sl_consumer *c = id ? id->consumer : NULL;
    const struct sl_tier *t = id ? id->tier : x->s->anonymous;
    const struct sl_rate_limit *limit = sl_rate_limit_of(c, t);
    const struct sl_in_flight *at_once = sl_in_flight_of(c, t);
    sl_explain_limit(x, "the route", &r->rate_limit);
    sl_explain_in_flight(x, "the route", &r->in_flight);
    sl_explain_limit(x, limit != &t->rate_limit ? "the consumer" : "the tier", limit);
    sl_explain_in_flight(x, at_once != &t->in_flight ? "the consumer" : "the tier", at_once);
    sl_explain_limit(x, "the policy", &x->s->limits.rate_limit);
    sl_explain_in_flight(x, "the policy", &x->s->limits.in_flight);
    if (id && id->consumer_name.n) {
        const char *name = sl_arena_strdup(&x->arena, id->consumer_name);
        sl_explain_penalties_of(x, name ? name : "");
        sl_explain_usage(x, name ? name : "");
    }
}

/* What the upstream is shown of who asks. */
static void _sl_shown(struct sl_explain *x, const struct sl_upstream_auth *a, const char *upstream)
{
    if (a->type == SL_UPSTREAM_AUTH_SIGN)
        sl_explain_say(x, &a->pos, "upstream %s is shown a token of signer %s in " SL_SFMT, upstream,
                       a->sign.signer->name, SL_SARG(a->header));
    else if (a->token.source)
        sl_explain_say(x, &a->pos, "upstream %s is shown a token of %s in " SL_SFMT "%s", upstream,
                       a->token.url, SL_SARG(a->header),
                       a->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE ? ", in exchange for its own" : "");
}

static void _sl_goes(struct sl_explain *x, const struct sl_route *r, const struct sl_upstream *u)
{
    const bool own = r->upstream_auth.type != SL_UPSTREAM_AUTH_INHERIT;
    sl_explain_say(x, &u->pos, "upstream %s has %zu targets", u->name, u->n_targets);
    _sl_shown(x, own ? &r->upstream_auth : &u->upstream_auth, u->name);
}

/* What becomes of "Upgrade: websocket" (RFC 9110 section 7.8 leaves it to the server). */
static void _sl_upgrades(struct sl_explain *x, const struct sl_route *r, const struct sl_request *req)
{
    const struct sl_header *h = sl_headers_get(&req->headers, SL_HDR_UPGRADE);
    if (r->upgrade.n)
        sl_explain_say(x, &r->pos, "the route takes WebSockets%s",
                       h ? ": it becomes one where the upstream agrees" : "");
    else if (h)
        sl_explain_say(x, &r->pos, "the route takes no WebSockets: it goes on without Upgrade");
}

static void _sl_ends(struct sl_explain *x, const struct sl_route *r, const struct sl_request *req)
{
    if (r->action == SL_ACTION_RESPOND)
        sl_explain_verdict(x, "%u, answered by route %s itself", r->respond.status, r->name);
    else if (r->action == SL_ACTION_REDIRECT)
        sl_explain_verdict(x, "%u, redirected by route %s", r->redirect.status, r->name);
    else if (r->action == SL_ACTION_JWKS)
        sl_explain_verdict(x, "200, the key set of signer %s, by route %s", r->jwks->name, r->name);
    else if (r->action == SL_ACTION_OAUTH2)
        sl_explain_verdict(x, "a token of signer %s, where its client's secret is right, by route %s",
                           r->oauth2.signer->name, r->name);
    else if (r->upstream)
        sl_explain_verdict(x, "goes to upstream %s, within limits", r->upstream->name);
    else
        sl_explain_verdict(x, "goes to one of the %zu upstreams of route %s, within limits", r->n_split,
                           r->name);
    if (r->action != SL_ACTION_UPSTREAM)
        return;
    _sl_upgrades(x, r, req);
    if (r->upstream)
        _sl_goes(x, r, r->upstream);
    for (size_t i = 0; i < r->n_split; i++)
        _sl_goes(x, r, r->split[i].upstream);
}

static void _sl_follow(struct sl_explain *x, struct sl_asked *a)
{
    const struct sl_listener *l = _sl_listener(x, a);
    struct sl_identity *id = NULL;
    struct sl_ip ip;
    if (!l) {
        sl_explain_verdict(x, "nobody listens: no listener is bound to port %u %s TLS", a->port,
                           a->tls ? "with" : "without");
        return;
    }
    sl_explain_say(x, &l->pos, "listener %s takes the connection", l->name);
    if (l->redirect_https) {
        sl_explain_verdict(x, "redirected to https by listener %s", l->name);
        return;
    }
    const struct sl_route *r = _sl_route(x, a);
    if (!r)
        return;
    if (x->from && sl_ip_parse(sl_slice_str(x->from), &ip) == 0 && !sl_explain_sources(x, r, &ip)) {
        sl_explain_verdict(x, "403: this address may not use this route");
        return;
    }
    _sl_wants(x, r);
    if (_sl_who(x, r, &a->req, &id)) {
        _sl_limits(x, r, id);
        _sl_ends(x, r, &a->req);
    }
    if (id)
        sl_identity_unref(id);
}

bool sl_explain_request(struct sl_explain *x, struct sl_slice method, struct sl_slice url)
{
    struct sl_asked a;
    struct sl_ip ip;
    if (!_sl_parse(x, method, url, &a))
        return false;
    if (x->from && sl_ip_parse(sl_slice_str(x->from), &ip) < 0)
        return _sl_wrong(x, "--from is an address");
    if (sl_policy_normalize(&x->arena, &a.req) < 0)
        sl_explain_verdict(x, "400: the gateway refuses such a path");
    else
        _sl_follow(x, &a);
    return true;
}
