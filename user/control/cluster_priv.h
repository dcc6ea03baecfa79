/* SPDX-License-Identifier: Apache-2.0 */
/* The link to the Redis that several hosts meet at, as the files of the cluster part see it. */
#ifndef SL_CONTROL_CLUSTER_PRIV_H
#define SL_CONTROL_CLUSTER_PRIV_H

#include "control/control_priv.h"

#include <hiredis/async.h>

struct sl_cluster_link {
    struct sl_control *control;
    struct sl_snapshot *snapshot;    /* one reference: config is of it */
    const struct sl_cluster *config; /* enabled */
    char text[SL_SOCK_STRLEN];       /* of the Redis */
    redisAsyncContext *redis;        /* NULL: not connected, nor about to be */
    bool connected, up, warned;
    bool all;             /* the next sync tells of every shared bucket: Redis may have forgotten all */
    unsigned outstanding; /* commands without an answer */
    ev_timer sync;
    uint64_t retry_at, asked_at;
    uint64_t syncs, failures, told; /* told: buckets, in all syncs */
};

/* ---- cluster.c */
/* A command's answer, or the link's end (reply NULL): counts it, and says whether it is of use. */
bool sl_cluster_answered(struct sl_cluster_link *l, const redisReply *reply);
/* The callback of a command whose answer says nothing but that it was done. */
void sl_cluster_on_answer(redisAsyncContext *a, void *reply, void *arg);
/* The host cannot be spoken of as one with the others: why is told once. */
void sl_cluster_down(struct sl_cluster_link *l, const char *why);

/* ---- cluster_buckets.c */
/* Queues what the shared buckets have admitted; the answers move them on. */
void sl_cluster_tell(struct sl_cluster_link *l);

#endif
