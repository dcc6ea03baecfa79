/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy, checked and immutable. Everything hangs in one arena; named things stand in arrays in the order
 * of the policy and carry their position. Strings are NUL-terminated too. Durations are ns, sizes bytes.
 * Optional durations and counts are resolved to their defaults here: nobody further down knows a default.
 */
#ifndef SL_CONFIG_SNAPSHOT_H
#define SL_CONFIG_SNAPSHOT_H

#include "config/snapshot_identity.h"
#include "config/snapshot_types.h"

/* ---- listeners */
struct sl_certificate {
    struct sl_blob cert;     /* PEM chain, leaf first */
    struct sl_blob key;      /* PEM */
    struct sl_blob ocsp;     /* DER; data.n 0: none */
    struct sl_strings names; /* DNS names of the leaf, lower case, "*." kept */
    uint64_t not_after;      /* of the leaf, Unix seconds; so of the next */
    uint64_t ocsp_until;     /* when what ocsp says is no longer news; 0: it never was */
};
enum sl_client_auth { SL_CLIENT_AUTH_NONE, SL_CLIENT_AUTH_OPTIONAL, SL_CLIENT_AUTH_REQUIRED };
struct sl_tls_config {
    bool enabled;
    struct sl_certificate *certificates;
    size_t n_certificates;    /* >= 1 when enabled; the first is the default */
    int min_version;          /* TLS1_2_VERSION or TLS1_3_VERSION */
    struct sl_blob client_ca; /* PEM; also where client_auth is NONE: it counts for nothing then */
    enum sl_client_auth client_auth;
    const char *ciphers, *ciphersuites, *groups; /* as OpenSSL reads them; NULL: ours */
    bool session_tickets;
};
struct sl_listener {
    const char *name;
    struct sl_pos pos;
    struct sl_sockaddr *bind;
    size_t n_bind;
    struct sl_tls_config tls;
    bool redirect_https, proxy_protocol;
    struct {
        bool http1, h2; /* at least one */
        bool h2_first;  /* preferred, where both are */
    } protocols;
    struct {
        uint64_t handshake, headers, body, idle;
    } timeouts;
    struct {
        uint32_t connections;            /* of this listener, over all workers */
        uint32_t connections_per_source; /* likewise; 0: no limit */
        struct sl_rate min_rate;         /* bytes; count 0: none */
        uint32_t handshakes;             /* under way, in each worker */
        uint32_t headers;                /* bytes */
        uint32_t header_count;
        uint64_t body;    /* bytes */
        uint32_t streams; /* of an HTTP/2 connection, at once */
    } limits;
    uint32_t slot; /* of the counters; stable over reloads */
};

/* ---- where to */
struct sl_target {
    struct sl_sockaddr address;
    const char *text; /* as written */
    uint32_t weight;
    uint32_t slot; /* of its upstream's target of that text */
    struct {
        const char *host; /* NULL: address is it; else that comes with the answers */
        uint16_t port;
        bool srv; /* host is the name of SRV records, which have ports of their own */
    } dns;
};
struct sl_dns { /* bounds of an answer's time to live */
    uint64_t min_ttl, max_ttl;
};
struct sl_statuses {
    uint32_t *v;
    size_t n;
};
struct sl_health {
    struct {
        bool enabled;
        const char *path; /* NULL: a connection is enough */
        uint64_t interval, timeout;
        uint32_t successes, failures; /* in a row */
        struct sl_statuses statuses;
    } active;
    struct {
        bool enabled;
        struct sl_statuses statuses; /* answers that count as failures; no answer always does */
        uint32_t failures;           /* in a row */
        uint64_t eject;
        uint32_t max_ejected; /* percent of the targets */
    } passive;
    uint32_t panic;      /* percent of the targets: with fewer healthy ones, all are used */
    uint64_t slow_start; /* 0: none */
};
struct sl_breaker_config {
    bool enabled;
    double error_ratio;
    uint32_t min_requests;
    uint64_t window, open;
    uint32_t max_pending; /* where written; the upstream's own is what holds */
};
enum sl_balance {
    SL_BALANCE_ROUND_ROBIN,
    SL_BALANCE_LEAST_REQUEST,
    SL_BALANCE_HASH_IP,
    SL_BALANCE_HASH_HEADER
};
struct sl_upstream {
    const char *name;
    struct sl_pos pos;
    enum sl_balance balance;
    struct sl_slice hash_header; /* SL_BALANCE_HASH_HEADER */
    bool h2;                     /* protocol: h2 */
    struct sl_target *targets;
    size_t n_targets; /* >= 1 */
    struct sl_dns dns;
    struct {
        bool enabled;
        struct sl_blob ca; /* n 0: the system's */
        const char *sni;   /* also what the certificate must name */
        struct sl_blob cert, key;
    } tls;
    struct {
        uint32_t idle; /* connections kept per worker and target */
        uint64_t idle_timeout;
        uint64_t requests; /* per connection */
    } keepalive;
    struct sl_health health;
    struct sl_breaker_config breaker;
    uint32_t max_pending; /* exchanges waiting for a connection, per worker */
    struct sl_upstream_auth upstream_auth;
    uint32_t slot;
};

