/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known about tokens by their SHA-256: a fixed table of 4-way rows, of one process. An attacker who
 * fills a row costs others a verification, nothing else.
 *
 * Invariant: an entry counts for nothing from `until` on, and dies with its authenticator, that is with the
 * keys that it was verified by.
 */
#ifndef SL_POLICY_CACHE_PRIV_H
#define SL_POLICY_CACHE_PRIV_H

#include "policy/auth.h"

#define SL_CACHE_WAYS 4

struct sl_cache_entry {
    unsigned char hash[32];
    struct sl_identity *identity; /* one reference; NULL in a cache of refusals */
    uint64_t until;               /* Unix seconds; 0: free */
    uint16_t provider;
    uint8_t error; /* enum sl_token_error */
    bool used;     /* since the hand passed */
};
struct sl_cache {
    struct sl_cache_entry *v;
    size_t rows; /* a power of two */
};

int sl_cache_init(struct sl_cache *c, size_t rows) SL_MUST_CHECK;
void sl_cache_free(struct sl_cache *c);
/* The live entry of that token at that provider, or NULL. */
struct sl_cache_entry *sl_cache_get(struct sl_cache *c, const unsigned char hash[32], uint16_t provider,
                                    uint64_t now);
/* An entry for the caller to fill (identity, error), in the place of the one least needed in its row. */
struct sl_cache_entry *sl_cache_put(struct sl_cache *c, const unsigned char hash[32], uint16_t provider,
                                    uint64_t now, uint64_t until);

#endif
