/* SPDX-License-Identifier: Apache-2.0 */
/* Fields into requests: what is malformed (RFC 9113 section 8.1.1), what is refused, and what comes out of
 * the rest. */
#include "http_test.h"

#include "http/h2_priv.h"

static const struct sl_h2_limits wide = {.headers = 4096, .header_count = 20, .streams = 10};
static const struct sl_h2_limits offering = {
    .headers = 4096, .header_count = 20, .streams = 10, .connect_protocol = true};

struct verdict {
    struct sl_request r;
    enum sl_h1_error error;
    bool malformed;
};

/* fields: "name\0value\0name\0value\0"; both ends with an empty name. */
static struct verdict read_under(const struct sl_h2_limits *under, const char *fields, bool end)
{
    struct verdict v = {0};
    struct sl_h2_head hd;
    sl_h2_head_begin(&hd, &arena, &v.r, under, false);
    for (const char *p = fields; *p;) {
        struct sl_slice name = sl_slice_str(p), value = sl_slice_str(p + name.n + 1);
        struct sl_slice n = exact(name), x = exact(value); /* gone after the call, as in a session */
        sl_h2_head_field(&hd, n, x);
        free((char *)n.p);
        free((char *)x.p);
        p += name.n + value.n + 2;
    }
    sl_h2_head_end(&hd, end);
    v.error = hd.error;
    v.malformed = hd.malformed;
    return v;
}

static struct verdict read_fields(const char *fields, bool end)
{
    return read_under(&wide, fields, end);
}

#define GET  ":method\0GET\0:scheme\0https\0:path\0/\0:authority\0a.test\0"
#define POST ":method\0POST\0:scheme\0https\0:path\0/\0:authority\0a.test\0"

static void test_a_request(void **state)
{
    (void)state;
    struct verdict v = read_fields(
        ":method\0GET\0:scheme\0https\0:path\0/a/%7eb?q=1\0:authority\0A.Test:8080\0x-a\0one\0x-empty\0\0",
        true);
    assert_error(v.error, SL_H1_OK);
    assert_int_equal(v.r.method, SL_METHOD_GET);
    assert_slice(v.r.method_name, "GET");
    assert_slice(v.r.path, "/a/~b");
    assert_slice(v.r.query, "q=1");
    assert_slice(v.r.authority, "a.test:8080");
    assert_int_equal(v.r.framing, SL_FRAMING_NONE);
    assert_slice(sl_headers_get(&v.r.headers, SL_HDR_HOST)->value, "A.Test:8080");
    assert_slice(sl_headers_find(&v.r.headers, SL_S("x-a"))->value, "one");
    assert_int_equal(sl_headers_find(&v.r.headers, SL_S("x-empty"))->value.n, 0);
    assert_true(v.r.keep_alive && v.r.minor == 1 && !v.r.upgrade);
}

static void test_framing(void **state)
{
    (void)state;
    struct verdict v = read_fields(POST "content-length\0"
                                        "12\0",
                                   false);
    assert_error(v.error, SL_H1_OK);
    assert_int_equal(v.r.framing, SL_FRAMING_LENGTH);
    assert_int_equal(v.r.content_length, 12);
    v = read_fields(POST, false);
    assert_int_equal(v.r.framing, SL_FRAMING_CHUNKED);
    v = read_fields(POST "content-length\0"
                         "0\0",
                    true);
    assert_error(v.error, SL_H1_OK);
    assert_int_equal(v.r.framing, SL_FRAMING_LENGTH);
    v = read_fields(POST "content-length\0"
                         "1\0",
                    true);
    assert_error(v.error, SL_H1_BODY_LENGTH);
    assert_true(v.malformed);
    v = read_fields(POST "expect\0"
                         "100-continue\0",
                    false);
    assert_true(v.r.expect_continue);
    v = read_fields(GET "expect\0"
                        "100-continue\0",
                    true);
    assert_false(v.r.expect_continue);
}

