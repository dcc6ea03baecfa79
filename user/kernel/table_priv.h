/* SPDX-License-Identifier: Apache-2.0 */
/* What a BPF map shall hold, and bringing the map to it. */
#ifndef SL_KERNEL_TABLE_PRIV_H
#define SL_KERNEL_TABLE_PRIV_H

#include "base/macros.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys and values of one map. Filled by sl_table_put, sorted once by sl_table_seal, then read. */
struct sl_table {
    const char *name; /* of the map, for messages */
    size_t key_size, value_size;
    size_t max; /* entries that the map holds */
    unsigned char *entries;
    size_t n, cap;
};
int sl_table_put(struct sl_table *t, const void *key, const void *value) SL_MUST_CHECK;
/* Sorts; of entries with the same key the one put last stays. 0, -ENOMEM, or -ENOSPC (logged) past max. */
int sl_table_seal(struct sl_table *t) SL_MUST_CHECK;
/* Of a sealed table: the value of a key, or NULL. Not aligned. */
const void *sl_table_get(const struct sl_table *t, const void *key);
const void *sl_table_key(const struct sl_table *t, size_t i);
const void *sl_table_value(const struct sl_table *t, size_t i);
void sl_table_free(struct sl_table *t);

/* Makes the map hold exactly the sealed table. No key that stays is missing for a moment. 0 or -errno. */
int sl_table_sync(const struct sl_table *t, int fd) SL_MUST_CHECK;
/* Puts all entries of a map (hash or LPM trie) into an empty table of its sizes. 0 or -errno. */
int sl_table_read(struct sl_table *t, int fd) SL_MUST_CHECK;

#endif
