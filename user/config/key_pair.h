/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two halves of a key belong together. */
#ifndef SL_CONFIG_KEY_PAIR_H
#define SL_CONFIG_KEY_PAIR_H

#include <openssl/evp.h>
#include <stdbool.h>

/* Whether `public` (NULL: none) verifies what key signs: comparing public halves would miss a damaged secret
 * one. OpenSSL's error queue may hold why not. */
bool sl_key_signs_for(EVP_PKEY *key, EVP_PKEY *public);

#endif
