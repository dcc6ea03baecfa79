/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads: what is taken means one thing, and what could mean two is refused by name. */
#include "http_test.h"

static struct sl_request req;

/* Parses an exact copy, which stays until the next one, so that slices can be looked at. */
static enum sl_h1_error parse_with(struct sl_slice head, const struct sl_h1_limits *l)
{
    static struct sl_slice last;
    free((char *)last.p);
    last = exact(head);
    return sl_h1_parse_request(&arena, last, l, &req);
}

static enum sl_h1_error parse_n(const char *head, size_t n)
{
    return parse_with(sl_slice(head, n), &limits);
}

#define parse(lit)   parse_n("" lit, sizeof(lit) - 1)
#define LINE         "GET / HTTP/1.1\r\n"
#define HOST         "Host: a.test\r\n"
#define GET(fields)  parse(LINE HOST fields "\r\n")
#define POST(fields) parse("POST / HTTP/1.1\r\n" HOST fields "\r\n")

static void test_a_usual_request(void **state)
{
    (void)state;
    assert_error(
        parse("POST /v1/%6frders/../x?q=1 HTTP/1.1\r\nHost: API.Test:8080\r\nX-A:  b c\t \r\nX-Empty:\r\n"
              "Content-Length: 12\r\n\r\n"),
        SL_H1_OK);
    assert_int_equal(req.method, SL_METHOD_POST);
    assert_slice(req.method_name, "POST");
    assert_slice(req.target, "/v1/%6frders/../x?q=1");
    assert_slice(req.path, "/v1/x");
    assert_slice(req.query, "q=1");
    assert_slice(req.authority, "api.test:8080");
    assert_int_equal(req.headers.n, 4);
    assert_slice(req.headers.v[1].name, "X-A");
    assert_slice(req.headers.v[1].value, "b c");
    assert_slice(req.headers.v[2].value, "");
    assert_int_equal(req.headers.v[0].id, SL_HDR_HOST);
    assert_int_equal(req.framing, SL_FRAMING_LENGTH);
    assert_int_equal(req.content_length, 12);
    assert_int_equal(req.minor, 1);
    assert_true(req.keep_alive);
    assert_false(req.expect_continue);
    assert_false(req.upgrade);
}

static void test_every_prefix_is_incomplete(void **state)
{
    (void)state;
    static const char head[] = "POST /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n";
    size_t scanned_all = 0;
    for (size_t n = 0; n < sizeof(head) - 1; n++) {
        size_t scanned = 0;
        struct sl_slice part = exact(sl_slice(head, n));
        assert_int_equal(sl_h1_head_end(part, &scanned, &limits), 0);
        assert_int_equal(sl_h1_head_end(part, &scanned_all, &limits), 0);
        assert_int_not_equal(sl_h1_parse_request(&arena, part, &limits, &req), SL_H1_OK);
        free((char *)part.p);
    }
    assert_int_equal(
        sl_h1_head_end(
            SL_S("POST /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"),
            &scanned_all, &limits),
        sizeof(head) - 1);
    assert_error(parse_n(head, sizeof(head) - 1), SL_H1_OK);
}

static void test_head_end_refuses_early(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        enum sl_h1_error want;
    } cases[] = {{"\r", SL_H1_LEADING_BYTES},
                 {"\n", SL_H1_LEADING_BYTES},
                 {" G", SL_H1_LEADING_BYTES},
                 {"\tG", SL_H1_LEADING_BYTES},
                 {"\x16\x03\x01", SL_H1_METHOD},
                 {"G\n", SL_H1_BARE_LF},
                 {"GET / HTTP/1.1\n", SL_H1_BARE_LF},
                 {"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n", SL_H1_BARE_LF},
                 {"GET / HTTP/1.1\r\nHost: a\r\n\n", SL_H1_BARE_LF},
                 {"GET / HTTP/1.1\r\n\n\r\n", SL_H1_BARE_LF}};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        size_t scanned = 0;
        struct sl_slice s = exact(sl_slice_str(cases[i].bytes));
        assert_error((enum sl_h1_error) - sl_h1_head_end(s, &scanned, &limits), cases[i].want);
        free((char *)s.p);
    }
}

