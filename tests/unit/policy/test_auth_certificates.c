/* SPDX-License-Identifier: Apache-2.0 */
/* Clients' certificates as identities, what the upstream is told of them, and tokens that are bound to one.
 */
#include "auth_test.h"

#include <openssl/x509v3.h>

static struct sl_client_cert *certificate(const char *cn, const char *sans)
{
    struct sl_client_cert *c = calloc(1, sizeof(*c));
    X509 *x = X509_new();
    unsigned n;
    assert_non_null(c);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 0x1f2e);
    ASN1_TIME_set(X509_getm_notBefore(x), NOW - 60);
    ASN1_TIME_set(X509_getm_notAfter(x), NOW + 60);
    X509_set_pubkey(x, es.key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"A\xc3\xa4, Inc", -1, -1, 0);
    if (cn)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_EXTENSION *e = sans ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, sans) : NULL;
    if (e)
        X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(x, es.key, EVP_sha256()) > 0);
    assert_int_equal(X509_digest(x, EVP_sha256(), c->sha256, &n), 1);
    c->x509 = x;
    c->not_after = NOW + 60;
    return c;
}

static void drop(struct sl_client_cert *c)
{
    X509_free(c->x509);
    free(c);
}

static const char *come(const char *target, const struct sl_client_cert *c, uint64_t now)
{
    req = request("GET", "h", target);
    req.client_cert = c;
    add_header(&req.headers, "client_CERT", "mine");
    add_header(&req.headers, "X-Subject", "CN=admin");
    return judge_at(now);
}

static void names_become_consumers(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate(
        "Svc", "DNS:Other.test,DNS:SVC.test,URI:spiffe://td/x,URI:spiffe://td/svc,email:a@b.test");
    char hex[65];
    for (unsigned i = 0; i < 32; i++)
        (void)sprintf(hex + 2 * i, "%02x", c->sha256[i]);
    const struct {
        const char *target, *name;
        bool known;
    } cases[] = {{"/cert", "svc.test", true},
                 {"/uri", "spiffe://td/svc", true},
                 {"/mail", "a@b.test", false},
                 {"/cn", "Svc", false},
                 {"/print", hex, false}};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
        for (unsigned round = 0; round < 2; round++) { /* also when it is remembered */
            assert_string_equal(come(cases[i].target, c, NOW), "ok");
            assert_slice(outcome.identity->consumer_name, cases[i].name);
            assert_int_equal(outcome.identity->consumer != NULL, cases[i].known);
            assert_string_equal(outcome.identity->tier->name, cases[i].known ? "gold" : "anonymous");
        }
    drop(c);
}

static void the_first_name_where_none_is_known(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate(NULL, "DNS:b.test,DNS:a.test");
    assert_string_equal(come("/cert", c, NOW), "ok");
    assert_slice(outcome.identity->consumer_name, "b.test");
    drop(c);
}

