/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request is for, and that finding it takes as long among ten thousand as among ten. */
#include "policy_test.h"

#include "policy/router_priv.h"

struct fixture {
    struct sl_diag diag;
    struct sl_snapshot *s;
    struct sl_router *r;
};
static struct fixture f;

static int setup(void **state)
{
    (void)with_arena(state);
    f = (struct fixture){0};
    sl_diag_init(&f.diag);
    return 0;
}

static int teardown(void **state)
{
    sl_router_free(f.r);
    sl_snapshot_unref(f.s);
    sl_diag_free(&f.diag);
    return drop_arena(state);
}

/* routes: the inside of "routes", of routes that answer by themselves: R(name, "…"). */
#define R(name, match) "'" name "': {" match ", 'respond': {'status': 200}, 'auth': ['public']}"
static int build(const char *routes)
{
    f.s = snapshot_of(sl_arena_printf(&arena,
                                      "{'version': 1, 'listeners': {'main': {'bind': ['127.0.0.1:80']}}, "
                                      "'routes': {%s}}",
                                      routes),
                      &f.diag);
    return sl_router_new(f.s, &f.diag, &f.r);
}

static uint32_t methods;

/* The route's name, "404" or "405". */
static const char *match(struct sl_request req)
{
    uint32_t index = UINT32_MAX;
    methods = 0;
    switch (sl_router_match(f.r, &req, &index, &methods)) {
    case SL_ROUTE_FOUND:
        return f.s->routes[index].name;
    case SL_ROUTE_NONE:
        return "404";
    default:
        return "405";
    }
}

static void goes(const char *host, const char *target, const char *want)
{
    const char *got = match(request("GET", host, target));
    if (strcmp(got, want) != 0)
        fail_msg("%s%s went to %s, not to %s", host, target, got, want);
}

static void hosts_from_the_narrowest_to_the_widest(void **state)
{
    (void)state;
    assert_int_equal(
        build(R("exact", "'hosts': ['api.example.com']") "," R("star", "'hosts': ['*.example.com']") "," R(
            "deep", "'hosts': ['*.eu.example.com']") "," R("any",
                                                           "'paths': ['/']") "," R("v6",
                                                                                   "'hosts': ['[::1]']")),
        0);
    goes("api.example.com", "/", "exact");
    goes("api.example.com:8443", "/", "exact");
    goes("api.example.com.", "/", "exact");
    goes("x.example.com", "/", "star");
    goes("x.y.example.com", "/", "star");
    goes("x.eu.example.com", "/", "deep");
    goes("eu.example.com", "/", "star");
    goes("example.com", "/", "any");
    goes(".example.com", "/", "any");
    goes("xexample.com", "/", "any");
    goes("api.example.com.evil.org", "/", "any");
    goes("[::1]:8080", "/", "v6");
    goes("[::1]", "/", "v6");
    goes("", "/", "any");
    goes(":80", "/", "any");
}

static void a_host_without_the_path_falls_back(void **state)
{
    (void)state;
    assert_int_equal(
        build(R("exact", "'hosts': ['a.example.com'], 'paths': ['/a']") "," R(
            "star", "'hosts': ['*.example.com'], 'paths': ['/b']") "," R("any", "'paths': ['/c']")),
        0);
    goes("a.example.com", "/a", "exact");
    goes("a.example.com", "/b", "star");
    goes("a.example.com", "/c", "any");
    goes("a.example.com", "/d", "404");
    goes("b.org", "/b", "404");
}

static void prefixes_are_of_whole_segments(void **state)
{
    (void)state;
    assert_int_equal(build(R("v1", "'paths': ['/v1']") "," R("orders", "'paths': ['/v1/orders']") "," R(
                         "slash", "'paths': ['/dir/']")),
                     0);
    goes("h", "/v1", "v1");
    goes("h", "/v1/", "v1");
    goes("h", "/v1/x/y/z", "v1");
    goes("h", "/v10", "404");
    goes("h", "/v1/orders", "orders");
    goes("h", "/v1/orders/7?x=1", "orders");
    goes("h", "/v1/ordersx", "v1");
    goes("h", "/v1/order", "v1");
    goes("h", "/dir", "404");
    goes("h", "/dir/", "slash");
    goes("h", "/dir/x", "slash");
    goes("h", "/", "404");
    goes("h", "/V1", "404");
}

