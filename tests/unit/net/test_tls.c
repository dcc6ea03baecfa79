/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts made of PEM in memory: which certificate SNI gets, what is refused, tickets across contexts of one
 * seed. */
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

static size_t slurp(BIO *b, char *out, size_t max)
{
    int n = BIO_read(b, out, (int)max);
    BIO_free(b);
    return n > 0 ? (size_t)n : 0;
}

/* A self-signed certificate of that name. */
static void make(struct pem *p, const char *cn, const struct sl_slice *names, size_t n)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_non_null(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    char san[128];
    snprintf(san, sizeof(san), "DNS:%s", cn);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(c, x);
    PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL);
    p->tls = (struct sl_tls_cert){.names = names, .n_names = n};
    p->tls.cert = sl_slice(p->cert, slurp(c, p->cert, sizeof(p->cert)));
    p->tls.key = sl_slice(p->key, slurp(k, p->key, sizeof(p->key)));
    X509_free(x);
    EVP_PKEY_free(key);
}

/* Client and server over memory; both handshake as far as they can. */
struct session {
    SSL *client, *server;
};

static struct session handshake(SSL_CTX *server, SSL_CTX *client, const char *sni, SSL_SESSION *resume)
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

static void end(struct session s)
{
    SSL_shutdown(s.client); /* OpenSSL marks the session of a connection that was cut as not resumable */
    SSL_free(s.client);
    SSL_free(s.server);
}

static SSL_CTX *any_client(void)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
    return c;
}

static void assert_serves(SSL_CTX *server, const char *sni, const char *cn)
{
    SSL_CTX *client = any_client();
    struct session s = handshake(server, client, sni, NULL);
    X509 *x = SSL_get1_peer_certificate(s.client);
    assert_non_null(x);
    char got[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, got, sizeof(got));
    assert_string_equal(got, cn);
    X509_free(x);
    end(s);
    SSL_CTX_free(client);
}

static void test_sni_picks_exact_then_wildcard_then_first(void **state)
{
    (void)state;
    struct sl_slice first[] = {SL_S("first.test")}, wild[] = {SL_S("*.wild.test")},
                    exact[] = {SL_S("a.wild.test")};
    static struct pem p[3];
    make(&p[0], "first.test", first, 1);
    make(&p[1], "wild.test", wild, 1);
    make(&p[2], "exact.test", exact, 1);
    struct sl_tls_cert certs[] = {p[0].tls, p[1].tls, p[2].tls};
    const char *why = NULL;
    SSL_CTX *ctx;
    assert_int_equal(sl_tls_server_new(certs, 3, TLS1_2_VERSION, NULL, &why, &ctx), 0);
    assert_serves(ctx, NULL, "first.test");
    assert_serves(ctx, "unknown.test", "first.test");
    assert_serves(ctx, "a.wild.test", "exact.test");
    assert_serves(ctx, "A.Wild.TEST", "exact.test");
    assert_serves(ctx, "b.wild.test", "wild.test");
    assert_serves(ctx, "c.b.wild.test", "first.test"); /* one label only */
    assert_serves(ctx, "wild.test", "first.test");
    SSL_CTX_free(ctx);
}

static void test_alpn_takes_http11_only(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    const char *why = NULL;
    SSL_CTX *ctx, *client = any_client();
    assert_int_equal(sl_tls_server_new(&p.tls, 1, TLS1_2_VERSION, NULL, &why, &ctx), 0);
    SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    struct session s = handshake(ctx, client, NULL, NULL);
    const unsigned char *got;
    unsigned n;
    SSL_get0_alpn_selected(s.client, &got, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(got, "http/1.1", 8);
    end(s);
    SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\x02h2", 3);
    s = handshake(ctx, client, NULL, NULL);
    assert_false(SSL_is_init_finished(s.client));
    end(s);
    SSL_CTX_free(client);
    SSL_CTX_free(ctx);
}

static void test_unusable_material_is_refused_with_a_reason(void **state)
{
    (void)state;
    static struct pem a, b;
    make(&a, "a.test", NULL, 0);
    make(&b, "b.test", NULL, 0);
    struct sl_tls_cert bad[] = {{.cert = a.tls.cert, .key = b.tls.key},
                                {.cert = SL_S("no PEM"), .key = a.tls.key},
                                {.cert = a.tls.cert, .key = SL_S("")},
                                {.cert = a.tls.key, .key = a.tls.key}};
    SSL_CTX *ctx;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        const char *why = NULL;
        assert_int_equal(sl_tls_server_new(&bad[i], 1, TLS1_2_VERSION, NULL, &why, &ctx), -EINVAL);
        assert_non_null(why);
        struct sl_tls_cert second[] = {a.tls, bad[i]};
        assert_int_equal(sl_tls_server_new(second, 2, TLS1_2_VERSION, NULL, &why, &ctx), -EINVAL);
    }
    const char *why = NULL;
    assert_int_equal(sl_tls_client_new(SL_S("nothing"), SL_SLICE_NUL, SL_SLICE_NUL, &why, &ctx), -EINVAL);
    assert_non_null(why);
}

