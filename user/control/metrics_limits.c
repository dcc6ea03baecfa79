/* SPDX-License-Identifier: Apache-2.0 */
/* The table of buckets, and the hosts that share it, as metrics. */
#include "control/cluster_priv.h"
#include "control/demand_priv.h"
#include "telemetry/metrics.h"

static void _sl_events(struct sl_metrics *m, const char *event, uint64_t n)
{
    sl_metrics_sample(m, "cluster_penalties_total", (const char *const[]){"event", event, NULL}, (double)n);
}

static void _sl_penalties(const struct sl_cluster_penalties *p, struct sl_metrics *m)
{
    sl_metrics_family(
        m, "cluster_penalties_total", "counter",
        "penalties and denies told to other hosts, put in for them, and revoked; and those lost, "
        "for want of room while Redis did not answer");
    _sl_events(m, "told", p->told);
    _sl_events(m, "taken", p->taken);
    _sl_events(m, "revocation_told", p->revocations_told);
    _sl_events(m, "revocation_taken", p->revocations_taken);
    _sl_events(m, "lost", p->lost);
    sl_metrics_family(m, "cluster_penalties_refused_total", "counter",
                      "what other hosts told and was not put in, by why");
    for (unsigned i = 0; i < SL_REFUSE_COUNT; i++)
        sl_metrics_sample(
            m, "cluster_penalties_refused_total",
            (const char *const[]){"reason", sl_shared_refusal_name((enum sl_shared_refusal)i), NULL},
            (double)p->refused[i]);
}

static void _sl_cluster(const struct sl_cluster_link *l, struct sl_metrics *m)
{
    sl_metrics_one(m, "cluster_up", "gauge",
                   "1 while limits are shared with the other hosts, by way of Redis", l->up);
    sl_metrics_one(m, "cluster_syncs_total", "counter", "pipelines sent to Redis", (double)l->syncs);
    sl_metrics_one(m, "cluster_failures_total", "counter", "commands that Redis refused or did not answer",
                   (double)l->failures);
    sl_metrics_one(m, "cluster_buckets_total", "counter", "buckets told of, over all syncs", (double)l->told);
    if (l->penalties)
        _sl_penalties(l->penalties, m);
}

static void _sl_evidence(const struct sl_demand *d, uint64_t untold, struct sl_metrics *m)
{
    sl_metrics_one(m, "evidence_series", "gauge",
                   "routes, tiers and consumers that requests are watched of, to propose limits",
                   sl_evidence_count(d->evidence));
    sl_metrics_one(m, "evidence_lost_total", "counter",
                   "requests that are missing in that evidence, because a table of askers was full",
                   (double)(untold + d->forgotten));
}

void sl_metrics_limits(const struct sl_control *c, struct sl_metrics *m)
{
    uint64_t contended = 0, full = 0, untold = 0;
    for (uint32_t i = 0; i < c->args->counters.workers; i++) {
        contended += c->args->counters.blocks[i].bucket_cas_exhausted;
        full += c->args->counters.blocks[i].bucket_table_full;
        untold += c->args->counters.blocks[i].demand_untold;
    }
    sl_metrics_one(m, "bucket_contended_total", "counter",
                   "requests refused because a bucket was too contended", (double)contended);
    sl_metrics_one(m, "bucket_table_full_total", "counter",
                   "requests that the table of buckets had no room for", (double)full);
    if (c->demand)
        _sl_evidence(c->demand, untold, m);
    if (c->cluster)
        _sl_cluster(c->cluster, m);
}
