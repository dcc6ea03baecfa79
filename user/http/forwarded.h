/* SPDX-License-Identifier: Apache-2.0 */
/* The Forwarded field (RFC 7239): who asked whom on the way here. */
#ifndef SL_HTTP_FORWARDED_H
#define SL_HTTP_FORWARDED_H

#include "base/slice.h"
#include <stdbool.h>

#define SL_FORWARDED_MAX 32 /* hops of one field */

/* The `for` of each element, without quotes; n 0 where an element has none. How many, or -EINVAL where the
 * field is malformed or names more hops than fit: then none of it is to be believed. */
int sl_forwarded_for(struct sl_slice value, struct sl_slice out[SL_FORWARDED_MAX]);

#endif
