/* SPDX-License-Identifier: Apache-2.0 */
/* From workers' rows to evidence, by a clock of the test's: windows, askers, limits that refuse, and
 * policies. */
#include "control_test.h"

#include "control/demand_priv.h"

enum { SECOND, MINUTE, HOUR, DAY };

#define LIMITS                                                                                            \
    "version: 1\nworkers: 2\nlisteners: {main: {bind: ['127.0.0.1:1']}}\n"                                \
    "auth: {k: {type: key}}\nlimits: {rate_limit: {minute: 1000}}\n"                                      \
    "tiers: {gold: {rate_limit: {second: 5, minute: 60}}}\n"                                              \
    "consumers: {acme: {tier: gold}, bolt: {tier: gold}, own: {rate_limit: {minute: 30}}, free: {}}\n"    \
    "routes: {a: {paths: [/a], auth: [k], respond: {}, rate_limit: {hour: 100}}, b: {paths: [/b], auth: " \
    "[k], "                                                                                               \
    "respond: {}}}\n"

/* Midnight of a day, and the loop's clock then. */
#define MIDNIGHT (19700ull * 86400)
#define SINCE    5000ull

struct clocked {
    struct daemon *d;
    struct sl_control c;
    uint64_t s; /* since midnight */
};

static void begin(struct clocked *k, struct daemon *d, const char *policy)
{
    compile(d, policy);
    *k = (struct clocked){.d = d, .c = {.args = &d->args, .bundle = d->bundle, .snapshot = d->snapshot}};
    assert_int_equal(sl_demand_start(&k->c), 0);
}

static void end(struct clocked *k)
{
    sl_demand_stop(&k->c);
}

static void tick_at(struct clocked *k, uint64_t s)
{
    k->s = s;
    sl_demand_read_all(k->c.demand, (MIDNIGHT + s) * SL_NS_PER_SEC, (SINCE + s) * SL_NS_PER_SEC);
}

/* The next n seconds, without anybody asking. */
static void rest(struct clocked *k, uint64_t n)
{
    while (n--)
        tick_at(k, k->s + 1);
}

static uint32_t consumer(struct clocked *k, const char *name)
{
    return ((const struct sl_consumer *)sl_map_get(&k->d->snapshot->consumers_by_name, sl_slice_str(name)))
        ->slot;
}

static struct sl_demand_row *ask_of(struct clocked *k, unsigned worker, uint32_t route, const char *name,
                                    uint32_t requests)
{
    struct sl_demand_row *row =
        sl_demand_take(k->d->args.counters.blocks[worker].demand,
                       sl_demand_key(route, SL_ASKER_CONSUMER, consumer(k, name)), (uint32_t)(SINCE + k->s));
    row->asked += requests;
    return row;
}

static struct sl_evidence_sum sum(struct clocked *k, enum sl_evidence_kind kind, const char *name, unsigned w)
{
    struct sl_evidence_sum s = {0};
    const int i = sl_demand_series(k->c.demand, kind, name);
    if (i >= 0)
        sl_evidence_sum(k->c.demand->evidence, (uint32_t)i, w, &s);
    return s;
}

static void one_asker_is_added_up_over_routes_and_workers(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 0);
    ask_of(&k, 0, 1, "acme", 3);
    ask_of(&k, 1, 1, "acme", 4);
    ask_of(&k, 1, 2, "acme", 5);
    ask_of(&k, 0, 1, "bolt", 2);
    tick_at(&k, 1);
    struct sl_evidence_sum s = sum(&k, SL_EVIDENCE_ROUTE, "a", SECOND);
    assert_true(s.peak == 7 && s.busy == 2 && s.watched == 1); /* of one of them, on this route */
    assert_true(sum(&k, SL_EVIDENCE_ROUTE, "b", SECOND).peak == 5);
    assert_true(sum(&k, SL_EVIDENCE_TIER, "gold", SECOND).peak == 12);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "acme", SECOND).peak == 12);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "bolt", SECOND).peak == 2);
    assert_true(sum(&k, SL_EVIDENCE_ALL, "", SECOND).peak == 12);
    ask_of(&k, 0, 1, "acme", 1);
    tick_at(&k, 2);
    assert_true(sum(&k, SL_EVIDENCE_ALL, "", SECOND).peak == 12);
    assert_true(sum(&k, SL_EVIDENCE_ALL, "", MINUTE).peak == 13); /* also before it has ended */
    end(&k);
}

