/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking from buckets. All windows are looked at before any is debited; where another process took the last
 * request in between, what was debited meanwhile is given back.
 */
#include "base/clock.h"
#include "policy/limit_priv.h"

#include <errno.h>

static unsigned _sl_kind(uint64_t seconds)
{
    return seconds < 60 ? 0 : seconds < 3600 ? 1 : seconds < 86400 ? 2 : 3;
}

static int _sl_window_init(struct sl_arena *a, const struct sl_window *w, struct sl_limit_window *out)
{
    const uint64_t ns = w->seconds * SL_NS_PER_SEC, limit = w->limit ? w->limit : 1;
    out->interval_ns = (ns + limit - 1) / limit;
    out->capacity = w->capacity ? w->capacity : limit;
    if (out->interval_ns == 0 || out->capacity > UINT64_MAX / 4 / out->interval_ns)
        return -ERANGE;
    out->tolerance_ns = out->capacity * out->interval_ns;
    out->kind = _sl_kind(w->seconds);
    out->policy = sl_slice_str(sl_arena_printf(a, "\"%s\";q=%llu;w=%llu", w->name,
                                               (unsigned long long)w->limit, (unsigned long long)w->seconds));
    out->limit = sl_slice_str(sl_arena_printf(a, "%llu", (unsigned long long)w->limit));
    out->item = sl_slice_str(sl_arena_printf(a, "\"%s\";r=", w->name));
    return out->policy.p && out->limit.p && out->item.p ? 0 : -ENOMEM;
}

static int _sl_policies(struct sl_limit_set *l)
{
    const char *text = "";
    for (size_t i = 0; text && i < l->n; i++)
        text = sl_arena_printf(&l->arena, "%s%s%s", text, i ? ", " : "", l->windows[i].policy.p);
    l->policies = sl_slice_str(text);
    return text ? 0 : -ENOMEM;
}

int sl_limit_set_new(const struct sl_rate_limit *rl, const char *name, struct sl_limit_set **out)
{
    *out = NULL;
    if (rl->n_windows == 0)
        return 0;
    struct sl_limit_set *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    sl_arena_init(&l->arena, 512);
    l->config = rl;
    l->name = sl_hash(name, strlen(name), 0);
    l->n = SL_MIN(rl->n_windows, (size_t)SL_WINDOWS);
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n; i++)
        r = _sl_window_init(&l->arena, &rl->windows[i], &l->windows[i]);
    if (r == 0)
        r = _sl_policies(l);
    if (r < 0) {
        sl_limit_set_free(l);
        return r;
    }
    *out = l;
    return 0;
}

void sl_limit_set_free(struct sl_limit_set *l)
{
    if (!l)
        return;
    sl_arena_free(&l->arena);
    free(l);
}

const struct sl_rate_limit *sl_limit_set_config(const struct sl_limit_set *l)
{
    return l->config;
}

/* ---- keys */

/* What is hashed to a bucket's key; no padding. */
struct sl_limit_key {
    uint64_t name, seconds, by, subject;
};

static uint64_t _sl_by_ip(const struct sl_ip *client, struct sl_limit_key *k)
{
    const struct sl_ip ip = client->family == SL_AF_INET6 ? sl_ip_mask(*client, 64) : *client;
    k->by = SL_BY_IP;
    return sl_hash(ip.addr.bytes, sizeof(ip.addr.bytes), ip.family);
}

/* A subject that is not there is counted by its address, in a bucket of its own kind. */
static uint64_t _sl_subject(const struct sl_rate_limit *rl, const struct sl_limit_subject *s,
                            struct sl_limit_key *k)
{
    const struct sl_header *h = NULL;
    k->by = rl->by;
    switch (rl->by) {
    case SL_BY_CONSUMER:
        return s->consumer.n ? sl_hash(s->consumer.p, s->consumer.n, 1) : _sl_by_ip(&s->ip, k);
    case SL_BY_CREDENTIAL:
        return s->credential ? s->credential : _sl_by_ip(&s->ip, k);
    case SL_BY_HEADER:
        h = s->request ? sl_headers_find(&s->request->headers, sl_slice_str(rl->by_header)) : NULL;
        return h && h->value.n ? sl_hash(h->value.p, h->value.n, 2) : _sl_by_ip(&s->ip, k);
    case SL_BY_IP:
        break;
    }
    return _sl_by_ip(&s->ip, k);
}

/* ---- taking */

struct sl_taking {
    struct sl_bucket *bucket; /* NULL: the table is full here */
    const struct sl_limit_window *window;
    uint8_t set, index;
};
struct sl_takings {
    struct sl_taking v[SL_SETS * SL_WINDOWS];
    size_t n;
};

