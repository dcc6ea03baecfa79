/* SPDX-License-Identifier: Apache-2.0 */
/* Who else succeeds from an address: over time, over the table's ends, and noted by several workers at once.
 */
#include "telemetry/neighbours.h"

#include "base/clock.h"
#include "base/hash.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#define NOW    (1000 * SL_NS_PER_SEC)
#define WITHIN (10 * SL_NS_PER_SEC)

static uint64_t all[SL_SHARED_NEIGHBOURS][SL_SHARED_NEIGHBOURS_ROW];

static int empty(void **state)
{
    (void)state;
    memset(all, 0, sizeof(all));
    return 0;
}

static uint64_t hash(uint64_t n)
{
    return sl_hash(&n, sizeof(n), 42);
}

/* A source whose hash falls into the first row, and no two alike. */
static uint64_t of_first_row(uint64_t n)
{
    return hash(n) & ~(2ull * SL_SHARED_NEIGHBOURS - 1);
}

static bool others(uint64_t source, uint64_t identity, uint64_t now)
{
    return sl_neighbours_succeed(all, source, identity, now, WITHIN);
}

static void test_another_identity_is_a_neighbour_while_it_is_young(void **state)
{
    (void)state;
    const uint64_t home = hash(1), elsewhere = hash(2), acme = hash(3), other = hash(4);
    assert_false(others(home, acme, NOW));
    sl_neighbours_note(all, home, acme, NOW);
    assert_false(others(home, acme, NOW));
    assert_true(others(home, other, NOW));
    assert_false(others(elsewhere, other, NOW));
    assert_true(others(home, other, NOW + WITHIN));
    assert_false(others(home, other, NOW + WITHIN + SL_NS_PER_SEC));
    sl_neighbours_note(all, home, acme, NOW + WITHIN);
    assert_true(others(home, other, NOW + WITHIN + SL_NS_PER_SEC));
}

static void test_a_worker_whose_clock_is_behind_sees_it_too(void **state)
{
    (void)state;
    sl_neighbours_note(all, hash(1), hash(3), NOW + SL_NS_PER_SEC / 2);
    assert_true(others(hash(1), hash(4), NOW));
}

static void test_a_source_with_many_identities_takes_no_more_than_its_share(void **state)
{
    (void)state;
    const uint64_t crowd = of_first_row(1), quiet = of_first_row(2), acme = hash(3), other = hash(4);
    sl_neighbours_note(all, quiet, acme, NOW);
    for (uint64_t i = 0; i < 1000; i++)
        sl_neighbours_note(all, crowd, hash(100 + i), NOW + i * SL_NS_PER_MS);
    assert_true(others(quiet, other, NOW + SL_NS_PER_SEC));
    assert_true(others(crowd, other, NOW + SL_NS_PER_SEC));
    unsigned taken = 0;
    for (size_t i = 0; i < SL_SHARED_NEIGHBOURS_ROW; i++)
        taken += all[0][i] != 0;
    assert_int_equal(taken, 1 + SL_NEIGHBOURS_OF_A_SOURCE);
}

static void test_a_full_row_forgets_the_oldest(void **state)
{
    (void)state;
    const uint64_t acme = hash(3), other = hash(4), end = NOW + 4 * SL_NS_PER_SEC;
    for (uint64_t i = 0; i <= SL_SHARED_NEIGHBOURS_ROW; i++)
        sl_neighbours_note(all, of_first_row(i), acme, NOW + i * SL_NS_PER_SEC / 4);
    assert_false(others(of_first_row(0), other, end));
    for (uint64_t i = 1; i <= SL_SHARED_NEIGHBOURS_ROW; i++)
        assert_true(others(of_first_row(i), other, end));
}

/* ---- two workers that meet addresses for the first time at the same moment */

#define ROUNDS    4000
#define ADDRESSES 64

static atomic_uint arrived;

/* Spinning, so that both go on at once; but not for ever, where they share a processor. */
static void meet(unsigned nth)
{
    atomic_fetch_add(&arrived, 1);
    for (unsigned i = 0; atomic_load(&arrived) < 2 * nth; i++)
        if (i > 20000)
            sched_yield();
}

/* Each on a processor of its own, where there are two: else one would seldom be interrupted where it matters.
 */
static void keep_to_processor(unsigned nth)
{
    cpu_set_t all_of_them, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(all_of_them), &all_of_them) < 0)
        return;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all_of_them) && nth-- == 0) {
            CPU_SET(i, &one);
            (void)sched_setaffinity(0, sizeof(one), &one);
            return;
        }
}

struct worker {
    uint64_t identity;
    unsigned processor, lost;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    keep_to_processor(w->processor);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint64_t now = NOW + i * SL_NS_PER_SEC;
        meet(2 * i + 1);
        for (unsigned k = 0; k < ADDRESSES; k++)
            sl_neighbours_note(all, hash(i * ADDRESSES + k), w->identity, now);
        meet(2 * i + 2);
        for (unsigned k = 0; k < ADDRESSES; k++)
            w->lost += !others(hash(i * ADDRESSES + k), w->identity, now);
    }
    return NULL;
}

static void test_no_success_is_lost_between_workers(void **state)
{
    (void)state;
    pthread_t t;
    struct worker a = {.identity = hash(3), .processor = 0}, b = {.identity = hash(4), .processor = 1};
    atomic_store(&arrived, 0);
    assert_int_equal(pthread_create(&t, NULL, work, &a), 0);
    work(&b);
    assert_int_equal(pthread_join(t, NULL), 0);
    if (a.lost + b.lost)
        fail_msg("%u of %u successes were lost", a.lost + b.lost, 2 * ROUNDS * ADDRESSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_another_identity_is_a_neighbour_while_it_is_young, empty),
        cmocka_unit_test_setup(test_a_worker_whose_clock_is_behind_sees_it_too, empty),
        cmocka_unit_test_setup(test_a_source_with_many_identities_takes_no_more_than_its_share, empty),
        cmocka_unit_test_setup(test_a_full_row_forgets_the_oldest, empty),
        cmocka_unit_test_setup(test_no_success_is_lost_between_workers, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
