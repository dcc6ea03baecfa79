/* SPDX-License-Identifier: Apache-2.0 */
/* Identity in /metrics: why tokens were refused, how fetched keys are, and servers that are asked. */
#include "control/control_priv.h"
#include "net/errand.h"
#include "policy/auth.h"
#include "telemetry/metrics.h"

static void _sl_keys(void *m, const struct sl_jwks_state *s)
{
    sl_metrics_sample(m, "jwks_keys", (const char *const[]){"provider", s->provider, NULL}, (double)s->keys);
}

static void _sl_age(void *m, const struct sl_jwks_state *s)
{
    if (s->age_s >= 0)
        sl_metrics_sample(m, "jwks_age_seconds", (const char *const[]){"provider", s->provider, NULL},
                          s->age_s);
}

static void _sl_fetches(void *m, const struct sl_jwks_state *s)
{
    sl_metrics_sample(m, "jwks_fetches_total",
                      (const char *const[]){"provider", s->provider, "result", "ok", NULL},
                      (double)s->fetched);
    sl_metrics_sample(m, "jwks_fetches_total",
                      (const char *const[]){"provider", s->provider, "result", "failed", NULL},
                      (double)s->failed);
}

static void _sl_jwks(const struct sl_control *c, struct sl_metrics *m)
{
    sl_metrics_family(m, "jwks_keys", "gauge", "fetched keys that tokens are verified by");
    sl_jwks_each(c, _sl_keys, m);
    sl_metrics_family(m, "jwks_age_seconds", "gauge", "since a provider's keys were fetched last");
    sl_jwks_each(c, _sl_age, m);
    sl_metrics_family(m, "jwks_fetches_total", "counter", "fetches of a provider's keys");
    sl_jwks_each(c, _sl_fetches, m);
}

/* ---- servers that are asked */

static void _sl_asked(void *m, const struct sl_errand_state *s)
{
    for (unsigned i = 0; i < SL_ERRAND_STATUS_COUNT; i++)
        if (s->total[i])
            sl_metrics_sample(m, "errands_total",
                              (const char *const[]){"kind", s->kind, "provider", s->provider, "result",
                                                    sl_errand_status_name((enum sl_errand_status)i), NULL},
                              (double)s->total[i]);
}

static void _sl_up(void *m, const struct sl_errand_state *s)
{
    sl_metrics_sample(m, "errand_server_up",
                      (const char *const[]){"kind", s->kind, "provider", s->provider, NULL}, !*s->error);
}

static void _sl_waiting(void *m, const struct sl_errand_state *s)
{
    sl_metrics_sample(m, "errands_active",
                      (const char *const[]){"kind", s->kind, "provider", s->provider, NULL},
                      (double)s->running + (double)s->queued);
}

static void _sl_connections(void *m, const struct sl_errand_state *s)
{
    sl_metrics_sample(m, "errand_server_connections",
                      (const char *const[]){"kind", s->kind, "provider", s->provider, NULL}, s->connections);
}

static void _sl_connects(void *m, const struct sl_errand_state *s)
{
    sl_metrics_sample(m, "errand_server_connects_total",
                      (const char *const[]){"kind", s->kind, "provider", s->provider, NULL},
                      (double)s->connects);
}

static void _sl_errands(const struct sl_control *c, struct sl_metrics *m)
{
    sl_metrics_family(m, "errands_total", "counter",
                      "questions that servers were asked for requests, by what came of them");
    sl_errands_each(c, _sl_asked, m);
    sl_metrics_family(m, "errand_server_up", "gauge", "whether a server answered what it was asked last");
    sl_errands_each(c, _sl_up, m);
    sl_metrics_family(m, "errands_active", "gauge", "questions under way");
    sl_errands_each(c, _sl_waiting, m);
    sl_metrics_family(m, "errand_server_connections", "gauge", "connections to a server, used or kept");
    sl_errands_each(c, _sl_connections, m);
    sl_metrics_family(m, "errand_server_connects_total", "counter", "connections opened to a server");
    sl_errands_each(c, _sl_connects, m);
}

void sl_metrics_auth(const struct sl_control *c, struct sl_metrics *m)
{
    const struct sl_counters *all = &c->args->counters;
    uint64_t waited = 0, hashed = 0, anonymous = 0;
    for (uint32_t w = 0; w < all->workers; w++) {
        waited += all->blocks[w].jwt_waited;
        hashed += all->blocks[w].passwords_hashed;
        anonymous += all->blocks[w].anonymous;
    }
    sl_metrics_one(m, "passwords_hashed_total", "counter", "passwords that were hashed to check them",
                   (double)hashed);
    sl_metrics_one(m, "anonymous_requests_total", "counter",
                   "requests without credentials that fell back to a route's anonymous consumer",
                   (double)anonymous);
    sl_metrics_one(m, "jwt_waited_total", "counter", "requests that waited for a key to be fetched",
                   (double)waited);
    _sl_errands(c, m);
    if (c->jwks)
        _sl_jwks(c, m);
    sl_metrics_family(m, "jwt_refused_reason_total", "counter",
                      "tokens refused, by what was wrong with them");
    for (unsigned i = 0; i < SL_COUNTER_TOKEN_REASONS && sl_auth_token_reason(i); i++) {
        uint64_t n = 0;
        for (uint32_t w = 0; w < all->workers; w++)
            n += all->blocks[w].jwt_refused_by[i];
        if (n)
            sl_metrics_sample(m, "jwt_refused_reason_total",
                              (const char *const[]){"reason", sl_auth_token_reason(i), NULL}, (double)n);
    }
}
