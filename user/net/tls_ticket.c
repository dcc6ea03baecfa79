/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tickets (RFC 5077, RFC 8446 section 4.6.1): sealed with keys that every worker derives from one
 * seed, so that a session resumes whichever worker gets it. The key of the epoch before is still read; its
 * tickets are renewed.
 */
#include "net/tls_priv.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

static int _sl_derive(const uint8_t seed[32], uint8_t label, uint8_t out[32])
{
    unsigned n = 32;
    return HMAC(EVP_sha256(), seed, 32, &label, 1, out, &n) ? 0 : -ENOMEM;
}

int sl_tls_tickets_set(struct sl_tls_tickets *t, uint64_t epoch, const uint8_t seed[32])
{
    struct sl_tls_ticket_key k;
    uint8_t name[32];
    int r = _sl_derive(seed, 'n', name);
    if (r == 0)
        r = _sl_derive(seed, 'a', k.aes);
    if (r == 0)
        r = _sl_derive(seed, 'h', k.hmac);
    if (r < 0)
        return r;
    memcpy(k.name, name, sizeof(k.name));
    t->before = t->ready ? t->now : k;
    t->now = k;
    t->epoch = epoch;
    t->ready = true;
    OPENSSL_cleanse(&k, sizeof(k));
    return 0;
}

static int _sl_setup(const struct sl_tls_ticket_key *k, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int enc)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->hmac, sizeof(k->hmac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end()};
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv, enc) != 1 ||
        EVP_MAC_CTX_set_params(mac, params) != 1)
        return -1;
    return 1;
}

static int _sl_tickets_index(void)
{
    static int index = -1; /* one for the process */
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

static int _sl_on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int enc)
{
    const struct sl_tls_tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), _sl_tickets_index());
    if (!t || !t->ready)
        return 0;
    if (enc) {
        memcpy(name, t->now.name, sizeof(t->now.name));
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
        return _sl_setup(&t->now, iv, cipher, mac, 1);
    }
    if (memcmp(name, t->now.name, sizeof(t->now.name)) == 0) {
        int r = _sl_setup(&t->now, iv, cipher, mac, 0);
        return r == 1 && SSL_version(ssl) >= TLS1_3_VERSION ? 2 : r; /* clients use one only once */
    }
    if (memcmp(name, t->before.name, sizeof(t->before.name)) == 0)
        return _sl_setup(&t->before, iv, cipher, mac, 0) == 1 ? 2 : -1; /* 2: read it and give a new one */
    return 0;
}

void sl_tls_tickets_use(SSL_CTX *ctx, struct sl_tls_tickets *t)
{
    if (SSL_CTX_set_ex_data(ctx, _sl_tickets_index(), t) == 1)
        (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, _sl_on_ticket);
}
