/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP that the admin API takes, over real sockets, and how much of it. */
#include "control_test.h"

static void one_connection_serves_many(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    for (int i = 0; i < 5; i++) {
        ask(fd, "GET", "/healthz", "");
        struct answer a = answer_of(fd);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "ok\n");
        free(a.body);
    }
}

static void requests_in_one_packet_are_answered_in_turn(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    say(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
            "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    const unsigned want[] = {200, 404, 503};
    for (size_t i = 0; i < SL_ARRAY_LEN(want); i++) {
        struct answer a = answer_of(fd);
        assert_int_equal(a.status, want[i]);
        free(a.body);
    }
}

/* What comes while the supervisor is asked waits, and the request is not made twice. */
static void a_request_behind_one_that_waits(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    ask(fd, "POST", "/v1/apply", "");
    union sl_ipc m = hear(d);
    ask(fd, "GET", "/healthz", "");
    want_status(&d->local, "GET", "/healthz", "", 200); /* the loop has turned over both */
    send_result(d, m.h.id, 0, 2, NULL);
    struct answer a = answer_of(fd);
    assert_non_null(strstr(a.body, "\"version\":2"));
    free(a.body);
    a = answer_of(fd);
    assert_string_equal(a.body, "ok\n");
    free(a.body);
    size_t n = 0;
    assert_int_equal(sl_ipc_recv(d->ipc, &m, NULL, &n), 0);
}

static void a_request_byte_by_byte(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    const char *text =
        "POST /v1/forget HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n{\"cidr\":\"192.0.2.1\"}";
    for (const char *c = text; *c; c++)
        assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
    union sl_ipc m = hear(d);
    assert_int_equal(m.h.type, SL_IPC_LIST);
    send_result(d, m.h.id, 0, 1, NULL);
    struct answer a = answer_of(fd);
    assert_int_equal(a.status, 200);
    free(a.body);
}

static void head_has_the_length_and_no_body(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    say(fd, "HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char all[1024] = "";
    size_t n = 0;
    for (ssize_t r; (r = recv(fd, all + n, sizeof(all) - 1 - n, 0)) > 0;)
        n += (size_t)r;
    assert_non_null(strstr(all, "\r\n\r\n"));
    assert_string_equal(strstr(all, "\r\n\r\n"), "\r\n\r\n");
}

static void what_is_refused_ends_the_connection(void **state)
{
    struct daemon *d = *state;
    static const struct {
        const char *text;
        unsigned status;
    } cases[] = {
        {"GET / HTTP/1.1\n\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"POST /v1/deny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
        {"POST /v1/deny HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413},
        {"POST /v1/deny HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {"\x16\x03\x01\x02\r\n\r\n", 400},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        SL_CLOSE int fd = dial(&d->local);
        say(fd, cases[i].text);
        struct answer a = answer_of(fd), end;
        if (a.status != cases[i].status)
            fail_msg("%s: %u", cases[i].text, a.status);
        free(a.body);
        end = answer_of(fd);
        assert_true(end.closed);
    }
}

static void an_endless_head_is_cut(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    char line[1024];
    memset(line, 'a', sizeof(line));
    say(fd, "GET /healthz HTTP/1.1\r\nX: ");
    for (int i = 0; i < 64 && send(fd, line, sizeof(line), MSG_NOSIGNAL) > 0; i++)
        continue;
    struct answer a = answer_of(fd);
    assert_true(a.closed || a.status == 431);
    free(a.body);
    want_status(&d->local, "GET", "/healthz", "", 200);
}

static void a_client_that_leaves_is_forgotten(void **state)
{
    struct daemon *d = *state;
    int fd = dial(&d->local);
    ask(fd, "POST", "/v1/apply", "");
    union sl_ipc m = hear(d);
    (void)close(fd);
    send_result(d, m.h.id, 0, 2, "nobody reads this");
    want_status(&d->local, "GET", "/healthz", "", 200);
}

/* TCP may be open to many; the operator's socket is not theirs to fill. */
static void tcp_cannot_lock_the_operator_out(void **state)
{
    struct daemon *d = *state;
    int fds[2 * SL_ADMIN_CLIENTS];
    unsigned refused = 0;
    for (size_t i = 0; i < SL_ARRAY_LEN(fds); i++) {
        fds[i] = dial(&d->tcp);
        ask(fds[i], "GET", "/healthz", "");
        struct answer a = answer_of(fds[i]);
        refused += a.closed;
        free(a.body);
    }
    assert_int_equal(refused, SL_ARRAY_LEN(fds) - (SL_ADMIN_CLIENTS - SL_ADMIN_RESERVED));
    want_status(&d->local, "GET", "/healthz", "", 200);
    for (size_t i = 0; i < SL_ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_daemon(one_connection_serves_many),
        with_daemon(requests_in_one_packet_are_answered_in_turn),
        with_daemon(a_request_behind_one_that_waits),
        with_daemon(a_request_byte_by_byte),
        with_daemon(head_has_the_length_and_no_body),
        with_daemon(what_is_refused_ends_the_connection),
        with_daemon(an_endless_head_is_cut),
        with_daemon(a_client_that_leaves_is_forgotten),
        with_daemon(tcp_cannot_lock_the_operator_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
