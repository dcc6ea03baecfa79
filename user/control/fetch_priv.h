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
#include <openssl/ssl.h>

struct sl_fetch;
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
    void (*done)(void *ctx, const struct sl_fetch_result *r);
    void *ctx;
};

/* Strings of r are copied. done is called once, from the loop and never from within this, unless it is
 * cancelled before. NULL when memory is out. */
struct sl_fetch *sl_fetch_start(struct sl_loop *l, struct sl_resolver *r, const struct sl_fetch_request *req);
/* Forgets it: done is not called. Not from within done. NULL is nothing. */
void sl_fetch_cancel(struct sl_fetch *f);

#endif
