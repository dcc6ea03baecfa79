/* SPDX-License-Identifier: Apache-2.0 */
/* All counters as one JSON tree, cumulative: the client makes rates of two of them. And the penalties that
 * hold. */
#include "control/control_priv.h"
#include "kernel/maps.h"

#include <stdio.h>

static json_t *_sl_n(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *_sl_count(const struct sl_count *c)
{
    return json_pack("{s:o, s:o}", "packets", _sl_n(c->packets), "bytes", _sl_n(c->bytes));
}

static json_t *_sl_histogram(const struct sl_histogram *h)
{
    json_t *buckets = json_array();
    for (unsigned i = 0; i < SL_HISTOGRAM_BUCKETS; i++)
        (void)json_array_append_new(buckets, _sl_n(h->buckets[i]));
    return json_pack("{s:o, s:f}", "buckets", buckets, "sum", (double)h->sum_us / 1e6);
}

static json_t *_sl_bounds(void)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < SL_HISTOGRAM_BUCKETS - 1; i++)
        (void)json_array_append_new(a, json_real((double)sl_histogram_bounds_us[i] / 1e6));
    return a;
}

/* By names of the slots; slot 0, "other", only where something was counted there. */
#define SL_EACH_SLOT(c, kind, i) \
    for (uint32_t i = 0; i < sl_slots_count(sl_bundle_slots((c)->bundle), kind); i++)

static const char *_sl_name(const struct sl_control *c, enum sl_slot_kind kind, uint32_t slot)
{
    const char *name = sl_slots_name(sl_bundle_slots(c->bundle), kind, slot);
    return name ? name : "other";
}

static json_t *_sl_listener(const struct sl_control *c, uint32_t slot, const struct sl_listener_counters *l)
{
    struct sl_listener_stats k = {0};
    json_t *j = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "connections", _sl_n(l->connections),
        "active", _sl_n(l->active), "refused", _sl_n(l->refused), "handshakes", _sl_n(l->handshakes),
        "handshake_failures", _sl_n(l->handshake_failures), "resumed", _sl_n(l->resumed), "requests",
        _sl_n(l->requests), "malformed", _sl_n(l->malformed), "bytes_in", _sl_n(l->bytes_in), "bytes_out",
        _sl_n(l->bytes_out), "timeouts", _sl_n(l->timeouts), "tunnels", _sl_n(l->tunnels_active));
    if (c->args->kernel.listener_stats >= 0 &&
        sl_maps_listener(c->args->kernel.listener_stats, slot, &k) == 0)
        (void)json_object_set_new(j, "kernel",
                                  json_pack("{s:o, s:o, s:o}", "passed", _sl_count(&k.passed), "dropped",
                                            _sl_count(&k.dropped), "would_drop", _sl_count(&k.would_drop)));
    return j;
}

static json_t *_sl_route(const struct sl_route_counters *r)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    json_t *codes = json_object(), *reasons = json_object();
    for (unsigned i = 0; i < SL_ARRAY_LEN(classes); i++)
        (void)json_object_set_new(codes, classes[i], _sl_n(r->codes[i]));
    for (unsigned i = SL_WHY_NONE + 1; i < SL_WHY_COUNT; i++)
        if (r->reasons[i])
            (void)json_object_set_new(reasons, sl_proxy_reason_name((enum sl_proxy_reason)i),
                                      _sl_n(r->reasons[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "codes", codes, "reasons", reasons, "bytes_in",
                     _sl_n(r->bytes_in), "bytes_out", _sl_n(r->bytes_out), "seconds",
                     _sl_histogram(&r->seconds));
}

static json_t *_sl_upstream(const struct sl_upstream_counters *u)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "requests", _sl_n(u->requests),
                     "connects", _sl_n(u->connects), "connect_failures", _sl_n(u->connect_failures), "resets",
                     _sl_n(u->resets), "timeouts", _sl_n(u->timeouts), "retries", _sl_n(u->retries), "reused",
                     _sl_n(u->reused), "active", _sl_n(u->active), "idle", _sl_n(u->idle), "first_byte",
                     _sl_histogram(&u->first_byte));
}

static json_t *_sl_kernel(const struct sl_control *c)
{
    struct sl_count hit[SL_REASON_COUNT], would[SL_REASON_COUNT];
    json_t *j = json_object();
    if (c->args->kernel.reasons < 0 || sl_maps_reasons(c->args->kernel.reasons, hit, would) < 0)
        return j;
    for (unsigned i = 0; i < SL_REASON_COUNT; i++)
        (void)json_object_set_new(
            j, sl_reason_name((enum sl_reason)i),
            json_pack("{s:o, s:o, s:o, s:o, s:b, s:b}", "packets", _sl_n(hit[i].packets), "bytes",
                      _sl_n(hit[i].bytes), "would_drop_packets", _sl_n(would[i].packets), "would_drop_bytes",
                      _sl_n(would[i].bytes), "drops", sl_reason_drops((enum sl_reason)i), "answers",
                      sl_reason_answers((enum sl_reason)i)));
    return j;
}

static json_t *_sl_consumers(const struct sl_control *c)
{
    json_t *j = json_object();
    for (size_t i = 0; c->args->kernel.consumer_bytes >= 0 && i < c->snapshot->n_consumers; i++) {
        const struct sl_consumer *who = &c->snapshot->consumers[i];
        struct sl_consumer_bytes b;
        if (sl_maps_consumer_bytes(c->args->kernel.consumer_bytes, who->slot, &b) == 0 &&
            (b.in.packets || b.out.packets))
            (void)json_object_set_new(
                j, who->name, json_pack("{s:o, s:o}", "in", _sl_count(&b.in), "out", _sl_count(&b.out)));
    }
    return j;
}

