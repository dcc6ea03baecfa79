/* SPDX-License-Identifier: Apache-2.0 */
/* Services behind the gateway. */
#include "config/reader_priv.h"

#include <openssl/x509.h>
#include <string.h>

#define END                          \
    {                                \
        NULL, NULL, 0, NULL, 0, NULL \
    }

/* ---- upstreams */

#define REL(base, m) (offsetof(struct sl_upstream, base.m) - offsetof(struct sl_upstream, base))
static const struct sl_type _sl_sni = {
    .kind = SL_T_TEXT, .size = sizeof(const char *), .what = "a host name", .valid = sl_valid_sni};
static const struct sl_field _sl_tls_fields[] = {
    {"ca", &sl_type_file, REL(tls, ca), NULL, 0,
     "PEM file of the authorities to trust. Not written: the system's, as read with the policy (the "
     "environment's SSL_CERT_FILE, else where OpenSSL keeps them)."},
    {"sni", &_sl_sni, REL(tls, sni), NULL, 0,
     "Name to ask for, which the certificate must carry. Not written: the target's address."},
    {"cert", &sl_type_file, REL(tls, cert), NULL, 0,
     "PEM file of the gateway's own certificate, for mutual TLS."},
    {"key", &sl_type_secret, REL(tls, key), NULL, 0, "Its private key, as {$file: PATH}."},
    SL_FIELDS_END,
};
void sl_read_system_ca(struct sl_reader *r, const struct sl_node *n, struct sl_blob *ca)
{
    const char *path = X509_get_default_cert_file();
    const struct sl_bundle_file *f = sl_bundle_find(r->bundle, false, path);
    if (f && f->error == 0)
        *ca =
            (struct sl_blob){.data = sl_read_keep(r, f->data, false), .path = path, .pos = sl_read_pos(r, n)};
    else
        sl_read_error(
            r, n,
            "no authorities to trust: the system's (SSL_CERT_FILE, else %s) cannot be read: %s; write "
            "\"ca\", or install ca-certificates",
            path, f ? strerror(f->error) : "it was not given");
}

bool sl_schema_system_ca(const struct sl_node *root)
{
    const struct sl_node *upstreams = sl_node_get(root, "upstreams");
    for (const struct sl_node *u = upstreams ? upstreams->first : NULL; u; u = u->next) {
        const struct sl_node *tls = u->kind == SL_NODE_MAP ? sl_node_get(u, "tls") : NULL;
        if (tls && tls->kind == SL_NODE_MAP && !sl_node_get(tls, "ca"))
            return true;
    }
    return sl_schema_auth_system_ca(root);
}

static void _sl_finish_tls(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_node *cert = sl_node_get(n, "cert"), *key = sl_node_get(n, "key");
    (void)raw;
    *(bool *)out = true; /* enabled, the first member */
    if (!sl_node_get(n, "ca"))
        sl_read_system_ca(r, n, (struct sl_blob *)((char *)out + REL(tls, ca)));
    if (!cert != !key)
        sl_read_key_error(r, cert ? cert : key, "\"%s\" is missing: cert and key go together",
                          cert ? "key" : "cert");
}
static const struct sl_type _sl_tls = {.kind = SL_T_OBJECT,
                                       .what = "a map (tls: {} will do)",
                                       .fields = _sl_tls_fields,
                                       .finish = _sl_finish_tls};

static const struct sl_type _sl_idle = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "0", .max = "65535"};
static const struct sl_type _sl_requests = {
    .kind = SL_T_INT, .size = sizeof(uint64_t), .what = "a number", .min = "1", .max = "1000000000"};
static const struct sl_field _sl_keepalive_fields[] = {
    {"idle", &_sl_idle, REL(keepalive, idle), "64", 0, "Idle connections kept, per worker and target."},
    {"idle_timeout", &sl_type_duration, REL(keepalive, idle_timeout), "\"55s\"", 0,
     "How long they are kept: less than the upstream itself keeps them."},
    {"requests", &_sl_requests, REL(keepalive, requests), "10000", 0, "Requests that one connection serves."},
    SL_FIELDS_END,
};
#undef REL
static const struct sl_type _sl_keepalive = {
    .kind = SL_T_OBJECT, .what = "a map", .fields = _sl_keepalive_fields};

