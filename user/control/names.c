/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets by DNS: each name is asked for when its last answer's TTL, between the upstream's min_ttl and
 * max_ttl, is over, and what comes is written where the workers see it (telemetry/named.h).
 *
 * Invariant: an answer stands until the next one. A name that fails (no such name, no address, no word of the
 * nameserver) loses nothing: it is counted, said once, and asked for again.
 */
#include "control/control_priv.h"
#include "net/resolve.h"
#include "telemetry/metrics.h"
#include "telemetry/named.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define SL_FIRST_NS  SL_NS_PER_SEC /* while there was no answer yet: no longer than this */
#define SL_SPREAD_NS SL_NS_PER_MS  /* between the first queries of two names */
#define SL_SRV_SHARE 256           /* a weight of SRV, in parts that the addresses of its host share */
#define SL_SRV_LEAST 16            /* what weight 0 has of them: "a very small chance" (RFC 2782) */

struct sl_name {
    struct sl_names *all;
    const struct sl_upstream *u;
    const struct sl_target *t;
    struct sl_shared_name *shared;
    struct sl_query query;
    struct sl_timer timer;
    uint32_t ttl; /* the least so far of this round */
    struct sl_srv srv[SL_RESOLVED_MAX];
    size_t n_srv, at; /* whose host is asked for */
    struct sl_named_address v[SL_NAMED_MAX];
    size_t n;
};
struct sl_names {
    struct sl_control *control;
    struct sl_snapshot *snapshot; /* one reference */
    struct sl_resolver *resolver;
    struct sl_name *v;
    size_t n;
};

static void _sl_again(struct sl_name *k, uint64_t after)
{
    struct sl_loop *l = &k->all->control->turn;
    sl_timer_set(l, &k->timer, l->now + after);
}

/* ---- what came */

static void _sl_failed(struct sl_name *k, const char *why)
{
    struct sl_shared_name *s = k->shared;
    const uint64_t min = k->u->dns.min_ttl;
    s->failures++;
    if (s->failing++ == 0)
        sl_warn("upstream %s: target %s: cannot be resolved: %s; %s", k->u->name, k->t->text, why,
                s->answered_ns ? "the last answer stays" : "it gets no requests");
    _sl_again(k, s->answered_ns ? min : SL_MIN(min, SL_FIRST_NS));
}

static void _sl_answered(struct sl_name *k)
{
    struct sl_shared_name *s = k->shared;
    const struct sl_dns *d = &k->u->dns;
    const uint64_t ttl = (uint64_t)k->ttl * SL_NS_PER_SEC;
    const bool failed = s->failing != 0;
    s->failing = 0;
    s->answered_ns = sl_now_ns();
    if (sl_named_write(s, k->v, k->n)) {
        sl_info("upstream %s: target %s: %zu addresses", k->u->name, k->t->text, k->n);
        (void)__atomic_add_fetch(&k->all->control->args->counters.shared->health.changes, 1,
                                 __ATOMIC_RELEASE);
    } else if (failed) {
        sl_info("upstream %s: target %s: resolved again", k->u->name, k->t->text);
    }
    _sl_again(k, SL_MIN(SL_MAX(ttl, d->min_ttl), d->max_ttl));
}

/* An address that this host has no route to (IPv6, mostly) would fail each request that meets it. */
static bool _sl_routed(const struct sl_sockaddr *to)
{
    SL_CLOSE int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno != EAFNOSUPPORT;
    return connect(fd, &to->sa, to->len) == 0 || (errno != ENETUNREACH && errno != EADDRNOTAVAIL);
}

static void _sl_add(struct sl_name *k, const struct sl_ip *ip, uint16_t port, uint32_t weight)
{
    struct sl_named_address a = {.family = ip->family, .port = port, .weight = SL_MAX(weight, 1u)};
    memcpy(a.ip, &ip->addr, sizeof(a.ip));
    for (size_t i = 0; i < k->n; i++)
        if (sl_named_same(&k->v[i], &a)) {
            k->v[i].weight += k->t->dns.srv ? a.weight : 0;
            return;
        }
    if (k->n < SL_NAMED_MAX)
        k->v[k->n++] = a;
}

static void _sl_take(struct sl_name *k, const struct sl_ip *v, size_t n)
{
    const struct sl_srv *srv = k->t->dns.srv ? &k->srv[k->at] : NULL;
    const uint16_t port = srv ? srv->port : k->t->dns.port;
    const uint32_t weight = srv ? (srv->weight * (uint32_t)SL_SRV_SHARE + SL_SRV_LEAST) : 1;
    bool routed[SL_RESOLVED_MAX];
    size_t some = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sl_sockaddr sa = sl_sockaddr_of(&v[i], port);
        some += routed[i] = _sl_routed(&sa);
    }
    for (size_t i = 0; i < n; i++)
        if (routed[i] || !some)
            _sl_add(k, &v[i], port, srv ? weight / (uint32_t)(some ? some : n) : weight);
    k->ttl = SL_MIN(k->ttl, k->query.ttl);
}

static void _sl_ask_host(struct sl_name *k)
{
    k->shared->queries++;
    sl_resolve(k->all->resolver, k->t->dns.srv ? k->srv[k->at].host : k->t->dns.host, &k->query);
}

