/* SPDX-License-Identifier: Apache-2.0 */
/* From files: directories, includes, and the files and variables that a policy names. */
#include "config_test.h"
#include "pki_test.h"

#include <unistd.h>

#define L "version: 1\nlisteners: {w: {bind: [\"127.0.0.1:80\"]}}\n"
#define R "routes: {r: {auth: [public], respond: {}}}\n"

static struct sl_result of_dir(const struct sl_dir *d, const char *name)
{
    char path[256];
    return of_path(name ? dir_at(d, name, path) : d->path);
}

static void assert_clean(const struct sl_result *x)
{
    assert_string_equal(result_said(x), "");
    assert_int_equal(x->r, 0);
}

/* The file's name within a message is under a random directory: compare what follows it. */
static void assert_says(const struct sl_dir *d, const struct sl_result *x, const char *fmt)
{
    struct sl_buf SL_BUF expected = {0};
    for (const char *p = fmt; *p; p++) {
        if (*p == '@')
            assert_int_equal(sl_buf_append(&expected, d->path, strlen(d->path)), 0);
        else
            assert_int_equal(sl_buf_append(&expected, p, 1), 0);
    }
    assert_int_equal(sl_buf_append(&expected, "", 1), 0);
    assert_string_equal(result_said(x), sl_buf_data(&expected));
}

static void test_one_file(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_write(&d, "p.yaml", L R);
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_clean(&x);
    assert_int_equal(x.s->version, 7);
    result_free(&x);
    dir_free(&d);
}

static void test_directory_is_merged_in_name_order(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_write(&d, "10-base.yaml", L "tiers: {a: {}}\n");
    dir_write(&d, "20-routes.json",
              "{\"version\": 1, \"routes\": {\"z\": {\"auth\": [\"public\"], \"respond\": {}}}}");
    dir_write(&d, "30-more.yml", "routes: {a: {auth: [public], respond: {}}}\ntiers: {b: {}}\n");
    dir_write(&d, "40-empty.yaml", "# nothing yet\n");
    dir_write(&d, ".hidden.yaml", "nonsense\n");
    dir_write(&d, "README.md", "nonsense\n");
    dir_write(&d, "50-routes.yaml~", "nonsense\n");
    struct sl_result x = of_dir(&d, NULL);
    assert_clean(&x);
    assert_int_equal(x.s->n_routes, 2);
    assert_string_equal(x.s->routes[0].name, "z");
    assert_string_equal(x.s->routes[1].name, "a");
    assert_int_equal(x.s->n_tiers, 3);
    assert_non_null(strstr(x.s->routes[1].pos.file, "/30-more.yml"));
    result_free(&x);
    dir_free(&d);
}

static void test_a_name_given_twice_names_both_places(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_write(&d, "a.yaml", L R "workers: 1\nkernel: {mode: off, shadow: true}\n");
    dir_write(&d, "b.yaml",
              "version: 2\nworkers: 1\nroutes:\n  r: {}\n  s: {auth: [public], respond: {}, x: 1}\nkernel: "
              "{shadow: true}\n");
    struct sl_result x = of_dir(&d, NULL);
    assert_says(&d, &x,
                "@/b.yaml:1:1: error: /version: \"version\" is given twice: the first is at @/a.yaml:1:1; "
                "keep one of them\n"
                "@/b.yaml:2:1: error: /workers: \"workers\" is given twice: the first is at @/a.yaml:4:1; "
                "keep one of them\n"
                "@/b.yaml:4:3: error: /routes/r: \"r\" is given twice: the first is at @/a.yaml:3:10; keep "
                "one of them\n"
                "@/b.yaml:5:36: error: /routes/s/x: unknown key \"x\"\n"
                "@/b.yaml:6:10: error: /kernel/shadow: \"shadow\" is given twice: the first is at "
                "@/a.yaml:5:21; keep one of them\n");
    result_free(&x);
    dir_free(&d);
}

static void test_a_syntax_error_in_each_file_is_told(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_write(&d, "a.yaml", L R "x: [\n");
    dir_write(&d, "b.json", "{\"version\": 1,}");
    struct sl_result x = of_dir(&d, NULL);
    assert_int_equal(x.r, -EINVAL);
    assert_said(x, "/a.yaml:5:1: error: not YAML: ");
    assert_said(x, "/b.json:1:15: error: a comma before '}'");
    result_free(&x);
    dir_free(&d);
}

