/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics. One table says which field is which family. Labels are names of the policy, never paths or what
 * clients send, so the number of series is the policy's; past observe.metrics.max_series what is left is
 * added to "other".
 */
#include "telemetry/metrics.h"
#include "control/control_priv.h"
#include "control/metrics_guard_priv.h"
#include "control/metrics_refused_priv.h"
#include "control/metrics_tls_priv.h"
#include "kernel/maps.h"

#include <errno.h>

struct sl_page {
    struct sl_route_counters other; /* of the routes */
    const struct sl_control *c;
    struct sl_totals *t; /* our own copy: rows that are not shown are added to row 0 */
    uint64_t folded;     /* series that went into "other" */
    struct sl_metrics m;
};

static const char *_sl_slot_name(const struct sl_page *p, enum sl_slot_kind kind, uint32_t slot)
{
    const char *name = slot ? sl_slots_name(sl_bundle_slots(p->c->bundle), kind, slot) : NULL;
    return name ? name : "other";
}

static uint32_t _sl_slots(const struct sl_page *p, enum sl_slot_kind kind, uint32_t table)
{
    size_t n = sl_slots_count(sl_bundle_slots(p->c->bundle), kind);
    return (uint32_t)SL_MIN(n, table);
}

static bool _sl_any(const void *row, size_t size)
{
    const unsigned char *p = row;
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return true;
    return false;
}

/* ---- families that are one field of each listener, tier or upstream */

struct sl_field {
    const char *name, *type, *help;
    size_t offset;
};
#define SL_L(name, type, field, help)                                  \
    {                                                                  \
        name, type, help, offsetof(struct sl_listener_counters, field) \
    }
static const struct sl_field _sl_listener_fields[] = {
    SL_L("listener_connections_total", "counter", connections, "connections accepted"),
    SL_L("listener_active_connections", "gauge", active, "connections open"),
    SL_L("listener_refused_total", "counter", refused, "connections refused as soon as they were accepted"),
    SL_L("listener_evicted_total", "counter", evicted, "idle connections closed to make room"),
    SL_L("listener_accept_failures_total", "counter", accept_failures,
         "times that accept() had no descriptor"),
    SL_L("listener_source_table_full_total", "counter", source_table_full,
         "connections that the full table of sources did not count"),
    SL_L("listener_too_slow_total", "counter", too_slow, "requests ended because of limits.min_rate"),
    SL_L("listener_handshakes_total", "counter", handshakes, "TLS handshakes completed"),
    SL_L("listener_handshake_failures_total", "counter", handshake_failures,
         "TLS handshakes failed or timed out"),
    SL_L("listener_resumed_total", "counter", resumed, "TLS handshakes that resumed a session"),
    SL_L("listener_requests_total", "counter", requests, "requests begun"),
    SL_L("listener_malformed_total", "counter", malformed, "requests refused by the HTTP codec"),
    SL_L("listener_received_bytes_total", "counter", bytes_in, "bytes from clients, without TLS"),
    SL_L("listener_sent_bytes_total", "counter", bytes_out, "bytes to clients, without TLS"),
    SL_L("listener_timeouts_total", "counter", timeouts, "connections and exchanges ended by a deadline"),
    SL_L("listener_proxy_untrusted_total", "counter", proxy_untrusted,
         "connections refused: proxy_protocol, and not from trusted_proxies"),
    SL_L("listener_proxy_malformed_total", "counter", proxy_malformed,
         "connections refused: no PROXY header, or one that cannot be read"),
    SL_L("listener_tunnels_total", "counter", tunnels, "requests that became a WebSocket"),
    SL_L("listener_active_tunnels", "gauge", tunnels_active, "WebSockets open"),
    SL_L("listener_h2_connections_total", "counter", h2_connections, "connections that spoke HTTP/2"),
};
#define SL_T(name, type, field, help)                              \
    {                                                              \
        name, type, help, offsetof(struct sl_tier_counters, field) \
    }
