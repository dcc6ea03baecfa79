/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON that strangers wrote, and claims in it. */
#ifndef SL_POLICY_JSON_PRIV_H
#define SL_POLICY_JSON_PRIV_H

#include "base/arena.h"
#include "config/snapshot.h"

#include <jansson.h>

#define SL_JSON_DEPTH 32 /* of a token's header and claims: no issuer nests so deep */

static inline void sl_json_unref(json_t **j)
{
    json_decref(*j);
}
#define SL_JSON SL_CLEANUP(sl_json_unref)

/* An object, without doubled keys at any level and no deeper than SL_JSON_DEPTH; NULL if it is anything else.
 * The caller unrefs it. */
json_t *sl_json_object(struct sl_slice text);
/* The member of that name as a string; p NULL where there is none or it is no string. Borrowed. */
struct sl_slice sl_json_string(const json_t *object, const char *name);

/* The claim at a dotted path; a name that holds dots itself ("https://x.example/roles") is found too. NULL:
 * not there. Borrowed. */
json_t *sl_claim_get(const json_t *claims, struct sl_slice path);
/* Its text: strings as they are; numbers and booleans as JSON; arrays of these joined by ',', with ',' and
 * '%' of an element written as %2C and %25, so that no element can pass for two. n 0 where there is none
 * (also objects and null). p NULL when memory is out. Control bytes are dropped. */
struct sl_slice sl_claim_text(const json_t *claim, struct sl_arena *a);
/* Its words: the strings of an array, or the parts of a string between spaces (RFC 8693 section 4.2). */
int sl_claim_words(const json_t *claim, struct sl_arena *a, struct sl_strings *out) SL_MUST_CHECK;

#endif
