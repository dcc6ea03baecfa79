/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters in shared memory: one block per worker, written by that worker alone with plain stores, read and
 * summed by the controller. A worker that dies leaves its block to its successor, so nothing is lost. Slots
 * are those of the bundle (config/config.h) and hold over reloads; past a table's end, slot 0 "other". One
 * block more holds what the processes counted that served before a binary upgrade; the supervisor writes it.
 */
#ifndef SL_TELEMETRY_COUNTERS_H
#define SL_TELEMETRY_COUNTERS_H

#include "base/flight.h"
#include "telemetry/demand.h"
#include "telemetry/evidence.h"
#include <stddef.h>
#include <stdint.h>

#define SL_COUNTER_LISTENERS     256
#define SL_COUNTER_ROUTES        12288
#define SL_COUNTER_TIERS         1024
#define SL_COUNTER_UPSTREAMS     2048
#define SL_COUNTER_TARGETS       8192
#define SL_HISTOGRAM_BUCKETS     14
#define SL_COUNTER_TOKEN_REASONS 32
#define SL_COUNTER_OAUTH2        8
#define SL_COUNTER_TLS           24 /* why handshakes fail (enum sl_tls_failure), and room for more */

/* Upper bounds in µs of the latency buckets; the last is +Inf. */
extern const uint32_t sl_histogram_bounds_us[SL_HISTOGRAM_BUCKETS - 1];

struct sl_histogram {
    uint64_t sum_us;
    uint64_t buckets[SL_HISTOGRAM_BUCKETS]; /* not cumulative */
};
void sl_histogram_observe(struct sl_histogram *h, uint64_t us);

/* Why the proxy itself answered: X(enumerator, name, status). Names stand in metrics, the access log and
 * problem+json. */
#define SL_PROXY_REASONS(X)                                \
    X(NONE, "", 0)                                         \
    X(BAD_REQUEST, "bad_request", 400)                     \
    X(NO_ROUTE, "no_route", 404)                           \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405)       \
    X(NO_CREDENTIALS, "no_credentials", 401)               \
    X(INVALID_TOKEN, "invalid_token", 401)                 \
    X(INVALID_KEY, "invalid_key", 401)                     \
    X(INVALID_CERTIFICATE, "invalid_certificate", 401)     \
    X(INVALID_PASSWORD, "invalid_password", 401)           \
    X(AUTH_OVERLOADED, "auth_overloaded", 503)             \
    X(KEYS_UNAVAILABLE, "keys_unavailable", 503)           \
    X(AUTH_UNAVAILABLE, "auth_unavailable", 503)           \
    X(CONTROLLER_GONE, "controller_gone", 503)             \
    X(OAUTH2_REQUEST, "invalid_request", 400)              \
    X(OAUTH2_CLIENT, "invalid_client", 401)                \
    X(OAUTH2_GRANT, "unsupported_grant_type", 400)         \
    X(OAUTH2_SCOPE, "invalid_scope", 400)                  \
    X(FORBIDDEN_ROLE, "forbidden_role", 403)               \
    X(FORBIDDEN_SCOPE, "forbidden_scope", 403)             \
    X(FORBIDDEN_GROUP, "forbidden_group", 403)             \
    X(FORBIDDEN_SOURCE, "forbidden_source", 403)           \
    X(RATE_LIMITED, "rate_limited", 429)                   \
    X(IN_FLIGHT, "in_flight", 429)                         \
    X(LIMIT_TABLE_FULL, "limit_table_full", 503)           \
    X(BODY_TOO_LARGE, "body_too_large", 413)               \
    X(REQUEST_TIMEOUT, "request_timeout", 408)             \
    X(UPSTREAM_CONNECT, "upstream_connect", 502)           \
    X(UPSTREAM_TLS, "upstream_tls", 502)                   \
    X(UPSTREAM_RESET, "upstream_reset", 502)               \
    X(UPSTREAM_MALFORMED, "upstream_malformed", 502)       \
    X(UPSTREAM_TIMEOUT, "upstream_timeout", 504)           \
    X(UPSTREAM_OVERLOADED, "upstream_overloaded", 503)     \
    X(UPSTREAM_BREAKER, "upstream_breaker", 503)           \
    X(UPSTREAM_DRAINED, "upstream_drained", 503)           \
    X(UPSTREAM_UNHEALTHY, "upstream_unhealthy", 503)       \
    X(UPSTREAM_UNRESOLVED, "upstream_unresolved", 503)     \
    X(UPSTREAM_AUTH, "upstream_auth", 503)                 \
    X(UPSTREAM_AUTH_REFUSED, "upstream_auth_refused", 403) \
    X(OVERLOADED, "overloaded", 503)                       \
    X(CLIENT_TOO_SLOW, "client_too_slow", 408)             \
    X(CLIENT_GONE, "client_gone", 499)                     \
    X(HEADERS_TOO_LARGE, "headers_too_large", 431)         \
    X(TARGET_TOO_LONG, "target_too_long", 414)             \
    X(EXPECTATION_FAILED, "expectation_failed", 417)       \
    X(VERSION_NOT_SUPPORTED, "version_not_supported", 505) \
    X(DRAINING, "draining", 503)                           \
    X(TUNNEL_IDLE, "tunnel_idle", 408)                     \
    X(UPGRADE_NOT_ALLOWED, "upgrade_not_allowed", 403)     \
    X(UPGRADE_UNKNOWN, "upgrade_unknown", 501)             \
    X(UPSTREAM_NO_UPGRADE, "upstream_no_upgrade", 502)     \
    X(INTERNAL, "internal", 500)

