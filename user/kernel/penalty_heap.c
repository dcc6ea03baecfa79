/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which penalty ends first, for when the table is full: a binary heap of (deadline, key) beside the map.
 *
 * Invariant: once built, for each entry of the map that may give way there is a note with the deadline that
 * userspace wrote last. Notes are not taken out when an entry goes or gets a later deadline: whoever takes
 * the first one compares it with the map. So a change costs O(log n), and the heap is built anew from the
 * map, in O(n), only once in SL_MAX_PENALTIES changes. (Entries that the program has ended before their time
 * are cleared away by the sweep.)
 */
#include "kernel/penalty_heap_priv.h"

#include <errno.h>
#include <stdlib.h>

static void _sl_swap(struct sl_penalty_note *a, struct sl_penalty_note *b)
{
    const struct sl_penalty_note t = *a;
    *a = *b;
    *b = t;
}

int sl_penalty_heap_push(struct sl_penalty_heap *h, const struct sl_penalty_key *key, uint64_t deadline_ns)
{
    if (!h->v && !(h->v = calloc(SL_PENALTY_NOTES, sizeof(*h->v))))
        return -ENOMEM;
    if (h->n == SL_PENALTY_NOTES)
        return -ENOSPC;
    size_t i = h->n++;
    h->v[i] = (struct sl_penalty_note){.deadline_ns = deadline_ns, .key = *key};
    for (; i && h->v[(i - 1) / 2].deadline_ns > h->v[i].deadline_ns; i = (i - 1) / 2)
        _sl_swap(&h->v[i], &h->v[(i - 1) / 2]);
    return 0;
}

const struct sl_penalty_note *sl_penalty_heap_first(const struct sl_penalty_heap *h)
{
    return h->n ? &h->v[0] : NULL;
}

void sl_penalty_heap_pop(struct sl_penalty_heap *h)
{
    if (!h->n)
        return;
    h->v[0] = h->v[--h->n];
    for (size_t i = 0, child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->v[child + 1].deadline_ns < h->v[child].deadline_ns)
            child++;
        if (h->v[i].deadline_ns <= h->v[child].deadline_ns)
            break;
        _sl_swap(&h->v[i], &h->v[child]);
    }
}

void sl_penalty_heap_free(struct sl_penalty_heap *h)
{
    free(h->v);
    *h = (struct sl_penalty_heap){0};
}
