/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of DNS in shared memory. One process writes an entry, the controller, and never waits; readers copy
 * it and see by its sequence number whether the copy is whole. A controller that dies while it writes leaves
 * the number odd: readers stay with what they have until its successor has written.
 */
#ifndef SL_TELEMETRY_NAMED_H
#define SL_TELEMETRY_NAMED_H

#include "base/ip.h"
#include "telemetry/counters.h"

/* Takes v (n <= SL_NAMED_MAX, no address and port twice; rows are given here) as the answer. Addresses that
 * were there keep row and place; a row that changes hands begins healthy. Whether anything changed: the
 * caller then raises sl_shared_health.changes. */
bool sl_named_write(struct sl_shared_name *s, const struct sl_named_address *v, size_t n);
/* 0 with *seq and a whole copy (n 0, seq 0: no answer yet), or -EAGAIN while one is being written. */
int sl_named_read(const struct sl_shared_name *s, struct sl_named_answer *out, uint32_t *seq) SL_MUST_CHECK;
static inline uint32_t sl_named_seq(const struct sl_shared_name *s)
{
    return __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);
}
struct sl_sockaddr sl_named_sockaddr(const struct sl_named_address *a);
/* Same address and port. */
bool sl_named_same(const struct sl_named_address *a, const struct sl_named_address *b);
/* The entry of one region into another, as a whole. False: it is being written. */
bool sl_named_copy(struct sl_shared_name *to, const struct sl_shared_name *from);

#endif
