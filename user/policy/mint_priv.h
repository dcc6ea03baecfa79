/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that were signed, found by what they say: a fixed table of 4-way rows. Invariant: an entry counts
 * for nothing from `until` on, and is another mint's token only where `mint` says so.
 */
#ifndef SL_POLICY_MINT_PRIV_H
#define SL_POLICY_MINT_PRIV_H

#include "policy/mint.h"
#include "policy/signer_priv.h"

#define SL_MINTED_WAYS  4
#define SL_MINTED_ROWS  1024               /* 4096 tokens */
#define SL_MINTED_BYTES (16 * 1024 * 1024) /* of their texts: past it a token is not kept */

struct sl_minted {
    uint64_t hash;
    uint64_t until; /* Unix seconds; 0: free */
    const struct sl_mint *mint;
    char *text; /* what it says (n bytes), then the header's value (value_n) */
    uint32_t n, value_n;
    bool used; /* since the hand passed */
};
struct sl_minted_cache {
    struct sl_minted *v; /* NULL until the first token */
    uint64_t seed;
    size_t bytes;
};

/* The header's value of a token that says that, borrowed; p NULL: none is kept. */
struct sl_slice sl_minted_find(struct sl_minted_cache *c, const struct sl_mint *mint, struct sl_slice says,
                               uint64_t now);
/* Keeps it, if memory allows. */
void sl_minted_keep(struct sl_minted_cache *c, const struct sl_mint *mint, struct sl_slice says,
                    struct sl_slice value, uint64_t now, uint64_t until);
void sl_minted_free(struct sl_minted_cache *c);

#endif
