/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of a plan: sorted, the later of equal keys wins, bounded. Bringing maps to them is tests/bpf's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/maps.h"
#include "kernel/table_priv.h"

#include <errno.h>

static int put(struct sl_table *t, uint32_t key, uint64_t value)
{
    return sl_table_put(t, &key, &value);
}

static uint64_t get(const struct sl_table *t, uint32_t key)
{
    uint64_t v = UINT64_MAX;
    const void *p = sl_table_get(t, &key);
    if (p)
        memcpy(&v, p, sizeof(v));
    return v;
}

static void test_later_of_equal_keys_wins(void **state)
{
    (void)state;
    struct sl_table t = {.name = "t", .key_size = 4, .value_size = 8, .max = 1000};
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < 1000; i++)
            assert_int_equal(put(&t, (i * 7919) % 1000, round * 10000 + i), 0);
    assert_int_equal(sl_table_seal(&t), 0);
    assert_int_equal(t.n, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(get(&t, (i * 7919) % 1000), 20000 + i);
    assert_int_equal(get(&t, 1000), UINT64_MAX);
    sl_table_free(&t);
    assert_int_equal(sl_table_seal(&t), 0); /* an empty one is fine */
    assert_int_equal(get(&t, 1), UINT64_MAX);
}

static void test_too_many_are_refused_when_distinct(void **state)
{
    (void)state;
    struct sl_table t = {.name = "t", .key_size = 4, .value_size = 8, .max = 3};
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(put(&t, i / 2, i), 0);
    assert_int_equal(sl_table_seal(&t), 0);
    assert_int_equal(put(&t, 99, 1), 0);
    assert_int_equal(sl_table_seal(&t), -ENOSPC);
    sl_table_free(&t);
}

static void test_every_reason_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < SL_REASON_COUNT; i++) {
        assert_true(strlen(sl_reason_name(i)) > 0 && strlen(sl_reason_help(i)) > 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(sl_reason_name(i), sl_reason_name(j));
    }
    assert_string_equal(sl_reason_name(SL_REASON_COUNT), "unknown");
    assert_false(sl_reason_drops(SL_PASS));
    assert_true(sl_reason_drops(SL_DROP_DENIED));
    assert_false(sl_reason_drops(SL_REASON_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_later_of_equal_keys_wins),
        cmocka_unit_test(test_too_many_are_refused_when_distinct),
        cmocka_unit_test(test_every_reason_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
