/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that the gateway itself has signed, in /metrics. */
#include "control/control_priv.h"
#include "policy/oauth2.h"
#include "telemetry/metrics.h"

static uint64_t _sl_answers(const struct sl_counters *all, unsigned error)
{
    uint64_t n = 0;
    for (uint32_t w = 0; w < sl_counters_blocks(all); w++)
        n += all->blocks[w].oauth2[error];
    return n;
}

static void _sl_oauth2(const struct sl_counters *all, struct sl_metrics *m)
{
    _Static_assert(SL_OAUTH2_ERROR_COUNT <= SL_COUNTER_OAUTH2, "a counter for each");
    sl_metrics_one(m, "oauth2_tokens_issued_total", "counter", "access tokens that the gateway has issued",
                   (double)_sl_answers(all, SL_OAUTH2_OK));
    sl_metrics_family(m, "oauth2_refused_total", "counter", "requests for a token that were refused");
    for (unsigned e = SL_OAUTH2_OK + 1; e < SL_OAUTH2_ERROR_COUNT; e++)
        sl_metrics_sample(m, "oauth2_refused_total",
                          (const char *const[]){"error", sl_oauth2_error_name(e), NULL},
                          (double)_sl_answers(all, e));
}

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
    _sl_oauth2(all, m);
}
