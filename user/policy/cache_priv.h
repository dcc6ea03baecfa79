/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known about tokens: fixed tables of 4-way rows, of one process. An attacker who fills a row costs
 * others a verification, nothing else.
 *
 * A verified token is found by a seeded hash and believed only if it is the same letter for letter: that
 * costs a tenth of hashing it with SHA-256 where the CPU has no instructions for that. Refused ones, whose
 * text a stranger chose, are kept by their SHA-256 alone.
 *
 * Invariant: an entry counts for nothing from `until` on, and dies with the keys that it was verified by:
 * `provider` has their generation in its upper half (sl_provider_id), and all dies with its authenticator.
 */
#ifndef SL_POLICY_CACHE_PRIV_H
#define SL_POLICY_CACHE_PRIV_H

#include "policy/auth.h"

#define SL_CACHE_WAYS      4
#define SL_VERIFIED_ROWS   2048               /* 8192 tokens */
#define SL_VERIFIED_BYTES  (32 * 1024 * 1024) /* of their texts: past it a token is not kept */
#define SL_REFUSED_ROWS    256
#define SL_UNHEARD_SECONDS 2  /* so long nothing is asked again of a server that failed to say */
#define SL_REFUSED_SECONDS 10 /* most refusals are for ever, but a row of refusals is soon needed again */

struct sl_verified {
    uint64_t hash;
    uint64_t until;               /* Unix seconds; 0: free */
    struct sl_identity *identity; /* one reference */
    char *token;
    uint32_t n; /* bytes of token */
    uint32_t provider;
    bool used; /* since the hand passed */
};
struct sl_refused {
    unsigned char hash[32];
    uint64_t until;
    uint32_t provider;
    uint8_t error; /* enum sl_token_error */
};
struct sl_token_cache {
    struct sl_verified *verified;
    struct sl_refused *refused;
    uint64_t seed;
    size_t bytes; /* of verified texts */
};

/* seed: random, of this process. 0 or -ENOMEM. */
int sl_cache_init(struct sl_token_cache *c, uint64_t seed) SL_MUST_CHECK;
void sl_cache_free(struct sl_token_cache *c);
/* The identity of that token at that provider, borrowed, or NULL. */
struct sl_identity *sl_cache_verified(struct sl_token_cache *c, struct sl_slice token, uint32_t provider,
                                      uint64_t now);
/* Keeps the identity (a reference of its own) in the place of the one least needed in its row, if memory
 * allows. */
void sl_cache_keep(struct sl_token_cache *c, struct sl_slice token, uint32_t provider, uint64_t now,
                   uint64_t until, struct sl_identity *id);
/* Why the token of that hash was refused, or 0. */
uint8_t sl_cache_refused(const struct sl_token_cache *c, const unsigned char hash[32], uint32_t provider,
                         uint64_t now);
/* until: Unix seconds. */
void sl_cache_refuse(struct sl_token_cache *c, const unsigned char hash[32], uint32_t provider,
                     uint64_t until, uint8_t error);

#endif
