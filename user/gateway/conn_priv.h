/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection: bytes in and out, and one exchange at a time, or many. Knows nothing of routes.
 *
 *   PROXIED -> HANDSHAKE -> IDLE <-> HEAD -> EXCHANGE -> IDLE | LINGER | CLOSED
 *   HANDSHAKE | IDLE -> STREAMS -> LINGER | CLOSED
 *
 * PROXIED: a balancer has still to say whom it passes on (proxied.c). STREAMS: HTTP/2, any number of
 * exchanges. IDLE holds no buffer. LINGER: the answer is sent, FIN too, and what the client still sends is
 * thrown away for a while, since closing on unread bytes would send a RST that can overtake the answer
 * (RFC 9112 section 9.6).
 */
#ifndef SL_GATEWAY_CONN_PRIV_H
#define SL_GATEWAY_CONN_PRIV_H

#include "gateway/codec_priv.h"
#include "gateway/worker_priv.h"

#define SL_OUT_HIGH    (64 * 1024) /* unsent bytes to a side at which reading from the other one stops */
#define SL_OUT_LOW     (SL_OUT_HIGH / 2)
#define SL_LINGER_NS   (2 * SL_NS_PER_SEC)
#define SL_FAREWELL_NS (SL_NS_PER_SEC / 2)
#define SL_LINGER_MAX  (256 * 1024)

enum sl_conn_state {
    SL_CONN_PROXIED,
    SL_CONN_HANDSHAKE,
    SL_CONN_IDLE,
    SL_CONN_HEAD,
    SL_CONN_EXCHANGE,
    SL_CONN_STREAMS,
    SL_CONN_LINGER,
    SL_CONN_CLOSED,
    SL_CONN_STATES
};
const char *sl_conn_state_name(enum sl_conn_state s);
bool sl_conn_edge(enum sl_conn_state from, enum sl_conn_state to);
struct sl_conn;
void sl_conn_set_state(struct sl_conn *c, enum sl_conn_state to);

/* A consumer's bandwidth as one of its connections knows it, or over HTTP/2 one of its streams (shape.c). */
enum sl_direction { SL_IN, SL_OUT };
struct sl_shape {
    struct sl_conn *conn;   /* NULL: nothing was limited yet */
    struct sl_exchange *ex; /* whose stream it is; NULL: the whole connection's */
    uint64_t rate[2];       /* bytes a second; 0: no limit */
    uint64_t key[2];        /* of the bucket */
    uint64_t until[2];      /* when it may go on */
    uint64_t pacing;        /* that the socket has; 0: none */
    uint32_t tier;          /* slot of its counters */
    bool holds_client;
    ev_timer timer;
};

struct sl_conn {
    struct sl_stream stream;
    enum sl_conn_state state;
    struct sl_worker *w;
    struct sl_bind *bind; /* one reference */
    struct sl_list node;
    struct sl_list idle;   /* in w->idle while IDLE */
    struct sl_list unread; /* in w->unread once reading was held (gone.c) */
    struct sl_timer timer; /* handshake, head, idle, linger; the exchange has its own */
    struct sl_deferred deferred;
    struct sl_sockaddr peer;
    struct sl_ip peer_ip;
    char peer_text[SL_IP_STRLEN];
    struct sl_buf in, out;
    size_t scanned;         /* bytes of in that hold no end of a head */
    size_t discarded;       /* while lingering */
    struct sl_exchange *ex; /* in EXCHANGE, else NULL */
    struct sl_h2_conn *h2;  /* from STREAMS on, else NULL */
    struct sl_listener_counters *counters;
    uint64_t moved, moved_before; /* bytes both ways; what they were when last looked at (overload.c) */
    uint32_t source_row;          /* in the table of sources, or SL_NO_ROW */
    uint32_t slow;                /* windows in a row in which the client was too slow */
    bool proxied;                 /* peer_ip is whom a trusted proxy passes on; peer is the proxy */
    bool sniff;                   /* plain text: the first bytes may be HTTP/2's preface */
    bool processing;              /* sl_conn_process is on the stack */
    bool full;                    /* holds reading: in has no room */
    bool paused;                  /* holds reading: the exchange asked for it */
    bool reset;                   /* end with RST */
    bool acked;                   /* sl_conn_ack_now has been called */
    bool silent;                  /* had sent nothing when the worker began to drain */
    bool mixed;                   /* more than one identity has succeeded here */
    bool shared;                  /* HTTP/2: more than one has asked, maybe at once: it is nobody's */
    uint64_t asked;               /* HTTP/2: who did, last; 0: nobody */
    uint64_t identity;            /* that succeeded last; 0: none */
    uint64_t identity_ns;         /* when that was written down */
    struct sl_shape shape;
    uint32_t tag;                /* consumer slot in the socket's storage, + 1; 0: none */
    struct sl_client_cert *cert; /* the client's; NULL: none. Owned */
    uint64_t trust;              /* of its bind when it was accepted */
};

