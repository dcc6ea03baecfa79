/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller's side of errands (net/errand.h): questions of all workers, asked once where they are the
 * same, of a bounded number at a time for each server, and not at all for a while where that has failed again
 * and again. A kind adds one sl_errand_ops, and its servers of a snapshot.
 */
#ifndef SL_CONTROL_ERRAND_PRIV_H
#define SL_CONTROL_ERRAND_PRIV_H

#include "control/control_priv.h"
#include "net/errand.h"
#include "net/resolve.h"

struct sl_errand_job;
struct sl_errand_server;

/* ---- what a kind brings */
struct sl_errand_ops {
    /* Begins to ask; later, never from within this, it ends once in sl_errand_done(). What is under way
     * stands in job->work. 0 or -errno. */
    int (*start)(struct sl_errand_job *job);
    /* Forgets job->work: sl_errand_done() is not called. */
    void (*cancel)(struct sl_errand_job *job);
    /* What it keeps between questions goes. */
    void (*close)(struct sl_errand_server *server);
    /* How many connections it has to the server. */
    unsigned (*connections)(const struct sl_errand_server *server);
};
/* A server of the policy in force. */
struct sl_errand_server {
    struct sl_errands *all;
    const struct sl_errand_ops *ops;
    enum sl_errand_kind kind;
    uint64_t source;
    const char *name; /* of the provider, in metrics and the log; of the snapshot, as is url */
    const char *url;
    const void *conf;  /* the kind's own: struct sl_auth */
    uint64_t timeout;  /* ns, from the question on */
    SSL_CTX *tls;      /* owned; NULL: none */
    void *kept;        /* the kind's own, of between questions */
    uint64_t connects; /* connections that were begun */
    unsigned running, queued;
    unsigned failures; /* in a row: of reaching it */
    uint64_t held_until;
    uint64_t total[SL_ERRAND_STATUS_COUNT];
    char why[200]; /* of the last failure; "" after a success */
};
struct sl_errand_job {
    struct sl_list node; /* of all */
    struct sl_errands *all;
    struct sl_errand_server *server; /* NULL: waits for the policy that it was asked under */
    enum sl_errand_kind kind;
    uint64_t source, version;
    uint64_t hash; /* of the payload */
    char *payload;
    size_t n;
    struct sl_list askers;
    struct sl_timer timer;
    bool running;
    void *work;
};
struct sl_errand_outcome {
    enum sl_errand_status status;
    const char *why;  /* of FAILED */
    bool unreachable; /* of FAILED: it is the server that fails, and not this question */
    uint64_t expires_ns;
    struct sl_slice payload;
};

/* The end of a job that runs; it is gone after it. */
void sl_errand_done(struct sl_errand_job *job, const struct sl_errand_outcome *o);
struct sl_loop *sl_errand_loop(const struct sl_errand_job *job);
struct sl_resolver *sl_errand_resolver(const struct sl_errand_job *job);

/* introspect.c, ldap_errand.c, token.c */
extern const struct sl_errand_ops sl_introspect_ops, sl_ldap_ops, sl_token_ops;

/* ---- the rest is between errand.c, errand_links.c and errand_servers.c */

struct sl_errand_link { /* to one worker */
    struct sl_list node;
    struct sl_errands *all;
    uint32_t worker;
    int fd;
    ev_io io;
    unsigned n;            /* askers of it */
    struct sl_list unsent; /* struct sl_errand_unsent; nothing is read while there are some */
};
struct sl_errand_unsent {
    struct sl_list node;
    struct sl_errand_answer head;
    size_t n;
    char payload[];
};
struct sl_errand_asker {
    struct sl_list node; /* of its job */
    struct sl_errand_link *link;
    uint64_t id;
};
struct sl_errands {
    struct sl_control *control;
    struct sl_snapshot *snapshot; /* one reference; NULL: no policy yet */
    struct sl_resolver *resolver;
    struct sl_errand_server *servers;
    size_t n_servers;
    struct sl_list links, jobs;
    uint64_t seed;
    char buf[SL_ERRAND_ASK_MAX];
};

/* Made with the first use; NULL when memory is out. */
struct sl_errands *sl_errands_of(struct sl_control *c);
void sl_errand_asked(struct sl_errand_link *link, const struct sl_errand_ask *q, struct sl_slice payload);
/* Starts what may start at that server, or ends it where the server is held off. */
void sl_errand_pump(struct sl_errand_server *s);
/* Its questions are nobody's any more. */
void sl_errand_forget(struct sl_errand_link *link);

void sl_errand_tell(struct sl_errand_link *link, uint64_t id, const struct sl_errand_outcome *o);
void sl_errand_link_close(struct sl_errand_link *link);

/* Those of all->snapshot; what is known of the former ones goes on. 0 or -errno: not all are there. */
int sl_errand_servers_new(struct sl_errands *all, const struct sl_errand_server *former, size_t n);
void sl_errand_servers_free(struct sl_errand_server *v, size_t n);
struct sl_errand_server *sl_errand_server_find(struct sl_errands *all, uint32_t kind, uint64_t source);

#endif
