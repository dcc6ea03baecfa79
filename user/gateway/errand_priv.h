/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's side of errands (net/errand.h): the same question is asked once, however many exchanges want the
 * answer; they are parked meanwhile.
 */
#ifndef SL_GATEWAY_ERRAND_PRIV_H
#define SL_GATEWAY_ERRAND_PRIV_H

#include "gateway/worker_priv.h"
#include "net/errand.h"

#define SL_ERRAND_GRACE \
    SL_NS_PER_SEC /* how much longer than the server's time is waited for the controller */

struct sl_errand_call;
struct sl_errand_result {
    enum sl_errand_status status;
    uint64_t expires_ns;
    struct sl_slice payload; /* until the callback returns */
};
/* Called once, when nobody else can be parked there any more; wakes those who are. */
typedef void (*sl_errand_fn)(struct sl_errand_call *call, const struct sl_errand_result *r);
struct sl_errand_question {
    enum sl_errand_kind kind;
    uint64_t source;         /* of the server */
    uint64_t timeout;        /* ns, that the server has */
    struct sl_slice payload; /* copied, and wiped at the end */
    sl_errand_fn done;       /* a call is shared by the same kind, source, payload and done */
    uint32_t provider;       /* of a credential: whose verdict it is, and */
    unsigned char hash[32];  /* what stands for it */
};
struct sl_errand_call {
    struct sl_list node; /* of the worker's */
    struct sl_worker *w;
    struct sl_gw_config *config; /* one reference: the policy that it was asked under */
    struct sl_errand_question q;
    struct sl_parking parking;
    uint64_t id, deadline;
    bool sent;
};

/* An end of a new pair; what was under way over the former one is answered GONE. fd is borrowed. */
void sl_worker_errands_connect(struct sl_worker *w, int fd);
/* Asks, or finds the same question under way: OK with the call; else why not. */
enum sl_errand_status sl_errand_begin(struct sl_worker *w, struct sl_gw_config *c,
                                      const struct sl_errand_question *q, struct sl_errand_call **out);
/* The same, and the exchange is parked for the answer; until it comes its errand_status is LATE, else what
 * this says. */
enum sl_errand_status sl_errand_wait(struct sl_exchange *ex, const struct sl_errand_question *q);
/* Answers LATE where no answer came in time. */
void sl_worker_errands_tick(struct sl_worker *w);
void sl_worker_errands_close(struct sl_worker *w);

#endif
