/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_CONTROL_METRICS_TLS_PRIV_H
#define SL_CONTROL_METRICS_TLS_PRIV_H

#include "telemetry/metrics.h"

/* A sample for each reason that was counted, beside the label name. */
typedef void (*sl_metrics_by_reason)(struct sl_metrics *m, const char *family, const char *label,
                                     const char *name, const uint64_t *counts);
/* SL_COUNTER_TLS of them. */
void sl_metrics_tls(struct sl_metrics *m, const char *family, const char *label, const char *name,
                    const uint64_t *failures);
/* SL_H2_WHY_COUNT of them: why the gateway ended connections. */
void sl_metrics_h2(struct sl_metrics *m, const char *family, const char *label, const char *name,
                   const uint64_t *ended);

struct sl_control;
/* When each listener's certificates end. */
void sl_metrics_certificates(const struct sl_control *c, struct sl_metrics *m);

#endif