static void test_includes(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_mkdir(&d, "sub");
    dir_mkdir(&d, "sub/consumers.d");
    dir_write(&d, "p.yaml", L R "include: [sub/more.yaml]\nconsumers: {a: {}}\n");
    dir_write(&d, "sub/more.yaml", "include: [\"consumers.d/*.yaml\", \"none.d/*.yaml\"]\ntiers: {t: {}}\n");
    dir_write(&d, "sub/consumers.d/2.yaml", "consumers: {c: {tier: t}}\n");
    dir_write(&d, "sub/consumers.d/1.yaml", "consumers: {b: {tier: u}}\n");
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_says(
        &d, &x,
        "@/sub/consumers.d/1.yaml:1:23: error: /consumers/b/tier: there is no tier named \"u\" in this "
        "policy; did you mean \"t\"?\n"
        "@/sub/more.yaml:1:33: warning: /include/1: no file matches \"@/sub/none.d/*.yaml\"\n");
    result_free(&x);
    dir_write(&d, "sub/consumers.d/1.yaml", "consumers: {b: {tier: t}}\n");
    x = of_dir(&d, "p.yaml");
    assert_int_equal(x.r, 0);
    assert_int_equal(x.s->n_consumers, 3);
    assert_string_equal(x.s->consumers[0].name, "a");
    assert_string_equal(x.s->consumers[1].name, "b");
    assert_string_equal(x.s->consumers[2].name, "c");
    result_free(&x);
    dir_free(&d);
}

static void test_bad_includes(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_mkdir(&d, "dir");
    dir_write(&d, "p.yaml", L R "include: [gone.yaml, p.yaml, dir, 5, other.yaml]\n");
    dir_write(&d, "other.yaml", "include: [p.yaml]\n");
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_int_equal(x.r, -EINVAL);
    assert_said(x, "p.yaml:4:11: error: /include/0: cannot read \"");
    assert_said(x, "gone.yaml\": No such file or directory");
    assert_said(x, "p.yaml:4:22: error: /include/1: \"");
    assert_said(x, "is read twice: include it once");
    assert_said(x, "p.yaml:4:30: error: /include/2: cannot read \"");
    assert_said(x, "Is a directory");
    assert_said(x, "other.yaml:1:11: error: /include/0: \"");
    result_free(&x);
    dir_write(&d, "p.yaml", L R "include: gone.yaml\n");
    x = of_dir(&d, "p.yaml");
    assert_said(x, "p.yaml:4:10: error: /include: expected a list of paths or patterns, found \"gone.yaml\": "
                   "write [\"gone.yaml\"]");
    result_free(&x);
    dir_free(&d);
}

static void test_includes_do_not_nest_for_ever(void **state)
{
    struct sl_dir d;
    char name[32], text[64];
    (void)state;
    dir_new(&d);
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(name, sizeof(name), "%u.yaml", i);
        (void)snprintf(text, sizeof(text), "include: [%u.yaml]\n", i + 1);
        dir_write(&d, name, text);
    }
    struct sl_result x = of_dir(&d, "0.yaml");
    assert_int_equal(x.r, -EINVAL);
    assert_said(x, "7.yaml:1:11: error: /include/0: includes nest deeper than 8 files");
    result_free(&x);
    dir_free(&d);
}

static void test_what_cannot_be_read(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    struct sl_result x = of_dir(&d, "gone.yaml");
    assert_said(x, "error: cannot read \"");
    assert_said(x, "gone.yaml\": No such file or directory\n");
    result_free(&x);
    x = of_dir(&d, NULL);
    assert_said(x, "no *.json, *.yaml or *.yml in this directory");
    result_free(&x);
    dir_free(&d);
}

