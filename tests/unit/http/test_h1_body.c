/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies, cut at every place: the same payload, the same end, the same refusal. */
#include "http_test.h"

#include "base/buf.h"

struct result {
    enum sl_h1_error error;
    bool done;
    size_t used;
    struct sl_buf payload;
};

/* Feeds the input in pieces of at most `step` bytes, each an exact copy. */
static struct result feed(enum sl_framing framing, uint64_t length, struct sl_slice in, size_t step)
{
    struct result r = {0};
    struct sl_h1_body b;
    sl_h1_body_init(&b, framing, length);
    while (r.used < in.n && !b.done && r.error == SL_H1_OK) {
        struct sl_slice piece = exact(sl_slice(in.p + r.used, SL_MIN(step, in.n - r.used))), data;
        size_t used;
        r.error = sl_h1_body_feed(&b, piece, &used, &data);
        if (r.error == SL_H1_OK) {
            assert_true(used > 0 && used <= piece.n);
            assert_true(data.n == 0 || (data.p >= piece.p && data.p + data.n <= piece.p + used));
            assert_int_equal(sl_buf_append_slice(&r.payload, data), 0);
            r.used += used;
        } else { /* and it stays refused */
            assert_int_not_equal(sl_h1_body_feed(&b, piece, &used, &data), SL_H1_OK);
            assert_false(b.done);
        }
        free((char *)piece.p);
    }
    r.done = b.done;
    assert_int_equal(b.total, sl_buf_len(&r.payload));
    return r;
}

static void takes(struct sl_slice in, const char *payload, size_t used)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct result r = feed(SL_FRAMING_CHUNKED, 0, in, step);
        assert_error(r.error, SL_H1_OK);
        assert_true(r.done);
        assert_int_equal(r.used, used);
        assert_slice(sl_buf_slice(&r.payload), payload);
        sl_buf_free(&r.payload);
    }
}

static void refuses(struct sl_slice in, enum sl_h1_error want)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct result r = feed(SL_FRAMING_CHUNKED, 0, in, step);
        if (r.error != want)
            fail_msg("%.*s: %s, want %s", (int)in.n, in.p, sl_h1_error_name(r.error), sl_h1_error_name(want));
        sl_buf_free(&r.payload);
    }
}

#define TAKES(lit, payload)            takes(SL_S(lit), payload, sizeof(lit) - 1)
#define TAKES_PART(lit, rest, payload) takes(SL_S(lit rest), payload, sizeof(lit) - 1)