/* Into the upstream itself: balance and hash_header. */
static bool _sl_parse_balance(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    static const char *const words[] = {"round_robin", "least_request", "hash:ip"};
    struct sl_upstream *u = out;
    const struct sl_slice prefix = SL_S("hash:header:");
    for (unsigned i = 0; i < SL_ARRAY_LEN(words); i++)
        if (sl_slice_eq(text, sl_slice_str(words[i]))) {
            u->balance = (enum sl_balance)i;
            return true;
        }
    if (!sl_slice_starts(text, prefix))
        return false;
    struct sl_slice header = sl_slice(text.p + prefix.n, text.n - prefix.n);
    const char *wrong = sl_valid_header(header);
    if (wrong)
        sl_read_error(r, n, "\"" SL_SFMT "\" is no header name: it %s", SL_SARG(header), wrong);
    u->balance = SL_BALANCE_HASH_HEADER;
    u->hash_header = sl_read_keep(r, header, false);
    return true;
}
static const struct sl_type _sl_balance = {
    .kind = SL_T_PARSED,
    .size = 0, /* the whole upstream */
    .what = "\"round_robin\", \"least_request\", \"hash:ip\" or \"hash:header:NAME\"",
    .pattern = "^(round_robin|least_request|hash:ip|hash:header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
    .parse = _sl_parse_balance};
static const struct sl_type _sl_pending = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "0", .max = "1000000"};

/* ---- health and breaker */

static bool _sl_parse_percent(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    uint64_t v;
    (void)r, (void)n;
    if (text.n < 2 || text.p[text.n - 1] != '%' || sl_slice_u64(sl_slice(text.p, text.n - 1), &v) < 0 ||
        v > 100)
        return false;
    *(uint32_t *)out = (uint32_t)v;
    return true;
}
static const struct sl_type _sl_percent = {.kind = SL_T_PARSED,
                                           .size = sizeof(uint32_t),
                                           .what = "a share from \"0%\" to \"100%\"",
                                           .pattern = "^([0-9]|[1-9][0-9]|100)%$",
                                           .parse = _sl_parse_percent};
static const struct sl_type _sl_status = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a status", .min = "200", .max = "599"};
static const struct sl_type _sl_statuses = {
    .kind = SL_T_LIST, .size = sizeof(struct sl_statuses), .what = "a list of statuses", .item = &_sl_status};
static const struct sl_type _sl_count = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1", .max = "1000000"};

#define AT(m) (offsetof(struct sl_health, passive.m) - offsetof(struct sl_health, passive))
static const struct sl_field _sl_passive_fields[] = {
    {"statuses", &_sl_statuses, AT(statuses), "[500, 502, 503]", 0,
     "Answers that count as failures, beside connections that fail, break or stay silent."},
    {"failures", &_sl_count, AT(failures), "5", 0, "So many in a row, over all workers, eject a target."},
    {"eject", &sl_type_duration, AT(eject), "\"30s\"", 0, "For how long it gets no requests."},
    {"max_ejected", &_sl_percent, AT(max_ejected), "\"50%\"", 0,
     "Share of the upstream's targets that may be ejected at once."},
    SL_FIELDS_END,
};
#undef AT
static void _sl_finish_enabled(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    (void)r, (void)n, (void)raw;
    *(bool *)out = true; /* enabled, the first member */
}
static const struct sl_type _sl_passive = {.kind = SL_T_OBJECT,
                                           .what = "a map (passive: {} will do)",
                                           .fields = _sl_passive_fields,
                                           .finish = _sl_finish_enabled};
static const char *_sl_valid_check_path(struct sl_slice s)
{
    return s.n && s.p[0] == '/' ? sl_valid_path(s) : "does not begin with '/'";
}
static const struct sl_type _sl_check_path = {.kind = SL_T_TEXT,
                                              .size = sizeof(const char *),
                                              .what = "a path",
                                              .valid = _sl_valid_check_path,
                                              .pattern = "^/"};