static void windows_that_were_not_watched_whole_count_for_the_peak_alone(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 30);
    ask_of(&k, 0, 2, "free", 40);
    rest(&k, 30);
    struct sl_evidence_sum s = sum(&k, SL_EVIDENCE_CONSUMER, "free", MINUTE);
    assert_true(s.peak == 40 && s.busy == 0 && s.watched == 0);
    ask_of(&k, 0, 2, "free", 10);
    rest(&k, 60);
    ask_of(&k, 0, 2, "free", 20);
    rest(&k, 60);
    s = sum(&k, SL_EVIDENCE_CONSUMER, "free", MINUTE);
    assert_true(s.peak == 40 && s.busy == 2 && s.watched == 2 && s.p99 >= 20 && s.p99 <= 22);
    tick_at(&k, 400); /* the machine stood still: no window is known that it was in */
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "free", MINUTE).watched == 2);
    rest(&k, 3600 - 400);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "free", HOUR).watched == 0);
    rest(&k, 3600);
    s = sum(&k, SL_EVIDENCE_CONSUMER, "free", HOUR);
    assert_true(s.watched == 1 && s.busy == 0 && s.peak == 70);
    end(&k);
}

static void a_slow_tick_tells_nothing_of_a_second(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 0);
    ask_of(&k, 0, 1, "acme", 50);
    tick_at(&k, 3);
    const struct sl_evidence_sum s = sum(&k, SL_EVIDENCE_CONSUMER, "acme", SECOND);
    assert_true(s.peak == 0 && s.busy == 0 && s.watched == 0);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "acme", MINUTE).peak == 50);
    end(&k);
}

static void the_limit_that_refused_is_the_one_that_binds(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 0);
    rest(&k, 60);
    ask_of(&k, 0, 1, "acme", 9)->refused[SL_DEMAND_OWN][MINUTE] = 4;
    ask_of(&k, 0, 1, "own", 9)->refused[SL_DEMAND_OWN][MINUTE] = 1;
    ask_of(&k, 0, 2, "bolt", 9)->refused[SL_DEMAND_ALL][MINUTE] = 1;
    ask_of(&k, 1, 1, "bolt", 9)->refused[SL_DEMAND_ROUTE][HOUR] = 1;
    rest(&k, 120);
    const struct sl_evidence_sum s = sum(&k, SL_EVIDENCE_TIER, "gold", MINUTE);
    assert_true(s.bound == 1 && s.bound_of == 3 - 1);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "acme", MINUTE).bound == 0);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "own", MINUTE).bound == 1);
    assert_true(sum(&k, SL_EVIDENCE_ALL, "", MINUTE).bound == 1);
    assert_true(sum(&k, SL_EVIDENCE_ROUTE, "a", MINUTE).bound == 0);
    assert_true(sum(&k, SL_EVIDENCE_ROUTE, "a", HOUR).bound == 0); /* its hour has not ended */
    end(&k);
}

static void days_in_which_it_bound_are_counted(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 86400 - 1);
    tick_at(&k, 86400);
    for (unsigned day = 1; day <= 3; day++) {
        ask_of(&k, 0, 1, "own", 9)->refused[SL_DEMAND_OWN][MINUTE] += day < 3;
        for (uint64_t s = 60; s <= 86400; s += 60) /* a tick a minute does for a day */
            tick_at(&k, day * 86400 + s);
    }
    const struct sl_evidence_sum s = sum(&k, SL_EVIDENCE_CONSUMER, "own", MINUTE);
    assert_true(s.bound_days == 2 && s.bound_days_of == 3 && s.bound == 2);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "own", DAY).busy == 3);
    end(&k);
}

