/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bump allocator: many allocations, one free. Blocks are kept over a reset, so that a keep-alive connection
 * allocates nothing per request.
 */
#ifndef SL_BASE_ARENA_H
#define SL_BASE_ARENA_H

#include "base/macros.h"
#include "base/slice.h"

struct sl_arena_block;
struct sl_arena {
    struct sl_arena_block *head; /* the block being filled, then older ones */
    size_t used;                 /* bytes used of head */
    size_t block_size;
    size_t total; /* bytes held, for caps */
};

/* Holds no memory until the first allocation. block_size 0: 4 KiB. */
void sl_arena_init(struct sl_arena *a, size_t block_size);
/* Frees all but the newest block, and starts it anew. */
void sl_arena_reset(struct sl_arena *a);
void sl_arena_free(struct sl_arena *a);
/* 16-byte aligned, not zeroed; NULL when memory is out. */
void *sl_arena_alloc(struct sl_arena *a, size_t n) SL_MUST_CHECK;
/* The same, zeroed. */
void *sl_arena_zalloc(struct sl_arena *a, size_t n) SL_MUST_CHECK;
/* A NUL-terminated copy; the slice returned does not count the NUL. p is NULL when memory is out. */
struct sl_slice sl_arena_copy(struct sl_arena *a, struct sl_slice s);
char *sl_arena_strdup(struct sl_arena *a, struct sl_slice s);
char *sl_arena_printf(struct sl_arena *a, const char *fmt, ...) SL_PRINTF(2, 3);

#endif
