/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From host, path, method and headers to a route. Cost does not grow with the number of routes: hosts by hash
 * (exact, then "*.suffix" longest first, then any), paths by a segment tree, regexes last in policy order.
 * Order within a host: exact path, then longest prefix, then regex; among equals those with more header
 * matches first.
 */
#ifndef SL_POLICY_ROUTER_H
#define SL_POLICY_ROUTER_H

#include "config/snapshot.h"
#include "http/message.h"

struct sl_router;
enum sl_route_result { SL_ROUTE_FOUND, SL_ROUTE_NONE, SL_ROUTE_METHOD /* path known, method not: 405 */ };

int sl_router_new(const struct sl_snapshot *s, struct sl_diag *diag, struct sl_router **out) SL_MUST_CHECK;
void sl_router_free(struct sl_router *r);
/* *index is the route's place in snapshot->routes. With SL_ROUTE_METHOD, *methods is the bit set allowed
 * there. */
enum sl_route_result sl_router_match(const struct sl_router *r, const struct sl_request *req, uint32_t *index,
                                     uint32_t *methods);

#endif
