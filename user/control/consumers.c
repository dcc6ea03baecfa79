/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What consumers have left of their limits, and giving it back to them. Looks their buckets up as a worker
 * would; a limit that is counted otherwise (by address, credential or header) has no bucket of a consumer.
 */
#include "control/cluster_priv.h"
#include "policy/limit.h"

#include <errno.h>
#include <stdio.h>

#define SL_CONSUMERS_SHOWN 1000
#define SL_LIMIT_NAME      320 /* "consumer:" and the longest name */

typedef void (*sl_limit_fn)(struct sl_control *c, const char *name, const struct sl_limit_set *l,
                            const struct sl_limit_subject *s, void *arg);

static int _sl_with(struct sl_control *c, const struct sl_rate_limit *rl, const char *kind, const char *of,
                    const struct sl_limit_subject *s, sl_limit_fn fn, void *arg)
{
    char name[SL_LIMIT_NAME];
    struct sl_limit_set *l = NULL;
    if (rl->n_windows == 0 || rl->by != SL_BY_CONSUMER)
        return 0;
    (void)snprintf(name, sizeof(name), "%s:%s", kind, of);
    const int r = sl_limit_set_new(rl, name, &l);
    if (r < 0)
        return r;
    if (rl->cluster)
        sl_limit_set_share(l, c->snapshot->cluster.seed);
    fn(c, name, l, s, arg);
    sl_limit_set_free(l);
    return 0;
}

/* Calls fn for each limit that counts this consumer; routes: also for those of routes. */
static int _sl_each_limit(struct sl_control *c, const char *who, bool routes, sl_limit_fn fn, void *arg)
{
    const struct sl_snapshot *s = c->snapshot;
    const struct sl_limit_subject subject = {.consumer = sl_slice_str(who)};
    const struct sl_consumer *consumer = sl_map_get(&s->consumers_by_name, subject.consumer);
    const struct sl_tier *tier = consumer ? consumer->tier : s->anonymous;
    const struct sl_rate_limit *limit = sl_rate_limit_of(consumer, tier);
    const bool own = limit != &tier->rate_limit;
    int r =
        _sl_with(c, limit, own ? "consumer" : "tier", own ? consumer->name : tier->name, &subject, fn, arg);
    if (r == 0)
        r = _sl_with(c, &s->limits.rate_limit, "all", "routes", &subject, fn, arg);
    for (size_t i = 0; r == 0 && routes && i < s->n_routes; i++)
        r = _sl_with(c, &s->routes[i].rate_limit, "route", s->routes[i].name, &subject, fn, arg);
    return r;
}

/* ---- usage */

static void _sl_usage(struct sl_control *c, const char *name, const struct sl_limit_set *l,
                      const struct sl_limit_subject *s, void *arg)
{
    struct sl_limit_usage u[4];
    const size_t n = sl_limit_usage(&c->args->buckets, l, s, sl_now_ns(), u);
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(
            arg, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "limit", name, "window",
                           u[i].window->name, "quota", (json_int_t)u[i].window->limit, "remaining",
                           (json_int_t)u[i].remaining, "reset_ms", (json_int_t)(u[i].reset_ns / SL_NS_PER_MS),
                           "admitted", (json_int_t)u[i].admitted, "refused", (json_int_t)u[i].denied,
                           "shared", sl_limit_set_config(l)->cluster));
}

static json_t *_sl_consumer(struct sl_control *c, const char *who, bool routes)
{
    const struct sl_consumer *consumer = sl_map_get(&c->snapshot->consumers_by_name, sl_slice_str(who));
    json_t *limits = json_array();
    if (_sl_each_limit(c, who, routes, _sl_usage, limits) < 0) {
        json_decref(limits);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:b, s:o}", "consumer", who, "tier",
                     consumer ? consumer->tier->name : c->snapshot->anonymous->name, "in_policy",
                     consumer != NULL, "limits", limits);
}

json_t *sl_consumers_json(struct sl_control *c, const char *who)
{
    const struct sl_snapshot *s = c->snapshot;
    json_t *list = json_array();
    const size_t n = SL_MIN(s->n_consumers, (size_t)SL_CONSUMERS_SHOWN);
    if (who)
        (void)json_array_append_new(list, _sl_consumer(c, who, true));
    for (size_t i = 0; !who && i < n; i++)
        (void)json_array_append_new(list, _sl_consumer(c, s->consumers[i].name, false));
    return json_pack("{s:o, s:I}", "consumers", list, "left_out", (json_int_t)(who ? 0 : s->n_consumers - n));
}

/* ---- reset */

static void _sl_reset(struct sl_control *c, const char *name, const struct sl_limit_set *l,
                      const struct sl_limit_subject *s, void *arg)
{
    uint64_t keys[4];
    const unsigned n = sl_limit_reset(&c->args->buckets, l, s, sl_now_ns(), keys);
    (void)name;
    for (unsigned i = 0; i < n && sl_limit_set_config(l)->cluster; i++)
        sl_cluster_forget_bucket(c, keys[i]);
    *(unsigned *)arg += n;
}

int sl_consumers_reset(struct sl_control *c, const char *who)
{
    const struct sl_snapshot *s = c->snapshot;
    unsigned n = 0;
    int r = who ? _sl_each_limit(c, who, true, _sl_reset, &n) : 0;
    if (!who && s->n_consumers > SL_CONSUMERS_SHOWN)
        return -E2BIG;
    for (size_t i = 0; !who && r == 0 && i < s->n_consumers; i++)
        r = _sl_each_limit(c, s->consumers[i].name, true, _sl_reset, &n);
    return r < 0 ? r : (int)n;
}
