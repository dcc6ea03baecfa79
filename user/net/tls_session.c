/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with upstreams. A session goes only to the upstream that it began with, whose name and authorities
 * were verified then. Tickets are used more than once (RFC 8446 appendix C.4 advises clients against it lest
 * they be followed about: an upstream knows the gateway anyway).
 */
#include "net/tls_priv.h"

static int _sl_index(void)
{
    static int index = -1; /* one for the process */
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

int sl_tls_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct sl_tls_session *kept = SSL_get_ex_data(ssl, _sl_index());
    if (!kept || !SSL_SESSION_is_resumable(session))
        return 0;
    SSL_SESSION_free(kept->last);
    kept->last = session;
    return 1; /* it is ours now */
}

void sl_tls_resume(SSL *ssl, struct sl_tls_session *kept)
{
    if (SSL_set_ex_data(ssl, _sl_index(), kept) == 1 && kept->last)
        (void)SSL_set_session(ssl, kept->last);
}

void sl_tls_forget(struct sl_tls_session *kept)
{
    SSL_SESSION_free(kept->last);
    kept->last = NULL;
}
