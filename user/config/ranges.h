/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranges of allow and deny that stand in files, sorted by address, then length; none stands twice with
 * one verdict, and where both verdicts stand, allow comes last. Packed, since there may be millions.
 */
#ifndef SL_CONFIG_RANGES_H
#define SL_CONFIG_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_range6 {
    uint64_t hi, lo; /* host order */
    uint64_t tail;   /* length << 8 | 1 if allowed */
};
struct sl_ranges {
    uint64_t *v4; /* address << 32 | length << 8 | 1 if allowed */
    struct sl_range6 *v6;
    size_t n4, n6, cap4, cap6;
    size_t doubled, covered; /* left out; lie in a shorter one of the same verdict */
};
struct sl_range { /* one of either family; an IPv4 address stands in the upper half of hi */
    uint64_t hi, lo;
    unsigned len;
    bool allow;
};
struct sl_range sl_ranges_at(const struct sl_ranges *r, bool ipv6, size_t i);
void sl_ranges_free(struct sl_ranges *r);
struct sl_snapshot;
/* Once they are in the kernel. */
void sl_snapshot_drop_ranges(struct sl_snapshot *s);
struct sl_range_counts {
    size_t allow, deny;
};
struct sl_range_counts sl_ranges_count(const struct sl_ranges *r, bool ipv6);

#endif
