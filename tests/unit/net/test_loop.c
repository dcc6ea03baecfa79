/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel against deadlines of every distance, and deferred frees. Time is injected: nothing sleeps.
 */
#include "net/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct probe {
    struct sl_timer timer;
    struct sl_loop *loop;
    unsigned fired;
    uint64_t at;
};

static void on_fire(struct sl_timer *t)
{
    struct probe *p = SL_CONTAINER_OF(t, struct probe, timer);
    p->fired++;
    p->at = p->loop->now;
}

static void run_until(struct sl_loop *l, uint64_t until)
{
    while (l->now < until) {
        l->now += SL_TICK_NS;
        l->ticker.cb(l->ev, &l->ticker, EV_TIMER);
    }
}

static void test_deadlines_near_and_far(void **state)
{
    (void)state;
    static struct sl_loop l;
    assert_int_equal(sl_loop_init(&l), 0);
    uint64_t start = l.now, waits[] = {1,
                                       SL_TICK_NS,
                                       5 * SL_NS_PER_SEC,
                                       51 * SL_NS_PER_SEC,
                                       52 * SL_NS_PER_SEC,
                                       600 * SL_NS_PER_SEC};
    struct probe p[SL_ARRAY_LEN(waits)];
    for (size_t i = 0; i < SL_ARRAY_LEN(waits); i++) {
        p[i] = (struct probe){.loop = &l};
        sl_timer_init(&p[i].timer, on_fire);
        sl_timer_set(&l, &p[i].timer, start + waits[i]);
    }
    run_until(&l, start + 700 * SL_NS_PER_SEC);
    for (size_t i = 0; i < SL_ARRAY_LEN(waits); i++) {
        assert_int_equal(p[i].fired, 1);
        assert_true(p[i].at >= start + waits[i]);
        assert_true(p[i].at <= start + waits[i] + 2 * SL_TICK_NS);
    }
    assert_int_equal(l.timers, 0);
    assert_false(ev_is_active(&l.ticker)); /* an idle process does not wake up */
    sl_loop_close(&l);
}

static void test_moving_later_costs_no_list_move(void **state)
{
    (void)state;
    static struct sl_loop l;
    assert_int_equal(sl_loop_init(&l), 0);
    struct probe p = {.loop = &l};
    sl_timer_init(&p.timer, on_fire);
    uint64_t start = l.now;
    sl_timer_set(&l, &p.timer, start + SL_NS_PER_SEC);
    uint64_t slot = p.timer.tick;
    sl_timer_set(&l, &p.timer, start + 3 * SL_NS_PER_SEC);
    assert_int_equal(p.timer.tick, slot);
    run_until(&l, start + 2 * SL_NS_PER_SEC);
    assert_int_equal(p.fired, 0);
    run_until(&l, start + 4 * SL_NS_PER_SEC);
    assert_int_equal(p.fired, 1);
    assert_true(p.at >= start + 3 * SL_NS_PER_SEC);
    sl_loop_close(&l);
}

static void test_moving_earlier_and_unsetting(void **state)
{
    (void)state;
    static struct sl_loop l;
    assert_int_equal(sl_loop_init(&l), 0);
    struct probe p = {.loop = &l}, q = {.loop = &l};
    sl_timer_init(&p.timer, on_fire);
    sl_timer_init(&q.timer, on_fire);
    uint64_t start = l.now;
    sl_timer_set(&l, &p.timer, start + 30 * SL_NS_PER_SEC);
    sl_timer_set(&l, &p.timer, start + SL_NS_PER_SEC);
    sl_timer_set(&l, &q.timer, start + SL_NS_PER_SEC);
    sl_timer_set(&l, &q.timer, 0);
    run_until(&l, start + 2 * SL_NS_PER_SEC);
    assert_int_equal(p.fired, 1);
    assert_int_equal(q.fired, 0);
    assert_int_equal(l.timers, 0);
    sl_loop_close(&l);
}

static void test_long_stop_fires_all_that_is_due(void **state)
{
    (void)state;
    static struct sl_loop l;
    assert_int_equal(sl_loop_init(&l), 0);
    struct probe p[3];
    uint64_t start = l.now;
    for (size_t i = 0; i < 3; i++) {
        p[i] = (struct probe){.loop = &l};
        sl_timer_init(&p[i].timer, on_fire);
        sl_timer_set(&l, &p[i].timer, start + (i * 20 + 1) * SL_NS_PER_SEC);
    }
    l.now = start + 3600 * SL_NS_PER_SEC;
    l.ticker.cb(l.ev, &l.ticker, EV_TIMER);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(p[i].fired, 1);
    sl_loop_close(&l);
}

struct thing {
    struct sl_deferred d;
    struct sl_loop *loop;
    unsigned *count;
    bool again;
};

static void on_deferred(struct sl_deferred *d)
{
    struct thing *t = SL_CONTAINER_OF(d, struct thing, d);
    (*t->count)++;
    if (t->again) {
        t->again = false;
        sl_loop_defer(t->loop, &t->d, on_deferred);
    }
}

static void test_deferred_runs_once_at_the_end_of_the_turn(void **state)
{
    (void)state;
    static struct sl_loop l;
    assert_int_equal(sl_loop_init(&l), 0);
    unsigned count = 0;
    struct thing a = {.loop = &l, .count = &count}, b = {.loop = &l, .count = &count, .again = true};
    sl_loop_defer(&l, &a.d, on_deferred);
    sl_loop_defer(&l, &b.d, on_deferred);
    assert_int_equal(count, 0);
    l.prepare.cb(l.ev, &l.prepare, EV_PREPARE);
    assert_int_equal(count, 3);
    assert_null(l.deferred);
    sl_loop_close(&l);
}

static void on_deferred_release(struct sl_deferred *d)
{
    struct thing *t = SL_CONTAINER_OF(d, struct thing, d);
    (*t->count)++;
    sl_loop_release(t->loop, &t->d, on_deferred);
}

static void test_released_runs_at_the_end_of_the_callback(void **state)
{
    (void)state;
    static struct sl_loop l;
    assert_int_equal(sl_loop_init(&l), 0);
    unsigned count = 0;
    struct thing a = {.loop = &l, .count = &count}, b = a, c = a;
    sl_loop_release(&l, &a.d, on_deferred);
    sl_loop_defer(&l, &b.d, on_deferred_release); /* that of a turn lets go of one as well */
    assert_int_equal(count, 0);
    sl_loop_settle(&l);
    assert_int_equal(count, 1);
    sl_loop_release(&l, &c.d, on_deferred); /* by a callback that does not settle */
    l.prepare.cb(l.ev, &l.prepare, EV_PREPARE);
    assert_int_equal(count, 4);
    assert_true(!l.deferred && !l.released);
    sl_loop_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines_near_and_far),
        cmocka_unit_test(test_moving_later_costs_no_list_move),
        cmocka_unit_test(test_moving_earlier_and_unsetting),
        cmocka_unit_test(test_long_stop_fires_all_that_is_due),
        cmocka_unit_test(test_deferred_runs_once_at_the_end_of_the_turn),
        cmocka_unit_test(test_released_runs_at_the_end_of_the_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
