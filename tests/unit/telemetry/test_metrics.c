/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text: https://prometheus.io/docs/instrumenting/exposition_formats/ */
#include "telemetry/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct page {
    struct sl_buf out;
    struct sl_metrics m;
};

static int page_new(void **state)
{
    struct page *p = calloc(1, sizeof(*p));
    if (!p)
        return -1;
    p->m = (struct sl_metrics){.out = &p->out, .left = 1000};
    *state = p;
    return 0;
}

static int page_free(void **state)
{
    struct page *p = *state;
    sl_buf_free(&p->out);
    free(p);
    return 0;
}

static const char *text(struct page *p)
{
    assert_int_equal(p->m.error, 0);
    assert_int_equal(sl_buf_append(&p->out, "", 1), 0);
    return sl_buf_data(&p->out);
}

static void a_family_of_one(void **state)
{
    struct page *p = *state;
    sl_metrics_one(&p->m, "ready", "gauge", "1 when it is", 1);
    assert_string_equal(text(p),
                        "# HELP sluice_ready 1 when it is\n# TYPE sluice_ready gauge\nsluice_ready 1\n");
}

static void labels_in_their_order(void **state)
{
    struct page *p = *state;
    const char *const labels[] = {"route", "a", "code", "2xx", NULL}, *const none[] = {NULL};
    sl_metrics_sample(&p->m, "x", labels, 3);
    sl_metrics_sample(&p->m, "x", none, 4);
    assert_string_equal(text(p), "sluice_x{route=\"a\",code=\"2xx\"} 3\nsluice_x 4\n");
}

static void what_would_break_a_line_is_escaped(void **state)
{
    struct page *p = *state;
    const char *const labels[] = {"l", "a\"b\\c\nd} 1", NULL};
    sl_metrics_sample(&p->m, "x", labels, 0);
    assert_string_equal(text(p), "sluice_x{l=\"a\\\"b\\\\c\\nd} 1\"} 0\n");
}

static void counters_are_exact_to_2_53(void **state)
{
    struct page *p = *state;
    sl_metrics_sample(&p->m, "x", NULL, 9007199254740991.0);
    sl_metrics_sample(&p->m, "x", NULL, 1234567890123.0);
    sl_metrics_sample(&p->m, "x", NULL, 0.25);
    sl_metrics_sample(&p->m, "x", NULL, -1);
    assert_string_equal(text(p),
                        "sluice_x 9007199254740991\nsluice_x 1234567890123\nsluice_x 0.25\nsluice_x -1\n");
}

static void a_histogram_is_cumulative(void **state)
{
    struct page *p = *state;
    struct sl_histogram h = {0};
    const char *const label[] = {"route", "r", NULL};
    sl_histogram_observe(&h, 400);
    sl_histogram_observe(&h, 900);
    sl_histogram_observe(&h, 99000000);
    sl_metrics_histogram(&p->m, "s", label, &h);
    const char *t = text(p);
    assert_non_null(strstr(t, "sluice_s_bucket{le=\"0.0005\",route=\"r\"} 1\n"));
    assert_non_null(strstr(t, "sluice_s_bucket{le=\"0.001\",route=\"r\"} 2\n"));
    assert_non_null(strstr(t, "sluice_s_bucket{le=\"10\",route=\"r\"} 2\n"));
    assert_non_null(strstr(t, "sluice_s_bucket{le=\"+Inf\",route=\"r\"} 3\n"));
    assert_non_null(strstr(t, "sluice_s_sum{route=\"r\"} 99.0013\n"));
    assert_non_null(strstr(t, "sluice_s_count{route=\"r\"} 3\n"));
    assert_int_equal(p->m.left, 1000 - SL_HISTOGRAM_SERIES);
}

static void a_histogram_without_a_label(void **state)
{
    struct page *p = *state;
    struct sl_histogram h = {0};
    sl_metrics_histogram(&p->m, "s", NULL, &h);
    const char *t = text(p);
    assert_non_null(strstr(t, "sluice_s_bucket{le=\"+Inf\"} 0\n"));
    assert_non_null(strstr(t, "sluice_s_count 0\n"));
}

static void past_the_cap_samples_are_counted_not_written(void **state)
{
    struct page *p = *state;
    p->m.left = 2;
    for (int i = 0; i < 5; i++)
        sl_metrics_sample(&p->m, "x", NULL, i);
    assert_int_equal(p->m.cut, 3);
    assert_string_equal(text(p), "sluice_x 0\nsluice_x 1\n");
}

static void half_a_histogram_is_never_written(void **state)
{
    struct page *p = *state;
    struct sl_histogram h = {0};
    p->m.left = SL_HISTOGRAM_SERIES - 1;
    sl_metrics_histogram(&p->m, "s", NULL, &h);
    assert_int_equal(sl_buf_len(&p->out), 0);
    assert_int_equal(p->m.cut, SL_HISTOGRAM_SERIES);
    assert_int_equal(p->m.left, SL_HISTOGRAM_SERIES - 1);
}

#define with_page(f) cmocka_unit_test_setup_teardown(f, page_new, page_free)
int main(void)
{
    const struct CMUnitTest tests[] = {
        with_page(a_family_of_one),
        with_page(labels_in_their_order),
        with_page(what_would_break_a_line_is_escaped),
        with_page(counters_are_exact_to_2_53),
        with_page(a_histogram_is_cumulative),
        with_page(a_histogram_without_a_label),
        with_page(past_the_cap_samples_are_counted_not_written),
        with_page(half_a_histogram_is_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
