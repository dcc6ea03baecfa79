/* SPDX-License-Identifier: Apache-2.0 */
/* Errands on their socket: exact sizes, bounds, and what a peer that is slow, wrong or gone looks like. */
#include "net/errand.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static char buf[SL_ERRAND_ANSWER_MAX];
static char big[SL_ERRAND_ANSWER_MAX + 1];

static void pair(int s[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
    memset(big, 'x', sizeof(big));
}

static void test_both_ways(void **state)
{
    (void)state;
    int s[2];
    pair(s);
    struct sl_errand_ask ask = {.kind = SL_ERRAND_INTROSPECT, .id = 7, .version = 3, .source = 99}, heard;
    struct sl_errand_answer answer = {.status = SL_ERRAND_REFUSED, .id = 7, .expires_ns = 5}, told;
    struct sl_slice payload;
    assert_int_equal(sl_errand_recv_ask(s[1], &heard, buf, &payload), 0);
    assert_int_equal(sl_errand_send_ask(s[0], &ask, sl_slice(big, SL_ERRAND_ASK_MAX)), 0);
    assert_int_equal(sl_errand_recv_ask(s[1], &heard, buf, &payload), 1);
    assert_int_equal(payload.n, SL_ERRAND_ASK_MAX);
    assert_memory_equal(payload.p, big, payload.n);
    assert_memory_equal(&heard, &ask, sizeof(ask));
    assert_int_equal(sl_errand_send_answer(s[1], &answer, sl_slice(big, SL_ERRAND_ANSWER_MAX)), 0);
    assert_int_equal(sl_errand_recv_answer(s[0], &told, buf, &payload), 1);
    assert_int_equal(payload.n, SL_ERRAND_ANSWER_MAX);
    assert_memory_equal(&told, &answer, sizeof(answer));
    assert_int_equal(sl_errand_send_answer(s[1], &answer, SL_SLICE_NUL), 0);
    assert_int_equal(sl_errand_recv_answer(s[0], &told, buf, &payload), 1);
    assert_int_equal(payload.n, 0);
    close(s[1]);
    assert_int_equal(sl_errand_recv_answer(s[0], &told, buf, &payload), -EPIPE);
    assert_true(sl_errand_send_ask(s[0], &ask, SL_SLICE_NUL) < 0);
    close(s[0]);
}

static void test_what_is_too_long_is_not_sent(void **state)
{
    (void)state;
    int s[2];
    pair(s);
    struct sl_errand_ask ask = {.kind = SL_ERRAND_INTROSPECT};
    struct sl_errand_answer answer = {.id = 1};
    assert_int_equal(sl_errand_send_ask(s[0], &ask, sl_slice(big, SL_ERRAND_ASK_MAX + 1)), -EMSGSIZE);
    assert_int_equal(sl_errand_send_answer(s[0], &answer, sl_slice(big, SL_ERRAND_ANSWER_MAX + 1)),
                     -EMSGSIZE);
    close(s[0]);
    close(s[1]);
}

static void test_wrong_sizes_are_refused(void **state)
{
    (void)state;
    int s[2];
    pair(s);
    struct sl_errand_ask ask = {.size = sizeof(ask) + 1}, heard;
    struct sl_errand_answer answer = {.size = sizeof(answer), .status = SL_ERRAND_STATUS_COUNT}, told;
    struct sl_slice payload;
    assert_int_equal(send(s[0], &ask, sizeof(ask), 0), sizeof(ask)); /* states more than there is */
    assert_int_equal(sl_errand_recv_ask(s[1], &heard, buf, &payload), -EPROTO);
    assert_int_equal(send(s[0], &ask, 3, 0), 3);
    assert_int_equal(sl_errand_recv_ask(s[1], &heard, buf, &payload), -EPROTO);
    assert_int_equal(send(s[0], big, SL_ERRAND_ASK_MAX + 100, 0), SL_ERRAND_ASK_MAX + 100); /* cut off */
    assert_int_equal(sl_errand_recv_ask(s[1], &heard, buf, &payload), -EPROTO);
    assert_int_equal(send(s[0], &answer, sizeof(answer), 0), sizeof(answer)); /* no such status */
    assert_int_equal(sl_errand_recv_answer(s[1], &told, buf, &payload), -EPROTO);
    close(s[0]);
    close(s[1]);
}

static void test_a_peer_that_does_not_read(void **state)
{
    (void)state;
    int s[2], r = 0;
    pair(s);
    struct sl_errand_ask ask = {.kind = SL_ERRAND_INTROSPECT}, heard;
    struct sl_slice payload;
    for (unsigned i = 0; r == 0 && i < 10000; i++)
        r = sl_errand_send_ask(s[0], &ask, sl_slice(big, SL_ERRAND_ASK_MAX));
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(sl_errand_recv_ask(s[1], &heard, buf, &payload), 1);
    assert_int_equal(sl_errand_send_ask(s[0], &ask, sl_slice(big, SL_ERRAND_ASK_MAX)), 0);
    close(s[0]);
    close(s[1]);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(sl_errand_status_name(SL_ERRAND_OK), "ok");
    assert_string_equal(sl_errand_status_name(SL_ERRAND_GONE), "gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_what_is_too_long_is_not_sent),
        cmocka_unit_test(test_wrong_sizes_are_refused),
        cmocka_unit_test(test_a_peer_that_does_not_read),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
