/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics: Prometheus text, version 0.0.4. One table says which field is which family; labels are names of
 * the policy, never paths or what clients send, so the number of series is the policy's, and capped by
 * max_series.
 */
#include "control/control_priv.h"
#include "kernel/maps.h"

#include <errno.h>
#include <stdio.h>

struct sl_metrics {
    const struct sl_control *c;
    struct sl_buf *out;
    struct sl_totals *t;
    uint32_t left; /* series that still may be printed */
    uint64_t cut;
    int error;
};

static void _sl_text(struct sl_metrics *m, const char *s)
{
    if (m->error == 0)
        m->error = sl_buf_append(m->out, s, strlen(s));
}

static void _sl_family(struct sl_metrics *m, const char *name, const char *type, const char *help)
{
    if (m->error == 0)
        m->error =
            sl_buf_printf(m->out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and newline escaped as the format wants it. */
static void _sl_value(struct sl_metrics *m, const char *s)
{
    for (; *s && m->error == 0; s++) {
        if (*s == '\\' || *s == '"')
            _sl_text(m, "\\");
        m->error = m->error ? m->error : sl_buf_append(m->out, *s == '\n' ? " " : s, 1);
    }
}

static void _sl_labels(struct sl_metrics *m, const char *const *labels)
{
    for (unsigned i = 0; labels && labels[i]; i += 2) {
        _sl_text(m, i ? "," : "{");
        _sl_text(m, labels[i]);
        _sl_text(m, "=\"");
        _sl_value(m, labels[i + 1]);
        _sl_text(m, "\"");
    }
    if (labels && labels[0])
        _sl_text(m, "}");
}

/* labels: name, value, …, NULL; or NULL. */
static void _sl_series(struct sl_metrics *m, const char *name, const char *const *labels, double value)
{
    char text[40];
    if (m->left == 0) {
        m->cut++;
        return;
    }
    m->left--;
    _sl_text(m, "sluice_");
    _sl_text(m, name);
    _sl_labels(m, labels);
    (void)snprintf(text, sizeof(text),
                   value < 1e15 && value == (double)(uint64_t)value ? " %.0f\n" : " %.9g\n", value);
    _sl_text(m, text);
}

static void _sl_one(struct sl_metrics *m, const char *name, const char *type, const char *help, double value)
{
    _sl_family(m, name, type, help);
    _sl_series(m, name, NULL, value);
}

static void _sl_histogram(struct sl_metrics *m, const char *name, const char *label, const char *value,
                          const struct sl_histogram *h)
{
    char bucket[64], sum[64], count[64], le[24] = "+Inf";
    uint64_t seen = 0;
    (void)snprintf(bucket, sizeof(bucket), "%s_bucket", name);
    (void)snprintf(sum, sizeof(sum), "%s_sum", name);
    (void)snprintf(count, sizeof(count), "%s_count", name);
    if (m->left < SL_HISTOGRAM_BUCKETS + 2) { /* a histogram is whole or not there */
        m->cut += SL_HISTOGRAM_BUCKETS + 2;
        return;
    }
    for (unsigned i = 0; i < SL_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (i < SL_HISTOGRAM_BUCKETS - 1)
            (void)snprintf(le, sizeof(le), "%g", (double)sl_histogram_bounds_us[i] / 1e6);
        else
            (void)snprintf(le, sizeof(le), "+Inf");
        _sl_series(m, bucket, (const char *const[]){label, value, "le", le, NULL}, (double)seen);
    }
    _sl_series(m, sum, (const char *const[]){label, value, NULL}, (double)h->sum_us / 1e6);
    _sl_series(m, count, (const char *const[]){label, value, NULL}, (double)seen);
}

static const char *_sl_slot_name(const struct sl_metrics *m, enum sl_slot_kind kind, uint32_t slot)
{
    const char *name = sl_slots_name(sl_bundle_slots(m->c->bundle), kind, slot);
    return name ? name : "other";
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
    SL_L("listener_refused_total", "counter", refused, "connections refused over limits.connections"),
    SL_L("listener_handshakes_total", "counter", handshakes, "TLS handshakes completed"),
    SL_L("listener_handshake_failures_total", "counter", handshake_failures,
         "TLS handshakes failed or timed out"),
    SL_L("listener_resumed_total", "counter", resumed, "TLS handshakes that resumed a session"),
    SL_L("listener_requests_total", "counter", requests, "requests begun"),
    SL_L("listener_malformed_total", "counter", malformed, "requests refused by the HTTP codec"),
    SL_L("listener_received_bytes_total", "counter", bytes_in, "bytes from clients, without TLS"),
    SL_L("listener_sent_bytes_total", "counter", bytes_out, "bytes to clients, without TLS"),
    SL_L("listener_timeouts_total", "counter", timeouts, "connections and exchanges ended by a deadline"),
};
#define SL_T(name, type, field, help)                              \
    {                                                              \
        name, type, help, offsetof(struct sl_tier_counters, field) \
    }
static const struct sl_field _sl_tier_fields[] = {
    SL_T("tier_admitted_total", "counter", admitted, "requests that the limits admitted"),
    SL_T("tier_limited_total", "counter", limited, "requests that a limit refused"),
    SL_T("tier_penalties_total", "counter", penalties, "penalties asked of the kernel"),
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
    SL_U("upstream_reused_total", "counter", reused, "requests on a kept connection"),
    SL_U("upstream_active_connections", "gauge", active, "connections in use"),
    SL_U("upstream_idle_connections", "gauge", idle, "connections kept for the next request"),
};

static void _sl_fields(struct sl_metrics *m, const struct sl_field *f, size_t n, enum sl_slot_kind kind,
                       const char *label, const void *rows, size_t row_size)
{
    size_t slots = sl_slots_count(sl_bundle_slots(m->c->bundle), kind);
    for (size_t i = 0; i < n; i++) {
        _sl_family(m, f[i].name, f[i].type, f[i].help);
        for (uint32_t s = 1; s < slots; s++) {
            const char *at = (const char *)rows + s * row_size + f[i].offset;
            uint64_t v;
            memcpy(&v, at, sizeof(v));
            _sl_series(m, f[i].name, (const char *const[]){label, _sl_slot_name(m, kind, s), NULL},
                       (double)v);
        }
    }
}

static void _sl_per_slot(struct sl_metrics *m)
{
    _sl_fields(m, _sl_listener_fields, SL_ARRAY_LEN(_sl_listener_fields), SL_SLOT_LISTENER, "listener",
               m->t->listeners, sizeof(m->t->listeners[0]));
    _sl_fields(m, _sl_tier_fields, SL_ARRAY_LEN(_sl_tier_fields), SL_SLOT_TIER, "tier", m->t->tiers,
               sizeof(m->t->tiers[0]));
    _sl_fields(m, _sl_upstream_fields, SL_ARRAY_LEN(_sl_upstream_fields), SL_SLOT_UPSTREAM, "upstream",
               m->t->upstreams, sizeof(m->t->upstreams[0]));
    _sl_family(m, "upstream_first_byte_seconds", "histogram",
               "from the request's last byte to the answer's first");
    for (uint32_t s = 1; s < sl_slots_count(sl_bundle_slots(m->c->bundle), SL_SLOT_UPSTREAM); s++)
        _sl_histogram(m, "upstream_first_byte_seconds", "upstream", _sl_slot_name(m, SL_SLOT_UPSTREAM, s),
                      &m->t->upstreams[s].first_byte);
}

/* ---- routes */

static void _sl_route_codes(struct sl_metrics *m, uint32_t slots)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct sl_route_counters r;
    _sl_family(m, "route_responses_total", "counter", "answers by first digit of the status");
    for (uint32_t s = 0; s < slots; s++) {
        sl_totals_route(&m->c->args->counters, s, &r);
        for (unsigned i = 0; i < SL_ARRAY_LEN(classes); i++)
            if (s || r.codes[i])
                _sl_series(m, "route_responses_total",
                           (const char *const[]){"route", _sl_slot_name(m, SL_SLOT_ROUTE, s), "code",
                                                 classes[i], NULL},
                           (double)r.codes[i]);
    }
}

static void _sl_route_reasons(struct sl_metrics *m, uint32_t slots)
{
    struct sl_route_counters r;
    _sl_family(m, "route_refusals_total", "counter", "answers of the gateway's own, by reason");
    for (uint32_t s = 0; s < slots; s++) {
        sl_totals_route(&m->c->args->counters, s, &r);
        for (unsigned i = SL_WHY_NONE + 1; i < SL_WHY_COUNT; i++)
            if (r.reasons[i])
                _sl_series(m, "route_refusals_total",
                           (const char *const[]){"route", _sl_slot_name(m, SL_SLOT_ROUTE, s), "reason",
                                                 sl_proxy_reason_name((enum sl_proxy_reason)i), NULL},
                           (double)r.reasons[i]);
    }
}

static void _sl_routes(struct sl_metrics *m)
{
    uint32_t slots = (uint32_t)sl_slots_count(sl_bundle_slots(m->c->bundle), SL_SLOT_ROUTE);
    struct sl_route_counters r;
    _sl_route_codes(m, slots);
    _sl_route_reasons(m, slots);
    _sl_family(m, "route_request_seconds", "histogram", "from the request's head to the answer's last byte");
    for (uint32_t s = 1; s < slots; s++) {
        sl_totals_route(&m->c->args->counters, s, &r);
        _sl_histogram(m, "route_request_seconds", "route", _sl_slot_name(m, SL_SLOT_ROUTE, s), &r.seconds);
    }
}

/* ---- the kernel */

static void _sl_kernel_reasons(struct sl_metrics *m)
{
    static const char *const names[] = {"kernel_packets_total", "kernel_bytes_total",
                                        "kernel_would_drop_packets_total"};
    static const char *const helps[] = {"packets by verdict of the guard", "bytes by verdict of the guard",
                                        "packets that shadow mode let pass"};
    struct sl_count hit[SL_REASON_COUNT], would[SL_REASON_COUNT];
    if (m->c->args->kernel.reasons < 0 || sl_maps_reasons(m->c->args->kernel.reasons, hit, would) < 0)
        return;
    for (unsigned f = 0; f < 3; f++) {
        _sl_family(m, names[f], "counter", helps[f]);
        for (unsigned i = 0; i < SL_REASON_COUNT; i++) {
            enum sl_reason r = (enum sl_reason)i;
            if (f < 2 || sl_reason_drops(r))
                _sl_series(m, names[f],
                           (const char *const[]){"reason", sl_reason_name(r), "drops",
                                                 sl_reason_drops(r) ? "true" : "false", NULL},
                           (double)(f == 0   ? hit[i].packets
                                    : f == 1 ? hit[i].bytes
                                             : would[i].packets));
        }
    }
}

static void _sl_attachments(struct sl_metrics *m)
{
    size_t i;
    json_t *at;
    _sl_family(m, "kernel_attach_mode", "gauge", "1 for the mode in which the guard is attached");
    json_array_foreach(json_object_get(json_object_get(m->c->state, "kernel"), "interfaces"), i, at)
    {
        const char *name = json_string_value(json_object_get(at, "interface")),
                   *mode = json_string_value(json_object_get(at, "xdp"));
        if (name && mode)
            _sl_series(m, "kernel_attach_mode", (const char *const[]){"interface", name, "mode", mode, NULL},
                       1);
    }
}

static int _sl_count_penalty(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    (void)k, (void)v;
    ++*(uint64_t *)arg;
    return 0;
}

static void _sl_kernel(struct sl_metrics *m)
{
    uint64_t penalties = 0;
    if (m->c->args->kernel.penalties < 0)
        return;
    _sl_kernel_reasons(m);
    _sl_attachments(m);
    (void)sl_maps_penalties(m->c->args->kernel.penalties, _sl_count_penalty, &penalties);
    _sl_one(m, "kernel_penalties", "gauge", "penalties that hold", (double)penalties);
    _sl_one(m, "kernel_penalties_refused_total", "counter", "penalties that the full table had no room for",
            json_number_value(json_object_get(json_object_get(m->c->state, "kernel"), "penalties_refused")));
}

/* ---- the daemon itself */

static double _sl_restarts(const struct sl_metrics *m)
{
    double n = 0;
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(m->c->state, "workers"), i, w)
    {
        n += json_number_value(json_object_get(w, "restarts"));
    }
    return n;
}

