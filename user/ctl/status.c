/* SPDX-License-Identifier: Apache-2.0 */
/* What stands now: processes, interfaces and policy; and the penalties that hold. */
#include "base/arena.h"
#include "ctl/ctl_priv.h"

#include <string.h>

static const char *_sl_pid(struct sl_arena *a, const json_t *process)
{
    return sl_arena_printf(a, "%.0f", sl_ctl_num(process, "pid"));
}

static int _sl_process_row(struct sl_ctl_table *t, const char *name, const json_t *process)
{
    const json_t *version = json_object_get(process, "version"),
                 *restarts = json_object_get(process, "restarts");
    struct sl_arena *a = t->arena;
    return sl_ctl_table_row(
        t, (const char *const[]){name, _sl_pid(a, process),
                                 version ? sl_arena_printf(a, "%.0f", json_number_value(version)) : NULL,
                                 restarts ? sl_arena_printf(a, "%.0f", json_number_value(restarts)) : NULL});
}

static int _sl_processes(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"process", ">pid", ">policy", ">restarts"};
    struct sl_ctl_table t;
    size_t i;
    json_t *worker;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    int r = _sl_process_row(&t, "supervisor", json_object_get(status, "supervisor"));
    if (r == 0)
        r = _sl_process_row(&t, "controller", json_object_get(status, "controller"));
    json_array_foreach(json_object_get(status, "workers"), i, worker)
    {
        if (r == 0)
            r = _sl_process_row(&t, sl_arena_printf(a, "worker %.0f", sl_ctl_num(worker, "index")), worker);
    }
    if (r == 0)
        r = sl_ctl_table_print(&t, 2, out);
    sl_ctl_table_free(&t);
    return r;
}

/* The table behind a blank line, unless it is empty or was not made whole (r < 0, which is handed on); frees
 * it. */
static int _sl_section(struct sl_ctl_table *t, int r, struct sl_buf *out)
{
    if (r == 0 && t->rows)
        r = sl_buf_append(out, "\n", 1);
    if (r == 0 && t->rows)
        r = sl_ctl_table_print(t, 2, out);
    sl_ctl_table_free(t);
    return r;
}

static int _sl_syn_cookies(const json_t *cookies, struct sl_buf *out)
{
    static const struct {
        const char *state, *text;
    } texts[] = {{"on", "on"},
                 {"idle", "idle: kernel.per_listener limits no new connections"},
                 {"missing", "MISSING: "}};
    const char *state = sl_ctl_str(cookies, "state");
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        if (strcmp(state, texts[i].state) != 0)
            continue;
        int r = sl_buf_printf(out, "  SYN cookies (");
        if (r == 0)
            r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(cookies, "policy")), false);
        if (r == 0)
            r = sl_buf_printf(out, "): %s", texts[i].text);
        if (r == 0)
            r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(cookies, "why")), false);
        return r ? r : sl_buf_append(out, "\n", 1);
    }
    return 0;
}

static int _sl_interfaces(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"interface", "xdp", "tc"};
    const json_t *kernel = json_object_get(status, "kernel"), *list = json_object_get(kernel, "interfaces");
    struct sl_ctl_table t;
    size_t i;
    json_t *item;
    if (json_array_size(list) == 0)
        return sl_buf_printf(out, "\n  kernel guard: off\n");
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    int r = sl_buf_printf(out, "\n");
    json_array_foreach(list, i, item)
    {
        if (r == 0)
            r = sl_ctl_table_row(&t, (const char *const[]){sl_ctl_str(item, "interface"),
                                                           sl_ctl_str(item, "xdp"), sl_ctl_str(item, "tc")});
    }
    if (r == 0)
        r = sl_ctl_table_print(&t, 2, out);
    if (r == 0 && json_is_true(json_object_get(kernel, "shadow")))
        r = sl_buf_printf(out, "  shadow mode: drops are counted, nothing is dropped\n");
    if (r == 0)
        r = _sl_syn_cookies(json_object_get(kernel, "syn_cookies"), out);
    sl_ctl_table_free(&t);
    return r;
}

static int _sl_features(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"kernel feature", "state", "without it"};
    const json_t *list = json_object_get(json_object_get(status, "kernel"), "features");
    struct sl_ctl_table t;
    size_t i;
    json_t *f;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(list, i, f)
    {
        bool present = json_is_true(json_object_get(f, "present"));
        if (r == 0)
            r = sl_ctl_table_row(&t,
                                 (const char *const[]){sl_ctl_str(f, "name"), present ? "present" : "MISSING",
                                                       sl_ctl_str(f, "without")});
    }
    return _sl_section(&t, r, out);
}

