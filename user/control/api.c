/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin API. Reading is for whoever may open the socket; changing is for root and for who started the
 * daemon, each command asking for itself (PITFALLS: an admin API without per-command
 * authorisation). Over TCP there are only metrics and health.
 */
#include "control/control_priv.h"
#include "http/uri.h"

#include <errno.h>

typedef void (*sl_api_fn)(struct sl_admin_client *);

/* ---- reading */

static void _sl_get_metrics(struct sl_admin_client *a)
{
    SL_BUF struct sl_buf out = {0};
    if (!a->control->snapshot || sl_metrics_print(a->control, &out) < 0)
        sl_admin_error(a, 503, "no policy is in force yet");
    else
        sl_admin_reply(a, 200, "text/plain; version=0.0.4; charset=utf-8", sl_buf_slice(&out));
}

static void _sl_get_healthz(struct sl_admin_client *a)
{
    sl_admin_reply(a, 200, "text/plain", SL_S("ok\n"));
}

static void _sl_get_readyz(struct sl_admin_client *a)
{
    bool ready = sl_control_ready(a->control);
    sl_admin_reply(a, ready ? 200 : 503, "text/plain",
                   ready ? SL_S("ready\n") : SL_S("not every worker is ready\n"));
}

static void _sl_get_status(struct sl_admin_client *a)
{
    sl_admin_json(a, 200, sl_status_json(a->control));
}

static void _sl_get_penalties(struct sl_admin_client *a)
{
    sl_admin_json(a, 200, sl_penalties_json(a->control));
}

static void _sl_get_top(struct sl_admin_client *a)
{
    if (a->control->bundle)
        sl_admin_json(a, 200, sl_top_json(a->control));
    else
        sl_admin_error(a, 503, "no policy is in force yet");
}

/* Digests of secrets are for those alone who may read the secrets. */
static void _sl_get_policy(struct sl_admin_client *a)
{
    const struct sl_control *c = a->control;
    SL_BUF struct sl_buf out = {0};
    int r = 0;
    if (!a->may_change) {
        sl_admin_error(a, 403, "only root, or the user that started sluiced, may read the policy");
        return;
    }
    if (!c->bundle) {
        sl_admin_error(a, 503, "no policy is in force yet");
        return;
    }
    r = sl_buf_printf(&out, "{\"version\":%llu,\"hash\":\"%s\",\"values\":", (unsigned long long)c->version,
                      c->snapshot->hash);
    if (r == 0)
        r = sl_bundle_print_values(c->bundle, &out);
    if (r == 0)
        r = sl_buf_append(&out, "}\n", 2);
    if (r < 0)
        sl_admin_error(a, 503, "no memory for this answer");
    else
        sl_admin_reply(a, 200, "application/json", sl_buf_slice(&out));
}

static void _sl_get_top_sources(struct sl_admin_client *a)
{
    if (a->control->snapshot)
        sl_admin_json(a, 200, sl_top_sources_json(a->control));
    else
        sl_admin_error(a, 503, "no policy is in force yet");
}

static bool _sl_query_number(struct sl_slice q, struct sl_slice key, uint64_t *out)
{
    return sl_slice_starts(q, key) && sl_slice_u64(sl_slice(q.p + key.n, q.n - key.n), out) == 0 &&
           *out <= INT64_MAX;
}

/* ?after=N, ?after=now, or ?last=N: without it, all that are kept */
static void _sl_get_samples(struct sl_admin_client *a)
{
    const struct sl_slice q = a->req.query;
    uint64_t after = 0, last = 0;
    if (!a->control->bundle) {
        sl_admin_error(a, 503, "no policy is in force yet");
        return;
    }
    if (q.n && sl_slice_eq(q, SL_S("after=now")))
        after = SL_SAMPLES_NOW;
    else if (q.n && _sl_query_number(q, SL_S("last="), &last))
        after = sl_samples_before_last(a->control, last);
    else if (q.n && !_sl_query_number(q, SL_S("after="), &after)) {
        sl_admin_error(a, 400, "wanted: /v1/samples?after=NUMBER, after=now or last=NUMBER");
        return;
    }
    sl_admin_json(a, 200, sl_samples_json(a->control, after));
}

