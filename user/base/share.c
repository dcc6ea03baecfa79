/* SPDX-License-Identifier: Apache-2.0 */
/* Counts beside the buckets that other hosts hear of; see share.h. */
#include "base/share.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

int sl_shares_new(size_t n, struct sl_shares *out)
{
    const size_t words = (n + 63) / 64, bytes = n * sizeof(struct sl_share) + 2 * words * sizeof(uint64_t);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    *out = (struct sl_shares){.v = p, .n = n};
    out->dirty = (uint64_t *)(void *)(out->v + n);
    out->known = out->dirty + words;
    return 0;
}

static void _sl_set(uint64_t *bits, size_t slot)
{
    const uint64_t bit = 1ull << (slot % 64);
    if (!(__atomic_load_n(&bits[slot / 64], __ATOMIC_RELAXED) & bit))
        (void)__atomic_fetch_or(&bits[slot / 64], bit, __ATOMIC_RELEASE);
}

static void _sl_store(uint64_t *p, uint64_t v)
{
    if (__atomic_load_n(p, __ATOMIC_RELAXED) != v)
        __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

void sl_share_admitted(const struct sl_shares *s, size_t slot, const struct sl_share *what)
{
    struct sl_share *o = &s->v[slot];
    if (__atomic_load_n(&o->key, __ATOMIC_RELAXED) != what->key) {
        _sl_store(&o->admitted, 0);
        _sl_store(&o->key, what->key);
        _sl_set(s->known, slot);
    }
    _sl_store(&o->interval_ns, what->interval_ns);
    _sl_store(&o->tolerance_ns, what->tolerance_ns);
    (void)__atomic_fetch_add(&o->admitted, what->admitted, __ATOMIC_RELAXED);
    sl_shares_set_dirty(s, slot);
}

void sl_shares_set_dirty(const struct sl_shares *s, size_t slot)
{
    _sl_set(s->dirty, slot);
}

size_t sl_shares_next_dirty(const struct sl_shares *s, size_t from)
{
    for (size_t word = from / 64; word * 64 < s->n; word++, from = word * 64) {
        const uint64_t bits = __atomic_load_n(&s->dirty[word], __ATOMIC_RELAXED) & ~0ull << (from % 64);
        if (!bits)
            continue;
        const size_t slot = word * 64 + (size_t)__builtin_ctzll(bits);
        (void)__atomic_fetch_and(&s->dirty[word], ~(1ull << (slot % 64)), __ATOMIC_ACQUIRE);
        return slot;
    }
    return s->n;
}

void sl_shares_all_dirty(const struct sl_shares *s)
{
    for (size_t word = 0; word * 64 < s->n; word++)
        if (s->known[word])
            (void)__atomic_fetch_or(&s->dirty[word], __atomic_load_n(&s->known[word], __ATOMIC_RELAXED),
                                    __ATOMIC_RELEASE);
}

void sl_share_advance(struct sl_bucket *b, uint64_t tat)
{
    uint64_t was = __atomic_load_n((uint64_t *)&b->tat, __ATOMIC_RELAXED);
    while (was < tat && !__atomic_compare_exchange_n((uint64_t *)&b->tat, &was, tat, false, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED))
        ;
}