static int _sl_trial(const json_t *status, struct sl_buf *out)
{
    const json_t *trial = json_object_get(status, "trial");
    char left[SL_CTL_UNIT];
    if (!json_is_true(json_object_get(trial, "waits")))
        return 0;
    return sl_buf_printf(out, "on trial: policy %.0f comes back in %s unless `sluicectl confirm`\n",
                         sl_ctl_num(trial, "former"), sl_ctl_span(sl_ctl_num(trial, "left_ms") / 1000, left));
}

#define SL_EXPIRES_SOON (14 * 86400) /* s */

/* Those that end soon or have; nothing where all is well. */
static int _sl_certificates(const json_t *status, struct sl_buf *out)
{
    size_t i;
    json_t *c;
    int r = 0;
    json_array_foreach(json_object_get(status, "certificates"), i, c)
    {
        const double left = sl_ctl_num(c, "left_s");
        char span[SL_CTL_UNIT];
        if (left >= SL_EXPIRES_SOON || r < 0)
            continue;
        r = sl_buf_printf(out, "WARNING: certificate ");
        if (r == 0)
            r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(c, "certificate")), false);
        if (r == 0)
            r = sl_buf_printf(out, " of listener %s %s%s\n", sl_ctl_str(c, "listener"),
                              left > 0 ? "ends in " : "has ended", left > 0 ? sl_ctl_span(left, span) : "");
    }
    return r;
}

/* Keys of token issuers that are fetched; error: of the last fetch, where it failed. */
static int _sl_keys(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"provider", ">keys", ">age", ">failed", "url", "error"};
    struct sl_ctl_table t;
    size_t i;
    json_t *p;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(json_object_get(status, "jwks"), i, p)
    {
        char age[SL_CTL_UNIT] = "never";
        if (json_is_number(json_object_get(p, "age_seconds")))
            (void)sl_ctl_span(sl_ctl_num(p, "age_seconds"), age);
        if (r == 0)
            r = sl_ctl_table_row(
                &t, (const char *const[]){
                        sl_ctl_str(p, "provider"), sl_arena_printf(a, "%.0f", sl_ctl_num(p, "keys")),
                        sl_arena_strdup(a, sl_slice_str(age)),
                        sl_arena_printf(a, "%.0f", sl_ctl_num(p, "failed")), sl_ctl_str(p, "url"),
                        *sl_ctl_str(p, "error") ? sl_ctl_str(p, "error") : NULL});
    }
    return _sl_section(&t, r, out);
}

/* Servers that requests wait for: of introspection, directories, tokens for upstreams; error: of the last
 * question, where it failed. */
static int _sl_servers(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"server for", ">answered", ">failed", ">waiting", "url", "error"};
    struct sl_ctl_table t;
    size_t i;
    json_t *s;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(json_object_get(status, "auth_servers"), i, s)
    {
        const double waiting = sl_ctl_num(s, "running") + sl_ctl_num(s, "queued");
        if (r == 0)
            r = sl_ctl_table_row(
                &t, (const char *const[]){sl_ctl_str(s, "provider"),
                                          sl_arena_printf(a, "%.0f", sl_ctl_num(s, "answered")),
                                          sl_arena_printf(a, "%.0f", sl_ctl_num(s, "failed")),
                                          sl_arena_printf(a, "%.0f", waiting), sl_ctl_str(s, "url"),
                                          *sl_ctl_str(s, "error") ? sl_ctl_str(s, "error") : NULL});
    }
    return _sl_section(&t, r, out);
}

/* Ranges of allow and deny; nothing where there are none. */
static int _sl_lists(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"list", "family", ">policy", ">operator", ">file"};
    const json_t *lists = json_object_get(json_object_get(status, "kernel"), "lists");
    struct sl_ctl_table t;
    size_t i;
    json_t *item;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(lists, i, item)
    {
        const double n[] = {sl_ctl_num(item, "policy"), sl_ctl_num(item, "operator"),
                            sl_ctl_num(item, "file")};
        if (r < 0 || n[0] + n[1] + n[2] < 1)
            continue;
        r = sl_ctl_table_row(&t, (const char *const[]){sl_ctl_str(item, "list"), sl_ctl_str(item, "family"),
                                                       sl_arena_printf(a, "%.0f", n[0]),
                                                       sl_arena_printf(a, "%.0f", n[1]),
                                                       sl_arena_printf(a, "%.0f", n[2])});
    }
    return _sl_section(&t, r, out);
}

