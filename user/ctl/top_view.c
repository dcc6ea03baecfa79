/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two samples in, a screen of text out. The rates are a tree of the same shape as the counters, so every
 * number is found twice under one path: in `total` and, per second, in `rate`. What the daemon does not send
 * reads as 0.
 */
#include "base/arena.h"
#include "ctl/top_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define SL_VERDICTS 64

struct sl_view {
    struct sl_arena arena;
    const json_t *total, *rate;
    unsigned rows; /* left on the screen; 0: no end */
    bool bounded;
    struct sl_buf *out;
};

/* ---- rates */
static json_t *_sl_rate_tree(const json_t *before, const json_t *now, double seconds)
{
    if (json_is_number(now)) {
        double d = json_number_value(now) - json_number_value(before);
        /* a counter that fell was begun anew: all of it is of this interval */
        return json_real((d < 0 ? json_number_value(now) : d) / seconds);
    }
    if (json_is_array(now)) {
        json_t *out = json_array();
        for (size_t i = 0; out && i < json_array_size(now); i++)
            (void)json_array_append_new(
                out, _sl_rate_tree(json_array_get(before, i), json_array_get(now, i), seconds));
        return out;
    }
    if (!json_is_object(now))
        return json_null();
    json_t *out = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        (void)json_object_set_new(out, key, _sl_rate_tree(json_object_get(before, key), value, seconds));
    }
    return out;
}

static double _sl_seconds(const struct sl_top_sample *before, const struct sl_top_sample *now)
{
    double s = (double)(now->at_ns - before->at_ns) / (double)SL_NS_PER_SEC;
    return s > 0.001 ? s : 0.001;
}

static json_t *_sl_rates(const struct sl_top_sample *before, const struct sl_top_sample *now)
{
    if (before->top == now->top) /* the first screen: there is no interval yet */
        return json_object();
    return _sl_rate_tree(before->top, now->top, _sl_seconds(before, now));
}

json_t *sl_top_json(const struct sl_top_sample *before, const struct sl_top_sample *now)
{
    return json_pack("{s:f, s:o, s:O}", "seconds", _sl_seconds(before, now), "rates", _sl_rates(before, now),
                     "totals", now->top);
}

/* ---- cells */
static const char *_sl_cell(struct sl_view *v, const char *(*unit)(double, char *), double value)
{
    char text[SL_CTL_UNIT];
    return sl_arena_strdup(&v->arena, sl_slice_str(unit(value, text)));
}

static const char *_sl_n(struct sl_view *v, double value)
{
    return _sl_cell(v, sl_ctl_count, value);
}

/* Bytes a second */
static const char *_sl_b(struct sl_view *v, double value)
{
    return _sl_cell(v, sl_ctl_bytes, value);
}

static const json_t *_sl_at(const json_t *j, const char *a, const char *b)
{
    return json_object_get(json_object_get(j, a), b);
}

/* Prints the table after a blank line. On a screen it takes at most half of what is left, the last one all of
 * it, so that a long section hides no other; rows that do not fit are counted in its last line. */
static int _sl_section(struct sl_view *v, struct sl_ctl_table *t, bool last)
{
    size_t all = t->rows, room = all;
    int r = 0;
    if (v->bounded) {
        unsigned lines = last ? v->rows : SL_MIN(v->rows, SL_MAX(3u, v->rows / 2));
        room = lines > 2 ? lines - 2 : 0; /* the blank line and the titles */
    }
    if (all > room)
        t->rows = room ? SL_MAX(room - 1, (size_t)(room == 1)) : 0;
    if (t->rows) {
        r = sl_buf_append(v->out, "\n", 1);
        if (r == 0)
            r = sl_ctl_table_print(t, 2, v->out);
        if (r == 0 && t->rows < all && room > 1)
            r = sl_buf_printf(v->out, "  ... %zu more\n", all - t->rows);
        v->rows -= (unsigned)SL_MIN((size_t)v->rows, t->rows + 2 + (t->rows < all && room > 1));
    }
    sl_ctl_table_free(t);
    return r;
}