static void exact_before_prefix_before_regex(void **state)
{
    (void)state;
    assert_int_equal(
        build(R("re", "'paths': ['~^/a/[0-9]+$']") "," R("prefix", "'paths': ['/a/b']") "," R(
            "exact", "'paths': ['=/a/b']") "," R("exact-slash",
                                                 "'paths': ['=/a/b/']") "," R("none", "'hosts': ['h', 'i']")),
        0);
    goes("x", "/a/b", "exact");
    goes("x", "/a/b/", "exact-slash");
    goes("x", "/a/b/c", "prefix");
    goes("x", "/a/12", "re");
    goes("x", "/a/12x", "404");
    goes("h", "/whatever", "none");
    goes("i", "/a/b", "none");
}

static void regexes_in_the_policys_order(void **state)
{
    (void)state;
    assert_int_equal(build(R("first", "'paths': ['~^/x/[a-z]+']") "," R("second", "'paths': ['~^/x/']") "," R(
                         "anywhere", "'paths': ['~/tail$']")),
                     0);
    goes("h", "/x/abc", "first");
    goes("h", "/x/123", "second");
    goes("h", "/q/tail", "anywhere");
    goes("h", "/tail/q", "404");
}

/* (a+)+$ against aaaa…! is exponential: the request is refused, not passed to the next route. */
static void a_costly_regex_is_cut_short(void **state)
{
    (void)state;
    char path[2100] = "/";
    assert_int_equal(
        build(R("guarded", "'hosts': ['h'], 'paths': ['~^/(a+)+$']") "," R("open", "'hosts': ['h']")), 0);
    memset(path + 1, 'a', 60);
    goes("h", path, "guarded");
    path[61] = '!';
    goes("h", path, "404");
    goes("h", "/b", "open");
    memset(path + 1, 'a', 2000);
    path[2001] = '!';
    goes("h", path, "404");
}

static void a_wrong_regex_is_told_with_its_place(void **state)
{
    (void)state;
    struct sl_bundle *bundle = NULL;
    const struct sl_slice text =
        quoted("{'version': 1, 'listeners': {'m': {'bind': ['127.0.0.1:80']}}, 'routes': {'a': {'paths':\n"
               "   ['~^/(x'], 'respond': {'status': 200}, 'auth': ['public']}}}");
    assert_int_equal(sl_bundle_from_text("p.json", text, &f.diag, &bundle), 0);
    assert_int_equal(sl_snapshot_new(bundle, &f.diag, &f.s), 0);
    sl_bundle_free(bundle);
    assert_int_equal(sl_router_new(f.s, &f.diag, &f.r), -EINVAL);
    assert_told(&f.diag, "the regular expression is wrong at its character 5: missing closing parenthesis");
    assert_int_equal(f.diag.v[0].pos.line, 2);
    assert_string_equal(f.diag.v[0].pos.pointer, "/routes/a/paths/0");
}

static void methods_and_405(void **state)
{
    (void)state;
    assert_int_equal(
        build(R("read", "'paths': ['/a'], 'methods': ['GET', 'HEAD']") "," R(
            "write", "'paths': ['/a'], 'methods': ['POST', 'PURGE']") "," R("any", "'paths': ['/b']")),
        0);
    assert_string_equal(match(request("GET", "h", "/a/x")), "read");
    assert_string_equal(match(request("POST", "h", "/a/x")), "write");
    assert_string_equal(match(request("PURGE", "h", "/a")), "write");
    assert_string_equal(match(request("DELETE", "h", "/a")), "405");
    assert_int_equal(methods, 1u << SL_METHOD_GET | 1u << SL_METHOD_HEAD | 1u << SL_METHOD_POST);
    assert_string_equal(match(request("BREW", "h", "/a")), "405");
    assert_string_equal(match(request("get", "h", "/a")), "405");
    assert_string_equal(match(request("BREW", "h", "/b")), "any");
    assert_string_equal(match(request("DELETE", "h", "/c")), "404");
}

