/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of which a balancer tells where it came from (PROXY protocol, net/proxy_v2.h). Invariant: not
 * one byte behind the header is read here, since TLS or HTTP begins there; and nobody but a trusted proxy is
 * believed, or asked to speak at all.
 */
#include "base/log.h"
#include "gateway/exchange_priv.h"
#include "net/proxy_v2.h"

#include <errno.h>

#define SL_REFUSED_LINES 10 /* a second, of each worker */

static void _sl_refuse(struct sl_conn *c, const char *why, uint64_t *count)
{
    struct sl_worker *w = c->w;
    (*count)++;
    const uint64_t second = w->loop.now / SL_NS_PER_SEC;
    if (w->proxied_s != second) {
        w->proxied_s = second;
        w->proxied_lines = 0;
    }
    if (w->proxied_lines++ < SL_REFUSED_LINES)
        sl_warn("listener %s: a connection from %s is refused: %s", c->bind->listener->name, c->peer_text,
                why);
    c->reset = true;
    sl_conn_close(c);
}

bool sl_conn_proxied_begin(struct sl_conn *c)
{
    const struct sl_listener *l = c->bind->listener;
    if (!l->proxy_protocol)
        return true;
    if (sl_trusted_proxy(c->bind->config->snapshot, &c->peer_ip))
        return true;
    _sl_refuse(
        c, "proxy_untrusted: the listener has proxy_protocol, and trusted_proxies does not hold this address",
        &c->counters->proxy_untrusted);
    return false;
}

static int _sl_take(struct sl_conn *c)
{
    struct sl_proxy_v2 p;
    if (sl_proxy_v2_parse(sl_buf_slice(&c->in), &p) < 0)
        return -EPROTO;
    sl_bufpool_return(&c->w->bufs, &c->in);
    if (p.local)
        return 0;
    c->proxied = true;
    c->peer_ip = sl_sockaddr_ip(&p.source);
    (void)sl_ip_text(&c->peer_ip, c->peer_text);
    return 0;
}

/* How many bytes are still to come: first those that tell the length. */
static ssize_t _sl_missing(const struct sl_conn *c)
{
    const size_t have = sl_buf_len(&c->in);
    if (have < SL_PROXY_V2_HEAD)
        return (ssize_t)(SL_PROXY_V2_HEAD - have);
    const ssize_t all = sl_proxy_v2_length(sl_slice(sl_buf_data(&c->in), SL_PROXY_V2_HEAD));
    return all < 0 ? all : all - (ssize_t)have;
}

int sl_conn_proxied_read(struct sl_conn *c)
{
    static const char malformed[] = "proxy_malformed: no header of the PROXY protocol, version 2, came first";
    ssize_t want;
    while ((want = _sl_missing(c)) > 0) {
        if (sl_bufpool_lend(&c->w->bufs, &c->in) < 0 || sl_buf_reserve(&c->in, (size_t)want) < 0) {
            sl_conn_close(c);
            return -ENOMEM;
        }
        const ssize_t n = recv(c->stream.fd, c->in.base + c->in.end, (size_t)want, 0); /* beneath TLS */
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n <= 0) {
            sl_conn_close(c); /* gone before it said anything: as a check of its health does */
            return -EPIPE;
        }
        sl_buf_commit(&c->in, (size_t)n);
    }
    if (want == 0 && _sl_take(c) == 0)
        return 1;
    _sl_refuse(c, malformed, &c->counters->proxy_malformed);
    return -EPROTO;
}
