/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts made of PEM in memory: which certificate SNI gets, what is refused, tickets across contexts of one
 * seed. */
#include "tls_test.h"

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
    assert_int_equal(server_of(certs, 3, TLS1_2_VERSION, NULL, &why, &ctx), 0);
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
    assert_int_equal(server_of(&p.tls, 1, TLS1_2_VERSION, NULL, &why, &ctx), 0);
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
        assert_int_equal(server_of(&bad[i], 1, TLS1_2_VERSION, NULL, &why, &ctx), -EINVAL);
        assert_non_null(why);
        struct sl_tls_cert second[] = {a.tls, bad[i]};
        assert_int_equal(server_of(second, 2, TLS1_2_VERSION, NULL, &why, &ctx), -EINVAL);
    }
    const char *why = NULL;
    assert_int_equal(sl_tls_client_new(&(struct sl_tls_client){.ca = SL_S("nothing")}, &why, &ctx), -EINVAL);
    assert_non_null(why);
}

static void test_minimum_version_holds(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    const char *why = NULL;
    SSL_CTX *ctx, *client = any_client();
    assert_int_equal(server_of(&p.tls, 1, TLS1_3_VERSION, NULL, &why, &ctx), 0);
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
    assert_int_equal(server_of(&p.tls, 1, TLS1_2_VERSION, NULL, &why, &server), 0);
    assert_int_equal(sl_tls_client_new(&(struct sl_tls_client){.ca = p.tls.cert}, &why, &client), 0);
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
    assert_int_equal(server_of(&p.tls, 1, TLS1_2_VERSION, &one, &why, &a), 0);
    assert_int_equal(server_of(&p.tls, 1, TLS1_2_VERSION, &two, &why, &b), 0);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, on_session);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX_set_min_proto_version(client, version);
        SSL_CTX_set_max_proto_version(client, version);
        SSL_SESSION_free(kept);
        kept = NULL;
        assert_false(resumes(a, client));
        assert_non_null(kept);
        assert_int_equal(SSL_SESSION_get_max_early_data(kept), 0); /* what comes early can be played again */
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

/* ---- what is negotiated */

static void test_ciphers_and_groups_are_those_of_the_policy(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    const struct sl_tls_server s = {.certs = &p.tls,
                                    .n_certs = 1,
                                    .min_version = TLS1_2_VERSION,
                                    .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
                                    .ciphersuites = "TLS_CHACHA20_POLY1305_SHA256",
                                    .groups = "P-384:P-256"};
    const char *why = NULL;
    SSL_CTX *ctx, *client = any_client();
    assert_int_equal(sl_tls_server_new(&s, &why, &ctx), 0);
    struct session x = handshake(ctx, client, NULL, NULL);
    assert_string_equal(SSL_get_cipher_name(x.client), "TLS_CHACHA20_POLY1305_SHA256");
    assert_int_equal(SSL_get_negotiated_group(x.client), NID_secp384r1);
    end(x);
    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
    x = handshake(ctx, client, NULL, NULL);
    assert_string_equal(SSL_get_cipher_name(x.client), "ECDHE-ECDSA-AES256-GCM-SHA384");
    end(x);
    SSL_CTX_set1_groups_list(client, "X25519");
    x = handshake(ctx, client, NULL, NULL);
    assert_false(SSL_is_init_finished(x.client));
    end(x);
    SSL_CTX_free(client);
    SSL_CTX_free(ctx);
}

static long stapled(SSL_CTX *server, SSL_CTX *client)
{
    struct session s = {.client = SSL_new(client), .server = sl_tls_accept_new(server)};
    const unsigned char *got = NULL;
    BIO *a, *b;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(s.client, a, a);
    SSL_set_bio(s.server, b, b);
    SSL_set_connect_state(s.client);
    SSL_set_tlsext_status_type(s.client, TLSEXT_STATUSTYPE_ocsp);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(s.client);
        SSL_do_handshake(s.server);
    }
    assert_true(SSL_is_init_finished(s.client));
    const long n = SSL_get_tlsext_status_ocsp_resp(s.client, &got);
    if (n > 0)
        assert_memory_equal(got, "staple", 6);
    end(s);
    return n;
}

static void test_a_staple_is_sent_while_it_is_news(void **state)
{
    (void)state;
    static struct pem p;
    make(&p, "a.test", NULL, 0);
    const char *why = NULL;
    SSL_CTX *ctx, *client = any_client();
    p.tls.ocsp = SL_S("staple");
    for (int news = 0; news < 2; news++) {
        p.tls.ocsp_until = news ? UINT64_MAX : 1;
        assert_int_equal(server_of(&p.tls, 1, TLS1_2_VERSION, NULL, &why, &ctx), 0);
        assert_int_equal(stapled(ctx, client), news ? 6 : -1);
        SSL_CTX_free(ctx);
    }
    SSL_CTX_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sni_picks_exact_then_wildcard_then_first),
        cmocka_unit_test(test_alpn_takes_http11_only),
        cmocka_unit_test(test_unusable_material_is_refused_with_a_reason),
        cmocka_unit_test(test_minimum_version_holds),
        cmocka_unit_test(test_upstream_certificate_must_name_the_host),
        cmocka_unit_test(test_ciphers_and_groups_are_those_of_the_policy),
        cmocka_unit_test(test_a_staple_is_sent_while_it_is_news),
        cmocka_unit_test(test_tickets_are_read_by_every_worker_for_two_epochs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
