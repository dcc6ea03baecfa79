/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, version 2: what a balancer that does not read HTTP says of the connection that it
 * passes on, in binary, before anything else. (proxy-protocol.txt of HAProxy, section 2.2; version 1 is text
 * and not taken.)
 */
#ifndef SL_NET_PROXY_V2_H
#define SL_NET_PROXY_V2_H

#include "base/ip.h"
#include "base/slice.h"
#include <stdbool.h>
#include <sys/types.h>

#define SL_PROXY_V2_HEAD 16   /* bytes that tell the length of the rest */
#define SL_PROXY_V2_MAX  1024 /* of the rest: addresses, and what else a balancer likes to tell */

struct sl_proxy_v2 {
    bool local; /* the balancer's own connection, or it does not tell: source and destination are unset */
    struct sl_sockaddr source, destination;
};

/* How long the whole header is, from its first SL_PROXY_V2_HEAD bytes; -EPROTO where it is none, or longer
 * than we read. */
ssize_t sl_proxy_v2_length(struct sl_slice head);
/* Reads one whole header: 0, or -EPROTO for what is malformed or no stream of TCP. */
int sl_proxy_v2_parse(struct sl_slice header, struct sl_proxy_v2 *out);

#endif
