/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluicectl explain` collects: a verdict, and the facts that it follows from, each with its place in
 * the policy. */
#ifndef SL_CTL_EXPLAIN_PRIV_H
#define SL_CTL_EXPLAIN_PRIV_H

#include "config/config.h"
#include "ctl/ctl_priv.h"
#include "policy/policy.h"

struct sl_explain {
    const struct sl_ctl *ctl;
    const char *what; /* as asked */
    struct sl_bundle *bundle;
    struct sl_snapshot *s;
    struct sl_policy *policy;
    struct sl_arena arena;
    json_t *values;    /* of the policy, by pointer: where each stands */
    json_t *penalties; /* the daemon's; NULL: none was asked, or it does not answer */
    json_t *facts;
    const char *verdict;
    const char **headers; /* of a request: "Name: value", [n_headers] */
    size_t n_headers;
    const char *from; /* of a request: the address that it comes from; NULL: not given */
};

/* ---- explain.c */
/* One fact; pos NULL (or of line 0): it is nowhere in the policy. */
void sl_explain_say(struct sl_explain *x, const struct sl_pos *pos, const char *fmt, ...) SL_PRINTF(3, 4);
/* The same for a value by its pointer; a list with files in it stands at its first item. */
void sl_explain_say_at(struct sl_explain *x, const char *pointer, const char *fmt, ...) SL_PRINTF(3, 4);
void sl_explain_verdict(struct sl_explain *x, const char *fmt, ...) SL_PRINTF(2, 3);
/* whose: "the tier", "the route"; says nothing where there is no limit. */
void sl_explain_limit(struct sl_explain *x, const char *whose, const struct sl_rate_limit *l);
void sl_explain_in_flight(struct sl_explain *x, const char *whose, const struct sl_in_flight *f);
const char *sl_explain_rate(struct sl_explain *x, const struct sl_rate *r);

/* ---- explain_source.c, explain_consumer.c, explain_request.c */
void sl_explain_source(struct sl_explain *x, const struct sl_ip *ip);
void sl_explain_consumer(struct sl_explain *x, const char *name);
/* false: what was asked is no request, which has been said. */
bool sl_explain_request(struct sl_explain *x, struct sl_slice method, struct sl_slice url);
/* Whether the address may use the route; says why not. */
bool sl_explain_sources(struct sl_explain *x, const struct sl_route *r, const struct sl_ip *ip);
/* ", from host NAME" where another host of the cluster gave it, else "". */
const char *sl_explain_from(struct sl_explain *x, const json_t *entry);
void sl_explain_penalties_of(struct sl_explain *x, const char *consumer);
void sl_explain_usage(struct sl_explain *x, const char *consumer);

#endif
