/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Penalties: given, doubled, listed by maps.c, taken back and swept.
 *
 * Invariant: an entry alive is never weakened or shortened by an escalation. A repeat is one that comes after
 * an entry's end and within twice its duration, so that several workers that ask at once double nothing.
 * What another host has reckoned is taken as it is, and doubles nothing here.
 */
#include "base/clock.h"
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <bpf/bpf.h>
#include <errno.h>

#define SL_SAME_NS SL_NS_PER_SEC /* between the ends of one penalty, as two hosts have it */

static struct sl_penalty_key _sl_key(const struct sl_penalty_request *r)
{
    struct sl_penalty_key k = {
        .addr = r->source.addr, .family = r->source.family, .scope = SL_PENALTY_SOURCE};
    if (r->effect == SL_PENALTY_FLOW) {
        k.daddr = r->destination.addr;
        k.sport_be = htons(r->source_port);
        k.dport_be = htons(r->destination_port);
        k.scope = SL_PENALTY_FLOW;
    } else {
        k.addr = sl_ip_source(&r->source).ip.addr;
    }
    return k;
}

static uint64_t _sl_duration(const struct sl_penalty_request *r, uint32_t level)
{
    const uint64_t max =
        SL_MIN(r->max_ns ? SL_MAX(r->max_ns, r->duration_ns) : r->duration_ns, UINT64_MAX / 8);
    const uint32_t doublings = SL_MIN(level - 1, 63u);
    return r->duration_ns > max >> doublings ? max : r->duration_ns << doublings;
}

static bool _sl_is_repeat(const struct sl_penalty_value *was, uint64_t now)
{
    return now < was->deadline_ns + 2 * (was->deadline_ns - was->since_ns);
}

/* was is NULL where there was none. */
static struct sl_penalty_value _sl_value(const struct sl_penalty_request *r,
                                         const struct sl_penalty_value *was, uint64_t now)
{
    struct sl_penalty_value v = {
        .since_ns = now, .effect = r->effect, .level = 1, .rejections = r->rejections, .manual = r->manual};
    memcpy(v.consumer, r->consumer, sizeof(v.consumer) - 1);
    memcpy(v.rule, r->rule, sizeof(v.rule) - 1);
    const bool alive = was && was->deadline_ns > now;
    if (r->level)
        v.level = r->level;
    else if (alive)
        v.level = was->level;
    else if (was && _sl_is_repeat(was, now))
        v.level = was->level < UINT32_MAX ? was->level + 1 : was->level;
    v.deadline_ns = now + (r->level ? r->duration_ns : _sl_duration(r, v.level));
    /* told over and over, an end is never told to the ns */
    if (alive && was->effect >= r->effect && was->deadline_ns + (r->level ? SL_SAME_NS : 0) >= v.deadline_ns)
        return *was;
    if (alive) {
        v.effect = SL_MAX(was->effect, v.effect);
        v.deadline_ns = SL_MAX(was->deadline_ns, v.deadline_ns);
        v.manual |= was->manual;
    }
    return v;
}

/* ---- a full table */

/* An operator's entry never gives way to an escalation. */
static int _sl_note(struct sl_penalty_heap *h, const struct sl_penalty_key *k,
                    const struct sl_penalty_value *v)
{
    return v->manual ? 0 : sl_penalty_heap_push(h, k, v->deadline_ns);
}

static int _sl_heap_build(struct sl_kernel_guard *g)
{
    SL_CLEANUP(sl_table_free)
    struct sl_table t = {.key_size = sizeof(struct sl_penalty_key),
                         .value_size = sizeof(struct sl_penalty_value),
                         .max = SL_MAX_PENALTIES};
    sl_penalty_heap_free(&g->penalty_heap);
    int r = sl_table_read(&t, sl_guard_penalties(g));
    for (size_t i = 0; r == 0 && i < t.n; i++) {
        struct sl_penalty_key k;
        struct sl_penalty_value v;
        memcpy(&k, sl_table_key(&t, i), sizeof(k));
        memcpy(&v, sl_table_value(&t, i), sizeof(v));
        r = _sl_note(&g->penalty_heap, &k, &v);
    }
    g->penalty_heap.built = r == 0;
    return r;
}

/* Once the heap is there, it knows each change; where it has no room left it is built anew when next needed.
 */
