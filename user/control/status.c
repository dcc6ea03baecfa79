/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor said last, with what the controller knows itself. */
#include "control/control_priv.h"

json_t *sl_status_json(const struct sl_control *c)
{
    json_t *j = c->state ? json_deep_copy(c->state) : json_object();
    (void)json_object_set_new(j, "ready", json_boolean(sl_control_ready(c)));
    (void)json_object_set_new(j, "build", json_string(SL_VERSION));
    (void)json_object_set_new(j, "uptime_seconds",
                              json_integer((json_int_t)((sl_now_ns() - c->started_ns) / SL_NS_PER_SEC)));
    return j;
}
