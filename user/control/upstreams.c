/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How upstreams and their targets do: read from the rows that the workers keep in shared memory. Draining a
 * target is the one thing that the controller writes there; it holds over reloads, not over a restart.
 */
#include "control/control_priv.h"
#include "telemetry/metrics.h"
#include "telemetry/named.h"

#include <errno.h>

struct sl_target_view {
    const char *state; /* healthy, unhealthy, ejected, drained; of a name: unresolved */
    uint64_t left_ns;  /* of the ejection */
    struct sl_target_counters n;
};

#define SL_GET(x)    __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define SL_PUT(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

static struct sl_target_view _sl_row_view(const struct sl_shared_target *s)
{
    const uint64_t now = sl_now_ns(), ejected = SL_GET(s->ejected_until);
    struct sl_target_view v = {.state = "healthy"};
    if (ejected > now) {
        v.state = "ejected";
        v.left_ns = ejected - now;
    } else if (SL_GET(s->unhealthy))
        v.state = "unhealthy";
    return v;
}

/* The addresses of a target by DNS; 0 of others. */
static uint32_t _sl_answer(const struct sl_control *c, const struct sl_target *t, struct sl_named_answer *out)
{
    const struct sl_shared_name *s =
        &c->args->counters.shared->health.names[sl_slot(t->slot, SL_COUNTER_TARGETS)];
    uint32_t seq;
    out->n = 0;
    if (t->dns.host && sl_named_read(s, out, &seq) < 0)
        out->n = 0;
    return out->n;
}

/* As its fittest address does. */
static struct sl_target_view _sl_name_view(const struct sl_control *c, const struct sl_target *t)
{
    struct sl_target_view v = {.state = "unresolved"};
    struct sl_named_answer a;
    for (uint32_t i = _sl_answer(c, t, &a); i; i--) {
        const struct sl_target_view one =
            _sl_row_view(&c->args->counters.shared->health.names[t->slot].rows[a.v[i - 1].row]);
        if (i == a.n || strcmp(one.state, "healthy") == 0)
            v = one;
    }
    return v;
}

static struct sl_target_view _sl_view(const struct sl_control *c, const struct sl_target *t)
{
    const uint32_t row = sl_slot(t->slot, SL_COUNTER_TARGETS);
    const struct sl_shared_target *s = &c->args->counters.shared->health.targets[row];
    struct sl_target_view v = t->dns.host ? _sl_name_view(c, t)
                              : row       ? _sl_row_view(s)
                                          : (struct sl_target_view){.state = "healthy"};
    if (row && SL_GET(s->drained))
        v.state = "drained";
    for (uint32_t i = 0; i < sl_counters_blocks(&c->args->counters); i++)
        sl_totals_add(&v.n, &c->args->counters.blocks[i].targets[row], sizeof(v.n));
    return v;
}

/* "none", "closed", "open" with *left_ns, "half_open". */
static const char *_sl_breaker(const struct sl_control *c, const struct sl_upstream *u, uint64_t *left_ns)
{
    const struct sl_shared_upstream *s =
        &c->args->counters.shared->health.upstreams[sl_slot(u->slot, SL_COUNTER_UPSTREAMS)];
    const uint64_t now = sl_now_ns(), until = SL_GET(s->open_until);
    *left_ns = until > now ? until - now : 0;
    if (!u->breaker.enabled || !u->slot)
        return "none";
    return !until ? "closed" : until > now ? "open" : "half_open";
}

static json_t *_sl_addresses(const struct sl_control *c, const struct sl_target *t)
{
    json_t *list = json_array();
    struct sl_named_answer a;
    const uint32_t n = _sl_answer(c, t, &a);
    for (uint32_t i = 0; i < n; i++) {
        const struct sl_sockaddr sa = sl_named_sockaddr(&a.v[i]);
        char text[SL_SOCK_STRLEN];
        const struct sl_target_view v =
            _sl_row_view(&c->args->counters.shared->health.names[t->slot].rows[a.v[i].row]);
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:I, s:s, s:I}", "address", sl_sockaddr_text(&sa, text),
                                              "weight", (json_int_t)a.v[i].weight, "state", v.state,
                                              "left_ms", (json_int_t)(v.left_ns / SL_NS_PER_MS)));
    }
    return list;
}

static json_t *_sl_target(const struct sl_control *c, const struct sl_target *t)
{
    const struct sl_target_view v = _sl_view(c, t);
    return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:o*}", "target", t->text, "weight", (int)t->weight,
                     "state", v.state, "left_ms", (json_int_t)(v.left_ns / SL_NS_PER_MS), "active",
                     (json_int_t)v.n.active, "requests", (json_int_t)v.n.requests, "failures",
                     (json_int_t)v.n.failures, "addresses", t->dns.host ? _sl_addresses(c, t) : NULL);
}

