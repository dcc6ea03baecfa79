/* SPDX-License-Identifier: Apache-2.0 */
/* Connections refused as soon as they were accepted, in /metrics. */
#include "control/metrics_refused_priv.h"

#include "telemetry/counters.h"

void sl_metrics_refusals(struct sl_metrics *m, const char *family, const char *label, const char *name,
                         const uint64_t *counts)
{
    static const char *const names[] = {
#define SL_X(e, name) name,
        SL_REFUSALS(SL_X)
#undef SL_X
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++)
        sl_metrics_sample(m, family, (const char *const[]){label, name, "reason", names[i], NULL},
                          (double)counts[i]);
}
