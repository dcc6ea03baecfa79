/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys of a test's own, as PEM text. */
#ifndef SL_TESTS_CONFIG_PKI_H
#define SL_TESTS_CONFIG_PKI_H

#include "config_test.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

struct pem {
    char text[8192];
};

struct pki_spec {
    const char *cn, *sans; /* "DNS:a,DNS:b"; NULL: none */
    long from_days, to_days;
};

static SL_UNUSED struct pem bio_text(BIO *bio)
{
    struct pem p = {0};
    int n = BIO_read(bio, p.text, sizeof(p.text) - 1);
    assert_true(n > 0 && n < (int)sizeof(p.text) - 1);
    BIO_free(bio);
    return p;
}

static SL_UNUSED struct pem pem_of_key(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    return bio_text(bio);
}

static SL_UNUSED struct pem pem_encrypted(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), "hunter2", 7, NULL, NULL), 1);
    return bio_text(bio);
}

/* Signed by issuer_key in the name of issuer_cn; ca: may sign others. */
static SL_UNUSED struct pem pem_of_cert(const struct pki_spec *spec, EVP_PKEY *key, const char *issuer_cn,
                                        EVP_PKEY *issuer_key)
{
    X509 *x = X509_new();
    X509_NAME *issuer = X509_NAME_new();
    const unsigned char *cn = (const unsigned char *)spec->cn;
    assert_non_null(x);
    assert_int_equal(X509_set_version(x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), spec->from_days * 86400));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), spec->to_days * 86400));
    assert_int_equal(X509_set_pubkey(x, key), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, cn, -1, -1, 0),
                     1);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(issuer, "CN", MBSTRING_UTF8, (const unsigned char *)issuer_cn, -1, -1, 0),
        1);
    assert_int_equal(X509_set_issuer_name(x, issuer), 1);
    if (spec->sans) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, spec->sans);
        assert_non_null(e);
        assert_int_equal(X509_add_ext(x, e, -1), 1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, x), 1);
    X509_NAME_free(issuer);
    X509_free(x);
    return bio_text(bio);
}

static SL_UNUSED struct pem pem_self_signed(const struct pki_spec *spec, EVP_PKEY *key)
{
    return pem_of_cert(spec, key, spec->cn, key);
}

#endif
