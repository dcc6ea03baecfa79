/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that upstreams are shown (upstream_auth of type sign): what they say is put together for each
 * request, and signed once for all requests of which they say the same.
 */
#ifndef SL_POLICY_MINT_H
#define SL_POLICY_MINT_H

#include "policy/transform.h"

/* The signers of a policy, with the tokens that they have made; of one process. */
struct sl_minter;
int sl_minter_new(const struct sl_snapshot *s, struct sl_diag *diag, struct sl_minter **out) SL_MUST_CHECK;
void sl_minter_free(struct sl_minter *m);

/* The key set of a signer; lives as long as m. */
struct sl_slice sl_minter_jwks(const struct sl_minter *m, const struct sl_signer *signer);

/* One upstream_auth, compiled. */
struct sl_mint;
/* NULL in *out where cfg is not of type sign; -EINVAL with errors in diag, -ENOMEM. cfg is borrowed. */
int sl_mint_new(struct sl_minter *m, const struct sl_upstream_auth *cfg, struct sl_diag *diag,
                struct sl_mint **out) SL_MUST_CHECK;
void sl_mint_free(struct sl_mint *t);

/*
 * The header's value for a request of these vars (identity, tier and route count), in the arena. *reused: it
 * was signed before. 0, -ENOMEM, -EMSGSIZE: its claims make a token of more than 16 KiB; -EIO: OpenSSL
 * failed.
 */
int sl_mint(struct sl_mint *t, const struct sl_template_vars *vars, uint64_t now_s, struct sl_arena *a,
            struct sl_slice *value, bool *reused) SL_MUST_CHECK;

/* What stands in the header of that upstream_auth for a token: behind "Bearer" in Authorization (RFC 6750
 * section 2.1), alone elsewhere. In the arena; p NULL: memory is out. */
struct sl_slice sl_upstream_auth_value(const struct sl_upstream_auth *auth, struct sl_slice token,
                                       struct sl_arena *a);

/* Signs claims (JSON) as an access token (RFC 9068) by that signer; p NULL: it failed. */
struct sl_slice sl_minter_access_token(struct sl_minter *m, const struct sl_signer *signer,
                                       struct sl_slice claims, struct sl_arena *a);
/* SHA-256 of a secret: 0 or -EIO. */
int sl_minter_hash(struct sl_minter *m, struct sl_slice secret, unsigned char out[32]) SL_MUST_CHECK;

#endif
