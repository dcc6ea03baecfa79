/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BIO under an SSL: receives and sends on its stream's socket, and tells the stream whether a receive
 * came short, which spares the second one that would only say EAGAIN.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <sys/socket.h>

static BIO_METHOD *_sl_method; /* OpenSSL wants one per process; made by sl_tls_init, then only read */

static int _sl_bio_read(BIO *b, char *out, int n)
{
    struct sl_stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (s->no_receive) {
        BIO_set_retry_read(b);
        return -1;
    }
    ssize_t r = recv(s->fd, out, (size_t)n, 0);
    s->drained = r < n;
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    return (int)r;
}

/* The ticket that ends a handshake goes with the first answer: nobody waits for it, and the kernel keeps it
 * back for 200 ms at most. */
static int _sl_send_flags(const struct sl_stream *s)
{
    const bool ticket =
        SSL_get_state(s->ssl) == TLS_ST_SW_SESSION_TICKET && SSL_version(s->ssl) >= TLS1_3_VERSION;
    return sl_stream_send_flags(s) | (ticket ? MSG_MORE : 0);
}

static int _sl_bio_write(BIO *b, const char *p, int n)
{
    struct sl_stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t r = send(s->fd, p, (size_t)n, _sl_send_flags(s));
    if (r >= 0)
        s->sent += (uint64_t)r;
    else if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_write(b);
    return (int)r;
}

static long _sl_bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP ? 1 : 0;
}

static int _sl_bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

void sl_tls_init(void)
{
    if (_sl_method)
        return;
    BIO_METHOD *m =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "sluice stream");
    if (!m)
        abort(); /* at start-up: nothing can be served without */
    (void)BIO_meth_set_read(m, _sl_bio_read);
    (void)BIO_meth_set_write(m, _sl_bio_write);
    (void)BIO_meth_set_ctrl(m, _sl_bio_ctrl);
    (void)BIO_meth_set_create(m, _sl_bio_create);
    _sl_method = m;
}

void sl_tls_close(void)
{
    BIO_meth_free(_sl_method);
    _sl_method = NULL;
}

void sl_tls_attach(SSL *ssl, struct sl_stream *s)
{
    BIO *b = BIO_new(_sl_method);
    if (!b)
        return; /* every operation of an SSL without BIO fails, and the connection is closed by that */
    BIO_set_data(b, s);
    SSL_set_bio(ssl, b, b);
}
