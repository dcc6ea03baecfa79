/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of HTTP/2 on the upstream's side: which go out, and which of what comes makes an answer. */
#include "harness/arena.h"
#include "upstream/h2_priv.h"

static void add(struct sl_headers *h, const char *name, const char *value)
{
    assert_int_equal(sl_headers_add(h, &arena, sl_slice_str(name), sl_slice_str(value)), 0);
}

static const char *sent(const struct sl_request *r, bool tls)
{
    static char text[1024];
    size_t n = 0, at = 0;
    const nghttp2_nv *nv = sl_uph2_fields(r, tls, &arena, &n);
    assert_non_null(nv);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s=%.*s|", (int)nv[i].namelen, nv[i].name,
                               (int)nv[i].valuelen, nv[i].value);
    return text;
}

static void test_requests(void **state)
{
    (void)state;
    struct sl_request r = {.method = SL_METHOD_GET, .path = SL_S("/a"), .authority = SL_S("api.test")};
    assert_string_equal(sent(&r, false), ":method=GET|:scheme=http|:authority=api.test|:path=/a|");
    r.query = SL_S("");
    assert_string_equal(sent(&r, true), ":method=GET|:scheme=https|:authority=api.test|:path=/a?|");
    r.query = SL_S("b=c");
    r.method_name = SL_S("PURGE");
    static const char *const hop[] = {"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding",
                                      "Upgrade",    "TE",         "Content-Length"};
    add(&r.headers, "Host", "other.test");
    for (size_t i = 0; i < SL_ARRAY_LEN(hop); i++)
        add(&r.headers, hop[i], "1");
    add(&r.headers, "X-Kept", "");
    add(&r.headers, "X-Gone", "1");
    r.headers.v[r.headers.n - 1].removed = true;
    r.te_trailers = true;
    r.framing = SL_FRAMING_LENGTH;
    r.content_length = 18;
    assert_string_equal(sent(&r, false), ":method=PURGE|:scheme=http|:authority=other.test|:path=/a?b=c|"
                                         "X-Kept=|te=trailers|content-length=18|");
}

