/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hints for the guard, so that most packets need no lookup; struct sl_hints in abi.h says what they mean.
 *
 * Invariant: at each moment a hint says what the table behind it holds, or nothing. So hints that the next
 * contents do not have are taken back before the table is touched, and the others given after it. A packet
 * under way may have read a hint just before: it is judged as if it had come then.
 */
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "kernel/maps.h"
#include "xdp_guard.skel.h"

#include <endian.h>
#include <errno.h>
#include <sys/mman.h>

#define SL_HINT_WIDE(v6) ((v6) ? 32u : 16u)
#define SL_HINT_HOST(v6) ((v6) ? 64u : 32u)

int sl_hints_open(struct sl_kernel_guard *g)
{
    void *p = mmap(NULL, sizeof(*g->hints), PROT_READ | PROT_WRITE, MAP_SHARED,
                   bpf_map__fd(g->xdp->maps.sl_hints), 0);
    if (p == MAP_FAILED)
        return sl_error_r(-errno, "kernel: cannot map the hints");
    g->hints = p;
    memset(g->hints, 0, sizeof(*g->hints)); /* a former daemon may have ended between table and hint */
    return 0;
}

void sl_hints_close(struct sl_kernel_guard *g)
{
    if (g->hints)
        (void)munmap(g->hints, sizeof(*g->hints));
    g->hints = NULL;
}

/* ---- what a plan's tables hold */

static void _sl_present(__u64 *absent, uint32_t slot)
{
    absent[slot / 64] &= ~(1ull << slot % 64);
}

static void _sl_hint_listener(struct sl_hints *h, const struct sl_listener_key *k, uint32_t listener)
{
    _sl_present(h->ports, k->port_be);
    if (k->family != SL_AF_INET || k->proto != IPPROTO_TCP || k->port_be == 0)
        return;
    const __u64 pair = sl_hint_pair(&k->addr, k->port_be);
    __u64 *word = &h->pairs[sl_hint_pair_slot(pair)];
    const bool first = *word == SL_HINT_NONE && listener < SL_MAX_LISTENERS;
    *word = first ? SL_HINT_ONE | (uint64_t)listener << SL_HINT_PAIR_BITS | pair : 0; /* 0: look */
}

/* Each network of `bits` that the prefix touches. */
static void _sl_hint_prefix(struct sl_hints *h, const struct sl_addr *prefix, uint32_t len, bool v6)
{
    const bool is_long = len >= SL_HINT_LONG(v6);
    const uint32_t bits = is_long ? SL_HINT_HOST(v6) : SL_HINT_WIDE(v6), fixed = SL_MIN(len, bits);
    __u64 *absent = is_long ? h->long_lists : h->wide_lists;
    uint64_t first;
    if (bits - fixed > 16) { /* it has more networks than there are slots */
        memset(absent, 0, sizeof(h->wide_lists));
        return;
    }
    memcpy(&first, prefix->bytes, sizeof(first));
    first = fixed ? be64toh(first) & ~0ull << (64 - fixed) : 0;
    for (uint64_t i = 0; i < 1ull << (bits - fixed); i++) {
        struct sl_addr a = {{0}};
        const uint64_t word = htobe64(first | i << (64 - bits));
        memcpy(a.bytes, &word, sizeof(word));
        _sl_present(absent, is_long ? sl_hint_host(&a) : sl_hint_net(&a, v6));
    }
}

/* Where two share a slot, and where the entry ends one day, it says nothing. */
static void _sl_hint_one_host(struct sl_hints *h, const struct sl_addr *a, const struct sl_list_value *v)
{
    const __u64 host = sl_hint_pair(a, 0);
    __u64 *word = &h->hosts[sl_hint_pair_slot(host)];
    const bool first = *word == SL_HINT_NONE && v->deadline_ns == 0;
    *word = first ? SL_HINT_ONE | (__u64)v->verdict << SL_HINT_HOST_BITS | host : 0;
}

static void _sl_hint_lists(struct sl_hints *h, const struct sl_table *t, bool v6)
{
    for (size_t i = 0; i < t->n; i++) {
        struct sl_addr a = {{0}};
        struct sl_list_value v;
        uint32_t len;
        memcpy(&len, sl_table_key(t, i), sizeof(len));
        memcpy(a.bytes, (const char *)sl_table_key(t, i) + sizeof(len), v6 ? 16 : 4);
        _sl_hint_prefix(h, &a, len, v6);
        memcpy(&v, sl_table_value(t, i), sizeof(v));
        if (!v6 && len == 32)
            _sl_hint_one_host(h, &a, &v);
    }
}

static void _sl_hints_of(struct sl_hints *h, const struct sl_plan *p)
{
    const struct sl_table *listeners = &p->maps[SL_PLAN_LISTENERS];
    memset(h, 0xff, sizeof(*h));
    for (size_t i = 0; i < SL_HINT_PAIRS; i++)
        h->pairs[i] = h->hosts[i] = SL_HINT_NONE;
    for (size_t i = 0; i < listeners->n; i++) {
        struct sl_listener_key k;
        struct sl_listener_value v;
        memcpy(&k, sl_table_key(listeners, i), sizeof(k));
        memcpy(&v, sl_table_value(listeners, i), sizeof(v));
        _sl_hint_listener(h, &k, v.listener);
    }
    _sl_hint_lists(h, &p->maps[SL_PLAN_LISTS4], false);
    _sl_hint_lists(h, &p->maps[SL_PLAN_LISTS6], true);
}