static void _sl_heap_note(struct sl_kernel_guard *g, const struct sl_penalty_key *k,
                          const struct sl_penalty_value *v)
{
    if (g->penalty_heap.built && _sl_note(&g->penalty_heap, k, v) < 0)
        sl_penalty_heap_free(&g->penalty_heap);
}

/*
 * Takes the entry out whose deadline is nearest, unless the new one's is nearer still: 0, or -ENOSPC. Notes
 * that no longer hold go on the way; each was paid for when it was made.
 */
static int _sl_give_way(struct sl_kernel_guard *g, uint64_t deadline_ns)
{
    struct sl_penalty_heap *h = &g->penalty_heap;
    const struct sl_penalty_note *first;
    const int r = h->built ? 0 : _sl_heap_build(g);
    if (r < 0)
        return r;
    while ((first = sl_penalty_heap_first(h)) && first->deadline_ns <= deadline_ns) {
        const struct sl_penalty_note note = *first;
        struct sl_penalty_value v;
        sl_penalty_heap_pop(h);
        /* the program may have ended it since: an earlier deadline than the note's is nearest all the more */
        if (bpf_map_lookup_elem(sl_guard_penalties(g), &note.key, &v) < 0 || v.manual ||
            v.deadline_ns > note.deadline_ns)
            continue;
        sl_hints_penalty_off(g, &note.key);
        if (bpf_map_delete_elem(sl_guard_penalties(g), &note.key) == 0) {
            g->penalties_evicted += v.deadline_ns > sl_now_ns();
            return 0;
        }
    }
    return -ENOSPC;
}

static int _sl_write(struct sl_kernel_guard *g, const struct sl_penalty_key *k,
                     const struct sl_penalty_value *v)
{
    sl_hints_penalty_off(g, k);
    int r = bpf_map_update_elem(sl_guard_penalties(g), k, v, BPF_ANY) < 0 ? -errno : 0;
    if (r == -E2BIG) {
        if (!g->penalties_full)
            sl_warn("kernel: the penalty table is full (%u): whoever's ends first gives way",
                    SL_MAX_PENALTIES);
        g->penalties_full = true;
        r = _sl_give_way(g, v->deadline_ns);
        if (r == 0)
            r = bpf_map_update_elem(sl_guard_penalties(g), k, v, BPF_ANY) < 0 ? -errno : 0;
        g->penalties_refused += r < 0;
    }
    if (r < 0)
        return r;
    sl_hints_penalty_on(g, k, v);
    _sl_heap_note(g, k, v);
    return 0;
}

int sl_kernel_penalty_add(struct sl_kernel_guard *g, const struct sl_penalty_request *r,
                          uint64_t *deadline_ns)
{
    if (g->off)
        return -ENODEV;
    if (r->source.family == 0 || r->duration_ns == 0 || r->effect < SL_PENALTY_FLOW ||
        r->effect > SL_PENALTY_SOURCE)
        return -EINVAL;
    const struct sl_penalty_key key = _sl_key(r);
    struct sl_penalty_value was;
    const bool had = bpf_map_lookup_elem(sl_guard_penalties(g), &key, &was) == 0;
    const struct sl_penalty_value v = _sl_value(r, had ? &was : NULL, sl_now_ns());
    const int e = _sl_write(g, &key, &v);
    if (e < 0)
        return e == -ENOSPC ? e : sl_error_r(e, "kernel: cannot write a penalty");
    *deadline_ns = v.deadline_ns;
    if (g->have_penalties)
        return 0;
    g->have_penalties = true;
    return sl_guard_write_config(g);
}

int sl_kernel_penalty_get(const struct sl_kernel_guard *g, const struct sl_penalty_request *r,
                          struct sl_penalty_value *out)
{
    const struct sl_penalty_key key = _sl_key(r);
    if (g->off)
        return -ENODEV;
    return bpf_map_lookup_elem(sl_guard_penalties(g), &key, out) < 0 ? -errno : 0;
}

void sl_kernel_penalty_withdraw(struct sl_kernel_guard *g, const struct sl_penalty_request *r)
{
    const struct sl_penalty_key key = _sl_key(r);
    if (!g->off && r->effect == SL_PENALTY_FLOW)
        (void)bpf_map_delete_elem(sl_guard_penalties(g), &key); /* ended by the program's SYN rule else */
}

