/* SPDX-License-Identifier: Apache-2.0 */
/* The slot of a key in the shared bucket table; see bucket.h for the invariant. */
#include "base/bucket.h"

static uint64_t _sl_load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static struct sl_bucket *_sl_slot(const struct sl_bucket_table *t, uint64_t key, size_t probe)
{
    return &t->slots[((key & ~SL_BUCKET_PINNED) + probe) & (t->n - 1)];
}

static size_t _sl_probes(const struct sl_bucket_table *t)
{
    return SL_MIN(t->n, (size_t)SL_BUCKET_PROBES);
}

/* A free slot ends the search: slots are never freed, so nothing of this key can stand behind one. */
static struct sl_bucket *_sl_find(const struct sl_bucket_table *t, uint64_t key)
{
    for (size_t i = 0; i < _sl_probes(t); i++) {
        struct sl_bucket *b = _sl_slot(t, key, i);
        const uint64_t held = _sl_load((uint64_t *)&b->key);
        if (held == key)
            return b;
        if (held == 0)
            return NULL;
    }
    return NULL;
}

/* The first free slot, else the one idle for longest; NULL when all are busy or pinned. */
static struct sl_bucket *_sl_victim(const struct sl_bucket_table *t, uint64_t key, uint64_t now,
                                    uint64_t *held)
{
    struct sl_bucket *best = NULL;
    uint64_t best_tat = now;
    for (size_t i = 0; i < _sl_probes(t); i++) {
        struct sl_bucket *b = _sl_slot(t, key, i);
        const uint64_t k = _sl_load((uint64_t *)&b->key);
        const uint64_t tat = _sl_load((uint64_t *)&b->tat);
        if (k == 0) {
            *held = 0;
            return b;
        }
        if (!(k & SL_BUCKET_PINNED) && tat < best_tat) {
            best = b;
            best_tat = tat;
            *held = k;
        }
    }
    return best;
}

static struct sl_bucket *_sl_take(struct sl_bucket_table *t, uint64_t key, uint64_t now)
{
    for (unsigned tries = 0; tries < SL_CAS_TRIES; tries++) {
        struct sl_bucket *b = _sl_find(t, key);
        if (b)
            return b;
        uint64_t held = 0;
        b = _sl_victim(t, key, now, &held);
        if (!b)
            return NULL;
        if (__sync_val_compare_and_swap(&b->key, held, key) == held && held != 0) {
            __atomic_store_n(&b->admitted, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&b->denied, 0, __ATOMIC_RELAXED);
        }
        /* Looked up again even when won: another process may have put the key into an earlier slot meanwhile.
         */
    }
    return NULL;
}

struct sl_bucket *sl_bucket_get(struct sl_bucket_table *t, uint64_t key, uint64_t now)
{
    key &= ~SL_BUCKET_PINNED;
    return _sl_take(t, key ? key : 1, now);
}

struct sl_bucket *sl_bucket_pin(struct sl_bucket_table *t, uint64_t key, uint64_t now)
{
    return _sl_take(t, key | SL_BUCKET_PINNED, now);
}

void sl_bucket_unpin(struct sl_bucket *b)
{
    const uint64_t key = _sl_load((uint64_t *)&b->key);
    /* A key of zero would make the slot free and hide what stands behind it in probe order. */
    const uint64_t plain = key & ~SL_BUCKET_PINNED;
    if (key & SL_BUCKET_PINNED)
        (void)__sync_val_compare_and_swap(&b->key, key, plain ? plain : 1);
}
