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

enum sl_stage_result sl_stage_upstream_auth(struct sl_exchange *ex)
{
    const struct sl_policy *p = ex->config->policy;
    const struct sl_upstream *u = sl_group_config(ex->group);
    const struct sl_upstream_auth *auth = &ex->route->policy->route->upstream_auth;
    struct sl_mint *mint = ex->route->policy->mint;
    if (auth->type == SL_UPSTREAM_AUTH_INHERIT) {
        auth = &u->upstream_auth;
        mint = p->upstream_mints[u - p->snapshot->upstreams];
    }
    return auth->type == SL_UPSTREAM_AUTH_SIGN ? _sl_sign(ex, auth, mint) : SL_STAGE_NEXT;
}
