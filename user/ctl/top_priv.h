/* SPDX-License-Identifier: Apache-2.0 */
/* What `top` shows: a pure function of two samples. */
#ifndef SL_CTL_TOP_PRIV_H
#define SL_CTL_TOP_PRIV_H

#include "ctl/ctl_priv.h"

struct sl_top_sample {
    json_t *top;    /* GET /v1/top: counters since the start, by name */
    json_t *status; /* GET /v1/status */
    json_t *more;   /* what the view has beside: GET /v1/samples, /v1/top/sources; or NULL */
    uint64_t at_ns; /* CLOCK_MONOTONIC, ours */
};

/* Lines of text for at most `rows` rows (0: no end). 0 or -ENOMEM. */
int sl_top_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                struct sl_buf *out) SL_MUST_CHECK;
/* {"seconds": S, "rates": the same tree per second, "totals": the counters}. NULL when memory is out. */
json_t *sl_top_json(const struct sl_top_sample *before, const struct sl_top_sample *now);

/* `top drops`: kernel reasons by their rate, and the latest samples. 0 or -ENOMEM, as the next. */
int sl_top_drops_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                      struct sl_buf *out) SL_MUST_CHECK;
json_t *sl_top_drops_json(const struct sl_top_sample *before, const struct sl_top_sample *now);
/* `top sources`: who sends most. */
int sl_top_sources_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                        struct sl_buf *out) SL_MUST_CHECK;
int sl_top_prefixes_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                         struct sl_buf *out) SL_MUST_CHECK;
json_t *sl_top_sources_json(const struct sl_top_sample *before, const struct sl_top_sample *now);

/* The q-quantile in seconds, interpolated within its bucket, of counts that are not cumulative; one more
 * bucket than bounds. -1 where nothing was counted. */
double sl_top_percentile(const json_t *bounds, const json_t *buckets, double q);

#endif
