/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's table of who asks for what: rows that stay, rows that change hands, and a set that is full. */
#include "telemetry/demand.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int new_table(void **state)
{
    *state = aligned_alloc(SL_CACHE_LINE, SL_DEMAND_ROWS * sizeof(struct sl_demand_row));
    if (*state)
        memset(*state, 0, SL_DEMAND_ROWS * sizeof(struct sl_demand_row));
    return *state ? 0 : -1;
}

static int drop_table(void **state)
{
    free(*state);
    return 0;
}

static void a_key_says_what_it_is_of(void **state)
{
    (void)state;
    const uint64_t key = sl_demand_key(12287, SL_ASKER_NAME, UINT64_MAX);
    assert_int_equal(sl_demand_route(key), 12287);
    assert_int_equal(sl_demand_asker(key), SL_ASKER_NAME);
    assert_true(sl_demand_subject(key) == 0xffffffffffff);
    const uint64_t all = sl_demand_of_all_routes(key);
    assert_int_equal(sl_demand_route(all), SL_DEMAND_ALL_ROUTES);
    assert_true(sl_demand_subject(all) == sl_demand_subject(key) && sl_demand_asker(all) == SL_ASKER_NAME);
    assert_true(sl_demand_key(0, SL_ASKER_CONSUMER, 0) != 0);
    assert_int_equal(sl_demand_window(1), 0);
    assert_int_equal(sl_demand_window(60), 1);
    assert_int_equal(sl_demand_window(3600), 2);
    assert_int_equal(sl_demand_window(86400), 3);
}

static void a_pair_keeps_its_row(void **state)
{
    struct sl_demand_row *rows = *state, seen;
    struct sl_demand_row *r = sl_demand_take(rows, 7, 100);
    r->asked = 3;
    r->refused[SL_DEMAND_OWN][1] = 2;
    assert_ptr_equal(sl_demand_take(rows, 7, 100000), r);
    assert_true(sl_demand_read(r, &seen));
    assert_true(seen.key == 7 && seen.asked == 3 && seen.refused[SL_DEMAND_OWN][1] == 2);
    assert_int_equal(seen.touched_s, 100000);
    size_t used = 0;
    for (size_t i = 0; i < SL_DEMAND_ROWS; i++)
        used += sl_demand_read(&rows[i], &seen);
    assert_int_equal(used, 1);
}

/* Keys that share the set of the first. */
static size_t neighbours(struct sl_demand_row *rows, uint64_t *keys, size_t n)
{
    const size_t set = (size_t)(sl_demand_take(rows, 1, 0) - rows) / SL_DEMAND_WAYS;
    size_t found = 0;
    struct sl_demand_row *probe = aligned_alloc(SL_CACHE_LINE, SL_DEMAND_ROWS * sizeof(*probe));
    for (uint64_t k = 2; found < n; k++) {
        memset(probe, 0, SL_DEMAND_ROWS * sizeof(*probe));
        if ((size_t)(sl_demand_take(probe, k, 0) - probe) / SL_DEMAND_WAYS == set)
            keys[found++] = k;
    }
    free(probe);
    return found;
}

static void a_full_set_takes_nobody_until_one_is_idle(void **state)
{
    struct sl_demand_row *rows = *state;
    uint64_t keys[SL_DEMAND_WAYS];
    (void)neighbours(rows, keys, SL_DEMAND_WAYS);
    sl_demand_take(rows, 1, 1000)->asked = 9;
    for (size_t i = 0; i + 1 < SL_DEMAND_WAYS; i++)
        assert_non_null(sl_demand_take(rows, keys[i], 1005));
    const uint64_t last = keys[SL_DEMAND_WAYS - 1];
    assert_null(sl_demand_take(rows, last, 1000 + SL_DEMAND_IDLE_S));
    struct sl_demand_row *r = sl_demand_take(rows, last, 1001 + SL_DEMAND_IDLE_S);
    assert_non_null(r);
    assert_true(r->key == last && r->asked == 0);
    assert_null(sl_demand_take(rows, 1, 1001 + SL_DEMAND_IDLE_S));
}

/* One key after another, none of them twice, in the one row of their set that is ever idle, whose count is
 * the key's: a reader never sees the one with the other. */
struct race {
    struct sl_demand_row *rows, *set, *probe;
    atomic_bool enough; /* was read */
};

static void *changing_hands(void *arg)
{
    struct race *r = arg;
    const ptrdiff_t set = r->set - r->rows;
    uint64_t key = 1;
    for (uint32_t now_s = 100; !atomic_load(&r->enough); now_s += 100) {
        do
            key++;
        while ((sl_demand_take(r->probe, key, (uint32_t)key * 100) - r->probe) / SL_DEMAND_WAYS !=
               set / SL_DEMAND_WAYS);
        for (size_t w = 1; w < SL_DEMAND_WAYS; w++)
            r->set[w].touched_s = now_s;
        struct sl_demand_row *row = sl_demand_take(r->rows, key, now_s);
        if (row)
            __atomic_store_n(&row->asked, (uint32_t)row->key, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void a_row_that_changes_hands_is_never_read_as_both(void **state)
{
    struct race r = {.rows = *state};
    pthread_t t;
    uint64_t last = 0;
    assert_int_equal(new_table((void **)&r.probe), 0);
    r.set = sl_demand_take(r.rows, 1, 0);
    for (size_t w = 1; w < SL_DEMAND_WAYS; w++)
        r.set[w].key = 1;
    assert_int_equal(pthread_create(&t, NULL, changing_hands, &r), 0);
    for (unsigned changes = 0; changes < 200;) {
        struct sl_demand_row row;
        if (!sl_demand_read(r.set, &row) || row.key == 1)
            continue;
        assert_true(row.asked == 0 || row.asked == (uint32_t)row.key);
        changes += row.key != last;
        last = row.key;
    }
    atomic_store(&r.enough, true);
    (void)pthread_join(t, NULL);
    free(r.probe);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_table, drop_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_says_what_it_is_of),
        TEST(a_pair_keeps_its_row),
        TEST(a_full_set_takes_nobody_until_one_is_idle),
        TEST(a_row_that_changes_hands_is_never_read_as_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
