/* SPDX-License-Identifier: Apache-2.0 */
/* A policy as a list of its values: what is shown, what is a digest, and that a memfd changes neither. */
#include "config_test.h"

#include <jansson.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define POLICY                                                                  \
    SL_OK "auth: {j: {type: jwt, algorithms: [ES256], jwks_file: keys.json},\n" \
          "       h: {type: jwt, algorithms: [HS256], secret: {$env: S}},\n"    \
          "       k: {type: jwt, algorithms: [ES256], jwks: {keys: []}}}\n"     \
          "consumers: {c: {keys: [\"" HASH "\"]}}\n"                            \
          "kernel: {interfaces: [eth0], deny: [192.0.2.0/24, {$file: feed.txt}], allow: []}\n"

static struct sl_bundle *_bundle(const char *secret)
{
    struct sl_bundle *b = NULL;
    struct sl_diag diag;
    sl_diag_init(&diag);
    assert_int_equal(sl_bundle_from_text("dir/p.yaml", sl_slice_str(POLICY), &diag, &b), 0);
    assert_int_equal(sl_bundle_put(b, false, "dir/keys.json", SL_S("{\"keys\":[]}")), 0);
    assert_int_equal(sl_bundle_put_list(b, "dir/feed.txt", SL_S("198.51.100.0/24\n")), 0);
    if (secret)
        assert_int_equal(sl_bundle_put(b, true, "S", sl_slice_str(secret)), 0);
    sl_diag_free(&diag);
    return b;
}

static json_t *_values(const struct sl_bundle *b, char **text)
{
    SL_BUF struct sl_buf out = {0};
    assert_int_equal(sl_bundle_print_values(b, &out), 0);
    json_t *j = json_loadb(sl_buf_data(&out), sl_buf_len(&out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    if (text)
        assert_non_null(*text = strndup(sl_buf_data(&out), sl_buf_len(&out)));
    return j;
}

static const char *_digest(const json_t *j, const char *pointer)
{
    return json_string_value(json_object_get(json_object_get(j, pointer), "sha256"));
}

static void _shows(const json_t *j, const char *pointer, const char *json)
{
    const json_t *v = json_object_get(json_object_get(j, pointer), "value");
    SL_FREE char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("nothing");
    assert_string_equal(text, json);
}

static void plain_values_are_shown_with_their_place(void **state)
{
    (void)state;
    struct sl_bundle *b = _bundle("secret");
    json_t *j = _values(b, NULL);
    _shows(j, "/version", "1");
    _shows(j, "/auth/j/algorithms", "[\"ES256\"]");
    _shows(j, "/kernel/deny/0", "\"192.0.2.0/24\"");
    _shows(j, "/kernel/allow", "[]");
    assert_null(json_object_get(j, "/kernel/deny"));
    const json_t *v = json_object_get(j, "/consumers/c/keys/0");
    assert_string_equal(json_string_value(json_object_get(v, "file")), "dir/p.yaml");
    assert_true(json_integer_value(json_object_get(v, "line")) > 1);
    json_decref(j);
    sl_bundle_free(b);
}

static void secrets_and_named_bytes_are_digests(void **state)
{
    (void)state;
    char *text;
    struct sl_bundle *b = _bundle("the-secret-itself");
    json_t *j = _values(b, &text);
    assert_null(strstr(text, "the-secret-itself"));
    assert_null(strstr(text, HASH));
    assert_null(strstr(text, "198.51.100"));
    _shows(j, "/consumers/c/keys/0", "nothing");
    assert_int_equal(strlen(_digest(j, "/consumers/c/keys/0")), 64);
    _shows(j, "/auth/k/jwks", "nothing");
    assert_non_null(_digest(j, "/auth/k/jwks"));
    _shows(j, "/auth/h/secret", "{\"$env\":\"S\"}");
    _shows(j, "/auth/j/jwks_file", "\"keys.json\"");
    /* printf '{"keys":[]}' | sha256sum */
    assert_string_equal(_digest(j, "/auth/j/jwks_file"),
                        "9638d11914735d0072002dd4d67c734a94ee7a0cd845e6dcbc984ee7581860a7");
    _shows(j, "/kernel/deny/1", "{\"$file\":\"feed.txt\"}");
    assert_non_null(_digest(j, "/kernel/deny/1"));
    free(text);
    json_decref(j);
    sl_bundle_free(b);
}

static void a_digest_follows_the_bytes_and_is_absent_without_them(void **state)
{
    (void)state;
    struct sl_bundle *one = _bundle("one"), *other = _bundle("other"), *none = _bundle(NULL);
    json_t *a = _values(one, NULL), *b = _values(other, NULL), *c = _values(none, NULL);
    assert_string_not_equal(_digest(a, "/auth/h/secret"), _digest(b, "/auth/h/secret"));
    assert_null(_digest(c, "/auth/h/secret"));
    assert_string_equal(_digest(a, "/kernel/deny/1"), _digest(c, "/kernel/deny/1"));
    json_decref(a), json_decref(b), json_decref(c);
    sl_bundle_free(one), sl_bundle_free(other), sl_bundle_free(none);
}

static void a_bundle_from_a_memfd_has_the_same_values(void **state)
{
    (void)state;
    struct sl_bundle *a = _bundle("secret"), *b, *lean;
    SL_CLOSE int fd = sl_bundle_to_memfd(a);
    assert_true(fd >= 0);
    assert_int_equal(sl_bundle_from_memfd(fd, &b), 0);
    assert_int_equal(sl_bundle_from_memfd_lean(fd, &lean), 0);
    json_t *j[] = {_values(a, NULL), _values(b, NULL), _values(lean, NULL)};
    assert_true(json_equal(j[0], j[1]));
    assert_true(json_equal(j[0], j[2]));
    for (size_t i = 0; i < 3; i++)
        json_decref(j[i]);
    sl_bundle_free(a), sl_bundle_free(b), sl_bundle_free(lean);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values_are_shown_with_their_place),
        cmocka_unit_test(secrets_and_named_bytes_are_digests),
        cmocka_unit_test(a_digest_follows_the_bytes_and_is_absent_without_them),
        cmocka_unit_test(a_bundle_from_a_memfd_has_the_same_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
