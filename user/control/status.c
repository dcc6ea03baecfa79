/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor said last, with what the controller knows itself. */
#include "control/control_priv.h"

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

json_t *sl_status_json(const struct sl_control *c)
{
    json_t *j = c->state ? json_deep_copy(c->state) : json_object();
    _sl_trial(j);
    (void)json_object_set_new(j, "ready", json_boolean(sl_control_ready(c)));
    (void)json_object_set_new(j, "build", json_string(SL_VERSION));
    (void)json_object_set_new(j, "uptime_seconds",
                              json_integer((json_int_t)((sl_now_ns() - c->started_ns) / SL_NS_PER_SEC)));
    return j;
}
