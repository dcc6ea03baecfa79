/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: alignment, growth, what stays over a reset, what does not. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_nothing_until_asked(void **state)
{
    (void)state;
    struct sl_arena a;
    sl_arena_init(&a, 0);
    assert_int_equal(a.total, 0);
    assert_int_equal(a.block_size, 4096);
    sl_arena_reset(&a);
    sl_arena_free(&a);
    assert_int_equal(a.total, 0);
}

/* Aligned, disjoint, and all of it writable: each allocation keeps its own pattern to the end. */
static void test_allocations_do_not_touch(void **state)
{
    (void)state;
    enum { N = 500 };
    struct sl_arena a;
    unsigned char *p[N];
    size_t size[N], sum = 0;
    sl_arena_init(&a, 1024);
    for (unsigned i = 0; i < N; i++) {
        size[i] = i * 37 % 300 + (i % 50 == 0 ? 5000 : 0);
        sum += size[i];
        p[i] = sl_arena_alloc(&a, size[i]);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i & 255), size[i]);
    }
    for (unsigned i = 0; i < N; i++)
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(p[i][k], i & 255);
    assert_true(a.total >= sum);
    sl_arena_free(&a);
    assert_int_equal(a.total, 0);
}

static void test_reset_keeps_one_block(void **state)
{
    (void)state;
    struct sl_arena a;
    sl_arena_init(&a, 1024);
    void *first = sl_arena_alloc(&a, 100);
    assert_non_null(first);
    sl_arena_reset(&a);
    assert_int_equal(a.total, 1024);
    assert_ptr_equal(sl_arena_alloc(&a, 100), first); /* no malloc per request */
    for (unsigned i = 0; i < 100; i++)
        assert_non_null(sl_arena_alloc(&a, 1000));
    assert_true(a.total > 50 * 1024);
    sl_arena_reset(&a);
    assert_int_equal(a.total, 1024);
    assert_non_null(sl_arena_alloc(&a, 100000)); /* and a huge one does not stay with the connection */
    sl_arena_reset(&a);
    assert_int_equal(a.total, 0);
    assert_non_null(sl_arena_alloc(&a, 1));
    sl_arena_free(&a);
}

static void test_too_much(void **state)
{
    (void)state;
    struct sl_arena a;
    sl_arena_init(&a, 0);
    assert_null(sl_arena_alloc(&a, SIZE_MAX));
    assert_null(sl_arena_alloc(&a, SIZE_MAX - 8)); /* rounding up must not wrap */
    assert_null(sl_arena_zalloc(&a, SIZE_MAX));
    assert_int_equal(a.total, 0);
}

static void test_copies(void **state)
{
    (void)state;
    struct sl_arena a;
    char text[] = "abc";
    sl_arena_init(&a, 64);
    const struct sl_slice c = sl_arena_copy(&a, sl_slice(text, 2));
    text[0] = 'x';
    assert_int_equal(c.n, 2);
    assert_string_equal(c.p, "ab"); /* terminated past its length */
    assert_string_equal(sl_arena_strdup(&a, SL_SLICE_NUL), "");
    const struct sl_slice empty = sl_arena_copy(&a, SL_S(""));
    assert_non_null(empty.p);
    assert_int_equal(empty.n, 0);
    char *s = sl_arena_printf(&a, "%s/%d/%0100d", "x", 5, 0);
    assert_int_equal(strlen(s), 104);
    assert_memory_equal(s, "x/5/000", 7);
    unsigned char *z = sl_arena_zalloc(&a, 3000);
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(z[i], 0);
    memset(z, 1, 3000);
    sl_arena_reset(&a);
    z = sl_arena_zalloc(&a, 40);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(z[i], 0);
    sl_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_until_asked),
        cmocka_unit_test(test_allocations_do_not_touch),
        cmocka_unit_test(test_reset_keeps_one_block),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
