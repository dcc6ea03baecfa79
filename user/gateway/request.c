/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway itself makes of a request: who the client is, its id, and which fields go on to an
 * upstream. */
#include "gateway/exchange_priv.h"
#include "http/forwarded.h"
#include "http/websocket.h"

#include <errno.h>

#define SL_CORRELATION_MAX 128

/* ---- who the client is */

bool sl_trusted_proxy(const struct sl_snapshot *s, const struct sl_ip *ip)
{
    for (size_t i = 0; i < s->trusted_proxies.n; i++)
        if (sl_cidr_contains(&s->trusted_proxies.v[i], ip))
            return true;
    return false;
}

/* Some balancers write a port behind the address. */
static int _sl_hop(struct sl_slice text, struct sl_ip *out)
{
    struct sl_sockaddr with_port;
    text = sl_slice_trim(text);
    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = sl_slice(text.p + 1, text.n - 2);
    if (sl_ip_parse(text, out) == 0)
        return 0;
    if (sl_sockaddr_parse(text, &with_port) < 0 || with_port.sa.sa_family == AF_UNIX)
        return -EINVAL;
    *out = sl_sockaddr_ip(&with_port);
    return 0;
}

/* One field, from the right. 0 the client is found (or this is as far as we believe), 1 every hop was
 * trusted. */
static int _sl_walk(const struct sl_snapshot *s, struct sl_slice value, struct sl_ip *client)
{
    for (size_t end = value.n;;) {
        size_t start = end;
        while (start > 0 && value.p[start - 1] != ',')
            start--;
        struct sl_ip hop;
        if (_sl_hop(sl_slice(value.p + start, end - start), &hop) < 0)
            return 0;
        *client = hop;
        if (!sl_trusted_proxy(s, &hop))
            return 0;
        if (start == 0)
            return 1;
        end = start - 1;
    }
}

/* The same of Forwarded (RFC 7239). */
static int _sl_walk_forwarded(const struct sl_snapshot *s, struct sl_slice value, struct sl_ip *client)
{
    struct sl_slice from[SL_FORWARDED_MAX];
    for (int n = sl_forwarded_for(value, from); n-- > 0;) {
        struct sl_ip hop;
        if (_sl_hop(from[n], &hop) < 0) /* "unknown", "_hidden" */
            return 0;
        *client = hop;
        if (!sl_trusted_proxy(s, &hop))
            return 0;
    }
    return 1;
}

/* Who uses both fields says the same in both, or nobody could tell which to believe. */
static void _sl_look_through(struct sl_exchange *ex)
{
    const struct sl_snapshot *s = ex->config->snapshot;
    const struct sl_headers *h = &ex->req.headers;
    const enum sl_hdr id =
        sl_headers_get(h, SL_HDR_X_FORWARDED_FOR) ? SL_HDR_X_FORWARDED_FOR : SL_HDR_FORWARDED;
    int (*const walk)(const struct sl_snapshot *, struct sl_slice, struct sl_ip *) =
        id == SL_HDR_FORWARDED ? _sl_walk_forwarded : _sl_walk;
    for (uint32_t i = h->n; i-- > 0;)
        if (!h->v[i].removed && h->v[i].id == id && walk(s, h->v[i].value, &ex->client_ip) == 0)
            break;
}

void sl_request_client(struct sl_exchange *ex)
{
    const struct sl_snapshot *s = ex->config->snapshot;
    ex->client_ip = ex->conn->peer_ip;
    ex->client_text = sl_slice_str(ex->conn->peer_text);
    ex->peer_trusted = s->trusted_proxies.n && sl_trusted_proxy(s, &ex->client_ip);
    if (!ex->peer_trusted)
        return;
    _sl_look_through(ex);
    char text[SL_IP_STRLEN];
    ex->client_text = sl_arena_copy(&ex->arena, sl_slice_str(sl_ip_text(&ex->client_ip, text)));
}

/* ---- its id */

/* What may go into logs, headers and problems as it is. */
static bool _sl_is_id(struct sl_slice s)
{
    if (s.n == 0 || s.n > SL_CORRELATION_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], l = sl_lower(c);
        if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.:/+=@~", c))))
            return false;
    }
    return true;
}

static struct sl_slice _sl_new_id(struct sl_exchange *ex)
{
    char *text = sl_arena_alloc(&ex->arena, SL_UUID_LEN);
    if (!text || sl_uuid_new(&ex->w->uuids, text) < 0)
        return SL_SLICE_NUL;
    return sl_slice(text, SL_UUID_LEN);
}

int sl_request_correlate(struct sl_exchange *ex)
{
    struct sl_slice name = ex->config->correlation_header;
    if (ex->config->snapshot->correlation_id.trust) {
        const struct sl_header *h = sl_headers_find(&ex->req.headers, name);
        if (h && _sl_is_id(h->value)) {
            ex->correlation_id = h->value;
            return 0;
        }
    }
    ex->correlation_id = _sl_new_id(ex);
    return ex->correlation_id.p ? 0 : -ENOMEM;
}

/* ---- its fields */

static struct sl_slice _sl_appended(struct sl_exchange *ex, struct sl_slice list, struct sl_slice item)
{
    if (!list.n)
        return item;
    char *p = sl_arena_alloc(&ex->arena, list.n + 2 + item.n);
    if (!p)
        return SL_SLICE_NUL;
    memcpy(p, list.p, list.n);
    p[list.n] = ',';
    p[list.n + 1] = ' ';
    memcpy(p + list.n + 2, item.p, item.n);
    return sl_slice(p, list.n + 2 + item.n);
}

