/* SPDX-License-Identifier: Apache-2.0 */
/* Making identities; see auth.h for what one is. */
#ifndef SL_POLICY_IDENTITY_PRIV_H
#define SL_POLICY_IDENTITY_PRIV_H

#include "policy/auth.h"
#include "policy/json_priv.h"

/* One reference, without a consumer or tier. hash: of the credential. NULL when memory is out. */
struct sl_identity *sl_identity_new(const struct sl_auth *provider, const unsigned char hash[32]);
/* One reference; claims are taken over, also on failure. hash: of the token. NULL when memory is out. */
struct sl_identity *sl_identity_of_token(const struct sl_snapshot *s, const struct sl_auth *provider,
                                         json_t *claims, const unsigned char hash[32], uint64_t exp);
/* certificate.c: of a client's certificate. NULL with why (static) where it names nobody, or memory is out.
 */
struct sl_identity *sl_identity_of_cert(const struct sl_snapshot *s, const struct sl_auth *provider,
                                        const struct sl_client_cert *cert, const char **why);
/* Of a consumer's API key. */
struct sl_identity *sl_identity_of_key(const struct sl_auth *provider, const struct sl_consumer *consumer,
                                       const unsigned char hash[32]);
/* Of a consumer that requests without credentials fall back to: there is no provider and no credential. */
struct sl_identity *sl_identity_of_nobody(const struct sl_consumer *consumer);
static inline struct sl_identity *sl_identity_ref(struct sl_identity *id)
{
    id->refs++;
    return id;
}

#endif
