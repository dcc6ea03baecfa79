/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing Prometheus text, version 0.0.4. Invariant: no more samples than `left` allowed at first are
 * written, and a histogram is written whole or not at all.
 */
#ifndef SL_TELEMETRY_METRICS_H
#define SL_TELEMETRY_METRICS_H

#include "base/buf.h"
#include "telemetry/counters.h"

#define SL_HISTOGRAM_SERIES (SL_HISTOGRAM_BUCKETS + 2)

struct sl_metrics {
    struct sl_buf *out;
    uint32_t left; /* samples that may still be written */
    uint64_t cut;  /* samples that found no room */
    int error;     /* 0 or -ENOMEM: nothing more is written */
};

/* HELP and TYPE; "sluice_" is put before every name. help is one line. */
void sl_metrics_family(struct sl_metrics *m, const char *name, const char *type, const char *help);
/* labels: name, value, …, NULL; or NULL. */
void sl_metrics_sample(struct sl_metrics *m, const char *name, const char *const *labels, double value);
/* A family of one sample without labels. */
void sl_metrics_one(struct sl_metrics *m, const char *name, const char *type, const char *help, double value);
/* Buckets, sum and count of a histogram with at most one label (name, value, NULL; or NULL). */
void sl_metrics_histogram(struct sl_metrics *m, const char *name, const char *const *label,
                          const struct sl_histogram *h);

#endif
