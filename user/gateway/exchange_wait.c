/* SPDX-License-Identifier: Apache-2.0 */
/* What an exchange waits for, until when, and what becomes of it then. */
#include "gateway/exchange_priv.h"

/* ---- waiting for what tells who is asking */

void sl_exchange_park_at(struct sl_exchange *ex, struct sl_parking *p, uint64_t ns)
{
    sl_list_push_back(&p->waiting, &ex->parked);
    p->n++;
    ex->parked_by = p;
    ex->parked_until = ex->w->loop.now + ns;
    ex->stage--; /* the stage that waits runs again */
    sl_exchange_rearm(ex);
}

void sl_exchange_unpark(struct sl_exchange *ex)
{
    if (!ex->parked_by)
        return;
    sl_list_remove(&ex->parked);
    ex->parked_by->n--;
    ex->parked_by = NULL;
    sl_exchange_rearm(ex);
}

struct sl_exchange *sl_parking_take(struct sl_parking *p)
{
    if (sl_list_empty(&p->waiting))
        return NULL;
    struct sl_exchange *ex = SL_LIST_ENTRY(p->waiting.next, struct sl_exchange, parked);
    sl_exchange_unpark(ex);
    return ex;
}

/* ---- deadlines */

/* What it waits for, and how long it may; 0: by no timeout of this phase. */
static enum sl_wait _sl_waits_for(const struct sl_exchange *ex, uint64_t *ns)
{
    const struct sl_gw_route *r = ex->route;
    *ns = 0;
    if (ex->parked_by)
        return SL_WAIT_VERDICT;
    if (ex->collecting && ex->state == SL_EX_STAGES) {
        *ns = ex->listener->timeouts.body;
        return SL_WAIT_CLIENT_BODY;
    }
    if (ex->tunnel && r && ex->state == SL_EX_STREAMING) {
        *ns = r->timeouts.idle;
        return SL_WAIT_TUNNEL;
    }
    if (ex->state == SL_EX_FLUSHING || (ex->state == SL_EX_STREAMING && ex->codec->unsent(ex))) {
        *ns = r ? r->timeouts.idle : ex->listener->timeouts.body;
        return SL_WAIT_CLIENT_READ;
    }
    if (ex->state == SL_EX_SENDING && sl_buf_len(&ex->req_out) == ex->req_sent) {
        *ns = ex->listener->timeouts.body;
        return SL_WAIT_CLIENT_BODY;
    }
    if (ex->state >= SL_EX_SENDING && r) {
        *ns = ex->state == SL_EX_AWAITING ? r->timeouts.first_byte : r->timeouts.idle;
        return SL_WAIT_UPSTREAM;
    }
    return SL_WAIT_NONE;
}

void sl_exchange_rearm(struct sl_exchange *ex)
{
    uint64_t wait;
    ex->waiting = _sl_waits_for(ex, &wait);
    uint64_t at = wait ? sl_shape_from(sl_shape_of(ex), ex->w->loop.now) + wait : 0;
    if (ex->parked_by)
        at = ex->parked_until;
    if (ex->total_at && (!at || ex->total_at < at))
        at = ex->total_at;
    if (ex->gone_at && ex->state < SL_EX_STREAMING && (!at || ex->gone_at < at)) {
        at = ex->gone_at;
        ex->waiting = SL_WAIT_CLIENT_GONE;
    }
    sl_timer_set(&ex->w->loop, &ex->timer, at);
}

static void _sl_timed_out(struct sl_exchange *ex)
{
    const bool client = ex->waiting == SL_WAIT_CLIENT_BODY || ex->waiting == SL_WAIT_CLIENT_READ;
    const enum sl_proxy_reason why = client ? SL_WHY_REQUEST_TIMEOUT : SL_WHY_UPSTREAM_TIMEOUT;
    const bool parked = ex->parked_by; /* the upstream was not asked yet */
    sl_exchange_unpark(ex);
    if (!client && ex->group && !parked && sl_forward_timed_out(ex))
        return;
    if (ex->head_sent) {
        sl_exchange_abort(ex, why, client ? "the client stopped reading" : "the upstream stopped sending");
        return;
    }
    sl_forward_release(ex, false);
    ex->close = true;
    if (client)
        (void)sl_respond_problem(ex, why, 408, "the request's body took too long");
    else
        (void)sl_respond_problem(ex, why, 504, "the upstream took too long");
}

void sl_exchange_on_timer(struct sl_timer *t)
{
    struct sl_exchange *ex = SL_CONTAINER_OF(t, struct sl_exchange, timer);
    if (ex->state == SL_EX_FREE || ex->state == SL_EX_DONE)
        return;
    if (ex->waiting == SL_WAIT_CLIENT_GONE) {
        sl_exchange_abort(ex, SL_WHY_CLIENT_GONE, "the client closed its connection");
        return;
    }
    if (ex->waiting == SL_WAIT_VERDICT && !(ex->total_at && ex->w->loop.now >= ex->total_at)) {
        sl_exchange_unpark(ex);
        sl_exchange_continue(ex);
        return;
    }
    ex->conn->counters->timeouts++;
    if (ex->waiting == SL_WAIT_TUNNEL)
        sl_tunnel_idle(ex);
    else
        _sl_timed_out(ex);
}