static void what_was_there_before_is_not_counted_again(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    ask_of(&k, 0, 1, "acme", 1000);
    tick_at(&k, 0);
    ask_of(&k, 0, 1, "acme", 2);
    tick_at(&k, 1);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "acme", MINUTE).peak == 2);
    end(&k);
    assert_int_equal(sl_demand_start(&k.c), 0); /* the controller died, and another reads on */
    tick_at(&k, 3);
    ask_of(&k, 0, 1, "acme", 3);
    tick_at(&k, 4);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "acme", MINUTE).peak == 3);
    end(&k);
}

static void strangers_are_of_the_tier_anonymous(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    struct sl_demand_row *rows = k.d->args.counters.blocks[0].demand;
    tick_at(&k, 0);
    sl_demand_take(rows, sl_demand_key(2, SL_ASKER_ADDRESS, 77), SINCE)->asked = 6;
    sl_demand_take(rows, sl_demand_key(2, SL_ASKER_NAME, 77), SINCE)->asked = 4;
    tick_at(&k, 1);
    assert_true(sum(&k, SL_EVIDENCE_TIER, k.d->snapshot->anonymous->name, SECOND).peak == 6);
    assert_true(sum(&k, SL_EVIDENCE_ROUTE, "b", SECOND).busy == 2);
    const int route = sl_demand_series(k.c.demand, SL_EVIDENCE_ROUTE, "b");
    assert_int_equal(k.c.demand->evidence->series[route].askers,
                     1u << SL_ASKER_ADDRESS | 1u << SL_ASKER_NAME);
    end(&k);
}

/* More askers than rows: the quiet ones go, with what they asked, and who asks is still counted. */
static void more_askers_than_rows(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    struct sl_demand_row *rows = k.d->args.counters.blocks[0].demand;
    tick_at(&k, 0);
    uint64_t told = 0;
    for (uint64_t i = 0; i < 40000; i++) {
        struct sl_demand_row *row =
            sl_demand_take(rows, sl_demand_key(2, SL_ASKER_ADDRESS, i * 7919 + 1), (uint32_t)(SINCE + k.s));
        told += row != NULL;
        if (row)
            row->asked++;
        if (i % 1000 == 999)
            rest(&k, 62);
    }
    const struct sl_demand *d = k.c.demand;
    assert_true(told > 39000);
    assert_int_equal(d->forgotten, 0);
    assert_true(sum(&k, SL_EVIDENCE_TIER, k.d->snapshot->anonymous->name, MINUTE).busy >= told - 1000);
    end(&k);
}

static void another_policy_names_what_it_has(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 0);
    ask_of(&k, 0, 1, "acme", 5)->refused[SL_DEMAND_OWN][MINUTE] = 1;
    tick_at(&k, 1);
    sl_snapshot_unref(k.d->snapshot);
    sl_bundle_free(k.d->bundle);
    compile(k.d,
            "version: 1\nworkers: 2\nlisteners: {main: {bind: ['127.0.0.1:1']}}\nauth: {k: {type: key}}\n"
            "tiers: {gold: {rate_limit: {minute: 90}}}\nconsumers: {acme: {tier: gold}}\n"
            "routes: {a: {paths: [/a], auth: [k], respond: {}}}\n");
    k.c.bundle = k.d->bundle;
    k.c.snapshot = k.d->snapshot;
    assert_int_equal(sl_demand_start(&k.c), 0);
    ask_of(&k, 0, 1, "acme", 2);
    tick_at(&k, 2);
    assert_true(sum(&k, SL_EVIDENCE_TIER, "gold", MINUTE).peak == 7);
    json_t *j = sl_suggest_json(&k.c), *limits = json_object_get(j, "limits");
    assert_int_equal(json_array_size(limits),
                     2); /* the tier's, and the route that has none; nothing of before */
    const json_t *tier = json_array_get(limits, 0),
                 *minute = json_array_get(json_object_get(tier, "windows"), 1);
    assert_string_equal(json_string_value(json_object_get(tier, "section")), "tiers");
    assert_int_equal(json_integer_value(json_object_get(tier, "line")), 5);
    assert_int_equal(json_integer_value(json_object_get(minute, "limit")), 90);
    assert_int_equal(json_integer_value(json_object_get(minute, "peak")), 7);
    json_decref(j);
    end(&k);
}

