/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

struct sl_arena_block {
    struct sl_arena_block *next;
    size_t size;
    _Alignas(16) char data[];
};

void sl_arena_init(struct sl_arena *a, size_t block_size)
{
    *a = (struct sl_arena){.block_size = block_size ? block_size : 4096};
}

static void _sl_free_from(struct sl_arena *a, struct sl_arena_block *b)
{
    while (b) {
        struct sl_arena_block *next = b->next;
        a->total -= b->size;
        free(b);
        b = next;
    }
}

void sl_arena_reset(struct sl_arena *a)
{
    if (!a->head)
        return;
    _sl_free_from(a, a->head->next);
    a->head->next = NULL;
    a->used = 0;
    if (a->head->size > 4 * a->block_size) /* one huge request must not stay with the connection */
        sl_arena_free(a);
}

void sl_arena_free(struct sl_arena *a)
{
    _sl_free_from(a, a->head);
    a->head = NULL;
    a->used = 0;
}

static void *_sl_grow(struct sl_arena *a, size_t n)
{
    size_t size = SL_MAX(n, a->block_size);
    struct sl_arena_block *b = malloc(sizeof(*b) + size);
    if (!b)
        return NULL;
    b->size = size;
    b->next = a->head;
    a->head = b;
    a->used = n;
    a->total += size;
    return b->data;
}

void *sl_arena_alloc(struct sl_arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + 15) & ~(size_t)15;
    if (SL_UNLIKELY(!a->head || a->head->size - a->used < n))
        return _sl_grow(a, n);
    void *p = a->head->data + a->used;
    a->used += n;
    return p;
}

void *sl_arena_zalloc(struct sl_arena *a, size_t n)
{
    void *p = sl_arena_alloc(a, n);
    return p ? memset(p, 0, n) : NULL;
}

char *sl_arena_strdup(struct sl_arena *a, struct sl_slice s)
{
    char *p = sl_arena_alloc(a, s.n + 1);
    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct sl_slice sl_arena_copy(struct sl_arena *a, struct sl_slice s)
{
    char *p = sl_arena_strdup(a, s);
    return p ? sl_slice(p, s.n) : SL_SLICE_NUL;
}

char *sl_arena_printf(struct sl_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : sl_arena_alloc(a, (size_t)n + 1);
    if (p)
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