/* ---- verdicts side by side */
struct sl_verdict {
    const char *name;
    double total, rate;
};
struct sl_verdicts {
    struct sl_verdict v[SL_VERDICTS];
    size_t n;
};

static void _sl_verdict_add(struct sl_verdicts *l, const char *name, double total, double rate)
{
    size_t i = 0;
    while (i < l->n && strcmp(l->v[i].name, name) != 0)
        i++;
    if (i == SL_VERDICTS || total <= 0)
        return;
    if (i == l->n)
        l->v[l->n++] = (struct sl_verdict){.name = name};
    l->v[i].total += total;
    l->v[i].rate += rate;
}

static void _sl_kernel_verdicts(struct sl_view *v, struct sl_verdicts *l)
{
    const char *name;
    json_t *count;
    json_object_foreach(json_object_get(v->total, "kernel"), name, count)
    {
        const json_t *rate = _sl_at(v->rate, "kernel", name);
        _sl_verdict_add(l, name, sl_ctl_num(count, "packets"), sl_ctl_num(rate, "packets"));
        const char *would = sl_arena_printf(
            &v->arena, json_is_true(json_object_get(count, "answers")) ? "would be: %s" : "would drop: %s",
            name);
        if (would)
            _sl_verdict_add(l, would, sl_ctl_num(count, "would_drop_packets"),
                            sl_ctl_num(rate, "would_drop_packets"));
    }
}

static void _sl_proxy_verdicts(struct sl_view *v, struct sl_verdicts *l)
{
    static const char *const classes[] = {"2xx", "3xx", "4xx", "5xx"};
    const char *name, *reason;
    json_t *item, *count;
    for (size_t i = 0; i < SL_ARRAY_LEN(classes); i++)
        json_object_foreach(json_object_get(v->total, "routes"), name, item)
        {
            const json_t *rate = _sl_at(v->rate, "routes", name);
            _sl_verdict_add(l, classes[i], sl_ctl_num(json_object_get(item, "codes"), classes[i]),
                            sl_ctl_num(json_object_get(rate, "codes"), classes[i]));
        }
    json_object_foreach(json_object_get(v->total, "routes"), name, item)
    {
        const json_t *rate = json_object_get(_sl_at(v->rate, "routes", name), "reasons");
        json_object_foreach(json_object_get(item, "reasons"), reason, count)
        {
            _sl_verdict_add(l, reason, json_number_value(count), sl_ctl_num(rate, reason));
        }
    }
}

static int _sl_verdicts_print(struct sl_view *v)
{
    static const char *const titles[] = {"kernel verdict",  ">packets/s",  ">total",
                                         "  proxy verdict", ">requests/s", ">total"};
    struct sl_verdicts kernel = {.n = 0}, proxy = {.n = 0};
    struct sl_ctl_table t;
    _sl_kernel_verdicts(v, &kernel);
    _sl_proxy_verdicts(v, &proxy);
    sl_ctl_table_init(&t, &v->arena, titles, SL_ARRAY_LEN(titles));
    int r = 0;
    for (size_t i = 0; r == 0 && (i < kernel.n || i < proxy.n); i++) {
        const struct sl_verdict *k = i < kernel.n ? &kernel.v[i] : NULL,
                                *p = i < proxy.n ? &proxy.v[i] : NULL;
        const char *name = p ? sl_arena_printf(&v->arena, "  %s", p->name) : "";
        r = sl_ctl_table_row(&t,
                             (const char *const[]){k ? k->name : "", k ? _sl_n(v, k->rate) : "",
                                                   k ? _sl_n(v, k->total) : "", name,
                                                   p ? _sl_n(v, p->rate) : "", p ? _sl_n(v, p->total) : ""});
    }
    return r ? r : _sl_section(v, &t, false);
}

