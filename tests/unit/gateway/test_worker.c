/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker makes of requests, and of those who send too many. */
#include "worker_test.h"

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        print_error("\"%s\" in:\n%s\n", part, text);
    assert_null(strstr(text, part));
}

static void test_answers_of_its_own(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, HELLO)), 0);
    int c = dial(w);
    say(c, GET("/hello"));
    const char *r = hear(c, "hi");
    assert_has(r, "HTTP/1.1 200 OK\r\n");
    assert_has(r, "X-Correlation-Id: ");
    assert_lacks(r, "Server:");
    say(c, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Correlation-Id: mine-1\r\n\r\n");
    assert_has(hear(c, "hi"), "X-Correlation-Id: mine-1\r\n");
    say(c, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Correlation-Id: <script>\r\n\r\n");
    assert_lacks(hear(c, "hi"), "script");
    say(c, GET("/nothing"));
    r = hear(c, "}\n");
    assert_has(r, "HTTP/1.1 404 Not Found\r\n");
    assert_has(r, "Content-Type: application/problem+json\r\n");
    assert_has(r, "\"type\":\"urn:sluice:problem:no_route\"");
    assert_has(r, "\"status\":404");
    assert_has(r, "\"correlation_id\":\"");
    say(c, "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    r = hear(c, "}\n");
    assert_has(r, "HTTP/1.1 405 ");
    assert_has(r, "Allow: GET");
    say(c, "GET /hello\r\n\r\n");
    r = hear(c, NULL); /* and the connection ends */
    assert_has(r, "Connection: close\r\n");
    close(c);
}

static void test_forwards_and_keeps_both_connections(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    int c = dial(w);
    say(c, "GET /up?q=1 HTTP/1.1\r\nHost: api.test\r\nConnection: X-Drop, Authorization\r\nX-Drop: "
           "1\r\nAuthorization: kept\r\n"
           "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Proto: spoof\r\nForwarded: for=6.6.6.6\r\nTE: "
           "trailers\r\n\r\n");
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    const char *r = hear(u, "\r\n\r\n");
    assert_has(r, "GET /up?q=1 HTTP/1.1\r\n");
    assert_has(r, "Host: api.test\r\n");
    assert_has(r, "Authorization: kept\r\n");
    assert_has(r, "X-Forwarded-For: 127.0.0.1\r\n");
    assert_has(r, "X-Forwarded-Proto: http\r\n");
    assert_has(r, "X-Correlation-Id: ");
    assert_lacks(r, "6.6.6.6");
    assert_lacks(r, "spoof");
    assert_lacks(r, "X-Drop");
    assert_has(r, "TE: trailers\r\nConnection: TE\r\n");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: timeout=5\r\n\r\none");
    r = hear(c, "one");
    assert_lacks(r, "Keep-Alive");
    say(c, GET("/up"));
    assert_has(hear(u, "\r\n\r\n"), "GET /up"); /* on the same connection */
    say(u, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n");
    hear(c, "3\r\ntwo\r\n0\r\n\r\n");
    assert_int_equal(w->counters->upstreams[0].connects + w->counters->upstreams[1].connects, 1);
    close(u);
    close(c);
}

static void test_a_kept_connection_that_died_is_replaced_unseen(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    int c = dial(w);
    say(c, GET("/up"));
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    hear(u, "\r\n\r\n");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    hear(c, "one");
    say(c, GET("/up"));
    hear(u, "\r\n\r\n");
    close(u); /* read, and no answer */
    wait_for(w->upstream, POLLIN);
    u = accept(w->upstream, NULL, NULL);
    hear(u, "\r\n\r\n");
    close(u); /* a fresh connection is not tried again */
    assert_has(hear(c, "}\n"), "HTTP/1.1 502 ");
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    wait_for(w->upstream, POLLIN);
    u = accept(w->upstream, NULL, NULL);
    hear(u, "hi");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
    hear(c, "two");
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nho");
    hear(u, "ho");
    close(u); /* it was read: sending it again might do it twice */
    assert_has(hear(c, "}\n"), "\"type\":\"urn:sluice:problem:upstream_reset\"");
    close(c);
}

static void test_bodies_are_bounded_and_expectations_answered(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    int c = dial(w);
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    const char *r = hear(c, NULL);
    assert_has(r, "HTTP/1.1 413 ");
    assert_lacks(r, "100 Continue");
    close(c);
    c = dial(w);
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_has(hear(c, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n");
    say(c, "body");
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    assert_lacks(hear(u, "body"), "Expect");
    say(u, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_has(hear(c, "\r\n\r\n"), "HTTP/1.1 204 ");
    close(u);
    close(c);
    c = dial(w); /* chunked: the limit shows only on the way */
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n");
    char kib[1024 + 3];
    memset(kib, 'x', 1024);
    memcpy(kib + 1024, "\r\n", 3);
    say(c, kib);
    say(c, "400\r\n");
    say(c, kib);
    assert_has(hear(c, NULL), "HTTP/1.1 413 ");
    close(c);
}

static void test_an_answer_cut_short_does_not_look_whole(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    const char *answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"};
    for (size_t i = 0; i < SL_ARRAY_LEN(answers); i++) {
        int c = dial(w);
        say(c, GET("/up"));
        wait_for(w->upstream, POLLIN);
        int u = accept(w->upstream, NULL, NULL);
        hear(u, "\r\n\r\n");
        say(u, answers[i]);
        hear(c, "half");
        close(u);
        char byte;
        wait_for(c, POLLIN);
        while (recv(c, &byte, 1, 0) > 0)
            assert_int_not_equal(byte, '0'); /* no last chunk */
        close(c);
    }
}

static void test_floods_climb_the_ladder(void **state)
{
    struct world *w = *state;
    char text[4096];
    snprintf(text, sizeof(text),
             "version: 1\n"
             "listeners: { public: { bind: [\"127.0.0.1:%d\"] } }\n"
             "tiers: { anonymous: { rate_limit: { minute: 2, by: ip }, kernel: { escalate: { rejections: 5, "
             "within: 1m, "
             "penalty: 10s, max_penalty: 1m } } } }\n"
             "routes:\n" HELLO,
             w->port);
    assert_int_equal(apply(w, text), 0);
    uint32_t effects[] = {SL_PENALTY_FLOW, SL_PENALTY_CONNECT, SL_PENALTY_SOURCE};
    for (size_t i = 0; i < SL_ARRAY_LEN(effects); i++) {
        int c = dial(w);
        unsigned refused = 0;
        while (refused < 5) {
            say(c, GET("/hello"));
            const char *r = hear(c, "\r\n\r\n");
            if (strstr(r, "HTTP/1.1 429 ")) {
                refused++;
                assert_has(r, "Retry-After: ");
                assert_has(r, "RateLimit: ");
                assert_has(r, "application/problem+json");
            } else {
                assert_int_equal(i, 0);
            }
        }
        union sl_ipc m;
        expect_message(w, SL_IPC_PENALTY, &m);
        assert_int_equal(m.penalty.effect, effects[i]);
        char byte[512];
        ssize_t n;
        while ((n = recv(c, byte, sizeof(byte), 0)) > 0)
            ;
        assert_int_equal(n, -1);
        assert_int_equal(errno, ECONNRESET);
        close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SL_T(test_answers_of_its_own),
        SL_T(test_forwards_and_keeps_both_connections),
        SL_T(test_a_kept_connection_that_died_is_replaced_unseen),
        SL_T(test_bodies_are_bounded_and_expectations_answered),
        SL_T(test_an_answer_cut_short_does_not_look_whole),
        SL_T(test_floods_climb_the_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
