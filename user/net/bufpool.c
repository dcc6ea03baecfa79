/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks are malloc'ed one by one, so that sl_buf_reserve may grow (and free) a lent one like any other
 * buffer. */
#include "net/bufpool.h"

#include <errno.h>

int sl_bufpool_lend(struct sl_bufpool *p, struct sl_buf *b)
{
    if (b->base)
        return 0;
    void *mem = p->n_spare ? p->spare[--p->n_spare] : malloc(SL_CHUNK);
    if (!mem)
        return -ENOMEM;
    *b = (struct sl_buf){.base = mem, .cap = SL_CHUNK};
    p->lent += SL_CHUNK;
    return 0;
}

static void _sl_put(struct sl_bufpool *p, struct sl_buf *b)
{
    if (b->cap == SL_CHUNK && p->n_spare < SL_BUFPOOL_RETAIN)
        p->spare[p->n_spare++] = SL_TAKE_PTR(b->base);
    else if (b->cap == SL_BULK && p->n_bulk < SL_BUFPOOL_BULK)
        p->bulk[p->n_bulk++] = SL_TAKE_PTR(b->base);
    sl_buf_free(b);
}

void sl_bufpool_widen(struct sl_bufpool *p, struct sl_buf *b)
{
    if (!b->base || sl_buf_len(b) || b->cap >= SL_BULK)
        return;
    void *mem = p->n_bulk ? p->bulk[--p->n_bulk] : malloc(SL_BULK);
    if (!mem)
        return;
    _sl_put(p, b);
    *b = (struct sl_buf){.base = mem, .cap = SL_BULK};
}

void sl_bufpool_return(struct sl_bufpool *p, struct sl_buf *b)
{
    if (!b->base)
        return;
    p->lent -= SL_MIN(p->lent, (size_t)SL_CHUNK);
    _sl_put(p, b);
}

void sl_bufpool_close(struct sl_bufpool *p)
{
    while (p->n_spare)
        free(p->spare[--p->n_spare]);
    while (p->n_bulk)
        free(p->bulk[--p->n_bulk]);
}