static void _sl_find_buckets(struct sl_bucket_table *t, struct sl_limit_set *const *sets, size_t n_sets,
                             const struct sl_limit_subject *subject, uint64_t now, struct sl_takings *all,
                             struct sl_limit_verdict *out)
{
    for (size_t i = 0; i < n_sets; i++) {
        const struct sl_limit_set *l = sets[i];
        struct sl_limit_key key = {.name = l ? l->name : 0};
        if (!l)
            continue;
        key.subject = _sl_subject(l->config, subject, &key);
        for (size_t w = 0; w < l->n; w++) {
            key.seconds = l->config->windows[w].seconds;
            struct sl_bucket *b = sl_bucket_get(t, sl_hash(&key, sizeof(key), t->seed), now);
            all->v[all->n++] = (struct sl_taking){b, &l->windows[w], (uint8_t)i, (uint8_t)w};
            out->table_full |= !b;
        }
    }
}

/* ns from now until the bucket is full again, as this limit sees it. */
static uint64_t _sl_debt(const struct sl_taking *k, uint64_t now)
{
    const uint64_t tat = k->bucket ? __atomic_load_n(&k->bucket->tat, __ATOMIC_RELAXED) : 0;
    return tat > now ? tat - now : 0;
}

/* As sl_bucket_take() would decide, without debiting; a tat of a wider limit is cut back, and that is
 * written, or a raised limit would lock its key out. */
static uint64_t _sl_peek(const struct sl_taking *k, uint64_t now)
{
    const uint64_t tolerance = k->window->tolerance_ns, cost = k->window->interval_ns;
    if (!k->bucket)
        return 0;
    uint64_t tat = __atomic_load_n(&k->bucket->tat, __ATOMIC_RELAXED);
    if (tat > now + tolerance + SL_CLOCK_SLACK_NS) {
        (void)__sync_val_compare_and_swap(&k->bucket->tat, tat, now + tolerance);
        tat = now + tolerance;
    }
    const uint64_t next = (tat > now ? tat - now : 0) + cost;
    return next > tolerance ? next - tolerance : 0;
}

static void _sl_refused_by(const struct sl_taking *k, struct sl_limit_set *const *sets, uint64_t wait,
                           struct sl_limit_verdict *out)
{
    out->admitted = false;
    if (k->bucket)
        __atomic_fetch_add(&k->bucket->denied, 1, __ATOMIC_RELAXED);
    if (out->wait_ns < wait) { /* the one to wait for longest */
        out->wait_ns = wait;
        out->set = sets[k->set];
        out->window = k->index;
    }
}

static void _sl_peek_all(const struct sl_takings *all, struct sl_limit_set *const *sets, uint64_t now,
                         struct sl_limit_verdict *out)
{
    for (size_t i = 0; i < all->n; i++) {
        const uint64_t wait = _sl_peek(&all->v[i], now);
        if (wait)
            _sl_refused_by(&all->v[i], sets, wait, out);
    }
}

static void _sl_take_all(const struct sl_takings *all, struct sl_limit_set *const *sets, uint64_t now,
                         struct sl_limit_verdict *out)
{
    size_t i = 0;
    for (; i < all->n && out->admitted; i++) {
        const struct sl_taking *k = &all->v[i];
        uint64_t wait = 0;
        if (!k->bucket)
            continue;
        const int r = sl_bucket_take((__u64 *)&k->bucket->tat, now, k->window->interval_ns,
                                     k->window->tolerance_ns, (__u64 *)&wait);
        out->cas_exhausted |= r < 0;
        if (r <= 0)
            _sl_refused_by(k, sets, wait, out);
    }
    if (out->admitted)
        return;
    /* Everything before the one that refused is given back; addition commutes with what others took since. */
    for (i--; i-- > 0;)
        if (all->v[i].bucket)
            __atomic_fetch_sub(&all->v[i].bucket->tat, all->v[i].window->interval_ns, __ATOMIC_RELAXED);
}

static void _sl_report(const struct sl_takings *all, struct sl_limit_set *const *sets, uint64_t now,
                       struct sl_limit_verdict *out)
{
    uint64_t tightest = UINT64_MAX;
    for (size_t i = 0; i < all->n; i++) {
        const struct sl_taking *k = &all->v[i];
        const uint64_t debt = SL_MIN(_sl_debt(k, now), k->window->tolerance_ns);
        const uint64_t left = (k->window->tolerance_ns - debt) / k->window->interval_ns;
        out->remaining[k->set][k->index] = left;
        out->reset_ns[k->set][k->index] = debt;
        if (out->admitted && k->bucket)
            __atomic_fetch_add(&k->bucket->admitted, 1, __ATOMIC_RELAXED);
        if (out->admitted && left < tightest) {
            tightest = left;
            out->set = sets[k->set];
            out->window = k->index;
        }
    }
}

void sl_limits_take(struct sl_bucket_table *t, struct sl_limit_set *const *sets, size_t n_sets,
                    const struct sl_limit_subject *subject, uint64_t now, struct sl_limit_verdict *out)
{
    struct sl_takings all;
    all.n = 0;
    *out = (struct sl_limit_verdict){.admitted = true};
    _sl_find_buckets(t, sets, SL_MIN(n_sets, (size_t)SL_SETS), subject, now, &all, out);
    _sl_peek_all(&all, sets, now, out);
    if (out->admitted)
        _sl_take_all(&all, sets, now, out);
    _sl_report(&all, sets, now, out);
}
