/* SPDX-License-Identifier: Apache-2.0 */
/* Policies with what must be said of them, to the letter and the column: tests/unit/config/cases/. */
#include "config_test.h"

static struct sl_slice line_of(struct sl_slice *rest)
{
    const char *nl = memchr(rest->p, '\n', rest->n);
    size_t n = nl ? (size_t)(nl - rest->p) : rest->n;
    struct sl_slice line = sl_slice(rest->p, n);
    *rest = sl_slice(rest->p + n + (nl != NULL), rest->n - n - (nl != NULL));
    return line;
}

static bool marks(struct sl_slice rest, const char *marker)
{
    struct sl_slice line = line_of(&rest);
    return sl_slice_eq(line, sl_slice_str(marker));
}

/* Lines up to the next marker, %OK expanded; a trailing backslash takes the newline off. */
static void take_block(struct sl_slice *rest, struct sl_buf *out, const char *prefix)
{
    while (rest->n && !sl_slice_starts(*rest, SL_S("=== "))) {
        struct sl_slice line = line_of(rest);
        bool cut = !prefix && line.n && line.p[line.n - 1] == '\\';
        if (!prefix && sl_slice_eq(line, SL_S("%OK"))) {
            assert_int_equal(sl_buf_append(out, SL_OK, strlen(SL_OK)), 0);
            continue;
        }
        if (prefix && line.n)
            assert_int_equal(
                sl_buf_printf(out, "%s%s", prefix, line.p[0] >= '0' && line.p[0] <= '9' ? "" : " "), 0);
        assert_int_equal(sl_buf_append(out, line.p, line.n - cut), 0);
        if (!cut)
            assert_int_equal(sl_buf_append(out, "\n", 1), 0);
    }
}

static void one_case(const char *name, struct sl_slice text, const char *expected)
{
    struct sl_result x = of_text_named(name, text);
    if (strcmp(result_said(&x), expected) != 0)
        fail_msg("policy:\n" SL_SFMT "\nexpected:\n%s\ngot:\n%s", SL_SARG(text), expected, result_said(&x));
    result_free(&x);
}

static void run(const char *file, const char *name, const char *prefix)
{
    struct sl_buf all = repo_read(file);
    struct sl_slice rest = sl_slice(sl_buf_data(&all), sl_buf_len(&all) - 1);
    unsigned cases = 0;
    while (rest.n && !marks(rest, "=== policy"))
        (void)line_of(&rest); /* the comment atop */
    while (rest.n) {
        struct sl_buf SL_BUF text = {0};
        struct sl_buf SL_BUF expected = {0};
        assert_true(marks(rest, "=== policy"));
        (void)line_of(&rest);
        take_block(&rest, &text, NULL);
        assert_true(marks(rest, "=== says"));
        (void)line_of(&rest);
        take_block(&rest, &expected, prefix);
        assert_int_equal(sl_buf_append(&expected, "", 1), 0);
        one_case(name, sl_slice(text.base ? text.base : "", text.end), sl_buf_data(&expected));
        cases++;
    }
    sl_buf_free(&all);
    assert_true(cases >= 5);
}

#define CASES(group, ext)                                                              \
    static void test_##group(void **state)                                             \
    {                                                                                  \
        (void)state;                                                                   \
        run("tests/unit/config/cases/" #group "." ext ".txt", "p." ext, "p." ext ":"); \
    }
CASES(json, "json")
CASES(yaml, "yaml")
CASES(top, "yaml")
CASES(listeners, "yaml")
CASES(kernel, "yaml")
CASES(auth, "yaml")
CASES(tiers, "yaml")
CASES(upstreams, "yaml")
CASES(routes, "yaml")
CASES(limits, "yaml")
CASES(sign, "yaml")

/* What a text file cannot hold. */
static void test_bytes(void **state)
{
    (void)state;
    one_case("p.yaml", SL_S("a: \xff\n"),
             "p.yaml:1:4: error: not readable as YAML: invalid leading UTF-8 octet\n");
    one_case("p.json", SL_S("\xef\xbb\xbf{}"),
             "p.json:1:1: error: begins with a byte order mark: JSON has none (RFC 8259 section 8.1)\n");
    one_case("p.json", SL_S("{\"\xc3\xa9\": \"\xc0\xaf\"}"), "p.json:1:8: error: not UTF-8\n");
    one_case("p.json", SL_S("{\"a\": \"\xed\xa0\x80\"}"), "p.json:1:8: error: not UTF-8\n");
    one_case(
        "p.json", SL_S("{\"a\": \"b\0c\"}"),
        "p.json:1:9: error: control byte 0x00 within a string: write it as an escape, or end the string\n");
    one_case("p.json", SL_S("\0"), "p.json:1:1: error: unexpected byte 0x00: expected a value\n");
}

/* A file without a telling name is read as what it looks like. */
static void test_format_is_told_by_the_first_character(void **state)
{
    (void)state;
    one_case("policy", SL_S(" {\"version\": 1,}"),
             "policy:1:16: error: a comma before '}': JSON has none after the last value\n");
    one_case("policy", SL_S("version: [\n"),
             "policy:2:1: error: not YAML: did not find expected node content, while parsing a flow node\n");
}

/* A secret that is wrong is not shown, nor one that is right where something else is wrong. */
static void test_secrets_are_not_said(void **state)
{
    (void)state;
    static const char *const texts[] = {
        SL_OK "consumers: {a: {keys: [hunter2]}}\n",
        SL_OK "consumers: {a: {keys: [hunter2, hunter2]}}\n",
        SL_OK "auth: {a: {type: jwt, algorithms: [HS256], secret: hunter2, x: 1}}\n",
        SL_OK "auth: {a: {type: jwt, algorithms: [HS256], secret: [hunter2]}}\n",
        SL_OK "upstreams: {u: {targets: [{address: \"1.2.3.4:5\"}], tls: {cert: \"x\", key: hunter2}}}\n",
        SL_OK "signers: {a: {keys: [hunter2, [hunter2]]}}\n",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        struct sl_result x = of_text(texts[i]);
        assert_int_equal(x.r, -EINVAL);
        assert_null(strstr(result_said(&x), "hunter2"));
        result_free(&x);
    }
}

static void test_too_many_errors_are_counted(void **state)
{
    struct sl_buf SL_BUF text = {0};
    (void)state;
    assert_int_equal(sl_buf_append(&text, SL_OK, strlen(SL_OK)), 0);
    for (unsigned i = 0; i < 12000; i++)
        assert_int_equal(sl_buf_printf(&text, "x%u: 1\n", i), 0);
    struct sl_result x = of_text_named("p.yaml", sl_buf_slice(&text));
    assert_int_equal(x.diag.errors, 12000);
    assert_said(x, "error: 2000 more are not shown\n");
    result_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_kernel),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_sign),
        cmocka_unit_test(test_upstreams),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_format_is_told_by_the_first_character),
        cmocka_unit_test(test_secrets_are_not_said),
        cmocka_unit_test(test_too_many_errors_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
