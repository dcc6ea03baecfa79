/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for sessions and streams: nghttp2 allocates for each frame and stream, in few sizes, so what it
 * gives back is kept by size for the next one. Invariant: each block has its class before it, and at most
 * SL_H2_MEM_KEPT bytes are kept. Sanitizers see every block: in their builds nothing is kept.
 */
#include "http/h2_priv.h"

#include <string.h>

#define SL_STEP 64 /* between classes */

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#define SL_KEPT 0
#else
#define SL_KEPT SL_H2_MEM_KEPT
#endif

struct sl_block {
    _Alignas(max_align_t) size_t class; /* SL_H2_MEM_CLASSES: larger than all of them */
    struct sl_block *next;              /* of those kept */
};

static size_t _sl_size(size_t class)
{
    return (class + 1) * SL_STEP;
}

void *sl_h2_alloc(struct sl_h2_mem *m, size_t n)
{
    const size_t class = n ? (n - 1) / SL_STEP : 0;
    if (class >= SL_H2_MEM_CLASSES) {
        struct sl_block *b = n > SIZE_MAX / 2 ? NULL : malloc(sizeof(*b) + n);
        if (b)
            b->class = SL_H2_MEM_CLASSES;
        return b ? b + 1 : NULL;
    }
    struct sl_block *b = m->kept[class];
    if (b) {
        m->kept[class] = b->next;
        m->bytes -= _sl_size(class);
        return b + 1;
    }
    b = malloc(sizeof(*b) + _sl_size(class));
    if (b)
        b->class = class;
    return b ? b + 1 : NULL;
}

void sl_h2_dealloc(struct sl_h2_mem *m, void *p)
{
    if (!p)
        return;
    struct sl_block *b = (struct sl_block *)p - 1;
    if (b->class >= SL_H2_MEM_CLASSES || m->bytes + _sl_size(b->class) > SL_KEPT) {
        free(b);
        return;
    }
    m->bytes += _sl_size(b->class);
    b->next = m->kept[b->class];
    m->kept[b->class] = b;
}

static void *_sl_malloc(size_t n, void *m)
{
    return sl_h2_alloc(m, n);
}

static void _sl_free(void *p, void *m)
{
    sl_h2_dealloc(m, p);
}

static void *_sl_calloc(size_t n, size_t size, void *m)
{
    size_t all;
    void *p = __builtin_mul_overflow(n, size, &all) ? NULL : sl_h2_alloc(m, all);
    return p ? memset(p, 0, all) : NULL;
}

/* What a block can hold is not known where it is large: the C library does that. */
static void *_sl_realloc(void *p, size_t n, void *m)
{
    if (!p)
        return sl_h2_alloc(m, n);
    struct sl_block *b = (struct sl_block *)p - 1;
    if (b->class >= SL_H2_MEM_CLASSES) {
        b = n > SIZE_MAX / 2 ? NULL : realloc(b, sizeof(*b) + n);
        return b ? b + 1 : NULL;
    }
    if (n <= _sl_size(b->class))
        return p;
    void *q = sl_h2_alloc(m, n);
    if (q)
        memcpy(q, p, _sl_size(b->class));
    if (q)
        sl_h2_dealloc(m, p);
    return q;
}

nghttp2_mem sl_h2_mem_of(struct sl_h2_mem *m)
{
    return (nghttp2_mem){.mem_user_data = m,
                         .malloc = _sl_malloc,
                         .free = _sl_free,
                         .calloc = _sl_calloc,
                         .realloc = _sl_realloc};
}

void sl_h2_mem_close(struct sl_h2_mem *m)
{
    for (size_t i = 0; i < SL_H2_MEM_CLASSES; i++)
        while (m->kept[i]) {
            struct sl_block *b = m->kept[i];
            m->kept[i] = b->next;
            free(b);
        }
    m->bytes = 0;
}
