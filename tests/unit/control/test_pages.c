/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics and /v1/top over counters that the test wrote: sums, labels, the cap and its "other". */
#include "control_test.h"

static struct sl_control control_of(struct daemon *d)
{
    return (struct sl_control){.args = &d->args,
                               .bundle = d->bundle,
                               .snapshot = d->snapshot,
                               .version = 1,
                               .started_ns = sl_now_ns()};
}

static struct sl_worker_counters *worker(struct daemon *d, unsigned i)
{
    return &d->args.counters.blocks[i];
}

/* The page; the test frees it. */
static char *page(struct daemon *d)
{
    struct sl_buf out = {0};
    const struct sl_control c = control_of(d);
    assert_int_equal(sl_metrics_print(&c, &out), 0);
    assert_int_equal(sl_buf_append(&out, "", 1), 0);
    char *text = strdup(sl_buf_data(&out));
    sl_buf_free(&out);
    return text;
}

/* The value of a series given to its last label; -1 where it is not there, -2 where it is there twice. */
static double value(const char *text, const char *series)
{
    double v = -1;
    size_t n = strlen(series);
    for (const char *at = strstr(text, series); at; at = strstr(at + 1, series))
        if ((at == text || at[-1] == '\n') && at[n] == ' ')
            v = v < 0 ? strtod(at + n, NULL) : -2;
    return v;
}

#define want(text, series, v)                                                       \
    do {                                                                            \
        if (value(text, series) != (double)(v))                                     \
            fail_msg("%s is %g, not %g", series, value(text, series), (double)(v)); \
    } while (0)

static size_t series_in(const char *text)
{
    size_t n = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        n += *line != '#';
    return n;
}

static void workers_add_up(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY);
    worker(d, 0)->listeners[1].requests = 3;
    worker(d, 1)->listeners[1].requests = 4;
    worker(d, 1)->listeners[2].requests = 5;
    worker(d, 0)->routes[1].codes[2] = 10;
    worker(d, 1)->routes[1].codes[2] = 20;
    worker(d, 0)->routes[2].reasons[SL_WHY_RATE_LIMITED] = 6;
    worker(d, 0)->routes[1].bytes_in = 100;
    worker(d, 1)->routes[1].bytes_in = 11;
    worker(d, 1)->routes[2].bytes_out = 1ull << 33;
    worker(d, 1)->tiers[1].limited = 7;
    worker(d, 0)->upstreams[1].resets = 8;
    worker(d, 0)->jwt_cache_hits = 1;
    worker(d, 1)->jwt_cache_hits = 1;
    sl_histogram_observe(&worker(d, 0)->routes[1].seconds, 700);
    sl_histogram_observe(&worker(d, 1)->routes[1].seconds, 3000000);
    SL_FREE char *t = page(d);
    want(t, "sluice_listener_requests_total{listener=\"main\"}", 7);
    want(t, "sluice_listener_requests_total{listener=\"side\"}", 5);
    want(t, "sluice_route_responses_total{code=\"2xx\",route=\"a\"}", 30);
    want(t, "sluice_route_responses_total{code=\"5xx\",route=\"a\"}", 0);
    want(t, "sluice_route_refusals_total{reason=\"rate_limited\",route=\"b\"}", 6);
    want(t, "sluice_route_received_bytes_total{route=\"a\"}", 111);
    want(t, "sluice_route_sent_bytes_total{route=\"a\"}", 0);
    want(t, "sluice_route_sent_bytes_total{route=\"b\"}", 8589934592.0);
    want(t, "sluice_tier_limited_total{tier=\"gold\"}", 7);
    want(t, "sluice_upstream_resets_total{upstream=\"up\"}", 8);
    want(t, "sluice_jwt_cache_hits_total", 2);
    want(t, "sluice_route_request_seconds_bucket{le=\"0.001\",route=\"a\"}", 1);
    want(t, "sluice_route_request_seconds_bucket{le=\"+Inf\",route=\"a\"}", 2);
    want(t, "sluice_route_request_seconds_sum{route=\"a\"}", 3.0007);
    want(t, "sluice_workers", 2);
    want(t, "sluice_metrics_series_folded", 0);
}

