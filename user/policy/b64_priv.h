/* SPDX-License-Identifier: Apache-2.0 */
/* base64url as JOSE wants it (RFC 7515 section 2): no padding, no other bytes, and one spelling only. */
#ifndef SL_POLICY_B64_PRIV_H
#define SL_POLICY_B64_PRIV_H

#include "base/arena.h"

#define SL_B64_MAX(n) ((n) / 4 * 3 + 2) /* bytes that n characters can hold */

/* Decodes into out (SL_B64_MAX bytes): 0 with *len, or -EINVAL. Bits left over in the last character must be
 * zero, or one signature would have several spellings. */
int sl_b64_decode(struct sl_slice in, unsigned char *out, size_t *len) SL_MUST_CHECK;
/* The same into the arena, with a NUL behind: 0, -EINVAL or -ENOMEM. */
int sl_b64_decode_arena(struct sl_arena *a, struct sl_slice in, struct sl_slice *out) SL_MUST_CHECK;

/* Characters of n bytes. */
#define SL_B64_CHARS(n) (((n)*4 + 2) / 3)
/* Encodes into out (SL_B64_CHARS(in.n) bytes); returns how many. */
size_t sl_b64_encode(struct sl_slice in, char *out);
/* The same into the arena; p NULL when memory is out. */
struct sl_slice sl_b64_encode_arena(struct sl_arena *a, struct sl_slice in);

#endif
