/* SPDX-License-Identifier: Apache-2.0 */
/* Templates and header programs. */
#include "policy_test.h"

#include <jansson.h>

static struct sl_diag diag;
static const struct sl_pos pos = {"p.yaml", "/routes/r/redirect/location", 7, 3};
static const struct sl_tier partner = {.name = "partner"};

static int setup(void **state)
{
    sl_diag_init(&diag);
    return with_arena(state);
}

static int teardown(void **state)
{
    sl_diag_free(&diag);
    return drop_arena(state);
}

static struct sl_template_vars some_vars(void)
{
    return (struct sl_template_vars){.correlation_id = SL_S("cid"),
                                     .request_id = SL_S("rid"),
                                     .client_ip = SL_S("192.0.2.1"),
                                     .route = SL_S("orders"),
                                     .host = SL_S("api.example.com"),
                                     .path = SL_S("/v1/x"),
                                     .query = SL_S("a=1"),
                                     .wall_ns = 1700000000123456789ull};
}

static void expands(const char *text, const struct sl_template_vars *vars, const char *want)
{
    struct sl_template *t;
    const int r = sl_template_new(sl_slice_str(text), &pos, &diag, &t);
    if (r)
        print_diag(&diag);
    assert_int_equal(r, 0);
    const struct sl_slice got = sl_template_run(t, vars, &arena);
    assert_non_null(got.p);
    assert_slice(got, want);
    sl_template_free(t);
}

static void each_variable(void **state)
{
    (void)state;
    const struct sl_template_vars v = some_vars();
    expands("plain text", &v, "plain text");
    expands("", &v, "");
    expands("$correlation_id $request_id", &v, "cid rid");
    expands("t=$time_ms", &v, "t=1700000000123");
    expands("$time_iso", &v, "2023-11-14T22:13:20.123Z");
    expands("$client_ip;$route", &v, "192.0.2.1;orders");
    expands("https://$host$request_uri", &v, "https://api.example.com/v1/x?a=1");
    expands("$path|$query", &v, "/v1/x|a=1");
    expands("$$5 and $$host", &v, "$5 and $host");
    expands("$consumer-$tier-$claim.sub", &v, "--");
    struct sl_template_vars bare = v;
    bare.query = SL_SLICE_NUL;
    bare.tier = SL_S("anonymous");
    expands("$request_uri", &bare, "/v1/x");
    expands("$tier", &bare, "anonymous");
}

static void of_an_identity(void **state)
{
    (void)state;
    json_t *claims = json_pack("{s:s, s:{s:s}, s:[s,s], s:s}", "sub", "alice", "org", "tenant-id", "t1",
                               "roles", "a", "b", "evil", "x\r\nSet-Cookie: y");
    const struct sl_identity id = {.consumer_name = SL_S("acme"), .tier = &partner, .claims = claims};
    struct sl_template_vars v = some_vars();
    v.identity = &id;
    expands("$consumer/$tier", &v, "acme/partner");
    expands("$claim.sub", &v, "alice");
    expands("<$claim.org.tenant-id>", &v, "<t1>");
    expands("$claim.sub.", &v, "alice.");
    expands("$claim.roles", &v, "a,b");
    expands("$claim.evil", &v, "xSet-Cookie: y");
    expands("$claim.none", &v, "");
    json_decref(claims);
}

static void control_bytes_never_come_through(void **state)
{
    (void)state;
    struct sl_template_vars v = some_vars();
    v.path = SL_S("/a\r\nX: 1\x7f\x01");
    expands("$path", &v, "/aX: 1");
}

static void wrong_ones_are_told(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"$correlationid", "unknown variable $correlationid; did you mean $correlation_id?"},
        {"a $hots b", "did you mean $host?"},
        {"$zzzzzzzz", "there are $correlation_id"},
        {"$", "\"$$\" is a dollar"},
        {"100$ ", "\"$$\" is a dollar"},
        {"$claim", "unknown variable $claim"},
        {"$claim.", "unknown variable $claim"},
        {"${host}", "\"$$\" is a dollar"},
        {"$HOST", "unknown variable $HOST"},
        {"$hostx", "did you mean $host?"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        struct sl_template *t;
        assert_int_equal(sl_template_new(sl_slice_str(bad[i][0]), &pos, &diag, &t), -EINVAL);
        assert_int_equal(diag.errors, i + 1);
        assert_told(&diag, bad[i][1]);
        assert_int_equal(diag.v[i].pos.line, 7);
    }
}

/* ---- header programs */

#define NV(a, b)                                                           \
    {                                                                      \
        .name = SL_S(a), .value = SL_S(b), .pos = { "p.yaml", "/x", 9, 1 } \
    }
#define NVS(...)                                                                         \
    {                                                                                    \
        (struct sl_name_value[]){__VA_ARGS__},                                           \
            sizeof((struct sl_name_value[]){__VA_ARGS__}) / sizeof(struct sl_name_value) \
    }

static void run(const struct sl_header_ops *ops, struct sl_headers *h)
{
    struct sl_transform *t;
    const struct sl_template_vars v = some_vars();
    const int r = sl_transform_new(ops, &diag, &t);
    if (r)
        print_diag(&diag);
    assert_int_equal(r, 0);
    assert_non_null(t);
    assert_int_equal(sl_transform_run(t, &v, h, &arena), 0);
    for (uint32_t i = 0; i < h->n; i++) /* fixed values are the transform's own */
        h->v[i].value = sl_arena_copy(&arena, h->v[i].value);
    sl_transform_free(t);
}