static void test_minimum_version_holds(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    const char *why = NULL;
    SSL_CTX *ctx, *client = any_client();
    assert_int_equal(sl_tls_server_new(&p.tls, 1, TLS1_3_VERSION, NULL, &why, &ctx), 0);
    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
    struct session s = handshake(ctx, client, NULL, NULL);
    assert_false(SSL_is_init_finished(s.client));
    end(s);
    SSL_CTX_free(client);
    SSL_CTX_free(ctx);
}

static void test_upstream_certificate_must_name_the_host(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "up.test", NULL, 0);
    const char *why = NULL;
    SSL_CTX *server, *client;
    assert_int_equal(sl_tls_server_new(&p.tls, 1, TLS1_2_VERSION, NULL, &why, &server), 0);
    assert_int_equal(sl_tls_client_new(p.tls.cert, SL_SLICE_NUL, SL_SLICE_NUL, &why, &client), 0);
    const char *names[] = {"up.test", "other.test", "192.0.2.1"};
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        struct session s = {.client = sl_tls_connect_new(client, names[i]),
                            .server = sl_tls_accept_new(server)};
        BIO *a, *b;
        assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
        SSL_set_bio(s.client, a, a);
        SSL_set_bio(s.server, b, b);
        for (int k = 0; k < 10; k++) {
            SSL_do_handshake(s.client);
            SSL_do_handshake(s.server);
        }
        ERR_clear_error();
        assert_int_equal(SSL_is_init_finished(s.client), i == 0);
        end(s);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static SSL_SESSION *kept;
static int on_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = s;
    return 1;
}

static bool resumes(SSL_CTX *server, SSL_CTX *client)
{
    struct session s = handshake(server, client, NULL, kept);
    char c;
    SSL_read(s.client, &c, 1); /* takes the ticket in */
    bool r = SSL_session_reused(s.client);
    end(s);
    ERR_clear_error();
    return r;
}

static void test_tickets_are_read_by_every_worker_for_two_epochs(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    static struct sl_tls_tickets one, two;
    const uint8_t seeds[3][32] = {"seed one", "seed two", "seed three"};
    assert_int_equal(sl_tls_tickets_set(&one, 1, seeds[0]), 0);
    assert_int_equal(sl_tls_tickets_set(&two, 1, seeds[0]), 0);
    const char *why = NULL;
    SSL_CTX *a, *b, *client = any_client();
    assert_int_equal(sl_tls_server_new(&p.tls, 1, TLS1_2_VERSION, &one, &why, &a), 0);
    assert_int_equal(sl_tls_server_new(&p.tls, 1, TLS1_2_VERSION, &two, &why, &b), 0);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, on_session);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX_set_min_proto_version(client, version);
        SSL_CTX_set_max_proto_version(client, version);
        SSL_SESSION_free(kept);
        kept = NULL;
        assert_false(resumes(a, client));
        assert_non_null(kept);
        assert_true(resumes(b, client));
    }
    SSL_CTX_sess_set_new_cb(client, NULL); /* keep the ticket of the old epoch */
    assert_int_equal(sl_tls_tickets_set(&two, 2, seeds[1]), 0);
    assert_true(resumes(b, client));
    assert_int_equal(sl_tls_tickets_set(&two, 3, seeds[2]), 0);
    assert_false(resumes(b, client));
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_CTX_free(client);
    SSL_CTX_free(a);
    SSL_CTX_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sni_picks_exact_then_wildcard_then_first),
        cmocka_unit_test(test_alpn_takes_http11_only),
        cmocka_unit_test(test_unusable_material_is_refused_with_a_reason),
        cmocka_unit_test(test_minimum_version_holds),
        cmocka_unit_test(test_upstream_certificate_must_name_the_host),
        cmocka_unit_test(test_tickets_are_read_by_every_worker_for_two_epochs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
