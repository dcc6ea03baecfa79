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

void sl_bufpool_return(struct sl_bufpool *p, struct sl_buf *b)
{
    if (!b->base)
        return;
    p->lent -= SL_MIN(p->lent, (size_t)SL_CHUNK);
    if (b->cap == SL_CHUNK && p->n_spare < SL_BUFPOOL_RETAIN) {
        p->spare[p->n_spare++] = b->base;
        *b = (struct sl_buf){0};
    } else {
        sl_buf_free(b);
    }
}

void sl_bufpool_close(struct sl_bufpool *p)
{
    while (p->n_spare)
        free(p->spare[--p->n_spare]);
}
