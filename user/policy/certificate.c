/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client's certificate says: who it is, and the headers that tell the upstream. Read once for each
 * certificate. Names with control bytes are no names: NUL would end them early for others, and CR LF would
 * make headers of their own.
 */
#include "policy/identity_priv.h"

#include <openssl/x509v3.h>
#include <time.h>

/* ---- names */

static bool _sl_is_clean(struct sl_slice s)
{
    return s.n > 0 && !sl_slice_has_control(s);
}

static struct sl_slice _sl_lower(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        ((char *)(uintptr_t)s.p)[i] = sl_lower(s.p[i]); /* a copy of ours */
    return s;
}

static bool _sl_push(struct sl_strings *to, struct sl_slice text, struct sl_arena *a)
{
    if (!_sl_is_clean(text))
        return true;
    to->v[to->n] = sl_arena_copy(a, text);
    return to->v[to->n++].p != NULL;
}

static bool _sl_alternatives(const X509 *x, int type, struct sl_arena *a, struct sl_strings *out)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    const int n = all ? sk_GENERAL_NAME_num(all) : 0;
    out->v = sl_arena_zalloc(a, ((size_t)n + 1) * sizeof(*out->v));
    bool ok = out->v != NULL;
    for (int i = 0; ok && i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == type) /* dNSName, URI and rfc822Name are one IA5String in the union */
            ok = _sl_push(
                out,
                sl_slice((const char *)ASN1_STRING_get0_data(g->d.ia5), (size_t)ASN1_STRING_length(g->d.ia5)),
                a);
        if (ok && type == GEN_DNS && out->n)
            out->v[out->n - 1] = _sl_lower(out->v[out->n - 1]);
    }
    GENERAL_NAMES_free(all);
    return ok;
}

static bool _sl_common_names(const X509 *x, struct sl_arena *a, struct sl_strings *out)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    const int n = X509_NAME_entry_count(subject);
    out->v = sl_arena_zalloc(a, ((size_t)n + 1) * sizeof(*out->v));
    bool ok = out->v != NULL;
    for (int at = -1; ok && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
        unsigned char *text = NULL;
        const int len =
            ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        ok = len < 0 || _sl_push(out, sl_slice((const char *)text, (size_t)len), a);
        OPENSSL_free(text);
    }
    return ok;
}

static struct sl_slice _sl_hex(const unsigned char *p, size_t n, struct sl_arena *a)
{
    static const char digits[] = "0123456789abcdef";
    char *out = sl_arena_alloc(a, 2 * n + 1);
    for (size_t i = 0; out && i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    return sl_slice(out, out ? 2 * n : 0);
}

static bool _sl_names(const struct sl_client_cert *cert, enum sl_cert_field field, struct sl_arena *a,
                      struct sl_strings *out)
{
    *out = (struct sl_strings){0};
    switch (field) {
    case SL_CERT_SAN_DNS:
        return _sl_alternatives(cert->x509, GEN_DNS, a, out);
    case SL_CERT_SAN_URI:
        return _sl_alternatives(cert->x509, GEN_URI, a, out);
    case SL_CERT_SAN_EMAIL:
        return _sl_alternatives(cert->x509, GEN_EMAIL, a, out);
    case SL_CERT_CN:
        return _sl_common_names(cert->x509, a, out);
    default:
        out->v = sl_arena_zalloc(a, sizeof(*out->v));
        return out->v && _sl_push(out, _sl_hex(cert->sha256, sizeof(cert->sha256), a), a);
    }
}

/* ---- as a header's value; n 0: there is nothing to tell, p NULL: memory is out */

/* As arrays of claims: with ',' and '%' of a name written as %2C and %25, so that no name can pass for two.
 */
static struct sl_slice _sl_joined(const struct sl_strings *names, struct sl_arena *a)
{
    size_t room = 1, n = 0;
    for (size_t i = 0; i < names->n; i++)
        room += names->v[i].n * 3 + 1;
    char *out = sl_arena_alloc(a, room);
    for (size_t i = 0; out && i < names->n; i++) {
        if (i)
            out[n++] = ',';
        for (size_t k = 0; k < names->v[i].n; k++) {
            const char c = names->v[i].p[k];
            if (c == ',' || c == '%') {
                out[n++] = '%';
                out[n++] = '2';
                out[n++] = c == ',' ? 'C' : '5';
            } else {
                out[n++] = c;
            }
        }
    }
    return sl_slice(out, n);
}

/* RFC 9440 section 2.1: a Structured Field byte sequence of the DER. */
static struct sl_slice _sl_whole(const X509 *x, struct sl_arena *a)
{
    unsigned char *der = NULL;
    const int n = i2d_X509(x, &der);
    char *out = n > 0 ? sl_arena_alloc(a, (size_t)n * 4 / 3 + 8) : NULL;
    int len = 0;
    if (out) {
        out[0] = ':';
        len = EVP_EncodeBlock((unsigned char *)out + 1, der, n);
        out[len + 1] = ':';
    }
    OPENSSL_free(der);
    return sl_slice(out, out ? (size_t)len + 2 : 0);
}

/* RFC 2253, in ASCII: all else is escaped. */
static struct sl_slice _sl_distinguished(const X509_NAME *name, struct sl_arena *a)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    struct sl_slice out = {0};
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        const long n = BIO_get_mem_data(bio, &text);
        out = n > 0 ? sl_arena_copy(a, sl_slice(text, (size_t)n)) : SL_S("");
    }
    BIO_free(bio);
    return out;
}

