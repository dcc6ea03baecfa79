/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that leave while nobody reads from them. Who is held (by an upstream that takes no more, by a
 * bandwidth) has no watcher, and his FIN would stand behind what is unread anyway; so once a second each that
 * has been held is asked what its socket knows, off the path of requests.
 *
 * A reset ends the connection. A FIN says no more than that nothing comes behind what is there: where that
 * cannot be all of the request, the client has left; where it is, it is waited with as before; where nobody
 * can tell, he has as long as whoever says FIN to a gateway that reads.
 *
 * Invariant: a connection whose reading is held stands in w->unread; what else stands there is taken out at
 * the next look.
 */
#include "gateway/exchange_priv.h"
#include "net/socket.h"

#define SL_LOOK_NS SL_NS_PER_SEC

void sl_conn_hold(struct sl_conn *c)
{
    sl_stream_hold(&c->stream);
    if (sl_list_empty(&c->unread))
        sl_list_push_back(&c->w->unread, &c->unread);
}

/* What is still to come of its request, at least: 0 where nobody can tell. Records are longer than what is in
 * them, but one may have been taken from the socket and not be whole. */
static uint64_t _sl_missing(const struct sl_conn *c)
{
    const struct sl_h1_body *b = &c->ex->req_body;
    const uint64_t record = c->stream.ssl ? SSL3_RT_MAX_ENCRYPTED_LENGTH + SSL3_RT_HEADER_LENGTH : 0;
    const uint64_t there = sl_buf_len(&c->in) + sl_socket_unread(c->stream.fd) + record;
    return b->framing == SL_FRAMING_LENGTH && b->left > there ? b->left - there : 0;
}

static bool _sl_is_whole(const struct sl_conn *c)
{
    return !c->stream.ssl && c->ex->req_body.framing != SL_FRAMING_CHUNKED;
}

static void _sl_said_fin(struct sl_conn *c)
{
    if (c->h2)
        sl_codec_h2_each(c, sl_exchange_client_left);
    else if (c->ex && _sl_missing(c))
        sl_exchange_abort(c->ex, SL_WHY_CLIENT_GONE, "the request's body ended early");
    else if (c->ex && !_sl_is_whole(c))
        sl_exchange_client_left(c->ex);
}

static void _sl_look(struct sl_conn *c)
{
    switch (sl_socket_peer(c->stream.fd)) {
    case SL_PEER_GONE:
        sl_conn_close(c);
        break;
    case SL_PEER_SAID_FIN:
        _sl_said_fin(c);
        break;
    case SL_PEER_THERE:
        break;
    }
}

void sl_gone_tick(struct sl_worker *w)
{
    if (w->loop.now < w->look_at)
        return;
    w->look_at = w->loop.now + SL_LOOK_NS;
    sl_list_for_each_safe (it, &w->unread) {
        struct sl_conn *c = SL_LIST_ENTRY(it, struct sl_conn, unread);
        if (!c->stream.held)
            sl_list_remove(&c->unread);
        else if (!ev_is_active(&c->stream.rd)) /* else the loop still says what comes */
            _sl_look(c);
    }
}
