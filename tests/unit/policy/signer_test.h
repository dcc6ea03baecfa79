/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of the gateway's own, as they stand in a policy. */
#ifndef SL_TEST_SIGNER_H
#define SL_TEST_SIGNER_H

#include "policy/signer_priv.h"
#include "sign_test.h"

/* In PEM, with the line ends of a JSON string. */
static SL_UNUSED const char *pem_of(EVP_PKEY *key, bool secret)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(secret ? PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
                            : PEM_write_bio_PUBKEY(bio, key),
                     1);
    const long n = BIO_get_mem_data(bio, &data);
    char *out = sl_arena_alloc(&arena, 2 * (size_t)n + 1), *p = out;
    for (long i = 0; i < n; i++) {
        if (data[i] == '\n')
            *p++ = '\\';
        *p++ = data[i] == '\n' ? 'n' : data[i];
    }
    *p = '\0';
    BIO_free(bio);
    return out;
}

static SL_UNUSED const char *fresh_pem(enum sl_jose_alg alg)
{
    EVP_PKEY *key = new_key(alg);
    const char *pem = pem_of(key, true);
    EVP_PKEY_free(key);
    return pem;
}

/* "'NAME': {…}" of these PEM texts. */
static SL_UNUSED const char *signer_of(const char *name, const char *more, const char *first,
                                       const char *second)
{
    return sl_arena_printf(&arena, "'%s': {'issuer': 'https://gw.test'%s, 'keys': ['%s'%s%s%s]}", name, more,
                           first, second ? ", '" : "", second ? second : "", second ? "'" : "");
}

/* A policy with these signers and sections; NULL with *diag, which the caller frees, where it does not
 * compile. */
static SL_UNUSED struct sl_policy *signing_policy(const char *signers, const char *sections,
                                                  struct sl_diag *diag)
{
    struct sl_policy *p = NULL;
    sl_diag_init(diag);
    const char *text = sl_arena_printf(&arena,
                                       "{'version': 1, 'listeners': {'main': {'bind': ['127.0.0.1:8080']}},"
                                       "'signers': {%s}, %s}",
                                       signers, sections);
    struct sl_snapshot *s = snapshot_of(text, diag);
    (void)!sl_policy_check(s, diag, &p);
    sl_snapshot_unref(s);
    return p;
}
#define PLAIN                                                           \
    "'upstreams': {'u': {'targets': [{'address': '127.0.0.1:9000'}]}}," \
    "'routes': {'r': {'upstream': 'u', 'auth': ['public']}}"

#endif
