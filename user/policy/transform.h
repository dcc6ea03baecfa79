/* SPDX-License-Identifier: Apache-2.0 */
/* Header programs and value templates: "$correlation_id", "$claim.tenant" … compiled once, run per exchange.
 */
#ifndef SL_POLICY_TRANSFORM_H
#define SL_POLICY_TRANSFORM_H

#include "config/snapshot.h"
#include "http/message.h"
#include "policy/auth.h"

struct sl_template_vars {
    struct sl_slice correlation_id, request_id, client_ip, route;
    struct sl_slice host, path, query; /* $host $path $query $request_uri, for redirects */
    struct sl_slice tier;              /* n 0: the identity's */
    uint64_t wall_ns;
    const struct sl_identity *identity; /* NULL: none */
};

struct sl_template;
/* -EINVAL with an error at pos for an unknown variable ("did you mean"). "$$" is a dollar. */
int sl_template_new(struct sl_slice text, const struct sl_pos *pos, struct sl_diag *diag,
                    struct sl_template **out) SL_MUST_CHECK;
void sl_template_free(struct sl_template *t);
/* Expanded into the arena (a text without variables is the template's own, and lives as long as that);
 * control bytes from variables are dropped. p NULL when memory is out. */
struct sl_slice sl_template_run(const struct sl_template *t, const struct sl_template_vars *vars,
                                struct sl_arena *a);

struct sl_transform;
/* NULL in *out where ops are empty. */
int sl_transform_new(const struct sl_header_ops *ops, struct sl_diag *diag,
                     struct sl_transform **out) SL_MUST_CHECK;
void sl_transform_free(struct sl_transform *t);
/* remove, rename, set, add, in this order. 0 or -ENOMEM. */
int sl_transform_run(const struct sl_transform *t, const struct sl_template_vars *vars, struct sl_headers *h,
                     struct sl_arena *a);
/* Removes from trailers every name that the transform removes, renames or sets in the head. */
void sl_transform_clean(const struct sl_transform *t, struct sl_headers *trailers);

#endif
