/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/upstream_token_priv.h"

#include "base/clock.h"
#include "base/hash.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define SL_EARLY_MAX (5 * SL_NS_PER_SEC) /* so long before its end it is given up: it is still to travel */

static struct sl_uptoken *_sl_row(struct sl_uptokens *t, uint64_t hash)
{
    return &t->v[(hash & (SL_UPTOKEN_ROWS - 1)) * SL_UPTOKEN_WAYS];
}

static uint64_t _sl_hash(const struct sl_uptokens *t, uint64_t source, struct sl_slice subject)
{
    return sl_hash(subject.p, subject.n, t->seed ^ source);
}

static bool _sl_is(const struct sl_uptoken *e, uint64_t hash, uint64_t source, struct sl_slice subject)
{
    return e->hash == hash && e->source == source && e->n_subject == subject.n &&
           CRYPTO_memcmp(e->text, subject.p, subject.n) == 0;
}

struct sl_uptoken *sl_uptokens_find(struct sl_uptokens *t, uint64_t source, struct sl_slice subject,
                                    uint64_t now)
{
    const uint64_t hash = _sl_hash(t, source, subject);
    struct sl_uptoken *e = _sl_row(t, hash);
    for (unsigned i = 0; i < SL_UPTOKEN_WAYS; i++, e++)
        if (_sl_is(e, hash, source, subject) && now < e->end_ns)
            return e;
    return NULL;
}

void sl_uptokens_drop(struct sl_uptokens *t, struct sl_uptoken *e)
{
    if (!e->source)
        return;
    t->bytes -= e->n_subject + e->n;
    OPENSSL_cleanse(e->text, e->n_subject + e->n);
    free(e->text);
    *e = (struct sl_uptoken){0};
}

/* Its own, else the one that ends first; a free one ends at 0. */
static struct sl_uptoken *_sl_place(struct sl_uptokens *t, uint64_t hash, uint64_t source,
                                    struct sl_slice subject)
{
    struct sl_uptoken *row = _sl_row(t, hash), *first = row;
    for (unsigned i = 0; i < SL_UPTOKEN_WAYS; i++) {
        if (_sl_is(&row[i], hash, source, subject))
            return &row[i];
        if (row[i].end_ns < first->end_ns)
            first = &row[i];
    }
    return first;
}

void sl_uptokens_keep(struct sl_uptokens *t, uint64_t source, struct sl_slice subject, struct sl_slice token,
                      uint64_t now, uint64_t end_ns)
{
    const uint64_t hash = _sl_hash(t, source, subject), life = end_ns > now ? end_ns - now : 0;
    struct sl_uptoken *e = _sl_place(t, hash, source, subject);
    sl_uptokens_drop(t, e);
    char *text =
        life && t->bytes + subject.n + token.n <= SL_UPTOKEN_BYTES ? malloc(subject.n + token.n) : NULL;
    if (!text)
        return;
    memcpy(text, subject.p, subject.n);
    memcpy(text + subject.n, token.p, token.n);
    *e = (struct sl_uptoken){.hash = hash,
                             .source = source,
                             .fetched_ns = now,
                             .refresh_ns = now + life / 5 * 4,
                             .end_ns = end_ns - SL_MIN(life / 10, SL_EARLY_MAX),
                             .text = text,
                             .n_subject = (uint32_t)subject.n,
                             .n = (uint32_t)token.n};
    t->bytes += subject.n + token.n;
}

void sl_uptokens_free(struct sl_uptokens *t)
{
    for (size_t i = 0; t && i < SL_ARRAY_LEN(t->v); i++)
        sl_uptokens_drop(t, &t->v[i]);
    free(t);
}
