/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection by its addresses and ports, and whose it is. */
#ifndef SL_NET_FLOW_H
#define SL_NET_FLOW_H

#include "base/ip.h"
#include <stdbool.h>

struct sl_flow {
    struct sl_ip local, peer;
    uint16_t local_port, peer_port; /* host order */
};
/* Whether another socket of this host than the one of the cookie (SO_COOKIE) has these addresses and ports
 * now. False where none has, and where the kernel does not tell. */
bool sl_flow_is_anothers(const struct sl_flow *f, uint64_t cookie);
/* Whether a connection to that address's port, on whichever address, has begun and is not accepted yet, since
 * its handshake or its first data are to come. False where the kernel does not tell. */
bool sl_flow_is_opening(const struct sl_sockaddr *to);

#endif
