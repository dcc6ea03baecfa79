/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that need no daemon: check a policy exactly as the daemon would, and print the language's schema. */
#include "config/config.h"
#include "ctl/ctl_priv.h"
#include "policy/policy.h"

#include <errno.h>
#include <string.h>

struct sl_checked {
    struct sl_bundle *bundle;
    struct sl_snapshot *snapshot;
    struct sl_policy *policy;
};

static void _sl_checked_free(struct sl_checked *c)
{
    sl_policy_free(c->policy);
    sl_snapshot_unref(c->snapshot);
    sl_bundle_free(c->bundle);
}

/* The same three steps as the supervisor's, so that what passes here is accepted there. */
static int _sl_check(const char *path, struct sl_diag *diag, struct sl_checked *c)
{
    int r = sl_bundle_load(path, 0, NULL, diag, &c->bundle);
    if (r == 0)
        r = sl_snapshot_new(c->bundle, diag, &c->snapshot);
    if (r == 0)
        r = sl_policy_check(c->snapshot, diag, &c->policy);
    return r;
}

static json_t *_sl_diag_json(const struct sl_diag *d)
{
    json_t *all = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const struct sl_diag_entry *e = &d->v[i];
        (void)json_array_append_new(all, json_pack("{s:s, s:s*, s:i, s:i, s:s*, s:s}", "severity",
                                                   e->severity == SL_SEV_ERROR ? "error" : "warning", "file",
                                                   e->pos.file, "line", (int)e->pos.line, "column",
                                                   (int)e->pos.column, "pointer", e->pos.pointer, "text",
                                                   e->text));
    }
    return all;
}

static int _sl_report_json(int r, const struct sl_diag *d, const struct sl_checked *c)
{
    json_t *j = json_pack("{s:b, s:i, s:i, s:o}", "ok", r == 0, "errors", (int)d->errors, "warnings",
                          (int)d->warnings, "diagnostics", _sl_diag_json(d));
    if (r == 0 && j)
        (void)json_object_set_new(j, "hash", json_string(c->snapshot->hash));
    int printed = sl_ctl_print_json(j);
    json_decref(j);
    return r == 0 ? printed : SL_CTL_FAILED;
}

static int _sl_report(int r, const char *path, const struct sl_diag *d, const struct sl_checked *c)
{
    struct sl_buf SL_BUF raw = {0};
    struct sl_buf SL_BUF text = {0};
    int p = sl_diag_print(d, &raw);
    if (p == 0)
        p = sl_ctl_escape(&text, sl_buf_slice(&raw), true);
    if (p < 0 || sl_ctl_print(&text, stderr))
        return SL_CTL_FAILED;
    if (r < 0) {
        if (d->errors == 0)
            (void)fprintf(stderr, "sluicectl: cannot check the policy: %s\n", strerror(-r));
        else
            (void)fprintf(stderr, "sluicectl: the policy has %u error%s\n", d->errors,
                          d->errors == 1 ? "" : "s");
        return SL_CTL_FAILED;
    }
    const struct sl_snapshot *s = c->snapshot;
    text.start = text.end = 0;
    p = sl_ctl_escape(&text, sl_slice_str(path), false);
    if (p == 0)
        p = sl_buf_printf(&text,
                          ": ok (%zu listeners, %zu routes, %zu upstreams, %zu consumers; %u warnings)\n",
                          s->n_listeners, s->n_routes, s->n_upstreams, s->n_consumers, d->warnings);
    return p < 0 ? SL_CTL_FAILED : sl_ctl_print(&text, stdout);
}

int sl_ctl_check(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *path[1];
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, path, 1, &n))
        return SL_CTL_USAGE;
    if (n == 0)
        return sl_ctl_usage(argv[0], "check: which policy? Give a file or a directory");
    struct sl_diag diag;
    struct sl_checked checked = {0};
    sl_diag_init(&diag);
    int r = _sl_check(path[0], &diag, &checked);
    int code = ctl->json ? _sl_report_json(r, &diag, &checked) : _sl_report(r, path[0], &diag, &checked);
    _sl_checked_free(&checked);
    sl_diag_free(&diag);
    return code;
}

int sl_ctl_schema(const struct sl_ctl *ctl, int argc, char **argv)
{
    (void)ctl;
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, NULL, 0, &n))
        return SL_CTL_USAGE;
    struct sl_buf SL_BUF out = {0};
    int r = sl_schema_print(&out);
    if (r < 0) {
        (void)fprintf(stderr, "sluicectl: cannot print the schema: %s\n", strerror(-r));
        return SL_CTL_FAILED;
    }
    return sl_ctl_print(&out, stdout);
}
