/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to rows of counters. Append-only: a name that left the policy keeps its row, so that figures never
 * move to another name. Row 0 is "other".
 */
#include "config/bundle_priv.h"

#include <errno.h>
#include <stdio.h>

struct sl_slots {
    struct {
        char **names;
        size_t n, cap;
        struct sl_map by_name; /* the slot, as a pointer */
    } kinds[SL_SLOT_KINDS];
};

static const size_t _sl_caps[SL_SLOT_KINDS] = {
    [SL_SLOT_LISTENER] = SL_SLOTS_LISTENERS, [SL_SLOT_ROUTE] = SL_SLOTS_ROUTES,
    [SL_SLOT_TIER] = SL_SLOTS_TIERS,         [SL_SLOT_UPSTREAM] = SL_SLOTS_UPSTREAMS,
    [SL_SLOT_CONSUMER] = SL_SLOTS_CONSUMERS, [SL_SLOT_TARGET] = SL_SLOTS_TARGETS,
};

struct sl_slots *sl_slots_new(void)
{
    return calloc(1, sizeof(struct sl_slots));
}

void sl_slots_free(struct sl_slots *s)
{
    for (size_t k = 0; s && k < SL_SLOT_KINDS; k++) {
        for (size_t i = 0; i < s->kinds[k].n; i++)
            free(s->kinds[k].names[i]);
        free(s->kinds[k].names);
        sl_map_free(&s->kinds[k].by_name);
    }
    free(s);
}

const char *sl_slots_name(const struct sl_slots *s, enum sl_slot_kind kind, uint32_t slot)
{
    if (slot == 0)
        return "other";
    return slot <= s->kinds[kind].n ? s->kinds[kind].names[slot - 1] : NULL;
}

size_t sl_slots_count(const struct sl_slots *s, enum sl_slot_kind kind)
{
    return s->kinds[kind].n + 1;
}

uint32_t sl_slots_find(const struct sl_slots *s, enum sl_slot_kind kind, const char *name)
{
    return (uint32_t)(uintptr_t)sl_map_get(&s->kinds[kind].by_name, sl_slice_str(name));
}

int sl_slots_add(struct sl_slots *s, enum sl_slot_kind kind, const char *name)
{
    size_t n = s->kinds[kind].n;
    if (n + 1 >= _sl_caps[kind] || sl_slots_find(s, kind, name))
        return 0;
    if (n == s->kinds[kind].cap) {
        size_t cap = n ? n * 2 : 16;
        char **names = realloc(s->kinds[kind].names, cap * sizeof(*names));
        if (!names)
            return -ENOMEM;
        s->kinds[kind].names = names;
        s->kinds[kind].cap = cap;
    }
    SL_FREE char *copy = strdup(name);
    int r =
        copy ? sl_map_add(&s->kinds[kind].by_name, sl_slice_str(copy), (void *)(uintptr_t)(n + 1)) : -ENOMEM;
    if (r < 0)
        return r;
    s->kinds[kind].names[s->kinds[kind].n++] = SL_TAKE_PTR(copy);
    return 0;
}

int sl_slots_adopt(struct sl_slots *to, const struct sl_slots *from)
{
    int r = 0;
    for (unsigned k = 0; k < SL_SLOT_KINDS; k++)
        for (size_t i = 0; r == 0 && i < from->kinds[k].n; i++)
            r = sl_slots_add(to, k, from->kinds[k].names[i]);
    return r;
}

struct sl_slots *sl_slots_clone(const struct sl_slots *s)
{
    struct sl_slots *copy = sl_slots_new();
    if (copy && sl_slots_adopt(copy, s) == 0)
        return copy;
    sl_slots_free(copy);
    return NULL;
}

/* An upstream's name, and an address or a name of DNS with a port. */
#define SL_TARGET_NAME 384

static const char *_sl_target_name(const struct sl_upstream *u, const struct sl_target *t,
                                   char out[SL_TARGET_NAME])
{
    (void)snprintf(out, SL_TARGET_NAME, "%s/%s", u->name, t->text);
    return out;
}

static void _sl_apply_targets(const struct sl_slots *slots, struct sl_upstream *u)
{
    char name[SL_TARGET_NAME];
    for (size_t i = 0; i < u->n_targets; i++)
        u->targets[i].slot = sl_slots_find(slots, SL_SLOT_TARGET, _sl_target_name(u, &u->targets[i], name));
}

static int _sl_add_targets(struct sl_slots *slots, const struct sl_upstream *u)
{
    char name[SL_TARGET_NAME];
    int r = 0;
    for (size_t i = 0; r == 0 && i < u->n_targets; i++)
        r = sl_slots_add(slots, SL_SLOT_TARGET, _sl_target_name(u, &u->targets[i], name));
    return r;
}

void sl_slots_apply(const struct sl_slots *slots, struct sl_snapshot *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        s->listeners[i].slot = sl_slots_find(slots, SL_SLOT_LISTENER, s->listeners[i].name);
    for (size_t i = 0; i < s->n_routes; i++)
        s->routes[i].slot = sl_slots_find(slots, SL_SLOT_ROUTE, s->routes[i].name);
    for (size_t i = 0; i < s->n_tiers; i++)
        s->tiers[i].slot = sl_slots_find(slots, SL_SLOT_TIER, s->tiers[i].name);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        s->upstreams[i].slot = sl_slots_find(slots, SL_SLOT_UPSTREAM, s->upstreams[i].name);
        _sl_apply_targets(slots, &s->upstreams[i]);
    }
    for (size_t i = 0; i < s->n_consumers; i++)
        s->consumers[i].slot = sl_slots_find(slots, SL_SLOT_CONSUMER, s->consumers[i].name);
}

static int _sl_add_all(struct sl_slots *slots, const struct sl_snapshot *s)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_listeners; i++)
        r = sl_slots_add(slots, SL_SLOT_LISTENER, s->listeners[i].name);
    for (size_t i = 0; r == 0 && i < s->n_routes; i++)
        r = sl_slots_add(slots, SL_SLOT_ROUTE, s->routes[i].name);
    for (size_t i = 0; r == 0 && i < s->n_tiers; i++)
        r = sl_slots_add(slots, SL_SLOT_TIER, s->tiers[i].name);
    for (size_t i = 0; r == 0 && i < s->n_upstreams; i++)
        r = sl_slots_add(slots, SL_SLOT_UPSTREAM, s->upstreams[i].name);
    for (size_t i = 0; r == 0 && i < s->n_upstreams; i++)
        r = _sl_add_targets(slots, &s->upstreams[i]);
    for (size_t i = 0; r == 0 && i < s->n_consumers; i++)
        r = sl_slots_add(slots, SL_SLOT_CONSUMER, s->consumers[i].name);
    return r;
}

int sl_bundle_accept(struct sl_bundle *b, struct sl_snapshot *s, struct sl_slots *slots)
{
    int r = _sl_add_all(slots, s);
    struct sl_slots *copy = r == 0 ? sl_slots_clone(slots) : NULL;
    if (!copy)
        return -ENOMEM;
    sl_slots_free(b->slots);
    b->slots = copy;
    sl_slots_apply(copy, s);
    return 0;
}
