/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consumers' sources: each range that one consumer alone claims is held to headroom x that consumer's limit.
 *
 * Invariant: an address that two consumers claim, be it by nested ranges, has no ceiling, or the one's limit
 * would drop what the proxy admits for the other. Longest prefix wins in the map, so such a range within a
 * wider one needs an entry that says "no limit".
 */
#include "base/clock.h"
#include "base/log.h"
#include "kernel/plan_sources_priv.h"

#include <errno.h>
#include <stdio.h>

struct sl_claim {
    struct sl_cidr range;
    const struct sl_consumer *consumer;
};

static int _sl_claim_order(const void *a, const void *b)
{
    const struct sl_cidr *x = &((const struct sl_claim *)a)->range, *y = &((const struct sl_claim *)b)->range;
    if (x->ip.family != y->ip.family)
        return x->ip.family < y->ip.family ? -1 : 1;
    const int r = memcmp(&x->ip.addr, &y->ip.addr, sizeof(x->ip.addr));
    return r ? r : (int)x->len - (int)y->len;
}

/* All claims, wider ranges before those within them. */
static int _sl_claims(const struct sl_snapshot *s, struct sl_claim **out, size_t *n_out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_consumers; i++)
        n += s->consumers[i].sources.n;
    struct sl_claim *v = calloc(n ? n : 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    n = 0;
    for (size_t i = 0; i < s->n_consumers; i++)
        for (size_t j = 0; j < s->consumers[i].sources.n; j++)
            v[n++] = (struct sl_claim){.range = s->consumers[i].sources.v[j], .consumer = &s->consumers[i]};
    qsort(v, n, sizeof(*v), _sl_claim_order);
    *out = v;
    *n_out = n;
    return 0;
}

static struct sl_limit _sl_ceiling(const struct sl_consumer *c)
{
    const struct sl_rate_limit *rl = sl_rate_limit_of(c, c->tier);
    /* A limit by source or header lets a consumer have many times the number, and one in shadow mode lets him
     * have anything: no ceiling follows from it. */
    if (rl->by != SL_BY_CONSUMER || rl->shadow)
        return (struct sl_limit){0};
    return sl_plan_ceiling(rl, c->tier->headroom);
}

static int _sl_pin_bucket(struct sl_plan *p, const struct sl_consumer *c, struct sl_bucket_table *t,
                          uint32_t *slot)
{
    char name[320];
    const int n = snprintf(name, sizeof(name), "kernel:consumer:%s", c->name);
    if (n < 0 || (size_t)n >= sizeof(name))
        return sl_error_r(-ENAMETOOLONG, "kernel: consumer %s", c->name);
    struct sl_bucket *b = sl_bucket_pin(t, sl_hash(name, (size_t)n, t->seed), sl_now_ns());
    if (!b)
        return sl_error_r(
            -ENOSPC, "kernel: no room in the bucket table for consumer %s: raise kernel.table_size", c->name);
    uint32_t *v = reallocarray(p->pinned, p->n_pinned + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    p->pinned = v;
    *slot = v[p->n_pinned++] = (uint32_t)(b - t->slots);
    return 0;
}

static int _sl_put_claim(struct sl_plan *p, const struct sl_claim *claim, bool shared,
                         struct sl_bucket_table *t)
{
    struct sl_lpm6_key key;
    struct sl_consumer_source v = {.consumer = claim->consumer->slot, .generation = p->config.generation};
    if (!shared)
        v.limit = _sl_ceiling(claim->consumer);
    if (v.limit.interval_ns) {
        const int r = _sl_pin_bucket(p, claim->consumer, t, &v.bucket);
        if (r < 0)
            return r;
    }
    const enum sl_plan_map m = sl_plan_lpm(&claim->range, SL_PLAN_CONSUMERS4, &key);
    return sl_table_put(&p->maps[m], &key, &v);
}

static bool _sl_within(const struct sl_claim *inner, const struct sl_claim *outer)
{
    return outer->range.len <= inner->range.len && sl_cidr_contains(&outer->range, &inner->range.ip);
}

/* The claims that hold v[i]'s range are on the stack: ranges nest or are apart, nothing else. */
static int _sl_put_claims(struct sl_plan *p, const struct sl_claim *v, size_t n, struct sl_bucket_table *t)
{
    SL_FREE size_t *stack = calloc(n ? n : 1, sizeof(*stack));
    SL_FREE bool *shared =
        calloc(n ? n : 1, sizeof(*shared)); /* of a stack entry: it, or one below, by two */
    size_t depth = 0;
    int r = stack && shared ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        while (depth && !_sl_within(&v[i], &v[stack[depth - 1]]))
            depth--;
        stack[depth] = i;
        shared[depth] = depth && (shared[depth - 1] || v[stack[depth - 1]].consumer != v[i].consumer);
        /* Of equal ranges the last one is put last, and stays: it has seen all the others. */
        r = _sl_put_claim(p, &v[i], shared[depth], t);
        depth++;
    }
    return r;
}

static int _sl_slot_order(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int sl_plan_sources(struct sl_plan *p, const struct sl_snapshot *s, struct sl_bucket_table *buckets)
{
    SL_FREE struct sl_claim *claims = NULL;
    size_t n = 0;
    int r = _sl_claims(s, &claims, &n);
    if (r == 0)
        r = _sl_put_claims(p, claims, n, buckets);
    for (size_t i = SL_PLAN_CONSUMERS4; r == 0 && i <= SL_PLAN_CONSUMERS6; i++) {
        r = sl_table_seal(&p->maps[i]);
        if (p->maps[i].n)
            p->config.flags |= SL_HAVE_CONSUMER_SOURCES;
    }
    if (p->n_pinned)
        qsort(p->pinned, p->n_pinned, sizeof(*p->pinned), _sl_slot_order);
    return r;
}
