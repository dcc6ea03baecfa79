/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys: what pairs, what is told of those that do not, and the names that SNI goes by. */
#include "pki_test.h"

#define TLS                                                                                             \
    "version: 1\nlisteners:\n  w: {bind: [\"127.0.0.1:443\"], tls: {certificates: [{cert: c.pem, key: " \
    "{$file: k.pem}}]}}\nroutes: {r: {auth: [public], respond: {}}}\n"
#define CERT "p.yaml:3:60: "
#define KEY  "p.yaml:3:72: "

static const struct pki_spec plain = {"api.test", "DNS:Api.Test,DNS:*.wild.test,IP:127.0.0.1", -1, 30};

static struct sl_result judge(const char *cert, const char *key)
{
    struct sl_result x = {0};
    sl_diag_init(&x.diag);
    x.r = sl_bundle_from_text("p.yaml", sl_slice_str(TLS), &x.diag, &x.bundle);
    assert_int_equal(x.r, 0);
    assert_int_equal(sl_bundle_put(x.bundle, false, "c.pem", sl_slice_str(cert)), 0);
    assert_int_equal(sl_bundle_put(x.bundle, false, "k.pem", sl_slice_str(key)), 0);
    result_judge(&x);
    return x;
}

static void assert_judged(const char *cert, const char *key, const char *said)
{
    struct sl_result x = judge(cert, key);
    assert_string_equal(result_said(&x), said);
    result_free(&x);
}

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    assert_non_null(k);
    return k;
}

static void test_pair_and_names(void **state)
{
    (void)state;
    EVP_PKEY *k = new_key();
    struct pem cert = pem_self_signed(&plain, k), key = pem_of_key(k);
    struct sl_result x = judge(cert.text, key.text);
    assert_string_equal(result_said(&x), "");
    const struct sl_tls_config *t = &x.s->listeners[0].tls;
    assert_true(t->enabled);
    assert_int_equal(t->n_certificates, 1);
    assert_int_equal(t->certificates[0].names.n, 2);
    assert_slice(t->certificates[0].names.v[0], "api.test");
    assert_slice(t->certificates[0].names.v[1], "*.wild.test");
    assert_string_equal(t->certificates[0].cert.path, "c.pem");
    assert_true(t->certificates[0].key.secret);
    assert_false(t->certificates[0].cert.secret);
    result_free(&x);
    EVP_PKEY_free(k);
}

/* The CN counts only where there is no SAN at all (RFC 6125 section 6.4.4). */
static void test_common_name(void **state)
{
    static const struct pki_spec no_san = {"Old.Test", NULL, -1, 30},
                                 not_a_name = {"My Server", NULL, -1, 30},
                                 other_san = {"old.test", "IP:127.0.0.1", -1, 30};
    (void)state;
    EVP_PKEY *k = new_key();
    struct pem key = pem_of_key(k), a = pem_self_signed(&no_san, k), b = pem_self_signed(&not_a_name, k),
               c = pem_self_signed(&other_san, k);
    struct sl_result x = judge(a.text, key.text);
    assert_slice(x.s->listeners[0].tls.certificates[0].names.v[0], "old.test");
    result_free(&x);
    x = judge(b.text, key.text);
    assert_int_equal(x.s->listeners[0].tls.certificates[0].names.n, 0);
    result_free(&x);
    x = judge(c.text, key.text);
    assert_int_equal(x.s->listeners[0].tls.certificates[0].names.n, 0);
    result_free(&x);
    EVP_PKEY_free(k);
}