static void a_shorter_prefix_takes_what_the_longer_ones_methods_leave(void **state)
{
    (void)state;
    assert_int_equal(
        build(R("deep", "'paths': ['/a/b'], 'methods': ['POST']") "," R("flat", "'paths': ['/a']")), 0);
    assert_string_equal(match(request("POST", "h", "/a/b")), "deep");
    assert_string_equal(match(request("GET", "h", "/a/b")), "flat");
}

static void headers_narrow(void **state)
{
    (void)state;
    assert_int_equal(
        build(R("plain", "'paths': ['/a']") "," R("v2", "'paths': ['/a'], 'headers': {'X-V': '2'}") "," R(
            "v2eu", "'paths': ['/a'], 'headers': {'X-V': '2', 'X-R': 'eu'}")),
        0);
    struct sl_request req = request("GET", "h", "/a");
    assert_string_equal(match(req), "plain");
    add_header(&req.headers, "x-v", "1");
    assert_string_equal(match(req), "plain");
    add_header(&req.headers, "x-v", "2");
    assert_string_equal(match(req), "v2");
    add_header(&req.headers, "X-R", "eu");
    assert_string_equal(match(req), "v2eu");
    (void)sl_headers_remove(&req.headers, SL_S("x-v"));
    assert_string_equal(match(req), "plain");
}

static void an_asterisk_is_for_routes_without_paths(void **state)
{
    (void)state;
    assert_int_equal(build(R("root", "'paths': ['/'], 'hosts': ['h']") "," R("all", "'hosts': ['h', 'i']")),
                     0);
    assert_string_equal(match(request("OPTIONS", "h", "*")), "all");
    assert_string_equal(match(request("OPTIONS", "x", "*")), "404");
}

static void a_route_that_is_never_reached_is_a_warning(void **state)
{
    (void)state;
    assert_int_equal(build(R("a", "'paths': ['/x']") "," R("b", "'paths': ['/x'], 'methods': ['GET']") "," R(
                         "c", "'paths': ['/x', '/y'], 'headers': {'H': '1'}")),
                     0);
    assert_told(&f.diag, "never reached here: route \"a\"");
    assert_int_equal(f.diag.warnings, 1);
}

/* Paths deeper than the policy's deepest, and ones that no policy can have. */
static void long_paths(void **state)
{
    (void)state;
    char path[4000] = "";
    assert_int_equal(build(R("a", "'paths': ['/a']")), 0);
    for (unsigned i = 0; i < 1000; i++)
        strcat(path, "/a");
    goes("h", path, "a");
    path[1] = 'b';
    goes("h", path, "404");
}

static void too_many_segments_in_the_policy(void **state)
{
    (void)state;
    char path[300] = "";
    for (unsigned i = 0; i < 65; i++)
        strcat(path, "/a");
    assert_int_equal(build(sl_arena_printf(&arena, R("a", "'paths': ['%s']"), path)), -EINVAL);
    assert_told(&f.diag, "more than 64 segments");
}

/* The routes of text, which is freed. */
static void build_long(struct sl_buf *text)
{
    assert_int_equal(sl_buf_append(text, "", 1), 0);
    assert_int_equal(build(sl_buf_data(text)), 0);
    sl_buf_free(text);
}

/* What an edge holds of a segment is bounded: its length, one less and one more, and none that is only like
 * it. */
static void segments_of_any_length(void **state)
{
    (void)state;
    static const int lengths[] = {1, SL_EDGE_TEXT - 1, SL_EDGE_TEXT, SL_EDGE_TEXT + 1, 300};
    char text[301], other[301];
    struct sl_buf routes = {0};
    memset(text, 'a', sizeof(text));
    memset(other, 'a', sizeof(other));
    for (size_t i = 0; i < SL_ARRAY_LEN(lengths); i++)
        assert_int_equal(sl_buf_printf(&routes, "%s" R("r%d", "'paths': ['/%.*s/x']"), i ? "," : "",
                                       lengths[i], lengths[i], text),
                         0);
    build_long(&routes);
    for (size_t i = 0; i < SL_ARRAY_LEN(lengths); i++) {
        const int n = lengths[i];
        goes("h", sl_arena_printf(&arena, "/%.*s/x", n, text), sl_arena_printf(&arena, "r%d", n));
        other[n - 1] = 'b';
        goes("h", sl_arena_printf(&arena, "/%.*s/x", n, other), "404");
        other[n - 1] = 'a';
    }
    goes("h", sl_arena_printf(&arena, "/%.*s/x", SL_EDGE_TEXT + 2, text), "404");
}