static const struct sl_field _sl_tier_fields[] = {
    SL_T("tier_admitted_total", "counter", admitted, "requests that the limits admitted"),
    SL_T("tier_limited_total", "counter", limited, "requests that a limit refused"),
    SL_T("tier_penalties_total", "counter", penalties, "penalties asked of the kernel"),
    SL_T("tier_in_flight_refused_total", "counter", in_flight,
         "requests refused because of too many at once"),
    SL_T("tier_shadow_limited_total", "counter", shadowed,
         "requests that a limit in shadow mode would refuse"),
    SL_T("tier_bandwidth_waits_total", "counter", bandwidth_waits,
         "times that a connection waited for its consumer's bandwidth"),
};
#define SL_U(name, type, field, help)                                  \
    {                                                                  \
        name, type, help, offsetof(struct sl_upstream_counters, field) \
    }
static const struct sl_field _sl_upstream_fields[] = {
    SL_U("upstream_requests_total", "counter", requests, "requests sent to the upstream"),
    SL_U("upstream_connects_total", "counter", connects, "connections opened"),
    SL_U("upstream_connect_failures_total", "counter", connect_failures,
         "connections that could not be opened"),
    SL_U("upstream_resets_total", "counter", resets, "connections that broke before the answer was whole"),
    SL_U("upstream_timeouts_total", "counter", timeouts, "exchanges that the upstream took too long for"),
    SL_U("upstream_retries_total", "counter", retries, "requests sent again"),
    SL_U("upstream_retries_denied_total", "counter", retries_denied,
         "retries that the route's budget had no room for"),
    SL_U("upstream_reused_total", "counter", reused, "requests on a kept connection"),
    SL_U("upstream_handshakes_total", "counter", handshakes, "TLS handshakes completed"),
    SL_U("upstream_resumed_total", "counter", resumed, "TLS handshakes that resumed a session"),
    SL_U("upstream_active_connections", "gauge", active, "connections in use"),
    SL_U("upstream_idle_connections", "gauge", idle, "connections kept for the next request"),
    SL_U("upstream_pending", "gauge", pending, "requests that wait for a connection"),
    SL_U("upstream_overloaded_total", "counter", overloaded, "requests refused over max_pending"),
    SL_U("upstream_breaker_opened_total", "counter", breaker_opened, "times that the breaker opened"),
    SL_U("upstream_breaker_refused_total", "counter", breaker_refused,
         "requests that the open breaker refused"),
    SL_U("upstream_ejections_total", "counter", ejections, "targets ejected for failures in a row"),
    SL_U("upstream_panics_total", "counter", panics,
         "requests that all targets were taken for, since too few were healthy"),
};

/* Rows of one kind: how many are shown under their own names, row 0 ("other") counted in. */
struct sl_rows {
    enum sl_slot_kind kind;
    const char *label; /* NULL: one sum, without it */
    void *rows;
    size_t size;
    uint32_t n, shown;
};

static struct sl_rows _sl_rows_new(struct sl_page *p, enum sl_slot_kind kind, const char *label, void *rows,
                                   size_t size, uint32_t table, uint32_t series)
{
    struct sl_rows r = {.kind = kind, .label = label, .rows = rows, .size = size};
    r.n = _sl_slots(p, kind, table);
    r.shown = label ? SL_MIN(r.n, SL_MAX(p->m.left / series, 1u)) : 1;
    for (uint32_t i = r.shown; i < r.n; i++)
        sl_totals_add(rows, (const char *)rows + i * size, size);
    p->folded += label ? (uint64_t)(r.n - r.shown) * series : 0;
    return r;
}

static void *_sl_row(const struct sl_rows *r, uint32_t i)
{
    char *at = (char *)r->rows + i * r->size;
    return i || !r->label || _sl_any(at, r->size) ? at : NULL;
}

static void _sl_fields(struct sl_page *p, const struct sl_field *f, size_t n, const struct sl_rows *r)
{
    for (size_t i = 0; i < n; i++) {
        sl_metrics_family(&p->m, f[i].name, f[i].type, f[i].help);
        for (uint32_t s = 0; s < r->shown; s++) {
            const char *row = _sl_row(r, s);
            const char *const labels[] = {r->label, _sl_slot_name(p, r->kind, s), NULL};
            uint64_t v;
            if (!row)
                continue;
            memcpy(&v, row + f[i].offset, sizeof(v));
            sl_metrics_sample(&p->m, f[i].name, labels, (double)v);
        }
    }
}

