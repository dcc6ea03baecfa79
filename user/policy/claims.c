/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/claims_priv.h"

#include "policy/b64_priv.h"

#include <errno.h>
#include <openssl/rand.h>

static int _sl_string(struct sl_buf *b, struct sl_slice text)
{
    int r = sl_buf_append_slice(b, SL_S("\""));
    if (r == 0)
        r = sl_buf_append_json(b, text);
    return r < 0 ? r : sl_buf_append_slice(b, SL_S("\""));
}

/* RFC 7519 section 4.1.3: one audience may stand alone. */
static int _sl_audiences(struct sl_buf *b, const struct sl_strings *list)
{
    int r = sl_claims_name(b, SL_S("aud"));
    if (r == 0 && list->n == 1)
        return _sl_string(b, list->v[0]);
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        r = sl_buf_append_slice(b, i ? SL_S(",") : SL_S("["));
        if (r == 0)
            r = _sl_string(b, list->v[i]);
    }
    return r < 0 ? r : sl_buf_append_slice(b, SL_S("]"));
}

int sl_claims_begin(struct sl_buf *b, const char *issuer, const struct sl_strings *audiences)
{
    int r = sl_buf_append_slice(b, SL_S("{\"iss\":"));
    if (r == 0)
        r = _sl_string(b, sl_slice_str(issuer));
    return r < 0 || !audiences->n ? r : _sl_audiences(b, audiences);
}

int sl_claims_name(struct sl_buf *b, struct sl_slice name)
{
    int r = sl_buf_append_slice(b, SL_S(","));
    if (r == 0)
        r = _sl_string(b, name);
    return r < 0 ? r : sl_buf_append_slice(b, SL_S(":"));
}

int sl_claims_text(struct sl_buf *b, struct sl_slice name, struct sl_slice text)
{
    const int r = sl_claims_name(b, name);
    return r < 0 ? r : _sl_string(b, text);
}

int sl_claims_end(struct sl_buf *b, uint64_t now, uint64_t lifetime_s)
{
    unsigned char bytes[16];
    char jti[SL_JTI_CHARS];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return -EIO;
    (void)sl_b64_encode(sl_slice((const char *)bytes, sizeof(bytes)), jti);
    const unsigned long long iat = now, exp = now + lifetime_s;
    return sl_buf_printf(b, ",\"iat\":%llu,\"nbf\":%llu,\"exp\":%llu,\"jti\":\"%.*s\"}", iat, iat, exp,
                         SL_JTI_CHARS, jti);
}
