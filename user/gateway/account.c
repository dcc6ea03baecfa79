/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an exchange: counters, the NAT guard's memory, and a line in the access log. */
#include "gateway/exchange_priv.h"

static void _sl_count(struct sl_exchange *ex, uint64_t duration_ns)
{
    struct sl_route_counters *r = ex->route ? ex->route->counters : &ex->w->counters->routes[0];
    unsigned digit = ex->head_sent ? ex->status / 100u : 0;
    r->codes[digit <= 5 ? digit : 0]++;
    if (ex->why != SL_WHY_NONE)
        r->reasons[ex->why]++;
    r->bytes_in += ex->bytes_in;
    r->bytes_out += ex->bytes_out;
    if (ex->tunnel) { /* what it was asked for ended with the 101 */
        ex->conn->counters->tunnels_active--;
        duration_ns = ex->first_byte - ex->started;
    }
    sl_histogram_observe(&r->seconds, duration_ns / 1000);
}

static bool _sl_sampled(struct sl_exchange *ex)
{
    double sample = ex->config->snapshot->access_log.sample;
    return sample >= 1.0 || (double)(sl_worker_random(ex->w) >> 11) < sample * (double)(1ull << 53);
}

static struct sl_slice _sl_user_agent(const struct sl_exchange *ex)
{
    const struct sl_header *h = sl_headers_get(&ex->req.headers, SL_HDR_USER_AGENT);
    return h ? h->value : SL_SLICE_NUL;
}

/* NULL: none */
static const char *_sl_upstream_name(const struct sl_exchange *ex, const struct sl_route *route)
{
    if (ex->group)
        return sl_group_config(ex->group)->name;
    return route && route->upstream ? route->upstream->name : NULL;
}

/* Whom the gateway heard from, where that is not the client: it tells where the client's address comes from.
 */
static struct sl_slice _sl_peer(const struct sl_exchange *ex, char text[SL_IP_STRLEN])
{
    const struct sl_ip ip = sl_sockaddr_ip(&ex->conn->peer);
    return sl_slice_str(ex->conn->proxied ? sl_ip_text(&ip, text) : ex->conn->peer_text);
}

static void _sl_log(struct sl_exchange *ex, uint64_t duration_ns)
{
    const struct sl_route *route = ex->route ? ex->route->policy->route : NULL;
    struct sl_access_record rec = {
        .wall_ns = sl_loop_wall(&ex->w->loop) - duration_ns,
        .duration_ns = duration_ns,
        .first_byte_ns = ex->first_byte ? ex->first_byte - ex->up_started : 0,
        .correlation_id = ex->correlation_id,
        .client = ex->client_text,
        .listener = sl_slice_str(ex->listener->name),
        .protocol = sl_slice_str(ex->codec->protocol),
        .method = ex->req.method_name,
        .host = ex->req.authority,
        .path = ex->log_path,
        .route = route ? sl_slice_str(route->name) : SL_SLICE_NUL,
        .consumer = ex->identity ? ex->identity->consumer_name : SL_SLICE_NUL,
        .tier = sl_slice_str(ex->tier->name),
        .upstream = sl_slice_str(_sl_upstream_name(ex, route)),
        .target = sl_slice_str(ex->target),
        .reason = sl_slice_str(sl_proxy_reason_name(ex->why)),
        .detail = ex->why != SL_WHY_NONE ? sl_slice_str(ex->detail) : SL_SLICE_NUL,
        .user_agent = _sl_user_agent(ex),
        .status = ex->head_sent ? ex->status : 499,
        .retries = ex->retries,
        .bytes_in = ex->bytes_in,
        .bytes_out = ex->bytes_out,
    };
    char proxy[SL_IP_STRLEN];
    if (ex->peer_trusted || ex->conn->proxied)
        rec.peer = _sl_peer(ex, proxy);
    if (sl_access_log_add(ex->w->log, ex->config->log_format, &rec) == 0)
        ex->w->counters->log_lines++;
}

void sl_account(struct sl_exchange *ex)
{
    uint64_t duration = ex->w->loop.now - ex->started;
    _sl_count(ex, duration);
    if (ex->why == SL_WHY_NONE && (ex->tunnel || (ex->status >= 200 && ex->status < 400)))
        sl_escalate_succeeded(ex);
    if (ex->config->snapshot->access_log.enabled && ex->w->log && _sl_sampled(ex))
        _sl_log(ex, duration);
}