/* at: of the counters by reason in a row. */
static void _sl_reasons(struct sl_page *p, const char *family, const char *help, const struct sl_rows *r,
                        size_t at, sl_metrics_by_reason print)
{
    sl_metrics_family(&p->m, family, "counter", help);
    for (uint32_t s = 0; s < r->shown; s++) {
        const char *row = _sl_row(r, s);
        if (row)
            print(&p->m, family, r->label, _sl_slot_name(p, r->kind, s),
                  (const uint64_t *)(const void *)(row + at));
    }
}

static void _sl_listeners(struct sl_page *p)
{
    struct sl_rows r =
        _sl_rows_new(p, SL_SLOT_LISTENER, "listener", p->t->listeners, sizeof(p->t->listeners[0]),
                     SL_COUNTER_LISTENERS, SL_ARRAY_LEN(_sl_listener_fields));
    _sl_fields(p, _sl_listener_fields, SL_ARRAY_LEN(_sl_listener_fields), &r);
    _sl_reasons(p, "listener_tls_failures_total", "TLS handshakes that failed, by reason", &r,
                offsetof(struct sl_listener_counters, tls_failures), sl_metrics_tls);
    _sl_reasons(p, "listener_h2_ended_total", "HTTP/2 connections that the gateway ended, by reason", &r,
                offsetof(struct sl_listener_counters, h2_ended), sl_metrics_h2);
    _sl_reasons(p, "listener_refused_reason_total",
                "connections refused as soon as they were accepted, by reason", &r,
                offsetof(struct sl_listener_counters, refused_by), sl_metrics_refusals);
}

static void _sl_tiers(struct sl_page *p)
{
    struct sl_rows r =
        _sl_rows_new(p, SL_SLOT_TIER, p->c->snapshot->metrics.by_tier ? "tier" : NULL, p->t->tiers,
                     sizeof(p->t->tiers[0]), SL_COUNTER_TIERS, SL_ARRAY_LEN(_sl_tier_fields));
    _sl_fields(p, _sl_tier_fields, SL_ARRAY_LEN(_sl_tier_fields), &r);
}

static void _sl_upstreams(struct sl_page *p)
{
    struct sl_rows r =
        _sl_rows_new(p, SL_SLOT_UPSTREAM, "upstream", p->t->upstreams, sizeof(p->t->upstreams[0]),
                     SL_COUNTER_UPSTREAMS, SL_ARRAY_LEN(_sl_upstream_fields) + SL_HISTOGRAM_SERIES);
    _sl_fields(p, _sl_upstream_fields, SL_ARRAY_LEN(_sl_upstream_fields), &r);
    _sl_reasons(p, "upstream_tls_failures_total", "TLS handshakes that failed, by reason", &r,
                offsetof(struct sl_upstream_counters, tls_failures), sl_metrics_tls);
    sl_metrics_family(&p->m, "upstream_first_byte_seconds", "histogram",
                      "from the request's last byte to the answer's first");
    for (uint32_t s = 0; s < r.shown; s++) {
        const struct sl_upstream_counters *u = _sl_row(&r, s);
        const char *const label[] = {r.label, _sl_slot_name(p, r.kind, s), NULL};
        if (u)
            sl_metrics_histogram(&p->m, "upstream_first_byte_seconds", label, &u->first_byte);
    }
}

/* ---- routes: too many to copy them all, so each is summed when it is printed */

#define SL_ROUTE_BYTES 2 /* series: in and out */
static const char *const _sl_classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

static uint32_t _sl_route_series(const struct sl_page *p, const struct sl_route_counters *r)
{
    uint32_t n = SL_HISTOGRAM_SERIES + SL_ROUTE_BYTES +
                 (p->c->snapshot->metrics.by_code ? SL_ARRAY_LEN(_sl_classes) : 1);
    for (unsigned i = SL_WHY_NONE + 1; i < SL_WHY_COUNT; i++)
        n += r->reasons[i] != 0;
    return n;
}

