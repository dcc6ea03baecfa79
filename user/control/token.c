/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens for upstreams (RFC 6749 section 4.4, RFC 8693 section 2.1): the worker hears the token alone, and
 * until when it holds.
 */
#include "control/oauth_priv.h"

#include "policy/oauth.h"

#include <openssl/crypto.h>

static void _sl_take(struct sl_errand_job *job, const struct sl_fetch_result *r)
{
    struct sl_arena a;
    struct sl_oauth_token token = {0};
    sl_arena_init(&a, 0);
    struct sl_errand_outcome o = {.status = SL_ERRAND_FAILED,
                                  .why = sl_oauth_read_token(r->body, &a, &token)};
    if (!o.why)
        o = (struct sl_errand_outcome){.status = SL_ERRAND_OK,
                                       .expires_ns =
                                           sl_errand_loop(job)->now + token.lifetime_s * SL_NS_PER_SEC,
                                       .payload = token.text};
    sl_errand_done(job, &o);
    if (token.text.p)
        OPENSSL_cleanse((void *)(uintptr_t)token.text.p, token.text.n);
    sl_arena_free(&a);
}

static void _sl_on_answer(void *ctx, const struct sl_fetch_result *r)
{
    struct sl_errand_job *job = ctx;
    const struct sl_upstream_auth *auth = job->server->conf;
    char why[96];
    if (!r->error && r->response->status == 200) {
        _sl_take(job, r);
        return;
    }
    struct sl_errand_outcome o = sl_oauth_failed(r, why);
    if (!r->error && auth->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE && r->response->status == 400 &&
        sl_oauth_blames_token(r->body))
        o = (struct sl_errand_outcome){.status = SL_ERRAND_REFUSED};
    sl_errand_done(job, &o);
}

static int _sl_scope(struct sl_buf *form, const struct sl_strings *scopes)
{
    struct sl_buf words = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < scopes->n; i++)
        r = sl_buf_printf(&words, "%s" SL_SFMT, i ? " " : "", SL_SARG(scopes->v[i]));
    if (r == 0 && scopes->n)
        r = sl_oauth_field(form, "scope", sl_buf_slice(&words));
    sl_buf_free(&words);
    return r;
}

#define SL_OAUTH_URN "urn:ietf:params:oauth:"

static int _sl_form(const struct sl_errand_job *job, struct sl_buf *form)
{
    const struct sl_upstream_auth *auth = job->server->conf;
    const bool exchange = auth->type == SL_UPSTREAM_AUTH_TOKEN_EXCHANGE;
    const struct sl_slice type = SL_S(SL_OAUTH_URN "token-type:access_token");
    int r = sl_oauth_field(form, "grant_type",
                           exchange ? SL_S(SL_OAUTH_URN "grant-type:token-exchange")
                                    : SL_S("client_credentials"));
    if (r == 0 && exchange)
        r = sl_oauth_field(form, "subject_token", sl_slice(job->payload, job->n));
    if (r == 0 && exchange)
        r = sl_oauth_field(form, "subject_token_type", type);
    if (r == 0 && exchange)
        r = sl_oauth_field(form, "requested_token_type", type);
    if (r == 0 && auth->token.audience)
        r = sl_oauth_field(form, "audience", sl_slice_str(auth->token.audience));
    return r == 0 ? _sl_scope(form, &auth->token.scopes) : r;
}

static int _sl_start(struct sl_errand_job *job)
{
    const struct sl_upstream_auth *auth = job->server->conf;
    struct sl_buf SL_BUF_WIPED form = {0};
    int r = _sl_form(job, &form);
    const struct sl_oauth_question q = {.url = auth->token.url,
                                        .client_id = auth->token.client_id,
                                        .client_secret = auth->token.client_secret.data,
                                        .form = sl_buf_slice(&form)};
    return r < 0 ? r : sl_oauth_ask(job, &q, _sl_on_answer);
}

const struct sl_errand_ops sl_token_ops = {.start = _sl_start,
                                           .cancel = sl_oauth_cancel,
                                           .close = sl_oauth_close,
                                           .connections = sl_oauth_connections};
