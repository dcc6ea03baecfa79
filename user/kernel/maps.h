/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the guard's maps through inherited descriptors, without privilege (kernel 5.19 on; before it,
 * -EPERM). */
#ifndef SL_KERNEL_MAPS_H
#define SL_KERNEL_MAPS_H

#include "base/buf.h"
#include "base/ip.h"
#include "sluice/abi.h"

const char *sl_reason_name(enum sl_reason r);
const char *sl_reason_help(enum sl_reason r);
bool sl_reason_drops(enum sl_reason r);
/* Sent back by the guard: neither passed nor dropped. */
bool sl_reason_answers(enum sl_reason r);

/* Sums `words` counters (u64) of an entry over all CPUs. 0 or -errno. */
int sl_maps_sum(int fd, uint32_t key, uint64_t *out, size_t words);
/* Sums over the CPUs. 0 or -errno. would may be NULL. */
int sl_maps_reasons(int fd, struct sl_count out[SL_REASON_COUNT], struct sl_count would[SL_REASON_COUNT]);
int sl_maps_listener(int fd, uint32_t slot, struct sl_listener_stats *out);
int sl_maps_consumer_bytes(int fd, uint32_t slot, struct sl_consumer_bytes *out);

/* Calls fn for each live penalty (deadline in the future); stops where fn returns non-zero. */
typedef int (*sl_penalty_fn)(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg);
int sl_maps_penalties(int fd, sl_penalty_fn fn, void *arg);

/* Puts the consumer's slot into the socket's storage; works without privilege from 5.19 on. 0 or -errno. */
int sl_maps_tag_socket(int storage_fd, int sock, uint32_t consumer_slot);

/* Maps the bucket table (a BPF array or a memfd) shared and writable: slots counted in *n. NULL and errno on
 * failure. */
struct sl_bucket *sl_maps_buckets(int fd, size_t *n);

#endif