static void test_head_limits(void **state)
{
    (void)state;
    const struct sl_slice head = SL_S(LINE HOST "A: b\r\n\r\n");
    struct sl_h1_limits l = limits;
    size_t scanned = 0;
    l.head = (uint32_t)head.n;
    assert_int_equal(sl_h1_head_end(head, &scanned, &l), head.n);
    assert_error(parse_with(head, &l), SL_H1_OK);
    l.head--;
    scanned = 0;
    assert_int_equal(sl_h1_head_end(head, &scanned, &l), -SL_H1_HEAD_TOO_LARGE);
    assert_error(parse_with(head, &l), SL_H1_HEAD_TOO_LARGE);
    /* Not a line ended within the limit: it is the target */
    l.head = 12;
    scanned = 0;
    assert_int_equal(sl_h1_head_end(head, &scanned, &l), -SL_H1_TARGET_TOO_LONG);
    scanned = 0;
    assert_int_equal(sl_h1_head_end(SL_S("HTTP/1.1 200 OK"), &scanned, &l), -SL_H1_HEAD_TOO_LARGE);
    l = limits;
    l.header_count = 2;
    assert_error(parse_with(head, &l), SL_H1_OK);
    l.header_count = 1;
    assert_error(parse_with(head, &l), SL_H1_TOO_MANY_HEADERS);
    l = limits;
    l.target = 5;
    assert_error(parse_with(SL_S("GET /abcd HTTP/1.1\r\n" HOST "\r\n"), &l), SL_H1_OK);
    assert_error(parse_with(SL_S("GET /abcde HTTP/1.1\r\n" HOST "\r\n"), &l), SL_H1_TARGET_TOO_LONG);
}

struct refusal {
    const char *head;
    enum sl_h1_error want;
};

static void refuse_all(const struct refusal *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const enum sl_h1_error got = parse_n(r[i].head, strlen(r[i].head));
        if (got != r[i].want)
            fail_msg("case %zu: %s, want %s: %s", i, sl_h1_error_name(got), sl_h1_error_name(r[i].want),
                     r[i].head);
    }
}

/* RFC 9112 sections 2.2, 2.3, 3 */
static void test_request_lines(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", SL_H1_LEADING_BYTES},
        {" GET / HTTP/1.1\r\n" HOST "\r\n", SL_H1_LEADING_BYTES},
        {"GET /\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET /  HTTP/1.1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / HTTP/1.1 HTTP/1.1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / x HTTP/1.1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / HTTP/1.10\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", SL_H1_VERSION},
        {"GET / HTTP/0.9\r\n" HOST "\r\n", SL_H1_VERSION},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", SL_H1_VERSION},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SL_H1_VERSION},
        {"GET / HTTP/1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / http/1.1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET / HTTP/+1.1\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"SOURCE / ICE/1.0\r\n" HOST "\r\n", SL_H1_REQUEST_LINE},
        {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_METHOD},
        {"G\x01T / HTTP/1.1\r\n" HOST "\r\n", SL_H1_METHOD},
        {"G(T / HTTP/1.1\r\n" HOST "\r\n", SL_H1_METHOD},
        {"\x80 / HTTP/1.1\r\n" HOST "\r\n", SL_H1_METHOD},
        {"CONNECT a.test:443 HTTP/1.1\r\n" HOST "\r\n", SL_H1_CONNECT},
        {"GET / HTTP/1.1\n" HOST "\r\n", SL_H1_BARE_LF},
        {"GET / HTTP/1.1\r" HOST "\r\n", SL_H1_BARE_CR},
        {"GET / HTTP/1.1\r\r\n" HOST "\r\n", SL_H1_BARE_CR},
    };
    refuse_all(cases, SL_ARRAY_LEN(cases));
}

/* RFC 9112 section 3.2 */
static void test_targets_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"GET a HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"OPTIONS *x HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"OPTIONS */ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET a.test:80 HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET /#f HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET /\t HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET // HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET /..;/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET /a%2fb HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET ftp://a.test/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http:/a.test/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http:///x HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http://u@a.test/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http://a.test:/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http://a.test#x HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http://a.test\\@b.test/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_TARGET},
        {"GET http://b.test/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_HOST},
        {"GET http://a.test:80/ HTTP/1.1\r\n" HOST "\r\n", SL_H1_HOST},
        {"GET http://a.test/ HTTP/1.1\r\n\r\n", SL_H1_HOST_MISSING},
    };
    refuse_all(cases, SL_ARRAY_LEN(cases));
}