static void test_chunks(void **state)
{
    (void)state;
    TAKES("0\r\n\r\n", "");
    TAKES("5\r\nhello\r\n0\r\n\r\n", "hello");
    TAKES("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world");
    TAKES("a\r\n0123456789\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "0123456789\r\n\r\n\r\n\r\n\r\n");
    TAKES("0000000000000001\r\nx\r\n0\r\n\r\n", "x");
    TAKES("1;a\r\nx\r\n1;a=b;c=\"d;\\\" e\"\r\ny\r\n1 \t; a = b\r\nz\r\n0;last\r\n\r\n", "xyz");
    TAKES("0\r\nX-Sum: 1\r\nVary: *\t\xff\r\nEmpty:\r\n\r\n", "");
    TAKES_PART("0\r\n\r\n", "GET / HTTP/1.1\r\n", "");
    TAKES_PART("1\r\nx\r\n0\r\n\r\n", "0\r\n\r\n", "x");
}

static void test_malformed_chunks(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        enum sl_h1_error want;
    } cases[] = {{"\r\n", SL_H1_CHUNK},
                 {"g\r\n", SL_H1_CHUNK},
                 {"-1\r\n", SL_H1_CHUNK},
                 {"+1\r\n", SL_H1_CHUNK},
                 {"0x1\r\n", SL_H1_CHUNK},
                 {" 1\r\n", SL_H1_CHUNK},
                 {"1 \r\n", SL_H1_CHUNK},
                 {"1 2\r\n", SL_H1_CHUNK},
                 {";a\r\n", SL_H1_CHUNK},
                 {"1,\r\n", SL_H1_CHUNK},
                 {"1_0\r\n", SL_H1_CHUNK},
                 {"1\tx\r\n", SL_H1_CHUNK},
                 {"00000000000000001\r\n", SL_H1_CHUNK},
                 {"ffffffffffffffff\r\n", SL_H1_CHUNK},
                 {"8000000000000000\r\n", SL_H1_CHUNK},
                 {"1\nx", SL_H1_BARE_LF},
                 {"1;a\nx", SL_H1_BARE_LF},
                 {"1;\n", SL_H1_BARE_LF},
                 {"1\rx", SL_H1_BARE_CR},
                 {"1;a\rb\r\n", SL_H1_BARE_CR},
                 {"1\r\r\n", SL_H1_BARE_CR},
                 {"1;a\x01\r\n", SL_H1_CHUNK},
                 {"1;a\x7f\r\n", SL_H1_CHUNK},
                 {"1\r\nxy\r\n", SL_H1_CHUNK},
                 {"1\r\nx\n", SL_H1_CHUNK},
                 {"1\r\nx\rz", SL_H1_BARE_CR},
                 {"1\r\nx0\r\n", SL_H1_CHUNK},
                 {"1\r\nx\r\n\r\n", SL_H1_CHUNK},
                 {"1\r\nx\r\nz", SL_H1_CHUNK},
                 {"0\r\n\n", SL_H1_BARE_LF},
                 {"0\r\n\rx", SL_H1_BARE_CR},
                 {"0\n\r\n", SL_H1_BARE_LF},
                 {"1\r\nx\r\n0\r\n\r\r", SL_H1_BARE_CR}};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
        refuses(sl_slice_str(cases[i].in), cases[i].want);
    refuses(SL_S("1;a\0b\r\n"), SL_H1_CHUNK);
}

/* RFC 9110 section 6.5.1 */
static void test_trailers(void **state)
{
    (void)state;
    static const char *const forbidden[] = {"Content-Length",
                                            "content_length",
                                            "Transfer-Encoding",
                                            "TRANSFER_ENCODING",
                                            "Host",
                                            "Connection",
                                            "TE",
                                            "Trailer",
                                            "Upgrade",
                                            "Authorization",
                                            "Proxy-Authorization",
                                            "Cookie",
                                            "Set-Cookie",
                                            "X-Forwarded-For",
                                            "Forwarded",
                                            "Expect",
                                            "Content-Type",
                                            "Content-Encoding",
                                            "Content-Range",
                                            "Cache-Control",
                                            "Via",
                                            "Keep-Alive"};
    char in[128];
    for (size_t i = 0; i < SL_ARRAY_LEN(forbidden); i++) {
        const int n = snprintf(in, sizeof(in), "0\r\nX-Fine: 1\r\n%s: 1\r\n\r\n", forbidden[i]);
        refuses(sl_slice(in, (size_t)n), SL_H1_TRAILER);
    }
    TAKES("0\r\nContent-Lengt: 1\r\nContent-Lengthx: 1\r\nxHost: 1\r\nX-Host: 1\r\n\r\n", "");
    static const struct {
        const char *in;
        enum sl_h1_error want;
    } cases[] = {{"0\r\n: x\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\na b: x\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\na : x\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\n a: x\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\na\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\na: x\r\n b\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\na: \x01\r\n\r\n", SL_H1_TRAILER},
                 {"0\r\na: b\n\r\n", SL_H1_BARE_LF},
                 {"0\r\na\n: b\r\n\r\n", SL_H1_BARE_LF},
                 {"0\r\na: b\rc: d\r\n\r\n", SL_H1_BARE_CR},
                 {"0\r\nGET / HTTP/1.1\r\n\r\n", SL_H1_TRAILER}};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
        refuses(sl_slice_str(cases[i].in), cases[i].want);
}

