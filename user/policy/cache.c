/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/cache_priv.h"
#include "policy/identity_priv.h"

#include <errno.h>
#include <openssl/crypto.h>

int sl_cache_init(struct sl_token_cache *c, uint64_t seed)
{
    *c = (struct sl_token_cache){.seed = seed};
    c->verified = calloc((size_t)SL_VERIFIED_ROWS * SL_CACHE_WAYS, sizeof(*c->verified));
    c->refused = calloc((size_t)SL_REFUSED_ROWS * SL_CACHE_WAYS, sizeof(*c->refused));
    return c->verified && c->refused ? 0 : -ENOMEM;
}

static void _sl_clear(struct sl_token_cache *c, struct sl_verified *e)
{
    sl_identity_unref(e->identity);
    free(e->token);
    c->bytes -= e->n;
    *e = (struct sl_verified){0};
}

void sl_cache_free(struct sl_token_cache *c)
{
    for (size_t i = 0; c->verified && i < (size_t)SL_VERIFIED_ROWS * SL_CACHE_WAYS; i++)
        _sl_clear(c, &c->verified[i]);
    free(c->verified);
    free(c->refused);
    *c = (struct sl_token_cache){0};
}

/* ---- verified */

/* In constant time: how much of a guess was right must not be told. */
static bool _sl_same(const char *a, const char *b, size_t n)
{
    uint64_t diff = 0, x = 0, y = 0;
    size_t i = 0;
    for (; i + sizeof(x) <= n; i += sizeof(x)) {
        memcpy(&x, a + i, sizeof(x));
        memcpy(&y, b + i, sizeof(y));
        diff |= x ^ y;
    }
    for (; i < n; i++)
        diff |= (unsigned char)(a[i] ^ b[i]);
    return diff == 0;
}

static struct sl_verified *_sl_row(const struct sl_token_cache *c, uint64_t hash)
{
    return &c->verified[(hash & (SL_VERIFIED_ROWS - 1)) * SL_CACHE_WAYS];
}

struct sl_identity *sl_cache_verified(struct sl_token_cache *c, struct sl_slice token, uint32_t provider,
                                      uint64_t now)
{
    const uint64_t hash = sl_hash(token.p, token.n, c->seed);
    struct sl_verified *e = _sl_row(c, hash);
    for (unsigned i = 0; i < SL_CACHE_WAYS; i++, e++) {
        if (e->hash == hash && e->until > now && e->provider == provider && e->n == token.n &&
            _sl_same(e->token, token.p, token.n)) {
            e->used = true;
            return e->identity;
        }
    }
    return NULL;
}

/* One that is over, else one that was not asked for since the hand last came by. */
static struct sl_verified *_sl_victim(struct sl_verified *row, uint64_t now)
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

void sl_cache_keep(struct sl_token_cache *c, struct sl_slice token, uint32_t provider, uint64_t now,
                   uint64_t until, struct sl_identity *id)
{
    const uint64_t hash = sl_hash(token.p, token.n, c->seed);
    struct sl_verified *e = _sl_victim(_sl_row(c, hash), now);
    _sl_clear(c, e);
    if (c->bytes + token.n > SL_VERIFIED_BYTES)
        return;
    char *own = malloc(token.n);
    if (!own)
        return;
    memcpy(own, token.p, token.n);
    *e = (struct sl_verified){.hash = hash,
                              .until = until,
                              .identity = sl_identity_ref(id),
                              .token = own,
                              .n = (uint32_t)token.n,
                              .provider = provider};
    c->bytes += token.n;
}

/* ---- refused */

static struct sl_refused *_sl_refused_row(const struct sl_token_cache *c, const unsigned char hash[32])
{
    uint64_t h;
    memcpy(&h, hash, sizeof(h));
    return &c->refused[(h & (SL_REFUSED_ROWS - 1)) * SL_CACHE_WAYS];
}

uint8_t sl_cache_refused(const struct sl_token_cache *c, const unsigned char hash[32], uint32_t provider,
                         uint64_t now)
{
    const struct sl_refused *e = _sl_refused_row(c, hash);
    for (unsigned i = 0; i < SL_CACHE_WAYS; i++, e++)
        if (e->until > now && e->provider == provider && CRYPTO_memcmp(e->hash, hash, 32) == 0)
            return e->error;
    return 0;
}

void sl_cache_refuse(struct sl_token_cache *c, const unsigned char hash[32], uint32_t provider,
                     uint64_t until, uint8_t error)
{
    struct sl_refused *row = _sl_refused_row(c, hash), *e = row;
    for (unsigned i = 1; i < SL_CACHE_WAYS; i++)
        if (row[i].until < e->until)
            e = &row[i];
    *e = (struct sl_refused){.until = until, .provider = provider, .error = error};
    memcpy(e->hash, hash, sizeof(e->hash));
}
