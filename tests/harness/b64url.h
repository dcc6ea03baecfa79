/* SPDX-License-Identifier: Apache-2.0 */
/* base64url without padding (RFC 7515, 2), by another implementation than the one that is tested. */
#ifndef SL_TESTS_B64URL_H
#define SL_TESTS_B64URL_H

#include "base/arena.h"

#include <openssl/evp.h>
#include <stdlib.h>

static SL_UNUSED struct sl_slice b64url(struct sl_arena *a, struct sl_slice raw)
{
    char *out = sl_arena_alloc(a, raw.n / 3 * 4 + 8);
    if (!out)
        abort();
    int n = EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)raw.p, (int)raw.n);
    while (n && out[n - 1] == '=')
        n--;
    for (int i = 0; i < n; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    return sl_slice(out, (size_t)n);
}

#endif
