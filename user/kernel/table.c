/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables are sorted arrays: a policy with tens of thousands of prefixes is compared with its map by binary
 * search. Each entry is key, value and the number it was put in as.
 */
#include "base/log.h"
#include "kernel/table_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static size_t _sl_stride(const struct sl_table *t)
{
    return t->key_size + t->value_size + sizeof(uint32_t);
}

static unsigned char *_sl_at(const struct sl_table *t, size_t i)
{
    return t->entries + i * _sl_stride(t);
}

const void *sl_table_key(const struct sl_table *t, size_t i)
{
    return _sl_at(t, i);
}

const void *sl_table_value(const struct sl_table *t, size_t i)
{
    return _sl_at(t, i) + t->key_size;
}

int sl_table_put(struct sl_table *t, const void *key, const void *value)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? t->cap * 2 : 64;
        void *bigger = reallocarray(t->entries, cap, _sl_stride(t));
        if (!bigger)
            return -ENOMEM;
        t->entries = bigger;
        t->cap = cap;
    }
    unsigned char *e = _sl_at(t, t->n);
    const uint32_t order = (uint32_t)t->n;
    memcpy(e, key, t->key_size);
    memcpy(e + t->key_size, value, t->value_size);
    memcpy(e + t->key_size + t->value_size, &order, sizeof(order));
    t->n++;
    return 0;
}

static int _sl_compare(const void *a, const void *b, void *arg)
{
    const struct sl_table *t = arg;
    uint32_t order[2];
    const int r = memcmp(a, b, t->key_size);
    memcpy(&order[0], (const char *)a + t->key_size + t->value_size, sizeof(uint32_t));
    memcpy(&order[1], (const char *)b + t->key_size + t->value_size, sizeof(uint32_t));
    return r ? r : order[0] < order[1] ? -1 : 1;
}

int sl_table_seal(struct sl_table *t)
{
    size_t kept = 0;
    if (t->n)
        qsort_r(t->entries, t->n, _sl_stride(t), _sl_compare, t);
    for (size_t i = 0; i < t->n; i++) {
        if (i + 1 < t->n && memcmp(_sl_at(t, i), _sl_at(t, i + 1), t->key_size) == 0)
            continue;
        memmove(_sl_at(t, kept++), _sl_at(t, i), _sl_stride(t));
    }
    t->n = kept;
    if (kept <= t->max)
        return 0;
    sl_error("kernel: %zu entries for map %s, which holds %zu: write fewer or wider ones", kept, t->name,
             t->max);
    return -ENOSPC;
}

const void *sl_table_get(const struct sl_table *t, const void *key)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int r = memcmp(key, _sl_at(t, mid), t->key_size);
        if (r == 0)
            return sl_table_value(t, mid);
        if (r < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

void sl_table_free(struct sl_table *t)
{
    free(t->entries);
    t->entries = NULL;
    t->n = t->cap = 0;
}

int sl_table_read(struct sl_table *t, int fd)
{
    SL_FREE unsigned char *key = malloc(t->key_size), *value = malloc(t->value_size);
    if (!key || !value)
        return -ENOMEM;
    int r = bpf_map_get_next_key(fd, NULL, key);
    for (size_t n = 0; r == 0 && n < t->max; n++) {
        if (bpf_map_lookup_elem(fd, key, value) == 0 && sl_table_put(t, key, value) < 0)
            return -ENOMEM;
        r = bpf_map_get_next_key(fd, key, key);
    }
    return r < 0 && errno != ENOENT ? -errno : 0;
}

/* Stale keys go first, to make room: none of them is one that stays. */
int sl_table_sync(const struct sl_table *t, int fd)
{
    SL_CLEANUP(sl_table_free) struct sl_table is = *t;
    is.entries = NULL;
    is.n = is.cap = 0;
    int r = sl_table_read(&is, fd);
    for (size_t i = 0; r == 0 && i < is.n; i++)
        if (!sl_table_get(t, sl_table_key(&is, i)) && bpf_map_delete_elem(fd, sl_table_key(&is, i)) < 0 &&
            errno != ENOENT)
            r = -errno;
    for (size_t i = 0; r == 0 && i < t->n; i++)
        if (bpf_map_update_elem(fd, sl_table_key(t, i), sl_table_value(t, i), BPF_ANY) < 0)
            r = -errno;
    return r < 0 ? sl_error_r(r, "kernel: map %s could not be filled with %zu entries", t->name, t->n) : 0;
}
