/* SPDX-License-Identifier: Apache-2.0 */
/* Work in a thread: in which one, how nice, what the loop is told of it and when. */
#include "net/background.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct work {
    struct sl_background b;
    struct sl_loop *loop;
    int gate[2]; /* run waits for a byte */
    char name[16];
    pthread_t ran, told;
    int nice;
    unsigned runs, dones;
};

static void run(void *arg)
{
    struct work *w = arg;
    char c;
    w->ran = pthread_self();
    w->nice = getpriority(PRIO_PROCESS, 0);
    (void)prctl(PR_GET_NAME, w->name);
    if (w->gate[0] < 0 || read(w->gate[0], &c, 1) == 1)
        w->runs++;
}

static void done(void *arg)
{
    struct work *w = arg;
    w->told = pthread_self();
    w->dones++;
    assert_int_equal(w->runs, w->dones);
    sl_loop_stop(w->loop);
}

static void start(struct work *w, struct sl_loop *l)
{
    w->loop = l;
    assert_int_equal(sl_background_start(&w->b, l, "work", run, done, w), 0);
}

static int nicer(void)
{
    const int more = getpriority(PRIO_PROCESS, 0) + 10;
    return more > 19 ? 19 : more;
}

static void test_it_runs_beside_the_loop_and_is_told_on_it(void **state)
{
    (void)state;
    static struct sl_loop l;
    struct work w = {0};
    assert_int_equal(pipe(w.gate), 0);
    assert_int_equal(sl_loop_init(&l), 0);
    start(&w, &l);
    for (int i = 0; i < 3; i++)
        (void)ev_run(l.ev, EVRUN_NOWAIT);
    assert_int_equal(w.dones, 0);
    assert_int_equal(write(w.gate[1], "x", 1), 1);
    sl_loop_run(&l);
    assert_int_equal(w.dones, 1);
    assert_false(pthread_equal(w.ran, pthread_self()));
    assert_true(pthread_equal(w.told, pthread_self()));
    assert_string_equal(w.name, "work");
    assert_int_equal(w.nice, nicer());
    start(&w, &l); /* once more, in the same place */
    assert_int_equal(write(w.gate[1], "x", 1), 1);
    sl_loop_run(&l);
    assert_int_equal(w.dones, 2);
    sl_loop_close(&l);
}

static void test_who_joins_is_not_told(void **state)
{
    (void)state;
    static struct sl_loop l;
    struct work w = {.gate = {-1, -1}};
    assert_int_equal(sl_loop_init(&l), 0);
    sl_background_join(&w.b); /* nothing runs */
    start(&w, &l);
    sl_background_join(&w.b);
    assert_int_equal(w.runs, 1);
    (void)ev_run(l.ev, EVRUN_NOWAIT);
    assert_int_equal(w.dones, 0);
    sl_background_join(&w.b);
    sl_loop_close(&l);
}

static void test_nobody_need_be_told(void **state)
{
    (void)state;
    static struct sl_loop l;
    struct work w = {.gate = {-1, -1}};
    assert_int_equal(sl_loop_init(&l), 0);
    assert_int_equal(sl_background_start(&w.b, &l, "work", run, NULL, &w), 0);
    (void)ev_run(l.ev, EVRUN_ONCE);
    assert_null(w.b.run);
    assert_int_equal(w.runs, 1);
    sl_loop_close(&l);
}

static void test_without_a_descriptor_nothing_is_called(void **state)
{
    (void)state;
    static struct sl_loop l;
    struct work w = {.gate = {-1, -1}};
    struct rlimit before, none;
    assert_int_equal(sl_loop_init(&l), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const int r = sl_background_start(&w.b, &l, "work", run, done, &w);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, -EMFILE);
    sl_background_join(&w.b);
    assert_int_equal(w.runs, 0);
    sl_loop_close(&l);
}

static void test_it_is_waited_for(void **state)
{
    (void)state;
    struct work w = {.gate = {-1, -1}};
    sl_background_wait("waited for", run, &w);
    assert_int_equal(w.runs, 1);
    assert_false(pthread_equal(w.ran, pthread_self()));
    assert_string_equal(w.name, "waited for");
    assert_int_equal(w.nice, nicer());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_runs_beside_the_loop_and_is_told_on_it),
        cmocka_unit_test(test_who_joins_is_not_told),
        cmocka_unit_test(test_nobody_need_be_told),
        cmocka_unit_test(test_without_a_descriptor_nothing_is_called),
        cmocka_unit_test(test_it_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
