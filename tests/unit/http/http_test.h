/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the codec share: an arena, limits, and parsing of a literal that lives as long as the
 * test. */
#ifndef SL_TEST_HTTP_H
#define SL_TEST_HTTP_H

#include "harness/arena.h"
#include "http/h1.h"

static SL_UNUSED const struct sl_h1_limits limits = {.head = 32768, .header_count = 100, .target = 8192};

/* A heap copy of exactly these bytes, so that a sanitizer sees a read past the end; the arena does not own
 * it. */
static SL_UNUSED struct sl_slice exact(struct sl_slice s)
{
    char *p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    memcpy(p, s.p, s.n);
    return sl_slice(p, s.n);
}

#define assert_error(got, want) assert_string_equal(sl_h1_error_name(got), sl_h1_error_name(want))

#define unit_test_arena(f) cmocka_unit_test_setup_teardown(f, with_arena, drop_arena)

#endif
