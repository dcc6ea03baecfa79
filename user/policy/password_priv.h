/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of all consumers with their hashed passwords, and what a password's check is: the hashing itself is
 * the caller's, since it takes as long as ten thousand requests.
 */
#ifndef SL_POLICY_PASSWORD_PRIV_H
#define SL_POLICY_PASSWORD_PRIV_H

#include "policy/auth.h"

struct sl_user {
    struct sl_slice name;
    const char *hash; /* of crypt(5) */
    struct sl_identity *identity;
};
struct sl_users {
    struct sl_user *v;
    size_t n;
    struct sl_map by_name;
};

/* Identities are this provider's. 0, -ENOMEM, or -EINVAL with an error where two consumers share a name. */
int sl_users_build(const struct sl_snapshot *s, const struct sl_auth *provider, struct sl_diag *diag,
                   struct sl_users *out) SL_MUST_CHECK;
void sl_users_free(struct sl_users *u);
const struct sl_user *sl_users_find(const struct sl_users *u, struct sl_slice name);

/* "dXNlcjpwYXNz" of an Authorization field (RFC 7617): 0 with both parts in the arena, -EINVAL or -ENOMEM. */
int sl_basic_decode(struct sl_arena *a, struct sl_slice text, struct sl_slice *user,
                    struct sl_slice *password) SL_MUST_CHECK;

#endif