static void test_trailers_are_kept_where_asked(void **state)
{
    (void)state;
    const struct sl_slice in = SL_S("1;x\r\ny\r\n0\r\nX-Sum: \t7 8\t\r\nEmpty:\r\nA:b\r\n\r\n");
    static const char *const want[][2] = {{"X-Sum", "7 8"}, {"Empty", ""}, {"A", "b"}};
    for (size_t step = 1; step <= in.n; step++) {
        struct sl_h1_body b;
        struct sl_headers t = {0};
        sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
        b.keep = &arena;
        for (size_t at = 0, used; at < in.n && !b.done; at += used) {
            struct sl_slice data, piece = sl_slice(in.p + at, SL_MIN(step, in.n - at));
            assert_error(sl_h1_body_feed(&b, piece, &used, &data), SL_H1_OK);
        }
        assert_true(b.done);
        assert_error(sl_h1_body_trailers(&b, &t), SL_H1_OK);
        assert_int_equal(t.n, SL_ARRAY_LEN(want));
        for (size_t i = 0; i < t.n; i++) {
            assert_true(sl_slice_eq(t.v[i].name, sl_slice_str(want[i][0])));
            assert_true(sl_slice_eq(t.v[i].value, sl_slice_str(want[i][1])));
        }
    }
}

static void test_no_memory_is_taken_without_trailers(void **state)
{
    (void)state;
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used;
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    b.keep = &arena;
    assert_error(sl_h1_body_feed(&b, SL_S("0\r\n\r\n"), &used, &data), SL_H1_OK);
    assert_true(b.done);
    assert_null(b.text);
}

static void test_trailers_are_counted(void **state)
{
    (void)state;
    struct sl_h1_body b;
    struct sl_headers t = {0};
    struct sl_slice data;
    size_t used;
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    b.keep = &arena;
    assert_error(sl_h1_body_feed(&b, SL_S("0\r\n"), &used, &data), SL_H1_OK);
    for (unsigned i = 0; i <= SL_H1_TRAILER_COUNT; i++)
        assert_error(sl_h1_body_feed(&b, SL_S("a: b\r\n"), &used, &data), SL_H1_OK);
    assert_error(sl_h1_body_feed(&b, SL_S("\r\n"), &used, &data), SL_H1_OK);
    assert_error(sl_h1_body_trailers(&b, &t), SL_H1_TOO_MANY_HEADERS);
}

/* How many bytes of `unit`, after `first`, are taken before a refusal; it must come within `most`. */
static size_t until_refused(const char *first, const char *unit, size_t most, enum sl_h1_error want)
{
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used, n = 0;
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    for (size_t at = 0; first[at]; at += used)
        assert_error(sl_h1_body_feed(&b, sl_slice_str(first + at), &used, &data), SL_H1_OK);
    for (const struct sl_slice u = sl_slice_str(unit); n < most;) {
        const enum sl_h1_error e = sl_h1_body_feed(&b, sl_slice(u.p + n % u.n, u.n - n % u.n), &used, &data);
        if (e != SL_H1_OK) {
            assert_error(e, want);
            return n;
        }
        assert_false(b.done);
        n += used;
    }
    fail_msg("%s…: %zu bytes taken", first, n);
    return 0;
}

static void test_lines_and_trailers_are_bounded(void **state)
{
    (void)state;
    assert_true(until_refused("1;", "a", 4096, SL_H1_CHUNK) >= 900);
    assert_true(until_refused("1", " ", 4096, SL_H1_CHUNK) >= 900);
    assert_true(until_refused("0\r\n", "abc: def\r\n", 65536, SL_H1_TRAILER) >= 8000);
    assert_true(until_refused("0\r\na: ", "b", 65536, SL_H1_TRAILER) >= 8000);
    assert_true(until_refused("0\r\n", "a", 65536, SL_H1_TRAILER) >= 8000);
    /* chunks of one byte behind long extensions: work for nothing, refused over the body as a whole */
    char unit[512];
    memset(unit, 'x', sizeof(unit));
    memcpy(unit, "1;", 2);
    memcpy(unit + 505, "\r\ny\r\n", 6);
    assert_true(until_refused("1\r\nx\r\n", unit, 1 << 20, SL_H1_CHUNK) >= 16000);
}

