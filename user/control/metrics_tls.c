/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says of TLS, and of HTTP/2 connections that came to an end. */
#include "control/control_priv.h"
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

void sl_metrics_h2(struct sl_metrics *m, const char *family, const char *label, const char *name,
                   const uint64_t *ended)
{
    for (unsigned i = 0; i < SL_H2_WHY_COUNT; i++) {
        const char *const labels[] = {"reason", sl_h2_why_name((enum sl_h2_why)i), label, name, NULL};
        if (ended[i])
            sl_metrics_sample(m, family, labels, (double)ended[i]);
    }
}

void sl_metrics_certificates(const struct sl_control *c, struct sl_metrics *m)
{
    static const char family[] = "tls_certificate_expiry_timestamp_seconds";
    sl_metrics_family(m, family, "gauge", "when the certificate ends, Unix time");
    for (size_t i = 0; i < c->snapshot->n_listeners; i++) {
        const struct sl_listener *l = &c->snapshot->listeners[i];
        for (size_t k = 0; k < l->tls.n_certificates; k++) {
            const struct sl_certificate *cert = &l->tls.certificates[k];
            sl_metrics_sample(m, family,
                              (const char *const[]){"listener", l->name, "certificate",
                                                    cert->cert.path ? cert->cert.path : "", NULL},
                              (double)cert->not_after);
        }
    }
}
