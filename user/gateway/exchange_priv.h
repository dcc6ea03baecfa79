/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exchange: one request and its answer. exchange.c tells its life from top to bottom; the other files are
 * its parts: stages.c what a route does with it, forward.c the upstream's side, relay.c the bodies, respond.c
 * answers of our own, account.c what is counted and logged at the end.
 */
#ifndef SL_GATEWAY_EXCHANGE_PRIV_H
#define SL_GATEWAY_EXCHANGE_PRIV_H

#include "gateway/codec_priv.h"
#include "gateway/conn_priv.h"
#include "http/h1.h"

enum sl_exchange_state {
    SL_EX_FREE,       /* in the worker's store */
    SL_EX_STAGES,     /* runs through its chain */
    SL_EX_CONNECTING, /* waits for a connection to the upstream */
    SL_EX_SENDING,    /* the request goes out; nothing has come back */
    SL_EX_AWAITING,   /* the request is out; nothing has come back */
    SL_EX_STREAMING,  /* the upstream's head is passed on; the bodies flow */
    SL_EX_FLUSHING,   /* the whole answer is in the client's buffer */
    SL_EX_DONE,       /* counted and logged; goes back to the store when the callback is over */
    SL_EX_STATES
};
const char *sl_exchange_state_name(enum sl_exchange_state s);
bool sl_exchange_edge(enum sl_exchange_state from, enum sl_exchange_state to);

/* Whom the exchange waits for, and so what its deadline means. */
enum sl_wait {
    SL_WAIT_NONE,
    SL_WAIT_CLIENT_GONE,
    SL_WAIT_CLIENT_BODY,
    SL_WAIT_CLIENT_READ,
    SL_WAIT_VERDICT,
    SL_WAIT_UPSTREAM,
    SL_WAIT_TUNNEL, /* either side */
};

struct sl_exchange {
    /* kept from one use to the next */
    struct sl_worker *w;
    struct sl_arena arena;
    size_t arena_counted; /* of it, in the worker's sum */
    struct sl_timer timer;

    /* zeroed in between, from here on */
    enum sl_exchange_state state;
    enum sl_wait waiting;
    enum sl_proxy_reason why; /* SL_WHY_NONE: the upstream answered */
    unsigned retries;         /* all tries beyond the first */
    unsigned retried;         /* of them, those that the route's retries gave */
    uint16_t status;
    uint8_t interims; /* that the upstream sent */
    bool peer_trusted;
    bool replayable, replayed;
    bool up_keep;     /* the upstream's connection may serve another exchange */
    bool up_held;     /* reading from the upstream is held: the client is slow */
    bool up_shaped;   /* and held for the consumer's bandwidth */
    bool expect_sent; /* 100 Continue */
    bool chunked_out; /* the codec's: the client gets chunks */
    bool close;       /* the client's connection ends with this exchange, where it carries one at a time */
    bool linger;      /* and what the client still sends is read away first */
    bool penalised;   /* the client's connection ends with it, whatever else that carries */
    bool send_failed; /* the upstream takes no more; what it said before that may still come */
    bool head_sent;   /* of the answer */
    bool tunnel;      /* the answer opened one */
    bool h2_out;      /* the upstream speaks HTTP/2: req_out has the body alone, as it is */
    bool collecting;  /* the body is waited for */

    struct sl_conn *conn;               /* NULL once done */
    const struct sl_codec *codec;       /* what the client speaks */
    struct sl_h2_stream *stream;        /* codec_h2.c's; NULL elsewhere, and once done */
    struct sl_gw_config *config;        /* one reference */
    const struct sl_listener *listener; /* of config */
    const struct sl_gw_route *route;    /* NULL: none found */
    const sl_stage *stage;              /* the one that runs next */
    struct sl_buf head;                 /* the request's head; slices point into it */
    struct sl_request req;
    struct sl_response res;
    struct sl_h1_body req_body, res_body;
    uint64_t body_limit;
    struct sl_buf collected; /* the request's body, where a stage wants all of it */

    struct sl_slice client_text;
    struct sl_slice correlation_id, request_id; /* request_id: p NULL until asked for */
    struct sl_slice log_path;                   /* as it was routed, before any rewrite */
    struct sl_identity *identity;               /* one reference, or NULL */
    struct sl_parking *parked_by;               /* it waits for who is asking; NULL: it does not */
    struct sl_list parked;                      /* among those */
    uint64_t parked_until;
    struct sl_auth_again again;     /* what came of waiting */
    struct sl_slice token;          /* the bearer token that its identity is of; n 0: none */
    struct sl_slice upstream_token; /* that a server gave out, and the upstream is shown; p NULL: none */
    bool upstream_token_asked;
    uint8_t errand_status; /* enum sl_errand_status of the last one */
    const struct sl_tier *tier;
    struct sl_limit_set *limits[4];
    size_t n_limits;
    struct sl_limit_verdict verdict;
    uint32_t flights[3]; /* rows of requests at once that it is counted in */
    size_t n_flights;

