/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What former processes counted, over a binary upgrade. Invariant: the last block is the sum of the region
 * before, whose own last block is in that sum, so that no total ever goes back. It is made anew as long as
 * the processes before still count, and a last time without their gauges.
 */
#include "telemetry/counters.h"

#include "base/hash.h"

#include <stddef.h>
#include <string.h>

/* Raised where a row's fields change their meaning and not their size. */
#define SL_LAYOUT 2

uint64_t sl_counters_layout(void)
{
    const uint64_t sizes[] = {SL_LAYOUT,
                              sizeof(struct sl_worker_counters),
                              offsetof(struct sl_worker_counters, listeners),
                              sizeof(struct sl_listener_counters),
                              sizeof(struct sl_route_counters),
                              sizeof(struct sl_tier_counters),
                              sizeof(struct sl_upstream_counters),
                              sizeof(struct sl_target_counters),
                              sizeof(struct sl_shared)};
    uint64_t h = sl_hash(sizes, sizeof(sizes), 0);
    for (unsigned i = 0; i < SL_WHY_COUNT; i++) {
        const char *name = sl_proxy_reason_name(i);
        h = sl_hash(name, strlen(name), h);
    }
    for (unsigned i = 0; i < SL_H2_WHY_COUNT; i++) {
        const char *name = sl_h2_why_name(i);
        h = sl_hash(name, strlen(name), h);
    }
    return h;
}

static void _sl_add(void *sum, const void *part, size_t bytes)
{
    uint64_t *s = sum;
    const volatile uint64_t *p = part; /* its worker goes on writing */
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        s[i] += p[i];
}

static void _sl_row(void *to, const struct sl_counters *from, size_t at, size_t bytes)
{
    uint64_t sum[SL_MAX(sizeof(struct sl_route_counters),
                        SL_MAX(sizeof(struct sl_upstream_counters), sizeof(struct sl_listener_counters))) /
                 sizeof(uint64_t)] = {0};
    for (uint32_t i = 0; i < sl_counters_blocks(from); i++)
        _sl_add(sum, (const char *)&from->blocks[i] + at, bytes);
    memcpy((char *)to + at, sum, bytes); /* each field at once: who reads meanwhile sees no total fall */
}

static void _sl_rows(void *to, const struct sl_counters *from, size_t at, size_t bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        _sl_row(to, from, at + i * bytes, bytes);
}

static void _sl_no_gauges(struct sl_worker_counters *b, const struct sl_counter_rows *rows)
{
    b->arena_bytes = b->buffer_bytes = 0;
    for (size_t i = 0; i < rows->listeners; i++)
        b->listeners[i].active = b->listeners[i].tunnels_active = 0;
    for (size_t i = 0; i < rows->upstreams; i++)
        b->upstreams[i].active = b->upstreams[i].idle = b->upstreams[i].pending = 0;
    for (size_t i = 0; i < rows->targets; i++)
        b->targets[i].active = 0;
}

#define SL_ROWS(to, from, rows, field, max)                        \
    _sl_rows(to, from, offsetof(struct sl_worker_counters, field), \
             sizeof(((struct sl_worker_counters *)0)->field[0]), SL_MIN((rows)->field, (size_t)(max)))

void sl_counters_carry(struct sl_counters *to, const struct sl_counters *from,
                       const struct sl_counter_rows *rows, bool gauges)
{
    struct sl_worker_counters *b = &to->blocks[to->workers];
    const size_t first = offsetof(struct sl_worker_counters, loop_turns);
    _sl_row(b, from, first, offsetof(struct sl_worker_counters, listeners) - first);
    SL_ROWS(b, from, rows, listeners, SL_COUNTER_LISTENERS);
    SL_ROWS(b, from, rows, tiers, SL_COUNTER_TIERS);
    SL_ROWS(b, from, rows, upstreams, SL_COUNTER_UPSTREAMS);
    SL_ROWS(b, from, rows, targets, SL_COUNTER_TARGETS);
    SL_ROWS(b, from, rows, routes, SL_COUNTER_ROUTES);
    if (!gauges)
        _sl_no_gauges(b, rows);
}
