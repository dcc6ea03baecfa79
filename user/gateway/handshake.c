/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a client's handshake: what is kept of its certificate, or why there is no connection, counted by
 * reason. Only what the operator can do something about is a line in the log, and of that a bounded number.
 */
#include "base/log.h"
#include "gateway/exchange_priv.h"

#include <errno.h>
#include <openssl/x509.h>
#include <time.h>

#define SL_TLS_LINES 10 /* a second, of each worker and reason */

_Static_assert(SL_TLS_FAILED_COUNT <= SL_COUNTER_TLS, "each reason has its counter");

/* ---- the client's certificate */

void sl_client_cert_free(struct sl_client_cert *cert)
{
    if (!cert)
        return;
    X509_free(cert->x509);
    free(cert);
}

static uint64_t _sl_not_after(const X509 *x)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) != 1)
        return 0;
    const time_t t = timegm(&tm);
    return t > 0 ? (uint64_t)t : 0;
}

static struct sl_client_cert *_sl_client_cert(X509 *x)
{
    struct sl_client_cert *c = calloc(1, sizeof(*c));
    unsigned n = 0;
    if (c && X509_digest(x, EVP_sha256(), c->sha256, &n) == 1 && n == sizeof(c->sha256)) {
        c->x509 = x;
        c->not_after = _sl_not_after(x);
        return c;
    }
    free(c);
    return NULL;
}

int sl_conn_handshake_done(struct sl_conn *c)
{
    /* RFC 9113 section 3.2: over TLS, HTTP/2 is spoken only by ALPN */
    if (!c->bind->listener->protocols.http1 && !sl_tls_speaks(c->stream.ssl, SL_S("h2"))) {
        sl_conn_handshake_failed(c, -EPROTONOSUPPORT);
        return -EACCES;
    }
    X509 *x = c->trust ? SSL_get1_peer_certificate(c->stream.ssl) : NULL;
    if (x && !(c->cert = _sl_client_cert(x))) {
        X509_free(x);
        sl_conn_handshake_failed(c, -ENOMEM);
        return -ENOMEM;
    }
    /* a session that is resumed was verified when it began */
    if (c->cert && c->cert->not_after < sl_loop_wall(&c->w->loop) / SL_NS_PER_SEC) {
        sl_conn_handshake_failed(c, -EKEYEXPIRED);
        return -EACCES;
    }
    c->counters->handshakes++;
    c->counters->resumed += SSL_session_reused(c->stream.ssl) ? 1 : 0;
    return 0;
}

/* ---- what went wrong */

static bool _sl_may_say(struct sl_worker *w, enum sl_tls_failure f)
{
    const uint64_t second = w->loop.now / SL_NS_PER_SEC;
    if (w->tls_log.second != second) {
        if (w->tls_log.kept_back)
            sl_warn("%u more TLS handshakes failed than there are lines for: see "
                    "sluice_listener_handshake_failures_total",
                    w->tls_log.kept_back);
        w->tls_log.second = second;
        memset(w->tls_log.said, 0, sizeof(w->tls_log.said));
        w->tls_log.kept_back = 0;
    }
    if (w->tls_log.said[f]++ < SL_TLS_LINES)
        return true;
    w->tls_log.kept_back++;
    return false;
}

/* Scanners and clients that give up are counted, and no more. */
static bool _sl_is_told(enum sl_tls_failure f)
{
    return f >= SL_TLS_FAILED_PEER_ALERT || f == SL_TLS_FAILED_MEMORY;
}

static enum sl_tls_failure _sl_why(const struct sl_conn *c, int r, const char **detail)
{
    *detail = "";
    switch (r) {
    case -ETIMEDOUT:
        return SL_TLS_FAILED_TIMEOUT;
    case -ENOMEM:
        return SL_TLS_FAILED_MEMORY;
    case -EPROTONOSUPPORT:
        return SL_TLS_FAILED_ALPN;
    case -EKEYEXPIRED:
        return SL_TLS_FAILED_EXPIRED;
    default:
        return sl_tls_failed(c->stream.ssl, r, detail);
    }
}

void sl_conn_handshake_failed(struct sl_conn *c, int r)
{
    const char *detail;
    const enum sl_tls_failure f = _sl_why(c, r, &detail);
    c->counters->handshake_failures++;
    c->counters->tls_failures[f]++;
    if (_sl_is_told(f) && _sl_may_say(c->w, f))
        sl_warn("listener %s: TLS handshake with %s failed: %s (%s%s%s)", c->bind->listener->name,
                c->peer_text, sl_tls_failure_text(f), sl_tls_failure_name(f), *detail ? ": " : "", detail);
}