    struct sl_group *group; /* the upstream; NULL: none was chosen */
    struct sl_upconn *up;   /* NULL: none */
    const char *target;     /* of it, also when it is gone */
    struct sl_attempts attempts;
    struct sl_buf req_out; /* bytes for the upstream */
    size_t req_sent;       /* of them, while replayable keeps them all */
    size_t scanned;        /* bytes of the answer that hold no end of a head */

    const char *detail; /* of why */
    uint64_t total_at;  /* 0: not routed yet */
    uint64_t gone_at; /* the client has said FIN: how long an answer is still sought for it; 0: it has not */
    uint64_t started, up_started, first_byte;
    uint64_t bytes_in, bytes_out; /* bodies */
    struct sl_shape shape;        /* over HTTP/2 */
    struct sl_exchange *next_spare;
    struct sl_deferred deferred;
    struct sl_ip client_ip; /* behind trusted proxies */
};
/* Nothing of the request is still to come from the client. */
static inline bool sl_request_is_over(const struct sl_exchange *ex)
{
    return ex->req_body.done || ex->req.framing == SL_FRAMING_NONE;
}

/* ---- exchange.c */
/* One more on this connection, in STAGES, without a request; NULL when memory is out. */
struct sl_exchange *sl_exchange_new(struct sl_conn *c, const struct sl_codec *codec);
/* ex->req is there, and req_body where one follows: everything from the route on. */
void sl_exchange_start(struct sl_exchange *ex);
/* A head that cannot be: answers. */
void sl_exchange_refuse(struct sl_exchange *ex, enum sl_h1_error e);
/* The client stalled inside its head: 408. */
void sl_exchange_head_timeout(struct sl_exchange *ex);
/* The one place where the state moves; asserts the legal edges. */
void sl_exchange_set_state(struct sl_exchange *ex, enum sl_exchange_state to);
/* Goes on after WAIT. */
void sl_exchange_continue(struct sl_exchange *ex);
/* Throws away what is buffered of a body that nobody will read. */
void sl_exchange_discard_body(struct sl_exchange *ex);
/* The answer is whole and in the client's buffer: sends it, and ends with the last byte. */
void sl_exchange_complete(struct sl_exchange *ex);
/* The answer cannot be completed: the client sees its connection end. */
void sl_exchange_abort(struct sl_exchange *ex, enum sl_proxy_reason why, const char *detail);
/* What the connection tells it. */
void sl_exchange_client_data(struct sl_exchange *ex);
void sl_exchange_client_writable(struct sl_exchange *ex);
void sl_exchange_client_eof(struct sl_exchange *ex);
/* It has said FIN, which is not read yet: as if it were, but that what is unread may still be some. */
void sl_exchange_client_left(struct sl_exchange *ex);
void sl_exchange_client_gone(struct sl_exchange *ex);
void sl_exchanges_free_spare(struct sl_worker *w);

/* ---- request.c: what the gateway makes of a request before and after the route */
bool sl_trusted_proxy(const struct sl_snapshot *s, const struct sl_ip *ip);
/* The client's address, looking through trusted proxies from the right. */
void sl_request_client(struct sl_exchange *ex);
/* Takes over or makes the correlation id. 0 or -ENOMEM. */
int sl_request_correlate(struct sl_exchange *ex);
/* Hop-by-hop out, forwarding fields and correlation id in. 0 or -ENOMEM. */
int sl_request_prepare(struct sl_exchange *ex);
/* Once ex->req.trailers are there, before they go on. */
void sl_request_clean_trailers(struct sl_exchange *ex);
struct sl_template_vars sl_exchange_vars(struct sl_exchange *ex);

