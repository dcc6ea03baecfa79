/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection ends with its worker, or with its address. Nobody is cut off while something is under way,
 * and nobody can hold the worker by doing nothing: who is idle, or has not said a word since connecting, has
 * SL_FAREWELL_NS, since what he has sent may be on its way; who is in a handshake has what that may take.
 */
#include "gateway/exchange_priv.h"
#include "net/socket.h"

/* Closing on a client that has not been told so may meet its next request on the way. */
bool sl_conn_may_ask_once_more(const struct sl_conn *c)
{
    return c->w->draining && c->trust == c->bind->trust;
}

uint64_t sl_conn_idle_until(const struct sl_conn *c)
{
    return sl_conn_is_leaving(c)
               ? c->w->loop.now + SL_FAREWELL_NS
               : sl_shape_from(&c->shape, c->w->loop.now) + c->bind->listener->timeouts.idle;
}

static void _sl_drain_idle(struct sl_conn *c)
{
    if (c->trust == c->bind->trust)
        sl_stream_poke(&c->stream); /* a request that has come is served, and told that it is the last */
    if (c->state == SL_CONN_IDLE && !sl_conn_may_ask_once_more(c))
        sl_conn_close(c);
    else if (c->state == SL_CONN_IDLE && !c->w->patient)
        sl_timer_set(&c->w->loop, &c->timer, sl_conn_idle_until(c));
}

static void _sl_drain_new(struct sl_conn *c)
{
    if (!sl_conn_is_leaving(c) || !sl_socket_is_silent(c->stream.fd))
        return;
    c->silent = true;
    sl_timer_set(&c->w->loop, &c->timer, c->w->loop.now + SL_FAREWELL_NS);
}

void sl_conn_begins_late(struct sl_conn *c)
{
    c->silent = false;
    sl_timer_set(&c->w->loop, &c->timer, c->w->loop.now + c->bind->listener->timeouts.handshake);
}

void sl_conn_drain(struct sl_conn *c)
{
    if (c->state <= SL_CONN_HANDSHAKE)
        _sl_drain_new(c);
    else if (c->state == SL_CONN_IDLE)
        _sl_drain_idle(c);
    else if (c->state == SL_CONN_STREAMS)
        sl_codec_h2_drain(c);
}
