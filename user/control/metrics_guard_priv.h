/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_CONTROL_METRICS_GUARD_PRIV_H
#define SL_CONTROL_METRICS_GUARD_PRIV_H

#include "telemetry/metrics.h"

struct sl_control;
/* Appends the guard's gauges to the page. */
void sl_metrics_guard(const struct sl_control *c, struct sl_metrics *m);
/* Appends what came for each listener, and its fate. Returns how many series were added to "other". */
uint64_t sl_metrics_listeners(const struct sl_control *c, struct sl_metrics *m);
/* Appends what consumers moved, by name, with what room is left: to be called last. Returns how many series
 * were added to "other". */
uint64_t sl_metrics_consumers(const struct sl_control *c, struct sl_metrics *m);

#endif
