/* SPDX-License-Identifier: Apache-2.0 */
/* API keys of all consumers by their SHA-256, with an identity ready for each. */
#ifndef SL_POLICY_KEYS_PRIV_H
#define SL_POLICY_KEYS_PRIV_H

#include "policy/auth.h"

struct sl_key_entry {
    unsigned char hash[32];
    struct sl_identity *identity; /* NULL: free */
};
struct sl_keys {
    struct sl_key_entry *v; /* open addressing by the hash's first bytes */
    size_t cap;             /* a power of two, at most half full */
};

/* Identities are this provider's. 0 or -ENOMEM; -EINVAL with an error where a hash is not 32 bytes. */
int sl_keys_build(const struct sl_snapshot *s, const struct sl_auth *provider, struct sl_diag *diag,
                  struct sl_keys *out) SL_MUST_CHECK;
void sl_keys_free(struct sl_keys *k);
/* Borrowed, or NULL. Compares in constant time; that a prober learns of rows by timing tells it nothing about
 * keys, only about hashes of its own guesses. */
struct sl_identity *sl_keys_find(const struct sl_keys *k, const unsigned char hash[32]);

#endif
