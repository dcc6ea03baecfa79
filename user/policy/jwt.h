/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying a token by a key set, apart from any policy: for tools and tests. */
#ifndef SL_POLICY_JWT_H
#define SL_POLICY_JWT_H

#include "config/snapshot.h"

/* All that can be verified: RFC 7518 section 3.1 without none, and RFC 8037. */
#define SL_JWT_ALGORITHMS "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,HS256,HS384,HS512"
bool sl_jwt_is_algorithm(struct sl_slice name);

/*
 * Verifies the signature of a compact JWS by a JWKS text: every refusal of the gateway's holds, claims are
 * not looked at. algorithms: those to allow (RS256 … HS512). NULL when it verifies, with the payload in the
 * arena; else why not, static text.
 */
const char *sl_jwt_verify_jwks(struct sl_slice jwks, struct sl_slice token,
                               const struct sl_strings *algorithms, struct sl_arena *a,
                               struct sl_slice *payload);

#endif
