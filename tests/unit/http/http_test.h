/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the codec share: an arena, limits, and parsing of a literal that lives as long as the
 * test. */
#ifndef SL_TEST_HTTP_H
#define SL_TEST_HTTP_H

#include "http/h1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sl_arena arena;
static SL_UNUSED const struct sl_h1_limits limits = {.head = 32768, .header_count = 100, .target = 8192};

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

/* A heap copy of exactly these bytes, so that a sanitizer sees a read past the end; the arena does not own
 * it. */
static SL_UNUSED struct sl_slice exact(struct sl_slice s)
{
    char *p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    memcpy(p, s.p, s.n);
    return sl_slice(p, s.n);
}

static SL_UNUSED void assert_slice(struct sl_slice got, const char *want)
{
    if (got.n == strlen(want) && (got.n == 0 || memcmp(got.p, want, got.n) == 0))
        return;
    print_error("got \"%.*s\", want \"%s\"\n", (int)got.n, got.p ? got.p : "", want);
    fail();
}

#define assert_error(got, want) assert_string_equal(sl_h1_error_name(got), sl_h1_error_name(want))

#define unit_test_arena(f) cmocka_unit_test_setup_teardown(f, with_arena, drop_arena)

#endif
