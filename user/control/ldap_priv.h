/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that is asked whose a password is: connections to one server, each of which has one question at
 * a time (a bind may not overlap with anything else, RFC 4511 section 4.2.1). libldap makes and reads the
 * messages; the bytes between go through a stream of our own and the same TLS as everything else, so that
 * nothing in it blocks, resolves a name or opens a file.
 *
 * Invariant: an empty password is never sent, since a bind with it succeeds for everybody (RFC 4513 section
 * 5.1.2); nor is anything sent after a StartTLS that did not end in a verified handshake.
 */
#ifndef SL_CONTROL_LDAP_PRIV_H
#define SL_CONTROL_LDAP_PRIV_H

#include "base/buf.h"
#include "base/list.h"
#include "config/snapshot.h"
#include "net/resolve.h"
#include "net/stream.h"
#include <ldap.h>

#define SL_LDAP_MESSAGE (256 * 1024)         /* bytes of one from the server */
#define SL_LDAP_GROUPS  512                  /* of one user */
#define SL_LDAP_IDLE_NS (60 * SL_NS_PER_SEC) /* so long a connection is kept that nobody needs */

/* ---- ldap.c: questions and the pool */

enum sl_ldap_verdict {
    SL_LDAP_ACCEPTED,
    SL_LDAP_REFUSED, /* the user or the password is wrong */
    SL_LDAP_FAILED,  /* the directory cannot say */
};
struct sl_ldap_result {
    enum sl_ldap_verdict verdict;
    const char *why;       /* of FAILED */
    bool unreachable;      /* of FAILED: others would fail as well */
    struct sl_slice names; /* of ACCEPTED: the user's name as the directory has it, then groups, each with a
                              NUL behind it */
};
struct sl_ldap;
struct sl_ldap_ask;
struct sl_ldap_config {
    struct sl_loop *loop;
    struct sl_resolver *resolver;
    const struct sl_auth *auth; /* outlives it, as all here */
    SSL_CTX *tls;               /* NULL: insecure */
    uint64_t *connects;         /* counts connections that are begun */
};
struct sl_ldap *sl_ldap_new(const struct sl_ldap_config *config);
/* Of questions under way none is left. */
void sl_ldap_free(struct sl_ldap *l);
/* Both texts are copied; neither is empty or holds a NUL. done is called once, from the loop and never from
 * within this, unless it is cancelled before. NULL when memory is out. */
struct sl_ldap_ask *sl_ldap_ask(struct sl_ldap *l, struct sl_slice user, struct sl_slice password,
                                void (*done)(void *ctx, const struct sl_ldap_result *r), void *ctx);
/* Forgets it, and the connection that it was asked over; answers no other. Not from within done. */
void sl_ldap_cancel(struct sl_ldap_ask *ask);
unsigned sl_ldap_connections(const struct sl_ldap *l);

/* ---- ldap_link.c: one connection */

struct sl_ldap_link;
struct sl_ldap_link_events {
    void (*ready)(struct sl_ldap_link *link); /* it can be asked */
    void (*answer)(struct sl_ldap_link *link, LDAPMessage *m);
    /* The end, of whatever kind; the link is closed and freed by who is told this. */
    void (*lost)(struct sl_ldap_link *link, const char *why);
};
struct sl_ldap_link {
    struct sl_list node; /* of the pool */
    struct sl_ldap *pool;
    const struct sl_ldap_config *config;
    const struct sl_ldap_link_events *on;
    struct sl_query query;
    struct sl_ip ips[SL_RESOLVED_MAX];
    size_t n_ips, next_ip;
    struct sl_stream stream;
    bool open, connected, ready, closed;
    LDAP *ld;
    struct sl_buf in, out;
    struct sl_timer idle;
    struct sl_deferred end;
    /* the pool's */
    struct sl_ldap_ask *ask; /* NULL: idle */
    bool served;             /* an earlier question was answered over it */
    unsigned bound;          /* enum sl_ldap_bound: who it is, to the server */
    int sent;                /* id of the message that is to be answered */
};

/* One that is nowhere yet; NULL when memory is out. */
struct sl_ldap_link *sl_ldap_link_new(struct sl_ldap *pool, const struct sl_ldap_config *config,
                                      const struct sl_ldap_link_events *on);
/* Begins to connect: ready or lost comes from the loop, or from within this. */
void sl_ldap_link_connect(struct sl_ldap_link *link);
/* Nobody needs it for now: it is lost after a while. */
void sl_ldap_link_rest(struct sl_ldap_link *link);
/* Each puts one message into the connection: its id, or 0 with the reason in *why. */
int sl_ldap_link_bind(struct sl_ldap_link *link, const char *dn, struct sl_slice password, const char **why);
int sl_ldap_link_search(struct sl_ldap_link *link, const char *base, int scope, const char *filter,
                        const char *attribute, int limit, const char **why);
/* Nothing is told any more; its memory goes at the end of the turn. */
void sl_ldap_link_close(struct sl_ldap_link *link);

/* ---- between ldap.c and ldap_steps.c */

/* Who a connection is, to the server. */
enum sl_ldap_bound { SL_BOUND_NOBODY, SL_BOUND_SERVICE, SL_BOUND_USER };

enum sl_ldap_step {
    SL_STEP_BEGIN,
    SL_STEP_SERVICE, /* bind as bind_dn, or as nobody, to find the user */
    SL_STEP_FIND,
    SL_STEP_BIND, /* as the user: is the password right? */
    SL_STEP_READ, /* the user's entry, whose name was made of his: how is he written? */
    SL_STEP_SERVICE_AGAIN,
    SL_STEP_GROUPS,
    SL_STEP_END,
};

struct sl_ldap_ask {
    struct sl_list node; /* of those that wait */
    struct sl_ldap *pool;
    struct sl_ldap_link *link; /* NULL: waits */
    struct sl_deferred start;
    bool begun, over, retried;
    struct sl_arena arena;
    struct sl_slice user, password;
    enum sl_ldap_step step;
    unsigned entries; /* of the search under way */
    const char *dn;   /* of the user */
    struct sl_slice name;
    struct sl_buf groups; /* each with a NUL behind it */
    char why[160];
    void (*done)(void *ctx, const struct sl_ldap_result *r);
    void *ctx;
};
/* The end of the question that k has; after it k is idle, has the next one or is closed. */
void sl_ldap_verdict(struct sl_ldap_link *k, const struct sl_ldap_result *r);
/* Nothing was found out. The connection goes as well: what state it is in is not worth finding out. what: ""
 * where why says it all. */
void sl_ldap_fail(struct sl_ldap_link *k, bool unreachable, const char *what, const char *why);
/* Takes the question's next step; the end of it may be reached by that. */
void sl_ldap_go_on(struct sl_ldap_link *k);
/* An answer to the last step. */
void sl_ldap_answer(struct sl_ldap_link *k, LDAPMessage *m);

#endif
