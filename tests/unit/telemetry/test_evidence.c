/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence by hand: percentiles, periods that take turns, limits that change, and a table that is full. */
#include "telemetry/evidence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SECOND, MINUTE, HOUR, DAY };

static int new_evidence(void **state)
{
    *state = calloc(1, sizeof(struct sl_evidence));
    return *state ? 0 : -1;
}

static int drop_evidence(void **state)
{
    free(*state);
    return 0;
}

static struct sl_evidence_sum sum(const struct sl_evidence *e, int series, unsigned w)
{
    struct sl_evidence_sum s;
    sl_evidence_sum(e, (uint32_t)series, w, &s);
    return s;
}

static void windows_make_a_peak_and_a_percentile(void **state)
{
    struct sl_evidence *e = *state;
    const int s = sl_evidence_new(e, SL_EVIDENCE_ROUTE, "orders");
    for (uint32_t i = 0; i < 1000; i++) { /* 990 quiet minutes, ten busy ones, and some without anything */
        sl_evidence_add(e, s, MINUTE, i < 990 ? 5 : 700 + i % 10);
        sl_evidence_close(e, MINUTE);
        if (i % 2)
            sl_evidence_close(e, MINUTE);
    }
    const struct sl_evidence_sum m = sum(e, s, MINUTE);
    assert_true(m.peak == 709 && m.p99 == 5 && m.busy == 1000 && m.watched == 1500);
    sl_evidence_add(e, s, MINUTE, 700);
    const uint64_t p99 = sum(e, s, MINUTE).p99;
    assert_true(p99 >= 700 && p99 <= 709); /* never over the peak */
    assert_true(sum(e, s, SECOND).busy == 0 && sum(e, s, SECOND).p99 == 0);
}

/* A figure's bucket says at most an eighth more than it is. */
static void figures_of_every_size_are_near_what_they_were(void **state)
{
    struct sl_evidence *e = *state;
    for (uint64_t v = 1; v <= UINT32_MAX; v = v * 9 / 8 + 1) {
        e->n = 0;
        const int s = sl_evidence_new(e, SL_EVIDENCE_ROUTE, "r");
        for (unsigned i = 0; i < 200; i++)
            sl_evidence_add(e, s, HOUR, (uint32_t)v);
        sl_evidence_peak(e, s, HOUR, UINT32_MAX);
        const uint64_t p99 = sum(e, s, HOUR).p99;
        assert_true(p99 >= v && p99 <= v + v / 8);
    }
}

static void a_series_counts_from_its_begin(void **state)
{
    struct sl_evidence *e = *state;
    for (unsigned i = 0; i < 100; i++)
        sl_evidence_close(e, MINUTE);
    const int s = sl_evidence_new(e, SL_EVIDENCE_TIER, "gold");
    sl_evidence_close(e, MINUTE);
    assert_true(sum(e, s, MINUTE).watched == 1 && sum(e, s, MINUTE).bound_of == 1);
}

static void what_another_limit_refused_is_forgotten(void **state)
{
    struct sl_evidence *e = *state;
    const int s = sl_evidence_new(e, SL_EVIDENCE_TIER, "gold");
    sl_evidence_limit(e, s, MINUTE, 600);
    sl_evidence_add(e, s, MINUTE, 780);
    sl_evidence_bound(e, s, MINUTE, false);
    sl_evidence_bound(e, s, MINUTE, true);
    sl_evidence_close(e, MINUTE);
    sl_evidence_close(e, DAY);
    sl_evidence_limit(e, s, MINUTE, 600);
    struct sl_evidence_sum m = sum(e, s, MINUTE);
    assert_true(m.bound == 1 && m.bound_of == 1 && m.bound_days == 1 && m.bound_days_of == 1);
    sl_evidence_limit(e, s, MINUTE, 900);
    m = sum(e, s, MINUTE);
    assert_true(m.bound == 0 && m.bound_of == 0 && m.bound_days == 0 && m.bound_days_of == 0);
    assert_true(m.peak == 780 && m.watched == 1);
}

static void a_period_is_forgotten_after_the_next(void **state)
{
    struct sl_evidence *e = *state;
    const uint64_t begin = 1700000000;
    const int s = sl_evidence_new(e, SL_EVIDENCE_ROUTE, "r");
    sl_evidence_turn(e, begin);
    sl_evidence_add(e, s, MINUTE, 900);
    sl_evidence_close(e, MINUTE);
    sl_evidence_turn(e, begin + SL_EVIDENCE_PERIOD_S - 1);
    assert_int_equal(e->now, 0);
    sl_evidence_turn(e, begin + SL_EVIDENCE_PERIOD_S);
    sl_evidence_add(e, s, MINUTE, 5);
    sl_evidence_close(e, MINUTE);
    assert_true(sum(e, s, MINUTE).peak == 900 && sum(e, s, MINUTE).watched == 2);
    assert_true(e->begun_s[0] == begin && e->begun_s[1] == begin + SL_EVIDENCE_PERIOD_S);
    sl_evidence_turn(e, begin + 2ull * SL_EVIDENCE_PERIOD_S);
    assert_true(sum(e, s, MINUTE).peak == 5 && sum(e, s, MINUTE).watched == 1 && sum(e, s, MINUTE).busy == 1);
    sl_evidence_turn(e, begin + 9ull * SL_EVIDENCE_PERIOD_S); /* the daemon was away */
    assert_true(sum(e, s, MINUTE).peak == 0 && sum(e, s, MINUTE).watched == 0);
}

static void a_full_table_says_so(void **state)
{
    struct sl_evidence *e = *state;
    char name[16];
    for (unsigned i = 0; i < SL_EVIDENCE_SERIES; i++) {
        (void)snprintf(name, sizeof(name), "c%u", i);
        assert_int_equal(sl_evidence_new(e, SL_EVIDENCE_CONSUMER, name), (int)i);
    }
    assert_int_equal(sl_evidence_new(e, SL_EVIDENCE_CONSUMER, "more"), -1);
    assert_int_equal(e->without, 1);
    sl_evidence_remove(e, 7);
    assert_string_equal(e->series[7].name, "c4095");
    assert_int_equal(sl_evidence_new(e, SL_EVIDENCE_CONSUMER, "more"), SL_EVIDENCE_SERIES - 1);
}

/* Memory that others can write: however many series it says there are. */
static void a_copy_takes_what_there_is(void **state)
{
    struct sl_evidence *e = *state, *to = calloc(1, sizeof(*to));
    sl_evidence_add(e, sl_evidence_new(e, SL_EVIDENCE_ROUTE, "r"), DAY, 3);
    sl_evidence_copy(to, e);
    assert_true(to->n == 1 && sum(to, 0, DAY).peak == 3);
    e->n = UINT32_MAX;
    assert_int_equal(sl_evidence_count(e), SL_EVIDENCE_SERIES);
    assert_int_equal(sl_evidence_bytes(e), sizeof(*e));
    sl_evidence_copy(to, e);
    assert_int_equal(to->n, SL_EVIDENCE_SERIES);
    free(to);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_evidence, drop_evidence)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(windows_make_a_peak_and_a_percentile), TEST(figures_of_every_size_are_near_what_they_were),
        TEST(a_series_counts_from_its_begin),       TEST(what_another_limit_refused_is_forgotten),
        TEST(a_period_is_forgotten_after_the_next), TEST(a_full_table_says_so),
        TEST(a_copy_takes_what_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