static void who_has_no_such_name_is_refused(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate(NULL, NULL);
    static const char *const targets[][2] = {{"/cert", "no DNS name"},
                                             {"/uri", "no URI"},
                                             {"/mail", "no email address"},
                                             {"/cn", "no common name"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(targets); i++) {
        assert_string_equal(come(targets[i][0], c, NOW), "bad cert");
        assert_non_null(strstr(outcome.detail, targets[i][1]));
        assert_string_equal(outcome.challenge, "Certificate realm=\"sluice\"");
    }
    assert_string_equal(come("/cert", NULL, NOW), "none");
    assert_string_equal(come("/print", c, NOW), "ok");
    drop(c);
}

static void another_credential_of_the_route_will_do(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate("x", NULL);
    assert_string_equal(come("/both", c, NOW), "bad cert");
    req = request("GET", "h", "/both");
    req.client_cert = c;
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    assert_slice(outcome.identity->consumer_name, "acme");
    drop(c);
}

static void its_end_is_the_identitys(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate("x", "DNS:svc.test");
    assert_string_equal(come("/cert", c, NOW), "ok");
    assert_string_equal(come("/cert", c, NOW + 60), "ok");
    assert_string_equal(come("/cert", c, NOW + 61), "bad cert");
    assert_non_null(strstr(outcome.detail, "expired"));
    drop(c);
}

static void control_bytes_make_no_name(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate("svc\r\nX-Admin: 1", NULL);
    assert_string_equal(come("/cn", c, NOW), "bad cert");
    drop(c);
}

static void what_the_upstream_is_told(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate("s,vc", "DNS:svc.test,DNS:b.test,URI:https://x.test/a%2C");
    unsigned char *der = NULL, b64[4096];
    assert_string_equal(come("/cert", c, NOW), "ok");
    const int n = i2d_X509(c->x509, &der), len = EVP_EncodeBlock(b64, der, n);
    const struct sl_slice whole = sl_slice_str(header(&req.headers, "Client-Cert"));
    assert_int_equal(whole.n, len + 2);
    assert_true(whole.p[0] == ':' && whole.p[len + 1] == ':' && memcmp(whole.p + 1, b64, (size_t)len) == 0);
    assert_string_equal(header(&req.headers, "X-Subject"), "CN=s\\,vc,O=A\\C3\\A4\\, Inc");
    assert_string_equal(header(&req.headers, "X-Issuer"), "CN=s\\,vc,O=A\\C3\\A4\\, Inc");
    assert_string_equal(header(&req.headers, "X-Serial"), "1f2e");
    assert_string_equal(header(&req.headers, "X-Dns"), "svc.test,b.test");
    assert_string_equal(header(&req.headers, "X-Uri"), "https://x.test/a%252C");
    assert_string_equal(header(&req.headers, "X-Cn"), "s%2Cvc");
    assert_string_equal(header(&req.headers, "X-Until"), "2023-11-14T22:14:20Z");
    assert_null(header(&req.headers, "X-Mail"));
    assert_int_equal(strlen(header(&req.headers, "X-Print")), 64);
    OPENSSL_free(der);
    (void)come("/open", c, NOW); /* on a route of another provider they are taken out all the same */
    assert_null(header(&req.headers, "Client-Cert"));
    assert_null(header(&req.headers, "X-Subject"));
    drop(c);
}

/* ---- tokens that are bound (RFC 8705 section 3) */

static const char *thumbprint(const struct sl_client_cert *c)
{
    unsigned char b64[64];
    const int n = EVP_EncodeBlock(b64, c->sha256, 32);
    for (int i = 0; i < n; i++)
        b64[i] = b64[i] == '+' ? '-' : b64[i] == '/' ? '_' : b64[i];
    return sl_arena_printf(&arena, "%.43s", (const char *)b64);
}

static const char *come_with(struct sl_slice t, const struct sl_client_cert *c, uint64_t now)
{
    req = request("GET", "h", "/corp");
    req.client_cert = c;
    bearer(t);
    return judge_at(now);
}

static void a_bound_token_is_worth_nothing_without_its_certificate(void **state)
{
    (void)state;
    struct sl_client_cert *mine = certificate("mine", NULL), *other = certificate("other", NULL);
    const struct sl_slice t =
        token(&es, sl_arena_printf(&arena, GOOD(", 'cnf': {'x5t#S256': '%s'}"), thumbprint(mine)));
    for (unsigned round = 0; round < 2; round++) { /* known or not, it is asked each time */
        assert_string_equal(come_with(t, NULL, NOW), "bad token");
        assert_non_null(strstr(outcome.detail, "belongs to a certificate"));
        assert_null(outcome.identity);
        assert_string_equal(come_with(t, other, NOW), "bad token");
        assert_string_equal(come_with(t, mine, NOW), "ok");
        assert_slice(outcome.identity->consumer_name, "alice");
        assert_string_equal(come_with(t, mine, NOW + 61), "bad token"); /* expired, if the token is not */
    }
    assert_string_equal(come_with(token(&es, GOOD()), mine, NOW), "ok");
    drop(mine);
    drop(other);
}

static void a_binding_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    struct sl_client_cert *c = certificate("mine", NULL);
    static const char *const bad[] = {"'x'",
                                      "[]",
                                      "null",
                                      "{'x5t#S256': 7}",
                                      "{'x5t#S256': ''}",
                                      "{'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg'}",
                                      "{'x5t#S256': 'bwcK0esc3ACC3DB2Y5+lESsXE8o9ltc05O89jdN-dg2'}",
                                      "{'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2='}"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        assert_string_equal(
            come_with(token(&es, sl_arena_printf(&arena, GOOD(", 'cnf': %s"), bad[i])), c, NOW), "bad token");
        assert_non_null(strstr(outcome.detail, "cnf"));
    }
    /* other ways to confirm are not ours */
    assert_string_equal(come_with(token(&es, GOOD(", 'cnf': {'jkt': 'x'}")), c, NOW), "ok");
    drop(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_auth(names_become_consumers),
        unit_test_auth(the_first_name_where_none_is_known),
        unit_test_auth(who_has_no_such_name_is_refused),
        unit_test_auth(another_credential_of_the_route_will_do),
        unit_test_auth(its_end_is_the_identitys),
        unit_test_auth(control_bytes_make_no_name),
        unit_test_auth(what_the_upstream_is_told),
        unit_test_auth(a_bound_token_is_worth_nothing_without_its_certificate),
        unit_test_auth(a_binding_that_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
