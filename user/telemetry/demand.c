/* SPDX-License-Identifier: Apache-2.0 */
/* One table of demand.h: its worker's side, and its reader's. */
#include "telemetry/demand.h"

#include <string.h>

static size_t _sl_set(uint64_t key)
{
    return (size_t)(key * 0x9e3779b97f4a7c15ull >> 40) % (SL_DEMAND_ROWS / SL_DEMAND_WAYS) * SL_DEMAND_WAYS;
}

/* Free while it is emptied, so that no reader takes another's counts for its. */
static void _sl_give(struct sl_demand_row *row, uint64_t key)
{
    __atomic_store_n(&row->key, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    row->asked = 0;
    memset(row->refused, 0, sizeof(row->refused));
    __atomic_store_n(&row->key, key, __ATOMIC_RELEASE);
}

struct sl_demand_row *sl_demand_take(struct sl_demand_row rows[SL_DEMAND_ROWS], uint64_t key, uint32_t now_s)
{
    struct sl_demand_row *set = &rows[_sl_set(key)], *row = NULL;
    for (size_t i = 0; i < SL_DEMAND_WAYS; i++) {
        if (set[i].key == key) {
            row = &set[i];
            break;
        }
        if (!row && (set[i].key == 0 || now_s - set[i].touched_s > SL_DEMAND_IDLE_S))
            row = &set[i];
    }
    if (row && row->key != key)
        _sl_give(row, key);
    if (row)
        row->touched_s = now_s;
    return row;
}

/* That its key went and came back meanwhile cannot be: it takes SL_DEMAND_IDLE_S twice. */
bool sl_demand_read(const struct sl_demand_row *row, struct sl_demand_row *out)
{
    out->key = __atomic_load_n(&row->key, __ATOMIC_ACQUIRE);
    if (!out->key)
        return false;
    out->touched_s = __atomic_load_n(&row->touched_s, __ATOMIC_RELAXED);
    out->asked = __atomic_load_n(&row->asked, __ATOMIC_RELAXED);
    for (unsigned l = 0; l < SL_DEMAND_LIMITS; l++)
        for (unsigned w = 0; w < SL_DEMAND_WINDOWS; w++)
            out->refused[l][w] = __atomic_load_n(&row->refused[l][w], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&row->key, __ATOMIC_RELAXED) == out->key;
}
