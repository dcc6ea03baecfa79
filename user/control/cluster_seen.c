/* SPDX-License-Identifier: Apache-2.0 */
/* A table of fixed size, by the hash of kind and prefix. See cluster_seen_priv.h. */
#include "control/cluster_seen_priv.h"

#include "base/hash.h"

#include <stdio.h>

static size_t _sl_row(const struct sl_seen_table *t, uint32_t kind, const struct sl_cidr *c)
{
    const uint64_t h = sl_hash(&c->ip.addr, sizeof(c->ip.addr), t->seed);
    return (h ^ (uint64_t)kind << 16 ^ (uint64_t)c->ip.family << 8 ^ c->len) % SL_SEEN_ROWS;
}

static bool _sl_is(const struct sl_seen *s, uint32_t kind, const struct sl_cidr *c)
{
    return s->deadline_ns && s->kind == kind && s->prefix.len == c->len && sl_ip_eq(&s->prefix.ip, &c->ip);
}

void sl_seen_put(struct sl_seen_table *t, const struct sl_cluster_event *e, uint64_t deadline_ns, bool mine)
{
    struct sl_seen *row = t->rows[_sl_row(t, e->what.kind, &e->what.prefix)], *to = row;
    for (size_t i = 0; i < SL_SEEN_WAYS; i++) {
        if (_sl_is(&row[i], e->what.kind, &e->what.prefix)) {
            to = &row[i];
            break;
        }
        if (row[i].deadline_ns < to->deadline_ns)
            to = &row[i];
    }
    *to = (struct sl_seen){
        .deadline_ns = deadline_ns, .kind = e->what.kind, .mine = mine, .prefix = e->what.prefix};
    (void)snprintf(to->host, sizeof(to->host), "%s", e->host);
}

const struct sl_seen *sl_seen_find(const struct sl_seen_table *t, uint32_t kind, const struct sl_cidr *c,
                                   uint64_t now)
{
    const struct sl_seen *row = t->rows[_sl_row(t, kind, c)];
    for (size_t i = 0; i < SL_SEEN_WAYS; i++)
        if (_sl_is(&row[i], kind, c))
            return row[i].deadline_ns > now ? &row[i] : NULL;
    return NULL;
}

static void _sl_clear(struct sl_seen_table *t, const struct sl_cidr *c)
{
    for (size_t i = 0; i < SL_SEEN_ROWS * (size_t)SL_SEEN_WAYS; i++) {
        struct sl_seen *s = &t->rows[i / SL_SEEN_WAYS][i % SL_SEEN_WAYS];
        if (s->deadline_ns && (c ? sl_cluster_revokes(c, s->kind, &s->prefix) : s->mine))
            s->deadline_ns = 0;
    }
}

void sl_seen_revoke(struct sl_seen_table *t, const struct sl_cidr *c)
{
    _sl_clear(t, c);
}

void sl_seen_forget_mine(struct sl_seen_table *t)
{
    _sl_clear(t, NULL);
}
