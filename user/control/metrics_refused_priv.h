/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_CONTROL_METRICS_REFUSED_PRIV_H
#define SL_CONTROL_METRICS_REFUSED_PRIV_H

#include "telemetry/metrics.h"
#include <stdint.h>

/* One sample a reason. counts: refused_by of a listener's row. */
void sl_metrics_refusals(struct sl_metrics *m, const char *family, const char *label, const char *name,
                         const uint64_t *counts);

#endif
