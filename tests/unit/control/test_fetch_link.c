/* SPDX-License-Identifier: Apache-2.0 */
/* How long connections to a server are kept, and how many, by a clock of the test's: the server takes them
 * and says nothing. */
#include "control_test.h"

#include "control/fetch_priv.h"

struct kept {
    struct sl_loop loop;
    struct sl_fetch_pool *pool;
    struct sl_fetch_request request;
    struct sl_sockaddr server;
    int listener;
    uint64_t connects;
};

static char _fetch; /* nobody looks into it while nothing happens */
#define FETCH ((struct sl_fetch *)&_fetch)

static int kept_new(void **state)
{
    struct kept *k = calloc(1, sizeof(*k));
    if (!k || sl_loop_init(&k->loop) < 0)
        return -1;
    sl_tls_init();
    k->server = (struct sl_sockaddr){.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                                     .len = sizeof(struct sockaddr_in)};
    k->listener = listen_on(&k->server);
    k->pool = sl_fetch_pool_new(&k->loop, &k->connects);
    k->request = (struct sl_fetch_request){.tls = SSL_CTX_new(TLS_client_method()), .pool = k->pool};
    *state = k;
    return k->listener >= 0 && k->pool && k->request.tls ? 0 : -1;
}

static int kept_free(void **state)
{
    struct kept *k = *state;
    sl_fetch_pool_free(k->pool);
    sl_loop_close(&k->loop);
    SSL_CTX_free(k->request.tls);
    (void)close(k->listener);
    sl_tls_close();
    free(k);
    return 0;
}

static struct sl_fetch_link *link_to(struct kept *k)
{
    struct sl_fetch_link *link;
    assert_int_equal(sl_fetch_link_connect(FETCH, &k->loop, &k->request, "host", &k->server, &link), 0);
    return link;
}

static void test_an_idle_one_is_kept_for_a_while_and_all_in_all_no_longer_than_its_life(void **state)
{
    struct kept *k = *state;
    const uint64_t begin = k->loop.now;
    struct sl_fetch_link *link = link_to(k);
    assert_int_equal(link->idle.at, 0);
    sl_fetch_link_done(link, true);
    assert_int_equal(link->idle.at, begin + SL_FETCH_IDLE_NS);
    k->loop.now = begin + SL_FETCH_LIFE_NS - 1;
    assert_ptr_equal(sl_fetch_link_take(k->pool, FETCH), link);
    assert_true(link->kept && link->idle.at == 0);
    assert_null(sl_fetch_link_take(k->pool, FETCH));
    sl_fetch_link_done(link, true);
    assert_int_equal(link->idle.at, begin + SL_FETCH_LIFE_NS);
    assert_ptr_equal(sl_fetch_link_take(k->pool, FETCH), link);
    k->loop.now = begin + SL_FETCH_LIFE_NS;
    assert_int_equal(sl_fetch_pool_connections(k->pool), 1);
    sl_fetch_link_done(link, true);
    assert_int_equal(sl_fetch_pool_connections(k->pool), 0);
    assert_int_equal(k->connects, 1);
}

static void test_when_its_time_is_over_it_is_closed(void **state)
{
    struct kept *k = *state;
    struct sl_fetch_link *link = link_to(k);
    sl_fetch_link_done(link, true);
    sl_timer_set(&k->loop, &link->idle, k->loop.now);
    while (sl_fetch_pool_connections(k->pool))
        ev_run(k->loop.ev, EVRUN_ONCE);
    assert_null(sl_fetch_link_take(k->pool, FETCH));
}

static void test_few_are_kept_and_the_last_used_is_used_next(void **state)
{
    struct kept *k = *state;
    struct sl_fetch_link *links[SL_FETCH_IDLE + 2];
    for (size_t i = 0; i < SL_ARRAY_LEN(links); i++)
        links[i] = link_to(k);
    sl_fetch_link_done(links[SL_FETCH_IDLE + 1], false);
    for (size_t i = 0; i <= SL_FETCH_IDLE; i++)
        sl_fetch_link_done(links[i], true);
    assert_int_equal(sl_fetch_pool_connections(k->pool), SL_FETCH_IDLE);
    assert_ptr_equal(sl_fetch_link_take(k->pool, FETCH), links[SL_FETCH_IDLE - 1]);
    sl_fetch_pool_drop(k->pool);
    assert_int_equal(sl_fetch_pool_connections(k->pool), 1);
    sl_fetch_link_close(links[SL_FETCH_IDLE - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_an_idle_one_is_kept_for_a_while_and_all_in_all_no_longer_than_its_life, kept_new, kept_free),
        cmocka_unit_test_setup_teardown(test_when_its_time_is_over_it_is_closed, kept_new, kept_free),
        cmocka_unit_test_setup_teardown(test_few_are_kept_and_the_last_used_is_used_next, kept_new,
                                        kept_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