static void test_cookies_are_joined(void **state)
{
    (void)state;
    struct verdict v = read_fields(GET "cookie\0a=1\0x\0y\0cookie\0b=2\0cookie\0\0", true);
    unsigned n = 0;
    for (uint32_t i = 0; i < v.r.headers.n; i++)
        n += v.r.headers.v[i].id == SL_HDR_COOKIE && !v.r.headers.v[i].removed;
    assert_int_equal(n, 1);
    assert_slice(sl_headers_get(&v.r.headers, SL_HDR_COOKIE)->value, "a=1; b=2; ");
}

#define REST ":scheme\0https\0:path\0/chat?x\0:authority\0a.test\0"
#define WS   ":method\0CONNECT\0:protocol\0websocket\0"

/* RFC 8441: only where it was offered, and as the GET with Upgrade that it stands for. */
static void test_extended_connect(void **state)
{
    (void)state;
    for (int end = 0; end < 2; end++) {
        struct verdict v = read_under(&offering, WS REST, end);
        assert_error(v.error, SL_H1_OK);
        assert_true(v.r.extended_connect && v.r.upgrade);
        assert_int_equal(v.r.method, SL_METHOD_GET);
        assert_slice(v.r.method_name, "GET");
        assert_slice(v.r.path, "/chat");
        assert_slice(v.r.authority, "a.test");
        assert_int_equal(v.r.framing, SL_FRAMING_NONE);
    }
    assert_error(read_under(&offering, ":method\0CONNECT\0:protocol\0WebSocket\0" REST, false).error,
                 SL_H1_OK);
    assert_false(read_under(&offering, GET, true).r.extended_connect);
    assert_true(read_under(&wide, WS REST, false).malformed);
}

static void test_extended_connect_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        enum sl_h1_error error;
        bool malformed;
    } cases[] = {
        {":method\0CONNECT\0:protocol\0connect-udp\0" REST, SL_H1_PROTOCOL, false},
        {":method\0CONNECT\0:protocol\0\0" REST, SL_H1_PSEUDO, true},
        {":method\0CONNECT\0:protocol\0a b\0" REST, SL_H1_PSEUDO, true},
        {":method\0GET\0:protocol\0websocket\0" REST, SL_H1_PSEUDO, true},
        {WS ":protocol\0websocket\0" REST, SL_H1_PSEUDO, true},
        {WS ":path\0/\0:authority\0a\0", SL_H1_PSEUDO, true},
        {WS ":scheme\0https\0:authority\0a\0", SL_H1_PSEUDO, true},
        {WS ":scheme\0https\0:path\0/\0", SL_H1_HOST_MISSING, false},
        {WS REST "content-length\0"
                 "0\0",
         SL_H1_BODY_LENGTH, true},
        {":method\0CONNECT\0:authority\0a.test:443\0", SL_H1_CONNECT, false},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        struct verdict v = read_under(&offering, cases[i].fields, false);
        assert_error(v.error, cases[i].error);
        assert_int_equal(v.malformed, cases[i].malformed);
    }
}

