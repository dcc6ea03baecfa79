/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded hashing (XXH3), and a map from names to pointers. Seeds are random per boot: keys come from clients.
 */
#ifndef SL_BASE_HASH_H
#define SL_BASE_HASH_H

#include "base/macros.h"
#include "base/slice.h"

uint64_t sl_hash(const void *p, size_t n, uint64_t seed);

/* Names to pointers; keys and values are borrowed. Zero-initialised is empty. */
struct sl_map_entry {
    struct sl_slice key;
    void *value;
    uint64_t
        hash; /* looked at before the key is: that is another line of the cache, and growing needs none */
};
struct sl_map {
    struct sl_map_entry *entries; /* open addressing, cap a power of two; key.p NULL: free */
    size_t len, cap;
};

/* NULL where there is none. */
void *sl_map_get(const struct sl_map *m, struct sl_slice key);
/* 0; -EEXIST where the key is there already (nothing changed); -ENOMEM. value must not be NULL. */
int sl_map_add(struct sl_map *m, struct sl_slice key, void *value) SL_MUST_CHECK;
void sl_map_free(struct sl_map *m);

#endif
