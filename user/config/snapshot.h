/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy, checked and immutable. Everything hangs in one arena; named things stand in arrays in the order
 * of the policy and carry their position. Strings are NUL-terminated too. Durations are ns, sizes bytes.
 * Optional durations and counts are resolved to their defaults here: nobody further down knows a default.
 */
#ifndef SL_CONFIG_SNAPSHOT_H
#define SL_CONFIG_SNAPSHOT_H

#include "base/hash.h"
#include "base/ip.h"
#include "config/diag.h"
#include "config/ranges.h"
#include <stdatomic.h>

/* The bytes of a file that the policy names, or a literal or environment value. Secrets are never printed. */
struct sl_blob {
    struct sl_slice data;
    const char *path; /* NULL: not from a file */
    bool secret;
    struct sl_pos pos;
};

struct sl_strings {
    struct sl_slice *v;
    size_t n;
};
struct sl_name_value {
    struct sl_slice name, value;
    struct sl_pos pos;
};
struct sl_name_values {
    struct sl_name_value *v;
    size_t n;
};
struct sl_cidrs {
    struct sl_cidr *v;
    size_t n;
};

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
struct sl_rate { /* units per second as count/period, exact; count 0: no limit */
    uint64_t count;
    uint64_t per_ns;
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

/* ---- limits */
enum sl_limit_by { SL_BY_CONSUMER, SL_BY_IP, SL_BY_CREDENTIAL, SL_BY_HEADER };
enum sl_limit_headers {
    SL_LIMIT_HEADERS_IETF,
    SL_LIMIT_HEADERS_KONG,
    SL_LIMIT_HEADERS_BOTH,
    SL_LIMIT_HEADERS_OFF
};
struct sl_window {
    const char *name; /* "second" "minute" "hour" "day" */
    uint64_t seconds;
    uint64_t limit;    /* requests in the window */
    uint64_t capacity; /* requests of the bucket: limit, or burst for the shortest window */
};
struct sl_rate_limit {
    struct sl_pos pos; /* line 0: none written */
    struct sl_window windows[4];
    size_t n_windows; /* 0: no limit */
    enum sl_limit_by by;
    const char *by_header;
    enum sl_limit_headers headers;
    unsigned status;
    const char *message;
    bool shadow;  /* counts what it would refuse, refuses nothing */
    bool cluster; /* held together with other hosts */
};
struct sl_in_flight { /* requests at once */
    struct sl_pos pos;
    uint32_t max; /* 0: no limit */
    enum sl_limit_by by;
    const char *by_header;
    unsigned status;
    const char *message;
    bool shadow;
};
enum sl_table_full { SL_TABLE_FULL_ALLOW, SL_TABLE_FULL_REFUSE };
struct sl_limits { /* of all routes */
    struct sl_rate_limit rate_limit;
    struct sl_in_flight in_flight;
    enum sl_table_full table_full;
};

struct sl_cluster { /* the hosts that hold limits together */
    bool enabled;
    bool penalties; /* shared too */
    struct sl_pos pos;
    struct sl_sockaddr redis;
    uint32_t db;
    struct sl_blob password; /* n 0: none */
    uint64_t sync;
    const char *name;
    const char *host; /* what others show this one by; NULL: its host name */
    uint64_t seed;    /* of the keys of shared buckets: the same on every host */
};

/* ---- what the gateway signs itself */
struct sl_signer {
    const char *name;
    struct sl_pos pos;
    const char *issuer;
    struct sl_blob *keys; /* PEM; the first signs, all are published */
    size_t n_keys;        /* >= 1 */
    struct sl_slice rsa_algorithm;
};
/* What an upstream is shown of who asks. */
enum sl_upstream_auth_type {
    SL_UPSTREAM_AUTH_INHERIT, /* not written: of a route, what its upstream says */
    SL_UPSTREAM_AUTH_NONE,
    SL_UPSTREAM_AUTH_SIGN,
    SL_UPSTREAM_AUTH_CLIENT_CREDENTIALS,
    SL_UPSTREAM_AUTH_TOKEN_EXCHANGE
};
struct sl_upstream_auth {
    enum sl_upstream_auth_type type;
    struct sl_pos pos;
    struct sl_slice header; /* always overwritten */
    struct {
        const struct sl_signer *signer;
        struct sl_strings audiences;
        struct sl_slice subject;      /* with variables */
        struct sl_name_values claims; /* likewise */
        uint64_t lifetime;
    } sign;
    struct {              /* client_credentials, token_exchange: tokens that a server gives out */
        const char *name; /* "upstreams/orders": whose they are */
        const char *url;
        const char *client_id;
        struct sl_blob client_secret;
        struct sl_strings scopes;
        const char *audience; /* NULL: none */
        uint64_t timeout;
        struct sl_blob ca; /* PEM */
        uint64_t source;   /* of all that is asked for: the same over reloads; 0: of another type */
    } token;
};

/* ---- who */
enum sl_auth_type {
    SL_AUTH_JWT,
    SL_AUTH_KEY,
    SL_AUTH_MTLS,
    SL_AUTH_BASIC,
    SL_AUTH_INTROSPECTION,
    SL_AUTH_LDAP
};
/* X(enumerator, name): what can be told of a client's certificate. */
#define SL_CERT_FIELDS(X)                                                    \
    X(SAN_DNS, "san_dns")                                                    \
    X(SAN_URI, "san_uri")                                                    \
    X(SAN_EMAIL, "san_email")                                                \
    X(CN, "cn")                                                              \
    X(FINGERPRINT, "fingerprint") /* up to here: what can name a consumer */ \
    X(CERTIFICATE, "certificate")                                            \
    X(SUBJECT, "subject")                                                    \
    X(ISSUER, "issuer")                                                      \
    X(SERIAL, "serial")                                                      \
    X(NOT_AFTER, "not_after")
enum sl_cert_field {
#define SL_X(e, name) SL_CERT_##e,
    SL_CERT_FIELDS(SL_X)
#undef SL_X
        SL_CERT_FIELD_COUNT
};
struct sl_cert_header {
    enum sl_cert_field field;
    const char *header; /* always overwritten */
};
struct sl_claim_header {
    const char *claim;  /* dotted path */
    const char *header; /* always overwritten */
};
/* Where redirects may lead that the policy does not name. */
enum sl_reach { SL_REACH_NONE, SL_REACH_PUBLIC, SL_REACH_ANY };
#define SL_REMOTE_MAX 64 /* providers of a policy that fetch their keys */
struct sl_remote_keys {
    const char *url; /* NULL: the keys are written in the policy */
    bool discover;   /* url is the issuer's: its document names the keys' */
    uint64_t refresh, stale, timeout;
    unsigned redirects; /* enum sl_reach */
    struct sl_blob ca;  /* PEM */
    uint64_t source;    /* of name and url: the same over reloads; 0: none */
};
struct sl_auth {
    const char *name;
    struct sl_pos pos;
    enum sl_auth_type type;
    struct {                /* of introspection too: where tokens stand, what claims must say and become */
        const char *issuer; /* NULL: any */
        struct sl_strings audiences;
        struct sl_strings algorithms;
        const char *typ;       /* NULL: any */
        struct sl_blob jwks;   /* JSON text, of jwks or jwks_file; data.n 0: none */
        struct sl_blob secret; /* for HS*; data.n 0: none */
        struct sl_remote_keys remote;
        const struct sl_signer *signer; /* whose keys they are; NULL: others' */
        uint64_t clock_skew;
        bool verify_exp, verify_nbf;
        const char *consumer_claim;
        const char *roles_claim; /* NULL: none */
        const char *scopes_claim;
        struct sl_claim_header *claims_to_headers;
        size_t n_claims_to_headers;
        const char *from_header; /* NULL: not taken from there */
        const char *from_cookie;
        const char *from_query;
        bool forward;
        uint64_t cache; /* ceiling of a verified token's life in the cache; 0: no cache */
    } jwt;
    struct { /* whom tokens are shown to (RFC 7662) */
        const char *url;
        const char *client_id;
        struct sl_blob client_secret;
        uint64_t timeout;
        struct sl_blob ca; /* PEM */
        uint64_t source;   /* of name, url and client: the same over reloads */
    } introspection;
    struct {
        struct sl_strings names;
        bool in_header, in_query;
        bool hide;
    } key;
    struct { /* of basic and ldap */
        const char *realm;
        bool hide;
        uint64_t cache; /* how long a password that was right is believed; 0: not at all */
    } basic;
    struct {
        const char *uri; /* as written */
        const char *host;
        struct sl_ip ip; /* where host is an address; family 0: a name */
        uint16_t port;
        bool tls, start_tls, insecure; /* tls: from the first byte, unless start_tls */
        bool search;                   /* for the user's entry; else its name is made of the user's */
        struct sl_blob ca;             /* PEM, where tls */
        const char *base_dn;
        const char *attribute;
        const char *bind_dn; /* NULL: nobody searches */
        struct sl_blob bind_password;
        const char *filter; /* NULL: none */
        struct {
            const char *base_dn; /* NULL: groups are not asked for */
            const char *attribute, *member;
        } groups;
        uint64_t timeout;
        uint32_t connections;
        uint64_t source; /* of name and uri: the same over reloads */
    } ldap;
    struct {
        enum sl_cert_field consumer_from; /* up to SL_CERT_FINGERPRINT */
        struct sl_cert_header *headers;
        size_t n_headers;
    } mtls;
};
/* Bearer tokens, of which there are claims; a->jwt says where they stand. */
static inline bool sl_auth_takes_tokens(const struct sl_auth *a)
{
    return a->type == SL_AUTH_JWT || a->type == SL_AUTH_INTROSPECTION;
}

/* Names and passwords (RFC 7617); a->basic says how. */
static inline bool sl_auth_takes_passwords(const struct sl_auth *a)
{
    return a->type == SL_AUTH_BASIC || a->type == SL_AUTH_LDAP;
}

struct sl_bandwidth { /* bytes; in: from the client */
    struct sl_rate in, out;
};

struct sl_escalate {
    bool enabled;
    uint32_t rejections;
    uint64_t within, penalty, max_penalty;
};
struct sl_tier {
    const char *name;
    struct sl_pos pos;
    struct sl_rate_limit rate_limit;
    struct sl_in_flight in_flight;
    uint32_t headroom; /* kernel ceiling = headroom x limit; 0: no kernel entry */
    struct sl_escalate escalate;
    struct sl_bandwidth bandwidth;
    uint32_t slot;
};
struct sl_oauth2_client {
    struct sl_pos pos;
    struct sl_slice client_id;
    struct sl_slice secret_hash; /* 32 raw bytes: SHA-256 */
    struct sl_strings scopes;    /* n 0: all of the route's */
};
struct sl_consumer {
    const char *name;
    struct sl_pos pos;
    const struct sl_tier *tier; /* never NULL: "anonymous" or an unlimited built-in one */
    struct sl_cidrs sources;
    struct sl_strings groups;
    struct sl_name_values users;     /* name, hash of crypt(5) */
    struct sl_strings key_hashes;    /* 32 raw bytes each: SHA-256 of the API key */
    struct sl_oauth2_client *oauth2; /* whom it may get access tokens as */
    size_t n_oauth2;
    /* Its own, which few have; NULL: the tier's. A million consumers are to be small. */
    const struct sl_rate_limit *rate_limit;
    const struct sl_in_flight *in_flight;
    const struct sl_bandwidth *bandwidth;
    uint32_t slot; /* of consumer_bytes in the kernel; stable over reloads */
};
/* What holds for a consumer (NULL: none) of that tier. */
static inline const struct sl_rate_limit *sl_rate_limit_of(const struct sl_consumer *c,
                                                           const struct sl_tier *t)
{
    return c && c->rate_limit && c->rate_limit->n_windows ? c->rate_limit : &t->rate_limit;
}
static inline const struct sl_in_flight *sl_in_flight_of(const struct sl_consumer *c, const struct sl_tier *t)
{
    return c && c->in_flight && c->in_flight->max ? c->in_flight : &t->in_flight;
}
static inline const struct sl_bandwidth *sl_bandwidth_of(const struct sl_consumer *c, const struct sl_tier *t)
{
    const struct sl_bandwidth *own = c ? c->bandwidth : NULL;
    return own && (own->in.count || own->out.count) ? own : &t->bandwidth;
}

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
    struct {
        uint64_t connect, first_byte, idle, total;
    } timeouts;
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
