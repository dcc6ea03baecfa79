/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks for what, as limits see it: each worker counts in a table of its own the requests that reach the
 * limits, by route and asker, and which window of which limit refused them. The controller reads what has
 * come every second and makes evidence of it (evidence.h).
 *
 * Invariant: a row is written by its worker alone, and goes to another pair only once nobody has asked by it
 * for SL_DEMAND_IDLE_S, when the controller has long read it. Where a set has no such row the request is not
 * counted here, which is.
 */
#ifndef SL_TELEMETRY_DEMAND_H
#define SL_TELEMETRY_DEMAND_H

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

#define SL_DEMAND_ROWS    4096 /* pairs of a route and an asker within SL_DEMAND_IDLE_S, in each worker */
#define SL_DEMAND_WAYS    8
#define SL_DEMAND_IDLE_S  10
#define SL_DEMAND_WINDOWS 4 /* second, minute, hour, day */

/* Which of the limits that hold together: the route's, that of the consumer or its tier, that of all routes.
 */
enum sl_demand_limit { SL_DEMAND_ROUTE, SL_DEMAND_OWN, SL_DEMAND_ALL, SL_DEMAND_LIMITS };
/* Whom a limit `by: consumer` counts. */
enum sl_asker { SL_ASKER_CONSUMER = 1, SL_ASKER_NAME /* not in the policy */, SL_ASKER_ADDRESS };

struct sl_demand_row {
    _Alignas(SL_CACHE_LINE) uint64_t key; /* sl_demand_key; 0: free */
    uint32_t touched_s;
    uint32_t asked; /* this and what follows wraps: differences count */
    uint32_t refused[SL_DEMAND_LIMITS][SL_DEMAND_WINDOWS];
};

#define SL_DEMAND_ALL_ROUTES 0x3fffu /* beyond every slot: the asker, whatever it asked for */
/* route: its slot. subject: the consumer's slot, or a hash; 48 bits of it count. Never 0. */
static inline uint64_t sl_demand_key(uint32_t route, enum sl_asker kind, uint64_t subject)
{
    return (uint64_t)(route & SL_DEMAND_ALL_ROUTES) << 50 | (uint64_t)kind << 48 | (subject & 0xffffffffffff);
}
static inline uint32_t sl_demand_route(uint64_t key)
{
    return (uint32_t)(key >> 50);
}
static inline enum sl_asker sl_demand_asker(uint64_t key)
{
    return (enum sl_asker)(key >> 48 & 3);
}
static inline uint64_t sl_demand_subject(uint64_t key)
{
    return key & 0xffffffffffff;
}
/* The same asker, whatever it asked for. */
static inline uint64_t sl_demand_of_all_routes(uint64_t key)
{
    return sl_demand_key(SL_DEMAND_ALL_ROUTES, sl_demand_asker(key), sl_demand_subject(key));
}
/* Which window has so many seconds. */
static inline unsigned sl_demand_window(uint64_t seconds)
{
    return seconds < 60 ? 0 : seconds < 3600 ? 1 : seconds < 86400 ? 2 : 3;
}

/* Its worker's row of a pair; NULL: the set has no room. */
struct sl_demand_row *sl_demand_take(struct sl_demand_row rows[SL_DEMAND_ROWS], uint64_t key, uint32_t now_s);
/* What a row of another process says; false: it is free, or changes hands this moment. */
bool sl_demand_read(const struct sl_demand_row *row, struct sl_demand_row *out);

#endif
