/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing depends on the seed; the map keeps what it was given, at any size. */
#include "base/hash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_seeds_matter(void **state)
{
    (void)state;
    assert_true(sl_hash("abc", 3, 1) == sl_hash("abc", 3, 1));
    assert_true(sl_hash("abc", 3, 1) != sl_hash("abc", 3, 2));
    assert_true(sl_hash("abc", 3, 1) != sl_hash("abd", 3, 1));
    assert_true(sl_hash("abc", 2, 1) != sl_hash("abc", 3, 1));
    assert_true(sl_hash(NULL, 0, 1) == sl_hash("", 0, 1));
}

static void test_map(void **state)
{
    (void)state;
    enum { N = 5000 };
    static char keys[N][8];
    struct sl_map m = {0};
    assert_null(sl_map_get(&m, SL_S("x")));
    for (int i = 0; i < N; i++) {
        const int n = snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        assert_int_equal(sl_map_add(&m, sl_slice(keys[i], (size_t)n), keys[i]), 0);
        assert_int_equal(sl_map_add(&m, sl_slice_str(keys[i / 2]), &m), -EEXIST);
    }
    assert_int_equal(m.len, N);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(sl_map_get(&m, sl_slice_str(keys[i])), keys[i]);
    assert_null(sl_map_get(&m, SL_S("k5000")));
    assert_null(sl_map_get(&m, SL_S("k")));
    sl_map_free(&m);
    assert_null(sl_map_get(&m, SL_S("k1")));
}

static void test_the_empty_name_is_a_name(void **state)
{
    (void)state;
    struct sl_map m = {0};
    int v;
    assert_int_equal(sl_map_add(&m, SL_SLICE_NUL, &v), 0);
    assert_ptr_equal(sl_map_get(&m, SL_S("")), &v);
    assert_int_equal(sl_map_add(&m, SL_S(""), &v), -EEXIST);
    sl_map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_matter),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_the_empty_name_is_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