/* How many routes are shown by name, "other" counted in; it gets what the others counted. */
static uint32_t _sl_routes_shown(struct sl_page *p, uint32_t slots)
{
    const struct sl_counters *c = &p->c->args->counters;
    uint32_t need = SL_HISTOGRAM_SERIES + SL_ROUTE_BYTES + SL_ARRAY_LEN(_sl_classes) + SL_WHY_COUNT,
             shown = 1;
    struct sl_route_counters r;
    sl_totals_route(c, 0, &p->other);
    for (uint32_t s = 1; s < slots; s++) {
        sl_totals_route(c, s, &r);
        uint32_t series = _sl_route_series(p, &r);
        if (p->c->snapshot->metrics.by_route && shown == s && need + series <= p->m.left) {
            need += series;
            shown++;
            continue;
        }
        sl_totals_add(&p->other, &r, sizeof(r));
        p->folded += p->c->snapshot->metrics.by_route ? series : 0;
    }
    return shown;
}

/* False: nothing was counted where no route is named. */
static bool _sl_route_row(const struct sl_page *p, uint32_t slot, struct sl_route_counters *out)
{
    if (slot)
        sl_totals_route(&p->c->args->counters, slot, out);
    else
        *out = p->other;
    return slot || !p->c->snapshot->metrics.by_route || _sl_any(out, sizeof(*out));
}

static void _sl_route_codes(struct sl_page *p, const struct sl_route_counters *r, const char *const *route)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < SL_ARRAY_LEN(_sl_classes); i++) {
        const char *const labels[] = {"code", _sl_classes[i], route[0], route[0] ? route[1] : NULL, NULL};
        if (p->c->snapshot->metrics.by_code)
            sl_metrics_sample(&p->m, "route_responses_total", labels, (double)r->codes[i]);
        all += r->codes[i];
    }
    if (!p->c->snapshot->metrics.by_code)
        sl_metrics_sample(&p->m, "route_responses_total", route, (double)all);
}

static void _sl_route_reasons(struct sl_page *p, const struct sl_route_counters *r, const char *const *route)
{
    for (unsigned i = SL_WHY_NONE + 1; i < SL_WHY_COUNT; i++) {
        const char *const labels[] = {"reason", sl_proxy_reason_name((enum sl_proxy_reason)i), route[0],
                                      route[0] ? route[1] : NULL, NULL};
        if (r->reasons[i])
            sl_metrics_sample(&p->m, "route_refusals_total", labels, (double)r->reasons[i]);
    }
}

static void _sl_route_received(struct sl_page *p, const struct sl_route_counters *r, const char *const *route)
{
    sl_metrics_sample(&p->m, "route_received_bytes_total", route, (double)r->bytes_in);
}

static void _sl_route_sent(struct sl_page *p, const struct sl_route_counters *r, const char *const *route)
{
    sl_metrics_sample(&p->m, "route_sent_bytes_total", route, (double)r->bytes_out);
}

static void _sl_route_seconds(struct sl_page *p, const struct sl_route_counters *r, const char *const *route)
{
    sl_metrics_histogram(&p->m, "route_request_seconds", route, &r->seconds);
}

static void _sl_routes(struct sl_page *p)
{
    static const struct {
        const char *name, *type, *help;
        void (*print)(struct sl_page *, const struct sl_route_counters *, const char *const *);
    } families[] = {
        {"route_responses_total", "counter", "answers by first digit of the status", _sl_route_codes},
        {"route_refusals_total", "counter", "answers of the gateway's own, by reason", _sl_route_reasons},
        {"route_received_bytes_total", "counter", "bytes of requests' bodies", _sl_route_received},
        {"route_sent_bytes_total", "counter", "bytes of answers' bodies", _sl_route_sent},
        {"route_request_seconds", "histogram", "from the request's head to the answer's last byte",
         _sl_route_seconds},
    };
    bool by_route = p->c->snapshot->metrics.by_route;
    uint32_t shown = _sl_routes_shown(p, _sl_slots(p, SL_SLOT_ROUTE, SL_COUNTER_ROUTES));
    for (unsigned f = 0; f < SL_ARRAY_LEN(families); f++) {
        sl_metrics_family(&p->m, families[f].name, families[f].type, families[f].help);
        for (uint32_t s = 0; s < shown; s++) {
            struct sl_route_counters r;
            const char *const route[] = {by_route ? "route" : NULL, _sl_slot_name(p, SL_SLOT_ROUTE, s), NULL};
            if (_sl_route_row(p, s, &r))
                families[f].print(p, &r, route);
        }
    }
}

