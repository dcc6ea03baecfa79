/* SPDX-License-Identifier: Apache-2.0 */
/* Identity in /metrics: why tokens were refused. */
#include "control/control_priv.h"
#include "policy/auth.h"
#include "telemetry/metrics.h"

void sl_metrics_auth(const struct sl_control *c, struct sl_metrics *m)
{
    const struct sl_counters *all = &c->args->counters;
    sl_metrics_family(m, "jwt_refused_reason_total", "counter",
                      "tokens refused, by what was wrong with them");
    for (unsigned i = 0; i < SL_COUNTER_TOKEN_REASONS && sl_auth_token_reason(i); i++) {
        uint64_t n = 0;
        for (uint32_t w = 0; w < all->workers; w++)
            n += all->blocks[w].jwt_refused_by[i];
        if (n)
            sl_metrics_sample(m, "jwt_refused_reason_total",
                              (const char *const[]){"reason", sl_auth_token_reason(i), NULL}, (double)n);
    }
}
