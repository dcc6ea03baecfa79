/* SPDX-License-Identifier: Apache-2.0 */
/* The table of buckets, and the hosts that share it, as metrics. */
#include "control/cluster_priv.h"
#include "telemetry/metrics.h"

static void _sl_cluster(const struct sl_cluster_link *l, struct sl_metrics *m)
{
    sl_metrics_one(m, "cluster_up", "gauge",
                   "1 while limits are shared with the other hosts, by way of Redis", l->up);
    sl_metrics_one(m, "cluster_syncs_total", "counter", "pipelines sent to Redis", (double)l->syncs);
    sl_metrics_one(m, "cluster_failures_total", "counter", "commands that Redis refused or did not answer",
                   (double)l->failures);
    sl_metrics_one(m, "cluster_buckets_total", "counter", "buckets told of, over all syncs", (double)l->told);
}

void sl_metrics_limits(const struct sl_control *c, struct sl_metrics *m)
{
    uint64_t contended = 0, full = 0;
    for (uint32_t i = 0; i < c->args->counters.workers; i++) {
        contended += c->args->counters.blocks[i].bucket_cas_exhausted;
        full += c->args->counters.blocks[i].bucket_table_full;
    }
    sl_metrics_one(m, "bucket_contended_total", "counter",
                   "requests refused because a bucket was too contended", (double)contended);
    sl_metrics_one(m, "bucket_table_full_total", "counter",
                   "requests that the table of buckets had no room for", (double)full);
    if (c->cluster)
        _sl_cluster(c->cluster, m);
}
