/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads: where the body ends, and whether the connection may be used again. */
#include "http_test.h"

static struct sl_response res;

static enum sl_h1_error parse_for(enum sl_method m, struct sl_slice head)
{
    static struct sl_slice last;
    free((char *)last.p);
    last = exact(head);
    return sl_h1_parse_response(&arena, last, &limits, m, &res);
}

#define parse(lit) parse_for(SL_METHOD_GET, SL_S(lit))
#define OK_200     "HTTP/1.1 200 OK\r\n"

static void test_a_usual_response(void **state)
{
    (void)state;
    assert_error(
        parse(OK_200
              "Content-Type: text/plain\r\nContent-Length: 5\r\nHost: x\r\nHost: y\r\nExpect: z\r\n\r\n"),
        SL_H1_OK);
    assert_int_equal(res.status, 200);
    assert_slice(res.reason, "OK");
    assert_int_equal(res.headers.n, 5);
    assert_int_equal(res.framing, SL_FRAMING_LENGTH);
    assert_int_equal(res.content_length, 5);
    assert_true(res.keep_alive);
    assert_int_equal(res.minor, 1);
}

static void test_status_lines(void **state)
{
    (void)state;
    assert_error(parse("HTTP/1.1 404 Not Found at all\t\xc3\xa9\r\n\r\n"), SL_H1_OK);
    assert_slice(res.reason, "Not Found at all\t\xc3\xa9");
    assert_error(parse("HTTP/1.1 599 \r\n\r\n"), SL_H1_OK);
    assert_int_equal(res.status, 599);
    assert_int_equal(res.reason.n, 0);
    assert_error(parse("HTTP/1.1 200\r\n\r\n"), SL_H1_OK); /* the missing space changes no meaning */
    assert_error(parse("HTTP/1.0 200 OK\r\n\r\n"), SL_H1_OK);
    assert_int_equal(res.minor, 0);
    static const struct {
        const char *head;
        enum sl_h1_error want;
    } bad[] = {{"HTTP/1.1 20 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 2000 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 099 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 600 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 2a0 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1  200 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1\t200 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 200\tOK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 200 O\x01K\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1 200 O\x7fK\r\n\r\n", SL_H1_STATUS_LINE},
               {"HTTP/1.1", SL_H1_STATUS_LINE},
               {"HTTP/1.1 200", SL_H1_TRUNCATED},
               {"HTTP/2.0 200 OK\r\n\r\n", SL_H1_VERSION},
               {"HTTP/1.2 200 OK\r\n\r\n", SL_H1_VERSION},
               {"ICY 200 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"http/1.1 200 OK\r\n\r\n", SL_H1_STATUS_LINE},
               {"GET / HTTP/1.1\r\n\r\n", SL_H1_STATUS_LINE},
               {"", SL_H1_STATUS_LINE},
               {"HTTP/1.1 200 OK\n\r\n", SL_H1_BARE_LF},
               {"HTTP/1.1 200 OK\rX: y\r\n\r\n", SL_H1_BARE_CR}};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        assert_error(parse_for(SL_METHOD_GET, sl_slice_str(bad[i].head)), bad[i].want);
}

/* A backend that says two things is refused like a client that does: what we make of it, a cache before us
 * keeps. */
static void test_the_guard_holds_here_too(void **state)
{
    (void)state;
    assert_error(parse(OK_200 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), SL_H1_TE_AND_CL);
    assert_error(parse(OK_200 "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), SL_H1_CONTENT_LENGTH);
    assert_error(parse(OK_200 "Transfer-Encoding: gzip, chunked\r\n\r\n"), SL_H1_TRANSFER_ENCODING);
    assert_error(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), SL_H1_TE_ON_10);
    assert_error(parse(OK_200 "A : b\r\n\r\n"), SL_H1_FIELD_NAME);
    assert_error(parse(OK_200 "A: b\r\n c\r\n\r\n"), SL_H1_FOLD);
    assert_error(parse(OK_200 "A: b\nSet-Cookie: c\r\n\r\n"), SL_H1_BARE_LF);
    assert_error(
        parse_for(SL_METHOD_HEAD, SL_S(OK_200 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")),
        SL_H1_TE_AND_CL);
    assert_error(parse("HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n"), SL_H1_CONTENT_LENGTH);
}

/* RFC 9112 section 6.3 */
static void test_where_the_body_ends(void **state)
{
    (void)state;
    static const struct {
        enum sl_method method;
        const char *head;
        enum sl_framing framing;
        uint64_t length;
        bool keep_alive;
    } cases[] = {
        {SL_METHOD_GET, OK_200 "Transfer-Encoding: chunked\r\n\r\n", SL_FRAMING_CHUNKED, 0, true},
        {SL_METHOD_GET, OK_200 "Content-Length: 0\r\n\r\n", SL_FRAMING_LENGTH, 0, true},
        {SL_METHOD_GET, OK_200 "\r\n", SL_FRAMING_EOF, 0, false},
        {SL_METHOD_GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", SL_FRAMING_EOF, 0, false},
        {SL_METHOD_GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
         SL_FRAMING_LENGTH, 1, true},
        {SL_METHOD_GET, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", SL_FRAMING_LENGTH, 1, false},
        {SL_METHOD_GET, OK_200 "Connection: close\r\nContent-Length: 1\r\n\r\n", SL_FRAMING_LENGTH, 1, false},
        {SL_METHOD_HEAD, OK_200 "Content-Length: 42\r\n\r\n", SL_FRAMING_NONE, 42, true},
        {SL_METHOD_HEAD, OK_200 "Transfer-Encoding: chunked\r\n\r\n", SL_FRAMING_NONE, 0, true},
        {SL_METHOD_HEAD, OK_200 "\r\n", SL_FRAMING_NONE, 0, true},
        {SL_METHOD_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n", SL_FRAMING_NONE, 42, true},
        {SL_METHOD_GET, "HTTP/1.1 204 No Content\r\n\r\n", SL_FRAMING_NONE, 0, true},
        {SL_METHOD_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", SL_FRAMING_NONE, 0, true},
        {SL_METHOD_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", SL_FRAMING_NONE, 0, false},
        {SL_METHOD_GET, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", SL_FRAMING_NONE, 0,
         false},
        {SL_METHOD_GET, "HTTP/1.1 100 Continue\r\n\r\n", SL_FRAMING_NONE, 0, true},
        {SL_METHOD_GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", SL_FRAMING_NONE, 0, true},
        {SL_METHOD_GET,
         "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
         SL_FRAMING_NONE, 0, true},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        assert_error(parse_for(cases[i].method, sl_slice_str(cases[i].head)), SL_H1_OK);
        assert_int_equal(res.framing, cases[i].framing);
        assert_int_equal(res.content_length, cases[i].length);
        assert_int_equal(res.keep_alive, cases[i].keep_alive);
    }
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    static const char head[] = OK_200 "Server: x\r\nContent-Length: 1\r\n\r\n";
    size_t scanned = 0;
    for (size_t n = 0; n < sizeof(head) - 1; n++) {
        assert_int_not_equal(parse_for(SL_METHOD_GET, sl_slice(head, n)), SL_H1_OK);
        assert_int_equal(sl_h1_head_end(sl_slice(head, n), &scanned, &limits), 0);
    }
    assert_int_equal(sl_h1_head_end(sl_slice(head, sizeof(head)), &scanned, &limits), sizeof(head) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_a_usual_response),         unit_test_arena(test_status_lines),
        unit_test_arena(test_the_guard_holds_here_too), unit_test_arena(test_where_the_body_ends),
        unit_test_arena(test_every_prefix_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
