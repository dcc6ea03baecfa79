/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the contexts of both sides have in common, and the client's. Invariant: everything is read from
 * memory.
 */
#include "net/tls_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* Forward secret and authenticated only (RFC 9325 section 4.2); 128-bit AES first: it is the cheapest on both
 * ends. */
#define SL_TLS12_CIPHERS                                                                       \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SL_TLS13_CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

const char *sl_tls_why(const char *fallback)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return text ? text : fallback;
}

/* A passphrase is never asked for: there is nobody to answer. */
static int _sl_no_passphrase(char *buf, int size, int rwflag, void *u)
{
    (void)buf, (void)size, (void)rwflag, (void)u;
    return 0;
}

static int _sl_use_chain(SSL_CTX *ctx, struct sl_slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return -ENOMEM;
    int r = -EINVAL;
    X509 *x = PEM_read_bio_X509_AUX(bio, NULL, _sl_no_passphrase, NULL);
    if (x && SSL_CTX_use_certificate(ctx, x) == 1)
        r = 0;
    X509_free(x);
    while (r == 0 && (x = PEM_read_bio_X509(bio, NULL, _sl_no_passphrase, NULL))) {
        if (SSL_CTX_add1_chain_cert(ctx, x) != 1)
            r = -EINVAL;
        X509_free(x);
    }
    if (r == 0)
        ERR_clear_error(); /* the end of the PEM reads as an error */
    BIO_free(bio);
    return r;
}

static int _sl_use_key(SSL_CTX *ctx, struct sl_slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return -ENOMEM;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, _sl_no_passphrase, NULL);
    int r = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1 ? 0 : -EINVAL;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return r;
}

int sl_tls_use_pair(SSL_CTX *ctx, struct sl_slice cert, struct sl_slice key)
{
    int r = _sl_use_chain(ctx, cert);
    return r < 0 ? r : _sl_use_key(ctx, key);
}

int sl_tls_context(const SSL_METHOD *method, int min_version, SSL_CTX **out)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(NULL, sl_tls_properties(), method);
    if (!ctx)
        return -ENOMEM;
    if (SSL_CTX_set_min_proto_version(ctx, min_version) != 1 ||
        SSL_CTX_set_cipher_list(ctx, SL_TLS12_CIPHERS) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, SL_TLS13_CIPHERS) != 1) {
        SSL_CTX_free(ctx);
        return -EINVAL;
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_read_ahead(ctx, 1); /* header and record in one receive */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    *out = ctx;
    return 0;
}

int sl_tls_trust(X509_STORE *store, struct sl_slice pem, STACK_OF(X509_NAME) * names)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return -ENOMEM;
    size_t n = 0;
    bool memory = true;
    for (X509 *x; (x = PEM_read_bio_X509_AUX(bio, NULL, _sl_no_passphrase, NULL)); n++) {
        (void)X509_STORE_add_cert(store, x); /* the same one twice is no harm */
        X509_NAME *name = names ? X509_NAME_dup(X509_get_subject_name(x)) : NULL;
        if (names && (!name || !sk_X509_NAME_push(names, name))) {
            X509_NAME_free(name);
            memory = false;
        }
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return !memory ? -ENOMEM : n ? 0 : -EINVAL;
}

const struct sl_slice sl_tls_http11 = {"\x08http/1.1", 9};

int sl_tls_client_new(const struct sl_tls_client *c, const char **why, SSL_CTX **out)
{
    SSL_CTX *ctx;
    ERR_clear_error();
    *why = "out of memory";
    int r = sl_tls_context(TLS_client_method(), TLS1_2_VERSION, &ctx);
    if (r < 0)
        return r;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, sl_tls_on_session);
    const struct sl_slice alpn = c->alpn.n ? c->alpn : sl_tls_http11;
    if (SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn.p, (unsigned)alpn.n) != 0)
        r = -ENOMEM;
    if (r == 0 && (r = sl_tls_trust(SSL_CTX_get_cert_store(ctx), c->ca, NULL)) < 0)
        *why = c->ca.n ? "no certificate in the CA's PEM" : "no authorities to trust: write tls.ca";
    if (r == 0 && c->cert.n && (r = sl_tls_use_pair(ctx, c->cert, c->key)) < 0)
        *why = sl_tls_why("the certificate or key is unusable");
    if (r < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return r;
}

SSL *sl_tls_accept_new(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}

bool sl_tls_speaks(const SSL *ssl, struct sl_slice protocol)
{
    const unsigned char *name = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(ssl, &name, &n);
    return sl_slice_eq(sl_slice((const char *)name, n), protocol);
}

static bool _sl_is_address(const char *name)
{
    struct in6_addr any;
    return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

SSL *sl_tls_connect_new(SSL_CTX *ctx, const char *name)
{
    SSL *ssl = SSL_new(ctx);
    if (!ssl)
        return NULL;
    SSL_set_connect_state(ssl);
    int ok;
    if (_sl_is_address(name))
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
    else
        ok = SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
    if (ok == 1) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return ssl;
    }
    SSL_free(ssl);
    return NULL;
}
