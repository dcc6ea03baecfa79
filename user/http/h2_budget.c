/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may have for nothing: frames that cost us work and bring no request forward. Each kind has a
 * bucket that drains with time; whoever fills it is disconnected with ENHANCE_YOUR_CALM (RFC 9113 section
 * 10.5). The numbers leave honest clients a wide margin: a page with a hundred requests that is left at once
 * resets a hundred streams; gRPC sends a PING for what it has received at most once a round trip.
 */
#include "base/clock.h"
#include "http/h2_priv.h"

static const struct {
    uint32_t burst, per_s;
    enum sl_h2_why why;
} _sl_costs[SL_H2_COSTS] = {
    [SL_H2_COST_RESET] = {200, 10, SL_H2_WHY_RESET_FLOOD}, /* burst: at least twice the streams */
    [SL_H2_COST_SETTINGS] = {16, 1, SL_H2_WHY_SETTINGS_FLOOD},
    [SL_H2_COST_PING] = {100, 10, SL_H2_WHY_PING_FLOOD},
    [SL_H2_COST_EMPTY] = {100, 10, SL_H2_WHY_EMPTY_FLOOD},
    [SL_H2_COST_PRIORITY] = {500, 50, SL_H2_WHY_PRIORITY_FLOOD},
    [SL_H2_COST_WINDOW] = {2000, 100, SL_H2_WHY_WINDOW_FLOOD},
    [SL_H2_COST_CLOSED] = {1000, 100, SL_H2_WHY_CLOSED_FLOOD},
};

static uint32_t _sl_burst(const struct sl_h2_budgets *b, enum sl_h2_cost what)
{
    const uint32_t burst = _sl_costs[what].burst;
    return what == SL_H2_COST_RESET ? SL_MAX(burst, 2 * b->streams) : burst;
}

enum sl_h2_why sl_h2_spend(struct sl_h2_budgets *b, enum sl_h2_cost what, uint64_t now)
{
    uint32_t *spent = &b->of[what].spent;
    const uint64_t drained = (now - b->of[what].at) / SL_NS_PER_MS * _sl_costs[what].per_s;
    if (drained) {
        *spent = drained < *spent ? *spent - (uint32_t)drained : 0;
        b->of[what].at = now;
    }
    *spent += 1000;
    return *spent > _sl_burst(b, what) * 1000 ? _sl_costs[what].why : SL_H2_WHY_NONE;
}

void sl_h2_earn(struct sl_h2_budgets *b, enum sl_h2_cost what, uint32_t n)
{
    b->of[what].spent -= SL_MIN(b->of[what].spent, n * 1000);
}