/* What found no route counts in slot 0, and is shown once something was counted there. */
static void other_is_shown_when_used(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY);
    SL_FREE char *before = page(d);
    assert_null(strstr(before, "route=\"other\""));
    worker(d, 0)->routes[0].codes[4] = 2;
    SL_FREE char *after = page(d);
    want(after, "sluice_route_responses_total{code=\"4xx\",route=\"other\"}", 2);
}

/* Every sample belongs to a family that was announced once, before it, and no series is there twice. */
static void the_page_is_well_formed(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY);
    worker(d, 0)->routes[0].codes[4] = 2;
    for (unsigned i = 1; i < SL_WHY_COUNT; i++)
        worker(d, 0)->routes[1].reasons[i] = i;
    SL_FREE char *t = page(d);
    char family[80] = "", seen[8192] = "";
    for (char *line = strtok(t, "\n"); line; line = strtok(NULL, "\n")) {
        char name[80], type[20];
        if (sscanf(line, "# TYPE %79s %19s", name, type) == 2) {
            assert_true(!strcmp(type, "counter") || !strcmp(type, "gauge") || !strcmp(type, "histogram"));
            if (!strcmp(type, "counter"))
                assert_string_equal(name + strlen(name) - 6, "_total");
            (void)snprintf(family, sizeof(family), "%s", name);
            char marked[90];
            (void)snprintf(marked, sizeof(marked), " %s ", name);
            assert_null(strstr(seen, marked));
            assert_true(strlen(seen) + strlen(marked) < sizeof(seen));
            strcat(seen, marked);
            continue;
        }
        if (strncmp(line, "# HELP ", 7) == 0)
            continue;
        assert_int_equal(strncmp(line, family, strlen(family)), 0);
        assert_non_null(strrchr(line, ' '));
    }
}

static void labels_that_are_not_asked_for_are_summed(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY "observe: {metrics: {labels: [code], max_series: 5000}}\n");
    worker(d, 0)->routes[0].codes[4] = 1;
    worker(d, 0)->routes[1].codes[2] = 2;
    worker(d, 1)->routes[2].codes[2] = 3;
    worker(d, 1)->tiers[1].admitted = 4;
    worker(d, 1)->tiers[2].admitted = 5;
    SL_FREE char *t = page(d);
    assert_null(strstr(t, "route=\""));
    assert_null(strstr(t, "tier=\""));
    want(t, "sluice_route_responses_total{code=\"2xx\"}", 5);
    want(t, "sluice_route_responses_total{code=\"4xx\"}", 1);
    want(t, "sluice_tier_admitted_total", 9);
    want(t, "sluice_route_request_seconds_count", 0);
    want(t, "sluice_metrics_series_folded", 0);
}

static void without_the_code_label(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY "observe: {metrics: {labels: [route], max_series: 5000}}\n");
    worker(d, 0)->routes[1].codes[2] = 2;
    worker(d, 0)->routes[1].codes[5] = 3;
    SL_FREE char *t = page(d);
    assert_null(strstr(t, "code=\""));
    want(t, "sluice_route_responses_total{route=\"a\"}", 5);
}