enum sl_proxy_reason {
#define SL_X(e, name, status) SL_WHY_##e,
    SL_PROXY_REASONS(SL_X)
#undef SL_X
        SL_WHY_COUNT
};
const char *sl_proxy_reason_name(enum sl_proxy_reason r);
unsigned sl_proxy_reason_status(enum sl_proxy_reason r);

/* Why an HTTP/2 connection was ended by us: X(enumerator, name, error code of RFC 9113 section 7). */
#define SL_H2_WHYS(X)                           \
    X(NONE, "", 0x0)                            \
    X(IDLE, "idle", 0x0)                        \
    X(DRAINED, "drained", 0x0)                  \
    X(PROTOCOL_ERROR, "protocol_error", 0x1)    \
    X(FLOW_CONTROL, "flow_control_error", 0x3)  \
    X(STREAM_CLOSED, "stream_closed", 0x5)      \
    X(FRAME_SIZE, "frame_size_error", 0x6)      \
    X(COMPRESSION, "compression_error", 0x9)    \
    X(RESET_FLOOD, "reset_flood", 0xb)          \
    X(SETTINGS_FLOOD, "settings_flood", 0xb)    \
    X(PING_FLOOD, "ping_flood", 0xb)            \
    X(EMPTY_FLOOD, "empty_frame_flood", 0xb)    \
    X(PRIORITY_FLOOD, "priority_flood", 0xb)    \
    X(WINDOW_FLOOD, "window_update_flood", 0xb) \
    X(CLOSED_FLOOD, "closed_stream_flood", 0xb) \
    X(HEADER_FLOOD, "header_block_flood", 0xb)  \
    X(HEADERS_TIMEOUT, "headers_timeout", 0xb)  \
    X(SLOW_READER, "slow_reader", 0xb)          \
    X(PENALISED, "penalised", 0xb)              \
    X(INTERNAL, "internal_error", 0x2)

enum sl_h2_why {
#define SL_X(e, name, code) SL_H2_WHY_##e,
    SL_H2_WHYS(SL_X)
#undef SL_X
        SL_H2_WHY_COUNT
};
const char *sl_h2_why_name(enum sl_h2_why why);
uint32_t sl_h2_why_code(enum sl_h2_why why);

/* Why a connection was refused as soon as it was accepted: X(enumerator, name). */
#define SL_REFUSALS(X)                  \
    X(LIMIT, "connections")             \
    X(SOURCE, "connections_per_source") \
    X(DESCRIPTORS, "descriptors")       \
    X(MEMORY, "memory")
enum sl_refused {
#define SL_X(e, name) SL_REFUSED_##e,
    SL_REFUSALS(SL_X)
#undef SL_X
        SL_REFUSED_COUNT
};