static struct sl_slice _sl_serial(const X509 *x, struct sl_arena *a)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    return _sl_hex(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial), a);
}

static struct sl_slice _sl_date(uint64_t s, struct sl_arena *a)
{
    const time_t t = (time_t)s;
    struct tm tm;
    char text[32];
    const size_t n = gmtime_r(&t, &tm) ? strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) : 0;
    return sl_arena_copy(a, sl_slice(text, n));
}

static struct sl_slice _sl_value(const struct sl_client_cert *cert, enum sl_cert_field field,
                                 struct sl_arena *a)
{
    struct sl_strings names;
    switch (field) {
    case SL_CERT_CERTIFICATE:
        return _sl_whole(cert->x509, a);
    case SL_CERT_SUBJECT:
        return _sl_distinguished(X509_get_subject_name(cert->x509), a);
    case SL_CERT_ISSUER:
        return _sl_distinguished(X509_get_issuer_name(cert->x509), a);
    case SL_CERT_SERIAL:
        return _sl_serial(cert->x509, a);
    case SL_CERT_NOT_AFTER:
        return _sl_date(cert->not_after, a);
    default:
        return _sl_names(cert, field, a, &names) ? _sl_joined(&names, a) : SL_SLICE_NUL;
    }
}

/* ---- the identity */

static bool _sl_headers(struct sl_identity *id, const struct sl_client_cert *cert)
{
    const struct sl_auth *p = id->provider;
    id->headers.v = sl_arena_zalloc(&id->arena, (p->mtls.n_headers + 1) * sizeof(*id->headers.v));
    if (!id->headers.v)
        return false;
    for (size_t i = 0; i < p->mtls.n_headers; i++) {
        const struct sl_slice value = _sl_value(cert, p->mtls.headers[i].field, &id->arena);
        if (!value.p)
            return false;
        if (value.n)
            id->headers.v[id->headers.n++] =
                (struct sl_name_value){.name = sl_slice_str(p->mtls.headers[i].header), .value = value};
    }
    return true;
}

/* Of several names the first that is a consumer's, else the first. */
static void _sl_consumer(struct sl_identity *id, const struct sl_snapshot *s, const struct sl_strings *names)
{
    id->consumer_name = names->v[0];
    for (size_t i = 0; i < names->n && !id->consumer; i++) {
        id->consumer = sl_map_get(&s->consumers_by_name, names->v[i]);
        if (id->consumer)
            id->consumer_name = names->v[i];
    }
    id->tier = id->consumer ? id->consumer->tier : s->anonymous;
}

struct sl_identity *sl_identity_of_cert(const struct sl_snapshot *s, const struct sl_auth *provider,
                                        const struct sl_client_cert *cert, const char **why)
{
    static const char *const missing[] = {
        [SL_CERT_SAN_DNS] = "the client's certificate has no DNS name",
        [SL_CERT_SAN_URI] = "the client's certificate has no URI",
        [SL_CERT_SAN_EMAIL] = "the client's certificate has no email address",
        [SL_CERT_CN] = "the client's certificate has no common name",
        [SL_CERT_FINGERPRINT] = "out of memory",
    };
    struct sl_strings names = {0};
    struct sl_identity *id = sl_identity_new(provider, cert->sha256);
    bool ok =
        id && _sl_names(cert, provider->mtls.consumer_from, &id->arena, &names) && _sl_headers(id, cert);
    *why = !ok ? "out of memory" : !names.n ? missing[provider->mtls.consumer_from] : NULL;
    if (*why) {
        sl_identity_unref(id);
        return NULL;
    }
    _sl_consumer(id, s, &names);
    id->expires_wall_s = cert->not_after;
    return id;
}
