/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/identity_priv.h"
#include "policy/keys_priv.h"

#include <errno.h>
#include <openssl/crypto.h>

static struct sl_key_entry *_sl_slot(const struct sl_keys *k, const unsigned char hash[32])
{
    uint64_t h;
    memcpy(&h, hash, sizeof(h));
    size_t i = h & (k->cap - 1);
    while (k->v[i].identity && CRYPTO_memcmp(k->v[i].hash, hash, 32) != 0)
        i = (i + 1) & (k->cap - 1);
    return &k->v[i];
}

struct sl_identity *sl_keys_find(const struct sl_keys *k, const unsigned char hash[32])
{
    return k->cap ? _sl_slot(k, hash)->identity : NULL;
}

static int _sl_add(struct sl_keys *k, const struct sl_auth *provider, const struct sl_consumer *c,
                   struct sl_slice hash, struct sl_diag *diag)
{
    if (hash.n != 32) {
        sl_diag_error(diag, &c->pos, "a key of consumer \"%s\" is no SHA-256 of 32 bytes", c->name);
        return -EINVAL;
    }
    struct sl_key_entry *e = _sl_slot(k, (const unsigned char *)hash.p);
    if (e->identity) {
        if (e->identity->consumer != c)
            sl_diag_error(diag, &c->pos, "consumer \"%s\" has a key of consumer \"%s\": which of them is it?",
                          c->name, e->identity->consumer->name);
        return e->identity->consumer != c ? -EINVAL : 0;
    }
    memcpy(e->hash, hash.p, sizeof(e->hash));
    e->identity = sl_identity_of_key(provider, c, e->hash);
    return e->identity ? 0 : -ENOMEM;
}

int sl_keys_build(const struct sl_snapshot *s, const struct sl_auth *provider, struct sl_diag *diag,
                  struct sl_keys *out)
{
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < s->n_consumers; i++)
        n += s->consumers[i].key_hashes.n;
    *out = (struct sl_keys){.cap = 16};
    while (out->cap < n * 2)
        out->cap *= 2;
    out->v = calloc(out->cap, sizeof(*out->v));
    if (!out->v)
        r = -ENOMEM;
    for (size_t i = 0; r != -ENOMEM && i < s->n_consumers; i++) {
        const struct sl_consumer *c = &s->consumers[i];
        for (size_t k = 0; r != -ENOMEM && k < c->key_hashes.n; k++) {
            const int e = _sl_add(out, provider, c, c->key_hashes.v[k], diag);
            r = e < 0 ? e : r;
        }
    }
    if (r < 0)
        sl_keys_free(out);
    return r;
}

void sl_keys_free(struct sl_keys *k)
{
    for (size_t i = 0; k->v && i < k->cap; i++)
        sl_identity_unref(k->v[i].identity);
    free(k->v);
    *k = (struct sl_keys){0};
}
