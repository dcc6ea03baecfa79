/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and keys, as far as they can be judged before they serve: they parse, belong together, are in
 * date. Reads memory only; never asks for a passphrase.
 */
#include "config/key_pair.h"
#include "config/ocsp_priv.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define SL_CHAIN_MAX 16
#define SL_BITS_MIN  112 /* what OpenSSL's security level 2, Debian's default, accepts */

static int _sl_no_passphrase(char *buf, int size, int rwflag, void *u)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)u = true;
    return -1;
}

static const char *_sl_ssl_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    return text ? text : "not PEM";
}

/* Certificates of the blob, leaf first; NULL with the error told. */
static STACK_OF(X509) * _sl_chain(struct sl_reader *r, const struct sl_blob *blob, int max)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(blob->data.p, (int)blob->data.n);
    bool asked = false;
    X509 *x = NULL;
    ERR_clear_error();
    while (bio && chain && sk_X509_num(chain) < max &&
           (x = PEM_read_bio_X509(bio, NULL, _sl_no_passphrase, &asked)) && sk_X509_push(chain, x))
        x = NULL;
    X509_free(x);
    BIO_free(bio);
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!chain || !bio)
        r->oom = true;
    else if (sk_X509_num(chain) == max)
        sl_diag_error(r->diag, &blob->pos, "more than %d certificates", max - 1);
    else if (sk_X509_num(chain) == 0 && ended)
        sl_diag_error(r->diag, &blob->pos,
                      "holds no certificate: expected PEM, \"-----BEGIN CERTIFICATE-----\"");
    else if (!ended)
        sl_diag_error(r->diag, &blob->pos, "certificate %d does not parse: %s", sk_X509_num(chain) + 1,
                      _sl_ssl_reason());
    else
        return chain;
    sk_X509_pop_free(chain, X509_free);
    return NULL;
}

static EVP_PKEY *_sl_key(struct sl_reader *r, const struct sl_blob *blob)
{
    bool asked = false;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(blob->data.p, (int)blob->data.n);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, _sl_no_passphrase, &asked) : NULL;
    BIO_free(bio);
    if (key)
        return key;
    if (asked)
        sl_diag_error(r->diag, &blob->pos,
                      "the key is encrypted: give it without a passphrase, readable to root only");
    else if (!blob->path && blob->data.n && !memmem(blob->data.p, blob->data.n, "-----BEGIN", 10))
        sl_diag_error(r->diag, &blob->pos, "this is no key in PEM: if it is a path, write {$file: PATH}");
    else
        sl_diag_error(r->diag, &blob->pos, "holds no private key in PEM: %s", _sl_ssl_reason());
    ERR_clear_error();
    return NULL;
}

static const char *_sl_date(const ASN1_TIME *t, char out[32])
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        return "a date that cannot be read";
    return out;
}

static void _sl_check_dates(struct sl_reader *r, const struct sl_blob *blob, const STACK_OF(X509) * chain)
{
    char date[32];
    for (int i = 0; i < sk_X509_num(chain); i++) {
        const X509 *x = sk_X509_value(chain, i);
        if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
            sl_diag_warn(r->diag, &blob->pos, "certificate %d has expired: it was valid until %s", i + 1,
                         _sl_date(X509_get0_notAfter(x), date));
        if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
            sl_diag_warn(r->diag, &blob->pos, "certificate %d is not valid yet: it will be from %s", i + 1,
                         _sl_date(X509_get0_notBefore(x), date));
    }
}

static void _sl_check_order(struct sl_reader *r, const struct sl_blob *blob, const STACK_OF(X509) * chain)
{
    for (int i = 1; i < sk_X509_num(chain); i++)
        if (X509_check_issued(sk_X509_value(chain, i), sk_X509_value(chain, i - 1)) != X509_V_OK)
            sl_diag_warn(
                r->diag, &blob->pos,
                "certificate %d did not issue certificate %d: the leaf comes first, then each one's issuer",
                i + 1, i);
}

/* ---- names */

static void _sl_add_name(struct sl_reader *r, struct sl_certificate *c, const ASN1_STRING *s)
{
    struct sl_slice text = sl_slice((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    if (sl_valid_host(text)) /* what no SNI can be, no map needs */
        return;
    struct sl_slice kept = sl_read_keep(r, text, false);
    for (char *p = (char *)(uintptr_t)kept.p; p && *p; p++)
        *p = sl_lower(*p);
    c->names.v[c->names.n++] = kept;
}

static void _sl_names(struct sl_reader *r, struct sl_certificate *c, const X509 *leaf)
{
    GENERAL_NAMES *sans = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int n = sans ? sk_GENERAL_NAME_num(sans) : 0;
    c->names.v = sl_read_alloc(r, (size_t)n + 1, sizeof(struct sl_slice));
    for (int i = 0; c->names.v && i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, i);
        if (g->type == GEN_DNS)
            _sl_add_name(r, c, g->d.dNSName);
    }
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (c->names.v && !sans && at >= 0)
        _sl_add_name(r, c, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    GENERAL_NAMES_free(sans);
}

static uint64_t _sl_not_after(const X509 *leaf)
{
    struct tm tm;
    const time_t t = ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) == 1 ? timegm(&tm) : 0;
    return t > 0 ? (uint64_t)t : 0;
}

/* ---- a pair */

static void _sl_check_match(struct sl_reader *r, const struct sl_blob *key_blob, const X509 *leaf,
                            EVP_PKEY *key)
{
    if (!sl_key_signs_for(key, X509_get0_pubkey(leaf)))
        sl_diag_error(r->diag, &key_blob->pos, "the key is not that of the certificate");
    else if (EVP_PKEY_get_security_bits(key) < SL_BITS_MIN)
        sl_diag_error(r->diag, &key_blob->pos, "the key is too short: RSA needs 2048 bits, ECDSA 224");
    ERR_clear_error();
}

static void _sl_check_pair(struct sl_reader *r, const struct sl_blob *cert, const struct sl_blob *key_blob,
                           struct sl_certificate *named)
{
    STACK_OF(X509) *chain = cert->data.n ? _sl_chain(r, cert, SL_CHAIN_MAX + 1) : NULL;
    EVP_PKEY *key = key_blob->data.n ? _sl_key(r, key_blob) : NULL;
    if (chain) {
        _sl_check_dates(r, cert, chain);
        _sl_check_order(r, cert, chain);
        if (named) {
            _sl_names(r, named, sk_X509_value(chain, 0));
            named->not_after = _sl_not_after(sk_X509_value(chain, 0));
            sl_check_ocsp(r, named, chain);
        }
    }
    if (chain && key)
        _sl_check_match(r, key_blob, sk_X509_value(chain, 0), key);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    ERR_clear_error();
}

void sl_check_certificate(struct sl_reader *r, struct sl_certificate *c)
{
    _sl_check_pair(r, &c->cert, &c->key, c);
}

void sl_check_key_pair(struct sl_reader *r, const struct sl_blob *cert, const struct sl_blob *key)
{
    _sl_check_pair(r, cert, key, NULL);
}

void sl_check_ca(struct sl_reader *r, const struct sl_blob *ca)
{
    STACK_OF(X509) *all = ca->data.n ? _sl_chain(r, ca, 1001) : NULL;
    if (all)
        _sl_check_dates(r, ca, all);
    sk_X509_pop_free(all, X509_free);
    ERR_clear_error();
}
