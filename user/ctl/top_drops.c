/* SPDX-License-Identifier: Apache-2.0 */
/* `top drops` and `top sources`: why the kernel drops, whom, and who sends most. Pure, as top_view.c is. */
#include "base/arena.h"
#include "base/clock.h"
#include "ctl/sample_priv.h"
#include "ctl/top_priv.h"

#include <errno.h>
#include <string.h>

#define SL_LATEST 15 /* samples shown where there is no end of the screen */

static double _sl_seconds(const struct sl_top_sample *before, const struct sl_top_sample *now)
{
    const double s = (double)(now->at_ns - before->at_ns) / (double)SL_NS_PER_SEC;
    return s > 0.001 ? s : 0.001;
}

static const char *_sl_n(struct sl_arena *a, double v)
{
    char text[SL_CTL_UNIT];
    return sl_arena_strdup(a, sl_slice_str(sl_ctl_count(v, text)));
}

/* ---- reasons */

struct sl_drop {
    const char *name;
    double packets, would, rate, would_rate;
};

/* A counter that fell was begun anew: all of it is of this interval. */
static double _sl_rate(const json_t *before, const json_t *now, const char *key, double seconds)
{
    const double was = sl_ctl_num(before, key), is = sl_ctl_num(now, key);
    return (is < was ? is : is - was) / seconds;
}

static int _sl_by_rate(const void *a, const void *b)
{
    const struct sl_drop *x = a, *y = b;
    const double p = x->rate + x->would_rate, q = y->rate + y->would_rate;
    if (p != q)
        return p < q ? 1 : -1;
    return x->packets + x->would < y->packets + y->would ? 1 : -1;
}

/* Those that ever dropped, most first. */
static size_t _sl_drops(const struct sl_top_sample *before, const struct sl_top_sample *now,
                        struct sl_drop *out, size_t max)
{
    const json_t *was = json_object_get(before->top, "kernel");
    const double seconds = _sl_seconds(before, now);
    const char *name;
    json_t *j;
    size_t n = 0;
    json_object_foreach(json_object_get(now->top, "kernel"), name, j)
    {
        const json_t *old = json_object_get(was, name);
        if (n == max || !json_is_true(json_object_get(j, "drops")) ||
            sl_ctl_num(j, "packets") + sl_ctl_num(j, "would_drop_packets") <= 0)
            continue;
        out[n++] = (struct sl_drop){name, sl_ctl_num(j, "packets"), sl_ctl_num(j, "would_drop_packets"),
                                    _sl_rate(old, j, "packets", seconds),
                                    _sl_rate(old, j, "would_drop_packets", seconds)};
    }
    qsort(out, n, sizeof(*out), _sl_by_rate);
    return n;
}

static int _sl_reasons_text(const struct sl_drop *d, size_t n, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"reason", ">drops/s", ">would/s", ">dropped", ">would drop"};
    struct sl_ctl_table t;
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    for (size_t i = 0; r == 0 && i < n; i++)
        r = sl_ctl_table_row(&t,
                             (const char *const[]){d[i].name, _sl_n(a, d[i].rate), _sl_n(a, d[i].would_rate),
                                                   _sl_n(a, d[i].packets), _sl_n(a, d[i].would)});
    if (r == 0)
        r = sl_ctl_table_print(&t, 0, out);
    sl_ctl_table_free(&t);
    return r;
}

/* ---- samples */

static int _sl_sample_row(struct sl_ctl_table *t, const json_t *s)
{
    char time[SL_ISO_LEN], from[SL_SAMPLE_ENDPOINT], to[SL_SAMPLE_ENDPOINT], kind[SL_SAMPLE_KIND];
    sl_wall_iso((uint64_t)json_integer_value(json_object_get(s, "time_ns")), time);
    sl_sample_endpoint(s, true, from);
    sl_sample_endpoint(s, false, to);
    return sl_ctl_table_row(t, (const char *const[]){time, sl_ctl_str(s, "reason"), from, to,
                                                     sl_sample_kind(s, kind), sl_ctl_str(s, "listener")});
}

