/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTPS exchange that the controller makes on its own: a key set, a discovery document, a token. The
 * messages go through the same strict codec as the proxy's (http/), the connection through the same TLS.
 *
 * Invariant: everything is bounded before it begins (bytes, time, hops), and where a hop leads that the
 * policy did not name is decided by its address, after the name was resolved: a name cannot change its mind
 * between the check and the connect.
 */
#ifndef SL_CONTROL_FETCH_PRIV_H
#define SL_CONTROL_FETCH_PRIV_H

#include "base/url.h"
#include "config/snapshot.h"
#include "http/message.h"
#include "net/resolve.h"
#include "net/stream.h"

struct sl_fetch;
struct sl_fetch_pool;
struct sl_fetch_result {
    const char *error; /* NULL: there is an answer; else why not. Lives until the callback returns */
    const struct sl_response *response;
    struct sl_slice body;
};
struct sl_fetch_request {
    struct sl_url url;
    bool post;
    struct sl_slice body;      /* of a POST: application/x-www-form-urlencoded */
    const char *authorization; /* NULL: none; never sent on to another host */
    size_t max;                /* bytes of the answer's body */
    uint64_t timeout;          /* ns for all of it */
    unsigned hops;             /* redirects that are followed; 0: the answer is the redirect itself */
    enum sl_reach reach;       /* of redirects */
    bool named;                /* url is the policy's own; else it is reached as a redirect would be */
    SSL_CTX *tls;
    /* Of the server at url, asked with that tls; then hops is 0, and what is asked may be asked twice. NULL:
     * the connection ends with the answer. */
    struct sl_fetch_pool *pool;
    void (*done)(void *ctx, const struct sl_fetch_result *r);
    void *ctx;
};

/* Strings of r are copied. done is called once, from the loop and never from within this, unless it is
 * cancelled before. NULL when memory is out. */
struct sl_fetch *sl_fetch_start(struct sl_loop *l, struct sl_resolver *r, const struct sl_fetch_request *req);
/* Forgets it: done is not called. Not from within done. NULL is nothing. */
void sl_fetch_cancel(struct sl_fetch *f);

/* ---- fetch_link.c: connections, and those that are kept between the questions to one server */

#define SL_FETCH_IDLE    8                     /* that nobody needs for now */
#define SL_FETCH_IDLE_NS (30 * SL_NS_PER_SEC)  /* each for so long: servers usually close after 60 */
#define SL_FETCH_LIFE_NS (300 * SL_NS_PER_SEC) /* in all: then its name is looked up again */

/* *connects counts those that are begun, and outlives the pool. NULL when memory is out. */
struct sl_fetch_pool *sl_fetch_pool_new(struct sl_loop *l, uint64_t *connects);
/* Of fetches under way none is left. NULL is nothing. */
void sl_fetch_pool_free(struct sl_fetch_pool *p);
/* Closes those that are idle. */
void sl_fetch_pool_drop(struct sl_fetch_pool *p);
unsigned sl_fetch_pool_connections(const struct sl_fetch_pool *p);

struct sl_fetch_link {
    struct sl_list node; /* while idle */
    struct sl_fetch_pool *pool;
    struct sl_fetch *fetch; /* NULL: idle */
    bool kept;              /* an earlier fetch was answered over it */
    struct sl_stream stream;
    uint64_t until; /* it is not kept any longer */
    struct sl_timer idle;
    struct sl_deferred end;
};
/* The idle one that was used last and is as it was left, or NULL. */
struct sl_fetch_link *sl_fetch_link_take(struct sl_fetch_pool *p, struct sl_fetch *f);
/* Begins to connect for f. 0, or -errno with *out NULL. */
int sl_fetch_link_connect(struct sl_fetch *f, struct sl_loop *l, const struct sl_fetch_request *req,
                          const char *host, const struct sl_sockaddr *to,
                          struct sl_fetch_link **out) SL_MUST_CHECK;
/* The answer is whole; reusable: and, as far as HTTP goes, another may follow. Kept, or closed. */
void sl_fetch_link_done(struct sl_fetch_link *k, bool reusable);
/* Its memory goes at the end of the turn. */
void sl_fetch_link_close(struct sl_fetch_link *k);

/* fetch.c: something happened on the connection of f. */
void sl_fetch_readable(struct sl_fetch *f);
void sl_fetch_writable(struct sl_fetch *f);

#endif
