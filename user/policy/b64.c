/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/b64_priv.h"

#include <errno.h>

static int _sl_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int sl_b64_decode(struct sl_slice in, unsigned char *out, size_t *len)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    if (in.n % 4 == 1)
        return -EINVAL;
    for (size_t i = 0; i < in.n; i++) {
        const int v = _sl_value(in.p[i]);
        if (v < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (unsigned char)(bits >> held);
        }
    }
    if (bits & ((1u << held) - 1))
        return -EINVAL;
    *len = n;
    return 0;
}

int sl_b64_decode_arena(struct sl_arena *a, struct sl_slice in, struct sl_slice *out)
{
    size_t n = 0;
    unsigned char *buf = sl_arena_alloc(a, SL_B64_MAX(in.n) + 1);
    if (!buf)
        return -ENOMEM;
    if (sl_b64_decode(in, buf, &n) < 0)
        return -EINVAL;
    buf[n] = '\0';
    *out = sl_slice((const char *)buf, n);
    return 0;
}

size_t sl_b64_encode(struct sl_slice in, char *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        bits = bits << 8 | (unsigned char)in.p[i];
        for (held += 8; held >= 6; held -= 6)
            out[n++] = letters[bits >> (held - 6) & 63];
    }
    if (held)
        out[n++] = letters[bits << (6 - held) & 63];
    return n;
}

struct sl_slice sl_b64_encode_arena(struct sl_arena *a, struct sl_slice in)
{
    char *out = sl_arena_alloc(a, SL_B64_CHARS(in.n) + 1);
    return out ? sl_slice(out, sl_b64_encode(in, out)) : SL_SLICE_NUL;
}
