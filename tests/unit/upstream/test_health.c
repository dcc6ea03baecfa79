/* SPDX-License-Identifier: Apache-2.0 */
/* Ejection, panic, slow start, drain and the breaker, by a clock that the test sets; two workers where it
 * matters. */
#include "upstream/group_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define S SL_NS_PER_SEC
#define N 10

struct worker { /* of the two that share health */
    struct sl_upstreams all;
    struct sl_upstream_counters counters;
    struct sl_target_counters targets[N];
    struct sl_pool pools[N];
    struct sl_group *g;
};
struct world {
    struct sl_loop loop;
    struct sl_shared_health *health;
    struct sl_upstream cfg;
    uint32_t statuses[2];
    struct worker a, b;
};

static void make(struct world *w, struct worker *k, size_t n)
{
    k->all = (struct sl_upstreams){.loop = &w->loop, .health = w->health, .rng = 99};
    k->g = calloc(1, sizeof(*k->g) + n * sizeof(k->g->members[0]));
    *k->g = (struct sl_group){.all = &k->all, .cfg = &w->cfg, .counters = &k->counters, .n = n};
    if (w->cfg.breaker.enabled)
        k->g->breaker = &w->health->upstreams[1];
    for (size_t i = 0; i < n; i++) {
        k->pools[i] = (struct sl_pool){.name = (char *)"u",
                                       .text = (char *)"t",
                                       .shared = &w->health->targets[i + 1],
                                       .target = &k->targets[i]};
        k->g->members[i] = (struct sl_member){.pool = &k->pools[i], .weight = 1};
    }
    assert_int_equal(sl_balance_init(k->g), 0);
}

static void drop(struct worker *k)
{
    if (k->g) {
        free(k->g->fitness);
        free(k->g->maglev);
    }
    free(k->g);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    w->health = aligned_alloc(SL_CACHE_LINE, sizeof(*w->health));
    memset(w->health, 0, sizeof(*w->health));
    w->loop.now = 1000 * S;
    w->statuses[0] = 500;
    w->statuses[1] = 503;
    w->cfg.name = "u";
    w->cfg.health.passive.enabled = true;
    w->cfg.health.passive.statuses = (struct sl_statuses){w->statuses, 2};
    w->cfg.health.passive.failures = 3;
    w->cfg.health.passive.eject = 30 * S;
    w->cfg.health.passive.max_ejected = 50;
    w->cfg.health.panic = 30;
    w->cfg.breaker.error_ratio = 0.5;
    w->cfg.breaker.min_requests = 10;
    w->cfg.breaker.window = 10 * S;
    w->cfg.breaker.open = 5 * S;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    drop(&w->a);
    drop(&w->b);
    free(w->health);
    free(w);
    return 0;
}

static void report(struct worker *k, size_t target, unsigned status)
{
    struct sl_attempts a = {0};
    sl_group_report(k->g, &a, &k->pools[target], status);
}

/* How many of 1000 turns each target gets. */
static void turns(struct worker *k, unsigned *out)
{
    memset(out, 0, N * sizeof(*out));
    for (int i = 0; i < 1000; i++)
        out[sl_balance_pick(k->g, &(struct sl_attempts){0}) - k->pools]++;
}

static void test_failures_of_all_workers_eject_for_all(void **state)
{
    struct world *w = *state;
    unsigned n[N];
    make(w, &w->a, 4);
    make(w, &w->b, 4);
    report(&w->a, 0, 503);
    report(&w->b, 0, 0);
    turns(&w->a, n);
    assert_int_equal(n[0], 250);
    report(&w->a, 0, 500);
    for (struct worker *k = &w->a; k <= &w->b; k++) {
        turns(k, n);
        assert_int_equal(n[0], 0);
        assert_in_range(n[1], 333, 334);
    }
    assert_int_equal(w->a.counters.ejections + w->b.counters.ejections, 1);
    w->loop.now += 30 * S; /* the time is over: no change of a row tells, the clock does */
    turns(&w->b, n);
    assert_int_equal(n[0], 250);
    assert_int_equal(w->b.counters.panics, 0);
}

static void test_a_success_between_breaks_the_row(void **state)
{
    struct world *w = *state;
    unsigned n[N];
    make(w, &w->a, 4);
    for (int i = 0; i < 20; i++)
        report(&w->a, 1, i % 3 == 2 ? 200 : 500);
    report(&w->a, 2, 404); /* and what is not listed is no failure */
    report(&w->a, 2, 502);
    report(&w->a, 2, 502);
    turns(&w->a, n);
    assert_int_equal(n[1], 250);
    assert_int_equal(n[2], 250);
    assert_int_equal(w->a.counters.ejections, 0);
}

