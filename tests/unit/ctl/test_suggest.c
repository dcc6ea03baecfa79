/* SPDX-License-Identifier: Apache-2.0 */
/* From the daemon's evidence to a patch: which windows are proposed, how it reads, and names that would make
 * it say something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/suggest_priv.h"

#define MOST 8

/* A window of a limit: limit, peak, p99, busy, watched, bound. */
#define W(name, limit, peak, p99, busy, watched, bound)                                                 \
    "{\"window\":\"" name "\",\"limit\":" #limit ",\"peak\":" #peak ",\"p99\":" #p99 ",\"busy\":" #busy \
    ",\"watched\":" #watched ",\"bound\":" #bound ",\"bound_of\":" #watched "}"
#define NOTHING(name) W(name, 0, 0, 0, 0, 0, 0)
#define LIMIT(section, name, by, askers, windows)                                              \
    "{\"section\":\"" section "\",\"name\":\"" name "\",\"by\":\"" by "\",\"askers\":[" askers \
    "],\"windows\":[" windows "]}"
#define ANSWER(limits) "{\"since_s\":1700000000,\"watched_s\":32400,\"limits\":[" limits "]}"

/* The YAML of an answer, judged by the defaults; the test frees it by sl_buf_free. */
static struct sl_buf yaml_under(const char *json, double per_second)
{
    struct sl_suggest_limit v[MOST];
    struct sl_buf out = {0};
    json_t *j = json_loads(json, 0, NULL);
    assert_non_null(j);
    const json_t *limits = json_object_get(j, "limits");
    const size_t n = json_array_size(limits);
    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++)
        sl_suggest_judge(json_array_get(limits, i), &sl_propose_defaults, per_second, &v[i]);
    assert_int_equal(sl_suggest_yaml(j, v, n, 1.5, &out), 0);
    assert_int_equal(sl_buf_append(&out, "", 1), 0);
    json_decref(j);
    return out;
}

static void want_yaml(const char *json, double per_second, const char *wanted)
{
    struct sl_buf SL_BUF out = yaml_under(json, per_second);
    const char *behind = strstr(sl_buf_data(&out), "apply that.\n");
    assert_non_null(behind);
    assert_string_equal(strchr(behind, '\n') + 1, wanted);
}

static void a_line_says_what_it_is_made_of(void **state)
{
    (void)state;
    struct sl_buf SL_BUF out = yaml_under(ANSWER(""), 0);
    assert_string_equal(
        sl_buf_data(&out),
        "# Limits by what was asked for in 9h00m that were watched since 2023-11-14T22:13:20Z, with "
        "a headroom of 1.5.\n# Peak and p99 are requests of one consumer, or address, in one "
        "window. Nothing is applied by this:\n# merge it into the policy, then check and apply "
        "that.\n{}\n");
    want_yaml(ANSWER(LIMIT("tiers", "partner", "consumer", "\"consumer\"",
                           NOTHING("second") "," W("minute", 600, 780, 640, 500, 540, 14) "," W(
                               "hour", 20000, 9000, 9000, 30, 30, 0) "," W("day", 900000, 9, 9, 1, 1, 0))),
              0,
              "tiers:\n"
              "  partner:\n"
              "    rate_limit:\n"
              "      minute: 1200   # peak 780, p99 640 in 540 minutes; now 600: bound in 14 of 540 minutes\n"
              "# tier partner: hour: 20000 stays: peak 9000, p99 9000 in 30 hours; never bound\n"
              "# tier partner: day: 900000 stays: too little was seen: asked in 1, of 1 days\n");
}

static void sections_stand_once_and_all_routes_have_no_name(void **state)
{
    (void)state;
    want_yaml(
        ANSWER(LIMIT("limits", "", "consumer", "\"consumer\"", W("second", 9000, 10, 9, 60, 60, 0)) "," LIMIT(
            "routes", "a", "consumer", "",
            W("second", 9000, 10, 9, 60, 60, 0)) "," LIMIT("routes", "b", "consumer", "",
                                                           W("second", 9000, 10, 9, 60, 60, 0))),
        0,
        "limits:\n"
        "  rate_limit:\n"
        "    second: 15   # peak 10, p99 9 in 60 seconds; now 9000: never bound\n"
        "routes:\n"
        "  a:\n"
        "    rate_limit:\n"
        "      second: 15   # peak 10, p99 9 in 60 seconds; now 9000: never bound\n"
        "  b:\n"
        "    rate_limit:\n"
        "      second: 15   # peak 10, p99 9 in 60 seconds; now 9000: never bound\n");
}

/* A minute's where there is enough of minutes, else a second's, else none. */
static void without_a_limit_one_window_is_proposed(void **state)
{
    (void)state;
    want_yaml(ANSWER(LIMIT("consumers", "a", "consumer", "",
                           W("second", 0, 5, 5, 90, 3000,
                             0) "," W("minute", 0, 50, 40, 50, 50,
                                      0)) "," LIMIT("consumers", "b", "consumer", "",
                                                    W("second", 0, 5, 5, 90, 300,
                                                      0) "," W("minute", 0, 50, 40, 5, 5,
                                                               0)) "," LIMIT("consumers", "c", "consumer", "",
                                                                             W("second", 0, 5, 5, 9, 9,
                                                                               0) "," NOTHING("minute"))),
              0,
              "consumers:\n"
              "  a:\n"
              "    rate_limit:\n"
              "      minute: 80   # peak 50, p99 40 in 50 minutes; now without a limit\n"
              "  b:\n"
              "    rate_limit:\n"
              "      second: 8   # peak 5, p99 5 in 300 seconds; now without a limit\n"
              "# consumer c: no limit: too little was seen: asked in 0, of 0 minutes\n");
}