static void test_files_and_variables(void **state)
{
    struct sl_dir d;
    char path[256];
    (void)state;
    dir_new(&d);
    dir_mkdir(&d, "sub");
    dir_write(&d, "p.yaml",
              L R "include: [sub/auth.yaml]\nuser: {$env: SL_TEST_USER}\ncorrelation_id: {header: {$file: "
                  "name.txt}}\n");
    dir_write(&d, "name.txt", "X-From-File\n");
    dir_write(&d, "sub/auth.yaml",
              "auth:\n  h: {type: jwt, algorithms: [HS256], secret: {$file: key}}\n"
              "  j: {type: jwt, algorithms: [ES256], jwks_file: keys.json}\n");
    dir_write(&d, "sub/key", "0123456789abcdef0123456789abcdef\r\n");
    dir_write(&d, "sub/keys.json", "{\"keys\":[]}\n");
    assert_int_equal(setenv("SL_TEST_USER", "gate", 1), 0);
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_clean(&x);
    assert_string_equal(x.s->user, "gate");
    assert_string_equal(x.s->correlation_id.header, "X-From-File");
    assert_slice(x.s->auths[0].jwt.secret.data, "0123456789abcdef0123456789abcdef");
    assert_string_equal(x.s->auths[0].jwt.secret.path, dir_at(&d, "sub/key", path));
    assert_slice(x.s->auths[1].jwt.jwks.data, "{\"keys\":[]}\n"); /* a file's bytes, whole */
    result_free(&x);
    assert_int_equal(unsetenv("SL_TEST_USER"), 0);
    x = of_dir(&d, "p.yaml");
    assert_says(&d, &x,
                "@/p.yaml:5:14: error: /user/$env: the environment variable \"SL_TEST_USER\" is not set\n");
    result_free(&x);
    dir_free(&d);
}

/* Each where the policy names it, beside all other errors. */
static void test_files_that_will_not_do(void **state)
{
    struct sl_dir d;
    char path[256];
    (void)state;
    dir_new(&d);
    dir_write(&d, "p.yaml",
              L "routes: {r: {auth: [public], respond: {body: {$file: nul}}}}\nauth:\n"
                "  a: {type: jwt, algorithms: [ES256], jwks_file: gone}\n"
                "  b: {type: jwt, algorithms: [ES256], jwks_file: .}\n"
                "  c: {type: jwt, algorithms: [ES256], jwks_file: big}\n"
                "  d: {type: jwt, algorithms: [ES256], jwks_file: empty}\n"
                "  e: {type: jwt, algorithms: [ES256], jwks_file: fifo}\n"
                "  f: {type: jwt, algorithms: [HS256], secret: {$file: empty}}\n");
    char *big = calloc(1, (1 << 20) + 1);
    assert_non_null(big);
    dir_write_bytes(&d, "big", big, (1 << 20) + 1);
    free(big);
    dir_write(&d, "empty", "");
    dir_write_bytes(&d, "nul", "a\0b", 3);
    assert_int_equal(mkfifo(dir_at(&d, "fifo", path), 0600), 0);
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_says(&d, &x,
                "@/p.yaml:3:54: error: /routes/r/respond/body/$file: holds a NUL byte: expected text\n"
                "@/p.yaml:5:50: error: /auth/a/jwks_file: cannot read \"@/gone\": No such file or directory\n"
                "@/p.yaml:6:50: error: /auth/b/jwks_file: \"@/.\" is not a regular file\n"
                "@/p.yaml:7:50: error: /auth/c/jwks_file: \"@/big\" is larger than 1024 KiB\n"
                "@/p.yaml:8:50: error: /auth/d/jwks_file: this file is empty\n"
                "@/p.yaml:9:50: error: /auth/e/jwks_file: \"@/fifo\" is not a regular file\n"
                "@/p.yaml:10:55: error: /auth/f/secret/$file: this file is empty\n");
    result_free(&x);
    dir_free(&d);
}

/* A value that came from elsewhere is checked as one that stands here, and not shown. */
static void test_values_of_references_are_not_said(void **state)
{
    struct sl_dir d;
    (void)state;
    dir_new(&d);
    dir_write(&d, "p.yaml",
              L R "user: {$env: SL_TEST_SECRET}\ntrusted_proxies: [{$env: SL_TEST_SECRET}, {$file: range}]\n"
                  "kernel: {mode: {$file: range}, per_source: {new_connections: {$file: range}}}\n"
                  "consumers: {a: {tier: {$env: SL_TEST_SECRET}, keys: [{$env: SL_TEST_SECRET}]}}\n"
                  "admin: {bind: [{$env: SL_TEST_SECRET}]}\n");
    dir_write(&d, "range", "10.9.8.7/8\n");
    assert_int_equal(setenv("SL_TEST_SECRET", "hunter2 hunter2", 1), 0);
    struct sl_result x = of_dir(&d, "p.yaml");

    assert_int_equal(x.diag.errors, 9);
    assert_null(strstr(result_said(&x), "hunter2"));
    assert_null(strstr(result_said(&x), "10.9.8.7"));
    assert_said(x, "p.yaml:5:43: error: /trusted_proxies/1: this range has bits set behind its prefix");
    result_free(&x);
    assert_int_equal(unsetenv("SL_TEST_SECRET"), 0);
    dir_free(&d);
}

