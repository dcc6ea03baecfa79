/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/b64_priv.h"

#include <errno.h>
#include <string.h>

/* A letter's value and one; 0: none of the alphabet. */
/* clang-format off */
static const uint8_t _sl_values[256] = {
    ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
    ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
    ['-'] = 63, ['_'] = 64,
};
/* clang-format on */

/* The 24 bits of four letters; more than that where one is none: its minus one has all bits above, too. */
static uint32_t _sl_four(const char p[4])
{
    const unsigned char *u = (const unsigned char *)p;
    return (_sl_values[u[0]] - 1u) << 18 | (_sl_values[u[1]] - 1u) << 12 | (_sl_values[u[2]] - 1u) << 6 |
           (_sl_values[u[3]] - 1u);
}

/* The two or three letters at the end: as four, of which the missing ones are zero. */
static int _sl_tail(struct sl_slice in, unsigned char *out)
{
    char four[4] = "AAAA";
    memcpy(four, in.p, in.n);
    const uint32_t bits = _sl_four(four), left = in.n == 2 ? 0xffff : 0xff;
    if (bits >> 24 || bits & left)
        return -EINVAL;
    out[0] = (unsigned char)(bits >> 16);
    if (in.n == 3)
        out[1] = (unsigned char)(bits >> 8);
    return 0;
}

int sl_b64_decode(struct sl_slice in, unsigned char *out, size_t *len)
{
    const size_t tail = in.n % 4, whole = in.n - tail;
    if (tail == 1)
        return -EINVAL;
    for (size_t i = 0; i < whole; i += 4) {
        const uint32_t bits = _sl_four(in.p + i);
        if (bits >> 24)
            return -EINVAL;
        *out++ = (unsigned char)(bits >> 16);
        *out++ = (unsigned char)(bits >> 8);
        *out++ = (unsigned char)bits;
    }
    *len = whole / 4 * 3 + (tail ? tail - 1 : 0);
    return tail ? _sl_tail(sl_slice(in.p + whole, tail), out) : 0;
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
