/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners' contexts. Invariant: the table from names to certificates hangs on the listener's context and
 * dies with it, so a handshake that outlives a reload still finds it.
 */
#include "base/hash.h"
#include "net/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

struct _sl_names {
    struct sl_map by_name; /* SSL_CTX; keys are copies */
    SSL_CTX **owned;
    size_t n_owned;
    char alpn[32];
    size_t n_alpn;
};

/* The first of ours that the client speaks (RFC 7301 section 3.2). */
static int _sl_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
                    unsigned int inlen, void *arg)
{
    (void)ssl;
    const struct _sl_names *names = arg;
    const unsigned char *ours = (const unsigned char *)names->alpn;
    unsigned char *picked;
    if (SSL_select_next_proto(&picked, outlen, ours, (unsigned)names->n_alpn, in, inlen) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- who the clients are */

/*
 * A ticket holds the client's certificate as it was verified then. It opens a session only where the same
 * authorities are asked in the same way, so their digest is the session's context
 * (SSL_CTX_set_session_id_context(3)).
 */
static int _sl_session_context(SSL_CTX *ctx, const struct sl_tls_server *s)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    const char mode = !s->client_ca.n ? 'n' : s->client_required ? 'r' : 'o';
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, &mode, 1) == 1 &&
              EVP_DigestUpdate(md, s->client_ca.p, s->client_ca.n) == 1 &&
              EVP_DigestFinal_ex(md, sum, &n) == 1 && n <= SSL_MAX_SID_CTX_LENGTH &&
              SSL_CTX_set_session_id_context(ctx, sum, n) == 1;
    EVP_MD_CTX_free(md);
    return ok ? 0 : -ENOMEM;
}

/* What stands in client_ca is trusted as it stands: an intermediate needs no root beside it. */
static int _sl_ask_clients(SSL_CTX *ctx, const struct sl_tls_server *s)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    int r = names ? sl_tls_trust(store, s->client_ca, names) : -ENOMEM;
    if (r < 0 || X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return r < 0 ? r : -ENOMEM;
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (s->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return 0;
}

/* ---- one certificate's context */

static int _sl_negotiation(SSL_CTX *ctx, const struct sl_tls_server *s)
{
    if ((s->ciphers && SSL_CTX_set_cipher_list(ctx, s->ciphers) != 1) ||
        (s->ciphersuites && SSL_CTX_set_ciphersuites(ctx, s->ciphersuites) != 1) ||
        (s->groups && SSL_CTX_set1_groups_list(ctx, s->groups) != 1))
        return -EINVAL;
    return 0;
}

static int _sl_tickets(SSL_CTX *ctx, struct sl_tls_tickets *tickets)
{
    if (!tickets) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(ctx, 0) == 1 ? 0 : -EINVAL;
    }
    sl_tls_tickets_use(ctx, tickets);
    return SSL_CTX_set_num_tickets(ctx, 1) == 1 ? 0 : -EINVAL;
}

static int _sl_server_one(const struct sl_tls_cert *c, const struct sl_tls_server *s, struct _sl_names *names,
                          SSL_CTX **out)
{
    SSL_CTX *ctx;
    int r = sl_tls_context(TLS_server_method(), s->min_version, &ctx);
    if (r < 0)
        return r;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_alpn_select_cb(ctx, _sl_alpn, names);
    r = _sl_negotiation(ctx, s);
    if (r == 0)
        r = _sl_tickets(ctx, s->tickets);
    if (r == 0)
        r = _sl_session_context(ctx, s);
    if (r == 0 && s->client_ca.n)
        r = _sl_ask_clients(ctx, s);
    if (r == 0)
        r = sl_tls_use_pair(ctx, c->cert, c->key);
    if (r == 0 && c->ocsp.n)
        r = sl_tls_staple(ctx, c->ocsp, c->ocsp_until);
    if (r < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return r;
}

/* ---- names */

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

static int _sl_names_fill(struct _sl_names *names, SSL_CTX *first, const struct sl_tls_server *s)
{
    for (size_t i = 0; i < s->n_certs; i++) {
        SSL_CTX *ctx = first;
        if (i > 0) {
            int r = _sl_server_one(&s->certs[i], s, names, &ctx);
            if (r < 0)
                return r;
            names->owned[names->n_owned++] = ctx;
        }
        for (size_t k = 0; k < s->certs[i].n_names; k++) {
            int r = _sl_name_add(names, s->certs[i].names[k], ctx);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static struct _sl_names *_sl_names_new(const struct sl_tls_server *s)
{
    const struct sl_slice alpn = s->alpn.n ? s->alpn : sl_tls_http11;
    struct _sl_names *names = calloc(1, sizeof(*names));
    SSL_CTX **owned = calloc(s->n_certs, sizeof(SSL_CTX *));
    if (!names || !owned || alpn.n > sizeof(names->alpn)) {
        free(names);
        free(owned);
        return NULL;
    }
    names->owned = owned;
    memcpy(names->alpn, alpn.p, alpn.n);
    names->n_alpn = alpn.n;
    return names;
}

int sl_tls_server_new(const struct sl_tls_server *s, const char **why, SSL_CTX **out)
{
    SSL_CTX *first = NULL;
    struct _sl_names *names = _sl_names_new(s);
    *why = "out of memory";
    ERR_clear_error();
    int r = names ? _sl_server_one(&s->certs[0], s, names, &first) : -ENOMEM;
    if (r == 0 && SSL_CTX_set_ex_data(first, _sl_names_index(), names) != 1)
        r = -ENOMEM;
    if (r < 0) {
        if (r != -ENOMEM)
            *why = sl_tls_why("the certificate or key is unusable");
        SSL_CTX_free(first);
        if (names)
            _sl_names_free(names);
        return r;
    }
    r = _sl_names_fill(names, first, s);
    if (r < 0) {
        *why = sl_tls_why("a certificate or key is unusable");
        SSL_CTX_free(first);
        return r;
    }
    SSL_CTX_set_tlsext_servername_callback(first, _sl_on_servername);
    SSL_CTX_set_tlsext_servername_arg(first, names);
    *out = first;
    return 0;
}
