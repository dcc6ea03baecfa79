/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client is told about its limits. Two limits with the same window (a route's and a tier's) are told
 * as one, the tighter, since names in RateLimit must be unique (draft-ietf-httpapi-ratelimit-headers).
 */
#include "base/clock.h"
#include "policy/limit_priv.h"

#include <errno.h>

/* Of each kind of window the tightest. */
struct sl_told {
    const struct sl_limit_window *window; /* NULL: no such window */
    uint64_t remaining, reset_s;
};
struct sl_telling {
    struct sl_told ietf[SL_WINDOWS], kong[SL_WINDOWS];
    const struct sl_limit_set *only; /* the one set that is told in the IETF's form; NULL: several or none */
    unsigned ietf_sets;
};

static uint64_t _sl_seconds_up(uint64_t ns)
{
    return ns / SL_NS_PER_SEC + (ns % SL_NS_PER_SEC != 0);
}

static char *_sl_put(char *p, struct sl_slice s)
{
    memcpy(p, s.p, s.n);
    return p + s.n;
}

static int _sl_add_u64(struct sl_headers *h, struct sl_arena *a, struct sl_slice name, uint64_t v)
{
    char *p = sl_arena_alloc(a, SL_U64_DIGITS);
    if (!p)
        return -ENOMEM;
    return sl_headers_add(h, a, name, sl_slice(p, (size_t)(sl_put_u64(p, v) - p)));
}

static void _sl_tighter(struct sl_told *t, const struct sl_limit_window *w, uint64_t remaining,
                        uint64_t reset)
{
    if (!t->window || remaining < t->remaining)
        *t = (struct sl_told){w, remaining, _sl_seconds_up(reset)};
}

static void _sl_collect(struct sl_limit_set *const *sets, size_t n, const struct sl_limit_verdict *v,
                        struct sl_telling *t)
{
    for (size_t i = 0; i < n; i++) {
        const enum sl_limit_headers form =
            sets[i] && !sets[i]->config->shadow ? sets[i]->config->headers : SL_LIMIT_HEADERS_OFF;
        const bool ietf = form == SL_LIMIT_HEADERS_IETF || form == SL_LIMIT_HEADERS_BOTH;
        const bool kong = form == SL_LIMIT_HEADERS_KONG || form == SL_LIMIT_HEADERS_BOTH;
        if (ietf)
            t->only = t->ietf_sets++ ? NULL : sets[i];
        for (size_t w = 0; (ietf || kong) && w < sets[i]->n; w++) {
            const struct sl_limit_window *win = &sets[i]->windows[w];
            if (ietf)
                _sl_tighter(&t->ietf[win->kind], win, v->remaining[i][w], v->reset_ns[i][w]);
            if (kong)
                _sl_tighter(&t->kong[win->kind], win, v->remaining[i][w], v->reset_ns[i][w]);
        }
    }
}

/* RateLimit-Policy: "second";q=500;w=1 */
static int _sl_add_policies(const struct sl_telling *t, struct sl_headers *h, struct sl_arena *a)
{
    struct sl_slice value;
    if (t->only) {
        value = t->only->policies;
    } else {
        size_t n = 0;
        for (unsigned i = 0; i < SL_WINDOWS; i++)
            n += t->ietf[i].window ? t->ietf[i].window->policy.n + 2 : 0;
        char *buf = sl_arena_alloc(a, n), *p = buf;
        if (!buf)
            return -ENOMEM;
        for (unsigned i = 0; i < SL_WINDOWS; i++) {
            if (!t->ietf[i].window)
                continue;
            p = p == buf ? p : _sl_put(p, SL_S(", "));
            p = _sl_put(p, t->ietf[i].window->policy);
        }
        value = sl_slice(buf, (size_t)(p - buf));
    }
    return sl_headers_add_as(h, a, SL_HDR_OTHER, SL_S("RateLimit-Policy"), value);
}

/* RateLimit: "second";r=42;t=1 */
static int _sl_add_state(const struct sl_telling *t, struct sl_headers *h, struct sl_arena *a)
{
    size_t n = 0;
    for (unsigned i = 0; i < SL_WINDOWS; i++)
        n += t->ietf[i].window ? t->ietf[i].window->item.n + 2 * SL_U64_DIGITS + 8 : 0;
    char *buf = sl_arena_alloc(a, n), *p = buf;
    if (!buf)
        return -ENOMEM;
    for (unsigned i = 0; i < SL_WINDOWS; i++) {
        const struct sl_told *w = &t->ietf[i];
        if (!w->window)
            continue;
        p = p == buf ? p : _sl_put(p, SL_S(", "));
        p = sl_put_u64(_sl_put(p, w->window->item), w->remaining);
        p = sl_put_u64(_sl_put(p, SL_S(";t=")), w->reset_s);
    }
    return sl_headers_add_as(h, a, SL_HDR_OTHER, SL_S("RateLimit"), sl_slice(buf, (size_t)(p - buf)));
}

/* X-RateLimit-Limit-Second and so on for each window, and RateLimit-Limit, -Remaining, -Reset for the
 * tightest: the names and meanings of Kong's rate-limiting plugin. */
static int _sl_add_kong(const struct sl_telling *t, struct sl_headers *h, struct sl_arena *a)
{
    static const struct sl_slice limits[] = {{"X-RateLimit-Limit-Second", 24},
                                             {"X-RateLimit-Limit-Minute", 24},
                                             {"X-RateLimit-Limit-Hour", 22},
                                             {"X-RateLimit-Limit-Day", 21}};
    static const struct sl_slice remainings[] = {{"X-RateLimit-Remaining-Second", 28},
                                                 {"X-RateLimit-Remaining-Minute", 28},
                                                 {"X-RateLimit-Remaining-Hour", 26},
                                                 {"X-RateLimit-Remaining-Day", 25}};
    const struct sl_told *tightest = NULL;
    for (unsigned i = 0; i < SL_WINDOWS; i++) {
        const struct sl_told *w = &t->kong[i];
        if (!w->window)
            continue;
        if (!tightest || w->remaining < tightest->remaining)
            tightest = w;
        if (sl_headers_add_as(h, a, SL_HDR_OTHER, limits[i], w->window->limit) < 0 ||
            _sl_add_u64(h, a, remainings[i], w->remaining) < 0)
            return -ENOMEM;
    }
    if (!tightest)
        return 0;
    return sl_headers_add_as(h, a, SL_HDR_OTHER, SL_S("RateLimit-Limit"), tightest->window->limit) < 0 ||
                   _sl_add_u64(h, a, SL_S("RateLimit-Remaining"), tightest->remaining) < 0 ||
                   _sl_add_u64(h, a, SL_S("RateLimit-Reset"), tightest->reset_s) < 0
               ? -ENOMEM
               : 0;
}

int sl_limits_headers(struct sl_limit_set *const *sets, size_t n_sets, const struct sl_limit_verdict *v,
                      struct sl_headers *headers, struct sl_arena *a)
{
    struct sl_telling t = {0};
    _sl_collect(sets, SL_MIN(n_sets, (size_t)SL_SETS), v, &t);
    if (t.ietf_sets && (_sl_add_policies(&t, headers, a) < 0 || _sl_add_state(&t, headers, a) < 0))
        return -ENOMEM;
    if (_sl_add_kong(&t, headers, a) < 0)
        return -ENOMEM;
    if (v->admitted)
        return 0;
    return _sl_add_u64(headers, a, SL_S("Retry-After"), SL_MAX(_sl_seconds_up(v->wait_ns), 1ull));
}
