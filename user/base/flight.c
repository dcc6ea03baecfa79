/* SPDX-License-Identifier: Apache-2.0 */
/* Rows found, taken over and counted; see flight.h for the invariant. Atomics are sequentially consistent:
 * "I hold one" must be seen before "how many are held" is asked. */
#include "base/flight.h"

#define SL_NO_ROW       UINT32_MAX
#define SL_FLIGHT_TRIES 16

static uint32_t _sl_sum(const struct sl_flights *t, uint32_t workers, uint32_t row)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < workers; i++)
        sum += __atomic_load_n(&t->held[row][i], __ATOMIC_SEQ_CST);
    return sum;
}

static uint64_t _sl_key(const struct sl_flights *t, uint32_t row)
{
    return __atomic_load_n(&t->keys[row], __ATOMIC_SEQ_CST);
}

static uint32_t _sl_row(uint64_t key, uint32_t probe)
{
    return (uint32_t)(key + probe) & (SL_FLIGHT_ROWS - 1);
}

/* A row of another key that nobody holds becomes this key's. Who held something of the former key after we
 * had looked gets his row back: he counts by its number, and his key must be found there. */
static bool _sl_take_over(struct sl_flights *t, uint32_t workers, uint32_t row, uint64_t was, uint64_t key)
{
    if ((was && _sl_sum(t, workers, row)) || !__sync_bool_compare_and_swap(&t->keys[row], was, key))
        return false;
    if (!was || !_sl_sum(t, workers, row))
        return true;
    (void)__sync_bool_compare_and_swap(&t->keys[row], key, was);
    return false;
}

/* The key's row, else the first that can be had; keys are never taken out, so a free row ends the search. */
static uint32_t _sl_search(struct sl_flights *t, uint32_t workers, uint64_t key)
{
    uint32_t idle[SL_FLIGHT_PROBES], n = 0;
    for (uint32_t i = 0; i < SL_FLIGHT_PROBES; i++) {
        const uint32_t row = _sl_row(key, i);
        const uint64_t k = _sl_key(t, row);
        if (k == key)
            return row;
        idle[n++] = row;
        if (!k)
            break;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t was = _sl_key(t, idle[i]);
        if (was == key || _sl_take_over(t, workers, idle[i], was, key))
            return idle[i];
    }
    return SL_NO_ROW;
}

enum sl_flight_result sl_flight_take(struct sl_flights *t, uint32_t workers, uint32_t self, uint64_t key,
                                     uint32_t max, uint32_t *row)
{
    key = key ? key : 1;
    for (unsigned tries = 0; tries < SL_FLIGHT_TRIES; tries++) {
        const uint32_t r = _sl_search(t, workers, key);
        if (r == SL_NO_ROW)
            return SL_FLIGHT_FULL;
        uint16_t *mine = &t->held[r][self];
        if (*mine == SL_FLIGHT_MAX)
            return SL_FLIGHT_REFUSED;
        (void)__atomic_add_fetch(mine, 1, __ATOMIC_SEQ_CST);
        const uint32_t sum = _sl_sum(t, workers, r);
        if (_sl_key(t, r) == key && sum <= max) {
            *row = r;
            return SL_FLIGHT_TAKEN;
        }
        (void)__atomic_sub_fetch(mine, 1, __ATOMIC_SEQ_CST);
        if (_sl_key(t, r) == key && _sl_sum(t, workers, r) >= max)
            return SL_FLIGHT_REFUSED;
    }
    return SL_FLIGHT_REFUSED;
}

void sl_flight_give(struct sl_flights *t, uint32_t self, uint32_t row)
{
    (void)__atomic_sub_fetch(&t->held[row][self], 1, __ATOMIC_SEQ_CST);
}

uint32_t sl_flight_held(const struct sl_flights *t, uint32_t workers, uint64_t key)
{
    key = key ? key : 1;
    for (uint32_t i = 0; i < SL_FLIGHT_PROBES; i++)
        if (_sl_key(t, _sl_row(key, i)) == key)
            return _sl_sum(t, workers, _sl_row(key, i));
    return 0;
}

void sl_flights_forget(struct sl_flights *t, uint32_t worker)
{
    /* only rows that were ever used: the others' pages are not there yet */
    for (uint32_t row = 0; row < SL_FLIGHT_ROWS; row++)
        if (_sl_key(t, row))
            __atomic_store_n(&t->held[row][worker], 0, __ATOMIC_SEQ_CST);
}