/* ---- the sections */
static int _sl_listeners_print(struct sl_view *v)
{
    static const char *const titles[] = {"listener", ">kernel pass/s", ">drop/s",    ">would/s", ">conn/s",
                                         ">active",  ">req/s",         ">refused/s", ">in/s",    ">out/s"};
    struct sl_ctl_table t;
    const char *name;
    json_t *item;
    int r = 0;
    sl_ctl_table_init(&t, &v->arena, titles, SL_ARRAY_LEN(titles));
    json_object_foreach(json_object_get(v->total, "listeners"), name, item)
    {
        const json_t *rate = _sl_at(v->rate, "listeners", name), *kernel = json_object_get(rate, "kernel");
        r = sl_ctl_table_row(
            &t, (const char *const[]){
                    name, _sl_n(v, sl_ctl_num(json_object_get(kernel, "passed"), "packets")),
                    _sl_n(v, sl_ctl_num(json_object_get(kernel, "dropped"), "packets")),
                    _sl_n(v, sl_ctl_num(json_object_get(kernel, "would_drop"), "packets")),
                    _sl_n(v, sl_ctl_num(rate, "connections")), _sl_n(v, sl_ctl_num(item, "active")),
                    _sl_n(v, sl_ctl_num(rate, "requests")),
                    _sl_n(v, sl_ctl_num(rate, "refused") + sl_ctl_num(rate, "malformed")),
                    _sl_b(v, sl_ctl_num(rate, "bytes_in")), _sl_b(v, sl_ctl_num(rate, "bytes_out"))});
        if (r < 0)
            break;
    }
    return r ? r : _sl_section(v, &t, false);
}

/* The reason that refuses most, by rate and then by total; "-" where none does. */
static const char *_sl_main_reason(const json_t *total, const json_t *rate)
{
    const char *name, *best = NULL;
    double best_rate = -1, best_total = 0;
    json_t *count;
    json_object_foreach(json_object_get(total, "reasons"), name, count)
    {
        double t = json_number_value(count), r = sl_ctl_num(json_object_get(rate, "reasons"), name);
        if (t > 0 && (r > best_rate || (r == best_rate && t > best_total))) {
            best = name;
            best_rate = r;
            best_total = t;
        }
    }
    return best;
}

struct sl_ranked { /* a route or a consumer */
    const char *name;
    const json_t *total, *rate;
    double by; /* a second: requests, or bytes */
};

static int _sl_by_rate(const void *a, const void *b)
{
    const struct sl_ranked *x = a, *y = b;
    return x->by < y->by ? 1 : x->by > y->by ? -1 : strcmp(x->name, y->name);
}

static double _sl_sum(const json_t *object)
{
    double sum = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        sum += json_number_value(value);
    }
    return sum;
}

static int _sl_route_print(struct sl_view *v, struct sl_ctl_table *t, const struct sl_ranked *row)
{
    char p50[SL_CTL_UNIT], p99[SL_CTL_UNIT];
    const json_t *codes = json_object_get(row->rate, "codes"),
                 *seconds = json_object_get(row->rate, "seconds");
    const json_t *bounds = json_object_get(v->total, "histogram_bounds_seconds");
    return sl_ctl_table_row(
        t, (const char *const[]){
               row->name, _sl_n(v, row->by), _sl_n(v, sl_ctl_num(codes, "2xx")),
               _sl_n(v, sl_ctl_num(codes, "3xx")), _sl_n(v, sl_ctl_num(codes, "4xx")),
               _sl_n(v, sl_ctl_num(codes, "5xx")), _sl_b(v, sl_ctl_num(row->rate, "bytes_in")),
               _sl_b(v, sl_ctl_num(row->rate, "bytes_out")),
               sl_ctl_latency(sl_top_percentile(bounds, json_object_get(seconds, "buckets"), 0.5), p50),
               sl_ctl_latency(sl_top_percentile(bounds, json_object_get(seconds, "buckets"), 0.99), p99),
               _sl_main_reason(row->total, row->rate)});
}