static void _sl_daemon(struct sl_metrics *m)
{
    uint64_t sum[8] = {0};
    for (uint32_t i = 0; i < m->c->args->counters.workers; i++) {
        const struct sl_worker_counters *b = &m->c->args->counters.blocks[i];
        const uint64_t parts[8] = {b->jwt_cache_hits,    b->jwt_cache_misses, b->jwt_verified,
                                   b->jwt_refused,       b->log_lines,        b->bucket_cas_exhausted,
                                   b->bucket_table_full, b->log_dropped};
        for (unsigned k = 0; k < SL_ARRAY_LEN(sum); k++)
            sum[k] += parts[k];
    }
    _sl_one(m, "jwt_cache_hits_total", "counter", "tokens found in the verified-token cache", (double)sum[0]);
    _sl_one(m, "jwt_cache_misses_total", "counter", "tokens not found there", (double)sum[1]);
    _sl_one(m, "jwt_verified_total", "counter", "signatures checked", (double)sum[2]);
    _sl_one(m, "jwt_refused_total", "counter", "tokens refused", (double)sum[3]);
    _sl_one(m, "log_lines_total", "counter", "lines of the access log", (double)sum[4]);
    _sl_one(m, "log_dropped_total", "counter", "lines of the access log that were lost", (double)sum[7]);
    _sl_one(m, "bucket_contended_total", "counter", "requests refused because a bucket was too contended",
            (double)sum[5]);
    _sl_one(m, "bucket_table_full_total", "counter", "requests admitted because the table had no room",
            (double)sum[6]);
    _sl_one(m, "worker_restarts_total", "counter", "workers started again after they died", _sl_restarts(m));
    _sl_one(m, "workers", "gauge", "worker processes", m->c->args->counters.workers);
    _sl_one(m, "policy_version", "gauge", "version of the policy in force, counted from the start",
            (double)m->c->version);
    _sl_one(m, "ready", "gauge", "1 when every worker serves the policy in force", sl_control_ready(m->c));
    _sl_one(m, "uptime_seconds", "gauge", "since the controller started",
            (double)(sl_now_ns() - m->c->started_ns) / 1e9);
    _sl_family(m, "policy_info", "gauge", "the policy in force, by its hash");
    _sl_series(m, "policy_info", (const char *const[]){"hash", m->c->snapshot->hash, NULL}, 1);
    _sl_family(m, "build_info", "gauge", "the running version");
    _sl_series(m, "build_info", (const char *const[]){"version", SL_VERSION, NULL}, 1);
}

int sl_metrics_print(const struct sl_control *c, struct sl_buf *out)
{
    struct sl_metrics m = {
        .c = c, .out = out, .left = c->snapshot->metrics.max_series, .t = malloc(sizeof(*m.t))};
    if (!m.t)
        return -ENOMEM;
    sl_totals_sum(&c->args->counters, m.t);
    _sl_daemon(&m);
    _sl_kernel(&m);
    _sl_per_slot(&m);
    _sl_routes(&m);
    m.left = 1;
    _sl_one(&m, "metrics_series_cut", "gauge", "series left out over observe.metrics.max_series",
            (double)m.cut);
    free(m.t);
    return m.error;
}
