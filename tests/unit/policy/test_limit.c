/* SPDX-License-Identifier: Apache-2.0 */
/* Limits over the shared buckets: exact, rates that change, windows and sets together. */
#include "limit_test.h"

static void no_window_is_no_set(void **state)
{
    (void)state;
    const struct sl_rate_limit none = {0};
    struct sl_limit_set *l = (struct sl_limit_set *)&none;
    assert_int_equal(sl_limit_set_new(&none, "x", &l), 0);
    assert_null(l);
}

static void capacity_then_one_per_interval(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(1, 10, 10);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 50), 10);
    assert_int_equal(admitted(l, "acme", T0 + 99999999, 50), 0);
    assert_int_equal(admitted(l, "acme", T0 + 100000000, 50), 1);
    assert_int_equal(admitted(l, "acme", T0 + 350000000, 50), 2);
    assert_int_equal(admitted(l, "acme", T0 + 10 * SL_NS_PER_SEC, 50), 10);
    assert_int_equal(admitted(l, "other", T0, 50), 10);
    sl_limit_set_free(l);
}

static void burst_is_the_capacity(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(1, 100, 3);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 50), 3);
    assert_int_equal(admitted(l, "acme", T0 + 20 * SL_NS_PER_MS, 50), 2);
    sl_limit_set_free(l);
}

/* Limits that do not divide their window never admit more than they say (PITFALLS 2: remainders). */
static void no_window_admits_more_than_the_limit(void **state)
{
    (void)state;
    static const uint64_t limits[] = {1, 3, 7, 999, 1000001, 1000000000};
    for (size_t i = 0; i < SL_ARRAY_LEN(limits); i++) {
        const struct sl_rate_limit rl = limit_of(1, limits[i], 1);
        struct sl_limit_set *l = set_of(&rl, sl_arena_printf(&arena, "t%zu", i));
        const struct sl_limit_subject s = who("x");
        const struct sl_limit_verdict v = take(l, &s, T0);
        assert_true(v.admitted);
        assert_true(v.reset_ns[0][0] * limits[i] >= SL_NS_PER_SEC);
        sl_limit_set_free(l);
    }
}

static void what_is_told(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(60, 6, 6);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    const struct sl_limit_subject s = who("acme");
    for (unsigned i = 0; i < 6; i++) {
        const struct sl_limit_verdict v = take(l, &s, T0);
        assert_true(v.admitted);
        assert_ptr_equal(v.set, l);
        assert_int_equal(v.remaining[0][0], 5 - i);
        assert_int_equal(v.reset_ns[0][0], (i + 1) * 10 * SL_NS_PER_SEC);
        assert_int_equal(v.wait_ns, 0);
    }
    const struct sl_limit_verdict v = take(l, &s, T0 + SL_NS_PER_SEC);
    assert_false(v.admitted);
    assert_int_equal(v.remaining[0][0], 0);
    assert_int_equal(v.wait_ns, 9 * SL_NS_PER_SEC);
    assert_ptr_equal(v.set, l);
    /* who waits as told is admitted, and not a ns before */
    assert_false(take(l, &s, T0 + 10 * SL_NS_PER_SEC - 1).admitted);
    assert_true(take(l, &s, T0 + SL_NS_PER_SEC + v.wait_ns).admitted);
    sl_limit_set_free(l);
}

static void windows_hold_together(void **state)
{
    (void)state;
    struct sl_rate_limit rl = limit_of(1, 5, 5);
    rl.windows[rl.n_windows++] = (struct sl_window){"minute", 60, 8, 8};
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    const struct sl_limit_subject s = who("acme");
    assert_int_equal(admitted(l, "acme", T0, 9), 5);
    assert_int_equal(admitted(l, "acme", T0 + SL_NS_PER_SEC, 9), 3); /* the minute's end */
    const struct sl_limit_verdict v = take(l, &s, T0 + SL_NS_PER_SEC);
    assert_false(v.admitted);
    assert_int_equal(v.window, 1);
    /* the second's bucket was not debited by what the minute's refused: 3 of 5 were taken, 2 are left */
    assert_int_equal(v.remaining[0][0], 2);
    sl_limit_set_free(l);
}