static void eject(struct worker *k, size_t target)
{
    for (int i = 0; i < 3; i++)
        report(k, target, 0);
}

static void test_max_ejected_is_a_bound(void **state)
{
    struct world *w = *state;
    unsigned n[N];
    make(w, &w->a, 5);
    for (size_t i = 0; i < 5; i++)
        eject(&w->a, i);
    turns(&w->a, n);
    assert_int_equal(w->a.counters.ejections, 2); /* 50 % of five */
    assert_int_equal(n[0] + n[1], 0);
    w->loop.now += 30 * S;
    eject(&w->a, 4); /* one failure would do: it went on failing */
    turns(&w->a, n);
    assert_int_equal(n[4], 0);
}

static void test_the_only_target_stays(void **state)
{
    struct world *w = *state;
    make(w, &w->a, 1);
    eject(&w->a, 0);
    assert_ptr_equal(sl_balance_pick(w->a.g, &(struct sl_attempts){0}), &w->a.pools[0]);
    assert_int_equal(w->a.counters.ejections, 0);
}

static void test_panic_uses_all_that_are_not_drained(void **state)
{
    struct world *w = *state;
    unsigned n[N];
    w->cfg.health.passive.max_ejected = 100;
    make(w, &w->a, 4);
    eject(&w->a, 0);
    eject(&w->a, 1);
    turns(&w->a, n); /* half are fit */
    assert_int_equal(n[0] + n[1], 0);
    assert_int_equal(w->a.counters.panics, 0);
    eject(&w->a, 2); /* a quarter */
    w->health->targets[2].drained = 1;
    sl_health_changed(w->health);
    turns(&w->a, n); /* a third of those that are left: no panic */
    assert_int_equal(n[3], 1000);
    eject(&w->a, 3);
    turns(&w->a, n);
    assert_int_equal(n[1], 0);
    assert_in_range(n[0], 333, 334);
    assert_int_equal(w->a.counters.panics, 1000);
}

static void test_without_panic_nobody_unfit_is_asked(void **state)
{
    struct world *w = *state;
    w->cfg.health.panic = 0;
    w->cfg.health.passive.max_ejected = 100;
    make(w, &w->a, 2);
    eject(&w->a, 0);
    eject(&w->a, 1);
    assert_null(sl_balance_pick(w->a.g, &(struct sl_attempts){0}));
    assert_false(w->a.g->drained);
    w->loop.now += 30 * S;
    assert_non_null(sl_balance_pick(w->a.g, &(struct sl_attempts){0}));
    w->health->targets[1].drained = w->health->targets[2].drained = 1;
    sl_health_changed(w->health);
    assert_null(sl_balance_pick(w->a.g, &(struct sl_attempts){0}));
    assert_true(w->a.g->drained);
}

static void test_slow_start_rises(void **state)
{
    struct world *w = *state;
    unsigned n[N], last = 0;
    w->cfg.health.slow_start = 10 * S;
    make(w, &w->a, 2);
    turns(&w->a, n);
    assert_int_equal(n[0], 500); /* nobody has come back from anything */
    eject(&w->a, 0);
    w->loop.now += 30 * S;
    turns(&w->a, n);
    assert_in_range(n[0], 85, 95); /* 10 of 110 */
    for (int i = 0; i < 9; i++) {
        w->loop.now += S + 1;
        turns(&w->a, n);
        assert_true(n[0] > last);
        last = n[0];
    }
    w->loop.now += 2 * S;
    turns(&w->a, n);
    assert_int_equal(n[0], 500);
}

static void test_a_hash_avoids_the_ejected_and_returns(void **state)
{
    struct world *w = *state;
    w->cfg.balance = SL_BALANCE_HASH_IP;
    make(w, &w->a, 4);
    struct sl_attempts a = {.hashed = true, .hash = 12345};
    const struct sl_pool *home = sl_balance_pick(w->a.g, &a);
    eject(&w->a, (size_t)(home - w->a.pools));
    const struct sl_pool *other = sl_balance_pick(w->a.g, &a);
    assert_ptr_not_equal(other, home);
    assert_ptr_equal(sl_balance_pick(w->a.g, &a), other);
    w->loop.now += 30 * S;
    assert_ptr_equal(sl_balance_pick(w->a.g, &a), home);
}

/* ---- the breaker */