static void test_what_is_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        enum sl_h1_error error;
    } cases[] = {
        {":scheme\0https\0:path\0/\0:authority\0a\0", SL_H1_PSEUDO}, /* 8.3.1 */
        {":method\0GET\0:path\0/\0:authority\0a\0", SL_H1_PSEUDO},
        {":method\0GET\0:scheme\0https\0:authority\0a\0", SL_H1_PSEUDO},
        {":method\0GET\0:scheme\0https\0:path\0\0:authority\0a\0", SL_H1_PSEUDO},
        {":method\0GET\0:scheme\0https\0:path\0*\0:authority\0a\0", SL_H1_PSEUDO},
        {":method\0GET\0:scheme\0https\0:path\0http://a/\0:authority\0a\0", SL_H1_PSEUDO},
        {":method\0GET\0:scheme\0\0:path\0/\0:authority\0a\0", SL_H1_PSEUDO},
        {":method\0G ET\0:scheme\0https\0:path\0/\0:authority\0a\0", SL_H1_PSEUDO},
        {GET ":path\0/\0", SL_H1_PSEUDO}, /* 8.3 */
        {GET ":status\0"
             "200\0",
         SL_H1_PSEUDO},
        {GET ":other\0x\0", SL_H1_PSEUDO},
        {GET ":protocol\0websocket\0", SL_H1_PSEUDO}, /* RFC 8441 was not offered */
        {":method\0GET\0:scheme\0https\0:path\0/\0x\0y\0:authority\0a\0", SL_H1_PSEUDO},
        {GET "X-Up\0y\0", SL_H1_FIELD_NAME}, /* 8.2.1 */
        {GET "x y\0z\0", SL_H1_FIELD_NAME},
        {GET "x:\0z\0", SL_H1_FIELD_NAME},
        {GET "x\x80\0z\0", SL_H1_FIELD_NAME},
        {GET "x\0a\rb\0", SL_H1_FIELD_VALUE},
        {GET "x\0a\nb\0", SL_H1_FIELD_VALUE},
        {GET "x\0 a\0", SL_H1_FIELD_VALUE},
        {GET "x\0a\t\0", SL_H1_FIELD_VALUE},
        {GET "connection\0close\0", SL_H1_CONNECTION_FIELD}, /* 8.2.2 */
        {GET "keep-alive\0timeout=1\0", SL_H1_CONNECTION_FIELD},
        {GET "proxy-connection\0keep-alive\0", SL_H1_CONNECTION_FIELD},
        {GET "transfer-encoding\0chunked\0", SL_H1_CONNECTION_FIELD},
        {GET "upgrade\0h2c\0", SL_H1_CONNECTION_FIELD},
        {GET "te\0gzip\0", SL_H1_CONNECTION_FIELD},
        {GET "te\0trailers, gzip\0", SL_H1_CONNECTION_FIELD},
        {GET "transfer_encoding\0chunked\0", SL_H1_TRANSFER_ENCODING},
        {GET "content_length\0"
             "1\0",
         SL_H1_CONTENT_LENGTH},
        {GET "content-length\0"
             "0\0content-length\0"
             "0\0",
         SL_H1_CONTENT_LENGTH}, /* 8.1.1 */
        {GET "content-length\0+1\0", SL_H1_CONTENT_LENGTH},
        {GET "content-length\0"
             "1, 1\0",
         SL_H1_CONTENT_LENGTH},
        {GET "host\0b.test\0", SL_H1_HOST},
        {GET "host\0a.test\0host\0a.test\0", SL_H1_HOST_DOUBLED},
        {":method\0GET\0:scheme\0https\0:path\0/\0:authority\0u@a\0", SL_H1_HOST},
        {":method\0CONNECT\0:authority\0a:443\0:path\0/\0", SL_H1_PSEUDO}, /* 8.5 */
        {":method\0CONNECT\0:authority\0a:443\0:scheme\0https\0", SL_H1_PSEUDO},
        {":method\0CONNECT\0", SL_H1_PSEUDO},
    };
    for (unsigned i = 0; i < SL_ARRAY_LEN(cases); i++) {
        struct verdict v = read_fields(cases[i].fields, true);
        if (!v.malformed || v.error != cases[i].error)
            fail_msg("case %u: %s, malformed %d; want %s", i, sl_h1_error_name(v.error), v.malformed,
                     sl_h1_error_name(cases[i].error));
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        enum sl_h1_error error;
    } cases[] = {
        {":method\0GET\0:scheme\0https\0:path\0/\0", SL_H1_HOST_MISSING},
        {":method\0GET\0:scheme\0https\0:path\0/\0:authority\0\0", SL_H1_HOST},
        {":method\0GET\0:scheme\0https\0:path\0/\0:authority\0a b\0", SL_H1_HOST},
        {":method\0GET\0:scheme\0https\0:path\0/\0:authority\0a:0\0", SL_H1_HOST},
        {":method\0GET\0:scheme\0https\0:path\0/%00\0:authority\0a\0", SL_H1_TARGET},
        {":method\0GET\0:scheme\0https\0:path\0/a b\0:authority\0a\0", SL_H1_TARGET},
        {":method\0GET\0:scheme\0https\0:path\0/a\r\nX: y\0:authority\0a\0", SL_H1_TARGET},
        {":method\0GET\0:scheme\0https\0:path\0/#f\0:authority\0a\0", SL_H1_TARGET},
        {":method\0GET\0:scheme\0https\0:path\0/../x\0:authority\0a\0", SL_H1_TARGET},
        {":method\0GET\0:scheme\0ftp\0:path\0/\0:authority\0a\0", SL_H1_TARGET},
        {":method\0CONNECT\0:authority\0a:443\0", SL_H1_CONNECT},
        {GET "expect\0something\0", SL_H1_EXPECT},
    };
    for (unsigned i = 0; i < SL_ARRAY_LEN(cases); i++) {
        struct verdict v = read_fields(cases[i].fields, true);
        if (v.malformed || v.error != cases[i].error)
            fail_msg("case %u: %s, malformed %d; want %s", i, sl_h1_error_name(v.error), v.malformed,
                     sl_h1_error_name(cases[i].error));
    }
}

