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
    struct sl_slice ocsp; /* DER, stapled until ocsp_until (Unix seconds); n 0: none */
    uint64_t ocsp_until;
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

struct sl_tls_server {
    const struct sl_tls_cert *certs;
    size_t n_certs; /* >= 1 */
    int min_version;
    const char *ciphers, *ciphersuites, *groups; /* of OpenSSL's names, ':' between; NULL: the usual ones */
    struct sl_slice alpn;           /* as it is sent (RFC 7301 section 3.1), best first; n 0: http/1.1 */
    struct sl_slice client_ca;      /* PEM: who may vouch for clients; n 0: no certificate is asked for */
    bool client_required;           /* a client without one is refused; one that does not verify always is */
    struct sl_tls_tickets *tickets; /* borrowed, must outlive every connection; NULL: none are given */
};
/*
 * A listener's context: certificates picked by SNI (exact name, then "*." of one label, then the first), one
 * ticket. 0 with *out, or -EINVAL with the reason in why (static, or OpenSSL's), or -ENOMEM.
 */
int sl_tls_server_new(const struct sl_tls_server *s, const char **why, SSL_CTX **out) SL_MUST_CHECK;
struct sl_tls_client {
    struct sl_slice ca;        /* PEM: who may vouch for the upstream */
    struct sl_slice cert, key; /* PEM, presented where asked for; n 0: none */
    struct sl_slice alpn;      /* as above */
};
/* An upstream's context, which verifies. */
int sl_tls_client_new(const struct sl_tls_client *c, const char **why, SSL_CTX **out) SL_MUST_CHECK;
/* A connection of either side; NULL when memory is out. */
SSL *sl_tls_accept_new(SSL_CTX *ctx);
/* name: DNS name or address that the peer's certificate must carry; a DNS name is sent as SNI. */
SSL *sl_tls_connect_new(SSL_CTX *ctx, const char *name);

/* A session with one upstream, for its next connection. Zeroed: none yet. */
struct sl_tls_session {
    SSL_SESSION *last;
};
/* Begins ssl with the session kept, if there is one, and keeps the newest that it is given. kept must outlive
 * ssl. */
void sl_tls_resume(SSL *ssl, struct sl_tls_session *kept);
void sl_tls_forget(struct sl_tls_session *kept);

/* Whether ALPN has chosen the protocol of that name. */
bool sl_tls_speaks(const SSL *ssl, struct sl_slice protocol);

/* Why a handshake failed: X(enumerator, name, what it means). Names stand in metrics and logs. */
#define SL_TLS_FAILURES(X)                                                                     \
    X(NONE, "", "")                                                                            \
    X(PROTOCOL, "protocol", "what came is no TLS, or breaks its rules")                        \
    X(CLOSED, "closed", "the connection ended")                                                \
    X(TIMEOUT, "timeout", "the deadline passed")                                               \
    X(LIMIT, "limit", "limits.handshakes were under way")                                      \
    X(MEMORY, "memory", "out of memory")                                                       \
    X(VERSION, "version", "no TLS version in common")                                          \
    X(CIPHER, "cipher", "no cipher or group in common")                                        \
    X(ALPN, "alpn", "no application protocol in common")                                       \
    X(PEER_ALERT, "peer_alert", "the other side refused")                                      \
    X(NO_CERTIFICATE, "certificate_missing", "no certificate was given")                       \
    X(EXPIRED, "certificate_expired", "the certificate has expired")                           \
    X(NOT_YET_VALID, "certificate_not_yet_valid", "the certificate is not valid yet")          \
    X(SELF_SIGNED, "certificate_self_signed", "the certificate is signed by itself alone")     \
    X(UNKNOWN_ISSUER, "certificate_unknown_issuer", "the certificate's issuer is not trusted") \
    X(PURPOSE, "certificate_purpose", "the certificate is not for this use")                   \
    X(NAME, "certificate_name", "the certificate is for another name")                         \
    X(CERTIFICATE, "certificate_invalid", "the certificate does not verify")
enum sl_tls_failure {
#define SL_X(e, name, text) SL_TLS_FAILED_##e,
    SL_TLS_FAILURES(SL_X)
#undef SL_X
        SL_TLS_FAILED_COUNT
};
const char *sl_tls_failure_name(enum sl_tls_failure f);
const char *sl_tls_failure_text(enum sl_tls_failure f);
/* After sl_stream_handshake returned r < 0, before anything else is done with TLS. *detail: OpenSSL's words,
 * static; "" where it has none. */
enum sl_tls_failure sl_tls_failed(const SSL *ssl, int r, const char **detail);

/* Makes ssl read and write through s. */
void sl_tls_attach(SSL *ssl, struct sl_stream *s);
/* The process's BIO method, freed at its end. */
void sl_tls_init(void);
void sl_tls_close(void);

#endif