/* Small chunks without extensions are what a live stream looks like, and may go on for ever. */
static void test_small_chunks_are_no_abuse(void **state)
{
    (void)state;
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used;
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    for (unsigned i = 0; i < 100000; i++) {
        assert_error(sl_h1_body_feed(&b, SL_S("1;t=12345\r\nx\r\n"), &used, &data), SL_H1_OK);
        assert_slice(data, "x");
        assert_int_equal(used, 12);
        assert_error(sl_h1_body_feed(&b, SL_S("\r\n"), &used, &data), SL_H1_OK);
    }
    assert_int_equal(b.total, 100000);
}

/* Sizes that add up past 63 bits are refused, not wrapped. */
static void test_totals_do_not_wrap(void **state)
{
    (void)state;
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used;
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    assert_error(sl_h1_body_feed(&b, SL_S("1\r\nx\r\n7fffffffffffffff\r\n"), &used, &data), SL_H1_OK);
    assert_error(sl_h1_body_feed(&b, SL_S("\r\n7fffffffffffffff\r\n"), &used, &data), SL_H1_CHUNK);
    sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
    assert_error(sl_h1_body_feed(&b, SL_S("7fffffffffffffff\r\nx"), &used, &data), SL_H1_OK);
    assert_slice(data, "x");
    assert_int_equal(b.left, INT64_MAX - 1);
}

static void test_length(void **state)
{
    (void)state;
    for (size_t step = 1; step < 12; step++) {
        struct result r = feed(SL_FRAMING_LENGTH, 5, SL_S("hello, world"), step);
        assert_true(r.done);
        assert_int_equal(r.used, 5);
        assert_slice(sl_buf_slice(&r.payload), "hello");
        sl_buf_free(&r.payload);
    }
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used = 1;
    sl_h1_body_init(&b, SL_FRAMING_LENGTH, 0);
    assert_true(b.done);
    assert_error(sl_h1_body_feed(&b, SL_S("x"), &used, &data), SL_H1_OK);
    assert_int_equal(used, 0);
    sl_h1_body_init(&b, SL_FRAMING_NONE, 7);
    assert_true(b.done);
}

static void test_eof(void **state)
{
    (void)state;
    struct sl_h1_body b;
    struct sl_slice data;
    size_t used;
    sl_h1_body_init(&b, SL_FRAMING_EOF, 0);
    assert_error(sl_h1_body_feed(&b, SL_S("abc"), &used, &data), SL_H1_OK);
    assert_slice(data, "abc");
    assert_false(b.done);
    assert_error(sl_h1_body_eof(&b), SL_H1_OK);
    assert_true(b.done);
    sl_h1_body_init(&b, SL_FRAMING_LENGTH, 4);
    assert_error(sl_h1_body_feed(&b, SL_S("abc"), &used, &data), SL_H1_OK);
    assert_error(sl_h1_body_eof(&b), SL_H1_TRUNCATED);
    assert_error(sl_h1_body_feed(&b, SL_S("d"), &used, &data), SL_H1_OK);
    assert_error(sl_h1_body_eof(&b), SL_H1_OK);
    static const char chunked[] = "1;a\r\nx\r\n0\r\nt: v\r\n\r\n";
    for (size_t n = 0; n <= sizeof(chunked) - 1; n++) {
        sl_h1_body_init(&b, SL_FRAMING_CHUNKED, 0);
        for (size_t at = 0; at < n; at += used)
            assert_error(sl_h1_body_feed(&b, sl_slice(chunked + at, n - at), &used, &data), SL_H1_OK);
        assert_error(sl_h1_body_eof(&b), n == sizeof(chunked) - 1 ? SL_H1_OK : SL_H1_TRUNCATED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_malformed_chunks),
        cmocka_unit_test(test_trailers),
        unit_test_arena(test_trailers_are_kept_where_asked),
        unit_test_arena(test_no_memory_is_taken_without_trailers),
        unit_test_arena(test_trailers_are_counted),
        cmocka_unit_test(test_lines_and_trailers_are_bounded),
        cmocka_unit_test(test_small_chunks_are_no_abuse),
        cmocka_unit_test(test_totals_do_not_wrap),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_eof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
