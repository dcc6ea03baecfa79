/* SPDX-License-Identifier: Apache-2.0 */
/* Who else succeeds from an address: what the NAT guard asks before an address is penalised. */
#ifndef SL_GATEWAY_NEIGHBOURS_PRIV_H
#define SL_GATEWAY_NEIGHBOURS_PRIV_H

#include "telemetry/counters.h"

#include <stdbool.h>

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
