/* SPDX-License-Identifier: Apache-2.0 */
/* The link to the Redis that several hosts meet at, as the files of the cluster part see it. */
#ifndef SL_CONTROL_CLUSTER_PRIV_H
#define SL_CONTROL_CLUSTER_PRIV_H

#include "control/cluster_seen_priv.h"
#include "control/control_priv.h"

#include <hiredis/async.h>

struct sl_cluster_penalties;

struct sl_cluster_link {
    struct sl_control *control;
    struct sl_snapshot *snapshot;    /* one reference: config is of it */
    const struct sl_cluster *config; /* enabled */
    char text[SL_SOCK_STRLEN];       /* of the Redis */
    redisAsyncContext *redis;        /* NULL: not connected, nor about to be */
    bool connected, up, warned;
    bool all;             /* the next sync tells of every shared bucket: Redis may have forgotten all */
    unsigned outstanding; /* commands without an answer */
    ev_timer sync;
    uint64_t retry_at, asked_at;
    uint64_t syncs, failures, told;         /* told: buckets, in all syncs */
    struct sl_cluster_penalties *penalties; /* NULL: not shared */
};

/* ---- cluster.c */
/* A command's answer, or the link's end (reply NULL): counts it, and says whether it is of use. */
bool sl_cluster_answered(struct sl_cluster_link *l, const redisReply *reply);
/* The callback of a command whose answer says nothing but that it was done. */
void sl_cluster_on_answer(redisAsyncContext *a, void *reply, void *arg);
/* The host cannot be spoken of as one with the others: why is told once. */
void sl_cluster_down(struct sl_cluster_link *l, const char *why);

/* ---- cluster_buckets.c */
/* Queues what the shared buckets have admitted; the answers move them on. */
void sl_cluster_tell(struct sl_cluster_link *l);

/* ---- penalties: cluster_penalties.c tells and keeps, cluster_heard.c hears and has them put in */
struct sl_pending {
    struct sl_cluster_event e;
    uint64_t deadline_ns;
};
/* A queue of fixed room. */
struct sl_pendings {
    struct sl_pending *v;
    size_t max, at, n; /* n from at on, around the end */
};
int sl_pendings_init(struct sl_pendings *q, size_t max) SL_MUST_CHECK;
/* False: it is full. */
bool sl_pendings_push(struct sl_pendings *q, const struct sl_pending *p);
struct sl_pending *sl_pendings_nth(const struct sl_pendings *q, size_t i);
void sl_pendings_pop(struct sl_pendings *q);
/* Those that the range takes back: out, or, where `as_revoked`, each become a revocation of its own. */
void sl_pendings_revoke(struct sl_pendings *q, const struct sl_cidr *c, bool as_revoked);

/* X(enumerator, name): why what another host told was not put in. */
#define SL_SHARED_REFUSALS(X)                                                          \
    X(MALFORMED, "malformed")   /* no such event, or out of its ranges */              \
    X(PROTECTED, "protected")   /* an allowed source here, or a trusted proxy */       \
    X(NEIGHBOURS, "neighbours") /* another consumer succeeds from there (NAT guard) */ \
    X(FULL, "full")             /* no room: in the queue, or in the guard's table */   \
    X(GUARD, "guard")           /* the guard is off, or could not be written */
enum sl_shared_refusal {
#define SL_X(e, n) SL_REFUSE_##e,
    SL_SHARED_REFUSALS(SL_X)
#undef SL_X
        SL_REFUSE_COUNT
};

#define SL_ASKED_MOST 256 /* of the supervisor at once: more do not fit its socket */
struct sl_cluster_penalties {
    struct sl_cluster_link *link;
    uint64_t sender; /* of this process's events */
    struct sl_seen_table *seen;
    struct sl_pendings tell, heard;
    unsigned untold;          /* sent, and not answered yet */
    bool all;                 /* tell what this host holds and the stream does not, once that is read */
    __u64 all_again;          /* bucket of these, so that hosts cannot set off one another for ever */
    bool replaying;           /* reads the stream from its start; false: goes on where it was */
    char cursor[48];          /* id of the entry read last; "": none */
    uint64_t redis_ms, at_ns; /* Redis's clock, and ours when it said so */
    bool complained;          /* of Redis */
    uint64_t said_ns;         /* when a refusal was last said */
    struct {
        uint64_t id, at_ns; /* of the request; 0: free */
        struct sl_pending p;
    } asked[SL_ASKED_MOST];
    uint64_t told, revocations_told, lost; /* lost: no room to keep them until Redis answers */
    uint64_t taken, revocations_taken, refused[SL_REFUSE_COUNT];
};
int sl_cluster_penalties_start(struct sl_cluster_link *l) SL_MUST_CHECK;
void sl_cluster_penalties_stop(struct sl_cluster_link *l);
/* Every sync: tells, hears, and asks the supervisor for what was heard. */
void sl_cluster_penalties_sync(struct sl_cluster_link *l);
/* Queues what this host holds by itself. */
void sl_cluster_penalties_tell_all(struct sl_cluster_penalties *p);
/* Says once what Redis complains of. */
void sl_cluster_penalties_complain(struct sl_cluster_penalties *p, const char *why);

json_t *sl_cluster_penalties_json(const struct sl_cluster_penalties *p);
const char *sl_shared_refusal_name(enum sl_shared_refusal r);

/* ---- cluster_heard.c */
void sl_cluster_hear(struct sl_cluster_penalties *p);
void sl_cluster_put_in(struct sl_cluster_penalties *p);

#endif
