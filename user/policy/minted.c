/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mint_priv.h"

#include "base/hash.h"

static void _sl_clear(struct sl_minted_cache *c, struct sl_minted *e)
{
    free(e->text);
    c->bytes -= e->n + e->value_n;
    *e = (struct sl_minted){0};
}

void sl_minted_free(struct sl_minted_cache *c)
{
    for (size_t i = 0; c->v && i < (size_t)SL_MINTED_ROWS * SL_MINTED_WAYS; i++)
        _sl_clear(c, &c->v[i]);
    free(c->v);
    c->v = NULL;
}

static struct sl_minted *_sl_row(const struct sl_minted_cache *c, uint64_t hash)
{
    return &c->v[(hash & (SL_MINTED_ROWS - 1)) * SL_MINTED_WAYS];
}

struct sl_slice sl_minted_find(struct sl_minted_cache *c, const struct sl_mint *mint, struct sl_slice says,
                               uint64_t now)
{
    if (!c->v)
        return SL_SLICE_NUL;
    const uint64_t hash = sl_hash(says.p, says.n, c->seed);
    struct sl_minted *e = _sl_row(c, hash);
    for (unsigned i = 0; i < SL_MINTED_WAYS; i++, e++) {
        if (e->hash == hash && e->until > now && e->mint == mint && e->n == says.n &&
            memcmp(e->text, says.p, says.n) == 0) {
            e->used = true;
            return sl_slice(e->text + e->n, e->value_n);
        }
    }
    return SL_SLICE_NUL;
}

/* One that is over, else one that was not asked for since the hand last came by. */
static struct sl_minted *_sl_victim(struct sl_minted *row, uint64_t now)
{
    for (unsigned i = 0; i < SL_MINTED_WAYS; i++)
        if (row[i].until <= now)
            return &row[i];
    for (unsigned i = 0; i < SL_MINTED_WAYS; i++)
        if (!row[i].used)
            return &row[i];
    for (unsigned i = 0; i < SL_MINTED_WAYS; i++)
        row[i].used = false;
    return row;
}

void sl_minted_keep(struct sl_minted_cache *c, const struct sl_mint *mint, struct sl_slice says,
                    struct sl_slice value, uint64_t now, uint64_t until)
{
    if (!c->v)
        c->v = calloc((size_t)SL_MINTED_ROWS * SL_MINTED_WAYS, sizeof(*c->v));
    if (!c->v)
        return;
    const uint64_t hash = sl_hash(says.p, says.n, c->seed);
    struct sl_minted *e = _sl_victim(_sl_row(c, hash), now);
    _sl_clear(c, e);
    if (c->bytes + says.n + value.n > SL_MINTED_BYTES)
        return;
    char *text = malloc(says.n + value.n);
    if (!text)
        return;
    memcpy(text, says.p, says.n);
    memcpy(text + says.n, value.p, value.n);
    *e = (struct sl_minted){.hash = hash,
                            .until = until,
                            .mint = mint,
                            .text = text,
                            .n = (uint32_t)says.n,
                            .value_n = (uint32_t)value.n};
    c->bytes += says.n + value.n;
}
