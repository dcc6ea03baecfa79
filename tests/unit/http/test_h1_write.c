/* SPDX-License-Identifier: Apache-2.0 */
/* What we send: framing made anew, nothing removed comes back, and our own parser reads it as it was meant.
 */
#include "http_test.h"

static void wrote(struct sl_buf *b, const char *want)
{
    assert_slice(sl_buf_slice(b), want);
    sl_buf_free(b);
}

static void add(struct sl_headers *h, const char *name, const char *value)
{
    assert_int_equal(sl_headers_add(h, &arena, sl_slice_str(name), sl_slice_str(value)), 0);
}

static void test_request(void **state)
{
    (void)state;
    struct sl_buf out = {0};
    struct sl_request r = {.method = SL_METHOD_GET,
                           .method_name = SL_S("GET"),
                           .path = SL_S("/a"),
                           .query = SL_S("b=c"),
                           .minor = 1};
    add(&r.headers, "Host", "a.test");
    add(&r.headers, "X-Gone", "1");
    add(&r.headers, "X-Empty", "");
    add(&r.headers, "Content-Length", "999");
    add(&r.headers, "Transfer-Encoding", "gzip");
    add(&r.headers, "Connection", "x");
    r.headers.v[1].removed = true;
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(&out, "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-Empty: \r\n\r\n");
    r.framing = SL_FRAMING_CHUNKED;
    r.query = SL_S("");
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(&out, "GET /a? HTTP/1.1\r\nHost: a.test\r\nX-Empty: \r\nTransfer-Encoding: chunked\r\n\r\n");
    r.framing = SL_FRAMING_LENGTH;
    r.content_length = UINT64_MAX;
    r.query = SL_SLICE_NUL;
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(&out,
          "GET /a HTTP/1.1\r\nHost: a.test\r\nX-Empty: \r\nContent-Length: 18446744073709551615\r\n\r\n");
}

static void test_request_without_host_or_body(void **state)
{
    (void)state;
    struct sl_buf out = {0};
    struct sl_request r = {.method = SL_METHOD_POST, .path = SL_S("/"), .authority = SL_S("up.test:80")};
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(&out, "POST / HTTP/1.1\r\nHost: up.test:80\r\nContent-Length: 0\r\n\r\n");
    r.method = SL_METHOD_DELETE;
    r.authority = SL_SLICE_NUL;
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(&out, "DELETE / HTTP/1.1\r\nHost: \r\n\r\n");
}