/* ---- the kernel */

static void _sl_kernel_reasons(struct sl_page *p)
{
    static const char *const names[] = {"kernel_packets_total", "kernel_bytes_total",
                                        "kernel_would_drop_packets_total"};
    static const char *const helps[] = {"packets by verdict of the guard", "bytes by verdict of the guard",
                                        "packets that shadow mode let pass"};
    struct sl_count hit[SL_REASON_COUNT], would[SL_REASON_COUNT];
    if (p->c->args->kernel.reasons < 0 || sl_maps_reasons(p->c->args->kernel.reasons, hit, would) < 0)
        return;
    for (unsigned f = 0; f < 3; f++) {
        sl_metrics_family(&p->m, names[f], "counter", helps[f]);
        for (unsigned i = 0; i < SL_REASON_COUNT; i++) {
            enum sl_reason r = (enum sl_reason)i;
            if (f < 2 || sl_reason_drops(r) || sl_reason_answers(r))
                sl_metrics_sample(&p->m, names[f],
                                  (const char *const[]){"reason", sl_reason_name(r), "drops",
                                                        sl_reason_drops(r) ? "true" : "false", NULL},
                                  (double)(f == 0   ? hit[i].packets
                                           : f == 1 ? hit[i].bytes
                                                    : would[i].packets));
        }
    }
}

static void _sl_attachments(struct sl_page *p)
{
    size_t i;
    json_t *at;
    sl_metrics_family(&p->m, "kernel_attach_mode", "gauge", "1 for the mode in which the guard is attached");
    json_array_foreach(json_object_get(json_object_get(p->c->state, "kernel"), "interfaces"), i, at)
    {
        const char *name = json_string_value(json_object_get(at, "interface")),
                   *mode = json_string_value(json_object_get(at, "xdp"));
        if (name && mode)
            sl_metrics_sample(&p->m, "kernel_attach_mode",
                              (const char *const[]){"interface", name, "mode", mode, NULL}, 1);
    }
}

static void _sl_features(struct sl_page *p)
{
    size_t i;
    json_t *f;
    sl_metrics_family(&p->m, "kernel_feature", "gauge",
                      "1 where the kernel has it, 0 where it is done without");
    json_array_foreach(json_object_get(json_object_get(p->c->state, "kernel"), "features"), i, f)
    {
        const char *name = json_string_value(json_object_get(f, "name"));
        if (name)
            sl_metrics_sample(&p->m, "kernel_feature", (const char *const[]){"feature", name, NULL},
                              json_is_true(json_object_get(f, "present")));
    }
}

static int _sl_count_penalty(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    (void)k, (void)v;
    ++*(uint64_t *)arg;
    return 0;
}

static void _sl_kernel(struct sl_page *p)
{
    uint64_t penalties = 0;
    if (p->c->args->kernel.penalties < 0)
        return;
    _sl_kernel_reasons(p);
    _sl_attachments(p);
    _sl_features(p);
    sl_metrics_guard(p->c, &p->m);
    (void)sl_maps_penalties(p->c->args->kernel.penalties, _sl_count_penalty, &penalties);
    sl_metrics_one(&p->m, "kernel_penalties", "gauge", "penalties that hold", (double)penalties);
    const json_t *kernel = json_object_get(p->c->state, "kernel");
    sl_metrics_one(&p->m, "kernel_penalties_evicted_total", "counter",
                   "penalties that ended early: the table was full and theirs was the nearest end",
                   json_number_value(json_object_get(kernel, "penalties_evicted")));
    sl_metrics_one(&p->m, "kernel_penalties_refused_total", "counter",
                   "penalties that the full table had no room for",
                   json_number_value(json_object_get(kernel, "penalties_refused")));
}

/* ---- the daemon itself */

static double _sl_restarts(const struct sl_page *p)
{
    double n = 0;
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(p->c->state, "workers"), i, w)
    {
        n += json_number_value(json_object_get(w, "restarts"));
    }
    return n;
}

