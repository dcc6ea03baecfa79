/* SPDX-License-Identifier: Apache-2.0 */
/* Consumers' sources of a plan. */
#ifndef SL_KERNEL_PLAN_SOURCES_PRIV_H
#define SL_KERNEL_PLAN_SOURCES_PRIV_H

#include "kernel/plan_priv.h"

/* Fills both consumer maps and p->pinned; sets SL_HAVE_CONSUMER_SOURCES. 0 or -errno. */
int sl_plan_sources(struct sl_plan *p, const struct sl_snapshot *s,
                    struct sl_bucket_table *buckets) SL_MUST_CHECK;

#endif
