/* SPDX-License-Identifier: Apache-2.0 */
/* A route that issues access tokens, once the request's body is there (collect.c). */
#include "gateway/exchange_priv.h"

#include <errno.h>

static const enum sl_proxy_reason _sl_whys[SL_OAUTH2_ERROR_COUNT] = {
    [SL_OAUTH2_INVALID_REQUEST] = SL_WHY_OAUTH2_REQUEST,
    [SL_OAUTH2_INVALID_CLIENT] = SL_WHY_OAUTH2_CLIENT,
    [SL_OAUTH2_UNSUPPORTED_GRANT] = SL_WHY_OAUTH2_GRANT,
    [SL_OAUTH2_INVALID_SCOPE] = SL_WHY_OAUTH2_SCOPE,
};

/* RFC 6749 sections 5.1 and 5.2 */
static int _sl_headers(struct sl_exchange *ex, const struct sl_oauth2_outcome *o)
{
    struct sl_headers *h = &ex->res.headers;
    int r = sl_headers_set(h, &ex->arena, SL_S("Content-Type"), SL_S("application/json"));
    if (r == 0)
        r = sl_headers_set(h, &ex->arena, SL_S("Cache-Control"), SL_S("no-store"));
    if (r == 0)
        r = sl_headers_set(h, &ex->arena, SL_S("Pragma"), SL_S("no-cache"));
    if (r == 0 && o->error == SL_OAUTH2_INVALID_CLIENT)
        r = sl_headers_set(h, &ex->arena, SL_S("WWW-Authenticate"), SL_S("Basic realm=\"oauth2\""));
    return r < 0 ? r : sl_respond_decorate(ex, ex->route->response);
}

/* Whose client it is: for the log, and for who wonders whether an address has good neighbours. */
static int _sl_introduce(struct sl_exchange *ex, const struct sl_consumer *consumer)
{
    if (!consumer)
        return 0;
    if (ex->identity)
        sl_identity_unref(ex->identity);
    ex->identity = sl_oauth2_identity(consumer);
    if (!ex->identity)
        return -ENOMEM;
    ex->tier = consumer->tier;
    return 0;
}

static void _sl_count(struct sl_exchange *ex, const struct sl_oauth2_outcome *o)
{
    ex->w->counters->oauth2[o->error]++;
    ex->why = _sl_whys[o->error];
    ex->detail = o->detail;
}

enum sl_stage_result sl_stage_oauth2(struct sl_exchange *ex)
{
    const struct sl_policy *p = ex->config->policy;
    struct sl_oauth2_outcome o;
    int r = sl_oauth2_token(p->minter, &p->clients, &ex->route->policy->route->oauth2, &ex->req,
                            sl_buf_slice(&ex->collected), &ex->arena,
                            sl_loop_wall(&ex->w->loop) / SL_NS_PER_SEC, &o);
    if (r == 0)
        r = _sl_introduce(ex, o.consumer);
    if (r == 0)
        r = _sl_headers(ex, &o);
    if (r < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "the token could not be made");
    _sl_count(ex, &o);
    return sl_respond(ex, sl_oauth2_error_status(o.error), o.body);
}