static void test_targets_taken(void **state)
{
    (void)state;
    static const struct {
        const char *head, *path, *query, *authority;
    } cases[] = {
        {"GET http://A.test/x?y HTTP/1.1\r\nHost: a.TEST\r\n\r\n", "/x", "y", "a.test"},
        {"GET HTTPS://a.test/./x HTTP/1.1\r\nHost: a.test\r\n\r\n", "/x", NULL, "a.test"},
        {"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "/", NULL, "a.test"},
        {"GET http://a.test?x=1 HTTP/1.1\r\nHost: a.test\r\n\r\n", "/", "x=1", "a.test"},
        {"GET http://[2001:DB8::1]:8080/ HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", "/", NULL,
         "[2001:db8::1]:8080"},
        {"GET http://a.test/ HTTP/1.0\r\n\r\n", "/", NULL, "a.test"},
        {"GET /x HTTP/1.0\r\n\r\n", "/x", NULL, ""},
        {"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "*", NULL, "a.test"},
        {"OPTIONS http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "*", NULL, "a.test"},
        {"OPTIONS http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "/", NULL, "a.test"},
        {"get-it /x HTTP/1.1\r\nHost: a.test\r\n\r\n", "/x", NULL, "a.test"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        assert_error(parse_n(cases[i].head, strlen(cases[i].head)), SL_H1_OK);
        assert_slice(req.path, cases[i].path);
        assert_int_equal(req.query.p != NULL, cases[i].query != NULL);
        if (cases[i].query)
            assert_slice(req.query, cases[i].query);
        assert_slice(req.authority, cases[i].authority);
    }
    assert_int_equal(req.method, SL_METHOD_OTHER);
    assert_slice(req.method_name, "get-it");
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"a",         "a.test",       "A-b.test:1", "a:65535", "a_b.test",
                                       "192.0.2.1", "192.0.2.1:80", "[::1]",      "[::1]:8", "a.test."};
    static const char *const bad[] = {"",
                                      "a b",
                                      "a,b",
                                      "a/b",
                                      "a:",
                                      ":80",
                                      "a:0",
                                      "a:65536",
                                      "a:8a",
                                      "a:123456",
                                      "a@b",
                                      "u:p@a",
                                      "a?b",
                                      "a#b",
                                      "a\\b",
                                      "a%41",
                                      "[::1",
                                      "[]",
                                      "[a]",
                                      "[1.2.3.4]",
                                      "[::1]x",
                                      "[::1]:",
                                      "::1",
                                      ".a",
                                      "a..b",
                                      "a!b",
                                      "a;b",
                                      "\xc3\xa9",
                                      "a\"",
                                      "[::g]",
                                      "[fe80::1%eth0]",
                                      "a:1:2",
                                      "[::1]]"};
    char head[128];
    for (size_t i = 0; i < SL_ARRAY_LEN(good); i++) {
        const int n = snprintf(head, sizeof(head), LINE "Host: %s\r\n\r\n", good[i]);
        assert_error(parse_n(head, (size_t)n), SL_H1_OK);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        const int n = snprintf(head, sizeof(head), LINE "Host: %s\r\n\r\n", bad[i]);
        if (parse_n(head, (size_t)n) != SL_H1_HOST)
            fail_msg("Host: %s: not refused as such", bad[i]);
    }
    assert_error(parse(LINE "\r\n"), SL_H1_HOST_MISSING);
    assert_error(parse(LINE HOST HOST "\r\n"), SL_H1_HOST_DOUBLED);
    assert_error(parse(LINE HOST "hOsT: b\r\n\r\n"), SL_H1_HOST_DOUBLED);
    assert_error(parse("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), SL_H1_HOST_DOUBLED);
}

/* RFC 9112 section 5, RFC 9110 section 5.5 */
static void test_fields_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {LINE HOST ": v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "name\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "name : v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "name\t: v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "na me: v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "na@me: v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "na\x80me: v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "\x01name: v\r\n\r\n", SL_H1_FIELD_NAME},
        {LINE HOST "A: b\r\n c: d\r\n\r\n", SL_H1_FOLD},
        {LINE HOST "A: b\r\n\tc\r\n\r\n", SL_H1_FOLD},
        {LINE " " HOST "\r\n", SL_H1_FOLD},
        {LINE HOST " \r\n\r\n", SL_H1_FOLD},
        {LINE HOST "A: b\nC: d\r\n\r\n", SL_H1_BARE_LF},
        {LINE HOST "A:\nC: d\r\n\r\n", SL_H1_BARE_LF},
        {LINE HOST "A\n: d\r\n\r\n", SL_H1_BARE_LF},
        {LINE HOST "\n", SL_H1_BARE_LF},
        {LINE HOST "\r\r\n", SL_H1_BARE_CR},
        {LINE HOST "\rZ", SL_H1_BARE_CR},
        {LINE HOST "A: b\rC: d\r\n\r\n", SL_H1_BARE_CR},
        {LINE HOST "A: b\r\r\n\r\n", SL_H1_BARE_CR},
        {LINE HOST "A\r: d\r\n\r\n", SL_H1_BARE_CR},
        {LINE HOST "A: b\x01\r\n\r\n", SL_H1_FIELD_VALUE},
        {LINE HOST "A: b\x7f\r\n\r\n", SL_H1_FIELD_VALUE},
        {LINE HOST "A: \x0b\r\n\r\n", SL_H1_FIELD_VALUE},
        {LINE HOST "A: b\r\n", SL_H1_TRUNCATED},
        {LINE HOST "A: b", SL_H1_TRUNCATED},
        {LINE HOST "A", SL_H1_TRUNCATED},
        {LINE HOST "\r\nX", SL_H1_LLHTTP}, /* more than one head is no head */
    };
    refuse_all(cases, SL_ARRAY_LEN(cases));
    assert_error(GET("A: \0\r\n"), SL_H1_FIELD_VALUE);
    assert_error(GET("A\0: b\r\n"), SL_H1_FIELD_NAME);
}

static void test_odd_but_single_fields_pass(void **state)
{
    (void)state;
    assert_error(GET("A: \xc3\xa9\xff\r\nB:\t x\ty \t\r\nC: :\r\nD:,\r\n!#$%&'*+-.^_`|~: z\r\nE:   \r\n"),
                 SL_H1_OK);
    assert_slice(req.headers.v[1].value, "\xc3\xa9\xff");
    assert_slice(req.headers.v[2].value, "x\ty");
    assert_slice(req.headers.v[3].value, ":");
    assert_slice(req.headers.v[5].name, "!#$%&'*+-.^_`|~");
    assert_slice(req.headers.v[6].value, "");
    assert_error(GET("Transfer---Encoding: chunked\r\nX_Y: 1\r\n"), SL_H1_OK);
    assert_int_equal(req.framing, SL_FRAMING_NONE);
}

/* RFC 9112 section 6 */
static void test_framing_refused(void **state)
{
    (void)state;
#define P "POST / HTTP/1.1\r\n" HOST
    static const struct refusal cases[] = {
        {P "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 1\r\ncontent-length: 1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 1, 1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 1 1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: +1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: -1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 0x1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 1.0\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length:\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 9223372036854775808\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content-Length: 18446744073709551616\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Content_Length: 1\r\n\r\n", SL_H1_CONTENT_LENGTH},
        {P "Transfer-Encoding: gzip, chunked\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: chunked, chunked\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: identity\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: xchunked\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: \"chunked\"\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: chunked;q=1\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: chunked,\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding:\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer_Encoding: chunked\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "transfer_encoding: x\r\n\r\n", SL_H1_TRANSFER_ENCODING},
        {P "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", SL_H1_TE_AND_CL},
        {P "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", SL_H1_TE_AND_CL},
        {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", SL_H1_TE_ON_10},
        {P "Expect: 200-ok\r\n\r\n", SL_H1_EXPECT},
        {P "Expect: 100-continue, x\r\n\r\n", SL_H1_EXPECT},
    };
    refuse_all(cases, SL_ARRAY_LEN(cases));
}

static void test_framing_taken(void **state)
{
    (void)state;
    assert_error(GET("Content-Length: 5\r\n"), SL_H1_OK); /* RFC 9110 section 9.3.1: no meaning, but framed */
    assert_int_equal(req.framing, SL_FRAMING_LENGTH);
    assert_error(POST("Transfer-Encoding: CHUNKED\r\n"), SL_H1_OK);
    assert_int_equal(req.framing, SL_FRAMING_CHUNKED);
    assert_error(POST("Content-Length: 0007\r\n"), SL_H1_OK);
    assert_int_equal(req.content_length, 7);
    assert_error(POST("Content-Length: 9223372036854775807\r\n"), SL_H1_OK);
    assert_int_equal(req.content_length, INT64_MAX);
    assert_error(POST("Content-Length: 0\r\n"), SL_H1_OK);
    assert_int_equal(req.framing, SL_FRAMING_LENGTH);
    assert_error(POST(""), SL_H1_OK);
    assert_int_equal(req.framing, SL_FRAMING_NONE);
}

static void test_connection(void **state)
{
    (void)state;
    assert_error(GET("Connection: close\r\n"), SL_H1_OK);
    assert_false(req.keep_alive);
    assert_error(GET("Connection: keep-alive, Close\r\n"), SL_H1_OK);
    assert_false(req.keep_alive);
    assert_error(GET("Connection: x\r\nConnection: ,CLOSE ,\r\n"), SL_H1_OK);
    assert_false(req.keep_alive);
    assert_error(GET("Connection: closed\r\n"), SL_H1_OK);
    assert_true(req.keep_alive);
    assert_error(parse("GET / HTTP/1.0\r\n\r\n"), SL_H1_OK);
    assert_false(req.keep_alive);
    assert_error(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), SL_H1_OK);
    assert_true(req.keep_alive);
    assert_error(GET("Connection: Upgrade, x\r\nUpgrade: websocket\r\n"), SL_H1_OK);
    assert_true(req.upgrade);
    assert_error(GET("Connection: upgrade\r\n"), SL_H1_OK);
    assert_false(req.upgrade);
    assert_error(GET("Upgrade: h2c\r\n"), SL_H1_OK);
    assert_false(req.upgrade);
    char head[4096];
    int n = snprintf(head, sizeof(head), LINE HOST "Connection: a");
    for (unsigned i = 1; i < 32; i++)
        n += snprintf(head + n, sizeof(head) - (size_t)n, ",a%u", i);
    (void)snprintf(head + n, sizeof(head) - (size_t)n, "\r\n\r\n");
    assert_error(parse_n(head, (size_t)n + 4), SL_H1_OK);
    (void)snprintf(head + n, sizeof(head) - (size_t)n, ",b\r\n\r\n");
    assert_error(parse_n(head, (size_t)n + 6), SL_H1_TOO_MANY_HEADERS);
}

/* RFC 9110 section 10.1.1 */
static void test_expect(void **state)
{
    (void)state;
    assert_error(POST("Expect: 100-Continue\r\nContent-Length: 3\r\n"), SL_H1_OK);
    assert_true(req.expect_continue);
    assert_error(POST("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"), SL_H1_OK);
    assert_true(req.expect_continue);
    assert_error(GET("Expect: 100-continue\r\n"), SL_H1_OK);
    assert_false(req.expect_continue);
    assert_error(parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"), SL_H1_OK);
    assert_false(req.expect_continue);
}

/* llhttp's verdict counts even where the guard has none: each byte of a head, replaced by each other byte, is
 * either refused or read in one way. (That it is the same way is what sl_h1_confirm_request sees to.) */
static void test_any_byte_anywhere(void **state)
{
    (void)state;
    char head[] = "PUT /a?b=c HTTP/1.1\r\nHost: a:80\r\nConnection: x\r\nContent-Length: 3\r\n\r\n";
    unsigned taken = 0;
    for (size_t i = 0; i < sizeof(head) - 1; i++) {
        const char was = head[i];
        for (int c = 0; c < 256; c++) {
            head[i] = (char)c;
            taken += parse_n(head, sizeof(head) - 1) == SL_H1_OK;
            assert_true(req.headers.n <= 3);
        }
        head[i] = was;
        sl_arena_reset(&arena);
    }
    assert_true(taken > sizeof(head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_a_usual_request),
        unit_test_arena(test_every_prefix_is_incomplete),
        unit_test_arena(test_head_end_refuses_early),
        unit_test_arena(test_head_limits),
        unit_test_arena(test_request_lines),
        unit_test_arena(test_targets_refused),
        unit_test_arena(test_targets_taken),
        unit_test_arena(test_hosts),
        unit_test_arena(test_fields_refused),
        unit_test_arena(test_odd_but_single_fields_pass),
        unit_test_arena(test_framing_refused),
        unit_test_arena(test_framing_taken),
        unit_test_arena(test_connection),
        unit_test_arena(test_expect),
        unit_test_arena(test_any_byte_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