static void empty_is_nothing(void **state)
{
    (void)state;
    const struct sl_header_ops none = {0};
    struct sl_transform *t = (struct sl_transform *)&none;
    assert_int_equal(sl_transform_new(&none, &diag, &t), 0);
    assert_null(t);
}

static void in_order(void **state)
{
    (void)state;
    struct sl_headers h = {0};
    add_header(&h, "X-Debug", "1");
    add_header(&h, "x-old", "kept");
    add_header(&h, "X-Set", "theirs");
    add_header(&h, "X_Set", "theirs too");
    add_header(&h, "Accept", "*/*");
    const struct sl_header_ops ops = {
        .remove = {(struct sl_slice[]){SL_S("x-debug"), SL_S("not-there")}, 2},
        .rename = NVS(NV("X-Old", "X-New"), NV("X-Nope", "X-Set")),
        .set = NVS(NV("X-Set", "ours"), NV("X-Request-Start", "t=$time_ms")),
        .add = NVS(NV("Accept", "$route"), NV("X-Empty", "$consumer")),
    };
    run(&ops, &h);
    assert_null(header(&h, "X-Debug"));
    assert_null(header(&h, "X-Old"));
    assert_string_equal(header(&h, "X-New"), "kept");
    assert_string_equal(header(&h, "X-Set"), "ours");
    assert_null(header(&h, "X_Set"));
    assert_string_equal(header(&h, "X-Request-Start"), "t=1700000000123");
    assert_string_equal(header(&h, "X-Empty"), "");
    assert_int_equal(count_headers(&h), 6);
}

static void a_rename_replaces_what_the_client_put_there(void **state)
{
    (void)state;
    struct sl_headers h = {0};
    add_header(&h, "X-New", "theirs");
    add_header(&h, "X-Old", "a");
    add_header(&h, "X-Old", "b");
    const struct sl_header_ops ops = {.rename = NVS(NV("X-Old", "X-New"))};
    run(&ops, &h);
    assert_int_equal(count_headers(&h), 2);
    assert_string_equal(header(&h, "X-New"), "a");
    struct sl_headers case_only = {0};
    add_header(&case_only, "x-old", "a");
    const struct sl_header_ops same = {.rename = NVS(NV("X-Old", "X-OLD"))};
    run(&same, &case_only);
    assert_int_equal(count_headers(&case_only), 1);
    assert_slice(case_only.v[0].name, "X-OLD");
}

static void refused(const struct sl_header_ops *ops, const char *why)
{
    struct sl_transform *t;
    sl_diag_free(&diag);
    sl_diag_init(&diag);
    assert_int_equal(sl_transform_new(ops, &diag, &t), -EINVAL);
    assert_told(&diag, why);
}

static void framing_and_hop_by_hop_are_the_gateways(void **state)
{
    (void)state;
    static const char *const ours[] = {
        "Connection", "transfer-encoding", "Content-Length", "Keep-Alive",      "TE",
        "Trailer",    "Upgrade",           "Expect",         "Proxy-Connection"};
    for (size_t i = 0; i < SL_ARRAY_LEN(ours); i++) {
        struct sl_name_value nv = NV("", "x"), from = NV("X-A", "");
        nv.name = from.value = sl_slice_str(ours[i]);
        struct sl_slice name = nv.name;
        const struct sl_header_ops set = {.set = {&nv, 1}}, add = {.add = {&nv, 1}},
                                   rename = {.rename = {&from, 1}}, away = {.rename = {&nv, 1}},
                                   gone = {.remove = {&name, 1}};
        refused(&set, "of the gateway");
        assert_int_equal(diag.v[0].pos.line, 9);
        refused(&add, "of the gateway");
        refused(&rename, "of the gateway");
        refused(&away, "of the gateway");
        refused(&gone, "of the gateway");
    }
}

static void host_can_be_set_and_nothing_else(void **state)
{
    (void)state;
    struct sl_headers h = {0};
    struct sl_slice name = SL_S("host");
    const struct sl_header_ops set = {.set = NVS(NV("Host", "internal"))},
                               add = {.add = NVS(NV("Host", "x"))},
                               rename = {.rename = NVS(NV("X-Host", "Host"))}, gone = {.remove = {&name, 1}};
    add_header(&h, "Host", "api.example.com");
    run(&set, &h);
    assert_int_equal(count_headers(&h), 1);
    assert_string_equal(header(&h, "Host"), "internal");
    refused(&add, "Host can be set");
    refused(&rename, "Host can be set");
    refused(&gone, "Host can be set");
}

static void wrong_names_and_values(void **state)
{
    (void)state;
    const struct sl_header_ops name = {.set = NVS(NV("X A", "x"))}, empty = {.add = NVS(NV("", "x"))},
                               value = {.set = NVS(NV("X-A", "x\ny"))},
                               var = {.set = NVS(NV("X-A", "$nope"))};
    refused(&name, "no header name");
    refused(&empty, "no header name");
    refused(&value, "control character");
    refused(&var, "unknown variable $nope");
}

#define unit_test_t(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_t(each_variable),
        unit_test_t(of_an_identity),
        unit_test_t(control_bytes_never_come_through),
        unit_test_t(wrong_ones_are_told),
        unit_test_t(empty_is_nothing),
        unit_test_t(in_order),
        unit_test_t(a_rename_replaces_what_the_client_put_there),
        unit_test_t(framing_and_hop_by_hop_are_the_gateways),
        unit_test_t(host_can_be_set_and_nothing_else),
        unit_test_t(wrong_names_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
