/* SPDX-License-Identifier: Apache-2.0 */
/* Of a snapshot (snapshot.h): who calls, what the gateway signs, and how much one may. */
#ifndef SL_CONFIG_SNAPSHOT_IDENTITY_H
#define SL_CONFIG_SNAPSHOT_IDENTITY_H

#include "config/snapshot_types.h"

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
/* Authorization is the client's own, where no upstream_auth writes there. */
static inline bool sl_upstream_auth_is_bearer(const struct sl_upstream_auth *a)
{
    return sl_slice_ieq(a->header, SL_S("Authorization"));
}

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

#endif
