/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/cache_priv.h"

#include <errno.h>
#include <openssl/crypto.h>

int sl_cache_init(struct sl_cache *c, size_t rows)
{
    *c = (struct sl_cache){.v = calloc(rows * SL_CACHE_WAYS, sizeof(*c->v)), .rows = rows};
    return c->v ? 0 : -ENOMEM;
}

void sl_cache_free(struct sl_cache *c)
{
    for (size_t i = 0; c->v && i < c->rows * SL_CACHE_WAYS; i++)
        sl_identity_unref(c->v[i].identity);
    free(c->v);
    *c = (struct sl_cache){0};
}

/* The hash's first bytes choose the row, as evenly as the hash is. */
static struct sl_cache_entry *_sl_row(const struct sl_cache *c, const unsigned char hash[32])
{
    uint64_t h;
    memcpy(&h, hash, sizeof(h));
    return &c->v[(h & (c->rows - 1)) * SL_CACHE_WAYS];
}

struct sl_cache_entry *sl_cache_get(struct sl_cache *c, const unsigned char hash[32], uint16_t provider,
                                    uint64_t now)
{
    struct sl_cache_entry *e = _sl_row(c, hash);
    for (unsigned i = 0; i < SL_CACHE_WAYS; i++, e++) {
        if (e->until > now && e->provider == provider && CRYPTO_memcmp(e->hash, hash, 32) == 0) {
            e->used = true;
            return e;
        }
    }
    return NULL;
}

static struct sl_cache_entry *_sl_victim(struct sl_cache_entry *row, uint64_t now)
{
    for (unsigned i = 0; i < SL_CACHE_WAYS; i++)
        if (row[i].until <= now)
            return &row[i];
    for (unsigned i = 0; i < SL_CACHE_WAYS; i++)
        if (!row[i].used)
            return &row[i];
    for (unsigned i = 0; i < SL_CACHE_WAYS; i++)
        row[i].used = false;
    return row;
}

struct sl_cache_entry *sl_cache_put(struct sl_cache *c, const unsigned char hash[32], uint16_t provider,
                                    uint64_t now, uint64_t until)
{
    struct sl_cache_entry *e = sl_cache_get(c, hash, provider, now);
    if (!e)
        e = _sl_victim(_sl_row(c, hash), now);
    sl_identity_unref(e->identity);
    *e = (struct sl_cache_entry){.until = until, .provider = provider};
    memcpy(e->hash, hash, sizeof(e->hash));
    return e;
}
