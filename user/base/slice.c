/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice.h"

#include <errno.h>

#define SL_ONES (~(uint64_t)0 / 255)

/* Eight bytes with their ASCII capitals in lower case: sums of seven bits carry into the eighth, never into
 * the next byte. */
static uint64_t _sl_lower8(uint64_t x)
{
    const uint64_t low = x & SL_ONES * 0x7f;
    const uint64_t from_a = low + SL_ONES * (0x80 - 'A'), past_z = low + SL_ONES * (0x7f - 'Z');
    const uint64_t capital = from_a & ~past_z & ~x & SL_ONES * 0x80;
    return x | capital >> 2;
}

bool sl_slice_has_control(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

bool sl_slice_ieq(struct sl_slice a, struct sl_slice b)
{
    uint64_t x, y;
    size_t i = 0;
    if (a.n != b.n)
        return false;
    for (; i + 8 < a.n; i += 8) {
        memcpy(&x, a.p + i, 8);
        memcpy(&y, b.p + i, 8);
        if (x != y && _sl_lower8(x) != _sl_lower8(y))
            return false;
    }
    x = sl_load_ends(a.p + i, a.n - i);
    y = sl_load_ends(b.p + i, b.n - i);
    return x == y || _sl_lower8(x) == _sl_lower8(y);
}

bool sl_slice_starts(struct sl_slice s, struct sl_slice prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

ssize_t sl_slice_chr(struct sl_slice s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}

bool sl_slice_next(struct sl_slice *rest, char sep, struct sl_slice *part)
{
    if (!rest->p)
        return false;
    ssize_t at = sl_slice_chr(*rest, sep);
    if (at < 0) {
        *part = *rest;
        *rest = SL_SLICE_NUL;
        return true;
    }
    *part = sl_slice(rest->p, (size_t)at);
    *rest = sl_slice(rest->p + at + 1, rest->n - (size_t)at - 1);
    return true;
}

int sl_slice_u64(struct sl_slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return -ERANGE;
    }
    *out = v;
    return 0;
}

/* The two digits of each number below a hundred. */
#define SL_TEN(d) d "0" d "1" d "2" d "3" d "4" d "5" d "6" d "7" d "8" d "9"
static const char _sl_pairs[] = SL_TEN("0") SL_TEN("1") SL_TEN("2") SL_TEN("3") SL_TEN("4") SL_TEN("5")
    SL_TEN("6") SL_TEN("7") SL_TEN("8") SL_TEN("9");

char *sl_put_u64(char *p, uint64_t v)
{
    char digits[SL_U64_DIGITS];
    size_t at = sizeof(digits);
    for (; v >= 100; v /= 100)
        memcpy(digits + (at -= 2), _sl_pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(digits + (at -= 2), _sl_pairs + v * 2, 2);
    else
        digits[--at] = (char)('0' + v);
    memcpy(p, digits + at, sizeof(digits) - at);
    return p + sizeof(digits) - at;
}

size_t sl_slice_utf8(struct sl_slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}
