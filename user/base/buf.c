/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int sl_buf_make_room(struct sl_buf *b, size_t n)
{
    size_t len = sl_buf_len(b);
    if (b->start && b->cap - len >= n) {
        memmove(b->base, b->base + b->start, len);
        b->start = 0;
        b->end = len;
        return 0;
    }
    if (n > SIZE_MAX / 4 || b->cap > SIZE_MAX / 4)
        return -ENOMEM;
    size_t cap = SL_MAX(b->cap * 2, (size_t)512);
    while (cap - len < n)
        cap *= 2;
    char *p = malloc(cap);
    if (!p)
        return -ENOMEM;
    if (len)
        memcpy(p, b->base + b->start, len);
    free(b->base);
    *b = (struct sl_buf){.base = p, .start = 0, .end = len, .cap = cap};
    return 0;
}

int sl_buf_printf(struct sl_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int r = n < 0 ? -EINVAL : sl_buf_reserve(b, (size_t)n + 1);
    if (r == 0) {
        (void)vsnprintf(b->base + b->end, (size_t)n + 1, fmt, again);
        b->end += (size_t)n;
    }
    va_end(again);
    return r;
}

/* Bytes at the beginning of s that stand for themselves in a JSON string. */
static size_t _sl_plain_json(struct sl_slice s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7f && s.p[n] != '"' && s.p[n] != '\\')
        n++;
    return n;
}

int sl_buf_append_json(struct sl_buf *b, struct sl_slice s)
{
    int r = sl_buf_reserve(b, s.n + 16);
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; r == 0 && i < s.n;) {
        const size_t plain = _sl_plain_json(sl_slice(s.p + i, s.n - i));
        if (plain) {
            r = sl_buf_append(b, p + i, plain);
            i += plain;
            continue;
        }
        size_t len = sl_slice_utf8(sl_slice(s.p + i, s.n - i));
        if (len == 0 || p[i] < 0x20 || p[i] == 0x7f) {
            r = sl_buf_printf(b, "\\u%04x", p[i]);
            i++;
            continue;
        }
        if (p[i] == '"' || p[i] == '\\')
            r = sl_buf_append(b, "\\", 1);
        if (r == 0)
            r = sl_buf_append(b, p + i, len);
        i += len;
    }
    return r;
}

void sl_buf_free(struct sl_buf *b)
{
    free(b->base);
    *b = (struct sl_buf){0};
}

void sl_buf_wipe(struct sl_buf *b)
{
    if (b->base)
        explicit_bzero(b->base, b->cap);
    sl_buf_free(b);
}
