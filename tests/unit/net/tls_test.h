/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made in memory, and handshakes over memory. */
#ifndef SL_TESTS_NET_TLS_H
#define SL_TESTS_NET_TLS_H

#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct pem {
    char cert[4096], key[4096];
    struct sl_tls_cert tls;
};

static SL_UNUSED size_t slurp(BIO *b, char *out, size_t max)
{
    int n = BIO_read(b, out, (int)max);
    BIO_free(b);
    return n > 0 ? (size_t)n : 0;
}

/* Who signs, and for how long. Zeroed: by itself, for an hour. */
struct issuer {
    X509 *x;
    EVP_PKEY *key;
};
struct lease {
    const struct issuer *by; /* NULL: itself */
    const char *san;         /* NULL: DNS:cn */
    const char *usage;       /* extendedKeyUsage; NULL: any */
    long from, to;           /* seconds from now */
    bool ca;
};

static SL_UNUSED void extend(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* The certificate and its key, which the caller frees. */
static SL_UNUSED struct issuer issue(struct pem *p, const char *cn, const struct lease *l)
{
    static long serial;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_non_null(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), l->from ? l->from : -60);
    X509_gmtime_adj(X509_getm_notAfter(x), l->to ? l->to : 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(l->by ? l->by->x : x));
    char san[128];
    snprintf(san, sizeof(san), "DNS:%s", cn);
    extend(x, NID_subject_alt_name, l->san ? l->san : san);
    if (l->ca)
        extend(x, NID_basic_constraints, "critical,CA:TRUE");
    if (l->usage)
        extend(x, NID_ext_key_usage, l->usage);
    assert_true(X509_sign(x, l->by ? l->by->key : key, EVP_sha256()) > 0);
    BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(c, x);
    PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL);
    p->tls = (struct sl_tls_cert){0};
    p->tls.cert = sl_slice(p->cert, slurp(c, p->cert, sizeof(p->cert)));
    p->tls.key = sl_slice(p->key, slurp(k, p->key, sizeof(p->key)));
    return (struct issuer){x, key};
}

static SL_UNUSED void issuer_free(struct issuer i)
{
    X509_free(i.x);
    EVP_PKEY_free(i.key);
}

/* A self-signed certificate of that name. */
static SL_UNUSED void make(struct pem *p, const char *cn, const struct sl_slice *names, size_t n)
{
    issuer_free(issue(p, cn, &(struct lease){0}));
    p->tls.names = names;
    p->tls.n_names = n;
}

static SL_UNUSED int server_of(const struct sl_tls_cert *certs, size_t n, int min_version,
                               struct sl_tls_tickets *tickets, const char **why, SSL_CTX **out)
{
    return sl_tls_server_new(
        &(struct sl_tls_server){.certs = certs, .n_certs = n, .min_version = min_version, .tickets = tickets},
        why, out);
}

/* Client and server over memory; both handshake as far as they can. */
struct session {
    SSL *client, *server;
};

static SL_UNUSED struct session handshake(SSL_CTX *server, SSL_CTX *client, const char *sni,
                                          SSL_SESSION *resume)
{
    struct session s = {.client = SSL_new(client), .server = sl_tls_accept_new(server)};
    BIO *a, *b;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(s.client, a, a);
    SSL_set_bio(s.server, b, b);
    SSL_set_connect_state(s.client);
    if (sni)
        SSL_set_tlsext_host_name(s.client, sni);
    if (resume)
        SSL_set_session(s.client, resume);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(s.client);
        SSL_do_handshake(s.server);
    }
    ERR_clear_error();
    return s;
}

static SL_UNUSED void end(struct session s)
{
    SSL_shutdown(s.client); /* OpenSSL marks the session of a connection that was cut as not resumable */
    SSL_free(s.client);
    SSL_free(s.server);
}

static SL_UNUSED SSL_CTX *any_client(void)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
    return c;
}

#endif