/* 300 routes are more than 500 series hold: the page stays under the cap, and no count is lost. */
static void over_the_cap_routes_are_folded_into_other(void **state)
{
    struct daemon *d = *state;
    struct sl_buf text = {0};
    double sum = 0;
    assert_int_equal(sl_buf_printf(&text,
                                   "version: 1\nworkers: 2\nlisteners: {main: {bind: ['127.0.0.1:1']}}\n"
                                   "observe: {metrics: {labels: [route, code, tier], max_series: 500}}\n"
                                   "routes:\n"),
                     0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(
            sl_buf_printf(&text, "  r%d: {paths: [/r%d], auth: [public], respond: {status: 200}}\n", i, i),
            0);
    assert_int_equal(sl_buf_append(&text, "", 1), 0);
    compile(d, sl_buf_data(&text));
    sl_buf_free(&text);
    for (unsigned i = 0; i <= 300; i++)
        worker(d, i % 2)->routes[i].codes[2] = i + 1;
    SL_FREE char *t = page(d);
    assert_true(series_in(t) <= 501);
    assert_true(value(t, "sluice_metrics_series_folded") > 0);
    assert_true(value(t, "sluice_route_responses_total{code=\"2xx\",route=\"r0\"}") == 2);
    assert_true(value(t, "sluice_route_responses_total{code=\"2xx\",route=\"r299\"}") == -1);
    for (const char *line = t; *line; line = strchr(line, '\n') + 1)
        if (strncmp(line, "sluice_route_responses_total{code=\"2xx\"", 39) == 0)
            sum += strtod(strchr(line, ' '), NULL);
    assert_true(sum == 301.0 * 302 / 2);
    assert_non_null(strstr(t, "sluice_route_request_seconds_count{route=\"other\"}"));
}

/* ---- /v1/top */

static json_int_t number(const json_t *j, const char *a, const char *b, const char *c)
{
    j = json_object_get(json_object_get(json_object_get(j, a), b), c);
    assert_true(json_is_integer(j));
    return json_integer_value(j);
}

static void top_has_what_metrics_have(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY);
    worker(d, 0)->listeners[2].bytes_in = 1ull << 40;
    worker(d, 1)->listeners[2].bytes_in = 1;
    worker(d, 0)->tiers[1].penalties = 2;
    worker(d, 1)->upstreams[1].reused = 3;
    worker(d, 0)->routes[1].codes[5] = 4;
    worker(d, 0)->routes[1].bytes_out = 9;
    worker(d, 1)->routes[1].reasons[SL_WHY_UPSTREAM_TIMEOUT] = 4;
    const struct sl_control c = control_of(d);
    json_t *j = sl_top_json(&c);
    assert_non_null(j);
    assert_int_equal(number(j, "listeners", "side", "bytes_in"), (1ll << 40) + 1);
    assert_int_equal(number(j, "tiers", "gold", "penalties"), 2);
    assert_int_equal(number(j, "upstreams", "up", "reused"), 3);
    const json_t *route = json_object_get(json_object_get(j, "routes"), "a");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(route, "codes"), "5xx")), 4);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(route, "reasons"), "upstream_timeout")), 4);
    assert_int_equal(json_object_size(json_object_get(route, "reasons")), 1);
    assert_int_equal(json_integer_value(json_object_get(route, "bytes_out")), 9);
    assert_int_equal(json_array_size(json_object_get(j, "histogram_bounds_seconds")),
                     SL_HISTOGRAM_BUCKETS - 1);
    assert_int_equal(json_array_size(json_object_get(json_object_get(route, "seconds"), "buckets")),
                     SL_HISTOGRAM_BUCKETS);
    json_decref(j);
}

static void without_the_guard_the_kernels_part_is_empty(void **state)
{
    struct daemon *d = *state;
    compile(d, POLICY);
    const struct sl_control c = control_of(d);
    json_t *top = sl_top_json(&c), *penalties = sl_penalties_json(&c);
    assert_int_equal(json_object_size(json_object_get(top, "kernel")), 0);
    assert_int_equal(json_array_size(json_object_get(penalties, "penalties")), 0);
    json_decref(top);
    json_decref(penalties);
    SL_FREE char *t = page(d);
    assert_null(strstr(t, "sluice_kernel"));
}

#define with_counters(f) cmocka_unit_test_setup_teardown(f, daemon_new, daemon_free)
int main(void)
{
    const struct CMUnitTest tests[] = {
        with_counters(workers_add_up),
        with_counters(other_is_shown_when_used),
        with_counters(the_page_is_well_formed),
        with_counters(labels_that_are_not_asked_for_are_summed),
        with_counters(without_the_code_label),
        with_counters(over_the_cap_routes_are_folded_into_other),
        with_counters(top_has_what_metrics_have),
        with_counters(without_the_guard_the_kernels_part_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