/* The maps that hold something, and the programs where the kernel counts their time. */
static int _sl_maps(const json_t *kernel, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"map", ">entries", ">of", ">full"};
    struct sl_ctl_table t;
    size_t i;
    json_t *map;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(json_object_get(kernel, "maps"), i, map)
    {
        const double n = sl_ctl_num(map, "entries"), max = sl_ctl_num(map, "max");
        if (r == 0 && n > 0 && max > 0)
            r = sl_ctl_table_row(&t,
                                 (const char *const[]){sl_ctl_str(map, "map"), sl_arena_printf(a, "%.0f", n),
                                                       sl_arena_printf(a, "%.0f", max),
                                                       sl_arena_printf(a, "%.0f %%", 100 * n / max)});
    }
    return _sl_section(&t, r, out);
}

static int _sl_programs(const json_t *kernel, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"program", ">runs", ">ns a run"};
    struct sl_ctl_table t;
    size_t i;
    json_t *p;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(json_object_get(kernel, "programs"), i, p)
    {
        const double runs = sl_ctl_num(p, "runs");
        if (r == 0 && runs > 0)
            r = sl_ctl_table_row(
                &t, (const char *const[]){sl_ctl_str(p, "program"), sl_arena_printf(a, "%.0f", runs),
                                          sl_arena_printf(a, "%.0f", sl_ctl_num(p, "run_ns") / runs)});
    }
    return _sl_section(&t, r, out);
}

static int _sl_cluster_penalties(const json_t *p, struct sl_buf *out)
{
    double refused = 0;
    const char *why;
    json_t *n;
    if (!p)
        return 0;
    json_object_foreach(json_object_get(p, "refused"), why, n) refused +=
        json_is_number(n) ? json_number_value(n) : 0;
    int r = sl_buf_printf(out, "         as ");
    if (r == 0)
        r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(p, "host")), false);
    return r < 0 ? r
                 : sl_buf_printf(out, ": %.0f penalties told, %.0f of others taken, %.0f refused\n",
                                 sl_ctl_num(p, "told"), sl_ctl_num(p, "taken"), refused);
}

static int _sl_cluster(const json_t *status, struct sl_buf *out)
{
    const json_t *cluster = json_object_get(status, "cluster");
    if (!cluster)
        return 0;
    int r = sl_buf_printf(out, "cluster  redis ");
    if (r == 0)
        r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(cluster, "redis")), false);
    if (r == 0)
        r = sl_buf_printf(out, json_is_true(json_object_get(cluster, "up"))
                                   ? ": limits are shared\n"
                                   : ": does not answer, limits are this host's alone\n");
    return r < 0 ? r : _sl_cluster_penalties(json_object_get(cluster, "penalties"), out);
}

/* A row for each key that the gateway signs by, or publishes; nothing where there are none. */
static int _sl_signers(const json_t *status, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"signer", "key", "algorithm", ""};
    struct sl_ctl_table t;
    size_t i, k;
    json_t *signer, *key;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(json_object_get(status, "signers"), i, signer)
    {
        json_array_foreach(json_object_get(signer, "keys"), k, key) if (r == 0) r =
            sl_ctl_table_row(&t, (const char *const[]){sl_ctl_str(signer, "signer"), sl_ctl_str(key, "kid"),
                                                       sl_ctl_str(key, "alg"), k ? "published" : "signs"});
    }
    return _sl_section(&t, r, out);
}

static int _sl_status_text(const json_t *status, struct sl_buf *out)
{
    struct sl_arena arena;
    char up[SL_CTL_UNIT];
    sl_arena_init(&arena, 0);
    int r = sl_buf_printf(out, "policy %.0f  up %s", sl_ctl_num(status, "version"),
                          sl_ctl_span(sl_ctl_num(status, "uptime_seconds"), up));
    if (r == 0 && *sl_ctl_str(status, "hash"))
        r = sl_buf_append(out, "  hash ", 7);
    if (r == 0)
        r = sl_ctl_escape(out, sl_slice(sl_ctl_str(status, "hash"), strnlen(sl_ctl_str(status, "hash"), 12)),
                          false);
    if (r == 0)
        r = sl_buf_append(out, "\n", 1);
    if (r == 0)
        r = _sl_trial(status, out);
    if (r == 0)
        r = _sl_certificates(status, out);
    if (r == 0)
        r = _sl_cluster(status, out);
    if (r == 0)
        r = sl_buf_append(out, "\n", 1);
    if (r == 0)
        r = _sl_processes(status, &arena, out);
    if (r == 0)
        r = _sl_signers(status, &arena, out);
    if (r == 0)
        r = _sl_interfaces(status, &arena, out);
    if (r == 0)
        r = _sl_features(status, &arena, out);
    if (r == 0)
        r = _sl_keys(status, &arena, out);
    if (r == 0)
        r = _sl_servers(status, &arena, out);
    if (r == 0)
        r = _sl_lists(status, &arena, out);
    if (r == 0)
        r = _sl_maps(json_object_get(status, "kernel"), &arena, out);
    if (r == 0)
        r = _sl_programs(json_object_get(status, "kernel"), &arena, out);
    sl_arena_free(&arena);
    return r;
}

