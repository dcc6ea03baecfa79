/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens for upstreams that an authorization server gives out: what is kept is used, a new one is sought
 * while it still holds, and only where there is none does the request wait. One that the upstream refuses is
 * forgotten, though not so often that the server would be asked for each request.
 */
#include "gateway/errand_priv.h"
#include "gateway/exchange_priv.h"
#include "gateway/upstream_token_priv.h"

#include <errno.h>

#define SL_REFUSED_AFTER SL_NS_PER_SEC /* a younger token is not the reason, or the next is no better */

static struct sl_uptokens *_sl_tokens(struct sl_worker *w)
{
    if (!w->uptokens && (w->uptokens = calloc(1, sizeof(*w->uptokens))))
        w->uptokens->seed = w->buckets.seed;
    return w->uptokens;
}

static struct sl_slice _sl_subject(const struct sl_exchange *ex, const struct sl_upstream_auth *auth)
{
    return auth->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE ? ex->token : SL_S("");
}

/* ---- the server's answer */

/* Each gets a copy of his own: the table may have had no room, or lose it before he goes on. */
static void _sl_on_answer(struct sl_errand_call *call, const struct sl_errand_result *r)
{
    const bool ok = r->status == SL_ERRAND_OK && r->payload.n;
    struct sl_uptokens *t = ok ? _sl_tokens(call->w) : NULL;
    if (t)
        sl_uptokens_keep(t, call->q.source, call->q.payload, r->payload, call->w->loop.now, r->expires_ns);
    for (struct sl_exchange *ex; (ex = sl_parking_take(&call->parking));) {
        ex->errand_status = (uint8_t)r->status;
        if (ok)
            ex->upstream_token = sl_arena_copy(&ex->arena, r->payload);
        sl_exchange_continue(ex);
    }
}

/* ---- a request */

static enum sl_stage_result _sl_refuse(struct sl_exchange *ex, enum sl_errand_status status)
{
    if (status == SL_ERRAND_GONE)
        return sl_respond_problem(ex, SL_WHY_CONTROLLER_GONE, 503,
                                  "the upstream's token cannot be had now: the controller is away");
    if (status == SL_ERRAND_REFUSED)
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_AUTH_REFUSED, 403,
                                  "the authorization server gives no token for this upstream in exchange");
    if (status == SL_ERRAND_OK)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    return sl_respond_problem(ex, SL_WHY_UPSTREAM_AUTH, 503,
                              status == SL_ERRAND_FULL ? "too many tokens for upstreams are waited for"
                                                       : "the upstream's token cannot be had now");
}

static struct sl_errand_question _sl_question(const struct sl_exchange *ex,
                                              const struct sl_upstream_auth *auth)
{
    return (struct sl_errand_question){.kind = auth->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE
                                                   ? SL_ERRAND_TOKEN_EXCHANGE
                                                   : SL_ERRAND_CLIENT_CREDENTIALS,
                                       .source = auth->token.source,
                                       .timeout = auth->token.timeout,
                                       .payload = _sl_subject(ex, auth),
                                       .done = _sl_on_answer};
}

static enum sl_stage_result _sl_wait(struct sl_exchange *ex, const struct sl_upstream_auth *auth)
{
    const struct sl_errand_question q = _sl_question(ex, auth);
    const enum sl_errand_status status = sl_errand_wait(ex, &q);
    if (status != SL_ERRAND_OK)
        return _sl_refuse(ex, status);
    ex->upstream_token_asked = true;
    return SL_STAGE_WAIT;
}

/* A new one is sought while the old one is shown: nobody waits. */
static void _sl_ask_ahead(struct sl_exchange *ex, const struct sl_upstream_auth *auth, struct sl_uptoken *e)
{
    const struct sl_errand_question q = _sl_question(ex, auth);
    struct sl_errand_call *call;
    if (ex->w->loop.now < e->refresh_ns)
        return;
    e->refresh_ns = ex->w->loop.now + SL_NS_PER_SEC; /* where this comes to nothing */
    (void)sl_errand_begin(ex->w, ex->config, &q, &call);
}

/* What was shown is known by the end of the header's value: the table may lose its text meanwhile. */
static enum sl_stage_result _sl_show(struct sl_exchange *ex, const struct sl_upstream_auth *auth,
                                     struct sl_slice token)
{
    const struct sl_slice value = sl_upstream_auth_value(auth, token, &ex->arena);
    if (!value.p || sl_headers_set(&ex->req.headers, &ex->arena, auth->header, value) < 0)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    ex->upstream_token = sl_slice(value.p + value.n - token.n, token.n);
    return SL_STAGE_NEXT;
}

enum sl_stage_result sl_upstream_token(struct sl_exchange *ex, const struct sl_upstream_auth *auth)
{
    struct sl_uptokens *t = _sl_tokens(ex->w);
    const struct sl_slice subject = _sl_subject(ex, auth);
    if (!t)
        return sl_respond_problem(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    if (!subject.p)
        return sl_respond_problem(ex, SL_WHY_UPSTREAM_AUTH, 503,
                                  "there is no token to exchange for the upstream's");
    if (ex->upstream_token.p)
        return _sl_show(ex, auth, ex->upstream_token);
    if (ex->upstream_token_asked)
        return _sl_refuse(ex, (enum sl_errand_status)ex->errand_status);
    struct sl_uptoken *e = sl_uptokens_find(t, auth->token.source, subject, ex->w->loop.now);
    if (!e)
        return _sl_wait(ex, auth);
    _sl_ask_ahead(ex, auth, e);
    return _sl_show(ex, auth, sl_uptoken_text(e));
}

void sl_upstream_token_refused(struct sl_exchange *ex)
{
    const struct sl_upstream_auth *auth = sl_upstream_auth_of(ex);
    const struct sl_slice subject = _sl_subject(ex, auth);
    struct sl_uptoken *e = sl_uptokens_find(ex->w->uptokens, auth->token.source, subject, ex->w->loop.now);
    if (e && sl_slice_eq(sl_uptoken_text(e), ex->upstream_token) &&
        ex->w->loop.now >= e->fetched_ns + SL_REFUSED_AFTER)
        sl_uptokens_drop(ex->w->uptokens, e);
}
