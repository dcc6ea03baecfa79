/* SPDX-License-Identifier: Apache-2.0 */
/* An upstream of one snapshot: its members, and what waits for a connection to one of them. */
#include "upstream/group_priv.h"
#include "upstream/h2_priv.h"

#include <errno.h>

static void _sl_group_unref(struct sl_group *g)
{
    if (--g->refs)
        return;
    free(g->maglev);
    free(g->fitness);
    free(g->named);
    free(g);
}

int sl_group_new(struct sl_upstreams *u, const struct sl_upstream *cfg, struct sl_group **out)
{
    const size_t cap = sl_named_cap(cfg);
    struct sl_group *g = calloc(1, sizeof(*g) + cap * sizeof(g->members[0]));
    if (!g)
        return -ENOMEM;
    *g = (struct sl_group){.all = u, .cfg = cfg, .refs = 1, .cap = cap};
    g->counters = &u->counters->upstreams[sl_slot(cfg->slot, SL_COUNTER_UPSTREAMS)];
    if (cfg->breaker.enabled && cfg->slot < SL_COUNTER_UPSTREAMS && cfg->slot)
        g->breaker = &u->health->upstreams[cfg->slot];
    int r = sl_named_members(g);
    if (r == 0 || r == -EAGAIN)
        r = sl_balance_init(g);
    if (r < 0)
        sl_group_free(g);
    else
        *out = g;
    return r;
}

void sl_group_free(struct sl_group *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        sl_pool_put_group(g->members[i].pool);
    g->n = 0;
    _sl_group_unref(g);
}

const struct sl_upstream *sl_group_config(const struct sl_group *g)
{
    return g->cfg;
}

size_t sl_group_size(const struct sl_group *g)
{
    return g->n;
}

struct sl_upstream_counters *sl_group_counters(const struct sl_group *g)
{
    return g->counters;
}

void sl_group_pending_done(struct sl_group *g)
{
    g->pending--;
    g->counters->pending--;
    _sl_group_unref(g);
}

/* The peer may have closed in this very turn of the loop, its event not yet seen. */
static bool _sl_alive(const struct sl_upconn *c)
{
    char byte;
    return recv(c->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static struct sl_upconn *_sl_kept(struct sl_pool *p, enum sl_reuse reuse, const struct sl_upconn_ops *ops,
                                  void *owner)
{
    struct sl_upconn *c;
    while ((c = sl_pool_take(p)) && reuse == SL_REUSE_PEEKED && !_sl_alive(c))
        sl_upconn_release(c, false);
    if (!c)
        return NULL;
    c->ops = ops;
    c->owner = owner;
    c->reused = true;
    c->requests++;
    c->sent_before = c->stream.sent;
    p->counters->reused++;
    p->counters->active++;
    p->active++;
    p->target->active++;
    p->target->requests++;
    return c;
}

static int _sl_none(const struct sl_group *g)
{
    return g->n == 0 ? SL_GROUP_UNRESOLVED : g->drained ? SL_GROUP_DRAINED : SL_GROUP_UNHEALTHY;
}

int sl_group_connect(struct sl_group *g, struct sl_attempts *a, uint64_t timeout_ns, enum sl_reuse reuse,
                     const struct sl_upconn_ops *ops, void *owner, struct sl_upconn **out)
{
    int r = g->breaker ? sl_breaker_admit(g, a) : 0;
    struct sl_pool *p = r == 0 ? sl_balance_pick(g, a) : NULL;
    if (!p)
        return r < 0 ? r : _sl_none(g);
    a->tries++;
    if (reuse != SL_REUSE_NONE && !p->h2 && (*out = _sl_kept(p, reuse, ops, owner)))
        return 1;
    if (g->pending >= g->cfg->max_pending) {
        g->counters->overloaded++;
        return SL_GROUP_FULL;
    }
    g->pending++;
    g->counters->pending++;
    g->refs++;
    r = p->h2 ? sl_uph2_connect(p, g, timeout_ns, ops, owner, out)
              : sl_upconn_new(p, g, timeout_ns, ops, owner, out);
    if (r < 0) {
        a->failed = p;
        sl_group_pending_done(g);
    }
    return r;
}