static json_t *_sl_upstream(const struct sl_control *c, const struct sl_upstream *u)
{
    json_t *targets = json_array();
    struct sl_upstream_counters n = {0};
    uint64_t left;
    const char *breaker = _sl_breaker(c, u, &left);
    for (uint32_t i = 0; i < sl_counters_blocks(&c->args->counters); i++)
        sl_totals_add(&n, &c->args->counters.blocks[i].upstreams[sl_slot(u->slot, SL_COUNTER_UPSTREAMS)],
                      sizeof(n));
    for (size_t i = 0; i < u->n_targets; i++)
        (void)json_array_append_new(targets, _sl_target(c, &u->targets[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "name", u->name, "breaker", breaker,
                     "breaker_left_ms", (json_int_t)(left / SL_NS_PER_MS), "pending", (json_int_t)n.pending,
                     "retries", (json_int_t)n.retries, "ejections", (json_int_t)n.ejections, "panics",
                     (json_int_t)n.panics, "targets", targets);
}

json_t *sl_upstreams_json(const struct sl_control *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->snapshot->n_upstreams; i++)
        (void)json_array_append_new(list, _sl_upstream(c, &c->snapshot->upstreams[i]));
    return json_pack("{s:o}", "upstreams", list);
}

/* ---- as metrics */

static void _sl_breakers(const struct sl_control *c, struct sl_metrics *m)
{
    static const char *const states[] = {"closed", "open", "half_open"};
    uint64_t left;
    sl_metrics_family(m, "upstream_breaker", "gauge", "1 for the state of the upstream's breaker");
    for (size_t i = 0; i < c->snapshot->n_upstreams; i++) {
        const struct sl_upstream *u = &c->snapshot->upstreams[i];
        const char *state = _sl_breaker(c, u, &left);
        for (size_t k = 0; u->breaker.enabled && k < SL_ARRAY_LEN(states); k++)
            sl_metrics_sample(m, "upstream_breaker",
                              (const char *const[]){"upstream", u->name, "state", states[k], NULL},
                              strcmp(state, states[k]) == 0);
    }
}

static void _sl_targets(const struct sl_control *c, struct sl_metrics *m)
{
    static const struct {
        const char *name, *type, *help;
    } f[] = {
        {"upstream_target_healthy", "gauge",
         "1 where the target gets requests, 0 where it is ejected or drained"},
        {"upstream_target_active", "gauge", "requests on their way to the target"},
        {"upstream_target_requests_total", "counter", "requests that were sent to the target"},
        {"upstream_target_failures_total", "counter", "of these, what the target failed"},
    };
    for (size_t k = 0; k < SL_ARRAY_LEN(f); k++) {
        sl_metrics_family(m, f[k].name, f[k].type, f[k].help);
        for (size_t i = 0; i < c->snapshot->n_upstreams; i++) {
            const struct sl_upstream *u = &c->snapshot->upstreams[i];
            for (size_t t = 0; t < u->n_targets; t++) {
                const struct sl_target_view v = _sl_view(c, &u->targets[t]);
                const double values[] = {strcmp(v.state, "healthy") == 0, (double)v.n.active,
                                         (double)v.n.requests, (double)v.n.failures};
                sl_metrics_sample(
                    m, f[k].name,
                    (const char *const[]){"upstream", u->name, "target", u->targets[t].text, NULL},
                    values[k]);
            }
        }
    }
}

void sl_upstreams_metrics(const struct sl_control *c, struct sl_metrics *m)
{
    sl_metrics_family(m, "health_checks_total", "counter", "active health checks, by what they found");
    for (unsigned i = 0; i < 2; i++)
        sl_metrics_sample(m, "health_checks_total",
                          (const char *const[]){"result", i ? "failed" : "passed", NULL},
                          (double)c->checks_total[i]);
    _sl_breakers(c, m);
    _sl_targets(c, m);
    sl_names_metrics(c, m);
}

/* ---- drain */

/* "10.0.1.10:8080", of whichever upstreams, or "orders/10.0.1.10:8080". */
static bool _sl_is_named(const struct sl_upstream *u, const struct sl_target *t, const char *name)
{
    const size_t n = strlen(u->name);
    return strcmp(t->text, name) == 0 ||
           (strncmp(u->name, name, n) == 0 && name[n] == '/' && strcmp(t->text, name + n + 1) == 0);
}

static int _sl_set(struct sl_control *c, const struct sl_target *t, bool drained)
{
    struct sl_shared_health *h = &c->args->counters.shared->health;
    struct sl_shared_target *s = &h->targets[sl_slot(t->slot, SL_COUNTER_TARGETS)];
    if (sl_slot(t->slot, SL_COUNTER_TARGETS) == 0)
        return -ENOSPC;
    if (!drained && SL_GET(s->drained))
        SL_PUT(s->back_at, sl_now_ns());
    SL_PUT(s->drained, drained);
    (void)__atomic_add_fetch(&h->changes, 1, __ATOMIC_RELEASE);
    return 0;
}

int sl_control_drain(struct sl_control *c, const char *name, bool drained, uint64_t *active)
{
    int n = 0, r = 0;
    *active = 0;
    for (size_t i = 0; i < c->snapshot->n_upstreams; i++) {
        const struct sl_upstream *u = &c->snapshot->upstreams[i];
        for (size_t k = 0; r == 0 && k < u->n_targets; k++) {
            if (!_sl_is_named(u, &u->targets[k], name))
                continue;
            r = _sl_set(c, &u->targets[k], drained);
            *active += _sl_view(c, &u->targets[k]).n.active;
            n++;
        }
    }
    return r < 0 ? r : n;
}
