/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket, asked for by Upgrade (RFC 6455) or by extended CONNECT (RFC 8441), of either side: once the
 * upstream has agreed, and only then, both bodies are bytes without an end, and flow through relay.c with its
 * backpressure, bandwidth and counts like any other. The request is a GET with req.upgrade throughout; only
 * at the edges does it look as that side's protocol wants it. Invariant: a connection of HTTP/1.1, a stream
 * of HTTP/2, carries nothing after the tunnel; and no client by extended CONNECT is ever answered 2xx without
 * one.
 */
#include "gateway/exchange_priv.h"
#include "http/websocket.h"

#include <errno.h>

/* ---- the request */

static bool _sl_allowed(const struct sl_exchange *ex)
{
    return ex->route->policy->route->upgrade.n > 0;
}

/* HTTP/1.1 has another way: RFC 9110 section 7.8 leaves Upgrade to the server, so the request goes on
 * without. */
enum sl_stage_result sl_stage_upgrade(struct sl_exchange *ex)
{
    if (!ex->req.extended_connect)
        return SL_STAGE_NEXT;
    if (!_sl_allowed(ex))
        return sl_respond_problem(ex, SL_WHY_UPGRADE_NOT_ALLOWED, 403, "this route takes no WebSocket");
    if (ex->req.upgrade)
        return SL_STAGE_NEXT;
    /* RFC 6455 section 4.4 */
    (void)sl_headers_set(&ex->res.headers, &ex->arena, SL_S("Sec-WebSocket-Version"), SL_S("13"));
    return sl_respond_problem(ex, SL_WHY_BAD_REQUEST, 400, "Sec-WebSocket-Version is not 13");
}

/* A client of HTTP/2 has no key for an upstream of HTTP/1.1: it gets one that is nobody else's. */
int sl_tunnel_ask(struct sl_exchange *ex)
{
    ex->req.upgrade = ex->req.upgrade && _sl_allowed(ex);
    if (!ex->req.extended_connect || ex->h2_out)
        return 0;
    char *key = sl_arena_alloc(&ex->arena, SL_WEBSOCKET_KEY_LEN);
    const int r = key ? sl_websocket_key(key) : -ENOMEM;
    if (r < 0)
        return r;
    return sl_headers_set(&ex->req.headers, &ex->arena, SL_S("Sec-WebSocket-Key"),
                          sl_slice(key, SL_WEBSOCKET_KEY_LEN));
}

/* ---- its answer */

enum sl_proxy_reason sl_tunnel_check(const struct sl_exchange *ex)
{
    const unsigned status = ex->res.status;
    if (ex->h2_out)
        return SL_WHY_NONE;
    if (status == 101)
        return sl_websocket_agreed(&ex->req, &ex->res) ? SL_WHY_NONE : SL_WHY_UPSTREAM_MALFORMED;
    return ex->req.extended_connect && status / 100 == 2 ? SL_WHY_UPSTREAM_NO_UPGRADE : SL_WHY_NONE;
}

bool sl_tunnel_opens(const struct sl_exchange *ex)
{
    return ex->h2_out ? ex->req.upgrade && ex->res.status / 100 == 2 : ex->res.status == 101;
}

/* RFC 8441 section 5: what is a 101 with the key's answer here is a 200 without there. */
static int _sl_translate(struct sl_exchange *ex)
{
    static const struct sl_slice name = {"Sec-WebSocket-Accept", 20};
    struct sl_response *res = &ex->res;
    const bool h2_in = ex->req.extended_connect;
    res->reason = SL_SLICE_NUL;
    res->upgrade = !h2_in;
    res->status = ex->status = h2_in ? 200 : 101;
    if (h2_in || ex->h2_out)
        (void)sl_headers_remove(&res->headers, name);
    if (h2_in || !ex->h2_out)
        return 0;
    const struct sl_slice accept = sl_websocket_accept(&ex->req, &ex->arena);
    return accept.p ? sl_headers_add(&res->headers, &ex->arena, name, accept) : -ENOMEM;
}

int sl_tunnel_open(struct sl_exchange *ex)
{
    const int r = _sl_translate(ex);
    if (r < 0)
        return r;
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

/* ---- its end */

void sl_tunnel_client_eof(struct sl_exchange *ex)
{
    if (ex->req_body.done || ex->codec->buffered(ex))
        return; /* the relay comes back here once that is sent */
    ex->req_body.done = true;
    sl_forward_flush(ex);
}

/* As if the upstream had said its last; a client that does not even read cannot be told. */
void sl_tunnel_idle(struct sl_exchange *ex)
{
    static const char detail[] = "no byte came from either side";
    if (ex->codec->unsent(ex)) {
        sl_exchange_abort(ex, SL_WHY_TUNNEL_IDLE, detail);
        return;
    }
    ex->why = SL_WHY_TUNNEL_IDLE;
    ex->detail = detail;
    sl_relay_answer_done(ex);
}
