/* SPDX-License-Identifier: Apache-2.0 */
/* From a snapshot to the contents of the maps; see plan_priv.h. Consumers' sources stand in plan_sources.c.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "kernel/plan_priv.h"
#include "kernel/plan_sources_priv.h"

#include <errno.h>

static const struct sl_table _sl_maps[SL_PLAN_MAPS] = {
    [SL_PLAN_LISTENERS] = {.name = "sl_listeners",
                           .key_size = sizeof(struct sl_listener_key),
                           .value_size = sizeof(struct sl_listener_value),
                           .max = 3 * SL_MAX_LISTENERS},
    [SL_PLAN_LISTS4] = {.name = "sl_lists4",
                        .key_size = sizeof(struct sl_lpm4_key),
                        .value_size = sizeof(struct sl_list_value),
                        .max = SL_MAX_LIST_ENTRIES},
    [SL_PLAN_LISTS6] = {.name = "sl_lists6",
                        .key_size = sizeof(struct sl_lpm6_key),
                        .value_size = sizeof(struct sl_list_value),
                        .max = SL_MAX_LIST_ENTRIES},
    [SL_PLAN_CONSUMERS4] = {.name = "sl_consumers4",
                            .key_size = sizeof(struct sl_lpm4_key),
                            .value_size = sizeof(struct sl_consumer_source),
                            .max = SL_MAX_LIST_ENTRIES},
    [SL_PLAN_CONSUMERS6] = {.name = "sl_consumers6",
                            .key_size = sizeof(struct sl_lpm6_key),
                            .value_size = sizeof(struct sl_consumer_source),
                            .max = SL_MAX_LIST_ENTRIES},
};

int sl_addresses_add(struct sl_addresses *a, const struct sl_ip *ip)
{
    if (a->n == a->cap) {
        const size_t cap = a->cap ? a->cap * 2 : 16;
        struct sl_ip *v = reallocarray(a->v, cap, sizeof(*v));
        if (!v)
            return -ENOMEM;
        a->v = v;
        a->cap = cap;
    }
    a->v[a->n++] = *ip;
    return 0;
}

void sl_addresses_free(struct sl_addresses *a)
{
    free(a->v);
    *a = (struct sl_addresses){0};
}

/* ---- limits */

/* a * b / c, the middle product in 128 bits; saturated. */
static uint64_t _sl_mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    __extension__ const unsigned __int128 wide = (unsigned __int128)a * b / c;
    return wide > UINT64_MAX ? UINT64_MAX : (uint64_t)wide;
}

/* Intervals are rounded down: a ceiling may be a little high, never low. */
struct sl_limit sl_plan_rate(const struct sl_rate *rate, uint32_t burst)
{
    struct sl_limit l = {0};
    if (rate->count == 0)
        return l;
    l.interval_ns = SL_MAX(rate->per_ns / rate->count, 1u);
    l.tolerance_ns = SL_MAX(burst * SL_NS_PER_SEC, l.interval_ns);
    return l;
}

struct sl_limit sl_plan_byte_rate(const struct sl_rate *rate, uint32_t burst)
{
    struct sl_limit l = sl_plan_rate(rate, burst);
    if (l.interval_ns == 0)
        return l;
    for (l.shift = 31; l.shift > 0; l.shift--)
        if (_sl_mul_div(rate->per_ns, 1ull << l.shift, rate->count) <= UINT32_MAX)
            break;
    l.mult = (uint32_t)SL_MIN(_sl_mul_div(rate->per_ns, 1ull << l.shift, rate->count), UINT32_MAX);
    l.tolerance_ns = SL_MAX(l.tolerance_ns, (65536ull * l.mult >> l.shift) + 1);
    return l;
}

struct sl_limit sl_plan_ceiling(const struct sl_rate_limit *rl, uint32_t headroom)
{
    struct sl_limit l = {0};
    if (rl->n_windows == 0 || headroom == 0)
        return l;
    const struct sl_window *w = &rl->windows[0];
    for (size_t i = 1; i < rl->n_windows; i++)
        if (rl->windows[i].seconds < w->seconds)
            w = &rl->windows[i];
    const struct sl_rate rate = {.count = _sl_mul_div(SL_MAX(w->limit, 1u), headroom, 1),
                                 .per_ns = w->seconds * SL_NS_PER_SEC};
    l = sl_plan_rate(&rate, 0);
    l.tolerance_ns = _sl_mul_div(_sl_mul_div(SL_MAX(w->capacity, 1u), headroom, 1), l.interval_ns, 1);
    /* Times of some centuries would wrap when added to the clock. */
    l.tolerance_ns = SL_MIN(l.tolerance_ns, UINT64_MAX / 4);
    return l;
}

