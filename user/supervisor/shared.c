/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Penalties and timed denies that hosts share (cluster.penalties). What this host's ladder or its operator
 * puts in or takes back is told to the controller, which tells the others; what another host did comes back
 * the same way and is put in like our own.
 *
 * Invariants: what came from another host is never told on, so that nothing goes in circles. No source that
 * the policy in force or an operator of this host allows, and no trusted proxy, is shut out by another host.
 * A flow's penalty stays here: its flow does.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>

/* ---- telling */

static void _sl_tell(struct sl_supervisor *s, union sl_ipc *m)
{
    const struct sl_child *controller = &s->children[0];
    m->h.type = SL_IPC_SHARE;
    if (controller->pid && sl_ipc_send(controller->ipc, m, NULL, 0) < 0)
        sl_warn("the controller is too slow: what was put in here is not told to the other hosts");
}

void sl_shared_tell_penalty(struct sl_supervisor *s, const struct sl_penalty_request *r, uint64_t begun)
{
    struct sl_penalty_value v;
    const uint64_t now = sl_now_ns();
    if (!s->snapshot->cluster.penalties || r->effect == SL_PENALTY_FLOW ||
        sl_kernel_penalty_get(s->guard, r, &v) < 0 || v.since_ns < begun || v.deadline_ns <= now)
        return; /* what stood before is as strong: the others know it */
    union sl_ipc m = {.shared = {.prefix = sl_ip_source(&r->source),
                                 .kind = SL_SHARED_PENALTY,
                                 .effect = v.effect,
                                 .level = v.level,
                                 .rejections = v.rejections,
                                 .left_ns = v.deadline_ns - now}};
    memcpy(m.shared.consumer, v.consumer, sizeof(v.consumer));
    memcpy(m.shared.rule, v.rule, sizeof(v.rule));
    _sl_tell(s, &m);
}

/* An operator's allow takes back elsewhere what it makes void here; the allow itself is this host's alone. */
void sl_shared_tell_list(struct sl_supervisor *s, const struct sl_ipc_list *l)
{
    const bool deny = l->verdict == SL_LIST_DENY;
    union sl_ipc m = {.shared = {.prefix = l->prefix,
                                 .kind = deny ? SL_SHARED_DENY : SL_SHARED_REVOKED,
                                 .left_ns = deny ? l->for_ns : 0}};
    if (s->snapshot->cluster.penalties && sl_ipc_shared_ok(&m.shared)) /* not: without an end, or too wide */
        _sl_tell(s, &m);
}

/* ---- what another host did */

static bool _sl_any_overlaps(const struct sl_cidrs *v, const struct sl_cidr *c)
{
    for (size_t i = 0; i < v->n; i++)
        if (sl_cidr_overlaps(&v->v[i], c))
            return true;
    return false;
}

/* Allowed ranges of files need no look: the guard finds them before any penalty. */
static bool _sl_protected(const struct sl_supervisor *s, const struct sl_cidr *c)
{
    return _sl_any_overlaps(&s->snapshot->trusted_proxies, c) ||
           _sl_any_overlaps(&s->snapshot->kernel.allow, c) || sl_kernel_list_allows(s->guard, c);
}

static int _sl_put_penalty(struct sl_supervisor *s, const struct sl_ipc_shared *m)
{
    struct sl_penalty_request r = {.source = m->prefix.ip,
                                   .effect = (enum sl_penalty_scope)m->effect,
                                   .duration_ns = m->left_ns,
                                   .level = m->level,
                                   .rejections = m->rejections};
    const uint64_t begun = sl_now_ns();
    struct sl_penalty_value v;
    uint64_t deadline;
    memcpy(r.consumer, m->consumer, sizeof(r.consumer));
    memcpy(r.rule, m->rule, sizeof(r.rule));
    const int e = sl_kernel_penalty_add(s->guard, &r, &deadline);
    if (e < 0)
        return e;
    return sl_kernel_penalty_get(s->guard, &r, &v) == 0 && v.since_ns < begun ? -EEXIST : 0;
}

/* An operator's own entry for the same prefix stands where it holds as long. */
static int _sl_put_deny(struct sl_supervisor *s, const struct sl_ipc_shared *m)
{
    const uint64_t end = sl_kernel_list_denied_until(s->guard, &m->prefix);
    if (end >= sl_now_ns() + m->left_ns - SL_MIN(m->left_ns, SL_NS_PER_SEC))
        return -EEXIST;
    return sl_kernel_list_add(s->guard, &m->prefix, SL_LIST_DENY, m->left_ns);
}

static int _sl_revoke(struct sl_supervisor *s, const struct sl_cidr *c)
{
    const int n = sl_kernel_penalty_remove(s->guard, c);
    return n < 0 ? n : 0;
}

void sl_shared_take(struct sl_supervisor *s, const struct sl_ipc_shared *m)
{
    int r;
    if (s->handed || s->upgrade.pid)
        r = -EBUSY; /* the guard is not ours to change: the controller asks again */
    else if (!sl_ipc_shared_ok(m))
        r = -EINVAL;
    else if (m->kind == SL_SHARED_REVOKED)
        r = _sl_revoke(s, &m->prefix);
    else if (_sl_protected(s, &m->prefix))
        r = -EPERM;
    else
        r = m->kind == SL_SHARED_PENALTY ? _sl_put_penalty(s, m) : _sl_put_deny(s, m);
    sl_request_result(s, m->h.id, r, 0, NULL);
}