#define AT(m) offsetof(struct sl_health, active.m)
static const struct sl_field _sl_active_fields[] = {
    {"path", &_sl_check_path, AT(path), NULL, 0,
     "What to GET. Not written: a target that takes connections (and TLS, where it has it) is healthy."},
    {"interval", &sl_type_duration, AT(interval), "\"5s\"", 0, "Between two checks, give or take a tenth."},
    {"timeout", &sl_type_duration, AT(timeout), "\"1s\"", 0, "How long one may take."},
    {"successes", &_sl_count, AT(successes), "2", 0, "So many in a row make a target healthy."},
    {"failures", &_sl_count, AT(failures), "3", 0, "So many in a row make it unhealthy."},
    {"statuses", &_sl_statuses, AT(statuses), "[200]", 0, "Answers that pass."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_type _sl_active = {.kind = SL_T_OBJECT,
                                          .what = "a map (active: {} will do)",
                                          .fields = _sl_active_fields,
                                          .finish = _sl_finish_enabled};
#define AT(m) offsetof(struct sl_health, m)
static const struct sl_field _sl_health_fields[] = {
    {"active", &_sl_active, AT(active), NULL, 0, "Ask targets how they do. Not written: never."},
    {"passive", &_sl_passive, AT(passive), NULL, 0, "Eject targets that fail requests. Not written: never."},
    {"panic", &_sl_percent, AT(panic), "\"30%\"", 0,
     "Where less than this share of the targets is healthy, all are used: better some errors than no "
     "service."},
    {"slow_start", &sl_type_duration_or_none, AT(slow_start), "\"0s\"", 0,
     "A target that comes back gets a tenth of its weight first and all of it after this time. Not for "
     "hashes."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_type _sl_health = {
    .kind = SL_T_OBJECT, .what = "a map of active, passive, panic, slow_start", .fields = _sl_health_fields};

static const struct sl_type _sl_ratio = {
    .kind = SL_T_REAL, .size = sizeof(double), .what = "a number from 0.01 to 1", .min = "0.01", .max = "1"};
#define AT(m) offsetof(struct sl_breaker_config, m)
static const struct sl_field _sl_breaker_fields[] = {
    {"error_ratio", &_sl_ratio, AT(error_ratio), "0.5", 0,
     "It opens where this share of the requests fails: no answer, or one of 5xx."},
    {"min_requests", &_sl_count, AT(min_requests), "20", 0,
     "But not before so many within the window, per worker."},
    {"window", &sl_type_duration, AT(window), "\"10s\"", 0, "What is counted."},
    {"open", &sl_type_duration, AT(open), "\"10s\"", 0,
     "Requests are answered 503 for so long; then one goes through, and its outcome decides."},
    {"max_pending", &_sl_pending, AT(max_pending), NULL, 0,
     "The upstream's max_pending, which may stand here as well."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_type _sl_breaker = {.kind = SL_T_OBJECT,
                                           .what = "a map (breaker: {} will do)",
                                           .fields = _sl_breaker_fields,
                                           .finish = _sl_finish_enabled};

/* ---- retries, of a route */

static bool _sl_parse_retry_on(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    static const char *const words[] = {"connect", "reset", "timeout"};
    uint64_t status;
    (void)r, (void)n;
    for (uint32_t i = 0; i < SL_ARRAY_LEN(words); i++)
        if (sl_slice_eq(text, sl_slice_str(words[i]))) {
            *(uint32_t *)out = SL_RETRY_CONNECT + i;
            return true;
        }
    if (sl_slice_u64(text, &status) < 0 || status < 400 || status > 599)
        return false;
    *(uint32_t *)out = (uint32_t)status;
    return true;
}
static const struct sl_type _sl_retry_on = {
    .kind = SL_T_PARSED,
    .size = sizeof(uint32_t),
    .what = "\"connect\", \"reset\", \"timeout\" or a status from 400 to 599",
    .schema =
        "\"anyOf\": [{\"enum\": [\"connect\", \"reset\", \"timeout\"]}, {\"type\": \"string\", "
        "\"pattern\": \"^[45][0-9][0-9]$\"}, {\"type\": \"integer\", \"minimum\": 400, \"maximum\": 599}]",
    .also_number = true,
    .parse = _sl_parse_retry_on};
static const struct sl_type _sl_retry_ons = {.kind = SL_T_LIST,
                                             .size = sizeof(struct sl_statuses),
                                             .what = "a list of connect, reset, timeout and statuses",
                                             .item = &_sl_retry_on,
                                             .some = true,
                                             .unique = true};
static const struct sl_type _sl_retry_max = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "0", .max = "10"};
static const struct sl_field _sl_retries_fields[] = {
    {"max", &_sl_retry_max, offsetof(struct sl_retries, max), "1", 0, "Tries beyond the first."},
    {"on", &_sl_retry_ons, offsetof(struct sl_retries, on), "[\"connect\", \"reset\"]", 0,
     "connect: no connection; reset: it broke before an answer; timeout: first_byte passed; an answer's "
     "status. "
     "All but connect only for idempotent methods, or with an Idempotency-Key."},
    {"budget", &_sl_percent, offsetof(struct sl_retries, budget), "\"20%\"", 0,
     "At most this share of the route's requests, beside ten at once, in each worker."},
    SL_FIELDS_END,
};
const struct sl_type sl_type_retries = {
    .kind = SL_T_OBJECT, .what = "a map of max, on, budget", .fields = _sl_retries_fields};

/* ---- the upstream */

#define AT(m) offsetof(struct sl_upstream, m)
static const struct sl_field _sl_upstream_fields[] = {
    {"targets", &sl_type_targets, AT(targets), NULL, SL_F_REQUIRED, "Where it runs."},
    {"dns", &sl_type_dns, AT(dns), "{}", 0, "How long answers about targets by name hold."},
    {"balance", &_sl_balance, 0, "\"round_robin\"", 0,
     "round_robin: in turn, by weight. least_request: the less busy of two drawn by weight. hash:ip, "
     "hash:header:NAME: one client, or one value of the header, stays with one target (Maglev); a request "
     "without the header goes in turn."},
    {"protocol", &sl_type_upstream_protocol, 0, "\"http/1.1\"", 0,
     "http/1.1, or h2: HTTP/2, by ALPN where tls is spoken, else with prior knowledge."},
    {"tls", &_sl_tls, AT(tls), NULL, 0, "Speak TLS to it. Not written: plain text."},
    {"keepalive", &_sl_keepalive, AT(keepalive), "{}", 0, "Connections that are used again."},
    {"max_pending", &_sl_pending, AT(max_pending), "1000", 0,
     "Requests that may wait for a connection, per worker; more are answered 503."},
    {"health", &_sl_health, AT(health), "{}", 0, "Which targets are fit to get requests."},
    {"breaker", &_sl_breaker, AT(breaker), NULL, 0,
     "Spare an upstream that fails most of what it gets. Not written: never."},
    {"upstream_auth", &sl_type_upstream_auth, AT(upstream_auth), NULL, 0,
     "What it is shown of who asks, on routes that do not say otherwise. Not written: nothing."},
    SL_FIELDS_END,
};
#undef AT
static void _sl_finish_upstream(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_upstream *u = out;
    const struct sl_node *own = sl_node_get(n, "max_pending"), *breaker = sl_node_get(n, "breaker"),
                         *other = breaker && breaker->kind == SL_NODE_MAP
                                      ? sl_node_get(breaker, "max_pending")
                                      : NULL;
    (void)raw;
    sl_check_upstream_protocol(r, n, u);
    sl_check_targets(r, n, u);
    if (own && other)
        sl_read_key_error(r, other, "max_pending stands at %s already", sl_read_place(r, own));
    if (other)
        u->max_pending = u->breaker.max_pending;
}
static const struct sl_type _sl_upstream = {.kind = SL_T_OBJECT,
                                            .size = sizeof(struct sl_upstream),
                                            .what = "a map with targets",
                                            .fields = _sl_upstream_fields,
                                            .finish = _sl_finish_upstream};
const struct sl_type sl_type_upstreams = {.kind = SL_T_NAMED,
                                          .size = sizeof(struct sl_strings),
                                          .what = "a map of upstreams by name",
                                          .key = &sl_type_name,
                                          .item = &_sl_upstream,
                                          .names = SL_NAMES_UPSTREAM};
