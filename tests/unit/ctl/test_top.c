/* SPDX-License-Identifier: Apache-2.0 */
/* Two samples in, a screen out: rates, ranks, cuts; and a daemon's answer that is wrong or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "ctl/top_priv.h"

#include <math.h>
#include <string.h>

#define STATUS                                                                                \
    "{\"version\":3,\"uptime_seconds\":192,\"workers\":[{},{}],\"kernel\":{\"shadow\":false," \
    "\"interfaces\":[{\"interface\":\"eth0\",\"xdp\":\"native\"}]}}"

static struct sl_top_sample _sample(const char *top, const char *status, double at)
{
    struct sl_top_sample s = {.top = json_loads(top, 0, NULL), .status = json_loads(status, 0, NULL)};
    s.at_ns = (uint64_t)(at * (double)SL_NS_PER_SEC);
    assert_non_null(s.top);
    assert_non_null(s.status);
    return s;
}

static void _drop(struct sl_top_sample *s)
{
    json_decref(s->top);
    json_decref(s->status);
}

static char *_text(const char *before, const char *now, unsigned rows)
{
    struct sl_top_sample a = _sample(before, STATUS, 10), b = _sample(now, STATUS, 12);
    struct sl_buf out = {0};
    assert_int_equal(sl_top_text(&a, &b, rows, &out), 0);
    assert_int_equal(sl_buf_append(&out, "", 1), 0);
    _drop(&a);
    _drop(&b);
    return out.base;
}

static bool _has_row(const char *text, const char *const *words, size_t n)
{
    SL_FREE char *copy = strdup(text);
    char *line_state, *word_state;
    for (char *line = strtok_r(copy, "\n", &line_state); line; line = strtok_r(NULL, "\n", &line_state)) {
        size_t i = 0;
        for (char *w = strtok_r(line, " ", &word_state); w && i < n; w = strtok_r(NULL, " ", &word_state))
            i = strcmp(w, words[i]) == 0 ? i + 1 : 0;
        if (i == n)
            return true;
    }
    return false;
}
#define HAS_ROW(text, ...)                                         \
    assert_true(_has_row(text, (const char *const[]){__VA_ARGS__}, \
                         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void verdicts_of_both_sides_stand_in_one_row(void **state)
{
    (void)state;
    static const char before[] =
        "{\"kernel\":{\"admitted\":{\"packets\":1000}},"
        "\"routes\":{\"r\":{\"codes\":{\"2xx\":10},\"reasons\":{\"rate_limited\":0}}}}";
    static const char now[] = "{\"kernel\":{\"admitted\":{\"packets\":3000},\"malformed\":{\"packets\":0}},"
                              "\"routes\":{\"r\":{\"codes\":{\"2xx\":30},\"reasons\":{\"rate_limited\":8}}}}";
    SL_FREE char *text = _text(before, now, 0);
    assert_non_null(strstr(text, "policy 3  up 3m12s  2 workers  eth0:native"));
    HAS_ROW(text, "admitted", "1.0k", "3.0k", "2xx", "10", "30");
    HAS_ROW(text, "rate_limited", "4", "8");
    assert_null(strstr(text, "malformed")); /* what never happened takes no row */
}

static void shadow_drops_are_named_as_such(void **state)
{
    (void)state;
    SL_FREE char *text =
        _text("{}", "{\"kernel\":{\"deny_list\":{\"packets\":0,\"would_drop_packets\":20}}}", 0);
    HAS_ROW(text, "would", "drop:", "deny_list", "10", "20");
}

static void answers_of_the_guard_are_no_drops(void **state)
{
    (void)state;
    SL_FREE char *text = _text("{}",
                               "{\"kernel\":{\"syn_cookie_sent\":{\"packets\":10,\"would_drop_packets\":20,"
                               "\"answers\":true}}}",
                               0);
    HAS_ROW(text, "syn_cookie_sent", "5", "10");
    HAS_ROW(text, "would", "be:", "syn_cookie_sent", "10", "20");
}

static void listeners_and_tiers_have_their_rates(void **state)
{
    (void)state;
    static const char now[] = "{\"listeners\":{\"public\":{\"connections\":4,\"active\":7,\"requests\":200,"
                              "\"malformed\":2,\"refused\":4,"
                              "\"bytes_in\":4096,\"bytes_out\":1,\"kernel\":{\"passed\":{\"packets\":50},"
                              "\"dropped\":{\"packets\":6},"
                              "\"would_drop\":{\"packets\":0}}}},\"tiers\":{\"gold\":{\"admitted\":20,"
                              "\"limited\":10,\"penalties\":1}}}";
    SL_FREE char *text = _text("{}", now, 0);
    HAS_ROW(text, "public", "25", "3", "0", "2", "7", "100", "3", "2.0", "KiB", "0.5", "B");
    HAS_ROW(text, "gold", "10", "5", "1", "20", "10");
}

static void consumers_are_ranked_by_what_they_moved(void **state)
{
    (void)state;
    SL_FREE char *text = _text("{\"consumers\":{\"old\":{\"in\":{\"bytes\":9},\"out\":{\"bytes\":1048576}}}}",
                               "{\"consumers\":{\"old\":{\"in\":{\"bytes\":9},\"out\":{\"bytes\":1048576}},"
                               "\"busy\":{\"in\":{\"bytes\":2048},\"out\":{\"bytes\":4096}}}}",
                               0);
    HAS_ROW(text, "busy", "1.0", "KiB", "2.0", "KiB", "2.0", "KiB", "4.0", "KiB");
    HAS_ROW(text, "old", "0", "B", "0", "B", "9", "B", "1.0", "MiB");
    assert_true(strstr(text, "busy") < strstr(text, "old"));
}

