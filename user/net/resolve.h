/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses, by c-ares on the loop. What resolv.conf(5) and hosts(5) say comes as bytes, read with
 * the policy: nothing here opens a file. Of resolv.conf its nameservers count; names are asked for as they
 * are, without search domains. localhost is loopback, and asked of nobody.
 */
#ifndef SL_NET_RESOLVE_H
#define SL_NET_RESOLVE_H

#include "base/ip.h"
#include "net/loop.h"

#define SL_RESOLVED_MAX 16 /* addresses of one name that are looked at */

struct sl_resolver;
struct sl_query;

/* Of the records of one name, those of the best (lowest) priority: RFC 2782. */
struct sl_srv {
    char host[256];
    uint16_t port, priority, weight;
};
/* The texts are copied. 0 or -errno; *port: of the nameservers, 0 for 53. */
int sl_resolver_new(struct sl_loop *l, struct sl_slice resolv_conf, struct sl_slice hosts, uint16_t port,
                    struct sl_resolver **out) SL_MUST_CHECK;
/* Queries under way are forgotten without a call. */
void sl_resolver_free(struct sl_resolver *r);

/* One question. Its owner keeps it in place until done was called or it was cancelled. */
struct sl_query {
    void (*done)(struct sl_query *q, const char *error, const struct sl_ip *v,
                 size_t n); /* error NULL: n >= 1 */
    void *pending;          /* private */
    uint32_t ttl;           /* s, at done: the least of the answer's; UINT32_MAX where a hosts file has it */
    bool absent;            /* at done with an error: the name has no such records, says its nameserver */
    /* sl_resolve_srv calls this one in the place of done. */
    void (*done_srv)(struct sl_query *q, const char *error, const struct sl_srv *v, size_t n);
};
/* Asks for A and AAAA. done may be called before this returns. */
void sl_resolve(struct sl_resolver *r, const char *name, struct sl_query *q);
/* Asks for SRV; at most SL_RESOLVED_MAX are told. */
void sl_resolve_srv(struct sl_resolver *r, const char *name, struct sl_query *q);
/* done is not called any more. Harmless where nothing is under way. */
void sl_query_cancel(struct sl_query *q);

#endif