/* tls: {} trusts what the system trusts, as it was when the policy was read, in every process. */
static void test_the_systems_authorities_travel_with_the_policy(void **state)
{
    struct sl_dir d;
    char path[256];
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct pem ca = pem_self_signed(&(struct pki_spec){.cn = "The system's", .to_days = 9}, key);
    EVP_PKEY_free(key);
    dir_new(&d);
    dir_write(&d, "ca.pem", ca.text);
    dir_write(&d, "p.yaml", L R "upstreams: {u: {targets: [{address: \"1.2.3.4:5\"}], tls: {}}}\n");
    assert_int_equal(setenv("SSL_CERT_FILE", dir_at(&d, "ca.pem", path), 1), 0);
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_clean(&x);
    assert_slice(x.s->upstreams[0].tls.ca.data, ca.text);
    int fd = sl_bundle_to_memfd(x.bundle);
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent", 1), 0);
    struct sl_result there = {0};
    sl_diag_init(&there.diag);
    there.r = sl_bundle_from_memfd(fd, &there.bundle);
    result_judge(&there);
    assert_clean(&there);
    sl_bundle_free(there.bundle); /* the snapshot outlives it */
    there.bundle = NULL;
    assert_slice(there.s->upstreams[0].tls.ca.data, ca.text);
    result_free(&there);
    result_free(&x);
    x = of_dir(&d, "p.yaml");
    assert_says(
        &d, &x,
        "@/p.yaml:4:57: error: /upstreams/u/tls: no authorities to trust: the system's "
        "(SSL_CERT_FILE, else /usr/lib/ssl/cert.pem) cannot be read: No such file or directory; write "
        "\"ca\", or install ca-certificates\n");
    result_free(&x);
    (void)unsetenv("SSL_CERT_FILE");
    dir_free(&d);
}

static void test_a_file_is_read_anew_without_the_policy(void **state)
{
    struct sl_dir d;
    struct sl_bundle *b;
    char path[256];
    (void)state;
    dir_new(&d);
    dir_write(&d, "p.yaml", L R "auth: {a: {type: jwt, algorithms: [HS256], secret: {$file: s}}}\n");
    dir_write(&d, "s", "0123456789abcdef0123456789abcdef");
    struct sl_result x = of_dir(&d, "p.yaml");
    assert_clean(&x);
    int fd = sl_bundle_to_memfd(x.bundle);
    assert_int_equal(sl_bundle_from_memfd(fd, &b), 0);
    dir_write(&d, "p.yaml", "what is being edited");
    assert_int_equal(sl_bundle_reread(b, dir_at(&d, "s", path)), 0);
    assert_int_equal(sl_bundle_reread(b, "/not/named"), 0);
    dir_write(&d, "s", "fedcba9876543210fedcba9876543210");
    assert_int_equal(sl_bundle_reread(b, dir_at(&d, "s", path)), 1);
    assert_int_equal(sl_bundle_reread(b, dir_at(&d, "s", path)), 0);
    assert_int_equal(unlink(dir_at(&d, "s", path)), 0);
    assert_int_equal(sl_bundle_reread(b, dir_at(&d, "s", path)), -ENOENT);
    struct sl_result y = {.bundle = b};
    sl_diag_init(&y.diag);
    result_judge(&y);
    assert_clean(&y);
    assert_slice(y.s->auths[0].jwt.secret.data, "fedcba9876543210fedcba9876543210");
    assert_string_not_equal(y.s->hash, x.s->hash);
    (void)close(fd);
    result_free(&x);
    result_free(&y);
    dir_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_directory_is_merged_in_name_order),
        cmocka_unit_test(test_a_name_given_twice_names_both_places),
        cmocka_unit_test(test_a_syntax_error_in_each_file_is_told),
        cmocka_unit_test(test_includes),
        cmocka_unit_test(test_bad_includes),
        cmocka_unit_test(test_includes_do_not_nest_for_ever),
        cmocka_unit_test(test_what_cannot_be_read),
        cmocka_unit_test(test_files_and_variables),
        cmocka_unit_test(test_files_that_will_not_do),
        cmocka_unit_test(test_values_of_references_are_not_said),
        cmocka_unit_test(test_a_file_is_read_anew_without_the_policy),
        cmocka_unit_test(test_the_systems_authorities_travel_with_the_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
