/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets (RFC 3986, RFC 9112 section 3.2): one normal form for routing, authorising and forwarding.
 */
#ifndef SL_HTTP_URI_H
#define SL_HTTP_URI_H

#include "base/arena.h"
#include "base/slice.h"

/*
 * Normalises an origin-form target "/path?query". Decodes %XX of unreserved characters, upper-cases the other
 * escapes, removes "." and ".." segments. Refuses with -EINVAL: no leading '/', '#', control bytes, bare
 * non-ASCII, bad escapes, "%00", "%2f", "%5c" and a literal '\\', "//" inside the path, ".." above the root,
 * "..;" and "."-segments with parameters, overlong or invalid UTF-8 once decoded. *path points into raw where
 * nothing had to change.
 */
int sl_uri_normalize(struct sl_arena *a, struct sl_slice raw, struct sl_slice *path, struct sl_slice *query);
/* The raw (undecoded) value of a query parameter: 1 found, 0 not; -EINVAL given more than once. */
int sl_uri_query_get(struct sl_slice query, struct sl_slice name, struct sl_slice *value);
/* The query without parameters of that name, copied into the arena where something was removed. */
struct sl_slice sl_uri_query_without(struct sl_arena *a, struct sl_slice query, struct sl_slice name);
/* Decodes %XX and, when plus is set, '+': -EINVAL for bad escapes. */
int sl_uri_decode(struct sl_arena *a, struct sl_slice s, bool plus, struct sl_slice *out);

#endif
