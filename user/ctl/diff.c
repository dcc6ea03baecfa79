/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy on disk against the one in force, value by value. Both sides are written by
 * sl_bundle_print_values, so that what differs here differs in the policy.
 */
#include "config/config.h"
#include "ctl/ctl_priv.h"

#include <errno.h>
#include <string.h>

struct sl_diff {
    json_t *from, *to; /* values by pointer: in force, and on disk */
    json_t *changes;
};

static void _sl_change(struct sl_diff *d, const char *kind, const char *pointer, const json_t *was,
                       const json_t *is)
{
    const json_t *at = is ? is : was;
    json_t *c = json_pack("{s:s, s:s, s:O?, s:O?, s:s, s:O?, s:O?, s:O?}", "change", kind, "pointer", pointer,
                          "from", json_object_get(was, "value"), "to", json_object_get(is, "value"), "in",
                          is ? "disk" : "force", "file", json_object_get(at, "file"), "line",
                          json_object_get(at, "line"), "column", json_object_get(at, "column"));
    (void)json_array_append_new(d->changes, c);
}

/* A digest that one side could not make (a variable of the daemon's environment) says nothing. */
static bool _sl_same(const json_t *was, const json_t *is)
{
    const json_t *a = json_object_get(was, "sha256"), *b = json_object_get(is, "sha256");
    const json_t *v = json_object_get(was, "value"), *w = json_object_get(is, "value");
    return (v == w || json_equal(v, w)) && (!a || !b || json_equal(a, b));
}

static void _sl_compare(struct sl_diff *d)
{
    const char *pointer;
    json_t *v;
    json_object_foreach(d->to, pointer, v)
    {
        const json_t *was = json_object_get(d->from, pointer);
        if (!was)
            _sl_change(d, "added", pointer, NULL, v);
        else if (!_sl_same(was, v))
            _sl_change(d, "changed", pointer, was, v);
    }
    json_object_foreach(d->from, pointer, v) if (!json_object_get(d->to, pointer))
        _sl_change(d, "removed", pointer, v, NULL);
}

/* ---- the two sides */

static int _sl_in_force(const struct sl_ctl *ctl, json_t **policy)
{
    struct sl_buf SL_BUF text = {0};
    *policy = sl_ctl_call(ctl, "GET", "/v1/policy", NULL);
    if (!*policy || json_is_object(json_object_get(*policy, "values")))
        return *policy ? 0 : -1;
    if (sl_ctl_escape(&text, sl_slice_str(sl_ctl_str(*policy, "error")), false) == 0)
        (void)fprintf(stderr, "sluicectl: " SL_SFMT "\n", SL_SARG(sl_buf_slice(&text)));
    return -1;
}

static int _sl_tell(const struct sl_diag *diag, int r)
{
    struct sl_buf SL_BUF raw = {0};
    struct sl_buf SL_BUF text = {0};
    if (sl_diag_print(diag, &raw) == 0 && sl_ctl_escape(&text, sl_buf_slice(&raw), true) == 0)
        (void)sl_ctl_print(&text, stderr);
    if (diag->errors == 0)
        (void)fprintf(stderr, "sluicectl: cannot read the policy: %s\n", strerror(-r));
    return -1;
}

static int _sl_on_disk(const char *path, json_t **values)
{
    struct sl_diag diag;
    struct sl_bundle *b = NULL;
    struct sl_buf SL_BUF text = {0};
    sl_diag_init(&diag);
    int r = sl_bundle_load(path, 0, NULL, &diag, &b);
    if (r == 0)
        r = sl_bundle_print_values(b, &text);
    if (r == 0)
        *values = json_loadb(sl_buf_data(&text), sl_buf_len(&text), 0, NULL);
    if (r == 0 && !*values)
        r = -ENOMEM;
    if (r < 0)
        r = _sl_tell(&diag, r);
    sl_bundle_free(b);
    sl_diag_free(&diag);
    return r;
}

/* The daemon's own: malloc'ed, or NULL with stderr told. */
static char *_sl_default_path(const struct sl_ctl *ctl)
{
    json_t *status = sl_ctl_call(ctl, "GET", "/v1/status", NULL);
    char *path = status ? strdup(sl_ctl_str(status, "policy")) : NULL;
    json_decref(status);
    return path;
}