/* ---- routes */
enum sl_path_kind { SL_PATH_PREFIX, SL_PATH_EXACT, SL_PATH_REGEX };
struct sl_path_match {
    enum sl_path_kind kind;
    struct sl_slice text; /* without the "=" or "~" */
    struct sl_pos pos;
};
struct sl_header_ops { /* applied in this order: remove, rename, set, add */
    struct sl_strings remove;
    struct sl_name_values rename, set, add;
};
struct sl_split { /* the share of one upstream in a route's requests */
    const char *name;
    struct sl_pos pos;
    const struct sl_upstream *upstream;
    uint32_t weight; /* 0: none, for now */
};
/* What of a try that failed is tried again; statuses stand among them as they are. */
enum sl_retry_on { SL_RETRY_CONNECT = 1, SL_RETRY_RESET, SL_RETRY_TIMEOUT };
struct sl_retries {
    uint32_t max; /* beyond the first try; 0: none */
    struct sl_statuses on;
    uint32_t budget; /* percent of the route's requests, in each worker */
};
struct sl_timeouts {
    uint64_t connect, first_byte, idle, total; /* total 0: none */
};
enum sl_action {
    SL_ACTION_UPSTREAM,
    SL_ACTION_RESPOND,
    SL_ACTION_REDIRECT,
    SL_ACTION_JWKS,
    SL_ACTION_OAUTH2
};
struct sl_oauth2 { /* issuing access tokens, by client credentials */
    const struct sl_signer *signer;
    struct sl_strings audiences, scopes;
    bool mandatory_scope;
    uint64_t token_expiration;
};
struct sl_method_needs {
    const char *name; /* GET */
    struct sl_pos pos;
    struct sl_strings roles, scopes, groups;
};
struct sl_route {
    const char *name;
    struct sl_pos pos;
    struct sl_strings hosts;     /* lower case; "*.suffix"; n 0: any */
    struct sl_path_match *paths; /* n 0: any */
    size_t n_paths;
    uint32_t methods;                /* bit per enum sl_method; 0: any */
    struct sl_strings other_methods; /* methods that the enum does not name */
    struct sl_name_values headers;   /* all must equal */
    enum sl_action action;
    const struct sl_upstream *upstream; /* NULL where it is split */
    struct sl_split *split;
    size_t n_split; /* 0: not split */
    struct {
        unsigned status;
        struct sl_slice body;
        struct sl_name_values headers;
    } respond;
    struct {
        unsigned status;          /* 301 302 303 307 308 */
        struct sl_slice location; /* with variables */
    } redirect;
    const struct sl_signer *jwks; /* whose key set it gives out */
    struct sl_oauth2 oauth2;
    struct sl_slice strip_prefix; /* n 0: none */
    const struct sl_auth **auth;  /* any one of them */
    size_t n_auth;
    bool is_public;                      /* "public" was said: no credentials needed */
    const struct sl_consumer *anonymous; /* whose requests without credentials are; NULL: nobody's */
    struct sl_strings require_roles, require_scopes,
        require_groups;                      /* any one of each list that is written */
    struct sl_method_needs *require_methods; /* beside these, for one method */
    size_t n_require_methods;
    struct sl_cidrs sources_allow, sources_deny;
    struct sl_rate_limit rate_limit;
    struct sl_in_flight in_flight;
    struct sl_timeouts timeouts;
    struct sl_retries retries;
    struct sl_upstream_auth upstream_auth;
    struct sl_strings upgrade; /* "websocket", or n 0 */
    uint64_t request_body;     /* bytes; the listener's where not written: UINT64_MAX */
    struct sl_header_ops request_headers, response_headers;
    uint32_t slot;
};

