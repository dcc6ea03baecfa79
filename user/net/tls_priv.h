/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_NET_TLS_PRIV_H
#define SL_NET_TLS_PRIV_H

#include "net/tls.h"

#include <openssl/x509.h>

extern const struct sl_slice sl_tls_http11; /* ALPN, as it is sent */

/* OpenSSL's reason for what just failed, or the fallback; the error queue is empty then. */
const char *sl_tls_why(const char *fallback);
/* What both sides' contexts have in common. 0, -EINVAL or -ENOMEM. */
int sl_tls_context(const SSL_METHOD *method, int min_version, SSL_CTX **out) SL_MUST_CHECK;
/* What contexts ask of OpenSSL's algorithms: to be ours where there is one (tls_kdf.c), which is loaded when
 * this is called for the first time. NULL: OpenSSL's will do. */
const char *sl_tls_properties(void);
/* Staples der to ctx's answers until then (Unix seconds); der is copied. */
int sl_tls_staple(SSL_CTX *ctx, struct sl_slice der, uint64_t until) SL_MUST_CHECK;
/* Chain and key of PEM. */
int sl_tls_use_pair(SSL_CTX *ctx, struct sl_slice cert, struct sl_slice key) SL_MUST_CHECK;
/* Adds the certificates of PEM to those trusted, and their subjects to names (NULL: nowhere). -EINVAL: there
 * is none. */
int sl_tls_trust(X509_STORE *store, struct sl_slice pem, STACK_OF(X509_NAME) * names) SL_MUST_CHECK;

/* OpenSSL's callback for sl_tls_resume. */
int sl_tls_on_session(SSL *ssl, SSL_SESSION *session);
/* Makes ctx encrypt and decrypt its tickets with t's keys. */
void sl_tls_tickets_use(SSL_CTX *ctx, struct sl_tls_tickets *t);

#endif