static void _sl_get_upstreams(struct sl_admin_client *a)
{
    if (a->control->snapshot)
        sl_admin_json(a, 200, sl_upstreams_json(a->control));
    else
        sl_admin_error(a, 503, "no policy is in force yet");
}

/* ?name=CONSUMER, escaped; without it, all of them */
static void _sl_get_consumers(struct sl_admin_client *a)
{
    static const struct sl_slice key = {"name=", 5};
    const struct sl_slice q = a->req.query;
    struct sl_slice name = SL_SLICE_NUL;
    const char *who = NULL;
    if (!a->control->snapshot || !a->control->args->buckets.slots) {
        sl_admin_error(a, 503, "no policy is in force yet");
        return;
    }
    if (q.n && (!sl_slice_starts(q, key) ||
                sl_uri_decode(&a->arena, sl_slice(q.p + key.n, q.n - key.n), false, &name) < 0 ||
                !(who = sl_arena_strdup(&a->arena, name)))) {
        sl_admin_error(a, 400, "wanted: /v1/consumers?name=CONSUMER");
        return;
    }
    sl_admin_json(a, 200, sl_consumers_json(a->control, who));
}

static void _sl_get_suggest(struct sl_admin_client *a)
{
    if (a->control->demand)
        sl_admin_json(a, 200, sl_suggest_json(a->control));
    else
        sl_admin_error(a, 503, "no policy is in force yet");
}

/* ---- changing: asked of the supervisor */

static void _sl_ask(struct sl_admin_client *a, union sl_ipc *m,
                    void (*answer)(struct sl_admin_client *, const struct sl_ipc_result *, struct sl_slice))
{
    m->h.id = a->control->next_id++;
    int r = sl_ipc_send(a->control->args->ipc_fd, m, NULL, 0);
    if (r < 0) {
        sl_admin_error(a, 503, "the supervisor does not take requests now; try again");
        return;
    }
    a->asked = m->h.id;
    a->answer = answer;
    ev_timer_stop(a->control->loop, &a->deadline);
    a->deadline.repeat = SL_ADMIN_ASKED;
    ev_timer_again(a->control->loop, &a->deadline);
}

static void _sl_applied(struct sl_admin_client *a, const struct sl_ipc_result *r, struct sl_slice text)
{
    sl_admin_json(a, 200,
                  json_pack("{s:b, s:I, s:b, s:s%}", "ok", r->error == 0, "version", (json_int_t)r->value,
                            "trial", r->trial != 0, "diagnostics", text.p ? text.p : "", text.n));
}

static json_t *_sl_body(struct sl_admin_client *a)
{
    const char *body = sl_buf_data(&a->rx) + a->head_len;
    json_t *j = json_loadb(body, a->body_len, JSON_REJECT_DUPLICATES, NULL);
    return json_is_object(j) ? j : (json_decref(j), NULL);
}

static void _sl_post_apply(struct sl_admin_client *a)
{
    union sl_ipc m = {.reload = {.h = {.type = SL_IPC_RELOAD}}};
    json_int_t ms = 0;
    json_t *j = a->body_len ? _sl_body(a) : json_object();
    /* strict: a trial that is misspelt must not become "for good" */
    int r = json_unpack_ex(j, NULL, JSON_STRICT, "{s?I}", "confirm_ms", &ms);
    bool given = json_object_get(j, "confirm_ms") != NULL;
    json_decref(j);
    if (r < 0 || (given && (ms < 1000 || ms > 86400LL * 1000))) {
        sl_admin_error(a, 400, "wanted: {\"confirm_ms\": 1000 to 86400000}, or no body to apply for good");
        return;
    }
    m.reload.confirm_ns = (uint64_t)ms * SL_NS_PER_MS;
    _sl_ask(a, &m, _sl_applied);
}

static void _sl_post_confirm(struct sl_admin_client *a)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_CONFIRM}}};
    _sl_ask(a, &m, _sl_applied);
}

static void _sl_upgraded(struct sl_admin_client *a, const struct sl_ipc_result *r, struct sl_slice text)
{
    if (r->error)
        sl_admin_json(a, 200, json_pack("{s:b, s:s%}", "ok", 0, "diagnostics", text.p ? text.p : "", text.n));
    else
        sl_admin_json(a, 200, json_pack("{s:b, s:I}", "ok", 1, "pid", (json_int_t)r->value));
}

