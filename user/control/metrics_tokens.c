/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that the gateway itself has signed, in /metrics. */
#include "control/control_priv.h"
#include "telemetry/metrics.h"

void sl_metrics_tokens(const struct sl_control *c, struct sl_metrics *m)
{
    const struct sl_counters *all = &c->args->counters;
    uint64_t made = 0, reused = 0;
    for (uint32_t w = 0; w < sl_counters_blocks(all); w++) {
        made += all->blocks[w].upstream_tokens_signed;
        reused += all->blocks[w].upstream_tokens_reused;
    }
    sl_metrics_one(m, "upstream_tokens_signed_total", "counter",
                   "tokens of the gateway's own that were signed for upstreams", (double)made);
    sl_metrics_one(m, "upstream_tokens_reused_total", "counter",
                   "requests that took such a token to an upstream once more", (double)reused);
}
