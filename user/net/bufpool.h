/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O buffers of two sizes, kept for reuse, so that a busy connection borrows memory that is hot in the cache
 * and an idle one holds none.
 */
#ifndef SL_NET_BUFPOOL_H
#define SL_NET_BUFPOOL_H

#include "base/buf.h"

#define SL_CHUNK          16384
#define SL_BUFPOOL_RETAIN 256   /* spare chunks kept: 4 MiB */
#define SL_BULK           65536 /* for bodies that are long: fewer system calls, and larger segments */
#define SL_BUFPOOL_BULK   32    /* of these: 2 MiB */

struct sl_bufpool {
    void *spare[SL_BUFPOOL_RETAIN];
    void *bulk[SL_BUFPOOL_BULK];
    size_t n_spare, n_bulk;
    size_t lent; /* bytes in use, each buffer counted as one chunk */
};

/* Gives b a chunk where it has no memory: 0 or -ENOMEM. */
int sl_bufpool_lend(struct sl_bufpool *p, struct sl_buf *b) SL_MUST_CHECK;
/* Gives a lent b that is empty SL_BULK bytes instead of its chunk, if there is memory for that. */
void sl_bufpool_widen(struct sl_bufpool *p, struct sl_buf *b);
/* Takes b's memory back, with what is in it; b is empty. Buffers of other sizes are freed. NULL memory is
 * fine. */
void sl_bufpool_return(struct sl_bufpool *p, struct sl_buf *b);
void sl_bufpool_close(struct sl_bufpool *p);

#endif