static void test_what_is_taken(void **state)
{
    (void)state;
    static const char *const cases[] = {":method\0OPTIONS\0:scheme\0https\0:path\0*\0:authority\0a\0",
                                        GET "te\0trailers\0",
                                        GET "host\0A.TEST\0",
                                        ":method\0PROPFIND\0:scheme\0HTTP\0:path\0/\0:authority\0[::1]:80\0",
                                        GET "x\0\x80\xff\0",
                                        GET "priority\0u=1, i\0"};
    for (unsigned i = 0; i < SL_ARRAY_LEN(cases); i++)
        assert_error(read_fields(cases[i], true).error, SL_H1_OK);
}

static void test_the_list_is_bounded(void **state)
{
    (void)state;
    struct sl_h2_head hd;
    struct sl_request r;
    sl_h2_head_begin(&hd, &arena, &r, &wide, false);
    sl_h2_head_field(&hd, SL_S(":method"), SL_S("GET"));
    for (unsigned i = 0; i < 21; i++)
        sl_h2_head_field(&hd, SL_S("cookie"), SL_S("a"));
    assert_error(hd.error, SL_H1_TOO_MANY_HEADERS);
    assert_int_equal(r.headers.n, 20);
    sl_h2_head_begin(&hd, &arena, &r, &wide, false);
    static char big[4096];
    sl_h2_head_field(&hd, SL_S("x"), sl_slice(big, sizeof(big)));
    assert_error(hd.error, SL_H1_HEAD_TOO_LARGE);
    sl_h2_head_field(&hd, SL_S(":method"), SL_S("GET")); /* nothing is kept from there on */
    sl_h2_head_end(&hd, true);
    assert_false(hd.malformed);
    assert_int_equal(hd.size, 4096 + 1 + 32 + 10 + 32);
}

static void test_trailers(void **state)
{
    (void)state;
    struct sl_h2_head hd;
    struct sl_request r = {0};
    sl_h2_head_begin(&hd, &arena, &r, &wide, true);
    sl_h2_head_field(&hd, SL_S("x-sum"), SL_S("5"));
    sl_h2_head_end(&hd, true);
    assert_error(hd.error, SL_H1_OK);
    assert_slice(sl_headers_find(&r.trailers, SL_S("x-sum"))->value, "5");
    static const char *const bad[] = {":path", "connection", "content-length", "host", "X"};
    for (unsigned i = 0; i < SL_ARRAY_LEN(bad); i++) {
        sl_h2_head_begin(&hd, &arena, &r, &wide, true);
        sl_h2_head_field(&hd, sl_slice_str(bad[i]), SL_S("1"));
        assert_true(hd.malformed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_a_request),           unit_test_arena(test_framing),
        unit_test_arena(test_cookies_are_joined),  unit_test_arena(test_what_is_malformed),
        unit_test_arena(test_what_is_refused),     unit_test_arena(test_what_is_taken),
        unit_test_arena(test_the_list_is_bounded), unit_test_arena(test_trailers),
        unit_test_arena(test_extended_connect),    unit_test_arena(test_extended_connect_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
