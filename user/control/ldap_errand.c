/* SPDX-License-Identifier: Apache-2.0 */
/* Errands to a directory: whose is that password? */
#include "control/errand_priv.h"
#include "control/ldap_priv.h"

#include <errno.h>

static void _sl_on_result(void *ctx, const struct sl_ldap_result *r)
{
    static const enum sl_errand_status as[] = {[SL_LDAP_ACCEPTED] = SL_ERRAND_OK,
                                               [SL_LDAP_REFUSED] = SL_ERRAND_REFUSED,
                                               [SL_LDAP_FAILED] = SL_ERRAND_FAILED};
    struct sl_errand_outcome o = {
        .status = as[r->verdict], .why = r->why, .unreachable = r->unreachable, .payload = r->names};
    if (r->names.n > SL_ERRAND_ANSWER_MAX)
        o = (struct sl_errand_outcome){.status = SL_ERRAND_FAILED,
                                       .why = "the names of a user's groups are too long"};
    sl_errand_done(ctx, &o);
}

static int _sl_start(struct sl_errand_job *job)
{
    struct sl_errand_server *s = job->server;
    const struct sl_slice text = sl_slice(job->payload, job->n);
    const ssize_t colon = sl_slice_chr(text, ':');
    if (!s->kept)
        s->kept = sl_ldap_new(&(struct sl_ldap_config){.loop = sl_errand_loop(job),
                                                       .resolver = sl_errand_resolver(job),
                                                       .auth = s->conf,
                                                       .tls = s->tls,
                                                       .connects = &s->connects});
    if (!s->kept || colon < 0)
        return s->kept ? -EINVAL : -ENOMEM;
    job->work = sl_ldap_ask(s->kept, sl_slice(text.p, (size_t)colon),
                            sl_slice(text.p + colon + 1, text.n - (size_t)colon - 1), _sl_on_result, job);
    return job->work ? 0 : -ENOMEM;
}

static void _sl_cancel(struct sl_errand_job *job)
{
    sl_ldap_cancel(job->work);
}

static void _sl_close(struct sl_errand_server *s)
{
    sl_ldap_free(SL_TAKE_PTR(s->kept));
}

static unsigned _sl_connections(const struct sl_errand_server *s)
{
    return s->kept ? sl_ldap_connections(s->kept) : 0;
}

const struct sl_errand_ops sl_ldap_ops = {
    .start = _sl_start, .cancel = _sl_cancel, .close = _sl_close, .connections = _sl_connections};
