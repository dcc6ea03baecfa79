/* SPDX-License-Identifier: Apache-2.0 */
/* Clients' certificates: who gets in, what those are told who do not, and whose session opens again. */
#include "tls_test.h"

struct world {
    struct pem ca_pem, other_pem, mid_pem, server, good, expired, early, foreign, alone, wrong_use, below_mid,
        both_pem;
    struct issuer ca, other, mid;
    char both[8192]; /* ca and other in one file */
};
static struct world w;

static void issue_leaf(struct pem *p, const char *cn, struct lease l)
{
    issuer_free(issue(p, cn, &l));
}

static int setup(void **state)
{
    (void)state;
    w.ca = issue(&w.ca_pem, "ca", &(struct lease){.ca = true});
    w.other = issue(&w.other_pem, "other ca", &(struct lease){.ca = true});
    w.mid = issue(&w.mid_pem, "mid", &(struct lease){.by = &w.ca, .ca = true});
    snprintf(w.both, sizeof(w.both), "%.*s%.*s", SL_SARG(w.ca_pem.tls.cert), SL_SARG(w.other_pem.tls.cert));
    w.both_pem.tls.cert = sl_slice_str(w.both);
    issue_leaf(&w.server, "gw.test", (struct lease){.by = &w.ca});
    issue_leaf(&w.good, "good", (struct lease){.by = &w.ca});
    issue_leaf(&w.expired, "old", (struct lease){.by = &w.ca, .from = -7200, .to = -3600});
    issue_leaf(&w.early, "early", (struct lease){.by = &w.ca, .from = 3600, .to = 7200});
    issue_leaf(&w.foreign, "foreign", (struct lease){.by = &w.other});
    issue_leaf(&w.alone, "alone", (struct lease){0});
    issue_leaf(&w.wrong_use, "server", (struct lease){.by = &w.ca, .usage = "serverAuth"});
    issue_leaf(&w.below_mid, "below", (struct lease){.by = &w.mid});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    issuer_free(w.ca);
    issuer_free(w.other);
    issuer_free(w.mid);
    return 0;
}

static SSL_CTX *listener(const struct pem *ca, bool required, struct sl_tls_tickets *t)
{
    const struct sl_tls_server s = {.certs = &w.server.tls,
                                    .n_certs = 1,
                                    .min_version = TLS1_2_VERSION,
                                    .client_ca = ca ? ca->tls.cert : SL_SLICE_NUL,
                                    .client_required = required,
                                    .tickets = t};
    const char *why;
    SSL_CTX *ctx;
    assert_int_equal(sl_tls_server_new(&s, &why, &ctx), 0);
    return ctx;
}

static SSL_CTX *client_with(const struct pem *p)
{
    const struct sl_tls_client c = {.ca = w.ca_pem.tls.cert,
                                    .cert = p ? p->tls.cert : SL_SLICE_NUL,
                                    .key = p ? p->tls.key : SL_SLICE_NUL};
    const char *why;
    SSL_CTX *ctx;
    assert_int_equal(sl_tls_client_new(&c, &why, &ctx), 0);
    return ctx;
}

/* Why the server refuses a client with that certificate; NONE: it does not. */
static enum sl_tls_failure refusal(SSL_CTX *server, const struct pem *p, int version, const char **detail)
{
    SSL_CTX *client = client_with(p);
    SSL_CTX_set_max_proto_version(client, version);
    struct session s = {.client = SSL_new(client), .server = sl_tls_accept_new(server)};
    BIO *a, *b;
    enum sl_tls_failure f = SL_TLS_FAILED_NONE;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(s.client, a, a);
    SSL_set_bio(s.server, b, b);
    SSL_set_connect_state(s.client);
    *detail = "";
    for (int i = 0; i < 10 && f == SL_TLS_FAILED_NONE; i++) {
        SSL_do_handshake(s.client);
        ERR_clear_error();
        int r = SSL_do_handshake(s.server);
        if (r != 1 && SSL_get_error(s.server, r) == SSL_ERROR_SSL)
            f = sl_tls_failed(s.server, -EPROTO, detail);
    }
    assert_int_equal(f == SL_TLS_FAILED_NONE, SSL_is_init_finished(s.server));
    end(s);
    ERR_clear_error();
    SSL_CTX_free(client);
    return f;
}

