/* SPDX-License-Identifier: Apache-2.0 */
/* Requests at once over several workers: never more than the limit, nothing leaked by who dies, rows reused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/flight.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

static struct sl_flights *table;

static int setup(void **state)
{
    (void)state;
    table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return table == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(table, sizeof(*table));
}

static enum sl_flight_result take(uint32_t self, uint64_t key, uint32_t max, uint32_t *row)
{
    return sl_flight_take(table, WORKERS, self, key, max, row);
}

static void test_over_all_workers(void **state)
{
    (void)state;
    uint32_t row[WORKERS], other;
    for (uint32_t w = 0; w < WORKERS; w++)
        assert_int_equal(take(w, 7, WORKERS, &row[w]), SL_FLIGHT_TAKEN);
    assert_int_equal(sl_flight_held(table, WORKERS, 7), WORKERS);
    assert_int_equal(take(0, 7, WORKERS, &other), SL_FLIGHT_REFUSED);
    assert_int_equal(sl_flight_held(table, WORKERS, 7), WORKERS);
    assert_int_equal(take(0, 8, 1, &other), SL_FLIGHT_TAKEN);
    sl_flight_give(table, 2, row[2]);
    assert_int_equal(take(1, 7, WORKERS, &other), SL_FLIGHT_TAKEN);
    assert_int_equal(take(1, 7, WORKERS, &other), SL_FLIGHT_REFUSED);
    assert_int_equal(take(1, 7, WORKERS + 1, &other), SL_FLIGHT_TAKEN); /* a raised limit */
}

static void test_key_zero(void **state)
{
    (void)state;
    uint32_t row;
    assert_int_equal(take(0, 0, 1, &row), SL_FLIGHT_TAKEN);
    assert_int_equal(take(1, 0, 1, &row), SL_FLIGHT_REFUSED);
    assert_int_equal(sl_flight_held(table, WORKERS, 0), 1);
}

static void test_what_the_dead_held_is_free(void **state)
{
    (void)state;
    uint32_t row;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(take(1, 7, 6, &row), SL_FLIGHT_TAKEN);
    assert_int_equal(take(2, 7, 6, &row), SL_FLIGHT_TAKEN);
    assert_int_equal(take(2, 7, 6, &row), SL_FLIGHT_REFUSED);
    sl_flights_forget(table, 1);
    assert_int_equal(sl_flight_held(table, WORKERS, 7), 1);
    sl_flight_give(table, 2, row);
    assert_int_equal(sl_flight_held(table, WORKERS, 7), 0);
}

/* Keys that meet in one probe window: idle rows change hands, busy ones do not. */
static void test_rows_are_reused_and_a_full_window_says_so(void **state)
{
    (void)state;
    uint32_t rows[SL_FLIGHT_PROBES], row;
    for (uint64_t i = 0; i < SL_FLIGHT_PROBES; i++)
        assert_int_equal(take(0, 5 + (i << 32), 1, &rows[i]), SL_FLIGHT_TAKEN);
    assert_int_equal(take(0, 5 + (99ull << 32), 1, &row), SL_FLIGHT_FULL);
    sl_flight_give(table, 0, rows[3]);
    assert_int_equal(take(0, 5 + (99ull << 32), 1, &row), SL_FLIGHT_TAKEN);
    assert_int_equal(row, rows[3]);
    assert_int_equal(take(1, 5 + (98ull << 32), 1, &row), SL_FLIGHT_FULL);
}

static void test_one_worker_holds_no_more_than_its_column(void **state)
{
    (void)state;
    uint32_t row;
    for (unsigned i = 0; i < SL_FLIGHT_MAX; i++)
        assert_int_equal(take(0, 7, UINT32_MAX, &row), SL_FLIGHT_TAKEN);
    assert_int_equal(take(0, 7, UINT32_MAX, &row), SL_FLIGHT_REFUSED);
    assert_int_equal(take(1, 7, UINT32_MAX, &row), SL_FLIGHT_TAKEN);
    assert_int_equal(sl_flight_held(table, WORKERS, 7), SL_FLIGHT_MAX + 1);
}

/* Four processes, a limit of two, keys that share rows: at no time are more than two under way. */
static void test_never_more_than_the_limit(void **state)
{
    (void)state;
    struct {
        uint32_t under_way[4], worst, taken;
    } *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    for (uint32_t w = 0; w < WORKERS; w++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        for (unsigned i = 0; pid == 0 && i < 20000; i++) {
            const uint64_t k = (i + w) % 4;
            uint32_t row;
            if (take(w, 5 + (k << 32), 2, &row) != SL_FLIGHT_TAKEN)
                continue;
            const uint32_t n = __atomic_add_fetch(&s->under_way[k], 1, __ATOMIC_SEQ_CST);
            if (n > 2)
                s->worst = n;
            (void)__atomic_add_fetch(&s->taken, 1, __ATOMIC_SEQ_CST);
            if (i % 16 == 0)
                (void)sched_yield();
            (void)__atomic_sub_fetch(&s->under_way[k], 1, __ATOMIC_SEQ_CST);
            sl_flight_give(table, w, row);
        }
        if (pid == 0)
            _exit(0);
    }
    for (uint32_t w = 0; w < WORKERS; w++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(s->worst, 0);
    assert_true(s->taken > 1000);
    for (uint64_t k = 0; k < 4; k++)
        assert_int_equal(sl_flight_held(table, WORKERS, 5 + (k << 32)), 0);
    (void)munmap(s, sizeof(*s));
}

#define flight_test(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        flight_test(test_over_all_workers),
        flight_test(test_key_zero),
        flight_test(test_what_the_dead_held_is_free),
        flight_test(test_rows_are_reused_and_a_full_window_says_so),
        flight_test(test_one_worker_holds_no_more_than_its_column),
        flight_test(test_never_more_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