/* ---- shape.c: bandwidth */
void sl_shape_init(struct sl_conn *c);
/* Harmless where there is none. */
void sl_shape_stop(struct sl_shape *s);
/* Who asks is known: his limits hold from here on. */
void sl_shape_begin(struct sl_exchange *ex);
/* n bytes have been read from or written to the client; says how long they wait for it. */
void sl_shape_spend(struct sl_shape *s, enum sl_direction d, size_t n);
/* A stream's answer: n bytes have left. */
void sl_shape_sent(struct sl_exchange *ex, size_t n);
/* A stream's body is not taken now. */
static inline bool sl_shape_holds_body(const struct sl_exchange *ex)
{
    return ex->shape.until[SL_IN] > ex->w->loop.now;
}
/* Holds the upstream while the client's direction waits. */
void sl_shape_hold_up(struct sl_exchange *ex);
void sl_shape_release_up(struct sl_exchange *ex);
/* Between requests: whether the next one waits. */
bool sl_shape_hold_next(struct sl_conn *c);
/* From when on a timeout counts: a wait of ours is nobody's fault. */
uint64_t sl_shape_from(const struct sl_shape *s, uint64_t now);
static inline struct sl_shape *sl_shape_of(struct sl_exchange *ex)
{
    return ex->conn->h2 ? &ex->shape : &ex->conn->shape;
}

/* ---- limits.c */
enum sl_stage_result sl_stage_limits(struct sl_exchange *ex);
/* It is no longer under way. */
void sl_limits_release(struct sl_exchange *ex);

/* ---- stages.c */
/* The chain of a route. */
void sl_route_stages(const struct sl_route_policy *p, sl_stage chain[SL_MAX_STAGES]);
extern const sl_stage sl_chain_redirect_https[];

/* ---- collect.c */
/* Goes on once ex->collected has all of the body. */
enum sl_stage_result sl_stage_collect(struct sl_exchange *ex);
/* More of it has come; ex->collecting. */
void sl_collect_more(struct sl_exchange *ex);

/* ---- oauth2.c */
enum sl_stage_result sl_stage_oauth2(struct sl_exchange *ex);

/* ---- upstream_auth.c */
enum sl_stage_result sl_stage_upstream_auth(struct sl_exchange *ex);
/* What holds for the upstream that was chosen. */
const struct sl_upstream_auth *sl_upstream_auth_of(const struct sl_exchange *ex);
/* errand_token.c: shows a token that a server gave out, or waits for one. */
enum sl_stage_result sl_upstream_token(struct sl_exchange *ex, const struct sl_upstream_auth *auth);
/* The upstream answered 401 to one. */
void sl_upstream_token_refused(struct sl_exchange *ex);

/* ---- forward.c */
/* Sets ex->group. */
enum sl_stage_result sl_forward_choose(struct sl_exchange *ex);
enum sl_stage_result sl_forward_begin(struct sl_exchange *ex);
/* Sends what is in req_out. */
void sl_forward_flush(struct sl_exchange *ex);
/* The upstream let a deadline pass: counts that against it. True: it is tried again. */
bool sl_forward_timed_out(struct sl_exchange *ex);
void sl_forward_release(struct sl_exchange *ex, bool reuse);
/* The upstream failed before its head came: another try where that is safe, else an answer of our own. */
void sl_forward_failed(struct sl_exchange *ex, enum sl_proxy_reason why, const char *detail);

/* ex->res is an interim answer: sends it on. 0, or -1: ex is gone. */
int sl_forward_interim(struct sl_exchange *ex);
/* ex->res is the answer's head: sends it on. 0, or -1: ex is gone, or tries again. */
int sl_forward_answered(struct sl_exchange *ex);

/* ---- forward_h2.c */
extern const struct sl_upconn_h2_ops sl_forward_h2;
/* Sends the request's head on the stream that ex->up is. 0 or -errno: it is answered, or tried again. */
int sl_forward_h2_ask(struct sl_exchange *ex);

/* ---- relay.c */
/* Client's body bytes into req_out, as far as there is room. -errno: answered or aborted, ex is not to be
 * touched. */
int sl_relay_request(struct sl_exchange *ex);
/* Decodes what has come of the request's body, and holds it to its limit: *used bytes, of which *data is
 * payload, for the caller to take. 0; -errno: answered or aborted, ex is not to be touched. */
int sl_relay_body(struct sl_exchange *ex, size_t *used, struct sl_slice *data);
/* The client's fault, or too much: an answer where none has begun, behind which the connection ends since
 * what is left of the body is not told from a request; else the end. -EPROTO. */
int sl_relay_bad_body(struct sl_exchange *ex, enum sl_proxy_reason why, unsigned status, const char *detail);
/* Says 100 where the client waits for it: the body will be read now (RFC 9110 section 10.1.1). -EPIPE: the
 * client is gone, and so is the exchange. */
int sl_relay_expect(struct sl_exchange *ex) SL_MUST_CHECK;
/* The upstream is readable inside its answer's body. */
void sl_relay_response(struct sl_exchange *ex);
/* What of the answer is in the upstream's buffer goes on to the client. */
void sl_relay_answer(struct sl_exchange *ex);

