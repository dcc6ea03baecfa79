/* SPDX-License-Identifier: Apache-2.0 */
/* Why a handshake failed: what OpenSSL says, under names that metrics can have. */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

const char *sl_tls_failure_name(enum sl_tls_failure f)
{
    static const char *const names[] = {
#define SL_X(e, name, text) name,
        SL_TLS_FAILURES(SL_X)
#undef SL_X
    };
    return f < SL_TLS_FAILED_COUNT ? names[f] : "?";
}

const char *sl_tls_failure_text(enum sl_tls_failure f)
{
    static const char *const texts[] = {
#define SL_X(e, name, text) text,
        SL_TLS_FAILURES(SL_X)
#undef SL_X
    };
    return f < SL_TLS_FAILED_COUNT ? texts[f] : "?";
}

static enum sl_tls_failure _sl_of_verification(long result)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return SL_TLS_FAILED_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return SL_TLS_FAILED_NOT_YET_VALID;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return SL_TLS_FAILED_SELF_SIGNED;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return SL_TLS_FAILED_UNKNOWN_ISSUER;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_CERT_REJECTED:
        return SL_TLS_FAILED_PURPOSE;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return SL_TLS_FAILED_NAME;
    default:
        return SL_TLS_FAILED_CERTIFICATE;
    }
}

static enum sl_tls_failure _sl_of_reason(int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return SL_TLS_FAILED_NO_CERTIFICATE;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
        return SL_TLS_FAILED_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return SL_TLS_FAILED_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return SL_TLS_FAILED_ALPN;
    case ERR_R_MALLOC_FAILURE:
        return SL_TLS_FAILED_MEMORY;
    default:
        /* alerts of the other side have reasons of their own (ssl.h) */
        return reason >= SSL_AD_REASON_OFFSET ? SL_TLS_FAILED_PEER_ALERT : SL_TLS_FAILED_PROTOCOL;
    }
}

enum sl_tls_failure sl_tls_failed(const SSL *ssl, int r, const char **detail)
{
    const unsigned long e = ERR_peek_error();
    *detail = "";
    if (e && ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return SL_TLS_FAILED_CLOSED;
    if (!e)
        return r == -EPROTO ? SL_TLS_FAILED_PROTOCOL : SL_TLS_FAILED_CLOSED;
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        const long result = SSL_get_verify_result(ssl);
        *detail = X509_verify_cert_error_string(result);
        return _sl_of_verification(result);
    }
    const char *text = ERR_reason_error_string(e);
    *detail = text ? text : "";
    return ERR_GET_LIB(e) == ERR_LIB_SSL ? _sl_of_reason(ERR_GET_REASON(e)) : SL_TLS_FAILED_PROTOCOL;
}
