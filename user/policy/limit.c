/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking from buckets. All windows are looked at before any is debited; where another process took the last
 * request in between, what was debited meanwhile is given back.
 */
#include "base/clock.h"
#include "base/share.h"
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
    out->slack_ns = SL_CLOCK_SLACK_NS;
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

void sl_limit_set_share(struct sl_limit_set *l, uint64_t seed)
{
    l->seed = seed;
    for (size_t i = 0; i < l->n; i++)
        l->windows[i].slack_ns = sl_share_slack(l->windows[i].tolerance_ns);
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

static uint64_t _sl_by_ip(const struct sl_ip *client, struct sl_limit_key *k)
{
    const struct sl_ip ip = sl_ip_source(client).ip;
    k->by = SL_BY_IP;
    return sl_hash(ip.addr.bytes, sizeof(ip.addr.bytes), ip.family);
}

/* A subject that is not there is counted by its address, in a bucket of its own kind. */
static uint64_t _sl_subject(enum sl_limit_by by, const char *by_header, const struct sl_limit_subject *s,
                            struct sl_limit_key *k)
{
    const struct sl_header *h = NULL;
    k->by = by;
    switch (by) {
    case SL_BY_CONSUMER:
        return s->consumer.n ? sl_hash(s->consumer.p, s->consumer.n, 1) : _sl_by_ip(&s->ip, k);
    case SL_BY_CREDENTIAL:
        return s->credential ? s->credential : _sl_by_ip(&s->ip, k);
    case SL_BY_HEADER:
        h = s->request ? sl_headers_find(&s->request->headers, sl_slice_str(by_header)) : NULL;
        return h && h->value.n ? sl_hash(h->value.p, h->value.n, 2) : _sl_by_ip(&s->ip, k);
    case SL_BY_IP:
        break;
    }
    return _sl_by_ip(&s->ip, k);
}

void sl_limit_subject_key(enum sl_limit_by by, const char *by_header, const struct sl_limit_subject *s,
                          struct sl_limit_key *k)
{
    k->subject = _sl_subject(by, by_header, s, k);
}

uint64_t sl_limit_bucket_key(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                             const struct sl_limit_subject *subject, size_t window)
{
    struct sl_limit_key key = {.name = l->name, .seconds = l->config->windows[window].seconds};
    sl_limit_subject_key(l->config->by, l->config->by_header, subject, &key);
    return sl_bucket_key(sl_hash(&key, sizeof(key), l->config->cluster ? l->seed : t->seed));
}

/* ---- taking */

struct sl_taking {
    struct sl_bucket *bucket; /* NULL: the table is full here */
    uint64_t key;
    const struct sl_limit_window *window;
    uint8_t set, index;
};
struct sl_takings {
    struct sl_taking v[SL_SETS * SL_WINDOWS];
    size_t n;
    struct sl_limit_set *const *sets;
    uint64_t now;
};

static void _sl_find_buckets(struct sl_bucket_table *t, size_t set, const struct sl_limit_subject *subject,
                             struct sl_takings *all)
{
    const struct sl_limit_set *l = all->sets[set];
    struct sl_limit_key key = {.name = l->name};
    sl_limit_subject_key(l->config->by, l->config->by_header, subject, &key);
    for (size_t w = 0; w < l->n; w++) {
        key.seconds = l->config->windows[w].seconds;
        const uint64_t hash =
            sl_bucket_key(sl_hash(&key, sizeof(key), l->config->cluster ? l->seed : t->seed));
        all->v[all->n++] = (struct sl_taking){sl_bucket_get(t, hash, all->now), hash, &l->windows[w],
                                              (uint8_t)set, (uint8_t)w};
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
static uint64_t _sl_peek(const struct sl_taking *k, __u64 now)
{
    const uint64_t tolerance = k->window->tolerance_ns, cost = k->window->interval_ns;
    if (!k->bucket)
        return 0;
    uint64_t tat = __atomic_load_n(&k->bucket->tat, __ATOMIC_RELAXED);
    if (sl_bucket_is_beyond(tat, tolerance + k->window->slack_ns, &now)) {
        (void)__sync_val_compare_and_swap(&k->bucket->tat, tat, now + tolerance);
        tat = now + tolerance;
    }
    const uint64_t next = (tat > now ? tat - now : 0) + cost;
    return next > tolerance ? next - tolerance : 0;
}

static void _sl_refused_by(const struct sl_takings *all, const struct sl_taking *k, uint64_t wait,
                           struct sl_limit_verdict *out)
{
    out->admitted = false;
    if (out->wait_ns < wait) { /* the one to wait for longest */
        out->wait_ns = wait;
        out->set = all->sets[k->set];
        out->window = k->index;
    }
}

static void _sl_peek_all(const struct sl_takings *all, bool full_refuses, struct sl_limit_verdict *out)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct sl_taking *k = &all->v[i];
        const uint64_t wait = _sl_peek(k, all->now);
        out->table_full |= !k->bucket;
        if (wait || (!k->bucket && full_refuses))
            _sl_refused_by(all, k, wait ? wait : SL_NS_PER_SEC, out);
    }
}

/* Addition commutes with what others took since. */
static void _sl_give_back(const struct sl_takings *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (all->v[i].bucket)
            __atomic_fetch_sub(&all->v[i].bucket->tat, all->v[i].window->interval_ns, __ATOMIC_RELAXED);
}

/* As sl_bucket_take, but that a tat far ahead stays: other hosts have put it there. */
static int _sl_take_shared(uint64_t *tat_p, uint64_t now, uint64_t cost, uint64_t tolerance, uint64_t *wait)
{
    for (int i = 0; i < SL_CAS_TRIES; i++) {
        const uint64_t tat = __atomic_load_n(tat_p, __ATOMIC_RELAXED), next = SL_MAX(tat, now) + cost;
        *wait = next - now > tolerance ? next - now - tolerance : 0;
        if (*wait)
            return 0;
        if (__sync_val_compare_and_swap(tat_p, tat, next) == tat)
            return 1;
    }
    *wait = cost;
    return -1;
}

static int _sl_take(const struct sl_takings *all, const struct sl_taking *k, uint64_t *wait)
{
    const struct sl_limit_window *w = k->window;
    if (all->sets[k->set]->config->cluster)
        return _sl_take_shared((uint64_t *)&k->bucket->tat, all->now, w->interval_ns, w->tolerance_ns, wait);
    return sl_bucket_take((__u64 *)&k->bucket->tat, all->now, w->interval_ns, w->tolerance_ns, (__u64 *)wait);
}

static void _sl_take_all(const struct sl_takings *all, struct sl_limit_verdict *out)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct sl_taking *k = &all->v[i];
        uint64_t wait = 0;
        if (!k->bucket)
            continue;
        const int r = _sl_take(all, k, &wait);
        out->cas_exhausted |= r < 0;
        if (r > 0)
            continue;
        _sl_refused_by(all, k, wait, out);
        _sl_give_back(all, i);
        return;
    }
}