static void _sl_post_upgrade(struct sl_admin_client *a)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_UPGRADE}}};
    _sl_ask(a, &m, _sl_upgraded);
}

static void _sl_post_rollback(struct sl_admin_client *a)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_ROLLBACK}}};
    _sl_ask(a, &m, _sl_applied);
}

/* Sentences for what the supervisor's errno means here. */
static const char *_sl_why(int error)
{
    switch (-error) {
    case ENODEV:
        return "the kernel guard is off: the policy has no `kernel` section, or mode: off";
    case ENOSPC:
        return "the table is full; take entries back with `sluicectl forget`";
    case ENOENT:
        return "there is no such entry";
    case EAGAIN:
        return "too many changes at once; try again";
    default:
        return strerror(-error);
    }
}

static void _sl_changed(struct sl_admin_client *a, const struct sl_ipc_result *r, struct sl_slice text)
{
    (void)text;
    if (r->error)
        sl_admin_json(a, 200, json_pack("{s:b, s:s}", "ok", 0, "error", _sl_why(r->error)));
    else if (sl_slice_eq(a->req.path, SL_S("/v1/forget")))
        sl_admin_json(a, 200, json_pack("{s:b, s:I}", "ok", 1, "removed", (json_int_t)r->value));
    else if (sl_slice_eq(a->req.path, SL_S("/v1/detach")))
        sl_admin_json(a, 200, json_pack("{s:b, s:I}", "ok", 1, "detached", (json_int_t)r->value));
    else
        sl_admin_json(a, 200,
                      json_pack("{s:b, s:I}", "ok", 1, "deadline_ms", (json_int_t)(r->value / SL_NS_PER_MS)));
}

static void _sl_list(struct sl_admin_client *a, uint32_t verdict)
{
    union sl_ipc m = {.list = {.h = {.type = SL_IPC_LIST}, .verdict = verdict}};
    json_t *j = _sl_body(a);
    const char *cidr = NULL;
    json_int_t ms = 0;
    /* strict: a duration that is misspelt must not become "for ever" */
    int r = json_unpack_ex(j, NULL, JSON_STRICT, "{s:s, s?I}", "cidr", &cidr, "for_ms", &ms) < 0
                ? -EINVAL
                : sl_cidr_parse(sl_slice_str(cidr), &m.list.prefix);
    json_decref(j);
    if (r == -EDOM)
        sl_admin_error(a, 400, "cidr has host bits set beyond its length");
    else if (r < 0 || ms < 0 || ms > 366LL * 86400 * 1000)
        sl_admin_error(a, 400,
                       "wanted: {\"cidr\": \"192.0.2.0/24\", \"for_ms\": 0 for ever, at most a year}");
    else {
        m.list.for_ns = (uint64_t)ms * SL_NS_PER_MS;
        _sl_ask(a, &m, _sl_changed);
    }
}

static void _sl_post_deny(struct sl_admin_client *a)
{
    _sl_list(a, SL_LIST_DENY);
}

static void _sl_post_allow(struct sl_admin_client *a)
{
    _sl_list(a, SL_LIST_ALLOW);
}

static void _sl_post_forget(struct sl_admin_client *a)
{
    _sl_list(a, 0);
}

static void _sl_post_detach(struct sl_admin_client *a)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_DETACH}}};
    _sl_ask(a, &m, _sl_changed);
}

/* ---- changing: shared health */

static void _sl_post_drain(struct sl_admin_client *a)
{
    json_t *j = _sl_body(a);
    const char *target = NULL;
    int off = 0;
    uint64_t active = 0;
    int r = json_unpack_ex(j, NULL, JSON_STRICT, "{s:s, s?b}", "target", &target, "off", &off);
    if (r < 0 || !a->control->snapshot)
        sl_admin_error(a, r < 0 ? 400 : 503,
                       r < 0 ? "wanted: {\"target\": \"10.0.1.10:8080\", \"off\": true to take it back}"
                             : "no policy is in force yet");
    else if ((r = sl_control_drain(a->control, target, !off, &active)) > 0)
        sl_admin_json(a, 200,
                      json_pack("{s:b, s:i, s:I}", "ok", 1, "targets", r, "active", (json_int_t)active));
    else
        sl_admin_json(a, 200,
                      json_pack("{s:b, s:s}", "ok", 0, "error",
                                r < 0 ? "it is one target too many to have a state of its own"
                                      : "the policy in force has no such target"));
    json_decref(j);
}