/* What is listed by the rate of what moves, the busiest first. */
struct sl_ranking {
    const char *of; /* the key of its objects */
    const char *const *titles;
    size_t n_titles;
    double (*weigh)(const json_t *rate);
    bool (*is_shown)(const char *name, const json_t *total); /* NULL: all are */
    int (*print)(struct sl_view *v, struct sl_ctl_table *t, const struct sl_ranked *row);
    bool last; /* section of the page, see _sl_section */
};

static int _sl_ranking_print(struct sl_view *v, const struct sl_ranking *what)
{
    json_t *all = json_object_get(v->total, what->of), *item;
    struct sl_ranked *rows = sl_arena_zalloc(&v->arena, (json_object_size(all) + 1) * sizeof(*rows));
    struct sl_ctl_table t;
    const char *name;
    size_t n = 0;
    int r = 0;
    if (!rows)
        return -ENOMEM;
    sl_ctl_table_init(&t, &v->arena, what->titles, what->n_titles);
    json_object_foreach(all, name, item)
    {
        const json_t *rate = _sl_at(v->rate, what->of, name);
        if (!what->is_shown || what->is_shown(name, item))
            rows[n++] = (struct sl_ranked){name, item, rate, what->weigh(rate)};
    }
    if (n)
        qsort(rows, n, sizeof(*rows), _sl_by_rate);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = what->print(v, &t, &rows[i]);
    return r ? r : _sl_section(v, &t, what->last);
}

static double _sl_requests(const json_t *route)
{
    return _sl_sum(json_object_get(route, "codes"));
}

/* "other" is the slot of what matched no route, or found no slot. */
static bool _sl_route_is_shown(const char *name, const json_t *total)
{
    return strcmp(name, "other") != 0 || _sl_requests(total) > 0;
}

static int _sl_routes_print(struct sl_view *v)
{
    static const char *const titles[] = {"route", ">req/s", ">2xx/s", ">3xx/s", ">4xx/s",         ">5xx/s",
                                         ">in/s", ">out/s", ">p50",   ">p99",   "refuses most by"};
    static const struct sl_ranking routes = {
        "routes", titles, SL_ARRAY_LEN(titles), _sl_requests, _sl_route_is_shown, _sl_route_print, true};
    return _sl_ranking_print(v, &routes);
}

static double _sl_way(const json_t *consumer, const char *way)
{
    return sl_ctl_num(json_object_get(consumer, way), "bytes");
}

static double _sl_moved(const json_t *consumer)
{
    return _sl_way(consumer, "in") + _sl_way(consumer, "out");
}

static int _sl_consumer_print(struct sl_view *v, struct sl_ctl_table *t, const struct sl_ranked *row)
{
    return sl_ctl_table_row(t, (const char *const[]){row->name, _sl_b(v, _sl_way(row->rate, "in")),
                                                     _sl_b(v, _sl_way(row->rate, "out")),
                                                     _sl_b(v, _sl_way(row->total, "in")),
                                                     _sl_b(v, _sl_way(row->total, "out"))});
}

/* What they moved, as it stands on the wire. */
static int _sl_consumers_print(struct sl_view *v)
{
    static const char *const titles[] = {"consumer", ">in/s", ">out/s", ">in", ">out"};
    static const struct sl_ranking consumers = {
        "consumers", titles, SL_ARRAY_LEN(titles), _sl_moved, NULL, _sl_consumer_print, false};
    return _sl_ranking_print(v, &consumers);
}

static int _sl_tiers_print(struct sl_view *v)
{
    static const char *const titles[] = {"tier",       ">admitted/s", ">limited/s",
                                         ">penalties", ">admitted",   ">limited"};
    struct sl_ctl_table t;
    const char *name;
    json_t *item;
    int r = 0;
    sl_ctl_table_init(&t, &v->arena, titles, SL_ARRAY_LEN(titles));
    json_object_foreach(json_object_get(v->total, "tiers"), name, item)
    {
        const json_t *rate = _sl_at(v->rate, "tiers", name);
        if (strcmp(name, "default") == 0 && _sl_sum(item) <= 0)
            continue; /* the built-in one, for policies that write no tier */
        r = sl_ctl_table_row(&t, (const char *const[]){name, _sl_n(v, sl_ctl_num(rate, "admitted")),
                                                       _sl_n(v, sl_ctl_num(rate, "limited")),
                                                       _sl_n(v, sl_ctl_num(item, "penalties")),
                                                       _sl_n(v, sl_ctl_num(item, "admitted")),
                                                       _sl_n(v, sl_ctl_num(item, "limited"))});
        if (r < 0)
            break;
    }
    return r ? r : _sl_section(v, &t, false);
}

