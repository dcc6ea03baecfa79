/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_NET_RESOLVE_PRIV_H
#define SL_NET_RESOLVE_PRIV_H

#include "net/resolve.h"

/* resolve_srv.c: the SRV records of an answer (RFC 1035 section 4.1) that have the lowest priority, at most
 * SL_RESOLVED_MAX of them, and the least TTL. How many; 0 where there are none, where the service is said not
 * to be there (target "."), and of what cannot be read. */
size_t sl_srv_parse(const unsigned char *msg, size_t n, struct sl_srv out[SL_RESOLVED_MAX], uint32_t *ttl);

#endif
