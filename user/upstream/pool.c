/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of connections by target. Invariant: a connection in `idle` has its read watcher on and nobody holds
 * it, so whatever its socket says (closed, or bytes nobody asked for) takes it out of the pool.
 */
#include "base/log.h"
#include "net/tls.h"
#include "upstream/pool_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SL_WARN_EVERY_NS (5 * SL_NS_PER_SEC)

void sl_upstreams_init(struct sl_upstreams *u, struct sl_loop *loop, struct sl_bufpool *bufs,
                       struct sl_worker_counters *counters, struct sl_shared_health *health)
{
    *u = (struct sl_upstreams){.loop = loop, .bufs = bufs, .counters = counters, .health = health};
    u->rng = sl_hash(&loop->now, sizeof(loop->now), (uint64_t)getpid()) | 1;
    sl_list_init(&u->pools);
}

/* What makes two targets of two snapshots one: a changed certificate makes it another. */
static uint64_t _sl_key(const struct sl_upstream *cfg, const struct sl_target *t)
{
    const char *sni = cfg->tls.sni ? cfg->tls.sni : "";
    struct sl_slice parts[] = {sl_slice_str(cfg->name),
                               sl_slice_str(t->text),
                               sl_slice_str(sni),
                               sl_slice_str(t->dns.host ? t->dns.host : ""),
                               cfg->tls.ca.data,
                               cfg->tls.cert.data,
                               cfg->tls.key.data,
                               sl_slice_str(cfg->tls.enabled ? "tls" : "plain"),
                               sl_slice_str(cfg->h2 ? "h2" : "http/1.1")};
    uint64_t h = 0x51ce;
    for (size_t i = 0; i < SL_ARRAY_LEN(parts); i++)
        h = sl_hash(parts[i].p ? parts[i].p : "", parts[i].n, h + i);
    return h;
}

static void _sl_configure(struct sl_pool *p, const struct sl_upstream *cfg, const struct sl_target *t)
{
    const uint32_t row = sl_slot(t->slot, SL_COUNTER_TARGETS);
    p->target = &p->all->counters->targets[row];
    p->shared = row ? &p->all->health->targets[row] : NULL;
    p->max_idle = cfg->keepalive.idle;
    p->idle_timeout = cfg->keepalive.idle_timeout;
    p->max_requests = cfg->keepalive.requests;
    p->counters = &p->all->counters->upstreams[sl_slot(cfg->slot, SL_COUNTER_UPSTREAMS)];
}

static void _sl_pool_free(struct sl_pool *p)
{
    sl_tls_forget(&p->session);
    SSL_CTX_free(p->tls);
    free(p->name);
    free(p->text);
    free(p->sni);
    free(p);
}

static int _sl_pool_tls(struct sl_pool *p, const struct sl_upstream *cfg, const struct sl_target *t)
{
    const char *why = "";
    int r = sl_tls_client_new(&(struct sl_tls_client){.ca = cfg->tls.ca.data,
                                                      .cert = cfg->tls.cert.data,
                                                      .key = cfg->tls.key.data,
                                                      .alpn = cfg->h2 ? SL_S("\x02h2") : SL_SLICE_NUL},
                              &why, &p->tls);
    if (r < 0)
        return sl_error_r(r, "upstream %s: tls: %s", cfg->name, why);
    char text[SL_IP_STRLEN];
    struct sl_ip ip = sl_sockaddr_ip(&p->address);
    p->sni = strdup(cfg->tls.sni ? cfg->tls.sni : t->dns.host ? t->dns.host : sl_ip_text(&ip, text));
    return p->sni ? 0 : -ENOMEM;
}

static int _sl_pool_new(struct sl_upstreams *u, const struct sl_upstream *cfg, const struct sl_target *t,
                        uint64_t key, struct sl_pool **out)
{
    struct sl_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    *p = (struct sl_pool){.all = u, .key = key, .address = t->address, .h2 = cfg->h2};
    p->name = strdup(cfg->name);
    p->text = strdup(t->text);
    sl_list_init(&p->idle);
    sl_list_init(&p->carriers);
    int r = p->name && p->text ? 0 : -ENOMEM;
    if (r == 0 && cfg->tls.enabled)
        r = _sl_pool_tls(p, cfg, t);
    if (r < 0) {
        _sl_pool_free(p);
        return r;
    }
    sl_list_push_back(&u->pools, &p->node);
    *out = p;
    return 0;
}

int sl_pool_get(struct sl_upstreams *u, const struct sl_upstream *cfg, const struct sl_target *t,
                struct sl_pool **out)
{
    uint64_t key = _sl_key(cfg, t);
    struct sl_pool *p = NULL;
    sl_list_for_each (it, &u->pools) {
        struct sl_pool *have = SL_LIST_ENTRY(it, struct sl_pool, node);
        if (have->key == key)
            p = have;
    }
    if (!p) {
        int r = _sl_pool_new(u, cfg, t, key, &p);
        if (r < 0)
            return r;
    }
    _sl_configure(p, cfg, t);
    p->refs++;
    p->groups++;
    *out = p;
    return 0;
}

void sl_pool_warn(struct sl_pool *p, int error, const char *why)
{
    uint64_t now = p->all->loop->now;
    if (p->warned_ns && now - p->warned_ns < SL_WARN_EVERY_NS)
        return;
    p->warned_ns = now;
    sl_warn("upstream %s: target %s: %s", p->name, p->text, why ? why : strerror(-error));
}

void sl_pool_unref(struct sl_pool *p)
{
    if (--p->refs)
        return;
    sl_list_remove(&p->node);
    _sl_pool_free(p);
}

void sl_pool_put_group(struct sl_pool *p)
{
    if (--p->groups == 0) {
        sl_list_for_each_safe (it, &p->idle)
            sl_upconn_release(SL_LIST_ENTRY(it, struct sl_upconn, node), false);
        sl_uph2_pool_ended(p);
    }
    sl_pool_unref(p);
}

struct sl_upconn *sl_pool_take(struct sl_pool *p)
{
    if (sl_list_empty(&p->idle))
        return NULL;
    struct sl_upconn *c = SL_LIST_ENTRY(p->idle.next, struct sl_upconn, node);
    sl_list_remove(&c->node);
    p->n_idle--;
    p->counters->idle--;
    sl_timer_set(p->all->loop, &c->timer, 0);
    sl_upconn_set_state(c, SL_UPCONN_BUSY);
    return c;
}
