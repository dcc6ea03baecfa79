/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers lent, widened and taken back: the memory comes round, and what is counted comes to nothing. */
#include "net/bufpool.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_a_chunk_comes_round(void **state)
{
    struct sl_bufpool p = {0};
    struct sl_buf a = {0}, b = {0};
    (void)state;
    assert_int_equal(sl_bufpool_lend(&p, &a), 0);
    assert_int_equal(p.lent, SL_CHUNK);
    const void *was = a.base;
    sl_bufpool_return(&p, &a);
    assert_null(a.base);
    assert_int_equal(sl_bufpool_lend(&p, &b), 0);
    assert_ptr_equal(b.base, was);
    sl_bufpool_return(&p, &b);
    assert_int_equal(p.lent, 0);
    sl_bufpool_close(&p);
}

static void test_wide_ones_too(void **state)
{
    struct sl_bufpool p = {0};
    struct sl_buf a = {0};
    (void)state;
    sl_bufpool_widen(&p, &a);
    assert_null(a.base); /* what was not lent has nothing to be widened */
    assert_int_equal(sl_bufpool_lend(&p, &a), 0);
    assert_int_equal(sl_buf_append(&a, "x", 1), 0);
    sl_bufpool_widen(&p, &a);
    assert_int_equal(a.cap, SL_CHUNK); /* bytes that are in it stay where they are */
    sl_buf_consume(&a, 1);
    sl_bufpool_widen(&p, &a);
    assert_int_equal(a.cap, SL_BULK);
    assert_int_equal(p.n_spare, 1);
    const void *was = a.base;
    sl_bufpool_return(&p, &a);
    assert_int_equal(p.lent, 0);
    assert_int_equal(sl_bufpool_lend(&p, &a), 0);
    sl_bufpool_widen(&p, &a);
    assert_ptr_equal(a.base, was);
    assert_int_equal(sl_buf_reserve(&a, 2 * SL_BULK), 0); /* grown: it is freed, and counted all the same */
    sl_bufpool_return(&p, &a);
    assert_int_equal(p.lent, 0);
    assert_int_equal(p.n_bulk, 0);
    sl_bufpool_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chunk_comes_round),
        cmocka_unit_test(test_wide_ones_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
