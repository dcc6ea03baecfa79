/* SPDX-License-Identifier: Apache-2.0 */
/* A policy from text to snapshot with everything that was said about it, and files in a directory of the
 * test's own. */
#ifndef SL_TESTS_CONFIG_TEST_H
#define SL_TESTS_CONFIG_TEST_H

#include "base/io.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A whole policy in three lines: what a test adds begins on line 4. */
#define SL_OK                                                                                        \
    "version: 1\nlisteners: {w: {bind: [\"127.0.0.1:80\"]}}\nroutes: {r: {auth: [public], respond: " \
    "{}}}\n"

struct sl_result {
    int r;
    struct sl_diag diag;
    struct sl_bundle *bundle;
    struct sl_snapshot *s;
    struct sl_buf said;
};

static SL_UNUSED void result_judge(struct sl_result *x)
{
    if (x->r == 0)
        x->r = sl_snapshot_new(x->bundle, &x->diag, &x->s);
    assert_int_equal(sl_diag_print(&x->diag, &x->said), 0);
    assert_int_equal(sl_buf_append(&x->said, "", 1), 0);
    assert_int_equal(x->r == 0, x->diag.errors == 0);
    assert_int_equal(x->r == 0, x->s != NULL);
}

static SL_UNUSED const char *result_said(const struct sl_result *x)
{
    return sl_buf_data(&x->said);
}

static SL_UNUSED struct sl_result of_text_named(const char *name, struct sl_slice text)
{
    struct sl_result x = {0};
    sl_diag_init(&x.diag);
    x.r = sl_bundle_from_text(name, text, &x.diag, &x.bundle);
    result_judge(&x);
    return x;
}

static SL_UNUSED struct sl_result of_text(const char *text)
{
    return of_text_named("p.yaml", sl_slice_str(text));
}

static SL_UNUSED struct sl_result of_path(const char *path)
{
    struct sl_result x = {0};
    sl_diag_init(&x.diag);
    x.r = sl_bundle_load(path, 7, NULL, &x.diag, &x.bundle);
    result_judge(&x);
    return x;
}

static SL_UNUSED void result_free(struct sl_result *x)
{
    sl_snapshot_unref(x->s);
    sl_bundle_free(x->bundle);
    sl_diag_free(&x->diag);
    sl_buf_free(&x->said);
}

/* The policy is accepted without a word. */
static SL_UNUSED struct sl_result accepted(const char *text)
{
    struct sl_result x = of_text(text);
    assert_string_equal(result_said(&x), "");
    return x;
}

#define assert_slice(s, text)                  \
    do {                                       \
        struct sl_slice _s = (s);              \
        assert_int_equal(_s.n, strlen(text));  \
        assert_memory_equal(_s.p, text, _s.n); \
        assert_int_equal(_s.p[_s.n], '\0');    \
    } while (0)
#define assert_said(x, part)                                                                     \
    do {                                                                                         \
        if (!strstr(result_said(&(x)), (part)))                                                  \
            fail_msg("expected within the diagnostics: %s\ngot: %s", (part), result_said(&(x))); \
    } while (0)

/* ---- files */

struct sl_dir {
    char path[64];
};
static SL_UNUSED void dir_new(struct sl_dir *d)
{
    (void)snprintf(d->path, sizeof(d->path), "/tmp/sl-config-XXXXXX");
    assert_non_null(mkdtemp(d->path));
}
static SL_UNUSED void dir_free(const struct sl_dir *d)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", d->path);
    assert_int_equal(system(command), 0);
}
static SL_UNUSED const char *dir_at(const struct sl_dir *d, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", d->path, name);
    return out;
}
static SL_UNUSED void dir_write_bytes(const struct sl_dir *d, const char *name, const void *p, size_t n)
{
    char path[256];
    FILE *f = fopen(dir_at(d, name, path), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}
static SL_UNUSED void dir_write(const struct sl_dir *d, const char *name, const char *text)
{
    dir_write_bytes(d, name, text, strlen(text));
}
static SL_UNUSED void dir_mkdir(const struct sl_dir *d, const char *name)
{
    char path[256];
    assert_int_equal(mkdir(dir_at(d, name, path), 0755), 0);
}

/* A path of the repository: tests run in its root, or anywhere when compiled with a full path. */
static SL_UNUSED const char *repo_at(const char *name, char out[512])
{
    const char *here = strstr(__FILE__, "tests/unit/config/");
    (void)snprintf(out, 512, "%.*s%s", (int)(here - __FILE__), __FILE__, name);
    return out;
}
static SL_UNUSED struct sl_buf repo_read(const char *name)
{
    char path[512];
    struct sl_buf b = {0};
    if (sl_read_file(repo_at(name, path), 1 << 24, &b) < 0)
        fail_msg("cannot read %s", path);
    assert_int_equal(sl_buf_append(&b, "", 1), 0);
    return b;
}

#endif
