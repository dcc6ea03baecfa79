/* SPDX-License-Identifier: Apache-2.0 */
/* The authenticator's inside: providers compiled, the token caches, and the headers that only we may set. */
#ifndef SL_POLICY_AUTH_PRIV_H
#define SL_POLICY_AUTH_PRIV_H

#include "policy/cache_priv.h"
#include "policy/keys_priv.h"
#include "policy/password_priv.h"
#include "policy/token_priv.h"

#define SL_PROVIDERS_OF_AUTH 65535

struct sl_provider {
    const struct sl_auth *cfg;
    uint32_t allowed; /* mask of enum sl_jose_alg */
    uint16_t index;
    uint16_t generation; /* of jwks: what was verified by former keys is not believed any more */
    struct sl_jwks jwks; /* n 0: fetched keys are not there */
    struct sl_keys keys;
    struct sl_users users;
};

/* Under which the caches know what this provider, with the keys that it has now, has judged. */
static inline uint32_t sl_provider_id(const struct sl_provider *p)
{
    return (uint32_t)p->generation << 16 | p->index;
}

struct sl_authenticator {
    const struct sl_snapshot *snapshot;
    struct sl_jose jose;
    struct sl_provider *providers; /* as in the snapshot */
    struct sl_token_cache cache;
    struct sl_slice *identity_headers;
    size_t n_identity_headers;
    struct sl_identity **anonymous; /* [snapshot->n_routes]: of requests without credentials; NULL: none */
    uint64_t identity_lengths;      /* bit n: a name of n bytes is among them; bit 63: of 63 or more */
};

/* authenticate.c: a token that is good is believed without being judged again, for so long as its provider
 * says. */
void sl_token_remember(struct sl_authenticator *a, const struct sl_provider *p, struct sl_slice token,
                       uint64_t now, struct sl_identity *id);
/* Coarse authorisation: SL_AUTH_OK or SL_AUTH_FORBIDDEN_*. id must not be NULL. */
enum sl_auth_result sl_authorize(const struct sl_route *route, struct sl_slice method,
                                 const struct sl_identity *id);
/* Whether a request of that method must be somebody's. */
bool sl_needs_identity(const struct sl_route *route, struct sl_slice method);
/* The WWW-Authenticate value (RFC 9110 section 11.6.1, RFC 6750 section 3) of a 401. */
const char *sl_auth_challenge(const struct sl_route *route, enum sl_auth_result result, const char *detail,
                              struct sl_arena *a);

#endif