/* An idle slot may be given to another key between its finding and its debiting: then this was decided by
 * another one's bucket, and is decided again. */
static bool _sl_still_theirs(const struct sl_takings *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].bucket && __atomic_load_n(&all->v[i].bucket->key, __ATOMIC_ACQUIRE) != all->v[i].key)
            return false;
    return true;
}

static void _sl_decide(struct sl_bucket_table *t, const struct sl_limit_subject *subject, unsigned sets,
                       struct sl_takings *all, struct sl_limit_verdict *out)
{
    for (unsigned tries = 0; tries < SL_CAS_TRIES; tries++) {
        *out = (struct sl_limit_verdict){.admitted = true};
        all->n = 0;
        for (size_t i = 0; i < SL_SETS; i++)
            if (sets >> i & 1)
                _sl_find_buckets(t, i, subject, all);
        _sl_peek_all(all, subject->full_refuses, out);
        if (out->admitted)
            _sl_take_all(all, out);
        if (_sl_still_theirs(all))
            return;
        if (out->admitted)
            _sl_give_back(all, all->n);
    }
    out->table_full = true; /* slots change hands faster than they can be used */
    out->admitted = !subject->full_refuses;
    all->n = 0;
}

static void _sl_count(const struct sl_bucket_table *t, const struct sl_takings *all,
                      const struct sl_taking *k, bool admitted, uint64_t left)
{
    if (!k->bucket)
        return;
    if (admitted)
        __atomic_fetch_add(&k->bucket->admitted, 1, __ATOMIC_RELAXED);
    else if (left == 0)
        __atomic_fetch_add(&k->bucket->denied, 1, __ATOMIC_RELAXED);
    if (admitted && t->shares && all->sets[k->set]->config->cluster) {
        const struct sl_share what = {k->key, 1, k->window->interval_ns, k->window->tolerance_ns};
        sl_share_admitted(t->shares, (size_t)(k->bucket - t->slots), &what);
    }
}

/* What was decided stands with the buckets; what is left of them is told. */
static void _sl_report(const struct sl_bucket_table *t, const struct sl_takings *all,
                       struct sl_limit_verdict *out)
{
    uint64_t tightest = UINT64_MAX;
    for (size_t i = 0; i < all->n; i++) {
        const struct sl_taking *k = &all->v[i];
        const uint64_t debt = SL_MIN(_sl_debt(k, all->now), k->window->tolerance_ns);
        const uint64_t left = (k->window->tolerance_ns - debt) / k->window->interval_ns;
        out->remaining[k->set][k->index] = left;
        out->reset_ns[k->set][k->index] = debt;
        _sl_count(t, all, k, out->admitted, left);
        if (out->admitted && left < tightest) {
            tightest = left;
            out->set = all->sets[k->set];
            out->window = k->index;
        }
    }
}

void sl_limits_take(struct sl_bucket_table *t, struct sl_limit_set *const *sets, size_t n_sets,
                    const struct sl_limit_subject *subject, uint64_t now, struct sl_limit_verdict *out)
{
    struct sl_takings all;
    unsigned enforced = 0, shadows = 0;
    all.sets = sets;
    all.now = now;
    for (size_t i = 0; i < SL_MIN(n_sets, (size_t)SL_SETS); i++)
        if (sets[i])
            *(sets[i]->config->shadow ? &shadows : &enforced) |= 1u << i;
    _sl_decide(t, subject, enforced, &all, out);
    _sl_report(t, &all, out);
    for (size_t i = 0; i < SL_SETS && out->admitted; i++) {
        struct sl_limit_verdict shadow;
        if (!(shadows >> i & 1))
            continue;
        _sl_decide(t, subject, 1u << i, &all, &shadow);
        _sl_report(t, &all, &shadow);
        out->shadowed |= !shadow.admitted;
        out->table_full |= shadow.table_full;
    }
}
