/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one host tells the others of a penalty, as an entry of a Redis stream: pairs of field and value, all
 * of them, in one order. Whoever can write to that Redis wrote it: nothing here is believed before it is
 * checked.
 */
#ifndef SL_CONTROL_CLUSTER_EVENT_PRIV_H
#define SL_CONTROL_CLUSTER_EVENT_PRIV_H

#include "net/ipc.h"

#define SL_CLUSTER_HOST_LEN 65 /* a name of 64, NUL-terminated */

struct sl_cluster_event {
    struct sl_ipc_shared what; /* without its header */
    char host[SL_CLUSTER_HOST_LEN];
    uint64_t
        sender; /* the process that tells: another one each time, so that hosts of one name are told apart */
};

#define SL_EVENT_FIELDS 10
#define SL_EVENT_WORDS  (2 * SL_EVENT_FIELDS)
#define SL_EVENT_TEXT   512 /* of all values */

/* Its words, in room; n is SL_EVENT_WORDS. */
void sl_cluster_event_words(const struct sl_cluster_event *e, char room[SL_EVENT_TEXT],
                            struct sl_slice words[SL_EVENT_WORDS]);
/* 0; -EINVAL: it is not what such an event is, or out of its ranges (sl_ipc_shared_ok). */
int sl_cluster_event_parse(const struct sl_slice *words, size_t n,
                           struct sl_cluster_event *out) SL_MUST_CHECK;

/* Whether a revocation of the range takes back the entry: one address of an IPv6 /64 names its penalty. */
bool sl_cluster_revokes(const struct sl_cidr *c, uint32_t kind, const struct sl_cidr *prefix);

/* An entry's id, "MS-N": ms of Redis's clock when it was written. 0 or -EINVAL. */
int sl_cluster_id_parse(struct sl_slice id, uint64_t *ms) SL_MUST_CHECK;

#endif