static void _sl_daemon(struct sl_page *p)
{
    uint64_t sum[8] = {0};
    for (uint32_t i = 0; i < sl_counters_blocks(&p->c->args->counters); i++) {
        const struct sl_worker_counters *b = &p->c->args->counters.blocks[i];
        const uint64_t parts[8] = {b->jwt_cache_hits, b->jwt_cache_misses, b->jwt_verified,
                                   b->jwt_refused,    b->log_lines,        b->log_dropped,
                                   b->requests_lost,  b->connections_lost};
        for (unsigned k = 0; k < SL_ARRAY_LEN(sum); k++)
            sum[k] += parts[k];
    }
    sl_metrics_one(&p->m, "jwt_cache_hits_total", "counter", "tokens found in the verified-token cache",
                   (double)sum[0]);
    sl_metrics_one(&p->m, "jwt_cache_misses_total", "counter", "tokens not found there", (double)sum[1]);
    sl_metrics_one(&p->m, "jwt_verified_total", "counter", "signatures checked", (double)sum[2]);
    sl_metrics_one(&p->m, "jwt_refused_total", "counter", "tokens refused", (double)sum[3]);
    sl_metrics_auth(p->c, &p->m);
    sl_metrics_tokens(p->c, &p->m);
    sl_metrics_one(&p->m, "access_log_lines_total", "counter", "lines of the access log", (double)sum[4]);
    sl_metrics_one(&p->m, "access_log_dropped_total", "counter", "lines of the access log that were lost",
                   (double)sum[5]);
    sl_metrics_limits(p->c, &p->m);
    sl_metrics_one(&p->m, "requests_lost_total", "counter", "requests under way when their worker died",
                   (double)sum[6]);
    sl_metrics_one(&p->m, "connections_lost_total", "counter",
                   "connections that ended when their worker died", (double)sum[7]);
    sl_metrics_one(&p->m, "worker_restarts_total", "counter", "workers started again after they died",
                   _sl_restarts(p));
    sl_metrics_one(&p->m, "workers", "gauge", "worker processes", p->c->args->counters.workers);
    sl_metrics_one(&p->m, "policy_version", "gauge", "version of the policy in force, counted from the start",
                   (double)p->c->version);
    sl_metrics_one(&p->m, "policy_on_trial", "gauge",
                   "1 while the policy in force is taken back unless it is confirmed",
                   json_is_true(json_object_get(json_object_get(p->c->state, "trial"), "waits")));
    sl_metrics_one(&p->m, "ready", "gauge", "1 when every worker serves the policy in force",
                   sl_control_ready(p->c));
    sl_metrics_one(&p->m, "uptime_seconds", "gauge", "since the controller started",
                   (double)(sl_now_ns() - p->c->started_ns) / 1e9);
    sl_metrics_family(&p->m, "policy_info", "gauge", "the policy in force, by its hash");
    sl_metrics_sample(&p->m, "policy_info", (const char *const[]){"hash", p->c->snapshot->hash, NULL}, 1);
    sl_metrics_family(&p->m, "build_info", "gauge", "the running version");
    sl_metrics_sample(&p->m, "build_info", (const char *const[]){"version", SL_VERSION, NULL}, 1);
}

int sl_metrics_print(const struct sl_control *c, struct sl_buf *out)
{
    struct sl_page p = {.c = c, .m = {.out = out, .left = c->snapshot->metrics.max_series}};
    p.t = malloc(sizeof(*p.t));
    if (!p.t)
        return -ENOMEM;
    sl_totals_sum(&c->args->counters, p.t);
    _sl_daemon(&p);
    _sl_kernel(&p);
    _sl_listeners(&p);
    p.folded += sl_metrics_listeners(c, &p.m);
    sl_metrics_certificates(c, &p.m);
    _sl_tiers(&p);
    _sl_upstreams(&p);
    _sl_routes(&p);
    sl_upstreams_metrics(c, &p.m);
    p.folded += sl_metrics_consumers(c, &p.m);
    p.m.left = 1;
    sl_metrics_one(&p.m, "metrics_series_folded", "gauge",
                   "series over observe.metrics.max_series: counted in \"other\", or left out",
                   (double)(p.folded + p.m.cut));
    free(p.t);
    return p.m.error;
}