/* ---- listeners */

static bool _sl_unspecified(const struct sl_ip *ip)
{
    const struct sl_addr any = {{0}};
    return memcmp(&ip->addr, &any, sizeof(any)) == 0;
}

static int _sl_collect_binds(struct sl_plan *p, const struct sl_snapshot *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_listeners; i++)
        n += s->listeners[i].n_bind;
    p->binds = calloc(n ? n : 1, sizeof(*p->binds));
    if (!p->binds)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct sl_listener *l = &s->listeners[i];
        for (size_t j = 0; j < l->n_bind; j++) {
            const struct sl_ip ip = sl_sockaddr_ip(&l->bind[j]);
            if (ip.family == 0)
                continue; /* a unix socket */
            p->binds[p->n_binds++] =
                (struct sl_plan_bind){.ip = ip,
                                      .port_be = htons(sl_sockaddr_port(&l->bind[j])),
                                      .wildcard = _sl_unspecified(&ip),
                                      .listener = l->slot < SL_MAX_LISTENERS ? l->slot : 0};
        }
    }
    return 0;
}

/* The listener, and that its address has one; see sl_listener_key in abi.h. */
static int _sl_put_listener(struct sl_table *t, const struct sl_plan_bind *b, const struct sl_ip *ip)
{
    const struct sl_listener_value listener = {.listener = b->listener},
                                   address = {.listener = SL_NO_LISTENER};
    struct sl_listener_key key = {
        .addr = ip->addr, .port_be = b->port_be, .proto = IPPROTO_TCP, .family = ip->family};
    int r = sl_table_put(t, &key, &listener);
    key.port_be = 0;
    if (r == 0)
        r = sl_table_put(t, &key, &address);
    key.proto = 0;
    return r < 0 ? r : sl_table_put(t, &key, &address);
}

/* A listener of an exact address wins over a wildcard on the same port, as it does for the sockets. */
int sl_plan_listeners(struct sl_plan *p, const struct sl_addresses *host)
{
    SL_CLEANUP(sl_table_free) struct sl_table t = _sl_maps[SL_PLAN_LISTENERS];
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n_binds; i++)
        for (size_t j = 0; r == 0 && p->binds[i].wildcard && j < host->n; j++)
            if (host->v[j].family == p->binds[i].ip.family)
                r = _sl_put_listener(&t, &p->binds[i], &host->v[j]);
    for (size_t i = 0; r == 0 && i < p->n_binds; i++)
        if (!p->binds[i].wildcard)
            r = _sl_put_listener(&t, &p->binds[i], &p->binds[i].ip);
    if (r == 0)
        r = sl_table_seal(&t);
    if (r < 0)
        return r;
    sl_table_free(&p->maps[SL_PLAN_LISTENERS]);
    p->maps[SL_PLAN_LISTENERS] = t;
    t.entries = NULL;
    return 0;
}

/* ---- lists */

enum sl_plan_map sl_plan_lpm(const struct sl_cidr *c, enum sl_plan_map map4, struct sl_lpm6_key *key)
{
    *key = (struct sl_lpm6_key){.prefixlen = c->len};
    memcpy(key->addr, c->ip.addr.bytes, sizeof(key->addr));
    return c->ip.family == SL_AF_INET ? map4 : map4 + 1;
}

static int _sl_put_list(struct sl_table tables[2], const struct sl_cidr *c, const struct sl_list_value *v)
{
    struct sl_lpm6_key key;
    return sl_table_put(&tables[sl_plan_lpm(c, 0, &key)], &key, v);
}

int sl_plan_lists(struct sl_plan *p, const struct sl_manuals *manuals)
{
    struct sl_table t[2] = {_sl_maps[SL_PLAN_LISTS4], _sl_maps[SL_PLAN_LISTS6]};
    struct sl_list_value v = {.verdict = SL_LIST_ALLOW, .generation = p->config.generation};
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->allow.n; i++)
        r = _sl_put_list(t, &p->allow.v[i], &v);
    v.verdict = SL_LIST_DENY;
    for (size_t i = 0; r == 0 && i < p->deny.n; i++)
        r = _sl_put_list(t, &p->deny.v[i], &v);
    for (size_t i = 0; r == 0 && i < manuals->n; i++)
        r = _sl_put_list(t, &manuals->v[i].prefix, &manuals->v[i].value);
    for (size_t i = 0; r == 0 && i < 2; i++)
        r = sl_table_seal(&t[i]);
    for (size_t i = 0; i < 2; i++) {
        if (r == 0) {
            sl_table_free(&p->maps[SL_PLAN_LISTS4 + i]);
            p->maps[SL_PLAN_LISTS4 + i] = t[i];
        } else {
            sl_table_free(&t[i]);
        }
    }
    if (r < 0)
        return r;
    p->config.flags &= ~(uint32_t)(SL_HAVE_LISTS4 | SL_HAVE_LISTS6);
    p->config.flags |=
        (p->maps[SL_PLAN_LISTS4].n ? SL_HAVE_LISTS4 : 0u) | (p->maps[SL_PLAN_LISTS6].n ? SL_HAVE_LISTS6 : 0u);
    return 0;
}

