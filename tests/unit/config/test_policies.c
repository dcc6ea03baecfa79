/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that the project ships, and its schema: they are accepted, say every key, and are current. */
#include "pki_test.h"

#include <jansson.h>

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void copy_policy(const struct sl_dir *d, const char *name)
{
    char from[64];
    (void)snprintf(from, sizeof(from), "policies/%s", name);
    struct sl_buf text = repo_read(from);
    dir_write(d, name, sl_buf_data(&text));
    sl_buf_free(&text);
}

/* The files that full.yaml asks its reader to bring. */
static void write_pki(const struct sl_dir *d)
{
    static const struct pki_spec api = {"api.example.com", "DNS:api.example.com,DNS:*.example.org", -1, 30};
    static const char *const certs[] = {"api.pem", "partners.pem", "internal-ca.pem", "gateway.pem"},
                             *const keys[] = {"api.key", "gateway.key", "internal.key"};
    char name[64], path[256];
    EVP_PKEY *k = EVP_EC_gen("P-256");
    struct pem cert = pem_self_signed(&api, k), key = pem_of_key(k);
    dir_mkdir(d, "pki");
    for (size_t i = 0; i < SL_ARRAY_LEN(certs); i++) {
        (void)snprintf(name, sizeof(name), "pki/%s", certs[i]);
        write_text(dir_at(d, name, path), cert.text);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(keys); i++) {
        (void)snprintf(name, sizeof(name), "pki/%s", keys[i]);
        write_text(dir_at(d, name, path), key.text);
    }
    write_text(dir_at(d, "pki/jwks.json", path), "{\"keys\":[]}\n");
    write_text(dir_at(d, "pki/introspection.secret", path), "a secret\n");
    write_text(dir_at(d, "pki/session.key", path), "0123456789abcdef0123456789abcdef\n");
    EVP_PKEY_free(k);
}

static void test_minimal(void **state)
{
    char path[512];
    (void)state;
    struct sl_result x = of_path(repo_at("policies/minimal.yaml", path));
    assert_string_equal(result_said(&x), "");
    assert_int_equal(x.s->kernel.mode, SL_KERNEL_OFF);
    result_free(&x);
}

static void test_full(void **state)
{
    struct sl_dir d;
    char path[256];
    (void)state;
    dir_new(&d);
    copy_policy(&d, "full.yaml");
    dir_mkdir(&d, "consumers.d");
    copy_policy(&d, "consumers.d/globex.yaml");
    dir_mkdir(&d, "lists");
    copy_policy(&d, "lists/blocked.txt");
    write_pki(&d);
    assert_int_equal(
        setenv("ACME_KEY_SHA256", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 1), 0);
    assert_int_equal(setenv("REDIS_PASSWORD", "not the one", 1), 0);
    assert_int_equal(setenv("LDAP_PASSWORD", "not this one", 1), 0);
    struct sl_result x = of_path(dir_at(&d, "full.yaml", path));
    assert_string_equal(result_said(&x), "");
    assert_int_equal(x.s->n_consumers, 3);
    assert_int_equal(x.s->n_routes, 6);
    assert_int_equal(x.s->kernel.ranges->n4 + x.s->kernel.ranges->n6, 2);
    assert_int_equal(x.s->listeners[0].tls.certificates[0].names.n, 2);
    result_free(&x);
    assert_int_equal(unsetenv("ACME_KEY_SHA256"), 0);
    dir_free(&d);
}

/* ---- the schema */

static json_t *schema(void)
{
    struct sl_buf SL_BUF text = {0};
    json_error_t error;
    assert_int_equal(sl_schema_print(&text), 0);
    json_t *j = json_loadb(sl_buf_data(&text), sl_buf_len(&text), JSON_REJECT_DUPLICATES, &error);
    if (!j)
        fail_msg("the schema is no JSON: %d:%d %s", error.line, error.column, error.text);
    return j;
}

static void test_schema_is_current(void **state)
{
    struct sl_buf SL_BUF now = {0};
    (void)state;
    struct sl_buf there = repo_read("policies/schema.json");
    assert_int_equal(sl_schema_print(&now), 0);
    if (sl_buf_len(&now) != sl_buf_len(&there) - 1 ||
        memcmp(sl_buf_data(&now), sl_buf_data(&there), sl_buf_len(&now)) != 0)
        fail_msg(
            "policies/schema.json differs from the table: run `sluicectl schema > policies/schema.json`");
    sl_buf_free(&there);
}

static void assert_documented(const char *key, const json_t *property)
{
    const char *doc = json_string_value(json_object_get(property, "description"));
    if (!doc || strlen(doc) < 8 || doc[strlen(doc) - 1] != '.')
        fail_msg("\"%s\" has no description, or one without a full stop: %s", key, doc ? doc : "");
}

/* Calls for every property of the schema, however deep. */
static void each_property(const json_t *j, void (*fn)(const char *, const json_t *, void *), void *ctx)
{
    const char *key;
    json_t *v;
    size_t i;
    if (json_is_array(j)) {
        json_array_foreach(j, i, v) each_property(v, fn, ctx);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
    {
        if (strcmp(key, "properties") == 0) {
            const char *name;
            json_t *property;
            json_object_foreach(v, name, property) fn(name, property, ctx);
        }
        if (strcmp(key, "$defs") != 0)
            each_property(v, fn, ctx);
    }
}

static void named_in(const char *key, const json_t *property, void *ctx)
{
    char wanted[64];
    assert_documented(key, property);
    (void)snprintf(wanted, sizeof(wanted), "%s:", key);
    if (strcmp(key, "jwks") != 0 && !strstr(ctx, wanted)) /* jwks_file stands for it */
        fail_msg("policies/full.yaml does not show the key \"%s\"", key);
}

static void test_full_shows_every_key(void **state)
{
    (void)state;
    json_t *j = schema();
    struct sl_buf text = repo_read("policies/full.yaml");
    each_property(j, named_in, sl_buf_data(&text));
    sl_buf_free(&text);
    json_decref(j);
}

/* The schema's defaults, written out, change nothing. */
static void test_defaults_are_what_they_say(void **state)
{
    (void)state;
    struct sl_result a = accepted(SL_OK);
    struct sl_result b = accepted("version: 1\nlisteners: {w: {bind: [\"127.0.0.1:80\"], redirect_https: "
                                  "false, timeouts: {handshake: 5s, headers: 5s, "
                                  "body: 30s, idle: 60s}, limits: {connections: 20000, headers: 32KiB, "
                                  "header_count: 100, body: 8MiB}}}\n"
                                  "routes: {r: {auth: [public], respond: {status: 200, body: \"\"}, "
                                  "timeouts: {connect: 1s, first_byte: 30s, idle: "
                                  "30s, total: 0s}}}\n");
    assert_memory_equal(&a.s->listeners[0].timeouts, &b.s->listeners[0].timeouts,
                        sizeof(a.s->listeners[0].timeouts));
    assert_memory_equal(&a.s->listeners[0].limits, &b.s->listeners[0].limits,
                        sizeof(a.s->listeners[0].limits));
    assert_memory_equal(&a.s->routes[0].timeouts, &b.s->routes[0].timeouts, sizeof(a.s->routes[0].timeouts));
    result_free(&a);
    result_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_schema_is_current),
        cmocka_unit_test(test_full_shows_every_key),
        cmocka_unit_test(test_defaults_are_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