/* ---- the kernel guard */
enum sl_fragments { SL_FRAGMENTS_DROP, SL_FRAGMENTS_PASS };
#define SL_DIGEST 32 /* SHA-256 */
enum sl_kernel_mode { SL_KERNEL_AUTO, SL_KERNEL_NATIVE, SL_KERNEL_GENERIC, SL_KERNEL_OFF };
enum sl_syn_cookies { SL_SYN_COOKIES_AUTO, SL_SYN_COOKIES_ALWAYS, SL_SYN_COOKIES_OFF };
enum sl_top_counted { SL_TOP_COUNT_DROPPED, SL_TOP_COUNT_ALL, SL_TOP_COUNT_OFF };
#define SL_TABLE_SIZE_DEFAULT (1u << 19)
struct sl_kernel {
    struct sl_pos pos;
    enum sl_kernel_mode mode; /* OFF where the policy has no kernel section */
    struct sl_strings interfaces;
    bool shadow;
    struct sl_cidrs allow, deny; /* those that stand in the policy itself */
    struct sl_ranges *ranges;    /* those of files; NULL: none, or a lean bundle */
    size_t n_range_files;
    unsigned char ranges_digest[SL_DIGEST]; /* of all these files */
    struct {
        struct sl_rate new_connections, packets, bytes;
        uint32_t burst; /* seconds of the rate */
    } per_source;
    enum sl_syn_cookies syn_cookies;
    struct {
        struct sl_rate new_connections;
        uint32_t burst;
    } per_prefix, per_listener;
    uint32_t ipv6_prefix; /* bits of an IPv6 address that make one source */
    enum sl_fragments fragments;
    uint32_t table_size; /* buckets, a power of two */
    enum sl_top_counted top_sources;
    uint32_t samples; /* of dropped packets, a second; 0: none */
};

struct sl_admin {
    struct sl_sockaddr *bind;
    size_t n_bind;
    struct sl_tls_config tls; /* of TCP */
};

struct sl_snapshot {
    struct sl_arena arena;
    atomic_uint refs;
    uint64_t version;       /* counts up with each accepted policy; 0 for a check */
    char hash[65];          /* SHA-256 of all its bytes, hex */
    unsigned workers;       /* resolved */
    uint64_t drain_timeout; /* ns */
    uint64_t worker_memory; /* bytes; 0: no limit */
    const char *user;       /* NULL: the default rule */
    struct sl_cidrs trusted_proxies;
    struct sl_listener *listeners;
    size_t n_listeners;
    struct sl_admin admin;
    struct sl_kernel kernel;
    struct sl_signer *signers;
    size_t n_signers;
    struct sl_auth *auths;
    size_t n_auths;
    struct sl_limits limits;
    struct sl_cluster cluster;
    struct sl_tier *tiers; /* the last one is the built-in "default", without limits */
    size_t n_tiers;
    const struct sl_tier
        *anonymous; /* for requests without a consumer; the built-in one where none is written */
    struct sl_consumer *consumers;
    size_t n_consumers;
    struct sl_map consumers_by_name; /* struct sl_consumer */
    struct sl_upstream *upstreams;
    size_t n_upstreams;
    struct sl_route *routes;
    size_t n_routes;
    struct sl_slice resolv_conf, hosts; /* /etc/resolv.conf and /etc/hosts, where names are asked for */
    struct {
        const char *header;
        bool trust, echo;
    } correlation_id;
    struct {
        bool enabled;
        const char *format; /* NULL: JSON */
        const char *path;   /* "-": standard output */
        double sample;
    } access_log;
    struct {
        bool by_route, by_code, by_tier;
        uint32_t max_series;
    } metrics;
};

struct sl_bundle;

/*
 * Parses and checks a bundle. 0 with *out holding one reference; -EINVAL with errors in diag; -ENOMEM.
 * The bundle must outlive nothing: all bytes are copied.
 */
int sl_snapshot_new(struct sl_bundle *bundle, struct sl_diag *diag, struct sl_snapshot **out) SL_MUST_CHECK;
struct sl_snapshot *sl_snapshot_ref(struct sl_snapshot *s);
/* NULL is fine. Secrets are wiped before the memory goes. */
void sl_snapshot_unref(struct sl_snapshot *s);

#endif
