/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_INLINE_ALL
#include "base/hash.h"

#include <errno.h>
#include <xxhash.h>

uint64_t sl_hash(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

static struct sl_map_entry *_sl_find(const struct sl_map *m, struct sl_slice key, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->entries[i].key.p && (m->entries[i].hash != hash || !sl_slice_eq(m->entries[i].key, key)))
        i = (i + 1) & (m->cap - 1);
    return &m->entries[i];
}

void *sl_map_get(const struct sl_map *m, struct sl_slice key)
{
    return m->cap ? _sl_find(m, key, sl_hash(key.p, key.n, 0))->value : NULL;
}

static void _sl_move(const struct sl_map *to, const struct sl_map_entry *e)
{
    size_t i = e->hash & (to->cap - 1);
    while (to->entries[i].key.p) /* all keys differ */
        i = (i + 1) & (to->cap - 1);
    to->entries[i] = *e;
}

static int _sl_map_grow(struct sl_map *m)
{
    struct sl_map bigger = {.cap = m->cap ? m->cap * 2 : 16, .len = m->len};
    bigger.entries = calloc(bigger.cap, sizeof(*bigger.entries));
    if (!bigger.entries)
        return -ENOMEM;
    for (size_t i = 0; i < m->cap; i++)
        if (m->entries[i].key.p)
            _sl_move(&bigger, &m->entries[i]);
    free(m->entries);
    *m = bigger;
    return 0;
}

int sl_map_add(struct sl_map *m, struct sl_slice key, void *value)
{
    if (m->len * 4 >= m->cap * 3) {
        int r = _sl_map_grow(m);
        if (r < 0)
            return r;
    }
    const uint64_t hash = sl_hash(key.p, key.n, 0);
    struct sl_map_entry *e = _sl_find(m, key, hash);
    if (e->key.p)
        return -EEXIST;
    *e = (struct sl_map_entry){.key = {key.p ? key.p : "", key.n}, .value = value, .hash = hash};
    m->len++;
    return 0;
}

void sl_map_free(struct sl_map *m)
{
    free(m->entries);
    *m = (struct sl_map){0};
}
