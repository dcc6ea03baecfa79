/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking about a token (RFC 7662 section 2.1). What the server says goes to the worker as it is, once it is
 * known to be an answer at all: the policy there judges it.
 */
#include "control/oauth_priv.h"

#include "policy/auth.h"

static void _sl_on_answer(void *ctx, const struct sl_fetch_result *r)
{
    struct sl_errand_job *job = ctx;
    char why[96];
    struct sl_errand_outcome o = {.status = SL_ERRAND_OK, .payload = r->body};
    if (r->error || r->response->status != 200)
        o = sl_oauth_failed(r, why);
    else if (!sl_auth_is_introspection(r->body))
        o = (struct sl_errand_outcome){.status = SL_ERRAND_FAILED,
                                       .why = "its answer is no JSON object with \"active\" true or false"};
    sl_errand_done(job, &o);
}

static int _sl_start(struct sl_errand_job *job)
{
    const struct sl_auth *a = job->server->conf;
    struct sl_buf SL_BUF_WIPED form = {0};
    int r = sl_oauth_field(&form, "token", sl_slice(job->payload, job->n));
    if (r == 0)
        r = sl_oauth_field(&form, "token_type_hint", SL_S("access_token"));
    const struct sl_oauth_question q = {.url = a->introspection.url,
                                        .client_id = a->introspection.client_id,
                                        .client_secret = a->introspection.client_secret.data,
                                        .form = sl_buf_slice(&form)};
    return r < 0 ? r : sl_oauth_ask(job, &q, _sl_on_answer);
}

const struct sl_errand_ops sl_introspect_ops = {.start = _sl_start,
                                                .cancel = sl_oauth_cancel,
                                                .close = sl_oauth_close,
                                                .connections = sl_oauth_connections};
