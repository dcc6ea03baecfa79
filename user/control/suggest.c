/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What limits may be proposed of, as JSON: for each that is written, and for consumers and routes without
 * one, the evidence of each window, and where it stands. What follows from it, `sluicectl suggest` says.
 */
#include "control/demand_priv.h"

static const char *const _sl_windows[SL_DEMAND_WINDOWS] = {"second", "minute", "hour", "day"};

static json_t *_sl_n(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *_sl_window(const struct sl_demand *d, uint32_t series, unsigned w)
{
    struct sl_evidence_sum e;
    sl_evidence_sum(d->evidence, series, w, &e);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "window", _sl_windows[w], "limit",
                     _sl_n(d->evidence->series[series].limit[w]), "peak", _sl_n(e.peak), "p99", _sl_n(e.p99),
                     "busy", _sl_n(e.busy), "watched", _sl_n(e.watched), "bound", _sl_n(e.bound), "bound_of",
                     _sl_n(e.bound_of), "bound_days", _sl_n(e.bound_days), "bound_days_of",
                     _sl_n(e.bound_days_of));
}

static json_t *_sl_askers(uint32_t bits)
{
    static const char *const names[] = {
        [SL_ASKER_CONSUMER] = "consumer", [SL_ASKER_NAME] = "name", [SL_ASKER_ADDRESS] = "address"};
    json_t *list = json_array();
    for (unsigned i = SL_ASKER_CONSUMER; i <= SL_ASKER_ADDRESS; i++)
        if (bits >> i & 1)
            (void)json_array_append_new(list, json_string(names[i]));
    return list;
}

/* What the limit counts, and where it stands; rl without a window: it would count consumers. */
static void _sl_limit(json_t *j, const struct sl_rate_limit *rl)
{
    static const char *const by[] = {[SL_BY_CONSUMER] = "consumer",
                                     [SL_BY_IP] = "ip",
                                     [SL_BY_CREDENTIAL] = "credential",
                                     [SL_BY_HEADER] = "header"};
    (void)json_object_set_new(j, "by", json_string(by[rl->n_windows ? rl->by : SL_BY_CONSUMER]));
    (void)json_object_set_new(j, "shadow", json_boolean(rl->shadow));
    (void)json_object_set_new(j, "cluster", json_boolean(rl->cluster));
    if (rl->n_windows && rl->pos.line) {
        (void)json_object_set_new(j, "file", json_string(rl->pos.file));
        (void)json_object_set_new(j, "line", json_integer(rl->pos.line));
    }
}

static void _sl_one(const struct sl_demand *d, json_t *list, enum sl_evidence_kind kind, const char *name,
                    const struct sl_rate_limit *rl)
{
    static const char *const kinds[] = {[SL_EVIDENCE_ALL] = "limits",
                                        [SL_EVIDENCE_TIER] = "tiers",
                                        [SL_EVIDENCE_CONSUMER] = "consumers",
                                        [SL_EVIDENCE_ROUTE] = "routes"};
    const int i = sl_demand_series(d, kind, name);
    json_t *windows = json_array();
    for (unsigned w = 0; i >= 0 && w < SL_DEMAND_WINDOWS; w++)
        (void)json_array_append_new(windows, _sl_window(d, (uint32_t)i, w));
    json_t *j = json_pack("{s:s, s:s, s:o, s:o}", "section", kinds[kind], "name", name, "askers",
                          _sl_askers(i >= 0 ? d->evidence->series[i].askers : 0), "windows", windows);
    if (j)
        _sl_limit(j, rl);
    (void)json_array_append_new(list, j);
}

/* A consumer whose tier has a limit is held by that, and the tier's evidence is its too. */
static void _sl_consumers(const struct sl_demand *d, json_t *list)
{
    const struct sl_snapshot *s = d->control->snapshot;
    for (uint32_t i = 0; i < sl_evidence_count(d->evidence); i++) {
        const struct sl_evidence_series *e = &d->evidence->series[i];
        const struct sl_consumer *c =
            e->kind == SL_EVIDENCE_CONSUMER ? sl_map_get(&s->consumers_by_name, sl_evidence_name(e)) : NULL;
        const struct sl_rate_limit *rl = c ? sl_rate_limit_of(c, c->tier) : NULL;
        if (c && (rl != &c->tier->rate_limit || !rl->n_windows))
            _sl_one(d, list, SL_EVIDENCE_CONSUMER, c->name, rl);
    }
}

/* The kernel's rate that a proxy's limit may not be over (config/check.c), the least of them. */
static json_t *_sl_ceiling(const struct sl_kernel *k)
{
    const struct {
        const char *key;
        const struct sl_rate *rate;
    } all[] = {{"kernel.per_source.new_connections", &k->per_source.new_connections},
               {"kernel.per_source.packets", &k->per_source.packets},
               {"kernel.per_prefix.new_connections", &k->per_prefix.new_connections},
               {"kernel.per_listener.new_connections", &k->per_listener.new_connections}};
    double least = 0;
    const char *key = NULL;
    for (size_t i = 0; k->mode != SL_KERNEL_OFF && i < SL_ARRAY_LEN(all); i++) {
        const double rate =
            all[i].rate->count ? (double)all[i].rate->count * 1e9 / (double)all[i].rate->per_ns : 0;
        if (rate > 0 && (!key || rate < least)) {
            least = rate;
            key = all[i].key;
        }
    }
    return key ? json_pack("{s:s, s:f}", "key", key, "per_second", least) : json_null();
}

json_t *sl_suggest_json(const struct sl_control *c)
{
    const struct sl_snapshot *s = c->snapshot;
    const struct sl_evidence *e = c->demand->evidence;
    const unsigned now = e->now & 1;
    const uint64_t since = e->begun_s[!now] ? e->begun_s[!now] : e->begun_s[now];
    json_t *list = json_array();
    if (s->limits.rate_limit.n_windows)
        _sl_one(c->demand, list, SL_EVIDENCE_ALL, "", &s->limits.rate_limit);
    for (size_t i = 0; i < s->n_tiers; i++)
        if (s->tiers[i].rate_limit.n_windows)
            _sl_one(c->demand, list, SL_EVIDENCE_TIER, s->tiers[i].name, &s->tiers[i].rate_limit);
    _sl_consumers(c->demand, list);
    for (size_t i = 0; i < s->n_routes; i++)
        _sl_one(c->demand, list, SL_EVIDENCE_ROUTE, s->routes[i].name, &s->routes[i].rate_limit);
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "since_s", _sl_n(since), "watched_s",
                     _sl_n((uint64_t)e->closed[0][0] + e->closed[1][0]), "without", _sl_n(e->without),
                     "ceiling", _sl_ceiling(&s->kernel), "limits", list);
}