/* Those that ask for headers first, then in the policy's order, and behind one that takes all comes none. */
static void many_routes_of_one_path(void **state)
{
    (void)state;
    const char *get = R("get", "'paths': ['/a'], 'methods': ['GET']");
    const char *put = R("put", "'paths': ['/a'], 'methods': ['PUT']");
    const char *all = R("all", "'paths': ['/a', '/b']");
    const char *late = R("late", "'paths': ['/a'], 'methods': ['POST']");
    const char *v2 = R("v2", "'paths': ['/a'], 'headers': {'X-V': '2'}, 'methods': ['POST']");
    assert_int_equal(build(sl_arena_printf(&arena, "%s,%s,%s,%s,%s", get, put, all, late, v2)), 0);
    assert_told(&f.diag, "never reached here: route \"all\"");
    assert_int_equal(f.diag.warnings, 1);
    struct sl_request post = request("POST", "h", "/a");
    assert_string_equal(match(request("GET", "h", "/a")), "get");
    assert_string_equal(match(request("PUT", "h", "/a/x")), "put");
    assert_string_equal(match(request("BREW", "h", "/a")), "all");
    assert_string_equal(match(post), "all");
    add_header(&post.headers, "X-V", "2");
    assert_string_equal(match(post), "v2");
    assert_string_equal(match(request("GET", "h", "/b")), "all");
}

static void many_children_of_one_node(void **state)
{
    (void)state;
    struct sl_buf text = {0};
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(sl_buf_printf(&text,
                                       "%s" R("r%u", "'paths': ['/v1/r%u'], 'methods': ['GET', 'POST']"),
                                       i ? "," : "", i, i),
                         0);
    build_long(&text);
    for (unsigned i = 0; i < 1000; i++) {
        const char *name = sl_arena_printf(&arena, "r%u", i);
        goes("h", sl_arena_printf(&arena, "/v1/r%u", i), name);
        goes("h", sl_arena_printf(&arena, "/v1/r%u/items/r%u", i, i), name);
        goes("h", sl_arena_printf(&arena, "/v1/r%ux", i), "404");
        goes("h", sl_arena_printf(&arena, "/r%u", i), "404");
    }
    assert_string_equal(match(request("PUT", "h", "/v1/r999")), "405");
    goes("h", "/v1", "404");
}

static void ten_thousand_routes(void **state)
{
    (void)state;
    struct sl_buf text = {0};
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(sl_buf_printf(&text,
                                       "%s" R("r%u", "'hosts': ['h%u.example.com'], 'paths': ['/t%u/x']"),
                                       i ? "," : "", i, i % 100, i),
                         0);
    build_long(&text);
    for (unsigned i = 0; i < 10000; i += 7) {
        const char *host = sl_arena_printf(&arena, "h%u.example.com", i % 100);
        goes(host, sl_arena_printf(&arena, "/t%u/x/y", i), sl_arena_printf(&arena, "r%u", i));
        goes(host, sl_arena_printf(&arena, "/t%u/z", i), "404");
    }
}

#define unit_test_router(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_router(hosts_from_the_narrowest_to_the_widest),
        unit_test_router(a_host_without_the_path_falls_back),
        unit_test_router(prefixes_are_of_whole_segments),
        unit_test_router(exact_before_prefix_before_regex),
        unit_test_router(regexes_in_the_policys_order),
        unit_test_router(a_costly_regex_is_cut_short),
        unit_test_router(a_wrong_regex_is_told_with_its_place),
        unit_test_router(methods_and_405),
        unit_test_router(a_shorter_prefix_takes_what_the_longer_ones_methods_leave),
        unit_test_router(headers_narrow),
        unit_test_router(an_asterisk_is_for_routes_without_paths),
        unit_test_router(a_route_that_is_never_reached_is_a_warning),
        unit_test_router(long_paths),
        unit_test_router(too_many_segments_in_the_policy),
        unit_test_router(segments_of_any_length),
        unit_test_router(many_routes_of_one_path),
        unit_test_router(many_children_of_one_node),
        unit_test_router(ten_thousand_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
