/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that a server knows and we do not: asked by an errand, while the request waits. */
#include "gateway/errand_priv.h"
#include "gateway/exchange_priv.h"

static enum sl_auth_said _sl_said(enum sl_errand_status status)
{
    switch (status) {
    case SL_ERRAND_OK:
        return SL_AUTH_SAID_SO;
    case SL_ERRAND_REFUSED:
        return SL_AUTH_SAID_NO;
    case SL_ERRAND_FAILED:
        return SL_AUTH_SAID_NOTHING;
    default:
        return SL_AUTH_NOT_ASKED;
    }
}

static void _sl_on_answer(struct sl_errand_call *call, const struct sl_errand_result *r)
{
    struct sl_worker *w = call->w;
    struct sl_auth_again verdict = {.provider = call->q.provider};
    memcpy(verdict.hash, call->q.hash, sizeof(verdict.hash));
    sl_authenticator_hear(call->config->policy->auth, call->q.payload, _sl_said(r->status), r->payload,
                          sl_loop_wall(&w->loop) / SL_NS_PER_SEC, &verdict);
    for (struct sl_exchange *ex; (ex = sl_parking_take(&call->parking));) {
        ex->errand_status = (uint8_t)r->status;
        sl_auth_again_tell(&ex->again, &verdict);
        sl_exchange_continue(ex);
    }
    sl_auth_again_clear(&verdict);
}

enum sl_stage_result sl_auth_errand_refuse(struct sl_exchange *ex, const char *detail)
{
    if (ex->errand_status == SL_ERRAND_GONE)
        return sl_respond_problem(ex, SL_WHY_CONTROLLER_GONE, 503,
                                  "the credentials cannot be judged now: the controller is away");
    if (ex->errand_status == SL_ERRAND_FULL)
        return sl_respond_problem(ex, SL_WHY_AUTH_OVERLOADED, 503,
                                  "too many credentials wait for their server to be asked");
    return sl_respond_problem(ex, SL_WHY_AUTH_UNAVAILABLE, 503, detail);
}

static struct sl_errand_question _sl_question(const struct sl_auth *a)
{
    if (a->type == SL_AUTH_LDAP)
        return (struct sl_errand_question){
            .kind = SL_ERRAND_LDAP, .source = a->ldap.source, .timeout = a->ldap.timeout};
    return (struct sl_errand_question){
        .kind = SL_ERRAND_INTROSPECT, .source = a->introspection.source, .timeout = a->introspection.timeout};
}

enum sl_stage_result sl_auth_errand_begin(struct sl_exchange *ex, const struct sl_auth_errand *errand)
{
    struct sl_errand_question q = _sl_question(errand->auth);
    q.payload = errand->credential;
    q.done = _sl_on_answer;
    q.provider = errand->provider;
    memcpy(q.hash, errand->hash, sizeof(q.hash));
    return sl_errand_wait(ex, &q) == SL_ERRAND_OK
               ? SL_STAGE_WAIT
               : sl_auth_errand_refuse(ex, "the credentials cannot be judged now");
}