/* ---- in words */

/* One value, cut: whole ones stand in --json. */
static int _sl_print_value(struct sl_buf *out, const json_t *v)
{
    enum { SL_SHOWN = 120 };
    SL_FREE char *text = v && !json_is_null(v) ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    struct sl_slice s = sl_slice_str(text ? text : "(not shown)");
    const size_t n = sl_ctl_cut(s, SL_SHOWN);
    int r = sl_ctl_escape(out, sl_slice(s.p, n), false);
    return r < 0 || n == s.n ? r : sl_buf_append(out, "...", 3);
}

static int _sl_print_changed(struct sl_buf *out, const json_t *c)
{
    const json_t *from = json_object_get(c, "from"), *to = json_object_get(c, "to");
    if (json_equal(from, to)) {
        int r = _sl_print_value(out, to);
        return r < 0 ? r : sl_buf_printf(out, " (its bytes differ)");
    }
    int r = _sl_print_value(out, from);
    if (r == 0)
        r = sl_buf_printf(out, " -> ");
    return r < 0 ? r : _sl_print_value(out, to);
}

static int _sl_print_change(struct sl_buf *out, const json_t *c)
{
    const char *kind = sl_ctl_str(c, "change");
    const char sign = (char)(*kind == 'a' ? '+' : *kind == 'r' ? '-' : '~');
    int r = sl_buf_printf(out, "%c ", sign);
    if (r == 0)
        r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(c, "pointer")), false);
    if (r == 0)
        r = sl_buf_printf(out, ": ");
    if (r == 0)
        r = sign == '~' ? _sl_print_changed(out, c)
                        : _sl_print_value(out, json_object_get(c, sign == '+' ? "to" : "from"));
    if (r == 0 && sign != '-') {
        r = sl_buf_printf(out, "  (");
        if (r == 0)
            r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(c, "file")), false);
        if (r == 0)
            r = sl_buf_printf(out, ":%.0f:%.0f)", sl_ctl_num(c, "line"), sl_ctl_num(c, "column"));
    }
    return r < 0 ? r : sl_buf_append(out, "\n", 1);
}

static int _sl_print(const struct sl_diff *d, double version)
{
    struct sl_buf SL_BUF out = {0};
    size_t i;
    json_t *c;
    int r = 0;
    json_array_foreach(d->changes, i, c) if (r == 0) r = _sl_print_change(&out, c);
    if (r == 0 && json_array_size(d->changes) == 0)
        r = sl_buf_printf(&out, "no difference: version %.0f in force is this policy\n", version);
    return r < 0 ? SL_CTL_FAILED : sl_ctl_print(&out, stdout);
}

static int _sl_report(const struct sl_ctl *ctl, const struct sl_diff *d, double version)
{
    const bool differs = json_array_size(d->changes) > 0;
    int r;
    if (ctl->json) {
        json_t *j =
            json_pack("{s:b, s:f, s:O}", "differs", differs, "version", version, "changes", d->changes);
        r = sl_ctl_print_json(j);
        json_decref(j);
    } else {
        r = _sl_print(d, version);
    }
    return r != SL_CTL_OK ? r : differs ? SL_CTL_DIFFERS : SL_CTL_OK;
}

int sl_ctl_diff(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *given[1];
    size_t n;
    int code = SL_CTL_FAILED;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, given, 1, &n))
        return SL_CTL_USAGE;
    SL_FREE char *path = n ? strdup(given[0]) : _sl_default_path(ctl);
    struct sl_diff d = {.changes = json_array()};
    json_t *policy = NULL;
    if (path && _sl_on_disk(path, &d.to) == 0 && _sl_in_force(ctl, &policy) == 0) {
        d.from = json_object_get(policy, "values");
        _sl_compare(&d);
        code = _sl_report(ctl, &d, sl_ctl_num(policy, "version"));
    }
    json_decref(policy);
    json_decref(d.to);
    json_decref(d.changes);
    return code;
}
