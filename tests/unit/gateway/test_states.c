/* SPDX-License-Identifier: Apache-2.0 */
/* The edges of both state machines: what must be possible is, what must never happen is not. */
#include "gateway/exchange_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_every_exchange_can_end_and_only_once(void **state)
{
    (void)state;
    for (enum sl_exchange_state s = SL_EX_STAGES; s < SL_EX_DONE; s++)
        assert_true(sl_exchange_edge(s, SL_EX_DONE));
    for (enum sl_exchange_state s = 0; s < SL_EX_STATES; s++) {
        assert_int_equal(sl_exchange_edge(SL_EX_DONE, s), s == SL_EX_FREE);
        assert_int_equal(sl_exchange_edge(SL_EX_FREE, s), s == SL_EX_STAGES);
        assert_false(sl_exchange_edge(s, s));
    }
}

static void test_no_way_back_once_an_answer_has_begun(void **state)
{
    (void)state;
    for (enum sl_exchange_state s = 0; s < SL_EX_STREAMING; s++) {
        assert_false(sl_exchange_edge(SL_EX_STREAMING, s));
        assert_false(sl_exchange_edge(SL_EX_FLUSHING, s));
    }
    assert_true(sl_exchange_edge(SL_EX_SENDING, SL_EX_CONNECTING)); /* the replay */
    assert_true(sl_exchange_edge(SL_EX_AWAITING, SL_EX_CONNECTING));
    assert_true(sl_exchange_edge(SL_EX_SENDING, SL_EX_STREAMING)); /* an answer before the request's end */
}

static void test_every_connection_can_close_and_stays_closed(void **state)
{
    (void)state;
    for (enum sl_conn_state s = 0; s < SL_CONN_CLOSED; s++)
        assert_true(sl_conn_edge(s, SL_CONN_CLOSED));
    for (enum sl_conn_state s = 0; s < SL_CONN_STATES; s++)
        assert_false(sl_conn_edge(SL_CONN_CLOSED, s));
    assert_false(sl_conn_edge(SL_CONN_HANDSHAKE, SL_CONN_EXCHANGE)); /* nothing is served before TLS stands */
    assert_false(sl_conn_edge(SL_CONN_PROXIED, SL_CONN_EXCHANGE));
    assert_false(sl_conn_edge(SL_CONN_LINGER, SL_CONN_IDLE));
}

static void test_states_have_names_of_their_own(void **state)
{
    (void)state;
    for (enum sl_exchange_state a = 0; a < SL_EX_STATES; a++)
        for (enum sl_exchange_state b = a + 1; b < SL_EX_STATES; b++)
            assert_string_not_equal(sl_exchange_state_name(a), sl_exchange_state_name(b));
    for (enum sl_conn_state a = 0; a < SL_CONN_STATES; a++)
        for (enum sl_conn_state b = a + 1; b < SL_CONN_STATES; b++)
            assert_string_not_equal(sl_conn_state_name(a), sl_conn_state_name(b));
    assert_string_equal(sl_exchange_state_name(SL_EX_STATES), "?");
    assert_string_equal(sl_conn_state_name(SL_CONN_STATES), "?");
}

static void test_uuids_are_version_4_and_differ(void **state)
{
    (void)state;
    static struct sl_uuid_source u = {.used = sizeof(u.bytes)};
    char seen[600][SL_UUID_LEN];
    for (size_t i = 0; i < 600; i++) { /* past two refills */
        assert_int_equal(sl_uuid_new(&u, seen[i]), 0);
        assert_int_equal(seen[i][14], '4');
        assert_non_null(memchr("89ab", seen[i][19], 4));
        for (size_t k = 0; k < SL_UUID_LEN; k++) {
            bool dash = k == 8 || k == 13 || k == 18 || k == 23;
            assert_int_equal(seen[i][k] == '-', dash);
        }
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(seen[i], seen[k], SL_UUID_LEN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_exchange_can_end_and_only_once),
        cmocka_unit_test(test_no_way_back_once_an_answer_has_begun),
        cmocka_unit_test(test_every_connection_can_close_and_stays_closed),
        cmocka_unit_test(test_states_have_names_of_their_own),
        cmocka_unit_test(test_uuids_are_version_4_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