struct sl_listener_counters {
    uint64_t connections; /* accepted */
    uint64_t active;      /* gauge */
    uint64_t refused;     /* as soon as they were accepted; */
    uint64_t refused_by[SL_REFUSED_COUNT];
    uint64_t evicted;           /* idle, closed for others */
    uint64_t source_table_full; /* admitted, and not counted by source */
    uint64_t accept_failures;   /* no descriptor */
    uint64_t too_slow;          /* under limits.min_rate */
    uint64_t handshakes, handshake_failures, resumed;
    uint64_t tls_failures[SL_COUNTER_TLS]; /* of handshake_failures */
    uint64_t requests;
    uint64_t malformed; /* refused by the codec */
    uint64_t bytes_in, bytes_out;
    uint64_t timeouts;
    uint64_t proxy_untrusted,
        proxy_malformed;     /* connections refused before anything was read, or for what was */
    uint64_t tunnels;        /* requests that became a WebSocket */
    uint64_t tunnels_active; /* gauge */
    uint64_t h2_connections;
    uint64_t h2_ended[SL_H2_WHY_COUNT]; /* by us */
};
/* What most requests count stands in front, on two lines of the cache that come as one. */
struct sl_route_counters {
    _Alignas(2 * SL_CACHE_LINE) uint64_t codes[6]; /* by first digit; [0]: no answer was sent */
    uint64_t bytes_in, bytes_out;                  /* bodies of requests and of answers */
    struct sl_histogram seconds;                   /* whole exchange */
    uint64_t reasons[SL_WHY_COUNT];
};
_Static_assert(offsetof(struct sl_route_counters, seconds) == SL_CACHE_LINE, "codes and bytes are a line");
struct sl_tier_counters {
    uint64_t admitted, limited, penalties; /* penalties asked for */
    uint64_t bandwidth_waits;              /* times that a connection was made to wait */
    uint64_t in_flight;                    /* refused: too many at once */
    uint64_t shadowed;                     /* admitted, but a limit in shadow mode would have refused */
};
struct sl_upstream_counters {
    uint64_t requests, connects, connect_failures, resets, timeouts, retries, reused;
    uint64_t handshakes, resumed;          /* of TLS */
    uint64_t tls_failures[SL_COUNTER_TLS]; /* of connect_failures */
    uint64_t active, idle;                 /* gauges */
    uint64_t pending;                      /* gauge: exchanges that wait for a connection */
    uint64_t retries_denied, overloaded, breaker_opened, breaker_refused, ejections, panics;
    struct sl_histogram first_byte;
};
struct sl_target_counters {
    uint64_t requests, failures;
    uint64_t active; /* gauge: exchanges on their way there */
};

struct sl_worker_counters {
    _Alignas(SL_CACHE_LINE) uint64_t generation; /* of the snapshot that the worker serves */
    uint64_t started_ns;                         /* CLOCK_MONOTONIC; 0: never */
    uint64_t pid;
    uint64_t loop_turns;
    uint64_t jwt_cache_hits, jwt_cache_misses, jwt_verified, jwt_refused;
    uint64_t passwords_hashed;
    uint64_t upstream_tokens_signed, upstream_tokens_reused; /* of upstream_auth */
    uint64_t oauth2[SL_COUNTER_OAUTH2]; /* answers of the token endpoint, by enum sl_oauth2_error */
    uint64_t anonymous;                 /* requests that fell back to a route's anonymous consumer */
    uint64_t jwt_waited;                /* requests that waited for keys to be fetched */
    uint64_t jwt_refused_by[SL_COUNTER_TOKEN_REASONS]; /* by sl_auth_outcome.token_reason */
    uint64_t bucket_cas_exhausted, bucket_table_full;
    uint64_t demand_untold; /* requests that `demand` had no row for */
    uint64_t log_lines, log_dropped;
    uint64_t requests_lost, connections_lost; /* of a worker that died; its successor counts them */
    uint64_t arena_bytes, buffer_bytes;       /* gauges */
    struct sl_listener_counters listeners[SL_COUNTER_LISTENERS];
    struct sl_tier_counters tiers[SL_COUNTER_TIERS];
    struct sl_upstream_counters upstreams[SL_COUNTER_UPSTREAMS];
    struct sl_target_counters targets[SL_COUNTER_TARGETS];
    struct sl_route_counters routes[SL_COUNTER_ROUTES];
    struct sl_demand_row demand[SL_DEMAND_ROWS];
};

/*
 * What the workers share beyond counters, in the same region, zeroed when it is made: who was refused and who
 * succeeded from where (gateway/escalate.c), and the seed of the TLS ticket keys (gateway/ticket.c). Fixed
 * tables of 4-way rows; a full row forgets what was touched longest ago.
 */
#define SL_SHARED_NEIGHBOURS     2048 /* rows */
#define SL_SHARED_NEIGHBOURS_ROW 16
#define SL_SHARED_SUBJECTS       8192
struct sl_shared_subject { /* a consumer or address, and how often it was refused */
    uint64_t key;          /* 0: free */
    uint64_t touched_ns;
    uint64_t since_ns;   /* begin of the window that rejections counts */
    uint64_t until_ns;   /* the rung is remembered until then */
    uint32_t rejections; /* since since_ns */
    uint32_t rung;       /* penalties asked for: 1 flow, 2 connect, 3 source */
    uint64_t zero[2];
};
struct sl_shared_tickets {
    uint32_t lock; /* 1 while a worker writes */
    uint32_t ready;
    uint64_t epoch;
    uint8_t seed[32];
};
/*
 * How targets and upstreams do, as all workers see it: one worker's failures warn the others. Every field is
 * read and written by itself, atomically; whoever changes what decides who gets requests raises `changes`
 * afterwards, and each worker looks at the rows again only once that has changed. Rows are those of the
 * slots; row 0, of whom the table has no room for, is never used: such targets count as healthy.
 */
