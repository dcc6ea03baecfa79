/* SPDX-License-Identifier: Apache-2.0 */
/* application/x-www-form-urlencoded (WHATWG URL section 5.1), strictly: no stray '%', and no name twice. */
#ifndef SL_POLICY_FORM_H
#define SL_POLICY_FORM_H

#include "base/arena.h"

#define SL_FORM_FIELDS 32

struct sl_form {
    struct sl_form_field {
        struct sl_slice name, value;
    } v[SL_FORM_FIELDS];
    size_t n;
};

/* 0; -EINVAL: it is no such form, -E2BIG: more fields than there is room for, -EEXIST: a name stands twice
 * (RFC 6749 section 3.2), -ENOMEM. */
int sl_form_parse(struct sl_arena *a, struct sl_slice body, struct sl_form *out) SL_MUST_CHECK;
/* n 0 where it is not there, or empty: which is the same (RFC 6749 section 3.2). */
struct sl_slice sl_form_get(const struct sl_form *f, struct sl_slice name);

#endif