static void test_response(void **state)
{
    (void)state;
    struct sl_buf out = {0};
    struct sl_response r = {.status = 429, .framing = SL_FRAMING_LENGTH, .content_length = 10};
    add(&r.headers, "Retry-After", "1");
    add(&r.headers, "Connection", "keep-alive");
    add(&r.headers, "content-length", "3");
    assert_int_equal(sl_h1_write_response(&out, &r, false), 0);
    wrote(&out, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 10\r\n\r\n");
    r = (struct sl_response){.status = 299, .framing = SL_FRAMING_CHUNKED};
    assert_int_equal(sl_h1_write_response(&out, &r, true), 0);
    wrote(&out, "HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    r = (struct sl_response){.status = 200, .reason = SL_S("Fine"), .framing = SL_FRAMING_EOF};
    assert_int_equal(sl_h1_write_response(&out, &r, true), 0);
    wrote(&out, "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n");
}

static void test_responses_without_body(void **state)
{
    (void)state;
    struct sl_buf out = {0};
    struct sl_response r = {.status = 200, .framing = SL_FRAMING_NONE, .content_length = 42}; /* to HEAD */
    assert_int_equal(sl_h1_write_response(&out, &r, false), 0);
    wrote(&out, "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n");
    r.status = 204; /* RFC 9110 section 8.6 */
    assert_int_equal(sl_h1_write_response(&out, &r, false), 0);
    wrote(&out, "HTTP/1.1 204 No Content\r\n\r\n");
    r.status = 100;
    assert_int_equal(sl_h1_write_response(&out, &r, false), 0);
    wrote(&out, "HTTP/1.1 100 Continue\r\n\r\n");
    r = (struct sl_response){.status = 304};
    assert_int_equal(sl_h1_write_response(&out, &r, false), 0);
    wrote(&out, "HTTP/1.1 304 Not Modified\r\n\r\n");
}

/* Appends behind what is there; the room asked for is enough at every fill level (a sanitizer would say). */
static void test_appends_at_any_fill(void **state)
{
    (void)state;
    struct sl_request q = {.method = SL_METHOD_PUT,
                           .path = SL_S("/"),
                           .authority = SL_S("h"),
                           .framing = SL_FRAMING_LENGTH,
                           .content_length = UINT64_MAX};
    struct sl_response s = {.status = 503, .framing = SL_FRAMING_LENGTH, .content_length = UINT64_MAX};
    for (size_t fill = 0; fill < 600; fill++) {
        struct sl_buf out = {0};
        for (size_t i = 0; i < fill; i++)
            assert_int_equal(sl_buf_append(&out, "x", 1), 0);
        assert_int_equal(sl_h1_write_request(&out, &q), 0);
        assert_int_equal(sl_h1_write_response(&out, &s, true), 0);
        assert_int_equal(sl_h1_write_chunk_head(&out, fill), 0);
        assert_int_equal(memcmp(sl_buf_data(&out) + fill, "PUT / HTTP/1.1\r\n", 16), 0);
        sl_buf_free(&out);
    }
}

static void test_chunk_heads(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 255, 65536, SIZE_MAX};
    static const char *const want[] = {
        "0\r\n", "1\r\n", "f\r\n", "10\r\n", "ff\r\n", "10000\r\n", "ffffffffffffffff\r\n"};
    for (size_t i = 0; i < SL_ARRAY_LEN(sizes); i++) {
        struct sl_buf out = {0};
        assert_int_equal(sl_h1_write_chunk_head(&out, sizes[i]), 0);
        wrote(&out, want[i]);
    }
}

/* What came as 1.0, absolute and oddly spelt goes out as 1.1 in one form, and reads back the same. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "GET http://A.test/x/../%79?q HTTP/1.0\r\n\r\n",
        "POST /a%2e%2Eb/\"?x=%2f HTTP/1.1\r\nHost:  B.test:81 \r\nTransfer-Encoding: CHUNKED\r\nX: "
        "\ty\t\r\nConnection: close\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: [::1]:80\r\ncontent-LENGTH: 00012\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(heads); i++) {
        struct sl_request in, back;
        struct sl_buf out = {0}, twice = {0};
        assert_error(sl_h1_parse_request(&arena, sl_slice_str(heads[i]), &limits, &in), SL_H1_OK);
        assert_int_equal(sl_h1_write_request(&out, &in), 0);
        assert_error(sl_h1_parse_request(&arena, sl_buf_slice(&out), &limits, &back), SL_H1_OK);
        assert_true(sl_slice_eq(in.path, back.path) && sl_slice_eq(in.authority, back.authority));
        assert_true(sl_slice_eq(in.query, back.query) && sl_slice_eq(in.method_name, back.method_name));
        assert_int_equal(in.content_length, back.content_length);
        assert_int_equal(in.framing, back.framing);
        assert_int_equal(back.minor, 1);
        assert_int_equal(sl_h1_write_request(&twice, &back), 0);
        assert_true(sl_slice_eq(sl_buf_slice(&out), sl_buf_slice(&twice)));
        sl_buf_free(&out);
        sl_buf_free(&twice);
    }
}

/* Lines that are passed on as they came are copied at once; what was changed in between shows. */
static void test_lines_of_a_head(void **state)
{
    (void)state;
    struct sl_buf out = {0};
    struct sl_request r;
    const struct sl_slice head =
        SL_S("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB:2\r\nC: 3 \r\nConnection: close\r\n"
             "D: 4\r\nE: \r\nF:\t6\r\nG: 7\r\nH: 8\r\nContent-Length: 0\r\nI: 9\r\nJ: \r\n\r\n");
    assert_error(sl_h1_parse_request(&arena, head, &limits, &r), SL_H1_OK);
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(
        &out,
        "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: 6\r\nG: 7\r\nH: 8\r\nI: 9\r\n"
        "J: \r\nContent-Length: 0\r\n\r\n");
    sl_headers_find(&r.headers, SL_S("A"))->value = SL_S("other");
    sl_headers_find(&r.headers, SL_S("D"))->removed = true;
    sl_headers_find(&r.headers, SL_S("G"))->value.n = 0;
    sl_headers_find(&r.headers, SL_S("H"))->name = SL_S("Z");
    assert_int_equal(sl_headers_set(&r.headers, &arena, SL_S("i"), SL_S("10")), 0);
    assert_int_equal(sl_h1_write_request(&out, &r), 0);
    wrote(&out,
          "GET / HTTP/1.1\r\nHost: a\r\nA: other\r\nB: 2\r\nC: 3\r\nE: \r\nF: 6\r\nG: \r\nZ: 8\r\nJ: \r\n"
          "i: 10\r\nContent-Length: 0\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_request),
        unit_test_arena(test_request_without_host_or_body),
        unit_test_arena(test_response),
        unit_test_arena(test_responses_without_body),
        unit_test_arena(test_appends_at_any_fill),
        unit_test_arena(test_chunk_heads),
        unit_test_arena(test_round_trip),
        unit_test_arena(test_lines_of_a_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
