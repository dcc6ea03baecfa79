/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCSP stapling (RFC 6066 section 8): what the policy has is sent to clients that ask, and no longer than it
 * is news. Invariant: it hangs on its certificate's context and dies with it.
 */
#include "net/tls_priv.h"

#include <errno.h>
#include <string.h>
#include <time.h>

struct _sl_staple {
    uint64_t until; /* Unix seconds */
    size_t n;
    unsigned char der[];
};

static void _sl_on_ctx_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    free(ptr);
}

static int _sl_index(void)
{
    static int index = -1; /* one for the process */
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, _sl_on_ctx_free);
    return index;
}

static int _sl_on_status(SSL *ssl, void *arg)
{
    const struct _sl_staple *s = arg;
    unsigned char *copy = (uint64_t)time(NULL) < s->until ? OPENSSL_memdup(s->der, s->n) : NULL;
    if (!copy)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->n); /* takes it */
    return SSL_TLSEXT_ERR_OK;
}

int sl_tls_staple(SSL_CTX *ctx, struct sl_slice der, uint64_t until)
{
    struct _sl_staple *s = malloc(sizeof(*s) + der.n);
    if (!s)
        return -ENOMEM;
    s->until = until;
    s->n = der.n;
    memcpy(s->der, der.p, der.n);
    if (SSL_CTX_set_ex_data(ctx, _sl_index(), s) != 1) {
        free(s);
        return -ENOMEM;
    }
    SSL_CTX_set_tlsext_status_cb(ctx, _sl_on_status);
    SSL_CTX_set_tlsext_status_arg(ctx, s);
    return 0;
}
