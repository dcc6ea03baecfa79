/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of the admin API over TCP. Invariant: a client is taken for one who may do more than look at metrics
 * only once its handshake is through and its certificate verified.
 */
#include "control/control_priv.h"

#include <errno.h>
#include <openssl/err.h>

int sl_admin_tls_new(const struct sl_snapshot *s, SSL_CTX **out)
{
    const struct sl_tls_config *t = &s->admin.tls;
    *out = NULL;
    if (!t->enabled)
        return 0;
    SL_FREE struct sl_tls_cert *certs = calloc(t->n_certificates, sizeof(*certs));
    if (!certs)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_certificates; i++) {
        const struct sl_certificate *c = &t->certificates[i];
        certs[i] = (struct sl_tls_cert){.cert = c->cert.data,
                                        .key = c->key.data,
                                        .names = c->names.v,
                                        .n_names = c->names.n,
                                        .ocsp = c->ocsp.data,
                                        .ocsp_until = c->ocsp_until};
    }
    const struct sl_tls_server server = {
        .certs = certs,
        .n_certs = t->n_certificates,
        .min_version = t->min_version,
        .ciphers = t->ciphers,
        .ciphersuites = t->ciphersuites,
        .groups = t->groups,
        .client_ca = t->client_auth != SL_CLIENT_AUTH_NONE ? t->client_ca.data : SL_SLICE_NUL,
        .client_required = t->client_auth == SL_CLIENT_AUTH_REQUIRED};
    const char *why = "";
    int r = sl_tls_server_new(&server, &why, out);
    return r < 0 ? sl_error_r(r, "admin: tls: %s", why) : 0;
}

bool sl_admin_tls_begin(struct sl_admin_client *a)
{
    if (a->local || !a->control->tls)
        return true;
    a->ssl = sl_tls_accept_new(a->control->tls);
    return a->ssl && SSL_set_fd(a->ssl, a->fd) == 1;
}

/* Once a second at most: anybody may come and fail. */
static void _sl_say(const struct sl_admin_client *a, int r)
{
    const char *detail;
    const enum sl_tls_failure f = sl_tls_failed(a->ssl, r, &detail);
    const uint64_t now = sl_now_ns();
    if (f < SL_TLS_FAILED_PEER_ALERT || now - a->control->tls_said_ns < SL_NS_PER_SEC)
        return;
    a->control->tls_said_ns = now;
    sl_warn("admin: TLS handshake failed: %s (%s%s%s)", sl_tls_failure_text(f), sl_tls_failure_name(f),
            *detail ? ": " : "", detail);
}

int sl_admin_tls_shake(struct sl_admin_client *a)
{
    if (!a->ssl || a->shaken)
        return 1;
    ERR_clear_error();
    const int r = SSL_do_handshake(a->ssl), e = r == 1 ? SSL_ERROR_NONE : SSL_get_error(a->ssl, r);
    if (e == SSL_ERROR_WANT_WRITE)
        ev_io_start(a->control->loop, &a->out);
    else
        ev_io_stop(a->control->loop, &a->out);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return 0;
    if (e != SSL_ERROR_NONE) {
        _sl_say(a, e == SSL_ERROR_SSL ? -EPROTO : -ECONNRESET);
        return -1;
    }
    a->shaken = true;
    /* there is one only where client_ca has vouched for it */
    a->local = a->may_change = SSL_get0_peer_certificate(a->ssl) != NULL;
    return 1;
}

static ssize_t _sl_result(struct sl_admin_client *a, int r)
{
    switch (SSL_get_error(a->ssl, r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        errno = EPROTO;
        return -1;
    }
}

ssize_t sl_admin_read(struct sl_admin_client *a, void *p, size_t n)
{
    if (!a->ssl)
        return read(a->fd, p, n);
    ERR_clear_error();
    const int r = SSL_read(a->ssl, p, (int)SL_MIN(n, (size_t)INT32_MAX));
    return r > 0 ? r : _sl_result(a, r);
}

ssize_t sl_admin_write(struct sl_admin_client *a, const void *p, size_t n)
{
    if (!a->ssl)
        return send(a->fd, p, n, MSG_NOSIGNAL);
    ERR_clear_error();
    const int r = SSL_write(a->ssl, p, (int)SL_MIN(n, (size_t)INT32_MAX));
    return r > 0 ? r : _sl_result(a, r);
}

bool sl_admin_has_more(const struct sl_admin_client *a)
{
    return a->ssl && SSL_has_pending(a->ssl);
}
