/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of policy/ share: policies written as text, requests, and comparing slices. */
#ifndef SL_TEST_POLICY_H
#define SL_TEST_POLICY_H

#include "config/config.h"
#include "harness/arena.h"
#include "http/uri.h"
#include "policy/policy.h"

#include <errno.h>

#define unit_test_arena(f) cmocka_unit_test_setup_teardown(f, with_arena, drop_arena)

static SL_UNUSED void print_diag(const struct sl_diag *d)
{
    struct sl_buf out = {0};
    if (sl_diag_print(d, &out) == 0)
        print_error("%.*s", (int)sl_buf_len(&out), sl_buf_data(&out));
    sl_buf_free(&out);
}

/* Whether one of the diagnostics has all of the text. */
static SL_UNUSED bool told(const struct sl_diag *d, const char *text)
{
    for (size_t i = 0; i < d->n; i++)
        if (strstr(d->v[i].text, text))
            return true;
    return false;
}
#define assert_told(d, text)      \
    do {                          \
        if (!told(d, text)) {     \
            print_diag(d);        \
            fail_msg("%s", text); \
        }                         \
    } while (0)

/* Single quotes stand for double ones, so that JSON can be read here. */
static SL_UNUSED struct sl_slice quoted(const char *text)
{
    char *p = sl_arena_strdup(&arena, sl_slice_str(text));
    assert_non_null(p);
    for (char *c = p; *c; c++)
        if (*c == '\'')
            *c = '"';
    return sl_slice_str(p);
}

/* The snapshot of a policy; fails the test where it has errors. */
static SL_UNUSED struct sl_snapshot *snapshot_of(const char *text, struct sl_diag *diag)
{
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *s = NULL;
    int r = sl_bundle_from_text("policy.json", quoted(text), diag, &bundle);
    if (r == 0)
        r = sl_snapshot_new(bundle, diag, &s);
    if (r != 0)
        print_diag(diag);
    assert_int_equal(r, 0);
    sl_bundle_free(bundle);
    return s;
}

/* What every policy needs, around the sections under test: "'routes': {…}". */
#define POLICY(sections)                                                  \
    "{'version': 1, 'listeners': {'main': {'bind': ['127.0.0.1:8080']}}," \
    "'upstreams': {'u': {'targets': [{'address': '127.0.0.1:9000'}]}}, " sections "}"

/* A policy that must compile. The caller frees it. */
static SL_UNUSED struct sl_policy *policy_of(const char *text)
{
    struct sl_diag diag;
    struct sl_policy *p = NULL;
    sl_diag_init(&diag);
    struct sl_snapshot *s = snapshot_of(text, &diag);
    const int r = sl_policy_new(s, &diag, &p);
    if (r != 0)
        print_diag(&diag);
    assert_int_equal(r, 0);
    sl_snapshot_unref(s);
    sl_diag_free(&diag);
    return p;
}

static SL_UNUSED void add_header(struct sl_headers *h, const char *name, const char *value)
{
    assert_int_equal(sl_headers_add(h, &arena, sl_slice_str(name), sl_slice_str(value)), 0);
}

/* "/path?query" of a host, as the codec would hand it over. */
static SL_UNUSED struct sl_request request(const char *method, const char *host, const char *target)
{
    struct sl_request r = {.method = sl_method_from(sl_slice_str(method)),
                           .method_name = sl_slice_str(method),
                           .target = sl_slice_str(target),
                           .authority = sl_slice_str(host)};
    if (strcmp(target, "*") == 0)
        r.path = r.target;
    else
        assert_int_equal(sl_uri_normalize(&arena, r.target, &r.path, &r.query), 0);
    return r;
}

static SL_UNUSED const char *header(const struct sl_headers *h, const char *name)
{
    const struct sl_header *found = sl_headers_find(h, sl_slice_str(name));
    return found ? sl_arena_strdup(&arena, found->value) : NULL;
}

static SL_UNUSED unsigned count_headers(const struct sl_headers *h)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < h->n; i++)
        n += !h->v[i].removed;
    return n;
}

#endif
