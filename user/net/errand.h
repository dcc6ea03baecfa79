/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errands: what a worker asks the controller to ask of a server, and what that answered. They go over a
 * socket pair of their own (SOCK_SEQPACKET), which the supervisor makes and keeps no end of: tokens,
 * passwords and answers never pass through root. One message is a fixed header and a payload of bounded size;
 * each is checked for its exact size, since either side may have been taken over.
 */
#ifndef SL_NET_ERRAND_H
#define SL_NET_ERRAND_H

#include "base/macros.h"
#include "base/slice.h"

#define SL_ERRAND_ASK_MAX    (17 * 1024) /* bytes of a question's payload: a token, and something beside it */
#define SL_ERRAND_ANSWER_MAX (64 * 1024)
#define SL_ERRANDS_MAX       256 /* under way for one worker; more are answered FULL */
#define SL_ERRANDS_OF_SERVER 128 /* of them, for one server: a slow one does not take all places */

enum sl_errand_kind {
    SL_ERRAND_INTROSPECT = 1, /* a token; answered by the server's JSON (RFC 7662 section 2.2) */
    SL_ERRAND_LDAP, /* "user:password"; answered by the user's name and groups, each with a NUL behind it */
    SL_ERRAND_CLIENT_CREDENTIALS, /* nothing; answered by a token for an upstream */
    SL_ERRAND_TOKEN_EXCHANGE,     /* the client's token; likewise */
};

/* X(enumerator, name in metrics) */
#define SL_ERRAND_STATUSES(X)                                                    \
    X(OK, "ok")                                                                  \
    X(REFUSED, "refused") /* the server said no */                               \
    X(FAILED, "failed")   /* it was not reached, or its answer makes no sense */ \
    X(HELD, "held")       /* not asked: it has failed too often just now */      \
    X(FULL, "full")       /* too many wait for it, or for any */                 \
    X(UNKNOWN, "unknown") /* the policy in force has no such server */           \
    X(LATE, "late")       /* no answer in time */                                \
    X(GONE, "gone")       /* there is no controller that could be asked */
enum sl_errand_status {
#define SL_X(e, name) SL_ERRAND_##e,
    SL_ERRAND_STATUSES(SL_X)
#undef SL_X
        SL_ERRAND_STATUS_COUNT
};

const char *sl_errand_status_name(enum sl_errand_status s);

struct sl_errand_ask { /* worker -> controller */
    uint32_t size;     /* of the whole message */
    uint32_t kind;     /* enum sl_errand_kind */
    uint64_t id;       /* the worker's; the answer repeats it */
    uint64_t version;  /* of the policy that it is asked under: a controller not so far yet waits for it */
    uint64_t source;   /* of the server, over reloads */
};
struct sl_errand_answer { /* controller -> worker */
    uint32_t size;
    uint32_t status; /* enum sl_errand_status */
    uint64_t id;
    uint64_t expires_ns; /* CLOCK_MONOTONIC, where the server said how long it holds; else 0 */
};

/* Sends one, its size set by this: 0, -EAGAIN when the peer is slow, -EMSGSIZE, or another -errno. */
int sl_errand_send_ask(int sock, struct sl_errand_ask *head, struct sl_slice payload) SL_MUST_CHECK;
int sl_errand_send_answer(int sock, struct sl_errand_answer *head, struct sl_slice payload) SL_MUST_CHECK;
/* Receives one: 1 with *head and the payload in buf (SL_ERRAND_ASK_MAX, SL_ERRAND_ANSWER_MAX bytes), 0
 * nothing there, -EPIPE peer closed, -EPROTO a message of wrong size. */
int sl_errand_recv_ask(int sock, struct sl_errand_ask *head, char *buf, struct sl_slice *payload);
int sl_errand_recv_answer(int sock, struct sl_errand_answer *head, char *buf, struct sl_slice *payload);

#endif