static void test_who_gets_in(void **state)
{
    (void)state;
    const struct {
        const struct pem *cert;
        enum sl_tls_failure required, optional;
    } cases[] = {
        {&w.good, SL_TLS_FAILED_NONE, SL_TLS_FAILED_NONE},
        {NULL, SL_TLS_FAILED_NO_CERTIFICATE, SL_TLS_FAILED_NONE},
        {&w.expired, SL_TLS_FAILED_EXPIRED, SL_TLS_FAILED_EXPIRED},
        {&w.early, SL_TLS_FAILED_NOT_YET_VALID, SL_TLS_FAILED_NOT_YET_VALID},
        {&w.foreign, SL_TLS_FAILED_UNKNOWN_ISSUER, SL_TLS_FAILED_UNKNOWN_ISSUER},
        {&w.alone, SL_TLS_FAILED_SELF_SIGNED, SL_TLS_FAILED_SELF_SIGNED},
        {&w.wrong_use, SL_TLS_FAILED_PURPOSE, SL_TLS_FAILED_PURPOSE},
    };
    SSL_CTX *required = listener(&w.ca_pem, true, NULL), *optional = listener(&w.ca_pem, false, NULL),
            *none = listener(NULL, false, NULL);
    const char *detail;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
            assert_int_equal(refusal(required, cases[i].cert, version, &detail), cases[i].required);
            assert_int_equal(!*detail, cases[i].required == SL_TLS_FAILED_NONE);
            assert_int_equal(refusal(optional, cases[i].cert, version, &detail), cases[i].optional);
            assert_int_equal(refusal(none, cases[i].cert, version, &detail), SL_TLS_FAILED_NONE);
        }
    SSL_CTX_free(required);
    SSL_CTX_free(optional);
    SSL_CTX_free(none);
}

static void test_an_intermediate_is_trusted_without_its_root(void **state)
{
    (void)state;
    SSL_CTX *mid = listener(&w.mid_pem, true, NULL);
    const char *detail;
    assert_int_equal(refusal(mid, &w.below_mid, TLS1_3_VERSION, &detail), SL_TLS_FAILED_NONE);
    assert_int_equal(refusal(mid, &w.good, TLS1_3_VERSION, &detail), SL_TLS_FAILED_UNKNOWN_ISSUER);
    SSL_CTX_free(mid);
}

static void test_what_is_no_tls_and_versions_have_names(void **state)
{
    (void)state;
    const char *detail;
    SSL_CTX *server = listener(NULL, false, NULL);
    SSL *ssl = sl_tls_accept_new(server);
    BIO *in = BIO_new_mem_buf("GET / HTTP/1.1\r\n\r\n", -1);
    SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
    assert_int_equal(SSL_do_handshake(ssl), -1);
    assert_int_equal(sl_tls_failed(ssl, -EPROTO, &detail), SL_TLS_FAILED_PROTOCOL);
    assert_string_equal(detail, "http request");
    ERR_clear_error();
    assert_int_equal(sl_tls_failed(ssl, -ECONNRESET, &detail), SL_TLS_FAILED_CLOSED);
    SSL_free(ssl);
    SSL_CTX_set_min_proto_version(server, TLS1_3_VERSION);
    assert_int_equal(refusal(server, NULL, TLS1_2_VERSION, &detail), SL_TLS_FAILED_VERSION);
    SSL_CTX_free(server);
    for (unsigned i = 1; i < SL_TLS_FAILED_COUNT; i++) {
        assert_true(strlen(sl_tls_failure_name((enum sl_tls_failure)i)) > 0);
        assert_true(strlen(sl_tls_failure_text((enum sl_tls_failure)i)) > 0);
    }
}

/* ---- sessions */

static SSL_SESSION *kept;
static int on_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = s;
    return 1;
}

/* Whether the kept session opens there; *named: the server has the client's certificate. */
static bool reopens(SSL_CTX *server, SSL_CTX *client, bool *named)
{
    struct session s = handshake(server, client, NULL, kept);
    char c;
    SSL_read(s.client, &c, 1);
    assert_true(SSL_is_init_finished(s.server));
    const bool r = SSL_session_reused(s.server);
    *named = SSL_get0_peer_certificate(s.server) != NULL;
    end(s);
    ERR_clear_error();
    return r;
}

static void test_a_session_keeps_the_identity_and_belongs_to_its_authorities(void **state)
{
    (void)state;
    static struct sl_tls_tickets t;
    const uint8_t seed[32] = "seed";
    assert_int_equal(sl_tls_tickets_set(&t, 1, seed), 0);
    SSL_CTX *same[] = {listener(&w.ca_pem, true, &t), listener(&w.ca_pem, true, &t)},
            *others[] = {listener(&w.ca_pem, false, &t), listener(&w.both_pem, true, &t),
                         listener(NULL, false, &t)};
    SSL_CTX *client = client_with(&w.good);
    bool named;
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, on_session);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX_set_max_proto_version(client, version);
        SSL_SESSION_free(kept);
        kept = NULL;
        assert_false(reopens(same[0], client, &named));
        assert_true(named && kept != NULL);
        assert_true(reopens(same[1], client, &named));
        assert_true(named);
        SSL_CTX_sess_set_new_cb(client, NULL);            /* this session, from here on */
        assert_false(reopens(others[0], client, &named)); /* asks otherwise */
        assert_true(named);
        assert_false(reopens(others[1], client, &named)); /* asks others */
        assert_false(reopens(others[2], client, &named)); /* asks nobody */
        assert_false(named);
        SSL_CTX_sess_set_new_cb(client, on_session);
    }
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_CTX_free(client);
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_free(same[i]);
    for (size_t i = 0; i < 3; i++)
        SSL_CTX_free(others[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_gets_in),
        cmocka_unit_test(test_an_intermediate_is_trusted_without_its_root),
        cmocka_unit_test(test_what_is_no_tls_and_versions_have_names),
        cmocka_unit_test(test_a_session_keeps_the_identity_and_belongs_to_its_authorities),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
