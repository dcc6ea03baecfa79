/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte queue: written at the end, read at the start.
 *
 *      base        base+start          base+end        base+cap
 *        | consumed    | data: sl_buf_data() | room: sl_buf_room() |
 *
 * Invariant: start <= end <= cap; start == end implies both are 0 after sl_buf_consume.
 */
#ifndef SL_BASE_BUF_H
#define SL_BASE_BUF_H

#include "base/macros.h"
#include "base/slice.h"

struct sl_buf {
    char *base;
    size_t start, end, cap;
};

static inline size_t sl_buf_len(const struct sl_buf *b)
{
    return b->end - b->start;
}
static inline char *sl_buf_data(const struct sl_buf *b)
{
    return b->start ? b->base + b->start : b->base; /* NULL + 0 is undefined before C2y */
}
static inline size_t sl_buf_room(const struct sl_buf *b)
{
    return b->cap - b->end;
}
static inline struct sl_slice sl_buf_slice(const struct sl_buf *b)
{
    return sl_slice(sl_buf_data(b), b->end - b->start);
}
/* Forgets n bytes at the start. */
static inline void sl_buf_consume(struct sl_buf *b, size_t n)
{
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}
/* Counts n bytes, written into the room, as data. */
static inline void sl_buf_commit(struct sl_buf *b, size_t n)
{
    b->end += n;
}

/* Out of line part of sl_buf_reserve. */
int sl_buf_make_room(struct sl_buf *b, size_t n) SL_MUST_CHECK;
/* Makes room for n more bytes, moving data to the front or growing; 0 or -ENOMEM. Pointers into it die. */
SL_MUST_CHECK static inline int sl_buf_reserve(struct sl_buf *b, size_t n)
{
    return b->cap - b->end >= n ? 0 : sl_buf_make_room(b, n);
}
SL_MUST_CHECK static inline int sl_buf_append(struct sl_buf *b, const void *p, size_t n)
{
    int r = sl_buf_reserve(b, n);
    if (r == 0 && n) {
        memcpy(b->base + b->end, p, n);
        b->end += n;
    }
    return r;
}
SL_MUST_CHECK static inline int sl_buf_append_slice(struct sl_buf *b, struct sl_slice s)
{
    return sl_buf_append(b, s.p, s.n);
}
int sl_buf_printf(struct sl_buf *b, const char *fmt, ...) SL_PRINTF(2, 3) SL_MUST_CHECK;
/* Appends s as the inside of a JSON string: quotes, backslashes, control bytes and invalid UTF-8 escaped. */
int sl_buf_append_json(struct sl_buf *b, struct sl_slice s) SL_MUST_CHECK;
/* Frees the memory; the buffer is empty and usable again. */
void sl_buf_free(struct sl_buf *b);
#define SL_BUF SL_CLEANUP(sl_buf_free)
/* The same for one that held a secret: all of its memory is overwritten first. */
void sl_buf_wipe(struct sl_buf *b);
#define SL_BUF_WIPED SL_CLEANUP(sl_buf_wipe)

#endif
