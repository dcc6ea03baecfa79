/* SPDX-License-Identifier: Apache-2.0 */
/* Counters summed over the workers: every field of these structs is a u64, which the asserts hold on to. */
#include "control/control_priv.h"

void sl_totals_add(void *sum, const void *part, size_t bytes)
{
    uint64_t *s = sum;
    const volatile uint64_t *p = part; /* its worker goes on writing */
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        s[i] += p[i];
}

_Static_assert(sizeof(struct sl_totals) % sizeof(uint64_t) == 0, "summed as an array of u64");
_Static_assert(sizeof(struct sl_route_counters) % sizeof(uint64_t) == 0, "summed as an array of u64");

void sl_totals_sum(const struct sl_counters *c, struct sl_totals *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < sl_counters_blocks(c); i++) {
        const struct sl_worker_counters *b = &c->blocks[i];
        sl_totals_add(out->listeners, b->listeners, sizeof(out->listeners));
        sl_totals_add(out->tiers, b->tiers, sizeof(out->tiers));
        sl_totals_add(out->upstreams, b->upstreams, sizeof(out->upstreams));
    }
}

void sl_totals_route(const struct sl_counters *c, uint32_t slot, struct sl_route_counters *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < sl_counters_blocks(c); i++)
        sl_totals_add(out, &c->blocks[i].routes[sl_slot(slot, SL_COUNTER_ROUTES)], sizeof(*out));
}