static void no_name_makes_it_say_something_else(void **state)
{
    (void)state;
    want_yaml("{\"limits\":[" LIMIT("routes", "x: {y: 1}\\n evil", "consumer", "",
                                    W("second", 0, 5, 5, 90, 300,
                                      0)) "," LIMIT("routes", "yes", "consumer", "",
                                                    W("second", 0, 5, 5, 90, 300,
                                                      0)) ","
                                                          "{\"section\":\"routes\",\"name\":\"r\\nq\","
                                                          "\"file\":\"a\\nb\",\"line\":3,\"by\":\"consumer\","
                                                          "\"windows\":[" W("second", 9000, 10, 9, 60, 60,
                                                                            0) "," W("minute", 9, 1, 1, 1, 1,
                                                                                     0) "]}]}",
              0,
              "routes:\n"
              "  \"x: {y: 1}\\n evil\":\n"
              "    rate_limit:\n"
              "      second: 8   # peak 5, p99 5 in 300 seconds; now without a limit\n"
              "  \"yes\":\n"
              "    rate_limit:\n"
              "      second: 8   # peak 5, p99 5 in 300 seconds; now without a limit\n"
              "  \"r\\nq\":\n"
              "    rate_limit:   # now at a\\x0ab:3\n"
              "      second: 15   # peak 10, p99 9 in 60 seconds; now 9000: never bound\n"
              "# route r\\x0aq: minute: 9 stays: too little was seen: asked in 1, of 1 minutes\n");
}

/* What `check` would refuse is not proposed. */
static void the_kernel_admits_no_more(void **state)
{
    (void)state;
    want_yaml(ANSWER(LIMIT("tiers", "a", "consumer", "",
                           W("second", 50, 780, 640, 500, 540,
                             14) "," W("minute", 600, 780, 640, 500, 540,
                                       14)) "," LIMIT("tiers", "b", "consumer", "",
                                                      W("second", 90, 780, 640, 500, 540, 14))),
              90,
              "tiers:\n"
              "  a:\n"
              "    rate_limit:\n"
              "      second: 80   # peak 780, p99 640 in 540 seconds; now 50: bound in 14 of 540 seconds; "
              "the kernel "
              "admits no more\n"
              "      minute: 1200   # peak 780, p99 640 in 540 minutes; now 600: bound in 14 of 540 minutes\n"
              "# tier b: second: 90 stays: peak 780, p99 640 in 540 seconds; bound in 14 of 540 seconds; the "
              "kernel "
              "admits no more\n");
}

static void what_is_counted_in_another_way_is_not_judged(void **state)
{
    (void)state;
    want_yaml(
        ANSWER(LIMIT("routes", "a", "ip", "\"address\"", W("second", 9000, 10, 9, 60, 60, 0)) "," LIMIT(
            "routes", "b", "ip", "\"consumer\",\"address\"",
            W("second", 9000, 10, 9, 60, 60,
              0)) "," LIMIT("routes", "c", "ip", "\"consumer\"",
                            W("second", 9000, 10, 9, 60, 60,
                              3)) "," LIMIT("routes", "d", "header", "\"address\"",
                                            W("second", 9000, 10, 9, 60, 60, 0))),
        0,
        "routes:\n"
        "  a:\n"
        "    rate_limit:\n"
        "      second: 15   # peak 10, p99 9 in 60 seconds; now 9000: never bound\n"
        "# route b: second: 9000 stays: it counts addresses, and consumers are among those who asked\n"
        "# route c: second: 9000 stays: it counts addresses, and those who asked are consumers; bound in 3 "
        "of "
        "60 seconds\n"
        "# route d: second: 9000 stays: what it counts by is not watched: consumers and addresses are\n");
}

static void shadows_and_limits_of_all_hosts(void **state)
{
    (void)state;
    want_yaml(
        "{\"limits\":[{\"section\":\"tiers\",\"name\":\"a\",\"by\":\"consumer\",\"shadow\":true,\"windows\":"
        "[" W("second", 5, 780, 640, 500, 540,
              0) "]},"
                 "{\"section\":\"tiers\",\"name\":\"b\",\"by\":\"consumer\",\"cluster\":true,\"windows\":[" W(
                     "second", 9000, 10, 9, 60, 60, 2) "]}]}",
        0,
        "tiers:\n"
        "  a:\n"
        "    rate_limit:\n"
        "      second: 1200   # peak 780, p99 640 in 540 seconds; now 5: in shadow\n"
        "# tier b: second: 9000 stays: it holds for all hosts together, and this one watches what is asked "
        "of "
        "it alone; bound in 2 of 60 seconds\n");
}

static void an_answer_of_another_shape_proposes_nothing(void **state)
{
    (void)state;
    static const char *const shapes[] = {
        "{}", "{\"limits\":3}", "{\"limits\":[3,null,{}]}",
        "{\"limits\":[{\"windows\":[1,2,3,4,5],\"by\":\"ip\",\"askers\":[7]}]}"};
    for (size_t i = 0; i < SL_ARRAY_LEN(shapes); i++) {
        struct sl_buf SL_BUF out = yaml_under(shapes[i], 0);
        assert_non_null(strstr(sl_buf_data(&out), "\n{}\n"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_what_it_is_made_of),
        cmocka_unit_test(sections_stand_once_and_all_routes_have_no_name),
        cmocka_unit_test(without_a_limit_one_window_is_proposed),
        cmocka_unit_test(no_name_makes_it_say_something_else),
        cmocka_unit_test(the_kernel_admits_no_more),
        cmocka_unit_test(what_is_counted_in_another_way_is_not_judged),
        cmocka_unit_test(shadows_and_limits_of_all_hosts),
        cmocka_unit_test(an_answer_of_another_shape_proposes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
