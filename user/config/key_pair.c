/* SPDX-License-Identifier: Apache-2.0 */
#include "config/key_pair.h"

bool sl_key_signs_for(EVP_PKEY *key, EVP_PKEY *public)
{
    static const unsigned char text[] = "sluice";
    unsigned char signature[2048];
    size_t n = sizeof(signature);
    /* Ed25519 takes no digest */
    const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? NULL : EVP_sha256();
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    bool ok = sign && verify && public && EVP_PKEY_get_id(key) == EVP_PKEY_get_id(public) &&
              EVP_DigestSignInit(sign, NULL, md, NULL, key) == 1 &&
              EVP_DigestSign(sign, signature, &n, text, sizeof(text)) == 1 &&
              EVP_DigestVerifyInit(verify, NULL, md, NULL, public) == 1 &&
              EVP_DigestVerify(verify, signature, n, text, sizeof(text)) == 1;
    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(verify);
    return ok;
}
