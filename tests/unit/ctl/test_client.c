/* SPDX-License-Identifier: Apache-2.0 */
/* The admin socket's client against a peer that may be anything: cut short, hostile, silent, or not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/ctl_priv.h"
#include "server.h"

#include <errno.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

static int _parse(const char *s, size_t n, bool eof, struct sl_ctl_reply *r)
{
    *r = (struct sl_ctl_reply){0};
    return sl_ctl_reply_parse(sl_slice(s, n), eof, r);
}

static void a_whole_reply_is_taken(void **state)
{
    (void)state;
    static const char s[] = OK_HEAD "Content-Length: 5\r\n\r\nhello and more";
    struct sl_ctl_reply r;
    assert_int_equal(_parse(s, sizeof(s) - 1, false, &r), 1);
    assert_int_equal(r.status, 200);
    assert_true(sl_slice_eq(r.body, SL_S("hello")));
    static const char until_eof[] = "HTTP/1.1 503 Busy\r\n\r\nall of it";
    assert_int_equal(_parse(until_eof, sizeof(until_eof) - 1, false, &r), 0);
    assert_int_equal(_parse(until_eof, sizeof(until_eof) - 1, true, &r), 1);
    assert_int_equal(r.status, 503);
    assert_true(sl_slice_eq(r.body, SL_S("all of it")));
}

static void every_prefix_wants_more_and_ends_badly(void **state)
{
    (void)state;
    static const char s[] = OK_HEAD "Content-Length: 5\r\n\r\nhello";
    struct sl_ctl_reply r;
    for (size_t n = 0; n < sizeof(s) - 1; n++) {
        assert_int_equal(_parse(s, n, false, &r), 0);
        assert_int_equal(_parse(s, n, true, &r), -EPROTO);
    }
}

static void what_sluiced_never_sends_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/1.1\t200 OK\r\n\r\n",
        OK_HEAD "Content-Length: -1\r\n\r\n",
        OK_HEAD "Content-Length: 5x\r\n\r\nhello",
        OK_HEAD "Content-Length: 99999999999999999999999\r\n\r\n",
        OK_HEAD "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    };
    struct sl_ctl_reply r;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        assert_int_equal(_parse(bad[i], strlen(bad[i]), false, &r), -EPROTO);
    static const char long_body[] = OK_HEAD "Content-Length: 1000000000\r\n\r\n";
    assert_int_equal(_parse(long_body, sizeof(long_body) - 1, false, &r), -EFBIG);
    char head[20000];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nX: ");
    memset(head + n, 'x', sizeof(head) - (size_t)n);
    assert_int_equal(_parse(head, sizeof(head), false, &r), -EPROTO);
}

static void an_exchange_sends_a_request_and_reads_the_answer(void **state)
{
    (void)state;
    struct server s;
    struct sl_buf SL_BUF bytes = {0};
    struct sl_ctl_reply r;
    _server_start(&s, OK_HEAD "Content-Length: 11\r\n\r\n{\"ok\":true}");
    assert_int_equal(sl_ctl_exchange(s.path, "POST", "/v1/deny", SL_S("{}"), 10000, &bytes, &r), 0);
    _server_stop(&s);
    assert_int_equal(r.status, 200);
    assert_true(sl_slice_eq(r.body, SL_S("{\"ok\":true}")));
    assert_memory_equal(s.request, "POST /v1/deny HTTP/1.1\r\nHost: ", 30);
    assert_non_null(strstr(s.request, "\r\nContent-Length: 2\r\n"));
    assert_non_null(strstr(s.request, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(s.request, "\r\n\r\n{}"));
}

static void a_cut_answer_and_a_silent_server_are_errors(void **state)
{
    (void)state;
    struct server s;
    struct sl_buf SL_BUF bytes = {0};
    struct sl_ctl_reply r;
    _server_start(&s, OK_HEAD "Content-Length: 11\r\n\r\n{\"ok\"");
    assert_int_equal(sl_ctl_exchange(s.path, "GET", "/", SL_SLICE_NUL, 10000, &bytes, &r), -EPROTO);
    _server_stop(&s);
    _server_start(&s, NULL);
    assert_int_equal(sl_ctl_exchange(s.path, "GET", "/", SL_SLICE_NUL, 50, &bytes, &r), -ETIMEDOUT);
    _server_stop(&s);
}

static void a_refusal_is_told_by_its_detail(void **state)
{
    (void)state;
    struct server s;
    _server_start(&s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 25\r\n\r\n{\"detail\":\"not you, sir\"}");
    struct sl_ctl ctl = {.socket = s.path, .socket_from = "--socket"};
    assert_null(sl_ctl_call(&ctl, "POST", "/v1/apply", NULL));
    _server_stop(&s);
    static const char refused[] = "HTTP/1.1 409 No\r\nContent-Length: 12\r\n\r\n{\"ok\":false}";
    _server_start(&s, refused);
    ctl.socket = s.path;
    json_t *j = sl_ctl_call(&ctl, "POST", "/v1/apply", NULL);
    _server_stop(&s);
    assert_non_null(j); /* the verb reports it */
    assert_true(json_is_false(json_object_get(j, "ok")));
    json_decref(j);
    _server_start(&s, OK_HEAD "Content-Length: 3\r\n\r\n[1]");
    ctl.socket = s.path;
    assert_null(sl_ctl_call(&ctl, "GET", "/v1/status", NULL));
    _server_stop(&s);
}

static void no_socket_and_nobody_behind_it_differ(void **state)
{
    (void)state;
    struct sl_buf SL_BUF bytes = {0};
    struct sl_ctl_reply r;
    assert_int_equal(sl_ctl_exchange("/nonexistent/x.sock", "GET", "/", SL_SLICE_NUL, 1000, &bytes, &r),
                     -ENOENT);
    assert_int_equal(sl_ctl_ping("/nonexistent/x.sock"), -ENOENT);
    char path[200];
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(sl_ctl_ping(path), -ENAMETOOLONG);
    struct server s;
    _server_start(&s, "");
    assert_int_equal(sl_ctl_ping(s.path), 0);
    pthread_join(s.thread, NULL);
    close(s.listener); /* the file stays, as after a crash */
    assert_int_equal(sl_ctl_ping(s.path), -ECONNREFUSED);
    unlink(s.path);
    rmdir(s.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_reply_is_taken),
        cmocka_unit_test(every_prefix_wants_more_and_ends_badly),
        cmocka_unit_test(what_sluiced_never_sends_is_refused),
        cmocka_unit_test(an_exchange_sends_a_request_and_reads_the_answer),
        cmocka_unit_test(a_cut_answer_and_a_silent_server_are_errors),
        cmocka_unit_test(a_refusal_is_told_by_its_detail),
        cmocka_unit_test(no_socket_and_nobody_behind_it_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
