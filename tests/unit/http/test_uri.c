/* SPDX-License-Identifier: Apache-2.0 */
/* One normal form of a path, and nothing that two servers could read as two paths. */
#include "http_test.h"

#include "http/uri.h"

#include <errno.h>

static void normal(const char *raw, const char *path, const char *query)
{
    struct sl_slice in = exact(sl_slice_str(raw)), p, q;
    const int r = sl_uri_normalize(&arena, in, &p, &q);
    if (r != 0)
        fail_msg("%s: %d", raw, r);
    assert_slice(p, path);
    assert_int_equal(q.p != NULL, query != NULL);
    if (query)
        assert_slice(q, query);
    /* Normal forms are fixed points: what a second look would change has a second meaning. */
    struct sl_slice again, q2;
    assert_int_equal(sl_uri_normalize(&arena, p, &again, &q2), 0);
    assert_slice(again, path);
    free((char *)in.p);
}

static void refused(struct sl_slice raw)
{
    struct sl_slice in = exact(raw), p, q;
    if (sl_uri_normalize(&arena, in, &p, &q) != -EINVAL)
        fail_msg("%.*s: taken", (int)raw.n, raw.p);
    free((char *)in.p);
}

static void test_plain_paths_are_not_copied(void **state)
{
    (void)state;
    const struct sl_slice raw = SL_S("/v1/orders;v=1/a.b/..c/...?x=1?y");
    const struct sl_slice plain = SL_S("/v1/orders;v=1/a.b/c:@!$&'()*+,=-_~");
    struct sl_slice p, q;
    assert_int_equal(sl_uri_normalize(&arena, plain, &p, &q), 0);
    assert_ptr_equal(p.p, plain.p);
    assert_int_equal(p.n, plain.n);
    assert_null(q.p);
    assert_int_equal(arena.total, 0);
    assert_int_equal(sl_uri_normalize(&arena, raw, &p, &q), 0);
    assert_slice(p, "/v1/orders;v=1/a.b/..c/...");
    assert_slice(q, "x=1?y");
    assert_ptr_equal(q.p, raw.p + raw.n - 5);
}

static void test_normal_forms(void **state)
{
    (void)state;
    normal("/", "/", NULL);
    normal("/?", "/", "");
    normal("/a/", "/a/", NULL);
    normal("/%61%7e%2D%5f%2E", "/a~-_.", NULL);
    normal("/%e2%82%ac", "/%E2%82%AC", NULL);
    normal("/%f0%9f%92%a9x", "/%F0%9F%92%A9x", NULL);
    normal("/%3a%3A", "/%3A%3A", NULL);
    normal("/%252e%252e/", "/%252e%252e/", NULL); /* decoded once: "%25" is a percent sign */
    normal("/a%20b", "/a%20b", NULL);
    normal("/a\"<>^`{|}[]b", "/a%22%3C%3E%5E%60%7B%7C%7D%5B%5Db", NULL);
    normal("/%0d%0a", "/%0D%0A", NULL);
    normal("/x?%2f%5c%00%zz\\//..", "/x", "%2f%5c%00%zz\\//..");
}

static void test_dot_segments(void **state)
{
    (void)state;
    normal("/.", "/", NULL);
    normal("/./", "/", NULL);
    normal("/a/..", "/", NULL);
    normal("/a/../", "/", NULL);
    normal("/a/b/..", "/a/", NULL);
    normal("/a/b/../c", "/a/c", NULL);
    normal("/a/./b/.", "/a/b/", NULL);
    normal("/a/b/../../c/../d", "/d", NULL);
    normal("/a/%2e/%2E%2e/b", "/b", NULL);
    normal("/a/.%2e/b?..", "/b", "..");
    normal("/.../..a/a../.a", "/.../..a/a../.a", NULL);
}

static void test_what_climbs_or_hides_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "a",
                                      "*",
                                      "http://a/",
                                      "?a",
                                      "//",
                                      "//a",
                                      "/a//b",
                                      "/a//",
                                      "/a/.//b",
                                      "/..",
                                      "/../a",
                                      "/a/../..",
                                      "/a/../../b",
                                      "/./..",
                                      "/%2e%2e",
                                      "/%2e%2e/a",
                                      "/.%2E/a",
                                      "/a/%2e%2e/%2e%2e",
                                      "/a%2fb",
                                      "/a%2Fb",
                                      "/a%5cb",
                                      "/a%5Cb",
                                      "/a\\b",
                                      "/a%00",
                                      "/%00",
                                      "/a#b",
                                      "/a?b#c",
                                      "/..;/a",
                                      "/a/..;",
                                      "/a/..;x=1/b",
                                      "/.;/a",
                                      "/a/.;x",
                                      "/a/..%3b/b",
                                      "/a/%2e%2e;/b",
                                      "/a/.%3B",
                                      "/%2e%3bx",
                                      "/%",
                                      "/%4",
                                      "/%4g",
                                      "/%g4",
                                      "/a%",
                                      "/%%41",
                                      "/% 41",
                                      "/a b",
                                      "/a\tb",
                                      "/a\x7f",
                                      "/a\x01",
                                      "/a?b c",
                                      "/a?\x80",
                                      "/\xc3\xa9",
                                      "/a?\x7f",
                                      "/%c0%ae",
                                      "/%c0%af",
                                      "/%c1%bf",
                                      "/%e0%80%af",
                                      "/%e0%9f%bf",
                                      "/%f0%80%80%af",
                                      "/%f0%8f%bf%bf",
                                      "/%80",
                                      "/%bf",
                                      "/%c3",
                                      "/%c3a",
                                      "/%c3%28",
                                      "/%e2%82",
                                      "/%e2%82%",
                                      "/%e2%28%a1",
                                      "/%ff",
                                      "/%fe%fe",
                                      "/%ed%a0%80",
                                      "/%f4%90%80%80",
                                      "/%f5%80%80%80",
                                      "/%c3%41",
                                      "/%c3/%a9",
                                      "/%c3.%a9"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        refused(sl_slice_str(bad[i]));
    refused(sl_slice("/a\0b", 4));
    refused(sl_slice("/a?\0", 4));
}

