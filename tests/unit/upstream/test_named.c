/* SPDX-License-Identifier: Apache-2.0 */
/* A group of targets by DNS: its members follow the answers, and pools of addresses that stay are kept. */
#include "telemetry/named.h"
#include "upstream/group_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct sl_loop loop;
    struct sl_bufpool bufs;
    struct sl_upstreams all;
    struct sl_worker_counters *counters;
    struct sl_shared_health *health;
    struct sl_target targets[2];
    struct sl_upstream cfg;
    struct sl_group *g;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_int_equal(sl_loop_init(&w->loop), 0);
    w->counters = calloc(1, sizeof(*w->counters));
    w->health = aligned_alloc(SL_CACHE_LINE, sizeof(*w->health));
    memset(w->health, 0, sizeof(*w->health));
    sl_upstreams_init(&w->all, &w->loop, &w->bufs, w->counters, w->health);
    w->targets[0] =
        (struct sl_target){.text = "dns:a.test:80", .weight = 4, .slot = 1, .dns = {"a.test", 80, false}};
    w->targets[1] = (struct sl_target){.text = "127.0.0.1:9", .weight = 1, .slot = 2};
    assert_int_equal(sl_sockaddr_parse(SL_S("127.0.0.1:9"), &w->targets[1].address), 0);
    w->cfg = (struct sl_upstream){.name = "u", .targets = w->targets, .n_targets = 2, .slot = 1};
    w->cfg.health.panic = 30;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    sl_group_free(w->g);
    assert_true(sl_list_empty(&w->all.pools));
    sl_loop_close(&w->loop);
    free(w->counters);
    free(w->health);
    free(w);
    return 0;
}

static void begin(struct world *w, size_t n, enum sl_balance how)
{
    w->cfg.n_targets = n;
    w->cfg.balance = how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &w->g), 0);
}

/* The name's addresses become 10.0.0.x of `last`, with these weights. */
static void say(struct world *w, size_t n, const uint8_t *last, const uint32_t *weights)
{
    struct sl_named_address v[SL_NAMED_MAX];
    for (size_t i = 0; i < n; i++)
        v[i] = (struct sl_named_address){
            .ip = {10, 0, 0, last[i]}, .family = SL_AF_INET, .port = 80, .weight = weights ? weights[i] : 1};
    if (sl_named_write(&w->health->names[1], v, n))
        sl_health_changed(w->health);
}

static struct sl_pool *pick(struct world *w)
{
    return sl_balance_pick(w->g, &(struct sl_attempts){0});
}

static size_t share(struct world *w, const char *text, unsigned of)
{
    size_t n = 0;
    for (unsigned i = 0; i < of; i++)
        n += strcmp(pick(w)->text, text) == 0;
    return n;
}

static void without_an_answer_there_is_no_member(void **state)
{
    struct world *w = *state;
    struct sl_attempts a = {0};
    struct sl_upconn *c;
    begin(w, 1, SL_BALANCE_ROUND_ROBIN);
    assert_int_equal(sl_group_size(w->g), 0);
    assert_int_equal(sl_group_connect(w->g, &a, 1, SL_REUSE_ANY, NULL, NULL, &c), SL_GROUP_UNRESOLVED);
    say(w, 1, (const uint8_t[]){7}, NULL);
    assert_string_equal(pick(w)->text, "10.0.0.7:80");
    assert_int_equal(sl_group_size(w->g), 1);
}

static void addresses_share_the_weight(void **state)
{
    struct world *w = *state;
    say(w, 2, (const uint8_t[]){1, 2}, NULL);
    begin(w, 2, SL_BALANCE_ROUND_ROBIN);
    assert_int_equal(share(w, "127.0.0.1:9", 10), 2);
    assert_int_equal(share(w, "10.0.0.1:80", 10), 4);
    say(w, 2, (const uint8_t[]){1, 2}, (const uint32_t[]){3, 1});
    assert_int_equal(share(w, "10.0.0.1:80", 10), 6);
    assert_int_equal(share(w, "127.0.0.1:9", 10), 2);
}

static void pools_of_those_that_stay_are_kept(void **state)
{
    struct world *w = *state;
    say(w, 2, (const uint8_t[]){1, 2}, NULL);
    begin(w, 1, SL_BALANCE_HASH_IP);
    (void)pick(w);
    struct sl_pool *one = w->g->members[0].pool, *two = w->g->members[1].pool;
    assert_ptr_equal(two->shared, &w->health->names[1].rows[1]);
    two->refs++; /* a connection of it is in use */
    say(w, 2, (const uint8_t[]){3, 1}, NULL);
    (void)pick(w);
    assert_ptr_equal(w->g->members[0].pool, one);
    assert_string_equal(w->g->members[1].pool->text, "10.0.0.3:80");
    assert_int_equal(two->groups, 0);
    assert_non_null(w->g->maglev);
    say(w, 1, (const uint8_t[]){2}, NULL); /* it comes back before its connection ends */
    assert_ptr_equal(pick(w), two);
    sl_pool_unref(two);
}

static void rows_are_of_addresses_and_drain_of_the_name(void **state)
{
    struct world *w = *state;
    say(w, 2, (const uint8_t[]){1, 2}, NULL);
    begin(w, 1, SL_BALANCE_ROUND_ROBIN);
    w->health->names[1].rows[0].unhealthy = 1;
    sl_health_changed(w->health);
    assert_int_equal(share(w, "10.0.0.2:80", 10), 10);
    w->health->targets[1].drained = 1;
    sl_health_changed(w->health);
    assert_null(pick(w));
    assert_true(w->g->drained);
}

static void an_answer_that_is_being_written_is_waited_for(void **state)
{
    struct world *w = *state;
    say(w, 1, (const uint8_t[]){1}, NULL);
    w->health->names[1].seq++;
    begin(w, 1, SL_BALANCE_ROUND_ROBIN);
    assert_int_equal(sl_group_size(w->g), 0);
    say(w, 1, (const uint8_t[]){1}, NULL);
    assert_string_equal(pick(w)->text, "10.0.0.1:80");
    w->health->names[1].seq++; /* its writer died: what was stays */
    sl_health_changed(w->health);
    assert_string_equal(pick(w)->text, "10.0.0.1:80");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(without_an_answer_there_is_no_member),
        T(addresses_share_the_weight),
        T(pools_of_those_that_stay_are_kept),
        T(rows_are_of_addresses_and_drain_of_the_name),
        T(an_answer_that_is_being_written_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