static int admit(struct worker *k, struct sl_attempts *a)
{
    *a = (struct sl_attempts){0};
    return sl_breaker_admit(k->g, a);
}

static void with_breaker(struct world *w)
{
    w->cfg.health.passive.enabled = false;
    w->cfg.breaker.enabled = true;
    make(w, &w->a, 2);
    make(w, &w->b, 2);
}

static void test_breaker_opens_at_its_ratio_for_all(void **state)
{
    struct world *w = *state;
    struct sl_attempts a;
    with_breaker(w);
    for (int i = 0; i < 9; i++)
        report(&w->a, 0, 0);
    assert_int_equal(admit(&w->a, &a), 0); /* min_requests */
    for (int i = 0; i < 12; i++)
        report(&w->a, 0, 404);
    for (int i = 0; i < 2; i++)
        report(&w->a, 0, 504);
    assert_int_equal(admit(&w->a, &a), 0); /* 11 of 23 */
    report(&w->a, 0, 500);
    assert_int_equal(admit(&w->b, &a), SL_GROUP_OPEN); /* 12 of 24 */
    assert_int_equal(a.retry_after, 5 * S);
    assert_int_equal(w->a.counters.breaker_opened, 1);
    assert_int_equal(w->b.counters.breaker_refused, 1);
}

static void test_breaker_forgets_after_its_window(void **state)
{
    struct world *w = *state;
    struct sl_attempts a;
    with_breaker(w);
    for (int i = 0; i < 9; i++)
        report(&w->a, 0, 500);
    w->loop.now += 10 * S;
    report(&w->a, 0, 500);
    assert_int_equal(admit(&w->a, &a), 0);
    w->loop.now += 6 * S; /* that one stands in the half before */
    for (int i = 0; i < 9; i++)
        report(&w->a, 0, 500);
    assert_int_equal(admit(&w->a, &a), SL_GROUP_OPEN);
}

static void open_it(struct world *w)
{
    for (int i = 0; i < 10; i++)
        report(&w->a, 0, 500);
    w->loop.now += 5 * S;
}

static void test_half_open_lets_one_probe_through(void **state)
{
    struct world *w = *state;
    struct sl_attempts probe, other;
    with_breaker(w);
    open_it(w);
    assert_int_equal(admit(&w->b, &probe), 0);
    assert_true(probe.probe);
    assert_int_equal(admit(&w->a, &other), SL_GROUP_OPEN);
    assert_int_equal(admit(&w->b, &other), SL_GROUP_OPEN);
    report(&w->a, 0, 200); /* an old request's answer says nothing */
    assert_int_equal(admit(&w->a, &other), SL_GROUP_OPEN);
    sl_group_report(w->b.g, &probe, &w->b.pools[0], 503);
    assert_false(probe.probe);
    assert_int_equal(admit(&w->a, &other), SL_GROUP_OPEN);
    w->loop.now += 5 * S;
    assert_int_equal(admit(&w->a, &probe), 0);
    sl_group_report(w->a.g, &probe, &w->a.pools[0], 200);
    assert_int_equal(admit(&w->b, &other), 0);
    assert_false(other.probe);
    report(&w->b, 0, 500); /* counted from the start again */
    assert_int_equal(admit(&w->b, &other), 0);
}

static void test_a_lost_probe_is_given_again(void **state)
{
    struct world *w = *state;
    struct sl_attempts probe, next;
    with_breaker(w);
    open_it(w);
    assert_int_equal(admit(&w->a, &probe), 0);
    sl_group_unprobe(w->a.g, &probe); /* its client left */
    assert_int_equal(admit(&w->b, &next), 0);
    assert_true(next.probe); /* and its worker dies */
    assert_int_equal(admit(&w->a, &probe), SL_GROUP_OPEN);
    w->loop.now += 5 * S;
    assert_int_equal(admit(&w->a, &probe), 0);
}

int main(void)
{
#define SL_T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SL_T(test_failures_of_all_workers_eject_for_all),
        SL_T(test_a_success_between_breaks_the_row),
        SL_T(test_max_ejected_is_a_bound),
        SL_T(test_the_only_target_stays),
        SL_T(test_panic_uses_all_that_are_not_drained),
        SL_T(test_without_panic_nobody_unfit_is_asked),
        SL_T(test_slow_start_rises),
        SL_T(test_a_hash_avoids_the_ejected_and_returns),
        SL_T(test_breaker_opens_at_its_ratio_for_all),
        SL_T(test_breaker_forgets_after_its_window),
        SL_T(test_half_open_lets_one_probe_through),
        SL_T(test_a_lost_probe_is_given_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