/* All of a field's lines as one list (RFC 9110 section 5.3). */
static struct sl_slice _sl_joined(struct sl_exchange *ex, enum sl_hdr id)
{
    struct sl_slice list = SL_SLICE_NUL;
    const struct sl_headers *h = &ex->req.headers;
    for (uint32_t i = 0; i < h->n; i++)
        if (!h->v[i].removed && h->v[i].id == id)
            list = _sl_appended(ex, list, h->v[i].value);
    return list;
}

/* As sl_headers_set. lengths: of the names that are there. */
static int _sl_set(struct sl_exchange *ex, uint64_t *lengths, enum sl_hdr id, struct sl_slice name,
                   struct sl_slice value)
{
    if (*lengths & SL_NAME_BIT(name))
        (void)sl_headers_remove(&ex->req.headers, name);
    *lengths |= SL_NAME_BIT(name);
    return sl_headers_add_as(&ex->req.headers, &ex->arena, id, name, value);
}

/* RFC 7239 section 4: who joins a list that a proxy began adds whom it heard from. */
static int _sl_forwarded(struct sl_exchange *ex)
{
    const bool v6 = ex->conn->peer_ip.family == SL_AF_INET6;
    struct sl_headers *h = &ex->req.headers;
    if (!sl_headers_get(h, SL_HDR_FORWARDED))
        return 0;
    const char *hop = sl_arena_printf(&ex->arena, v6 ? "for=\"[%s]\"" : "for=%s", ex->conn->peer_text);
    struct sl_slice hops =
        hop ? _sl_appended(ex, _sl_joined(ex, SL_HDR_FORWARDED), sl_slice_str(hop)) : SL_SLICE_NUL;
    return hops.p ? sl_headers_set(h, &ex->arena, SL_S("Forwarded"), hops) : -ENOMEM;
}

/* A client's own word counts for nothing; a trusted proxy's is kept and added to. */
static int _sl_forwarding_fields(struct sl_exchange *ex, uint64_t *lengths)
{
    struct sl_headers *h = &ex->req.headers;
    struct sl_slice peer = sl_slice_str(ex->conn->peer_text);
    struct sl_slice proto = ex->conn->stream.ssl ? SL_S("https") : SL_S("http");
    struct sl_slice host = ex->req.authority, hops = peer;
    if (ex->peer_trusted) {
        const struct sl_header *p = sl_headers_get(h, SL_HDR_X_FORWARDED_PROTO);
        const struct sl_header *o = sl_headers_get(h, SL_HDR_X_FORWARDED_HOST);
        proto = p ? p->value : proto;
        host = o ? o->value : host;
        hops = _sl_appended(ex, _sl_joined(ex, SL_HDR_X_FORWARDED_FOR), peer);
        if (_sl_forwarded(ex) < 0)
            return -ENOMEM;
    } else if (*lengths & SL_NAME_BIT(SL_S("Forwarded"))) {
        (void)sl_headers_remove(h, SL_S("Forwarded"));
    }
    int r = hops.p ? _sl_set(ex, lengths, SL_HDR_X_FORWARDED_FOR, SL_S("X-Forwarded-For"), hops) : -ENOMEM;
    if (r == 0)
        r = _sl_set(ex, lengths, SL_HDR_X_FORWARDED_PROTO, SL_S("X-Forwarded-Proto"), proto);
    if (r == 0 && host.n)
        r = _sl_set(ex, lengths, SL_HDR_X_FORWARDED_HOST, SL_S("X-Forwarded-Host"), host);
    return r;
}

int sl_request_prepare(struct sl_exchange *ex)
{
    struct sl_headers *h = &ex->req.headers;
    ex->req.upgrade = ex->req.upgrade && sl_websocket_asked(&ex->req);
    ex->req.te_trailers = sl_offers_trailers(h);
    sl_headers_strip_hop_by_hop(h, NULL, 0); /* before ours go in, so Connection cannot name them */
    if (ex->req.expect_continue)
        (void)sl_headers_remove(h, SL_S("Expect")); /* answered here */
    uint64_t lengths = sl_headers_lengths(h);
    int r = _sl_forwarding_fields(ex, &lengths);
    const struct sl_slice id = ex->config->correlation_header;
    return r < 0 ? r : _sl_set(ex, &lengths, sl_hdr_id(id), id, ex->correlation_id);
}

/* A trailer must not say what the same field in the head could not: upstreams may merge them. */
void sl_request_clean_trailers(struct sl_exchange *ex)
{
    struct sl_headers *t = &ex->req.trailers;
    if (!t->n)
        return;
    for (uint32_t i = 0; i < t->n; i++)
        t->v[i].removed |= !sl_trailer_allowed(t->v[i].name);
    (void)sl_headers_remove(t, ex->config->correlation_header);
    sl_auth_clean(ex->config->policy->auth, t);
    if (ex->route && ex->route->policy->request)
        sl_transform_clean(ex->route->policy->request, t);
}

struct sl_template_vars sl_exchange_vars(struct sl_exchange *ex)
{
    if (!ex->request_id.p)
        ex->request_id = _sl_new_id(ex);
    return (struct sl_template_vars){
        .correlation_id = ex->correlation_id,
        .request_id = ex->request_id,
        .client_ip = ex->client_text,
        .route = ex->route ? sl_slice_str(ex->route->policy->route->name) : SL_SLICE_NUL,
        .host = ex->req.authority,
        .path = ex->req.path,
        .query = ex->req.query,
        .wall_ns = sl_loop_wall(&ex->w->loop),
        .identity = ex->identity,
        .tier = ex->tier ? sl_slice_str(ex->tier->name) : SL_SLICE_NUL,
    };
}