/* The latest first. */
static int _sl_samples_text(const json_t *samples, size_t room, struct sl_arena *a, struct sl_buf *out)
{
    static const char *const titles[] = {"sampled at",  "reason", "source",
                                         "destination", "packet", "listener"};
    struct sl_ctl_table t;
    size_t n = json_array_size(samples);
    int r = 0;
    sl_ctl_table_init(&t, a, titles, SL_ARRAY_LEN(titles));
    for (; r == 0 && n > 0 && t.rows < room; n--)
        r = _sl_sample_row(&t, json_array_get(samples, n - 1));
    if (r == 0 && t.rows)
        r = sl_buf_append(out, "\n", 1);
    if (r == 0 && t.rows)
        r = sl_ctl_table_print(&t, 0, out);
    sl_ctl_table_free(&t);
    return r;
}

int sl_top_drops_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                      struct sl_buf *out)
{
    struct sl_arena a;
    struct sl_drop d[64];
    size_t n = _sl_drops(before, now, d, SL_ARRAY_LEN(d)), room = SL_LATEST;
    if (rows) { /* titles, and the line between */
        n = SL_MIN(n, rows > 1 ? (size_t)rows - 1 : 0);
        room = rows > n + 3 ? rows - n - 3 : 0;
    }
    if (n == 0)
        return sl_buf_printf(out, "nothing was dropped\n");
    sl_arena_init(&a, 0);
    int r = _sl_reasons_text(d, n, &a, out);
    if (r == 0 && room)
        r = _sl_samples_text(json_object_get(now->more, "samples"), room, &a, out);
    sl_arena_free(&a);
    return r;
}

json_t *sl_top_drops_json(const struct sl_top_sample *before, const struct sl_top_sample *now)
{
    struct sl_drop d[64];
    const size_t n = _sl_drops(before, now, d, SL_ARRAY_LEN(d));
    json_t *reasons = json_object(), *samples = json_object_get(now->more, "samples");
    for (size_t i = 0; i < n; i++)
        (void)json_object_set_new(reasons, d[i].name,
                                  json_pack("{s:f, s:f, s:f, s:f}", "packets_per_second", d[i].rate,
                                            "would_drop_per_second", d[i].would_rate, "packets", d[i].packets,
                                            "would_drop_packets", d[i].would));
    return json_pack("{s:f, s:o, s:o}", "seconds", _sl_seconds(before, now), "reasons", reasons, "samples",
                     samples ? json_incref(samples) : json_array());
}

/* ---- sources */

static int _sl_entries_text(const struct sl_top_sample *now, const char *key, unsigned rows,
                            struct sl_buf *out)
{
    const char *const titles[] = {key, ">packets/s", ">at least", ">at most"};
    const json_t *list = json_object_get(now->more, key);
    const double seconds = SL_MAX(sl_ctl_num(now->more, "seconds"), 1.0);
    size_t room = rows ? (rows > 2 ? rows - 2 : 0) : 20;
    struct sl_arena a;
    struct sl_ctl_table t;
    int r = sl_buf_printf(out, "%s packets of the last %.0f s, by source\n",
                          strcmp(sl_ctl_str(now->more, "counted"), "all") == 0 ? "all" : "dropped", seconds);
    sl_arena_init(&a, 0);
    sl_ctl_table_init(&t, &a, titles, SL_ARRAY_LEN(titles));
    for (size_t i = 0; r == 0 && i < room && i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        const double least = sl_ctl_num(e, "packets_at_least"), most = sl_ctl_num(e, "packets_at_most");
        r = sl_ctl_table_row(&t, (const char *const[]){sl_ctl_str(e, "source"),
                                                       _sl_n(&a, (least + most) / 2 / seconds),
                                                       _sl_n(&a, least), _sl_n(&a, most)});
    }
    if (r == 0)
        r = sl_ctl_table_print(&t, 0, out);
    sl_ctl_table_free(&t);
    sl_arena_free(&a);
    return r;
}

int sl_top_sources_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                        struct sl_buf *out)
{
    (void)before;
    return _sl_entries_text(now, "sources", rows, out);
}

int sl_top_prefixes_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                         struct sl_buf *out)
{
    (void)before;
    return _sl_entries_text(now, "prefixes", rows, out);
}

json_t *sl_top_sources_json(const struct sl_top_sample *before, const struct sl_top_sample *now)
{
    (void)before;
    return json_incref(now->more);
}
