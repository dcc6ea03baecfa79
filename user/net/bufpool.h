/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O buffers of one size, kept for reuse, so that a busy connection borrows memory that is hot in the cache
 * and an idle one holds none.
 */
#ifndef SL_NET_BUFPOOL_H
#define SL_NET_BUFPOOL_H

#include "base/buf.h"

#define SL_CHUNK          16384
#define SL_BUFPOOL_RETAIN 256 /* spare chunks kept: 4 MiB */

struct sl_bufpool {
    void *spare[SL_BUFPOOL_RETAIN];
    size_t n_spare;
    size_t lent; /* bytes in use, of chunk-sized buffers */
};

/* Gives b a chunk where it has no memory: 0 or -ENOMEM. */
int sl_bufpool_lend(struct sl_bufpool *p, struct sl_buf *b) SL_MUST_CHECK;
/* Takes b's memory back, with what is in it; b is empty. Grown buffers are freed. NULL memory is fine. */
void sl_bufpool_return(struct sl_bufpool *p, struct sl_buf *b);
void sl_bufpool_close(struct sl_bufpool *p);

#endif
