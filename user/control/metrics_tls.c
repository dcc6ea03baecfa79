/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says of TLS. */
#include "control/metrics_tls_priv.h"
#include "net/tls.h"

void sl_metrics_tls(struct sl_metrics *m, const char *family, const char *label, const char *name,
                    const uint64_t *failures)
{
    for (unsigned i = 0; i < SL_TLS_FAILED_COUNT; i++) {
        const char *const labels[] = {"reason", sl_tls_failure_name((enum sl_tls_failure)i), label, name,
                                      NULL};
        if (failures[i])
            sl_metrics_sample(m, family, labels, (double)failures[i]);
    }
}
