/* SPDX-License-Identifier: Apache-2.0 */
/* The payload of a token of our own, written as JSON text: begin, then names with their values, then end. */
#ifndef SL_POLICY_CLAIMS_PRIV_H
#define SL_POLICY_CLAIMS_PRIV_H

#include "base/buf.h"
#include "config/snapshot.h"

#define SL_JTI_CHARS 22 /* 128 random bits, base64url */

/* {"iss":…,"aud":… (without audiences: none). 0 or -ENOMEM, as all of them. */
int sl_claims_begin(struct sl_buf *b, const char *issuer, const struct sl_strings *audiences) SL_MUST_CHECK;
/* ,"NAME": */
int sl_claims_name(struct sl_buf *b, struct sl_slice name) SL_MUST_CHECK;
/* ,"NAME":"TEXT" */
int sl_claims_text(struct sl_buf *b, struct sl_slice name, struct sl_slice text) SL_MUST_CHECK;
/* ,"iat":…,"nbf":…,"exp":…,"jti":…}; also -EIO: OpenSSL has no random bits. */
int sl_claims_end(struct sl_buf *b, uint64_t now_s, uint64_t lifetime_s) SL_MUST_CHECK;

#endif
