/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an upstream is shown of who asks (upstream_auth), once it is known which upstream that is. Runs last
 * of all that changes a request, so that nothing the client sent, and nothing of the route's own, stands
 * there instead; what it wrote goes with every try.
 */
#include "gateway/exchange_priv.h"

#include <errno.h>

static enum sl_stage_result _sl_failed(struct sl_exchange *ex, int error)
{
    if (error == -ENOMEM)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond_problem(ex, SL_WHY_UPSTREAM_AUTH, 503,
                              error == -EMSGSIZE ? "the upstream's token would be longer than 16 KiB"
                                                 : "the upstream's token could not be signed");
}

static enum sl_stage_result _sl_sign(struct sl_exchange *ex, const struct sl_upstream_auth *auth,
                                     struct sl_mint *mint)
{
    const struct sl_template_vars vars = {.route = sl_slice_str(ex->route->policy->route->name),
                                          .identity = ex->identity,
                                          .tier = sl_slice_str(ex->tier->name)};
    struct sl_slice value;
    bool reused = false;
    int r = sl_mint(mint, &vars, sl_loop_wall(&ex->w->loop) / SL_NS_PER_SEC, &ex->arena, &value, &reused);
    if (r == 0)
        r = sl_headers_set(&ex->req.headers, &ex->arena, auth->header, value);
    if (r < 0)
        return _sl_failed(ex, r);
    ex->w->counters->upstream_tokens_reused += reused;
    ex->w->counters->upstream_tokens_signed += !reused;
    return SL_STAGE_NEXT;
}

const struct sl_upstream_auth *sl_upstream_auth_of(const struct sl_exchange *ex)
{
    const struct sl_upstream_auth *own = &ex->route->policy->route->upstream_auth;
    return own->type == SL_UPSTREAM_AUTH_INHERIT ? &sl_group_config(ex->group)->upstream_auth : own;
}

static struct sl_mint *_sl_mint_of(const struct sl_exchange *ex, const struct sl_upstream_auth *auth)
{
    const struct sl_policy *p = ex->config->policy;
    return auth == &ex->route->policy->route->upstream_auth
               ? ex->route->policy->mint
               : p->upstream_mints[sl_group_config(ex->group) - p->snapshot->upstreams];
}

enum sl_stage_result sl_stage_upstream_auth(struct sl_exchange *ex)
{
    const struct sl_upstream_auth *auth = sl_upstream_auth_of(ex);
    if (auth->type == SL_UPSTREAM_AUTH_SIGN)
        return _sl_sign(ex, auth, _sl_mint_of(ex, auth));
    return auth->token.source ? sl_upstream_token(ex, auth) : SL_STAGE_NEXT;
}
