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

/*
 * The slot of the key (*held is the key); else where it may stand: the first free one (*held is 0), else the
 * one idle for longest (*held is whose it is). NULL when all are busy or pinned.
 *
 * One pass for both: slots are never freed, so whoever wins the free slot that ended it knows that nobody has
 * put the key before it. A second look for a free slot would pass by the key that was put into the first one
 * meanwhile, and put it behind once more.
 */
static struct sl_bucket *_sl_search(const struct sl_bucket_table *t, uint64_t key, uint64_t now,
                                    uint64_t *held)
{
    struct sl_bucket *best = NULL;
    uint64_t best_tat = now;
    for (size_t i = 0; i < _sl_probes(t); i++) {
        struct sl_bucket *b = _sl_slot(t, key, i);
        const uint64_t k = _sl_load((uint64_t *)&b->key);
        if (k == key || k == 0) {
            *held = k;
            return b;
        }
        const uint64_t tat = _sl_load((uint64_t *)&b->tat);
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
        uint64_t held = 0;
        struct sl_bucket *b = _sl_search(t, key, now, &held);
        if (!b || held == key)
            return b;
        if (__sync_val_compare_and_swap(&b->key, held, key) == held && held != 0) {
            /* its former key was debited since we looked: that debt is neither ours nor to be lost */
            if (_sl_load((uint64_t *)&b->tat) >= now) {
                (void)__sync_val_compare_and_swap(&b->key, key, held);
                continue;
            }
            __atomic_store_n(&b->admitted, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&b->denied, 0, __ATOMIC_RELAXED);
        }
        /* Looked up again even when won: of two processes that reuse idle slots the earlier slot counts. */
    }
    return NULL;
}

struct sl_bucket *sl_bucket_get(struct sl_bucket_table *t, uint64_t key, uint64_t now)
{
    return _sl_take(t, sl_bucket_key(key), now);
}

struct sl_bucket *sl_bucket_find(const struct sl_bucket_table *t, uint64_t key)
{
    for (size_t i = 0; i < _sl_probes(t); i++) {
        struct sl_bucket *b = _sl_slot(t, key, i);
        const uint64_t k = _sl_load((uint64_t *)&b->key);
        if (k == key)
            return b;
        if (k == 0)
            return NULL;
    }
    return NULL;
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
