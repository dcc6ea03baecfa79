/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy on trial (`apply --confirm`), and the way back to the one before (`rollback`). The supervisor owns
 * clock and former policy, so that neither a controller that dies nor an operator whom the new policy locked
 * out can keep it from coming back. Invariant: while a policy is on trial no other is applied, so that there
 * is one policy to go back to, and it is the one that was in force when the trial began.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <stdio.h>

#define SL_TRIAL_AGAIN 5.0 /* s between tries where the former policy cannot be had (a port was taken) */

static void _sl_on_timer(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)events;
    struct sl_supervisor *s = t->data;
    sl_warn("policy version %llu was not confirmed in time: version %llu comes back",
            (unsigned long long)s->version, (unsigned long long)s->former.version);
    if (sl_reload_former(s, 0)) {
        sl_trial_end(s);
        sl_state_publish(s);
        return;
    }
    sl_error("it could not be brought back; tried again in %.0f s", SL_TRIAL_AGAIN);
    t->repeat = SL_TRIAL_AGAIN;
    ev_timer_again(loop, t);
}

void sl_trial_begin(struct sl_supervisor *s, uint64_t ns)
{
    s->trial.waits = true;
    s->trial.deadline_ns = sl_now_ns() + ns;
    ev_timer_init(&s->trial.timer, _sl_on_timer, 0, (double)ns / 1e9);
    s->trial.timer.data = s;
    sl_timer_again(s->loop, &s->trial.timer);
    sl_info("policy version %llu is on trial: confirmed within %.0f s, or version %llu comes back",
            (unsigned long long)s->version, (double)ns / 1e9, (unsigned long long)s->former.version);
}

void sl_trial_end(struct sl_supervisor *s)
{
    if (s->trial.waits)
        ev_timer_stop(s->loop, &s->trial.timer);
    s->trial.waits = false;
}

bool sl_trial_refuses(struct sl_supervisor *s, uint64_t id)
{
    static const char text[] = "the policy in force waits to be confirmed: `sluicectl confirm` keeps it, "
                               "`sluicectl rollback` takes it back; then apply again";
    if (!s->trial.waits)
        return false;
    if (id == 0)
        sl_warn("SIGHUP: %s", text);
    sl_request_result(s, id, -EBUSY, s->version, text);
    return true;
}

void sl_trial_confirm(struct sl_supervisor *s, uint64_t id)
{
    if (!s->trial.waits || s->stopping) {
        sl_request_result(s, id, -ENOENT, s->version, "no policy waits to be confirmed");
        return;
    }
    sl_trial_end(s);
    sl_info("policy version %llu is confirmed", (unsigned long long)s->version);
    sl_state_publish(s);
    sl_request_result(s, id, 0, s->version, NULL);
}

void sl_trial_rollback(struct sl_supervisor *s, uint64_t id)
{
    if (sl_upgrade_refuses(s, id))
        return;
    if (s->stopping || s->reload.active)
        sl_request_result(s, id, -EBUSY, s->version,
                          s->stopping ? "sluiced is stopping"
                                      : "a reload is under way; try again when it is done");
    else if (s->former.fd < 0)
        sl_request_result(s, id, -ENOENT, s->version,
                          "there is no policy to go back to: none was applied since the start, or it was "
                          "taken back already");
    else if (sl_reload_former(s, id))
        sl_trial_end(s);
}

void sl_trial_failed(struct sl_supervisor *s)
{
    sl_error("policy version %llu, on trial, is not served by every process: version %llu comes back",
             (unsigned long long)s->version, (unsigned long long)s->former.version);
    if (!sl_reload_former(s, 0))
        sl_trial_begin(s, (uint64_t)(SL_TRIAL_AGAIN * (double)SL_NS_PER_SEC));
}