/* Every pair of escapes is UTF-8 exactly if the RFC's table says so; 0xc2..0xdf then 0x80..0xbf. */
static void test_two_byte_characters(void **state)
{
    (void)state;
    char raw[16];
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0x80; b < 0x100; b++) {
            struct sl_slice p, q;
            (void)snprintf(raw, sizeof(raw), "/%%%02x%%%02X", a, b);
            const bool valid = a >= 0xc2 && a <= 0xdf && b <= 0xbf;
            assert_int_equal(sl_uri_normalize(&arena, sl_slice_str(raw), &p, &q), valid ? 0 : -EINVAL);
        }
        sl_arena_reset(&arena);
    }
}

/* Out of three times its length: a path of nothing but bytes that must be escaped. */
static void test_a_path_may_grow_threefold(void **state)
{
    (void)state;
    char raw[1001], want[3001];
    raw[0] = want[0] = '/';
    for (unsigned i = 1; i < 1000; i++) {
        raw[i] = '"';
        memcpy(want + 1 + (i - 1) * 3, "%22", 3);
    }
    raw[1000] = want[1 + 999 * 3] = '\0';
    normal(raw, want, NULL);
}

static void test_query_parameters(void **state)
{
    (void)state;
    struct sl_slice v;
    const struct sl_slice q = SL_S("a=1&apikey=x%20y&b&c=&d=e=f&=z&a%62=2&%67+h=3");
    assert_int_equal(sl_uri_query_get(q, SL_S("apikey"), &v), 1);
    assert_slice(v, "x%20y");
    assert_int_equal(sl_uri_query_get(q, SL_S("b"), &v), 1);
    assert_slice(v, "");
    assert_int_equal(sl_uri_query_get(q, SL_S("c"), &v), 1);
    assert_slice(v, "");
    assert_int_equal(sl_uri_query_get(q, SL_S("d"), &v), 1);
    assert_slice(v, "e=f");
    assert_int_equal(sl_uri_query_get(q, SL_S("ab"), &v), 1); /* an upstream decodes names too */
    assert_slice(v, "2");
    assert_int_equal(sl_uri_query_get(q, SL_S("g h"), &v), 1);
    assert_slice(v, "3");
    assert_int_equal(sl_uri_query_get(q, SL_S("api"), &v), 0);
    assert_int_equal(sl_uri_query_get(q, SL_S("apikeys"), &v), 0);
    assert_int_equal(sl_uri_query_get(q, SL_S("APIKEY"), &v), 0);
    assert_int_equal(sl_uri_query_get(SL_SLICE_NUL, SL_S("a"), &v), 0);
    assert_int_equal(sl_uri_query_get(SL_S(""), SL_S("a"), &v), 0);
    assert_int_equal(sl_uri_query_get(SL_S("a=1&b=2&a=1"), SL_S("a"), &v), -EINVAL);
    assert_int_equal(sl_uri_query_get(SL_S("a=1&%61=2"), SL_S("a"), &v), -EINVAL);
    assert_int_equal(sl_uri_query_get(SL_S("a=1&a"), SL_S("a"), &v), -EINVAL);
}

static void test_query_without(void **state)
{
    (void)state;
    const struct sl_slice same = SL_S("a=1&&b=2");
    assert_ptr_equal(sl_uri_query_without(&arena, same, SL_S("k")).p, same.p);
    assert_slice(sl_uri_query_without(&arena, SL_S("k=1&a=2"), SL_S("k")), "a=2");
    assert_slice(sl_uri_query_without(&arena, SL_S("a=2&k=1"), SL_S("k")), "a=2");
    assert_slice(sl_uri_query_without(&arena, SL_S("a=1&k&b=2&%6b=3&k=&c"), SL_S("k")), "a=1&b=2&c");
    assert_null(sl_uri_query_without(&arena, SL_S("k=1"), SL_S("k")).p);
    assert_null(sl_uri_query_without(&arena, SL_SLICE_NUL, SL_S("k")).p);
}

static void test_decode(void **state)
{
    (void)state;
    struct sl_slice out;
    assert_int_equal(sl_uri_decode(&arena, SL_S("a%20b+c%2B%00"), true, &out), 0);
    assert_int_equal(out.n, 7);
    assert_memory_equal(out.p, "a b c+\0", 7);
    assert_int_equal(sl_uri_decode(&arena, SL_S("a+b%C3%A9"), false, &out), 0);
    assert_slice(out, "a+b\xc3\xa9");
    assert_int_equal(sl_uri_decode(&arena, SL_S("%"), false, &out), -EINVAL);
    assert_int_equal(sl_uri_decode(&arena, SL_S("%4"), false, &out), -EINVAL);
    assert_int_equal(sl_uri_decode(&arena, SL_S("%4x"), false, &out), -EINVAL);
    assert_int_equal(sl_uri_decode(&arena, SL_SLICE_NUL, false, &out), 0);
    assert_int_equal(out.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_plain_paths_are_not_copied),
        unit_test_arena(test_normal_forms),
        unit_test_arena(test_dot_segments),
        unit_test_arena(test_what_climbs_or_hides_is_refused),
        unit_test_arena(test_two_byte_characters),
        unit_test_arena(test_a_path_may_grow_threefold),
        unit_test_arena(test_query_parameters),
        unit_test_arena(test_query_without),
        unit_test_arena(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
