/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot compiled for use: router, verified keys, limits and header programs. Pure: no sockets, no loop,
 * no files. Built by each worker off the hot path, and by `sluicectl check` and the supervisor for its
 * errors. Immutable but for the caches of tokens, verified and signed, which belong to one process.
 */
#ifndef SL_POLICY_POLICY_H
#define SL_POLICY_POLICY_H

#include "config/snapshot.h"
#include "http/message.h"
#include "policy/auth.h"
#include "policy/limit.h"
#include "policy/mint.h"
#include "policy/oauth2.h"
#include "policy/router.h"
#include "policy/transform.h"

/* A route ready to run. */
struct sl_route_policy {
    const struct sl_route *route;
    struct sl_limit_set *limits;                       /* the route's own; NULL: none */
    struct sl_transform *request, *response, *respond; /* NULL: nothing to do */
    struct sl_template *redirect;
    struct sl_mint *mint; /* of the route's own upstream_auth; NULL: none */
};
struct sl_tier_policy {
    const struct sl_tier *tier;
    struct sl_limit_set *limits; /* NULL: none */
};

struct sl_policy {
    struct sl_snapshot *snapshot; /* one reference */
    struct sl_router *router;
    struct sl_authenticator *auth;
    struct sl_minter *minter;
    struct sl_oauth2_clients clients;
    struct sl_mint **upstream_mints;       /* [snapshot->n_upstreams]; NULL: none */
    struct sl_route_policy *routes;        /* [snapshot->n_routes], same order */
    struct sl_tier_policy *tiers;          /* [snapshot->n_tiers] */
    struct sl_header_ops *respond;         /* [snapshot->n_routes]: what the routes' respond programs read */
    struct sl_limit_set *limits;           /* of all routes; NULL: none */
    struct sl_limit_set **consumer_limits; /* [snapshot->n_consumers]; NULL: the tier's */
};

/* 0 with *out; -EINVAL with errors in diag (bad key, regex, template …); -ENOMEM. Takes a reference to s. */
int sl_policy_new(struct sl_snapshot *s, struct sl_diag *diag, struct sl_policy **out) SL_MUST_CHECK;
/* The same for who decides whether it comes into force: looks also at what is too dear for each process. */
int sl_policy_check(struct sl_snapshot *s, struct sl_diag *diag, struct sl_policy **out) SL_MUST_CHECK;
void sl_policy_free(struct sl_policy *p);
/* Fills path and query of a request that no codec has parsed, of its target: 0 or -EINVAL, -ENOMEM. */
int sl_policy_normalize(struct sl_arena *a, struct sl_request *req);

#endif