/* ---- changing: the bucket table */

static void _sl_post_consumers_reset(struct sl_admin_client *a)
{
    json_t *j = _sl_body(a);
    const char *who = NULL;
    const int wrong = json_unpack_ex(j, NULL, JSON_STRICT, "{s?s}", "name", &who);
    const int n = wrong < 0 || !a->control->snapshot ? -EINVAL : sl_consumers_reset(a->control, who);
    if (wrong < 0)
        sl_admin_error(a, 400, "wanted: {\"name\": CONSUMER}, or no name for all of them");
    else if (n < 0)
        sl_admin_error(a, n == -E2BIG ? 400 : 503,
                       n == -E2BIG ? "there are too many consumers to do all at once: give a name"
                                   : "no policy is in force yet");
    else
        sl_admin_json(a, 200, json_pack("{s:b, s:i}", "ok", 1, "buckets", n));
    json_decref(j);
}

/* ---- the paths */

static const struct sl_api_path {
    const char *path;
    enum sl_method method;
    bool tcp; /* served over TCP too */
    sl_api_fn fn;
} _sl_paths[] = {
    {"/metrics", SL_METHOD_GET, true, _sl_get_metrics},
    {"/healthz", SL_METHOD_GET, true, _sl_get_healthz},
    {"/readyz", SL_METHOD_GET, true, _sl_get_readyz},
    {"/jwks", SL_METHOD_GET, true, sl_signers_serve},
    {"/v1/status", SL_METHOD_GET, false, _sl_get_status},
    {"/v1/policy", SL_METHOD_GET, false, _sl_get_policy},
    {"/v1/penalties", SL_METHOD_GET, false, _sl_get_penalties},
    {"/v1/top", SL_METHOD_GET, false, _sl_get_top},
    {"/v1/upstreams", SL_METHOD_GET, false, _sl_get_upstreams},
    {"/v1/top/sources", SL_METHOD_GET, false, _sl_get_top_sources},
    {"/v1/samples", SL_METHOD_GET, false, _sl_get_samples},
    {"/v1/consumers", SL_METHOD_GET, false, _sl_get_consumers},
    {"/v1/suggest", SL_METHOD_GET, false, _sl_get_suggest},
    {"/v1/consumers/reset", SL_METHOD_POST, false, _sl_post_consumers_reset},
    {"/v1/apply", SL_METHOD_POST, false, _sl_post_apply},
    {"/v1/confirm", SL_METHOD_POST, false, _sl_post_confirm},
    {"/v1/rollback", SL_METHOD_POST, false, _sl_post_rollback},
    {"/v1/upgrade", SL_METHOD_POST, false, _sl_post_upgrade},
    {"/v1/deny", SL_METHOD_POST, false, _sl_post_deny},
    {"/v1/allow", SL_METHOD_POST, false, _sl_post_allow},
    {"/v1/forget", SL_METHOD_POST, false, _sl_post_forget},
    {"/v1/drain", SL_METHOD_POST, false, _sl_post_drain},
    {"/v1/detach", SL_METHOD_POST, false, _sl_post_detach},
};

void sl_api_serve(struct sl_admin_client *a)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_paths); i++) {
        const struct sl_api_path *p = &_sl_paths[i];
        if (!sl_slice_eq(a->req.path, sl_slice_str(p->path)) || (!a->local && !p->tcp))
            continue;
        if (a->req.method != p->method)
            sl_admin_error(a, 405,
                           p->method == SL_METHOD_GET ? "this is read by GET" : "this is done by POST");
        else if (p->method == SL_METHOD_POST && !a->may_change)
            sl_admin_error(
                a, 403,
                "only root, the user that started sluiced, or a client with a certificate may change "
                "anything");
        else
            p->fn(a);
        return;
    }
    sl_admin_error(a, 404,
                   a->local ? "no such path"
                            : "over TCP there are /metrics, /healthz, /readyz and /jwks; the rest is for "
                              "clients with a certificate "
                              "(admin.tls)");
}