/* ---- tunnel.c */
/* Whether what is asked for by extended CONNECT may be. */
enum sl_stage_result sl_stage_upgrade(struct sl_exchange *ex);
/* The request is about to go to ex->group: what it asks for, in the form that this has. 0 or -errno. */
int sl_tunnel_ask(struct sl_exchange *ex);
/* ex->res is what the upstream answers: whether it may be, what was asked for considered; SL_WHY_NONE: it
 * may. */
enum sl_proxy_reason sl_tunnel_check(const struct sl_exchange *ex);
/* Whether ex->res, which may be, opens it. */
bool sl_tunnel_opens(const struct sl_exchange *ex);
/* Tells the client, and from there on bytes flow. 0 or -ENOMEM. */
int sl_tunnel_open(struct sl_exchange *ex);
/* No byte has come from either side for as long as the route lets it: the end. */
void sl_tunnel_idle(struct sl_exchange *ex);
/* The client sends no more: nor does the gateway to the upstream, once all has gone there. */
void sl_tunnel_client_eof(struct sl_exchange *ex);

/* All of the answer has been given to the codec, but for its end. */
void sl_relay_answer_done(struct sl_exchange *ex);
/* ex->res.trailers have come: what of them may go on. */
void sl_relay_answer_trailers(struct sl_exchange *ex);
/* Sends the client what there is; holds the upstream where it does not keep up. */
void sl_relay_pass_on(struct sl_exchange *ex);

/* ---- grpc.c */
bool sl_grpc_is(const struct sl_exchange *ex);
/* grpc-timeout in ns; 0: it is none. */
uint64_t sl_grpc_timeout(struct sl_slice value);
/* What the client will wait bounds the whole exchange. */
void sl_grpc_deadline(struct sl_exchange *ex);
/* An answer of our own to gRPC: its status into ex->res's fields. 0 or -ENOMEM. */
int sl_grpc_refusal(struct sl_exchange *ex, unsigned status, const char *detail);

/* ---- respond.c */
/* Answers with a problem (RFC 9457) of that reason; headers already in ex->res stay. */
enum sl_stage_result sl_respond_problem(struct sl_exchange *ex, enum sl_proxy_reason why, unsigned status,
                                        const char *detail);
/* Answers with status, headers in ex->res and body. */
enum sl_stage_result sl_respond(struct sl_exchange *ex, unsigned status, struct sl_slice body);
/* Adds to ex->res what every answer carries: correlation id, limits, the route's response transforms. */
int sl_respond_decorate(struct sl_exchange *ex, const struct sl_transform *extra);

/* ---- escalate.c */
/* A request was refused by a limit: counts it, and asks for a penalty where the tier says so. */
void sl_escalate_rejected(struct sl_exchange *ex);
/* Who asks is known: on a connection that carries many requests he may not be the only one. */
void sl_escalate_asked(struct sl_exchange *ex);
/* A request succeeded: remembered for the NAT guard. */
void sl_escalate_succeeded(struct sl_exchange *ex);

/* ---- exchange_wait.c */
/* Sets the deadline for what it waits for now; called after every progress. */
void sl_exchange_rearm(struct sl_exchange *ex);
/* It has passed. */
void sl_exchange_on_timer(struct sl_timer *t);
/* Waiting for what tells who is asking; at the longest so long. */
#define SL_PARKING_MAX 1024                 /* for the same thing; more are answered at once */
#define SL_KEYS_NS     (6 * SL_NS_PER_SEC)  /* longer than most fetches */
#define SL_PASSWORD_NS (20 * SL_NS_PER_SEC) /* a full queue of slow hashes */
void sl_exchange_park_at(struct sl_exchange *ex, struct sl_parking *p, uint64_t ns);
/* The first that waits there, and waits no more; NULL: there is none. */
struct sl_exchange *sl_parking_take(struct sl_parking *p);
/* Harmless where it does not wait. */
void sl_exchange_unpark(struct sl_exchange *ex);
/* keys.c: until keys of that source were looked for. False: there is nothing to wait for. */
bool sl_worker_keys_wait(struct sl_exchange *ex, uint64_t source);
/* errand_auth.c: until the server that knows the credential was asked. */
enum sl_stage_result sl_auth_errand_begin(struct sl_exchange *ex, const struct sl_auth_errand *errand);
/* Answers one whose server could not be asked. */
enum sl_stage_result sl_auth_errand_refuse(struct sl_exchange *ex, const char *detail);

/* ---- account.c */
void sl_account(struct sl_exchange *ex);

#endif
