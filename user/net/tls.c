/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts. Invariant: the table from names to certificates hangs on the listener's context and dies with it,
 * so a handshake that outlives a reload still finds it.
 */
#include "net/tls.h"

#include "base/hash.h"
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

struct _sl_names {
    struct sl_map by_name; /* SSL_CTX; keys are copies */
    SSL_CTX **owned;
    size_t n_owned;
};

static const char *_sl_why(const char *fallback)
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

static int _sl_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
                    unsigned int inlen, void *arg)
{
    (void)ssl, (void)arg;
    static const unsigned char http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char *picked;
    if (SSL_select_next_proto(&picked, outlen, http11, sizeof(http11), in, inlen) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2 */
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

static int _sl_context(const SSL_METHOD *method, int min_version, SSL_CTX **out)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
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

static int _sl_server_one(const struct sl_tls_cert *c, int min_version, struct sl_tls_tickets *tickets,
                          SSL_CTX **out)
{
    SSL_CTX *ctx;
    int r = _sl_context(TLS_server_method(), min_version, &ctx);
    if (r < 0)
        return r;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_alpn_select_cb(ctx, _sl_alpn, NULL);
    SSL_CTX_set_num_tickets(ctx, tickets ? 1 : 0);
    if (tickets)
        sl_tls_tickets_use(ctx, tickets);
    else
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    r = SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"sluice", 6) == 1 ? 0 : -EINVAL;
    if (r == 0)
        r = _sl_use_chain(ctx, c->cert);
    if (r == 0)
        r = _sl_use_key(ctx, c->key);
    if (r < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return r;
}

static SSL_CTX *_sl_pick(const struct _sl_names *names, const char *sni)
{
    char name[256];
    size_t n = strlen(sni);
    if (n == 0 || n >= sizeof(name))
        return NULL;
    for (size_t i = 0; i < n; i++)
        name[i] = sl_lower(sni[i]);
    SSL_CTX *ctx = sl_map_get(&names->by_name, sl_slice(name, n));
    const char *dot = memchr(name, '.', n);
    if (ctx || !dot || dot == name)
        return ctx;
    size_t tail = n - (size_t)(dot - name);
    memmove(name + 1, dot, tail);
    name[0] = '*';
    return sl_map_get(&names->by_name, sl_slice(name, tail + 1));
}

static int _sl_on_servername(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *ctx = sni ? _sl_pick(arg, sni) : NULL;
    if (ctx)
        SSL_set_SSL_CTX(ssl, ctx);
    return sni ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static void _sl_names_free(struct _sl_names *names)
{
    for (size_t i = 0; i < names->by_name.cap; i++)
        free((void *)names->by_name.entries[i].key.p);
    sl_map_free(&names->by_name);
    for (size_t i = 0; i < names->n_owned; i++)
        SSL_CTX_free(names->owned[i]);
    free(names->owned);
    free(names);
}

static void _sl_on_ctx_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (ptr)
        _sl_names_free(ptr);
}

/* OpenSSL hands out indices for ever: one is enough for the process. */
static int _sl_names_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, _sl_on_ctx_free);
    return index;
}

static int _sl_name_add(struct _sl_names *names, struct sl_slice name, SSL_CTX *ctx)
{
    char *copy = malloc(name.n + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, name.p, name.n);
    int r = sl_map_add(&names->by_name, sl_slice(copy, name.n), ctx);
    if (r < 0)
        free(copy);
    return r == -EEXIST ? 0 : r; /* the first certificate of that name serves it */
}

static int _sl_names_fill(struct _sl_names *names, SSL_CTX *first, const struct sl_tls_cert *certs, size_t n,
                          int min_version, struct sl_tls_tickets *tickets)
{
    for (size_t i = 0; i < n; i++) {
        SSL_CTX *ctx = first;
        if (i > 0) {
            int r = _sl_server_one(&certs[i], min_version, tickets, &ctx);
            if (r < 0)
                return r;
            names->owned[names->n_owned++] = ctx;
        }
        for (size_t k = 0; k < certs[i].n_names; k++) {
            int r = _sl_name_add(names, certs[i].names[k], ctx);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int sl_tls_server_new(const struct sl_tls_cert *certs, size_t n, int min_version,
                      struct sl_tls_tickets *tickets, const char **why, SSL_CTX **out)
{
    SSL_CTX *first = NULL;
    ERR_clear_error();
    int r = _sl_server_one(&certs[0], min_version, tickets, &first);
    if (r < 0) {
        *why = _sl_why("the certificate or key is unusable");
        return r;
    }
    struct _sl_names *names = calloc(1, sizeof(*names));
    SSL_CTX **owned = calloc(n, sizeof(SSL_CTX *));
    if (!names || !owned || SSL_CTX_set_ex_data(first, _sl_names_index(), names) != 1) {
        free(names);
        free(owned);
        SSL_CTX_free(first);
        *why = "out of memory";
        return -ENOMEM;
    }
    names->owned = owned;
    r = _sl_names_fill(names, first, certs, n, min_version, tickets);
    if (r < 0) {
        *why = _sl_why("a certificate or key is unusable");
        SSL_CTX_free(first);
        return r;
    }
    SSL_CTX_set_tlsext_servername_callback(first, _sl_on_servername);
    SSL_CTX_set_tlsext_servername_arg(first, names);
    *out = first;
    return 0;
}

static int _sl_trust(SSL_CTX *ctx, struct sl_slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return -ENOMEM;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    size_t n = 0;
    for (X509 *x; (x = PEM_read_bio_X509_AUX(bio, NULL, _sl_no_passphrase, NULL)); n++) {
        (void)X509_STORE_add_cert(store, x); /* the same one twice is no harm */
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n ? 0 : -EINVAL;
}

int sl_tls_client_new(struct sl_slice ca, struct sl_slice cert, struct sl_slice key, const char **why,
                      SSL_CTX **out)
{
    SSL_CTX *ctx;
    ERR_clear_error();
    *why = "out of memory";
    int r = _sl_context(TLS_client_method(), TLS1_2_VERSION, &ctx);
    if (r < 0)
        return r;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    static const unsigned char http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    if (SSL_CTX_set_alpn_protos(ctx, http11, sizeof(http11)) != 0)
        r = -ENOMEM;
    if (r == 0 && (r = _sl_trust(ctx, ca)) < 0)
        *why = ca.n ? "no certificate in the CA's PEM" : "no authorities to trust: write tls.ca";
    if (r == 0 && cert.n && ((r = _sl_use_chain(ctx, cert)) < 0 || (r = _sl_use_key(ctx, key)) < 0))
        *why = _sl_why("the certificate or key is unusable");
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