/* Whether the connection ends with what is under way: the worker drains, its address is no longer served, or
 * clients are vouched for by others than when it began. */
static inline bool sl_conn_is_last(const struct sl_conn *c)
{
    return c->w->draining || c->bind->gone || c->trust != c->bind->trust;
}

/* The worker drains, and does not wait for who is idle. */
static inline bool sl_conn_is_leaving(const struct sl_conn *c)
{
    return c->w->draining && !c->w->patient;
}

/* Takes fd, and what is held in the table of sources; on failure both are given back. */
void sl_conn_accept(struct sl_bind *b, int fd, const struct sl_sockaddr *peer, uint32_t source_row);
/* At once; an exchange under way hears of it. */
void sl_conn_close(struct sl_conn *c);
/* The buffer to write to the client, with memory; NULL when memory is out. */
struct sl_buf *sl_conn_out(struct sl_conn *c);
/* 0 all sent, 1 some is left (sl_exchange_client_writable comes), -errno the client is gone. */
int sl_conn_flush(struct sl_conn *c);
/* The rest of a request has to come: an acknowledgement that waits for the answer goes out now. */
void sl_conn_ack_now(struct sl_conn *c);
/* Backpressure of the exchange on the client. */
void sl_conn_pause(struct sl_conn *c);
void sl_conn_resume(struct sl_conn *c);
/* After a wait for bandwidth: requests that are there already. */
void sl_conn_go_on(struct sl_conn *c);
/* All is sent: FIN, and what the client still sends is read away for a while. */
void sl_conn_linger(struct sl_conn *c);
/* The exchange is over: keep the connection, or close it. */
void sl_conn_exchange_done(struct sl_conn *c, enum sl_client_next next);
/* handshake.c: TLS is up (what the client's certificate says is kept, -EACCES: it has expired since), or it
 * failed with r. */
int sl_conn_handshake_done(struct sl_conn *c);
void sl_conn_handshake_failed(struct sl_conn *c, int r);
void sl_client_cert_free(struct sl_client_cert *cert);

/* ---- conn_drain.c */
/* Others than idle ones end with their exchange; those may ask once more: where the worker is patient for as
 * long as ever, else for SL_FAREWELL_NS. */
void sl_conn_drain(struct sl_conn *c);
bool sl_conn_may_ask_once_more(const struct sl_conn *c);
uint64_t sl_conn_idle_until(const struct sl_conn *c);
/* One that was silent has sent something: it has the time of a handshake. */
void sl_conn_begins_late(struct sl_conn *c);

/* ---- gone.c */
/* Reading is held until sl_stream_release. */
void sl_conn_hold(struct sl_conn *c);

/* ---- proxied.c */
/* Whether the listener's connections may come from there; false: it is closed. */
bool sl_conn_proxied_begin(struct sl_conn *c);
/* In PROXIED: 1 the header is read; 0 more is to come; -errno: the connection is closed. */
int sl_conn_proxied_read(struct sl_conn *c);

#endif