static void _sl_on_addresses(struct sl_query *q, const char *error, const struct sl_ip *v, size_t n)
{
    struct sl_name *k = SL_CONTAINER_OF(q, struct sl_name, query);
    if (error && (!k->t->dns.srv || !q->absent)) { /* of a service, a host that is not there is left out */
        _sl_failed(k, error);
        return;
    }
    if (!error)
        _sl_take(k, v, n);
    if (k->t->dns.srv && ++k->at < k->n_srv)
        _sl_ask_host(k);
    else if (k->n)
        _sl_answered(k);
    else
        _sl_failed(k, "none of its hosts has an address");
}

static void _sl_on_srv(struct sl_query *q, const char *error, const struct sl_srv *v, size_t n)
{
    struct sl_name *k = SL_CONTAINER_OF(q, struct sl_name, query);
    if (error) {
        _sl_failed(k, error);
        return;
    }
    memcpy(k->srv, v, n * sizeof(*v));
    k->n_srv = n;
    k->ttl = SL_MIN(k->ttl, q->ttl);
    _sl_ask_host(k);
}

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_name *k = SL_CONTAINER_OF(t, struct sl_name, timer);
    k->ttl = UINT32_MAX;
    k->n = k->at = 0;
    if (!k->t->dns.srv) {
        _sl_ask_host(k);
        return;
    }
    k->shared->queries++;
    sl_resolve_srv(k->all->resolver, k->t->dns.host, &k->query);
}

/* ---- all of them */

static void _sl_add_name(struct sl_names *all, const struct sl_upstream *u, const struct sl_target *t)
{
    struct sl_shared_health *h = &all->control->args->counters.shared->health;
    if (!sl_slot(t->slot, SL_COUNTER_TARGETS)) {
        sl_warn("upstream %s: target %s: past the %u targets that have state: it is not resolved", u->name,
                t->text, SL_COUNTER_TARGETS - 1);
        return;
    }
    struct sl_name *k = &all->v[all->n++];
    *k = (struct sl_name){.all = all, .u = u, .t = t, .shared = &h->names[t->slot]};
    k->query.done = _sl_on_addresses;
    k->query.done_srv = _sl_on_srv;
    sl_timer_init(&k->timer, _sl_on_timer);
    _sl_again(k,
              1 + all->n * SL_SPREAD_NS); /* at once also what has an answer: hosts may say otherwise now */
}

void sl_names_stop(struct sl_control *c)
{
    struct sl_names *all = SL_TAKE_PTR(c->names);
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++) {
        sl_query_cancel(&all->v[i].query);
        sl_timer_stop(&c->turn, &all->v[i].timer);
    }
    sl_resolver_free(all->resolver);
    sl_snapshot_unref(all->snapshot);
    free(all->v);
    free(all);
}

int sl_names_start(struct sl_control *c)
{
    const struct sl_snapshot *s = c->snapshot;
    size_t n = 0;
    sl_names_stop(c);
    for (size_t i = 0; i < s->n_upstreams; i++)
        for (size_t t = 0; t < s->upstreams[i].n_targets; t++)
            n += s->upstreams[i].targets[t].dns.host != NULL;
    if (n == 0)
        return 0;
    struct sl_names *all = c->names = calloc(1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    *all = (struct sl_names){.control = c, .snapshot = sl_snapshot_ref(c->snapshot)};
    all->v = calloc(n, sizeof(*all->v));
    int r = all->v ? sl_resolver_new(&c->turn, s->resolv_conf, s->hosts, 0, &all->resolver) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < s->n_upstreams; i++)
        for (size_t t = 0; t < s->upstreams[i].n_targets; t++)
            if (s->upstreams[i].targets[t].dns.host)
                _sl_add_name(all, &s->upstreams[i], &s->upstreams[i].targets[t]);
    return r;
}

/* ---- as metrics */

void sl_names_metrics(const struct sl_control *c, struct sl_metrics *m)
{
    static const struct {
        const char *name, *type, *help;
    } f[] = {
        {"upstream_dns_addresses", "gauge", "addresses that the target by DNS stands for"},
        {"upstream_dns_age_seconds", "gauge", "since the last answer about the name; -1: there was none"},
        {"upstream_dns_failing", "gauge", "queries that have failed since the last answer"},
        {"upstream_dns_queries_total", "counter", "queries about the target's name and its hosts"},
        {"upstream_dns_failures_total", "counter", "rounds of these that gave no answer"},
    };
    struct sl_named_answer a;
    uint32_t seq;
    for (size_t i = 0; c->names && i < SL_ARRAY_LEN(f); i++) {
        sl_metrics_family(m, f[i].name, f[i].type, f[i].help);
        for (size_t k = 0; k < c->names->n; k++) {
            const struct sl_name *name = &c->names->v[k];
            const struct sl_shared_name *s = name->shared;
            const double age = s->answered_ns ? (double)(sl_now_ns() - s->answered_ns) / 1e9 : -1;
            const double values[] = {sl_named_read(s, &a, &seq) == 0 ? a.n : 0, age, (double)s->failing,
                                     (double)s->queries, (double)s->failures};
            sl_metrics_sample(m, f[i].name,
                              (const char *const[]){"upstream", name->u->name, "target", name->t->text, NULL},
                              values[i]);
        }
    }
}
