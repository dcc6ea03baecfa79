/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body, whole, for a stage that answers by it: bounded by the exchange's body_limit, over either
 * protocol. Invariant: while `collecting`, what the client sends of the body goes to `collected`, and the
 * chain goes on once its end has come.
 */
#include "gateway/exchange_priv.h"

#include <errno.h>

static int _sl_take(struct sl_exchange *ex)
{
    size_t used = 0;
    struct sl_slice data = SL_SLICE_NUL;
    int r = sl_relay_body(ex, &used, &data);
    if (r < 0)
        return r;
    r = sl_bufpool_lend(&ex->w->bufs, &ex->collected);
    if (r == 0)
        r = sl_buf_append_slice(&ex->collected, data);
    if (r < 0)
        return sl_relay_bad_body(ex, SL_WHY_OVERLOADED, 503, "out of memory");
    ex->codec->taken(ex, used);
    return used ? 1 : 0;
}

static enum sl_stage_result _sl_go_on(struct sl_exchange *ex)
{
    int r = 1;
    while (r > 0 && !ex->req_body.done && ex->codec->buffered(ex))
        r = _sl_take(ex);
    if (r < 0)
        return SL_STAGE_RESPOND;
    if (ex->req_body.done) {
        ex->collecting = false;
        return SL_STAGE_NEXT;
    }
    if (ex->codec->cut_short(ex)) {
        sl_exchange_abort(ex, SL_WHY_CLIENT_GONE, "the request's body ended early");
        return SL_STAGE_RESPOND;
    }
    ex->codec->release(ex); /* it may have been held while the exchange waited for something else */
    sl_exchange_rearm(ex);
    return SL_STAGE_WAIT;
}

enum sl_stage_result sl_stage_collect(struct sl_exchange *ex)
{
    if (sl_request_is_over(ex))
        return SL_STAGE_NEXT;
    ex->collecting = true;
    return sl_relay_expect(ex) < 0 ? SL_STAGE_RESPOND : _sl_go_on(ex);
}

void sl_collect_more(struct sl_exchange *ex)
{
    if (_sl_go_on(ex) == SL_STAGE_NEXT)
        sl_exchange_continue(ex);
}
