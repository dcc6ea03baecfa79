/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/metrics.h"

#include <stdio.h>
#include <string.h>

static void _sl_text(struct sl_metrics *m, const char *s)
{
    if (m->error == 0)
        m->error = sl_buf_append(m->out, s, strlen(s));
}

void sl_metrics_family(struct sl_metrics *m, const char *name, const char *type, const char *help)
{
    if (m->error == 0)
        m->error =
            sl_buf_printf(m->out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

/* A label's value: the format wants backslash, quote and newline escaped. */
static void _sl_value(struct sl_metrics *m, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            _sl_text(m, "\\n");
        else {
            if (*s == '\\' || *s == '"')
                _sl_text(m, "\\");
            if (m->error == 0)
                m->error = sl_buf_append(m->out, s, 1);
        }
    }
}

static void _sl_labels(struct sl_metrics *m, const char *const *labels)
{
    for (unsigned i = 0; labels && labels[i]; i += 2) {
        _sl_text(m, i ? "," : "{");
        _sl_text(m, labels[i]);
        _sl_text(m, "=\"");
        _sl_value(m, labels[i + 1]);
        _sl_text(m, "\"");
    }
    if (labels && labels[0])
        _sl_text(m, "}");
}

void sl_metrics_sample(struct sl_metrics *m, const char *name, const char *const *labels, double value)
{
    char text[40];
    bool whole = value >= 0 && value < 0x1p53 && value == (double)(uint64_t)value;
    if (m->left == 0) {
        m->cut++;
        return;
    }
    m->left--;
    _sl_text(m, "sluice_");
    _sl_text(m, name);
    _sl_labels(m, labels);
    (void)snprintf(text, sizeof(text), whole ? " %.0f\n" : " %.15g\n", value);
    _sl_text(m, text);
}

void sl_metrics_one(struct sl_metrics *m, const char *name, const char *type, const char *help, double value)
{
    sl_metrics_family(m, name, type, help);
    sl_metrics_sample(m, name, NULL, value);
}

void sl_metrics_histogram(struct sl_metrics *m, const char *name, const char *const *label,
                          const struct sl_histogram *h)
{
    char bucket[64], sum[64], count[64], le[24];
    const char *labels[] = {"le", le, NULL, NULL, NULL};
    uint64_t seen = 0;
    if (m->left < SL_HISTOGRAM_SERIES) {
        m->cut += SL_HISTOGRAM_SERIES;
        return;
    }
    if (label && label[0]) {
        labels[2] = label[0];
        labels[3] = label[1];
    }
    (void)snprintf(bucket, sizeof(bucket), "%s_bucket", name);
    (void)snprintf(sum, sizeof(sum), "%s_sum", name);
    (void)snprintf(count, sizeof(count), "%s_count", name);
    for (unsigned i = 0; i < SL_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (i < SL_HISTOGRAM_BUCKETS - 1)
            (void)snprintf(le, sizeof(le), "%g", (double)sl_histogram_bounds_us[i] / 1e6);
        else
            (void)snprintf(le, sizeof(le), "+Inf");
        sl_metrics_sample(m, bucket, labels, (double)seen);
    }
    sl_metrics_sample(m, sum, label, (double)h->sum_us / 1e6);
    sl_metrics_sample(m, count, label, (double)seen);
}