uint64_t sl_kernel_penalties_evicted(const struct sl_kernel_guard *g)
{
    return g->penalties_evicted;
}

uint64_t sl_kernel_penalties_refused(const struct sl_kernel_guard *g)
{
    return g->penalties_refused;
}

/* ---- taking back, sweeping */

static bool _sl_matches(const struct sl_penalty_key *k, const struct sl_cidr *c)
{
    const struct sl_ip source = {.family = k->family, .addr = k->addr};
    if (sl_cidr_contains(c, &source))
        return true;
    /* An IPv6 source is its whole /64: one address of it names the entry. */
    const struct sl_ip of = sl_ip_mask(c->ip, 64);
    return k->family == SL_AF_INET6 && k->scope == SL_PENALTY_SOURCE && c->len > 64 && sl_ip_eq(&of, &source);
}

static bool _sl_is_over(const struct sl_penalty_value *v, uint64_t now)
{
    return v->deadline_ns <= now && !_sl_is_repeat(v, now);
}

/* Deletes those of a prefix (c), or those that are over (c NULL): how many, or -errno. */
static int _sl_delete_where(struct sl_kernel_guard *g, const struct sl_cidr *c, uint64_t now, size_t *left)
{
    SL_CLEANUP(sl_table_free)
    struct sl_table t = {.key_size = sizeof(struct sl_penalty_key),
                         .value_size = sizeof(struct sl_penalty_value),
                         .max = SL_MAX_PENALTIES};
    int n = 0;
    const int r = sl_table_read(&t, sl_guard_penalties(g));
    if (r < 0)
        return r;
    for (size_t i = 0; i < t.n; i++) {
        struct sl_penalty_key k;
        struct sl_penalty_value v;
        memcpy(&k, sl_table_key(&t, i), sizeof(k));
        memcpy(&v, sl_table_value(&t, i), sizeof(v));
        if (!(c ? _sl_matches(&k, c) : _sl_is_over(&v, now)))
            continue;
        sl_hints_penalty_off(g, &k);
        n += bpf_map_delete_elem(sl_guard_penalties(g), &k) == 0;
    }
    *left = t.n - (size_t)n;
    return n && sl_hints_penalties(g) < 0 ? -ENOMEM : n;
}

static int _sl_note_left(struct sl_kernel_guard *g, size_t left)
{
    g->penalties_full = left >= SL_MAX_PENALTIES;
    if (left == 0)
        sl_penalty_heap_free(&g->penalty_heap); /* its memory, until it is needed again */
    if (g->have_penalties == (left > 0))
        return 0;
    g->have_penalties = left > 0;
    return sl_guard_write_config(g);
}

int sl_kernel_penalty_remove(struct sl_kernel_guard *g, const struct sl_cidr *c)
{
    size_t left = 0;
    if (g->off)
        return -ENODEV;
    const int n = _sl_delete_where(g, c, 0, &left);
    if (n < 0)
        return n;
    int r = _sl_note_left(g, left), timed = 0;
    for (size_t i = 0; i < g->manuals.n;) {
        const struct sl_manual m = g->manuals.v[i];
        if (m.value.verdict == SL_LIST_DENY && m.value.deadline_ns && m.prefix.len >= c->len &&
            sl_cidr_contains(c, &m.prefix.ip)) {
            g->manuals.v[i] = g->manuals.v[--g->manuals.n];
            timed++;
        } else {
            i++;
        }
    }
    if (r == 0 && timed)
        r = sl_guard_sync_lists(g);
    return r < 0 ? r : n + timed;
}

void sl_kernel_sweep(struct sl_kernel_guard *g)
{
    const uint64_t now = sl_now_ns();
    size_t left = 0, kept = 0;
    if (g->off)
        return;
    sl_cookies_watch(g);
    sl_sources_sweep(g, now);
    if (g->have_penalties && _sl_delete_where(g, NULL, now, &left) >= 0)
        (void)_sl_note_left(g, left);
    for (size_t i = 0; i < g->manuals.n; i++)
        if (!g->manuals.v[i].value.deadline_ns || g->manuals.v[i].value.deadline_ns > now)
            g->manuals.v[kept++] = g->manuals.v[i];
    if (kept == g->manuals.n)
        return;
    g->manuals.n = kept;
    if (sl_guard_sync_lists(g) < 0)
        sl_warn("kernel: entries past their time stay in the lists until the next change");
}
