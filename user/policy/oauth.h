/* SPDX-License-Identifier: Apache-2.0 */
/* What a token endpoint answers (RFC 6749 section 5.1, RFC 8693 section 2.2.1). */
#ifndef SL_POLICY_OAUTH_H
#define SL_POLICY_OAUTH_H

#include "base/arena.h"
#include "base/slice.h"

#define SL_OAUTH_TOKEN_MAX (16 * 1024)

struct sl_oauth_token {
    struct sl_slice text; /* what may stand in a header's value */
    uint64_t lifetime_s;
};
/* Reads it into the arena: NULL, or what is wrong with it, static text. */
const char *sl_oauth_read_token(struct sl_slice body, struct sl_arena *a, struct sl_oauth_token *out);
/* Whether an error response (RFC 6749 section 5.2) blames the token that was shown, and not who showed it. */
bool sl_oauth_blames_token(struct sl_slice body);

#endif