/* ---- the whole */
double sl_top_percentile(const json_t *bounds, const json_t *buckets, double q)
{
    double all = 0, seen = 0;
    size_t n = json_array_size(buckets), last = json_array_size(bounds);
    for (size_t i = 0; i < n; i++)
        all += json_number_value(json_array_get(buckets, i));
    if (all <= 0 || last == 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        double here = json_number_value(json_array_get(buckets, i));
        if (here > 0 && seen + here >= q * all) {
            if (i >= last) /* beyond the last bound there is nothing to say but that */
                return json_number_value(json_array_get(bounds, last - 1));
            double low = i ? json_number_value(json_array_get(bounds, i - 1)) : 0;
            return low + (json_number_value(json_array_get(bounds, i)) - low) * (q * all - seen) / here;
        }
        seen += here;
    }
    return json_number_value(json_array_get(bounds, last - 1));
}

static int _sl_header(struct sl_view *v, const json_t *status, double seconds, bool rates)
{
    char up[SL_CTL_UNIT];
    size_t i;
    json_t *attached;
    int r = sl_buf_printf(v->out, "sluice  policy %.0f  up %s  %zu workers", sl_ctl_num(status, "version"),
                          sl_ctl_span(sl_ctl_num(status, "uptime_seconds"), up),
                          json_array_size(json_object_get(status, "workers")));
    json_array_foreach(_sl_at(status, "kernel", "interfaces"), i, attached)
    {
        if (r == 0)
            r = sl_buf_append(v->out, "  ", 2);
        if (r == 0)
            r = sl_ctl_escape(v->out, sl_slice_str(sl_ctl_str(attached, "interface")), false);
        if (r == 0)
            r = sl_buf_append(v->out, ":", 1);
        if (r == 0)
            r = sl_ctl_escape(v->out, sl_slice_str(sl_ctl_str(attached, "xdp")), false);
    }
    if (r == 0 && json_is_true(_sl_at(status, "kernel", "shadow")))
        r = sl_buf_printf(v->out, "  SHADOW: nothing is dropped");
    if (r == 0 && strcmp(sl_ctl_str(_sl_at(status, "kernel", "syn_cookies"), "state"), "missing") == 0)
        r = sl_buf_printf(v->out, "  NO SYN COOKIES (see status)");
    if (r == 0 && rates)
        r = sl_buf_printf(v->out, "  (rates over %.1f s)", seconds);
    return r ? r : sl_buf_append(v->out, "\n", 1);
}

int sl_top_text(const struct sl_top_sample *before, const struct sl_top_sample *now, unsigned rows,
                struct sl_buf *out)
{
    json_t *rates = _sl_rates(before, now);
    struct sl_view v = {
        .total = now->top, .rate = rates, .rows = SL_MAX(rows, 1u) - 1, .bounded = rows > 0, .out = out};
    sl_arena_init(&v.arena, 0);
    int r = rates ? _sl_header(&v, now->status, _sl_seconds(before, now), before->top != now->top) : -ENOMEM;
    if (r == 0)
        r = _sl_verdicts_print(&v);
    if (r == 0)
        r = _sl_listeners_print(&v);
    if (r == 0)
        r = _sl_tiers_print(&v);
    if (r == 0)
        r = _sl_consumers_print(&v);
    if (r == 0)
        r = _sl_routes_print(&v);
    sl_arena_free(&v.arena);
    json_decref(rates);
    return r;
}
