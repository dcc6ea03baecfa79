/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor said last, with what the controller knows itself. */
#include "control/control_priv.h"
#include "net/errand.h"

/* The supervisor names the instant, since what it said may be seconds old. */
static void _sl_trial(json_t *status)
{
    json_t *trial = json_object_get(status, "trial");
    uint64_t now = sl_now_ns(), end = (uint64_t)json_integer_value(json_object_get(trial, "deadline_ns"));
    if (!trial)
        return;
    (void)json_object_del(trial, "deadline_ns");
    (void)json_object_set_new(trial, "left_ms",
                              json_integer((json_int_t)(end > now ? (end - now) / SL_NS_PER_MS : 0)));
}

/* Each listener's, with what is left of it. */
static json_t *_sl_certificates(const struct sl_control *c)
{
    json_t *list = json_array();
    const json_int_t now = (json_int_t)(sl_wall_ns() / SL_NS_PER_SEC);
    for (size_t i = 0; c->snapshot && i < c->snapshot->n_listeners; i++) {
        const struct sl_listener *l = &c->snapshot->listeners[i];
        for (size_t k = 0; k < l->tls.n_certificates; k++) {
            const struct sl_certificate *cert = &l->tls.certificates[k];
            (void)json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:I}", "listener", l->name,
                                                        "certificate", cert->cert.path ? cert->cert.path : "",
                                                        "not_after", (json_int_t)cert->not_after, "left_s",
                                                        (json_int_t)cert->not_after - now));
        }
    }
    return list;
}

static void _sl_provider(void *list, const struct sl_jwks_state *s)
{
    json_t *j =
        json_pack("{s:s, s:s, s:i, s:o, s:I, s:I, s:s}", "provider", s->provider, "url", s->url, "keys",
                  (int)s->keys, "age_seconds", s->age_s < 0 ? json_null() : json_real(s->age_s), "fetched",
                  (json_int_t)s->fetched, "failed", (json_int_t)s->failed, "error", s->error);
    (void)json_array_append_new(list, j);
}

static json_t *_sl_jwks(const struct sl_control *c)
{
    json_t *list = json_array();
    sl_jwks_each(c, _sl_provider, list);
    return list;
}

static void _sl_server(void *list, const struct sl_errand_state *s)
{
    uint64_t failed = 0;
    for (unsigned i = SL_ERRAND_FAILED; i < SL_ERRAND_STATUS_COUNT; i++)
        failed += s->total[i];
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:i, s:s}", "kind", s->kind, "provider", s->provider, "url",
        s->url, "answered", (json_int_t)s->total[SL_ERRAND_OK] + (json_int_t)s->total[SL_ERRAND_REFUSED],
        "failed", (json_int_t)failed, "running", (int)s->running, "queued", (int)s->queued, "held_ms",
        (json_int_t)(s->held_ns / SL_NS_PER_MS), "connections", (int)s->connections, "error", s->error);
    (void)json_array_append_new(list, j);
}

static json_t *_sl_servers(const struct sl_control *c)
{
    json_t *list = json_array();
    sl_errands_each(c, _sl_server, list);
    return list;
}

json_t *sl_status_json(const struct sl_control *c)
{
    json_t *j = c->state ? json_deep_copy(c->state) : json_object();
    _sl_trial(j);
    (void)json_object_set_new(j, "ready", json_boolean(sl_control_ready(c)));
    (void)json_object_set_new(j, "certificates", _sl_certificates(c));
    (void)json_object_set_new(j, "jwks", _sl_jwks(c));
    (void)json_object_set_new(j, "signers", sl_signers_json(c));
    (void)json_object_set_new(j, "auth_servers", _sl_servers(c));
    if (c->cluster)
        (void)json_object_set_new(j, "cluster", sl_cluster_json(c));
    (void)json_object_set_new(j, "build", json_string(SL_VERSION));
    (void)json_object_set_new(j, "uptime_seconds",
                              json_integer((json_int_t)((sl_now_ns() - c->started_ns) / SL_NS_PER_SEC)));
    return j;
}
