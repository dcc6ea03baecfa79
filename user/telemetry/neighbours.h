/* SPDX-License-Identifier: Apache-2.0 */
/* Who else succeeds from an address: what the NAT guard asks before an address is penalised. */
#ifndef SL_TELEMETRY_NEIGHBOURS_H
#define SL_TELEMETRY_NEIGHBOURS_H

#include "base/hash.h"
#include "base/ip.h"
#include "telemetry/counters.h"

#include <stdbool.h>

/* The hashes below, by the bucket table's seed. A source is an address as it is penalised (IPv6 by /64); an
 * identity with a name is a consumer. */
static inline uint64_t sl_neighbours_source(const struct sl_ip *ip, uint64_t seed)
{
    return sl_hash(&ip->addr, sizeof(ip->addr), seed ^ ip->family) | 1;
}
static inline uint64_t sl_neighbours_identity(struct sl_slice consumer, uint64_t seed)
{
    return sl_hash(consumer.p, consumer.n, seed) | 1;
}
#define SL_NEIGHBOURS_NOBODY 1 /* of who asked without a credential */

/* Notes that the identity succeeded from the source at now (monotonic ns). all: the region's table; source
 * and identity: hashes. It stands for whoever asks from then on, whatever other workers note at the same
 * time, until SL_NEIGHBOURS_OF_A_SOURCE identities of the source succeed later, or the row is full of later
 * ones. */
#define SL_NEIGHBOURS_OF_A_SOURCE 3
void sl_neighbours_note(uint64_t (*all)[SL_SHARED_NEIGHBOURS_ROW], uint64_t source, uint64_t identity,
                        uint64_t now);

/* Whether another identity succeeded from the source since now - within (ns, rounded up by less than 150 ms).
 */
bool sl_neighbours_succeed(uint64_t (*all)[SL_SHARED_NEIGHBOURS_ROW], uint64_t source, uint64_t identity,
                           uint64_t now, uint64_t within);

#endif
