/* SPDX-License-Identifier: Apache-2.0 */
/* The sources and prefixes that send most, out of the guard's tables: what bpf/lib/top.h says is certain. */
#ifndef SL_KERNEL_TOP_H
#define SL_KERNEL_TOP_H

#include "base/ip.h"
#include "sluice/abi.h"

#define SL_TOP_MAX 100

/* Of the packets in the window that runs and the one before; estimates, since one in SL_TOP_ONE_IN is
 * counted: both bounds are already multiplied by it. */
struct sl_top_entry {
    struct sl_cidr who;
    uint64_t at_least, at_most;
};

/* The table out of its copies, one a CPU and window; pure. Highest first, at most max: how many. */
size_t sl_top_merge(const struct sl_top_table *tables, size_t n_tables, enum sl_top_kind kind,
                    uint32_t window, struct sl_top_entry *out, size_t max);
/* Reads it, as of now (CLOCK_MONOTONIC): how many, or -errno. */
int sl_top_read(int fd, enum sl_top_kind kind, uint64_t now_ns, struct sl_top_entry *out, size_t max);
/* What sl_top_read's counts are of. */
double sl_top_seconds(uint64_t now_ns);

#endif