static void test_wrong_key(void **state)
{
    (void)state;
    EVP_PKEY *k = new_key(), *other = new_key();
    struct pem cert = pem_self_signed(&plain, k), key = pem_of_key(k), wrong = pem_of_key(other),
               locked = pem_encrypted(k);
    assert_judged(cert.text, wrong.text,
                  KEY "error: /listeners/w/tls/certificates/0/key: the key is not that of the certificate\n");
    assert_judged(cert.text, locked.text,
                  KEY "error: /listeners/w/tls/certificates/0/key: the key is encrypted: give it without a "
                      "passphrase, readable "
                      "to root only\n");
    struct sl_result x = judge(cert.text, "hunter2");
    assert_said(x, KEY "error: /listeners/w/tls/certificates/0/key: holds no private key in PEM: ");
    assert_null(strstr(result_said(&x), "hunter2"));
    result_free(&x);
    key.text[100] = key.text[100] == 'A' ? 'B' : 'A'; /* one character of the base64 */
    x = judge(cert.text, key.text);
    assert_int_equal(x.r, -EINVAL);
    assert_said(x, KEY "error: /listeners/w/tls/certificates/0/key: ");
    result_free(&x);
    EVP_PKEY_free(k);
    EVP_PKEY_free(other);
}

static void test_wrong_certificate(void **state)
{
    char text[9000];
    (void)state;
    EVP_PKEY *k = new_key();
    struct pem cert = pem_self_signed(&plain, k), key = pem_of_key(k);
    assert_judged(
        "nothing\n", key.text,
        CERT "error: /listeners/w/tls/certificates/0/cert: holds no certificate: expected PEM, \"-----BEGIN "
             "CERTIFICATE-----\"\n");
    (void)snprintf(text, sizeof(text), "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                   cert.text);
    struct sl_result x = judge(text, key.text);
    assert_said(x, CERT "error: /listeners/w/tls/certificates/0/cert: certificate 2 does not parse: ");
    result_free(&x);
    (void)snprintf(text, sizeof(text), "%s", cert.text);
    text[strlen(text) / 2] = '\0';
    x = judge(text, key.text);
    assert_said(x, CERT "error: /listeners/w/tls/certificates/0/cert: certificate 1 does not parse: ");
    result_free(&x);
    EVP_PKEY_free(k);
}

static void test_dates(void **state)
{
    static const struct pki_spec old = {"a.test", "DNS:a.test", -30, -1},
                                 soon = {"a.test", "DNS:a.test", 1, 30};
    (void)state;
    EVP_PKEY *k = new_key();
    struct pem key = pem_of_key(k), expired = pem_self_signed(&old, k), early = pem_self_signed(&soon, k);
    struct sl_result x = judge(expired.text, key.text);
    assert_int_equal(x.r, 0);
    assert_said(
        x, CERT
        "warning: /listeners/w/tls/certificates/0/cert: certificate 1 has expired: it was valid until 20");
    result_free(&x);
    x = judge(early.text, key.text);
    assert_int_equal(x.r, 0);
    assert_said(
        x, CERT
        "warning: /listeners/w/tls/certificates/0/cert: certificate 1 is not valid yet: it will be from 20");
    result_free(&x);
    EVP_PKEY_free(k);
}

static void test_chain_order(void **state)
{
    static const struct pki_spec ca = {"ca", NULL, -1, 30};
    char text[17000];
    (void)state;
    EVP_PKEY *k = new_key(), *cak = new_key();
    struct pem key = pem_of_key(k), leaf = pem_of_cert(&plain, k, "ca", cak),
               root = pem_self_signed(&ca, cak), other = pem_self_signed(&plain, cak);
    (void)snprintf(text, sizeof(text), "%s%s", leaf.text, root.text);
    assert_judged(text, key.text, "");
    (void)snprintf(text, sizeof(text), "%s%s", leaf.text, other.text);
    assert_judged(
        text, key.text,
        CERT
        "warning: /listeners/w/tls/certificates/0/cert: certificate 2 did not issue certificate 1: the leaf "
        "comes first, then each one's issuer\n");
    EVP_PKEY_free(k);
    EVP_PKEY_free(cak);
}

static void test_short_key(void **state)
{
    (void)state;
    EVP_PKEY *k = EVP_RSA_gen(1024);
    assert_non_null(k);
    struct pem cert = pem_self_signed(&plain, k), key = pem_of_key(k);
    assert_judged(
        cert.text, key.text,
        KEY
        "error: /listeners/w/tls/certificates/0/key: the key is too short: RSA needs 2048 bits, ECDSA 224\n");
    EVP_PKEY_free(k);
}

/* A path where the key itself is taken is the mistake that everybody makes once. */
static void test_key_given_as_path(void **state)
{
    (void)state;
    struct sl_result x = of_text(
        "version: 1\nlisteners:\n  w: {bind: [\"127.0.0.1:443\"], tls: {certificates: [{cert: c.pem, key: "
        "/etc/k.pem}]}}\nroutes: {r: {auth: [public], respond: {}}}\n");
    assert_said(x, "p.yaml:3:72: error: /listeners/w/tls/certificates/0/key: this is no key in PEM: if it is "
                   "a path, write "
                   "{$file: PATH}\n");
    result_free(&x);
}

static void test_upstream(void **state)
{
    char text[20000];
    (void)state;
    EVP_PKEY *k = new_key(), *other = new_key();
    struct pem cert = pem_self_signed(&plain, k), key = pem_of_key(k), wrong = pem_of_key(other);
    const char *keys[] = {key.text, wrong.text};
    for (size_t i = 0; i < 2; i++) {
        struct sl_result x = {0};
        sl_diag_init(&x.diag);
        (void)snprintf(
            text, sizeof(text),
            SL_OK
            "upstreams: {u: {targets: [{address: \"1.2.3.4:5\"}], tls: {ca: c, cert: c, key: {$env: K}}}}\n");
        assert_int_equal(sl_bundle_from_text("p.yaml", sl_slice_str(text), &x.diag, &x.bundle), 0);
        assert_int_equal(sl_bundle_put(x.bundle, false, "c", sl_slice_str(cert.text)), 0);
        assert_int_equal(sl_bundle_put(x.bundle, true, "K", sl_slice_str(keys[i])), 0);
        result_judge(&x);
        assert_string_equal(
            result_said(&x),
            i == 0 ? ""
                   : "p.yaml:4:79: error: /upstreams/u/tls/key: the key is not that of the certificate\n");
        result_free(&x);
    }
    EVP_PKEY_free(k);
    EVP_PKEY_free(other);
}

/* Certificates written out in the policy, without any file. */
static void test_literal(void **state)
{
    (void)state;
    EVP_PKEY *k = new_key();
    struct pem cert = pem_self_signed(&plain, k), key = pem_of_key(k);
    struct sl_buf SL_BUF text = {0};
    assert_int_equal(
        sl_buf_printf(
            &text,
            "{\"version\":1,\"listeners\":{\"w\":{\"bind\":[\"127.0.0.1:443\"],\"tls\":{\"certificates\":["
            "{\"cert\":\""),
        0);
    assert_int_equal(sl_buf_append_json(&text, sl_slice_str(cert.text)), 0);
    assert_int_equal(sl_buf_printf(&text, "\",\"key\":\""), 0);
    assert_int_equal(sl_buf_append_json(&text, sl_slice_str(key.text)), 0);
    assert_int_equal(
        sl_buf_printf(&text, "\"}]}}},\"routes\":{\"r\":{\"auth\":[\"public\"],\"respond\":{}}}}"), 0);
    struct sl_result x = of_text_named("p.json", sl_buf_slice(&text));
    assert_string_equal(result_said(&x), "");
    assert_slice(x.s->listeners[0].tls.certificates[0].key.data, key.text);
    assert_null(x.s->listeners[0].tls.certificates[0].key.path);
    result_free(&x);
    EVP_PKEY_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pair_and_names), cmocka_unit_test(test_common_name),
        cmocka_unit_test(test_wrong_key),      cmocka_unit_test(test_wrong_certificate),
        cmocka_unit_test(test_dates),          cmocka_unit_test(test_chain_order),
        cmocka_unit_test(test_short_key),      cmocka_unit_test(test_key_given_as_path),
        cmocka_unit_test(test_upstream),       cmocka_unit_test(test_literal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