json_t *sl_top_json(const struct sl_control *c)
{
    struct sl_totals *t = malloc(sizeof(*t));
    json_t *listeners = json_object(), *tiers = json_object(), *upstreams = json_object(),
           *routes = json_object();
    if (!t)
        return NULL;
    sl_totals_sum(&c->args->counters, t);
    SL_EACH_SLOT(c, SL_SLOT_LISTENER, i)
    if (i)
        (void)json_object_set_new(listeners, _sl_name(c, SL_SLOT_LISTENER, i),
                                  _sl_listener(c, i, &t->listeners[sl_slot(i, SL_COUNTER_LISTENERS)]));
    SL_EACH_SLOT(c, SL_SLOT_TIER, i)
    {
        const struct sl_tier_counters *n = &t->tiers[sl_slot(i, SL_COUNTER_TIERS)];
        if (i)
            (void)json_object_set_new(tiers, _sl_name(c, SL_SLOT_TIER, i),
                                      json_pack("{s:o, s:o, s:o}", "admitted", _sl_n(n->admitted), "limited",
                                                _sl_n(n->limited), "penalties", _sl_n(n->penalties)));
    }
    SL_EACH_SLOT(c, SL_SLOT_UPSTREAM, i)
    if (i)
        (void)json_object_set_new(upstreams, _sl_name(c, SL_SLOT_UPSTREAM, i),
                                  _sl_upstream(&t->upstreams[sl_slot(i, SL_COUNTER_UPSTREAMS)]));
    SL_EACH_SLOT(c, SL_SLOT_ROUTE, i)
    {
        struct sl_route_counters r;
        sl_totals_route(&c->args->counters, i, &r);
        (void)json_object_set_new(routes, _sl_name(c, SL_SLOT_ROUTE, i), _sl_route(&r));
    }
    free(t);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "now_ms", _sl_n(sl_wall_ns() / SL_NS_PER_MS),
                     "histogram_bounds_seconds", _sl_bounds(), "listeners", listeners, "routes", routes,
                     "tiers", tiers, "upstreams", upstreams, "kernel", _sl_kernel(c), "consumers",
                     _sl_consumers(c));
}

/* ---- penalties */

struct sl_penalties_list {
    const struct sl_control *c;
    json_t *list;
};

static const char *_sl_origin(const struct sl_control *c, const struct sl_penalty_key *k)
{
    const struct sl_ip ip = {.family = k->family, .addr = k->addr};
    const struct sl_cidr of = sl_ip_source(&ip);
    return k->scope == SL_PENALTY_FLOW ? "" : sl_cluster_origin(c, SL_SHARED_PENALTY, &of);
}

static int _sl_penalty(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    static const char *const effects[] = {"", "flow", "connect", "source"};
    const struct sl_penalties_list *all = arg;
    uint64_t now = sl_now_ns();
    struct sl_ip ip = {.family = k->family, .addr = k->addr};
    char address[SL_IP_STRLEN], source[SL_IP_STRLEN + 8];
    (void)sl_ip_text(&ip, address);
    if (k->scope == SL_PENALTY_FLOW)
        (void)snprintf(source, sizeof(source), k->family == SL_AF_INET6 ? "[%s]:%u" : "%s:%u", address,
                       ntohs(k->sport_be));
    else
        (void)snprintf(source, sizeof(source), "%s%s", address, k->family == SL_AF_INET6 ? "/64" : "");
    json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:s, s:s, s:s}", "source", source, "effect",
                          v->effect < SL_ARRAY_LEN(effects) ? effects[v->effect] : "", "left_ms",
                          _sl_n(v->deadline_ns > now ? (v->deadline_ns - now) / SL_NS_PER_MS : 0), "level",
                          _sl_n(v->level), "rejections", _sl_n(v->rejections), "manual", v->manual != 0,
                          "consumer", v->consumer, "rule", v->rule, "from", _sl_origin(all->c, k));
    return json_array_append_new(all->list, j);
}

/* The operators' own, and other hosts'; left_ms null: until it is taken back. */
static json_t *_sl_denies(const struct sl_control *c)
{
    json_t *list = json_array(), *d;
    const uint64_t now = sl_now_ns();
    size_t i;
    json_array_foreach(json_object_get(json_object_get(c->state, "kernel"), "denies"), i, d)
    {
        const uint64_t end = (uint64_t)json_integer_value(json_object_get(d, "deadline_ns"));
        const char *source = json_string_value(json_object_get(d, "source"));
        struct sl_cidr prefix;
        if (sl_cidr_parse(sl_slice_str(source), &prefix) < 0 || (end && end <= now))
            continue;
        (void)json_array_append_new(list, json_pack("{s:s, s:o, s:s}", "source", source, "left_ms",
                                                    end ? _sl_n((end - now) / SL_NS_PER_MS) : json_null(),
                                                    "from", sl_cluster_origin(c, SL_SHARED_DENY, &prefix)));
    }
    return list;
}

json_t *sl_penalties_json(const struct sl_control *c)
{
    struct sl_penalties_list all = {.c = c, .list = json_array()};
    if (c->args->kernel.penalties >= 0)
        (void)sl_maps_penalties(c->args->kernel.penalties, _sl_penalty, &all);
    return json_pack("{s:o, s:o}", "penalties", all.list, "denies", _sl_denies(c));
}
