/* SPDX-License-Identifier: Apache-2.0 */
/* The public side of the policy's signers: what verifiers are given. */
#ifndef SL_POLICY_SIGNER_H
#define SL_POLICY_SIGNER_H

#include "base/buf.h"
#include "config/snapshot.h"

/*
 * Appends the key set of a signer (RFC 7517): the public half of each of its keys, the one that signs first.
 * 0; -EINVAL where one of them cannot serve, with errors in diag; -ENOMEM.
 */
int sl_signer_jwks(const struct sl_signer *cfg, struct sl_diag *diag, struct sl_buf *out) SL_MUST_CHECK;

/*
 * Whether the private and the public half of each key match, of those that have both: 0, or -EINVAL with
 * errors in diag. Dear (half a second for RSA of 4096 bits), and so only for who decides on a policy.
 */
int sl_signer_check(const struct sl_signer *cfg, struct sl_diag *diag) SL_MUST_CHECK;

/* Called for each key, the one that signs first. kid: its RFC 7638 thumbprint. */
typedef void (*sl_signer_key_fn)(void *ctx, const char *kid, const char *alg, bool signs);
/* 0 or as above. */
int sl_signer_each(const struct sl_signer *cfg, sl_signer_key_fn f, void *ctx) SL_MUST_CHECK;

#endif