static const char *_sl_seconds(struct sl_arena *a, double ms)
{
    char span[SL_CTL_UNIT];
    return sl_arena_strdup(a, sl_slice_str(sl_ctl_span(ms / 1000, span)));
}

static const char *_sl_or_none(const char *s)
{
    return *s ? s : NULL;
}

/* Operators' denies: for ever, where nothing is said to be left. */
static int _sl_denies_rows(const json_t *list, struct sl_ctl_table *t, struct sl_arena *a)
{
    size_t i;
    json_t *d;
    int r = 0;
    json_array_foreach(list, i, d)
    {
        const bool ends = json_is_number(json_object_get(d, "left_ms"));
        if (r == 0)
            r = sl_ctl_table_row(
                t, (const char *const[]){sl_ctl_str(d, "source"), "deny",
                                         ends ? _sl_seconds(a, sl_ctl_num(d, "left_ms")) : NULL, NULL, NULL,
                                         NULL, "operator", _sl_or_none(sl_ctl_str(d, "from"))});
    }
    return r;
}

/* from: the host of the cluster that it came from. */
static int _sl_penalties_text(const json_t *all, struct sl_buf *out)
{
    static const char *const titles[] = {"source",      "drops",    ">left", ">level",
                                         ">rejections", "consumer", "rule",  "from"};
    const json_t *list = json_object_get(all, "penalties"), *denies = json_object_get(all, "denies");
    struct sl_ctl_table t;
    struct sl_arena arena;
    size_t i;
    json_t *p;
    int r = 0;
    if (json_array_size(list) + json_array_size(denies) == 0)
        return sl_buf_printf(out, "no penalties\n");
    sl_arena_init(&arena, 0);
    sl_ctl_table_init(&t, &arena, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(list, i, p)
    {
        if (r == 0)
            r = sl_ctl_table_row(
                &t, (const char *const[]){sl_ctl_str(p, "source"), sl_ctl_str(p, "effect"),
                                          _sl_seconds(&arena, sl_ctl_num(p, "left_ms")),
                                          sl_arena_printf(&arena, "%.0f", sl_ctl_num(p, "level")),
                                          sl_arena_printf(&arena, "%.0f", sl_ctl_num(p, "rejections")),
                                          _sl_or_none(sl_ctl_str(p, "consumer")),
                                          _sl_or_none(sl_ctl_str(p, "rule")),
                                          _sl_or_none(sl_ctl_str(p, "from"))});
    }
    if (r == 0)
        r = _sl_denies_rows(denies, &t, &arena);
    if (r == 0)
        r = sl_ctl_table_print(&t, 0, out);
    sl_ctl_table_free(&t);
    sl_arena_free(&arena);
    return r;
}

/* GET path, printed as JSON or by text(). */
static int _sl_show(const struct sl_ctl *ctl, int argc, char **argv, const char *path, const char *member,
                    int (*text)(const json_t *, struct sl_buf *))
{
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, NULL, 0, &n))
        return SL_CTL_USAGE;
    json_t *j = sl_ctl_call(ctl, "GET", path, NULL);
    if (!j)
        return SL_CTL_FAILED;
    struct sl_buf SL_BUF raw = {0};
    int r;
    if (ctl->json)
        r = sl_ctl_print_json(j);
    else
        r = text(member ? json_object_get(j, member) : j, &raw) < 0 ? SL_CTL_FAILED
                                                                    : sl_ctl_print(&raw, stdout);
    json_decref(j);
    return r;
}

int sl_ctl_status(const struct sl_ctl *ctl, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "upstreams") == 0)
        return _sl_show(ctl, 1, argv, "/v1/upstreams", "upstreams", sl_ctl_upstreams_text);
    return _sl_show(ctl, argc, argv, "/v1/status", NULL, _sl_status_text);
}

int sl_ctl_penalties(const struct sl_ctl *ctl, int argc, char **argv)
{
    return _sl_show(ctl, argc, argv, "/v1/penalties", NULL, _sl_penalties_text);
}
