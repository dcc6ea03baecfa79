/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SL_NET_TLS_PRIV_H
#define SL_NET_TLS_PRIV_H

#include "net/tls.h"

/* Makes ctx encrypt and decrypt its tickets with t's keys. */
void sl_tls_tickets_use(SSL_CTX *ctx, struct sl_tls_tickets *t);

#endif
