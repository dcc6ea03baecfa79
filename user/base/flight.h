/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of something is under way at once, over all workers: a table in shared memory in which each worker
 * has a column of its own, so that what a worker held when it died can be struck out whole.
 *
 * Invariant: the sum over a row's columns is what is held under that row's key, plus what a worker holds for
 * the instant in which it looks whether it may. So a limit is never passed; of two that ask for the last
 * place at the same moment both may be asked to try again, which they do here.
 */
#ifndef SL_BASE_FLIGHT_H
#define SL_BASE_FLIGHT_H

#include "base/macros.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_FLIGHT_ROWS    16384 /* a power of two */
#define SL_FLIGHT_COLUMNS 256   /* workers */
#define SL_FLIGHT_PROBES  16
#define SL_FLIGHT_MAX     65535 /* that one worker can hold in one row */

/* All zero when new. A row whose sum is 0 may be given to another key. */
struct sl_flights {
    uint64_t keys[SL_FLIGHT_ROWS]; /* 0: free */
    uint16_t held[SL_FLIGHT_ROWS][SL_FLIGHT_COLUMNS];
};

enum sl_flight_result {
    SL_FLIGHT_TAKEN,   /* *row is held, until sl_flight_give */
    SL_FLIGHT_REFUSED, /* max are held already */
    SL_FLIGHT_FULL,    /* no row for the key could be had: nothing is held */
};

/* One more under a key, by worker self (< workers <= SL_FLIGHT_COLUMNS), if that makes no more than max. */
enum sl_flight_result sl_flight_take(struct sl_flights *t, uint32_t workers, uint32_t self, uint64_t key,
                                     uint32_t max, uint32_t *row);
void sl_flight_give(struct sl_flights *t, uint32_t self, uint32_t row);
/* What is held under a key by all workers. */
uint32_t sl_flight_held(const struct sl_flights *t, uint32_t workers, uint64_t key);
/* Strikes out what a worker held that is no more. */
void sl_flights_forget(struct sl_flights *t, uint32_t worker);

#endif