/* ---- taking back, giving */

static void _sl_store(__u64 *word, __u64 v)
{
    __atomic_store_n(word, v, __ATOMIC_RELAXED);
}

static void _sl_keep_both(__u64 *is, const __u64 *next)
{
    for (size_t i = 0; i < SL_HINT_WORDS; i++)
        _sl_store(&is[i], is[i] & next[i]);
}

static void _sl_give(__u64 *is, const __u64 *next)
{
    for (size_t i = 0; i < SL_HINT_WORDS; i++)
        _sl_store(&is[i], next[i]);
}

static void _sl_keep_equal(__u64 *is, const __u64 *next)
{
    for (size_t i = 0; i < SL_HINT_PAIRS; i++)
        if (is[i] != next[i])
            _sl_store(&is[i], 0);
}

static void _sl_take_back(struct sl_hints *is, const struct sl_hints *next)
{
    _sl_keep_equal(is->pairs, next->pairs);
    _sl_keep_equal(is->hosts, next->hosts);
    _sl_keep_both(is->ports, next->ports);
    _sl_keep_both(is->long_lists, next->long_lists);
    _sl_keep_both(is->wide_lists, next->wide_lists);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

int sl_guard_sync_maps(struct sl_kernel_guard *g, const struct sl_plan *p, enum sl_plan_map first,
                       enum sl_plan_map last)
{
    SL_FREE struct sl_hints *next = malloc(sizeof(*next));
    int r = 0;
    if (!next)
        return -ENOMEM;
    _sl_hints_of(next, p);
    _sl_take_back(g->hints, next);
    for (int i = first; r == 0 && i <= (int)last; i++)
        r = sl_table_sync(&p->maps[i], sl_guard_map(g, i));
    if (r < 0)
        return r; /* what is left says what both contents have in common */
    _Static_assert(SL_HINT_PAIRS == SL_HINT_WORDS, "one loop gives each");
    _sl_give(g->hints->pairs, next->pairs);
    _sl_give(g->hints->hosts, next->hosts);
    _sl_give(g->hints->ports, next->ports);
    _sl_give(g->hints->long_lists, next->long_lists);
    _sl_give(g->hints->wide_lists, next->wide_lists);
    return 0;
}

/* ---- penalties */

static bool _sl_is_single(const struct sl_penalty_key *k)
{
    return k->family == SL_AF_INET && k->scope == SL_PENALTY_SOURCE;
}

/* The word for an entry; 0, which says nothing, for one that does not drop each packet of one address. */
static __u64 _sl_source_word(const struct sl_penalty_key *k, const struct sl_penalty_value *v)
{
    const __u64 until = SL_MIN(v->deadline_ns >> 30, (1ull << SL_HINT_UNTIL_BITS) - 1);
    return _sl_is_single(k) && v->effect == SL_PENALTY_SOURCE
               ? SL_HINT_ONE | until << SL_HINT_HOST_BITS | sl_hint_pair(&k->addr, 0)
               : 0;
}

/* Of two in one slot the one stays that ends later. */
static void _sl_hint_source(__u64 *sources, const struct sl_penalty_key *k, const struct sl_penalty_value *v)
{
    const __u64 word = _sl_source_word(k, v);
    __u64 *at = &sources[sl_hint_pair_slot(sl_hint_pair(&k->addr, 0))];
    if (word && sl_hint_until(word) >= sl_hint_until(*at))
        _sl_store(at, word);
}

void sl_hints_penalty_off(struct sl_kernel_guard *g, const struct sl_penalty_key *k)
{
    const __u64 source = sl_hint_pair(&k->addr, 0);
    __u64 *at = &g->hints->sources[sl_hint_pair_slot(source)];
    _sl_present(g->hints->penalties, sl_hint_host(&k->addr));
    if (_sl_is_single(k) && (__u32)*at == (__u32)source)
        _sl_store(at, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void sl_hints_penalty_on(struct sl_kernel_guard *g, const struct sl_penalty_key *k,
                         const struct sl_penalty_value *v)
{
    _sl_hint_source(g->hints->sources, k, v);
}

int sl_hints_penalties(struct sl_kernel_guard *g)
{
    SL_CLEANUP(sl_table_free)
    struct sl_table t = {.key_size = sizeof(struct sl_penalty_key),
                         .value_size = sizeof(struct sl_penalty_value),
                         .max = SL_MAX_PENALTIES};
    __u64 next[SL_HINT_WORDS], sources[SL_HINT_PAIRS] = {0};
    const int r = sl_table_read(&t, sl_guard_penalties(g));
    if (r < 0)
        return r;
    memset(next, 0xff, sizeof(next));
    for (size_t i = 0; i < t.n; i++) {
        struct sl_penalty_key k;
        struct sl_penalty_value v;
        memcpy(&k, sl_table_key(&t, i), sizeof(k));
        memcpy(&v, sl_table_value(&t, i), sizeof(v));
        _sl_present(next, sl_hint_host(&k.addr));
        _sl_hint_source(sources, &k, &v);
    }
    _sl_give(g->hints->penalties, next);
    _sl_give(g->hints->sources, sources);
    return 0;
}
