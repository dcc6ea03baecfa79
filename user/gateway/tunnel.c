/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that has become a WebSocket (RFC 6455): after the upstream's 101, and only then, both bodies
 * are bytes without an end, and flow through relay.c with its backpressure, bandwidth and counts like any
 * other. Invariant: the client's connection carries nothing after the tunnel, nor does the upstream's.
 */
#include "gateway/exchange_priv.h"
#include "http/websocket.h"

/* The route's word, the client's wish, and a codec that can: else the request goes on as one without Upgrade,
 * which RFC 9110 section 7.8 leaves to the server. */
bool sl_tunnel_wanted(const struct sl_exchange *ex)
{
    return ex->req.upgrade && ex->route->policy->route->upgrade.n && ex->codec->tunnel &&
           !sl_group_config(ex->group)->h2;
}

bool sl_tunnel_agreed(const struct sl_exchange *ex)
{
    return sl_websocket_agreed(&ex->req, &ex->res);
}

int sl_tunnel_open(struct sl_exchange *ex)
{
    ex->tunnel = ex->close = true;
    ex->total_at = 0; /* it was for the answer */
    ex->body_limit = UINT64_MAX;
    ex->req.framing = ex->res.framing = SL_FRAMING_EOF;
    sl_h1_body_init(&ex->req_body, SL_FRAMING_EOF, 0);
    sl_h1_body_init(&ex->res_body, SL_FRAMING_EOF, 0);
    ex->up_keep = false;
    ex->conn->counters->tunnels++;
    ex->conn->counters->tunnels_active++;
    return ex->codec->tunnel(ex);
}

void sl_tunnel_client_eof(struct sl_exchange *ex)
{
    if (ex->req_body.done || ex->codec->buffered(ex))
        return; /* the relay comes back here once that is sent */
    ex->req_body.done = true;
    sl_forward_flush(ex);
}
