/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are whole JSON, hostile bytes are escaped, nothing blocks the caller, what is lost is counted. */
#include "telemetry/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include <cmocka.h>

static struct sl_access_record record(struct sl_slice path)
{
    return (struct sl_access_record){.wall_ns = 1764000000123000000ull,
                                     .duration_ns = 1500000,
                                     .correlation_id = SL_S("id-1"),
                                     .client = SL_S("192.0.2.7"),
                                     .method = SL_S("GET"),
                                     .path = path,
                                     .status = 200,
                                     .bytes_out = 42};
}

/* Reads one line; waits for it. */
static json_t *next_line(FILE *f)
{
    char line[8192];
    assert_non_null(fgets(line, sizeof(line), f));
    json_error_t e;
    json_t *j = json_loads(line, JSON_REJECT_DUPLICATES, &e);
    assert_non_null(j);
    return j;
}

static void test_lines_are_json_whatever_the_client_sent(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    struct sl_access_log *l;
    assert_int_equal(sl_access_log_new(p[1], &l), 0);
    struct sl_access_record r = record(SL_S("/a\r\nforged: \"line\"\x1b[2J\xff"));
    assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_free(l, 5000);
    FILE *f = fdopen(p[0], "r");
    json_t *j = next_line(f);
    assert_string_equal(json_string_value(json_object_get(j, "client")), "192.0.2.7");
    assert_int_equal(json_integer_value(json_object_get(j, "status")), 200);
    assert_int_equal(json_integer_value(json_object_get(j, "duration_us")), 1500);
    assert_int_equal(json_integer_value(json_object_get(j, "bytes_out")), 42);
    assert_string_equal(json_string_value(json_object_get(j, "time")), "2025-11-24T16:00:00.123Z");
    assert_non_null(strstr(json_string_value(json_object_get(j, "path")), "\r\nforged"));
    assert_null(json_object_get(j, "consumer")); /* what is not there is left out */
    json_decref(j);
    assert_null(fgets((char[8]){0}, 8, f)); /* one line only */
    fclose(f);
}

static void test_a_format_is_a_line_whatever_the_client_sent(void **state)
{
    (void)state;
    struct sl_access_format *f = NULL;
    struct sl_access_record r = record(SL_S("/a\r\n\"b\\\x1b[2J\xff"));
    SL_BUF struct sl_buf b = {0};
    assert_int_equal(
        sl_access_format_new("$client - [$time] \"$method $path\" $status $bytes_out $consumer$tier", &f), 0);
    assert_int_equal(sl_access_format_line(&b, f, &r), 0);
    assert_int_equal(sl_buf_append(&b, "", 1), 0);
    assert_string_equal(sl_buf_data(&b),
                        "192.0.2.7 - [2025-11-24T16:00:00.123Z] \"GET /a\\x0d\\x0a\\x22b\\x5c\\x1b[2J\\xff\" "
                        "200 42 --\n");
    sl_access_format_free(f);
    assert_int_equal(sl_access_format_new("$clients", &f), -EINVAL);
    assert_int_equal(sl_access_format_new("$", &f), -EINVAL);
    assert_int_equal(sl_access_format_new("plain", &f), 0);
    sl_access_format_free(f);
}

static void test_a_full_ring_drops_and_counts(void **state)
{
    (void)state;
    struct sl_access_log *l;
    assert_int_equal(sl_access_log_new(-1, &l), 0); /* nobody writes */
    struct sl_access_record r = record(SL_S("/x"));
    unsigned kept = 0, lost = 0;
    for (unsigned i = 0; i < 20000; i++) {
        if (sl_access_log_add(l, NULL, &r) == 0)
            kept++;
        else
            lost++;
    }
    assert_true(kept > 1000);
    assert_true(lost > 1000);
    assert_int_equal(sl_access_log_dropped(l), lost);
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    sl_access_log_reopen(l, p[1]); /* what was kept comes out once there is a file */
    FILE *f = fdopen(p[0], "r");
    for (unsigned i = 0; i < kept; i++)
        json_decref(next_line(f));
    assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_kick(l);
    json_decref(next_line(f));
    sl_access_log_free(l, 5000);
    fclose(f);
}

static void test_reopen_moves_to_the_new_file(void **state)
{
    (void)state;
    int a[2], b[2];
    assert_int_equal(pipe2(a, O_CLOEXEC), 0);
    assert_int_equal(pipe2(b, O_CLOEXEC), 0);
    struct sl_access_log *l;
    assert_int_equal(sl_access_log_new(a[1], &l), 0);
    struct sl_access_record r = record(SL_S("/old"));
    assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_kick(l);
    FILE *old = fdopen(a[0], "r"), *new = fdopen(b[0], "r");
    json_decref(next_line(old));
    sl_access_log_reopen(l, b[1]);
    assert_null(fgets((char[8]){0}, 8, old)); /* closed: the writer let go of it */
    r.path = SL_S("/new");
    assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_kick(l);
    json_t *j = next_line(new);
    assert_string_equal(json_string_value(json_object_get(j, "path")), "/new");
    json_decref(j);
    sl_access_log_free(l, 5000);
    fclose(old);
    fclose(new);
}

static void test_a_full_disk_is_counted_and_goes_by(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    struct sl_access_log *l;
    assert_int_equal(sl_access_log_new(full, &l), 0);
    struct sl_access_record r = record(SL_S("/lost"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_kick(l);
    while (sl_access_log_pending(l))
        (void)poll(NULL, 0, 1);
    assert_int_equal(sl_access_log_dropped(l), 3);
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    sl_access_log_reopen(l, p[1]);
    assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_free(l, 5000);
    FILE *f = fdopen(p[0], "r");
    json_decref(next_line(f));
    fclose(f);
}

static void test_oversized_fields_are_cut_and_the_line_stays_whole(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    static char huge[20000];
    memset(huge, 0x01, sizeof(huge)); /* six bytes each once escaped */
    struct sl_access_log *l;
    assert_int_equal(sl_access_log_new(p[1], &l), 0);
    struct sl_access_record r = record(sl_slice(huge, sizeof(huge)));
    r.user_agent = r.host = r.path;
    assert_int_equal(sl_access_log_add(l, NULL, &r), 0);
    sl_access_log_free(l, 5000);
    FILE *f = fdopen(p[0], "r");
    json_decref(next_line(f));
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_json_whatever_the_client_sent),
        cmocka_unit_test(test_a_format_is_a_line_whatever_the_client_sent),
        cmocka_unit_test(test_a_full_ring_drops_and_counts),
        cmocka_unit_test(test_reopen_moves_to_the_new_file),
        cmocka_unit_test(test_a_full_disk_is_counted_and_goes_by),
        cmocka_unit_test(test_oversized_fields_are_cut_and_the_line_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