/* RFC 8441 section 5: the key stays here, since its answer is ours to give. */
static void test_a_websocket(void **state)
{
    (void)state;
    struct sl_request r = {.method = SL_METHOD_GET,
                           .method_name = SL_S("GET"),
                           .path = SL_S("/chat"),
                           .authority = SL_S("api.test"),
                           .upgrade = true};
    add(&r.headers, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    add(&r.headers, "Sec-WebSocket-Version", "13");
    assert_string_equal(sent(&r, true),
                        ":method=CONNECT|:protocol=websocket|:scheme=https|:authority=api.test|"
                        ":path=/chat|Sec-WebSocket-Version=13|");
    r.upgrade = false;
    assert_non_null(strstr(sent(&r, true), "Sec-WebSocket-Key="));
}

static struct sl_uph2_head read_head(const char *const *fields, enum sl_method m, bool end, bool *ok)
{
    struct sl_uph2_head hd = {0};
    for (size_t i = 0; fields[i]; i += 2)
        sl_uph2_field(&hd, &arena, false, sl_slice_str(fields[i]), sl_slice_str(fields[i + 1]));
    *ok = sl_uph2_head_end(&hd, m, end);
    return hd;
}
#define READ(m, end, ok, ...) read_head((const char *const[]){__VA_ARGS__, NULL}, m, end, ok)

static void test_answers(void **state)
{
    (void)state;
    bool ok;
    struct sl_uph2_head h = READ(SL_METHOD_GET, false, &ok, ":status", "200", "x-a", "b");
    assert_true(ok && h.res.status == 200 && h.res.framing == SL_FRAMING_CHUNKED && h.res.headers.n == 1);
    h = READ(SL_METHOD_GET, false, &ok, ":status", "200", "content-length", "7");
    assert_true(ok && h.res.framing == SL_FRAMING_LENGTH && h.res.content_length == 7);
    h = READ(SL_METHOD_HEAD, true, &ok, ":status", "200", "content-length", "7");
    assert_true(ok && h.res.framing == SL_FRAMING_NONE && h.res.content_length == 7);
    h = READ(SL_METHOD_GET, true, &ok, ":status", "304", "content-length", "7");
    assert_true(ok && h.res.framing == SL_FRAMING_NONE && h.res.content_length == 7);
    h = READ(SL_METHOD_GET, true, &ok, ":status", "204");
    assert_true(ok && h.res.framing == SL_FRAMING_NONE);
    h = READ(SL_METHOD_POST, true, &ok, ":status", "200", "grpc-status", "5"); /* trailers alone */
    assert_true(ok && h.res.framing == SL_FRAMING_LENGTH && h.res.content_length == 0);
    h = READ(SL_METHOD_GET, false, &ok, ":status", "103", "link", "</a>");
    assert_true(ok && h.res.status == 103);
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    static const char *const bad[][5] = {{"x-a", "b"},
                                         {":status", "99"},
                                         {":status", "600"},
                                         {":status", "20"},
                                         {":status", "0200"},
                                         {":status", "2x0"},
                                         {":status", "101"},
                                         {":status", "200", "x", "a\rb"},
                                         {":status", "200", "x", "a\nb"},
                                         {":status", "200", "x y", "a"},
                                         {":status", "200", "", "a"},
                                         {":status", "200", "content-length", "-1"},
                                         {":status", "200", "content-length", "9223372036854775808"},
                                         {":status", "200", "content-length", "1, 1"}};
    bool ok;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        (void)read_head(bad[i], SL_METHOD_GET, false, &ok);
        assert_false(ok);
    }
    (void)READ(SL_METHOD_GET, false, &ok, ":status", "200", "content-length", "1", "content-length", "1");
    assert_false(ok);
    (void)READ(SL_METHOD_GET, true, &ok, ":status", "103");
    assert_false(ok);
}

static void test_heads_are_bounded(void **state)
{
    (void)state;
    struct sl_uph2_head hd = {0};
    for (unsigned i = 0; i < SL_UPH2_FIELDS; i++)
        sl_uph2_field(&hd, &arena, false, SL_S("a"), SL_S("b"));
    assert_false(hd.bad);
    sl_uph2_field(&hd, &arena, false, SL_S("a"), SL_S("b"));
    assert_true(hd.bad);
    static char large[SL_UPH2_HEADERS];
    memset(large, 'x', sizeof(large));
    hd = (struct sl_uph2_head){0};
    sl_uph2_field(&hd, &arena, false, SL_S("a"), sl_slice(large, sizeof(large) - 33));
    assert_false(hd.bad);
    hd = (struct sl_uph2_head){0};
    sl_uph2_field(&hd, &arena, false, SL_S("a"), sl_slice(large, sizeof(large) - 32));
    assert_true(hd.bad);
}

static void test_trailers_that_must_not_come_late_are_dropped(void **state)
{
    (void)state;
    struct sl_uph2_head hd = {0};
    static const char *const names[] = {"grpc-status", "content-length", "host", "x-sum", "set-cookie", "te"};
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++)
        sl_uph2_field(&hd, &arena, true, sl_slice_str(names[i]), SL_S("1"));
    assert_false(hd.bad);
    assert_int_equal(hd.res.trailers.n, 2);
    assert_true(sl_slice_eq(hd.res.trailers.v[0].name, SL_S("grpc-status")));
    assert_true(sl_slice_eq(hd.res.trailers.v[1].name, SL_S("x-sum")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, with_arena, drop_arena)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_requests),          T(test_a_websocket),
        T(test_answers),           T(test_what_is_no_answer),
        T(test_heads_are_bounded), T(test_trailers_that_must_not_come_late_are_dropped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
