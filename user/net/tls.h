/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS contexts for both sides, and the BIO that joins OpenSSL to a stream. All key material comes as bytes:
 * nothing here opens a file.
 */
#ifndef SL_NET_TLS_H
#define SL_NET_TLS_H

#include "base/slice.h"
#include "net/stream.h"

struct sl_tls_cert {
    struct sl_slice cert;         /* PEM, leaf first */
    struct sl_slice key;          /* PEM */
    const struct sl_slice *names; /* lower case, "*." kept */
    size_t n_names;
};

/* Ticket keys: the current one encrypts, both decrypt. Shared by all contexts of a process. */
struct sl_tls_ticket_key {
    uint8_t name[16], aes[32], hmac[32];
};
struct sl_tls_tickets {
    uint64_t epoch;
    bool ready;
    struct sl_tls_ticket_key now, before;
};
/* Derives the keys of an epoch from its seed; the keys of the epoch before stay readable. */
int sl_tls_tickets_set(struct sl_tls_tickets *t, uint64_t epoch, const uint8_t seed[32]);

/*
 * A listener's context: certificates picked by SNI (exact name, then "*." of one label, then the first), ALPN
 * http/1.1, one ticket. 0 with *out, or -EINVAL with the reason in why (static, or OpenSSL's), or -ENOMEM.
 * tickets is borrowed and must outlive every connection; NULL: none are given.
 */
int sl_tls_server_new(const struct sl_tls_cert *certs, size_t n, int min_version,
                      struct sl_tls_tickets *tickets, const char **why, SSL_CTX **out) SL_MUST_CHECK;
/* An upstream's context: verifies against ca (PEM), presents cert and key where given. */
int sl_tls_client_new(struct sl_slice ca, struct sl_slice cert, struct sl_slice key, const char **why,
                      SSL_CTX **out) SL_MUST_CHECK;
/* A connection of either side; NULL when memory is out. */
SSL *sl_tls_accept_new(SSL_CTX *ctx);
/* name: DNS name or address that the peer's certificate must carry; a DNS name is sent as SNI. */
SSL *sl_tls_connect_new(SSL_CTX *ctx, const char *name);

/* Makes ssl read and write through s. */
void sl_tls_attach(SSL *ssl, struct sl_stream *s);
/* The process's BIO method, freed at its end. */
void sl_tls_init(void);
void sl_tls_close(void);

#endif