/* A worker counts the request, then who refused it: the tick may come between. */
static void a_refusal_that_comes_behind_the_tick_is_not_lost(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 0);
    rest(&k, 60);
    struct sl_demand_row *row = ask_of(&k, 0, 1, "own", 9);
    tick_at(&k, k.s + 1);
    row->refused[SL_DEMAND_OWN][MINUTE]++;
    tick_at(&k, k.s + 1);
    row->asked++;
    rest(&k, 60);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "own", MINUTE).bound == 1);
    end(&k);
}

static void who_moves_into_a_place_that_is_left_takes_his_refusals_along(void **state)
{
    struct clocked k;
    char name[32];
    begin(&k, *state, LIMITS);
    struct sl_demand *d = k.c.demand;
    while (sl_evidence_count(d->evidence) < SL_EVIDENCE_SERIES - 1) {
        (void)snprintf(name, sizeof(name), "gone-%u", sl_evidence_count(d->evidence));
        assert_true(sl_evidence_new(d->evidence, SL_EVIDENCE_CONSUMER, name) >= 0);
    }
    const int last = sl_evidence_new(d->evidence, SL_EVIDENCE_CONSUMER, "free");
    assert_int_equal(last, SL_EVIDENCE_SERIES - 1);
    d->refused[last - 1] = 0x11u << HOUR;
    d->refused[last] = 0x11u << MINUTE;
    assert_int_equal(sl_demand_start(&k.c), 0);
    const int now = sl_demand_series(d, SL_EVIDENCE_CONSUMER, "free");
    assert_true(now >= 0 && now < last);
    assert_int_equal(d->refused[now], 0x11u << MINUTE);
    end(&k);
}

static void a_consumers_new_limit_is_not_blamed_for_the_former_ones_refusals(void **state)
{
    struct clocked k;
    begin(&k, *state, LIMITS);
    tick_at(&k, 0);
    rest(&k, 60);
    ask_of(&k, 0, 1, "own", 9)->refused[SL_DEMAND_OWN][MINUTE] = 1;
    rest(&k, 120);
    assert_true(sum(&k, SL_EVIDENCE_CONSUMER, "own", MINUTE).bound == 1);
    sl_snapshot_unref(k.d->snapshot);
    sl_bundle_free(k.d->bundle);
    compile(
        k.d,
        "version: 1\nworkers: 2\nlisteners: {main: {bind: ['127.0.0.1:1']}}\nauth: {k: {type: key}}\n"
        "consumers: {own: {rate_limit: {minute: 31}}}\nroutes: {a: {paths: [/a], auth: [k], respond: {}}}\n");
    k.c.bundle = k.d->bundle;
    k.c.snapshot = k.d->snapshot;
    assert_int_equal(sl_demand_start(&k.c), 0);
    json_t *j = sl_suggest_json(&k.c);
    const json_t *own = json_array_get(json_object_get(j, "limits"), 0),
                 *minute = json_array_get(json_object_get(own, "windows"), 1);
    assert_string_equal(json_string_value(json_object_get(own, "name")), "own");
    assert_int_equal(json_integer_value(json_object_get(minute, "limit")), 31);
    assert_int_equal(json_integer_value(json_object_get(minute, "bound")), 0);
    json_decref(j);
    end(&k);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, daemon_new, daemon_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_asker_is_added_up_over_routes_and_workers),
        TEST(windows_that_were_not_watched_whole_count_for_the_peak_alone),
        TEST(a_slow_tick_tells_nothing_of_a_second),
        TEST(the_limit_that_refused_is_the_one_that_binds),
        TEST(days_in_which_it_bound_are_counted),
        TEST(what_was_there_before_is_not_counted_again),
        TEST(strangers_are_of_the_tier_anonymous),
        TEST(more_askers_than_rows),
        TEST(another_policy_names_what_it_has),
        TEST(a_refusal_that_comes_behind_the_tick_is_not_lost),
        TEST(who_moves_into_a_place_that_is_left_takes_his_refusals_along),
        TEST(a_consumers_new_limit_is_not_blamed_for_the_former_ones_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