struct sl_shared_target {
    uint64_t ejected_until; /* CLOCK_MONOTONIC ns; past or 0: not ejected */
    uint64_t back_at;       /* when it last came back: slow start begins there; 0: never */
    uint32_t failures;      /* in a row */
    uint32_t drained;       /* 1: by the operator */
    uint32_t unhealthy;     /* 1: by the controller's checks */
    uint32_t zero;
};
struct sl_shared_upstream {
    uint64_t open_until;  /* the breaker's; 0: closed; past: half open */
    uint64_t probe_until; /* half open: a worker has the one probe until then */
};
/* What a target by DNS stands for: telemetry/named.h says who writes and reads it, and how. An address keeps
 * its row of health for as long as the name has it. */
#define SL_NAMED_MAX 16
struct sl_named_address {
    uint8_t ip[16];
    uint8_t family; /* SL_AF_INET, SL_AF_INET6 */
    uint8_t row;
    uint16_t port;   /* host order */
    uint32_t weight; /* beside the others of this name; >= 1 */
};
struct sl_named_answer {
    uint32_t n, zero;
    struct sl_named_address v[SL_NAMED_MAX];
};
struct sl_shared_name {
    uint32_t seq;     /* odd while the answer is written; 0: there never was one */
    uint32_t failing; /* queries that failed since the last answer */
    uint64_t answered_ns, queries, failures;
    uint64_t answer[sizeof(struct sl_named_answer) / sizeof(uint64_t)];
    struct sl_shared_target rows[SL_NAMED_MAX];
};
struct sl_shared_health {
    _Alignas(SL_CACHE_LINE) uint64_t changes;
    _Alignas(SL_CACHE_LINE) struct sl_shared_target targets[SL_COUNTER_TARGETS];
    struct sl_shared_upstream upstreams[SL_COUNTER_UPSTREAMS];
    struct sl_shared_name names[SL_COUNTER_TARGETS]; /* by the slot of the target; last: see takeover.c */
};
struct sl_shared {
    _Alignas(SL_CACHE_LINE) struct sl_shared_tickets tickets;
    /* which identities succeeded from an address: words of user/telemetry/neighbours.c */
    _Alignas(SL_CACHE_LINE) uint64_t neighbours[SL_SHARED_NEIGHBOURS][SL_SHARED_NEIGHBOURS_ROW];
    struct sl_shared_subject subjects[SL_SHARED_SUBJECTS];
    struct sl_shared_health health;
    _Alignas(SL_CACHE_LINE) struct sl_flights flights;   /* requests at once */
    _Alignas(SL_CACHE_LINE) struct sl_evidence evidence; /* of the controller: what limits are proposed of */
};

/* The region: supervisor makes it before the fork (memfd, sparse); all map it. workers <= SL_MAX_WORKERS. */
#define SL_MAX_WORKERS 256
struct sl_counters {
    uint32_t workers;
    int fd;
    struct sl_worker_counters *blocks; /* [workers + 1] */
    struct sl_shared *shared;          /* behind the blocks */
};
/* Blocks to sum over: the workers', and that of former processes. */
static inline uint32_t sl_counters_blocks(const struct sl_counters *c)
{
    return c->workers + 1;
}
int sl_counters_new(uint32_t workers, struct sl_counters *out) SL_MUST_CHECK;
int sl_counters_map(int fd, struct sl_counters *out) SL_MUST_CHECK;
void sl_counters_unmap(struct sl_counters *c);
/* Tells regions apart whose rows would not mean the same. */
uint64_t sl_counters_layout(void);
/* How many rows of each table have a name (row 0 included). */
struct sl_counter_rows {
    size_t listeners, routes, tiers, upstreams, targets;
};
/* Writes the sum of `from` into the last block of `to`, anew each time: rows must be the same slots. Gauges
 * are of processes that live; without them where those are gone. */
void sl_counters_carry(struct sl_counters *to, const struct sl_counters *from,
                       const struct sl_counter_rows *rows, bool gauges);
/* Slot clamped to its table: out of range gives 0. */
static inline uint32_t sl_slot(uint32_t slot, uint32_t table)
{
    return slot < table ? slot : 0;
}

#endif