static void routes_are_ranked_and_cut_to_the_screen(void **state)
{
    (void)state;
    static const char now[] =
        "{\"routes\":{\"slow\":{\"codes\":{\"2xx\":2}},\"busy\":{\"codes\":{\"2xx\":200}},"
        "\"idle\":{\"codes\":{\"2xx\":0}},\"next\":{\"codes\":{\"2xx\":20}}}}";
    SL_FREE char *all = _text("{}", now, 0);
    assert_true(strstr(all, "busy") < strstr(all, "next"));
    assert_true(strstr(all, "next") < strstr(all, "slow"));
    assert_true(strstr(all, "slow") < strstr(all, "idle"));
    for (unsigned rows = 1; rows < 40; rows++) {
        SL_FREE char *text = _text("{}", now, rows);
        unsigned lines = 0;
        for (const char *p = text; *p; p++)
            lines += *p == '\n';
        assert_true(lines <= rows);
    }
    SL_FREE char *cut = _text("{}", now, 9); /* header, three lines of verdicts, then five for the routes */
    HAS_ROW(cut, "busy", "100");
    HAS_ROW(cut, "next", "10");
    HAS_ROW(cut, "...", "2", "more");
    assert_null(strstr(cut, "slow"));
}

static void no_section_hides_another(void **state)
{
    (void)state;
    char now[4096];
    int n = snprintf(now, sizeof(now), "{\"listeners\":{\"main\":{}},\"tiers\":{\"gold\":{}},\"kernel\":{");
    for (int i = 0; i < 40; i++)
        n += snprintf(now + n, sizeof(now) - (size_t)n, "%s\"reason%d\":{\"packets\":5}", i ? "," : "", i);
    (void)snprintf(now + n, sizeof(now) - (size_t)n, "}}");
    SL_FREE char *text = _text("{}", now, 15);
    HAS_ROW(text, "reason0");
    HAS_ROW(text, "main");
    HAS_ROW(text, "gold");
}

static void percentiles_are_of_the_interval(void **state)
{
    (void)state;
    json_t *bounds = json_loads("[0.001, 0.01, 0.1]", 0, NULL);
    json_t *even = json_loads("[50, 50, 0, 0]", 0, NULL), *none = json_loads("[0, 0, 0, 0]", 0, NULL);
    json_t *beyond = json_loads("[0, 0, 0, 5]", 0, NULL);
    assert_true(fabs(sl_top_percentile(bounds, even, 0.5) - 0.001) < 1e-9);
    assert_true(fabs(sl_top_percentile(bounds, even, 0.75) - 0.0055) < 1e-9);
    assert_true(sl_top_percentile(bounds, none, 0.5) < 0);
    assert_true(sl_top_percentile(NULL, even, 0.5) < 0);
    assert_true(fabs(sl_top_percentile(bounds, beyond, 0.99) - 0.1) < 1e-9);
    json_decref(bounds);
    json_decref(even);
    json_decref(none);
    json_decref(beyond);
}

static void a_counter_begun_anew_gives_no_negative_rate(void **state)
{
    (void)state;
    struct sl_top_sample a = _sample("{\"n\":1000,\"deep\":[{\"m\":5}]}", "{}", 1);
    struct sl_top_sample b = _sample("{\"n\":10,\"deep\":[{\"m\":9}],\"text\":\"x\"}", "{}", 3);
    json_t *j = sl_top_json(&a, &b);
    const json_t *rates = json_object_get(j, "rates");
    assert_true(fabs(sl_ctl_num(rates, "n") - 5) < 1e-9);
    assert_true(fabs(sl_ctl_num(json_array_get(json_object_get(rates, "deep"), 0), "m") - 2) < 1e-9);
    assert_true(json_is_null(json_object_get(rates, "text")));
    assert_true(fabs(sl_ctl_num(j, "seconds") - 2) < 1e-9);
    json_decref(j);
    _drop(&a);
    _drop(&b);
}

static void wrong_shapes_and_escape_bytes_do_no_harm(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"kernel\":[1,2],\"routes\":7,\"listeners\":\"x\",\"tiers\":null}",
        "{\"kernel\":{\"a\":5},\"routes\":{\"r\":[]},\"listeners\":{\"l\":[]},\"tiers\":{\"t\":\"\"}}",
        "{\"routes\":{\"r\":{\"codes\":[],\"reasons\":[],\"seconds\":{\"buckets\":{}}}},\"histogram_bounds_"
        "seconds\":4}",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        SL_FREE char *text = _text(bad[i], bad[i], 24);
        assert_non_null(text);
    }
    SL_FREE char *text = _text("{}", "{\"tiers\":{\"\\u001b[31mred\\n\":{\"admitted\":1}}}", 0);
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "\\x1b[31mred\\x0a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_of_both_sides_stand_in_one_row),
        cmocka_unit_test(shadow_drops_are_named_as_such),
        cmocka_unit_test(answers_of_the_guard_are_no_drops),
        cmocka_unit_test(listeners_and_tiers_have_their_rates),
        cmocka_unit_test(consumers_are_ranked_by_what_they_moved),
        cmocka_unit_test(routes_are_ranked_and_cut_to_the_screen),
        cmocka_unit_test(no_section_hides_another),
        cmocka_unit_test(percentiles_are_of_the_interval),
        cmocka_unit_test(a_counter_begun_anew_gives_no_negative_rate),
        cmocka_unit_test(wrong_shapes_and_escape_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
