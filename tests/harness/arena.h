/* SPDX-License-Identifier: Apache-2.0 */
/* An arena for each test, and slices compared. */
#ifndef SL_TESTS_ARENA_H
#define SL_TESTS_ARENA_H

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static SL_UNUSED struct sl_arena arena;

static SL_UNUSED int with_arena(void **state)
{
    (void)state;
    sl_arena_init(&arena, 0);
    return 0;
}

static SL_UNUSED int drop_arena(void **state)
{
    (void)state;
    sl_arena_free(&arena);
    return 0;
}

static SL_UNUSED void assert_slice(struct sl_slice got, const char *want)
{
    if (got.n == strlen(want) && (got.n == 0 || memcmp(got.p, want, got.n) == 0))
        return;
    print_error("got \"%.*s\", want \"%s\"\n", (int)got.n, got.p ? got.p : "", want);
    fail();
}

#endif