/* ---- the whole */

static int _sl_copy_cidrs(struct sl_cidrs *to, const struct sl_cidrs *from)
{
    to->v = calloc(from->n ? from->n : 1, sizeof(*to->v));
    if (!to->v)
        return -ENOMEM;
    if (from->n)
        memcpy(to->v, from->v, from->n * sizeof(*to->v));
    to->n = from->n;
    return 0;
}

static int _sl_plan_fill(struct sl_plan *p, const struct sl_snapshot *s, const struct sl_addresses *host,
                         const struct sl_manuals *manuals, struct sl_bucket_table *buckets)
{
    int r = _sl_collect_binds(p, s);
    if (r == 0)
        r = _sl_copy_cidrs(&p->allow, &s->kernel.allow);
    if (r == 0)
        r = _sl_copy_cidrs(&p->deny, &s->kernel.deny);
    if (r == 0)
        r = sl_plan_listeners(p, host);
    if (r == 0)
        r = sl_plan_lists(p, manuals);
    return r < 0 ? r : sl_plan_sources(p, s, buckets);
}

int sl_plan_new(const struct sl_snapshot *s, const struct sl_addresses *host,
                const struct sl_manuals *manuals, struct sl_bucket_table *buckets, uint32_t generation,
                struct sl_plan **out)
{
    const struct sl_kernel *k = &s->kernel;
    SL_CLEANUP(sl_plan_freep) struct sl_plan *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < SL_PLAN_MAPS; i++)
        p->maps[i] = _sl_maps[i];
    p->config = (struct sl_kernel_config){
        .source_connections = sl_plan_rate(&k->per_source.new_connections, k->per_source.burst),
        .source_packets = sl_plan_rate(&k->per_source.packets, k->per_source.burst),
        .source_bytes = sl_plan_byte_rate(&k->per_source.bytes, k->per_source.burst),
        .prefix_connections = sl_plan_rate(&k->per_prefix.new_connections, k->per_prefix.burst),
        .listener_connections = sl_plan_rate(&k->per_listener.new_connections, k->per_listener.burst),
        .shadow = k->shadow,
        .ipv6_prefix = k->ipv6_prefix,
        .generation = generation,
        .flags = (k->fragments == SL_FRAGMENTS_PASS ? SL_PASS_FRAGMENTS : 0u) |
                 (k->samples ? SL_SAMPLE_DROPS : 0u) |
                 (k->top_sources == SL_TOP_COUNT_ALL       ? SL_TOP_ALL
                  : k->top_sources == SL_TOP_COUNT_DROPPED ? SL_TOP_DROPPED
                                                           : 0u),
    };
    if (k->samples) /* a tenth of a second's worth at once, so that a burst is not all of the second */
        p->sampling =
            (struct sl_sampling){.interval_ns = SL_NS_PER_SEC / k->samples,
                                 .tolerance_ns = SL_MAX(SL_NS_PER_SEC / 10, SL_NS_PER_SEC / k->samples)};
    p->unmetered = s->n_consumers == 0;
    /* Kept over restarts with the seed they come from, as the sketches are. */
    for (uint64_t i = 0; i < SL_ARRAY_LEN(p->config.sketch_seed); i++)
        p->config.sketch_seed[i] = sl_hash(&i, sizeof(i), buckets->seed);
    const int r = _sl_plan_fill(p, s, host, manuals, buckets);
    if (r < 0)
        return r == -ENOMEM ? sl_error_r(r, "kernel: the policy's maps") : r;
    *out = SL_TAKE_PTR(p);
    return 0;
}

void sl_plan_free(struct sl_plan *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < SL_PLAN_MAPS; i++)
        sl_table_free(&p->maps[i]);
    free(p->binds);
    free(p->allow.v);
    free(p->deny.v);
    free(p->pinned);
    free(p);
}
