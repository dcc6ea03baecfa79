/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected socket, plain or TLS, in the loop.
 *
 * The read watcher stays on while the stream lives, idle or not, so that a keep-alive request costs no
 * epoll_ctl. Who does not want to read holds the stream (a counter: several parties may); only when an event
 * comes in while held is the watcher taken out, and put back at the last release. The write watcher is on
 * only after a write that did not take all.
 */
#ifndef SL_NET_STREAM_H
#define SL_NET_STREAM_H

#include "net/loop.h"
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct sl_stream {
    int fd;   /* -1: closed */
    SSL *ssl; /* NULL: plain */
    struct sl_loop *loop;
    ev_io rd, wr;
    unsigned held;
    bool eof;        /* the peer sent all it will */
    bool drained;    /* the last receive took less than was asked for: nothing more is there now */
    bool no_receive; /* the BIO says "later" without asking the socket: what came has been taken */
    bool filled;     /* the last read filled its buffer: decrypted bytes may be left, which raise no event */
    bool read_wants_write;
    bool last;     /* what is written goes out with the FIN, which comes at once: one segment less each way */
    bool more;     /* another record follows at once: the kernel may wait for it to fill a segment */
    uint64_t sent; /* bytes given to the socket */
    void (*on_readable)(struct sl_stream *);
    void (*on_writable)(struct sl_stream *);
};

static inline int sl_stream_send_flags(const struct sl_stream *s)
{
    return s->last || s->more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
}

/* Takes fd and watches it for reading; callbacks must be set before. ssl (taken too) may be NULL. */
void sl_stream_open(struct sl_stream *s, struct sl_loop *l, int fd, SSL *ssl);
/* Sends close_notify where TLS is up and told to; closes. Safe to call twice. */
void sl_stream_close(struct sl_stream *s, bool notify);

/* Bytes read (> 0); 0: nothing there now; -EPIPE: end of stream; else -errno (-EPROTO: TLS). */
ssize_t sl_stream_read(struct sl_stream *s, void *p, size_t n);
/* Bytes taken, maybe fewer than n; 0: none now; or -errno. */
ssize_t sl_stream_write(struct sl_stream *s, const void *p, size_t n);
/* 1 done; 0 under way (watchers are set); -errno. The side (accept or connect) was chosen on the SSL. */
int sl_stream_handshake(struct sl_stream *s);
/* FIN to the peer: what is sent next goes nowhere. */
void sl_stream_finish(struct sl_stream *s);

/* As if the socket had said that it is readable: something may be there already. */
void sl_stream_poke(struct sl_stream *s);
void sl_stream_hold(struct sl_stream *s);
void sl_stream_release(struct sl_stream *s);
void sl_stream_watch_write(struct sl_stream *s, bool on);

#endif
