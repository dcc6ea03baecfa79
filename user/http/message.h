/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request and a response as every codec reads and writes them. Knows no policy. Names and values are slices
 * into the receive buffer or the exchange's arena and live as long as the exchange.
 */
#ifndef SL_HTTP_MESSAGE_H
#define SL_HTTP_MESSAGE_H

#include "base/arena.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

/* X(enumerator, lower-case name): headers the engine itself looks at; all others are SL_HDR_OTHER. */
#define SL_HTTP_HEADERS(X)                        \
    X(HOST, "host")                               \
    X(CONNECTION, "connection")                   \
    X(KEEP_ALIVE, "keep-alive")                   \
    X(PROXY_CONNECTION, "proxy-connection")       \
    X(TE, "te")                                   \
    X(TRAILER, "trailer")                         \
    X(TRANSFER_ENCODING, "transfer-encoding")     \
    X(UPGRADE, "upgrade")                         \
    X(CONTENT_LENGTH, "content-length")           \
    X(EXPECT, "expect")                           \
    X(AUTHORIZATION, "authorization")             \
    X(PROXY_AUTHORIZATION, "proxy-authorization") \
    X(PROXY_AUTHENTICATE, "proxy-authenticate")   \
    X(COOKIE, "cookie")                           \
    X(FORWARDED, "forwarded")                     \
    X(X_FORWARDED_FOR, "x-forwarded-for")         \
    X(X_FORWARDED_PROTO, "x-forwarded-proto")     \
    X(X_FORWARDED_HOST, "x-forwarded-host")       \
    X(SERVER, "server")                           \
    X(DATE, "date")                               \
    X(VIA, "via")                                 \
    X(RETRY_AFTER, "retry-after")                 \
    X(CONTENT_TYPE, "content-type")               \
    X(USER_AGENT, "user-agent")                   \
    X(ACCEPT, "accept")

enum sl_hdr {
    SL_HDR_OTHER,
#define SL_X(e, name) SL_HDR_##e,
    SL_HTTP_HEADERS(SL_X)
#undef SL_X
        SL_HDR_COUNT
};

struct sl_header {
    struct sl_slice name;  /* as received */
    struct sl_slice value; /* without OWS at the ends */
    uint16_t id;           /* enum sl_hdr */
    bool removed;          /* skipped by lookups and writers: removal moves nothing */
    bool in_line;          /* name and value lie in a head, where CR LF follows the value */
};

struct sl_headers {
    struct sl_header *v;
    uint32_t n, cap;
};

enum sl_method {
    SL_METHOD_OTHER,
    SL_METHOD_GET,
    SL_METHOD_HEAD,
    SL_METHOD_POST,
    SL_METHOD_PUT,
    SL_METHOD_DELETE,
    SL_METHOD_OPTIONS,
    SL_METHOD_PATCH,
    SL_METHOD_CONNECT,
    SL_METHOD_TRACE,
    SL_METHOD_COUNT
};

enum sl_framing {
    SL_FRAMING_NONE,    /* no body */
    SL_FRAMING_LENGTH,  /* content_length bytes */
    SL_FRAMING_CHUNKED, /* h1 chunked */
    SL_FRAMING_EOF,     /* h1 response until close */
};

/* A client's certificate as its listener verified it. */
struct sl_client_cert {
    struct x509_st *x509; /* owned */
    unsigned char sha256[32];
    uint64_t not_after; /* Unix seconds */
};

struct sl_request {
    enum sl_method method;
    struct sl_slice method_name;
    struct sl_slice target;    /* as received */
    struct sl_slice path;      /* normalised: what is routed, authorised and forwarded */
    struct sl_slice query;     /* after '?', as received; p NULL where there is none */
    struct sl_slice authority; /* Host, or the absolute-form authority; lower case, port kept */
    struct sl_headers headers;
    enum sl_framing framing;
    uint64_t content_length;
    uint8_t minor; /* 0 or 1 on HTTP/1.x */
    bool keep_alive;
    bool expect_continue;
    bool upgrade;          /* Connection: upgrade with an Upgrade header; sent on: a WebSocket is asked for */
    bool extended_connect; /* it is asked for by RFC 8441: nothing but a tunnel may come of it */
    bool te_trailers;      /* the client takes trailers, and so does who asks for it */
    struct sl_headers trailers;               /* complete once the body is */
    const struct sl_client_cert *client_cert; /* NULL: none; lives as long as its connection */
};

struct sl_response {
    uint16_t status;
    struct sl_slice reason;
    struct sl_headers headers;
    enum sl_framing framing;
    uint64_t content_length;
    uint8_t minor;
    bool keep_alive;
    bool upgrade;               /* 101 with Connection: upgrade and an Upgrade header */
    struct sl_headers trailers; /* complete once the body is */
};

enum sl_hdr sl_hdr_id(struct sl_slice name);
/* 0 or -ENOMEM; name and value are borrowed and must live as long as the arena. id is found from the name. */
int sl_headers_add(struct sl_headers *h, struct sl_arena *a, struct sl_slice name, struct sl_slice value);
/* The same where the caller knows the id of the name. */
int sl_headers_add_as(struct sl_headers *h, struct sl_arena *a, enum sl_hdr id, struct sl_slice name,
                      struct sl_slice value);
/* The first live header of that name, or NULL. */
struct sl_header *sl_headers_find(const struct sl_headers *h, struct sl_slice name);
struct sl_header *sl_headers_get(const struct sl_headers *h, enum sl_hdr id);
/* Marks all of that name removed; returns how many. '_' and '-' are the same here, and case is ignored, since
 * upstreams that speak CGI cannot tell X_User_Id from X-User-Id. */
unsigned sl_headers_remove(struct sl_headers *h, struct sl_slice name);
/* How long the names are that live: bit n for n bytes, 63 for all longer ones. Most names that are to be
 * removed are not there, and this says so at once. */
uint64_t sl_headers_lengths(const struct sl_headers *h);
#define SL_NAME_BIT(name) (1ull << SL_MIN((name).n, (size_t)63))
/* Removes all of that name (as above), then adds one. */
int sl_headers_set(struct sl_headers *h, struct sl_arena *a, struct sl_slice name, struct sl_slice value);

enum sl_method sl_method_from(struct sl_slice name);
const char *sl_method_name(enum sl_method m);
/* The standard phrase of RFC 9110 section 15, "" for codes it does not name. */
const char *sl_status_phrase(unsigned status);
/* RFC 9110 section 5.6.2 token; RFC 9110 section 5.5 field value (no CR, LF, NUL or other control but tab).
 */
bool sl_is_token(struct sl_slice s);
bool sl_is_field_value(struct sl_slice s);

/* trailers.c: whether a field of that name may stand in trailers; those that may not are dropped or refused,
 * never passed on. */
bool sl_trailer_allowed(struct sl_slice name);
/* The same of a name that is not kept: its bytes are hashed one by one, from SL_TRAILER_HASH on. */
#define SL_TRAILER_HASH 0xcbf29ce484222325ull
uint64_t sl_trailer_hash(uint64_t h, char c);
bool sl_trailer_forbidden(uint64_t hash);
/* TE: trailers (RFC 9110 section 10.1.4). */
bool sl_offers_trailers(const struct sl_headers *h);

/*
 * Removes hop-by-hop fields (RFC 9110 section 7.6.1) and those that Connection names; never Host,
 * Authorization, Content-Length, Cookie or a name in `keep` whatever Connection says.
 */
void sl_headers_strip_hop_by_hop(struct sl_headers *h, const struct sl_slice *keep, size_t n_keep);

#endif
