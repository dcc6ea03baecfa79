/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluicectl explain`: what would happen to a source, a consumer or a request, and why. The policy is read
 * and compiled as the daemon does it, and asked by the same code; what only the daemon knows (penalties, what
 * is left of limits) is asked of it where it answers. Nothing is debited, and no upstream hears of it.
 */
#include "ctl/explain_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define SL_HEADERS 32

/* ---- facts */

static void _sl_fact(struct sl_explain *x, const char *file, unsigned line, const char *fmt, va_list ap)
{
    char text[1024];
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    json_t *j = json_pack("{s:s+}", "says", text, "");
    if (j && line) {
        (void)json_object_set_new(j, "file", json_string(file));
        (void)json_object_set_new(j, "line", json_integer((json_int_t)line));
    }
    (void)json_array_append_new(x->facts, j);
}

void sl_explain_say(struct sl_explain *x, const struct sl_pos *pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _sl_fact(x, pos ? pos->file : "", pos ? pos->line : 0, fmt, ap);
    va_end(ap);
}

void sl_explain_say_at(struct sl_explain *x, const char *pointer, const char *fmt, ...)
{
    va_list ap;
    const json_t *v = json_object_get(x->values, pointer);
    if (!v)
        v = json_object_get(x->values, sl_arena_printf(&x->arena, "%s/0", pointer));
    va_start(ap, fmt);
    _sl_fact(x, sl_ctl_str(v, "file"), (unsigned)sl_ctl_num(v, "line"), fmt, ap);
    va_end(ap);
}

void sl_explain_verdict(struct sl_explain *x, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    x->verdict = sl_arena_strdup(&x->arena, sl_slice_str(text));
}

/* ---- words for values */

const char *sl_explain_rate(struct sl_explain *x, const struct sl_rate *r)
{
    const uint64_t s = r->per_ns / 1000000000u;
    return sl_arena_printf(&x->arena, s == 1 ? "%llu a second" : "%llu in %llu s",
                           (unsigned long long)r->count, (unsigned long long)s);
}

static const char *_sl_by(struct sl_explain *x, enum sl_limit_by by, const char *header)
{
    static const char *const words[] = {
        [SL_BY_CONSUMER] = "consumer", [SL_BY_IP] = "address", [SL_BY_CREDENTIAL] = "credential"};
    return by == SL_BY_HEADER ? sl_arena_printf(&x->arena, "header %s", header) : words[by];
}

void sl_explain_limit(struct sl_explain *x, const char *whose, const struct sl_rate_limit *l)
{
    const char *text = "";
    for (size_t i = 0; text && i < l->n_windows; i++) {
        const struct sl_window *w = &l->windows[i];
        text = sl_arena_printf(&x->arena, "%s%s%llu a %s", text, i ? ", " : "", (unsigned long long)w->limit,
                               w->name);
        if (text && w->capacity != w->limit)
            text = sl_arena_printf(&x->arena, "%s (%llu at once)", text, (unsigned long long)w->capacity);
    }
    if (l->n_windows)
        sl_explain_say(x, &l->pos, "%s limits to %s by %s%s; past it %u%s", whose, text ? text : "",
                       _sl_by(x, l->by, l->by_header), l->cluster ? ", over all hosts" : "", l->status,
                       l->shadow ? " would be answered (shadow: it is only counted)" : "");
}

void sl_explain_in_flight(struct sl_explain *x, const char *whose, const struct sl_in_flight *f)
{
    if (f->max)
        sl_explain_say(x, &f->pos, "%s limits to %u requests at once by %s; past it %u%s", whose, f->max,
                       _sl_by(x, f->by, f->by_header), f->status, f->shadow ? " (shadow)" : "");
}

/* ---- the policy, and the daemon */

static char *_sl_daemons_policy(const struct sl_ctl *ctl)
{
    json_t *status = sl_ctl_call(ctl, "GET", "/v1/status", NULL);
    const char *path = sl_ctl_str(status, "policy");
    char *out = *path ? strdup(path) : NULL;
    json_decref(status);
    return out;
}

static int _sl_load(struct sl_explain *x, const char *path)
{
    struct sl_diag diag;
    struct sl_buf SL_BUF text = {0};
    struct sl_buf SL_BUF shown = {0};
    sl_diag_init(&diag);
    int r = sl_bundle_load(path, 0, NULL, &diag, &x->bundle);
    if (r == 0)
        r = sl_snapshot_new(x->bundle, &diag, &x->s);
    if (r == 0)
        r = sl_policy_new(x->s, &diag, &x->policy);
    if (r == 0)
        r = sl_bundle_print_values(x->bundle, &text);
    if (r == 0)
        x->values = json_loadb(sl_buf_data(&text), sl_buf_len(&text), 0, NULL);
    else if (sl_diag_print(&diag, &text) == 0 && sl_ctl_escape(&shown, sl_buf_slice(&text), true) == 0)
        (void)sl_ctl_print(&shown, stderr);
    if (r < 0)
        (void)fprintf(stderr, "sluicectl: the policy cannot be explained: %s\n",
                      diag.errors ? "it has errors" : strerror(-r));
    sl_diag_free(&diag);
    return r;
}

/* ---- what was asked */

static int _sl_ask(struct sl_explain *x)
{
    const struct sl_slice what = sl_slice_str(x->what);
    const ssize_t space = sl_slice_chr(what, ' ');
    struct sl_ip ip;
    if (sl_ip_parse(what, &ip) == 0)
        sl_explain_source(x, &ip);
    else if (space > 0 && memmem(what.p, what.n, "://", 3))
        return sl_explain_request(x, sl_slice(what.p, (size_t)space),
                                  sl_slice_trim(sl_slice(what.p + space, what.n - (size_t)space)))
                   ? 0
                   : SL_CTL_USAGE;
    else
        sl_explain_consumer(x, x->what);
    return 0;
}

static int _sl_print(const struct sl_explain *x, struct sl_buf *out)
{
    struct sl_buf SL_BUF raw = {0};
    size_t i;
    json_t *f;
    int r = sl_buf_printf(&raw, "%s: %s\n", x->what, x->verdict ? x->verdict : "");
    json_array_foreach(x->facts, i, f)
    {
        if (r == 0)
            r = sl_buf_printf(&raw, "  %s", sl_ctl_str(f, "says"));
        if (r == 0 && sl_ctl_num(f, "line") > 0)
            r = sl_buf_printf(&raw, "  (%s:%.0f)", sl_ctl_str(f, "file"), sl_ctl_num(f, "line"));
        if (r == 0)
            r = sl_buf_append(&raw, "\n", 1);
    }
    return r < 0 ? r : sl_ctl_escape(out, sl_buf_slice(&raw), true);
}

static int _sl_report(struct sl_explain *x)
{
    struct sl_buf SL_BUF text = {0};
    if (!x->ctl->json)
        return _sl_print(x, &text) < 0 ? SL_CTL_FAILED : sl_ctl_print(&text, stdout);
    json_t *j = json_pack("{s:s, s:s, s:b, s:O}", "asked", x->what, "verdict", x->verdict ? x->verdict : "",
                          "live", x->penalties != NULL, "because", x->facts);
    const int r = sl_ctl_print_json(j);
    json_decref(j);
    return r;
}

static void _sl_free(struct sl_explain *x)
{
    sl_policy_free(x->policy);
    sl_snapshot_unref(x->s);
    sl_bundle_free(x->bundle);
    json_decref(x->values);
    json_decref(x->penalties);
    json_decref(x->facts);
    sl_arena_free(&x->arena);
}

/* -H may stand many times, and so is taken out before the options are read. */
static int _sl_headers(int argc, char **argv, struct sl_explain *x)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-H") != 0) {
            argv[n++] = argv[i];
            continue;
        }
        if (i + 1 == argc || x->n_headers == SL_HEADERS)
            return -1;
        x->headers[x->n_headers++] = argv[++i];
    }
    argv[n] = NULL;
    return n;
}

int sl_ctl_explain(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *path = NULL, *from = NULL, *what[1], *headers[SL_HEADERS];
    const struct sl_ctl_option options[] = {{"--policy", &path, NULL}, {"--from", &from, NULL}};
    struct sl_ctl quiet = *ctl;
    struct sl_explain x = {.ctl = ctl, .headers = headers, .facts = json_array()};
    size_t n = 0;
    int code = SL_CTL_USAGE;
    sl_arena_init(&x.arena, 0);
    argc = _sl_headers(argc, argv, &x);
    quiet.quiet = path != NULL;
    if (argc < 0)
        code = sl_ctl_usage(argv[0], "explain: -H wants a header, and at most %d are taken", SL_HEADERS);
    else if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), what, 1, &n) == 0 && n == 0)
        code = sl_ctl_usage(argv[0], "explain: what? An address, a consumer, or \"GET https://host/path\"");
    if (n) {
        quiet.quiet = true;
        x.what = what[0];
        x.from = from;
        if (sl_ctl_ping(ctl->socket) == 0)
            x.penalties = sl_ctl_call(&quiet, "GET", "/v1/penalties", NULL);
        SL_FREE char *own = path ? strdup(path) : _sl_daemons_policy(ctl);
        code = own && _sl_load(&x, own) == 0 ? _sl_ask(&x) : SL_CTL_FAILED;
        if (code == 0)
            code = _sl_report(&x);
    }
    _sl_free(&x);
    return code;
}
