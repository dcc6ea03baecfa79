/* SPDX-License-Identifier: Apache-2.0 */
/* Penalties by their end, the nearest first. */
#ifndef SL_KERNEL_PENALTY_HEAP_PRIV_H
#define SL_KERNEL_PENALTY_HEAP_PRIV_H

#include "base/macros.h"
#include "sluice/abi.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many again as the table holds: room for notes that no longer hold. */
#define SL_PENALTY_NOTES (2 * SL_MAX_PENALTIES)

struct sl_penalty_note {
    uint64_t deadline_ns;
    struct sl_penalty_key key;
};
struct sl_penalty_heap {
    bool built;                /* from the map: kept from then on */
    struct sl_penalty_note *v; /* NULL: none yet; else SL_PENALTY_NOTES */
    size_t n;
};
/* 0, -ENOMEM or -ENOSPC (nothing changed). */
int sl_penalty_heap_push(struct sl_penalty_heap *h, const struct sl_penalty_key *key,
                         uint64_t deadline_ns) SL_MUST_CHECK;
/* The nearest deadline, or NULL. Valid until the next change. */
const struct sl_penalty_note *sl_penalty_heap_first(const struct sl_penalty_heap *h);
void sl_penalty_heap_pop(struct sl_penalty_heap *h);
/* Empty and not built. */
void sl_penalty_heap_free(struct sl_penalty_heap *h);

#endif