static void sets_hold_together(void **state)
{
    (void)state;
    const struct sl_rate_limit wide = limit_of(1, 100, 100), narrow = limit_of(60, 2, 2);
    struct sl_limit_set *sets[] = {set_of(&wide, "route:r"), NULL, set_of(&narrow, "tier:t")};
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    for (unsigned i = 0; i < 2; i++) {
        sl_limits_take(&table, sets, 3, &s, T0, &v);
        assert_true(v.admitted);
        assert_ptr_equal(v.set, sets[2]); /* the tightest */
    }
    sl_limits_take(&table, sets, 3, &s, T0, &v);
    assert_false(v.admitted);
    assert_ptr_equal(v.set, sets[2]);
    assert_int_equal(v.remaining[0][0], 98); /* refused requests cost the route's limit nothing */
    assert_int_equal(v.remaining[2][0], 0);
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[2]);
}

/* The same bucket twice in one decision: both look, the first takes the last request, and the second finds it
 * gone, as if another process had been quicker. Then all that was debited is given back. */
static void a_lost_race_costs_nothing(void **state)
{
    (void)state;
    const struct sl_rate_limit wide = limit_of(60, 100, 100), last = limit_of(60, 1, 1);
    struct sl_limit_set *sets[] = {set_of(&wide, "route:r"), set_of(&last, "tier:t"), NULL};
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    sets[2] = sets[1];
    sl_limits_take(&table, sets, 3, &s, T0, &v);
    assert_false(v.admitted);
    assert_int_equal(v.wait_ns, 60 * SL_NS_PER_SEC);
    assert_int_equal(v.remaining[0][0], 100);
    assert_int_equal(v.remaining[1][0], 1);
    sl_limits_take(&table, sets, 2, &s, T0, &v);
    assert_true(v.admitted);
    assert_int_equal(v.remaining[0][0], 99);
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[1]);
}

static void a_raised_limit_lets_in_at_once(void **state)
{
    (void)state;
    const struct sl_rate_limit slow = limit_of(3600, 2, 2), fast = limit_of(1, 100, 100);
    struct sl_limit_set *a = set_of(&slow, "tier:a");
    assert_int_equal(admitted(a, "acme", T0, 10), 2);
    sl_limit_set_free(a);
    /* the same name and window, so the same bucket, but 3600 requests an hour */
    const struct sl_rate_limit raised = limit_of(3600, 3600, 10);
    struct sl_limit_set *b = set_of(&raised, "tier:a");
    assert_int_equal(admitted(b, "acme", T0, 10), 0);
    assert_int_equal(admitted(b, "acme", T0 + SL_NS_PER_SEC, 10), 1);
    assert_int_equal(admitted(b, "acme", T0 + 11 * SL_NS_PER_SEC, 20), 10);
    sl_limit_set_free(b);
    struct sl_limit_set *c = set_of(&fast, "tier:a");
    assert_int_equal(admitted(c, "acme", T0, 200), 100); /* another window is another bucket */
    sl_limit_set_free(c);
}

static void a_lowered_limit_holds_from_the_next_request(void **state)
{
    (void)state;
    const struct sl_rate_limit high = limit_of(60, 600, 600), low = limit_of(60, 6, 6);
    struct sl_limit_set *a = set_of(&high, "tier:a"), *b = set_of(&low, "tier:a");
    assert_int_equal(admitted(a, "acme", T0, 300), 300); /* 30 s of its minute */
    assert_int_equal(admitted(b, "acme", T0, 10), 3);    /* 30 s are left, at 10 s each */
    sl_limit_set_free(a);
    sl_limit_set_free(b);
}

/* PITFALLS 2: a bucket that nobody used for a year, and the end of time. */
static void idle_for_long(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(1, 5, 5);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 9), 5);
    assert_int_equal(admitted(l, "acme", T0 + 365ull * 86400 * SL_NS_PER_SEC, 9), 5);
    assert_int_equal(admitted(l, "acme", 1ull << 62, 9), 5);
    assert_int_equal(admitted(l, "young", 1, 9), 5); /* just after boot */
    sl_limit_set_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_limit(no_window_is_no_set),
        unit_test_limit(capacity_then_one_per_interval),
        unit_test_limit(burst_is_the_capacity),
        unit_test_limit(no_window_admits_more_than_the_limit),
        unit_test_limit(what_is_told),
        unit_test_limit(windows_hold_together),
        unit_test_limit(sets_hold_together),
        unit_test_limit(a_lost_race_costs_nothing),
        unit_test_limit(a_raised_limit_lets_in_at_once),
        unit_test_limit(a_lowered_limit_holds_from_the_next_request),
        unit_test_limit(idle_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
