/* SPDX-License-Identifier: Apache-2.0 */
/* What an identity may do, and what a client is told that has none. */
#include "policy/auth_priv.h"

static bool _sl_one_of(const struct sl_strings *need, const struct sl_strings *have)
{
    for (size_t i = 0; have && i < need->n; i++)
        for (size_t k = 0; k < have->n; k++)
            if (sl_slice_eq(need->v[i], have->v[k]))
                return true;
    return need->n == 0;
}

/* Those that its provider has told, and those of its consumer. */
static bool _sl_in_a_group(const struct sl_strings *need, const struct sl_identity *id)
{
    return _sl_one_of(need, &id->groups) || _sl_one_of(need, id->consumer ? &id->consumer->groups : NULL);
}

static enum sl_auth_result _sl_has(const struct sl_strings *roles, const struct sl_strings *scopes,
                                   const struct sl_strings *groups, const struct sl_identity *id)
{
    if (!_sl_one_of(roles, &id->roles))
        return SL_AUTH_FORBIDDEN_ROLE;
    if (!_sl_one_of(scopes, &id->scopes))
        return SL_AUTH_FORBIDDEN_SCOPE;
    if (!_sl_in_a_group(groups, id))
        return SL_AUTH_FORBIDDEN_GROUP;
    return SL_AUTH_OK;
}

/* HEAD shows what GET does: it needs what GET needs, unless it is named itself. */
static const struct sl_method_needs *_sl_needs_of(const struct sl_route *route, struct sl_slice method)
{
    for (size_t i = 0; i < route->n_require_methods; i++)
        if (sl_slice_eq(sl_slice_str(route->require_methods[i].name), method))
            return &route->require_methods[i];
    return sl_slice_eq(method, SL_S("HEAD")) ? _sl_needs_of(route, SL_S("GET")) : NULL;
}

bool sl_needs_identity(const struct sl_route *route, struct sl_slice method)
{
    return route->require_roles.n || route->require_scopes.n || route->require_groups.n ||
           _sl_needs_of(route, method);
}

enum sl_auth_result sl_authorize(const struct sl_route *route, struct sl_slice method,
                                 const struct sl_identity *id)
{
    const struct sl_method_needs *m = _sl_needs_of(route, method);
    const enum sl_auth_result r =
        _sl_has(&route->require_roles, &route->require_scopes, &route->require_groups, id);
    return r == SL_AUTH_OK && m ? _sl_has(&m->roles, &m->scopes, &m->groups, id) : r;
}

#define SL_CHALLENGE_TOKEN "Bearer realm=\"sluice\""
#define SL_CHALLENGE_KEY   "Key realm=\"sluice\""
#define SL_CHALLENGE_CERT  "Certificate realm=\"sluice\"" /* no scheme has that name, but a 401 names one */

static const char *_sl_scheme(const struct sl_auth *p, struct sl_arena *a)
{
    switch (p->type) {
    case SL_AUTH_KEY:
        return SL_CHALLENGE_KEY;
    case SL_AUTH_BASIC:
    case SL_AUTH_LDAP:
        return sl_arena_printf(a, "Basic realm=\"%s\", charset=\"UTF-8\"", p->basic.realm);
    case SL_AUTH_MTLS:
        return NULL;
    default:
        return SL_CHALLENGE_TOKEN;
    }
}

static bool _sl_named(const struct sl_route *route, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (route->auth[k]->type == route->auth[i]->type ||
            (sl_auth_takes_tokens(route->auth[k]) && sl_auth_takes_tokens(route->auth[i])) ||
            (sl_auth_takes_passwords(route->auth[k]) && sl_auth_takes_passwords(route->auth[i])))
            return true;
    return false;
}

/* Each kind that the route takes, once. */
static const char *_sl_schemes(const struct sl_route *route, struct sl_arena *a)
{
    const char *all = NULL;
    for (size_t i = 0; i < route->n_auth; i++) {
        const char *one = _sl_named(route, i) ? NULL : _sl_scheme(route->auth[i], a);
        if (one)
            all = all ? sl_arena_printf(a, "%s, %s", all, one) : one;
    }
    return all;
}

const char *sl_auth_challenge(const struct sl_route *route, enum sl_auth_result result, const char *detail,
                              struct sl_arena *a)
{
    bool cert = false;
    for (size_t i = 0; i < route->n_auth; i++)
        cert |= route->auth[i]->type == SL_AUTH_MTLS;
    if (result == SL_AUTH_INVALID_TOKEN) {
        const char *text = sl_arena_printf(
            a, SL_CHALLENGE_TOKEN ", error=\"invalid_token\", error_description=\"%s\"", detail);
        return text ? text : SL_CHALLENGE_TOKEN ", error=\"invalid_token\"";
    }
    const char *all = _sl_schemes(route, a);
    return all ? all : cert ? SL_CHALLENGE_CERT : SL_CHALLENGE_TOKEN;
}
