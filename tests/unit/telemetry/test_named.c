/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in shared memory: rows that stay, rows that change hands, and copies that are whole. */
#include "telemetry/named.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

static struct sl_named_address address(uint8_t last, uint32_t weight)
{
    return (struct sl_named_address){
        .ip = {10, 0, 0, last}, .family = SL_AF_INET, .port = 80, .weight = weight};
}

static struct sl_named_answer answer(const struct sl_shared_name *s)
{
    struct sl_named_answer a;
    uint32_t seq;
    assert_int_equal(sl_named_read(s, &a, &seq), 0);
    return a;
}

static void nothing_was_answered_yet(void **state)
{
    struct sl_shared_name s = {0}, copy = {0};
    (void)state;
    assert_int_equal(answer(&s).n, 0);
    assert_true(sl_named_copy(&copy, &s));
    assert_int_equal(sl_named_seq(&copy), 0);
}

static void an_address_that_stays_keeps_its_row(void **state)
{
    struct sl_shared_name s = {0};
    struct sl_named_address v[3] = {address(1, 1), address(2, 1), address(3, 1)};
    (void)state;
    assert_true(sl_named_write(&s, v, 3));
    for (unsigned i = 0; i < 3; i++)
        s.rows[answer(&s).v[i].row].failures = 10 + i;
    const uint32_t seq = sl_named_seq(&s);
    const struct sl_named_address turned[3] = {v[2], v[0], v[1]};
    assert_false(sl_named_write(&s, turned, 3)); /* nameservers turn answers round */
    assert_int_equal(sl_named_seq(&s), seq);
    const struct sl_named_address other[3] = {address(4, 1), v[2], v[0]};
    assert_true(sl_named_write(&s, other, 3));
    const struct sl_named_answer a = answer(&s);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.v[0].ip[3], 1);
    assert_int_equal(s.rows[a.v[0].row].failures, 10);
    assert_int_equal(a.v[1].ip[3], 3);
    assert_int_equal(s.rows[a.v[1].row].failures, 12);
    assert_int_equal(a.v[2].ip[3], 4);
    assert_int_equal(a.v[2].row, 1);
    assert_int_equal(s.rows[1].failures, 0); /* not 10.0.0.2's */
    v[0].weight = 7;
    assert_true(sl_named_write(&s, v, 1));
    assert_int_equal(answer(&s).v[0].weight, 7);
}

static void all_rows_can_change_hands(void **state)
{
    struct sl_shared_name s = {0};
    struct sl_named_address v[SL_NAMED_MAX + 1];
    uint32_t rows = 0;
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i <= SL_NAMED_MAX; i++)
            v[i] = address((uint8_t)(round * 20 + i), 1);
        assert_true(sl_named_write(&s, v, SL_NAMED_MAX + 1));
        assert_int_equal(answer(&s).n, SL_NAMED_MAX);
        rows = 0;
        for (unsigned i = 0; i < SL_NAMED_MAX; i++)
            rows |= 1u << answer(&s).v[i].row;
        assert_int_equal(rows, (1u << SL_NAMED_MAX) - 1);
    }
}

static void a_write_that_was_cut_short_is_not_read(void **state)
{
    struct sl_shared_name s = {0}, copy = {0};
    struct sl_named_address v = address(1, 1);
    struct sl_named_answer a;
    uint32_t seq;
    (void)state;
    assert_true(sl_named_write(&s, &v, 1));
    s.seq++; /* its writer died */
    memset(s.answer, 0xff, sizeof(s.answer));
    assert_int_equal(sl_named_read(&s, &a, &seq), -EAGAIN);
    assert_false(sl_named_copy(&copy, &s));
    assert_true(sl_named_write(&s, &v, 1)); /* and its successor puts it right */
    assert_int_equal(answer(&s).n, 1);
    assert_true(sl_named_copy(&copy, &s));
    assert_int_equal(answer(&copy).v[0].ip[3], 1);
}

struct race {
    struct sl_shared_name s;
    atomic_bool stop;
};

static void *writer(void *arg)
{
    struct race *r = arg;
    struct sl_named_address v[SL_NAMED_MAX];
    for (uint8_t round = 1; !atomic_load(&r->stop); round = round == 200 ? 1 : round + 1) {
        for (unsigned i = 0; i < SL_NAMED_MAX; i++) {
            v[i] = address((uint8_t)i, round);
            v[i].ip[0] = round;
        }
        (void)sl_named_write(&r->s, v, SL_NAMED_MAX);
    }
    return NULL;
}

static void a_copy_is_of_one_answer(void **state)
{
    static struct race r;
    pthread_t thread;
    struct sl_named_answer a;
    uint32_t seq, seen = 0;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, writer, &r), 0);
    for (unsigned i = 0; seen < 2000 && i < 50000000; i++) {
        if (sl_named_read(&r.s, &a, &seq) < 0 || !seq)
            continue;
        seen++;
        assert_int_equal(a.n, SL_NAMED_MAX);
        for (unsigned k = 0; k < a.n; k++) {
            assert_int_equal(a.v[k].ip[0], a.v[0].ip[0]);
            assert_int_equal(a.v[k].weight, a.v[0].ip[0]);
        }
    }
    atomic_store(&r.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(seen > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_was_answered_yet),  cmocka_unit_test(an_address_that_stays_keeps_its_row),
        cmocka_unit_test(all_rows_can_change_hands), cmocka_unit_test(a_write_that_was_cut_short_is_not_read),
        cmocka_unit_test(a_copy_is_of_one_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
