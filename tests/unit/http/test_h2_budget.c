/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may have for nothing, and which streams have been. */
#include "http_test.h"

#include "base/clock.h"
#include "http/h2_priv.h"

static unsigned until_refused(struct sl_h2_budgets *b, enum sl_h2_cost what, uint64_t now,
                              enum sl_h2_why *why)
{
    unsigned n = 0;
    while ((*why = sl_h2_spend(b, what, now)) == SL_H2_WHY_NONE && n < 100000)
        n++;
    return n;
}

static void test_a_burst_then_a_rate(void **state)
{
    (void)state;
    struct sl_h2_budgets b = {.streams = 100};
    enum sl_h2_why why;
    uint64_t now = 1000 * SL_NS_PER_SEC;
    assert_int_equal(until_refused(&b, SL_H2_COST_PING, now, &why), 100);
    assert_int_equal(why, SL_H2_WHY_PING_FLOOD);
    b = (struct sl_h2_budgets){.streams = 100};
    for (unsigned i = 0; i < 10000; i++) /* ten a second, for a quarter of an hour, are nothing */
        assert_int_equal(sl_h2_spend(&b, SL_H2_COST_PING, now += SL_NS_PER_SEC / 10), SL_H2_WHY_NONE);
    unsigned n = 0; /* twenty are too many */
    while (sl_h2_spend(&b, SL_H2_COST_PING, now += SL_NS_PER_SEC / 20) == SL_H2_WHY_NONE)
        n++;
    assert_in_range(n, 190, 210);
}

static void test_every_cost_has_an_end_and_a_name(void **state)
{
    (void)state;
    bool seen[SL_H2_WHY_COUNT] = {0};
    for (enum sl_h2_cost c = 0; c < SL_H2_COSTS; c++) {
        struct sl_h2_budgets b = {.streams = 100};
        enum sl_h2_why why;
        const unsigned n = until_refused(&b, c, 1, &why);
        assert_in_range(n, 10, 5000);
        assert_false(seen[why]);
        seen[why] = true;
        assert_int_equal(sl_h2_why_code(why), SL_H2_ENHANCE_YOUR_CALM);
        assert_true(strlen(sl_h2_why_name(why)) > 3);
    }
}

static void test_resets_grow_with_streams_and_are_earned(void **state)
{
    (void)state;
    struct sl_h2_budgets b = {.streams = 500};
    enum sl_h2_why why;
    assert_int_equal(until_refused(&b, SL_H2_COST_RESET, 1, &why), 1000);
    assert_int_equal(why, SL_H2_WHY_RESET_FLOOD);
    b = (struct sl_h2_budgets){.streams = 100};
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(sl_h2_spend(&b, SL_H2_COST_RESET, 1), SL_H2_WHY_NONE);
        sl_h2_earn(&b, SL_H2_COST_RESET, 1);
    }
    sl_h2_earn(&b, SL_H2_COST_RESET, 1000); /* nothing is saved up */
    assert_int_equal(until_refused(&b, SL_H2_COST_RESET, 1, &why), 200);
}

static void test_the_past(void **state)
{
    (void)state;
    struct sl_h2_past p = {0};
    assert_int_equal(sl_h2_past_of(&p, 1), SL_H2_PAST_UNKNOWN);
    sl_h2_past_open(&p, 1);
    sl_h2_past_open(&p, 7);
    assert_int_equal(sl_h2_past_of(&p, 1), SL_H2_PAST_OPENED);
    assert_int_equal(sl_h2_past_of(&p, 3), SL_H2_PAST_SKIPPED);
    assert_int_equal(sl_h2_past_of(&p, 5), SL_H2_PAST_SKIPPED);
    assert_int_equal(sl_h2_past_of(&p, 7), SL_H2_PAST_OPENED);
    assert_int_equal(sl_h2_past_of(&p, 9), SL_H2_PAST_UNKNOWN);
    assert_int_equal(sl_h2_past_of(&p, 2), SL_H2_PAST_UNKNOWN);
    sl_h2_past_end(&p, 7);
    sl_h2_past_end(&p, 9); /* never opened: nothing */
    assert_int_equal(sl_h2_past_of(&p, 7), SL_H2_PAST_ENDED);
    for (int32_t id = 9; id < 7 + 2 * SL_H2_PAST; id += 2)
        sl_h2_past_open(&p, id);
    assert_int_equal(sl_h2_past_of(&p, 7), SL_H2_PAST_ENDED);
    sl_h2_past_open(&p, 7 + 2 * SL_H2_PAST);
    assert_int_equal(sl_h2_past_of(&p, 7), SL_H2_PAST_UNKNOWN);
    assert_int_equal(sl_h2_past_of(&p, 9), SL_H2_PAST_OPENED);
    sl_h2_past_open(&p, INT32_MAX);
    assert_int_equal(sl_h2_past_of(&p, 7 + 2 * SL_H2_PAST), SL_H2_PAST_UNKNOWN);
    assert_int_equal(sl_h2_past_of(&p, INT32_MAX - 2), SL_H2_PAST_SKIPPED);
    assert_int_equal(sl_h2_past_of(&p, INT32_MAX), SL_H2_PAST_OPENED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_then_a_rate),
        cmocka_unit_test(test_every_cost_has_an_end_and_a_name),
        cmocka_unit_test(test_resets_grow_with_streams_and_are_earned),
        cmocka_unit_test(test_the_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
