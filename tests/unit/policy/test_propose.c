/* SPDX-License-Identifier: Apache-2.0 */
/* What is proposed of which evidence, and the figures that a person would write. */
#include "policy/propose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SECOND, MINUTE, HOUR, DAY };

static void figures_are_round(void **state)
{
    static const struct {
        double v;
        uint64_t up, down;
    } all[] = {{0, 1, 0},
               {0.4, 1, 0},
               {1, 1, 1},
               {1.01, 2, 1},
               {7, 7, 7},
               {9.2, 10, 9},
               {10, 10, 10},
               {10.5, 12, 10},
               {13, 15, 12},
               {99, 100, 80},
               {1170, 1200, 1000},
               {1201, 1500, 1200},
               {2001, 2500, 2000},
               {64000, 80000, 60000},
               {1e9, 1000000000, 1000000000},
               {1e18, 1000000000, 1000000000}};
    (void)state;
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        assert_int_equal(sl_propose_figure(all[i].v), all[i].up);
        assert_int_equal(sl_propose_figure_below(all[i].v), all[i].down);
    }
}

/* Nine hours of minutes, in which a limit of 600 refused in 14. */
static const struct sl_propose_evidence nine_hours = {
    .limit = 600, .peak = 780, .p99 = 640, .busy = 500, .watched = 540, .bound = 14, .bound_of = 540};

static struct sl_proposal propose(struct sl_propose_evidence e)
{
    return sl_propose(&sl_propose_defaults, MINUTE, &e);
}

static void a_limit_that_binds_often_goes_up(void **state)
{
    struct sl_propose_evidence e = nine_hours;
    (void)state;
    struct sl_proposal p = propose(e);
    assert_int_equal(p.kind, SL_PROPOSAL_HIGHER);
    assert_int_equal(p.limit, 1200);
    assert_false(p.daily);
    e.bound = 5; /* not one in a hundred */
    p = propose(e);
    assert_int_equal(p.kind, SL_PROPOSAL_STAYS);
    assert_int_equal(p.limit, 600);
    e.bound_days = e.bound_days_of = 2;
    p = propose(e);
    assert_int_equal(p.kind, SL_PROPOSAL_HIGHER);
    assert_true(p.daily);
    e.bound_days_of = 3;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_STAYS);
    e.bound_days = e.bound_days_of = 1; /* one day is no habit */
    assert_int_equal(propose(e).kind, SL_PROPOSAL_STAYS);
}

static void a_limit_that_binds_is_never_lowered(void **state)
{
    struct sl_propose_evidence e = nine_hours;
    (void)state;
    e.limit = 5000;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_STAYS);
    e.bound = 0;
    struct sl_proposal p = propose(e);
    assert_int_equal(p.kind, SL_PROPOSAL_LOWER);
    assert_int_equal(p.limit, 1200);
    e.limit = 2399; /* not far above it */
    assert_int_equal(propose(e).kind, SL_PROPOSAL_STAYS);
    e.limit = 2400;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_LOWER);
    e.limit = 700; /* below what it should be, and yet it never refused: GCRA admits a burst more */
    assert_int_equal(propose(e).kind, SL_PROPOSAL_STAYS);
}

static void one_in_shadow_is_judged_by_what_was_asked(void **state)
{
    struct sl_propose_evidence e = nine_hours;
    (void)state;
    e.bound = 0;
    e.shadow = true;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_HIGHER);
    assert_int_equal(propose(e).limit, 1200);
    e.limit = 780;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_STAYS);
    e.limit = 5000;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_LOWER);
}

static void where_there_is_none_one_is_proposed(void **state)
{
    struct sl_propose_evidence e = nine_hours;
    struct sl_propose_rules r = sl_propose_defaults;
    (void)state;
    e.limit = e.bound = 0;
    assert_int_equal(propose(e).kind, SL_PROPOSAL_NEW);
    assert_int_equal(propose(e).limit, 1200);
    r.headroom = 3;
    assert_int_equal(sl_propose(&r, MINUTE, &e).limit, 2500);
}

static void of_too_little_nothing_is_invented(void **state)
{
    static const uint64_t least[] = {60, 30, 24, 7};
    struct sl_propose_rules r = sl_propose_defaults;
    (void)state;
    for (unsigned w = SECOND; w <= DAY; w++) {
        struct sl_propose_evidence e = {.peak = 10, .p99 = 10, .busy = 10, .watched = least[w]};
        assert_int_equal(sl_propose(&sl_propose_defaults, w, &e).kind, SL_PROPOSAL_NEW);
        e.watched--;
        assert_int_equal(sl_propose(&sl_propose_defaults, w, &e).kind, SL_PROPOSAL_NONE);
        e.watched = 100000; /* long enough, but hardly anybody asked */
        e.busy = SL_MIN(least[w], (uint64_t)10) - 1;
        assert_int_equal(sl_propose(&sl_propose_defaults, w, &e).kind, SL_PROPOSAL_NONE);
    }
    r.least[MINUTE] = 3;
    const struct sl_propose_evidence e = {.peak = 10, .busy = 3, .watched = 3};
    assert_int_equal(sl_propose(&r, MINUTE, &e).kind, SL_PROPOSAL_NEW);
    const struct sl_propose_evidence unused = {.limit = 600, .watched = 540, .bound_of = 540};
    assert_int_equal(propose(unused).kind, SL_PROPOSAL_NONE);
    assert_int_equal(propose(unused).limit, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_round),
        cmocka_unit_test(a_limit_that_binds_often_goes_up),
        cmocka_unit_test(a_limit_that_binds_is_never_lowered),
        cmocka_unit_test(one_in_shadow_is_judged_by_what_was_asked),
        cmocka_unit_test(where_there_is_none_one_is_proposed),
        cmocka_unit_test(of_too_little_nothing_is_invented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
