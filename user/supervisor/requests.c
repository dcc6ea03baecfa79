/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What children may ask for. Each message is checked for who sent it and for ranges, since a child that faces
 * the network may have been taken over: a worker can ask for penalties and for keys, only the controller for
 * the rest.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"
#include "net/flow.h"

#include <errno.h>

#define SL_MAX_PENALTY_NS (7 * 86400 * SL_NS_PER_SEC)
/* Requests of one child: more a second than an honest one ever has, few enough for the supervisor to stay
 * idle.
 */
#define SL_ASK_INTERVAL  (SL_NS_PER_SEC / 1000)
#define SL_ASK_TOLERANCE SL_NS_PER_SEC

void sl_request_result(struct sl_supervisor *s, uint64_t id, int error, uint64_t value, const char *text)
{
    struct sl_child *controller = &s->children[0];
    union sl_ipc m = {
        .result = {
            .h = {.type = SL_IPC_RESULT, .id = id}, .error = error, .trial = s->trial.waits, .value = value}};
    if (!id || !controller->pid)
        return;
    SL_CLOSE int fd = text && *text ? sl_memfd_sealed("sluice-result", text, strlen(text)) : -1;
    int r = sl_ipc_send(controller->ipc, &m, &fd, fd >= 0 ? 1 : 0);
    if (r < 0)
        (void)sl_error_r(r, "answering the controller");
}

static bool _sl_text_ok(const char *s)
{
    return memchr(s, '\0', SL_NAME_LEN) != NULL;
}

static bool _sl_ip_ok(const struct sl_ip *ip)
{
    return ip->family == SL_AF_INET || ip->family == SL_AF_INET6;
}

static bool _sl_penalty_ok(const struct sl_ipc_penalty *p)
{
    bool flow = p->effect == SL_PENALTY_FLOW;
    return _sl_ip_ok(&p->source) && (!flow || _sl_ip_ok(&p->destination)) && p->effect >= SL_PENALTY_FLOW &&
           p->effect <= SL_PENALTY_SOURCE && p->duration_ns && p->duration_ns <= SL_MAX_PENALTY_NS &&
           p->max_ns <= SL_MAX_PENALTY_NS && _sl_text_ok(p->consumer) && _sl_text_ok(p->rule);
}

/* All clients of a trusted proxy come from its address: a worker that asks to box it is wrong, or taken over.
 */
static bool _sl_boxes_proxy(const struct sl_supervisor *s, const struct sl_ipc_penalty *p)
{
    const struct sl_cidrs *proxies = &s->snapshot->trusted_proxies;
    for (size_t i = 0; p->effect != SL_PENALTY_FLOW && i < proxies->n; i++)
        if (sl_cidr_contains(&proxies->v[i], &p->source))
            return true;
    return false;
}

/*
 * Between the worker's asking and the entry's writing the flow may have ended, and its ports have been given
 * to a neighbour behind the same address: his SYN came before there was an entry that it could end. Looked at
 * after the writing, so that each SYN meets one or the other.
 */
static void _sl_spare_successor(struct sl_supervisor *s, const struct sl_penalty_request *r, uint64_t cookie)
{
    const struct sl_flow f = {.local = r->destination,
                              .peer = r->source,
                              .local_port = r->destination_port,
                              .peer_port = r->source_port};
    if (r->effect == SL_PENALTY_FLOW && cookie && sl_flow_is_anothers(&f, cookie))
        sl_kernel_penalty_withdraw(s->guard, r);
}

static void _sl_penalty(struct sl_child *c, const struct sl_ipc_penalty *p)
{
    struct sl_supervisor *s = c->s;
    uint64_t deadline = 0;
    if (s->handed || s->upgrade.pid) { /* the guard is not ours to change: a worker asks again */
        if (c->index < 0)
            (void)sl_upgrade_refuses(s, p->h.id);
        return;
    }
    if (!_sl_penalty_ok(p) || (c->index >= 0 && _sl_boxes_proxy(s, p))) {
        sl_error("a penalty asked for with values out of range, or for a trusted proxy, is refused");
        if (c->index < 0)
            sl_request_result(s, p->h.id, -EINVAL, 0, NULL);
        return;
    }
    struct sl_penalty_request r = {.source = p->source,
                                   .destination = p->destination,
                                   .source_port = p->source_port,
                                   .destination_port = p->destination_port,
                                   .effect = (enum sl_penalty_scope)p->effect,
                                   .duration_ns = p->duration_ns,
                                   .max_ns = p->max_ns,
                                   .rejections = p->rejections,
                                   .manual = c->index < 0 && p->manual};
    memcpy(r.consumer, p->consumer, sizeof(r.consumer));
    memcpy(r.rule, p->rule, sizeof(r.rule));
    const uint64_t begun = sl_now_ns();
    int error = sl_kernel_penalty_add(s->guard, &r, &deadline);
    if (error == 0) {
        _sl_spare_successor(s, &r, p->cookie);
        sl_shared_tell_penalty(s, &r, begun);
    }
    if (c->index < 0)
        sl_request_result(s, p->h.id, error, deadline, NULL);
}

static void _sl_list(struct sl_child *c, const struct sl_ipc_list *l)
{
    struct sl_supervisor *s = c->s;
    unsigned max = l->prefix.ip.family == SL_AF_INET ? 32 : 128;
    uint64_t deadline = 0; /* on the wall clock; 0: for ever */
    int r = -EINVAL;
    if (_sl_ip_ok(&l->prefix.ip) && l->prefix.len <= max && l->verdict <= SL_LIST_DENY) {
        if (l->verdict) {
            r = sl_kernel_list_add(s->guard, &l->prefix, (enum sl_list_verdict)l->verdict, l->for_ns);
            deadline = r == 0 && l->for_ns ? sl_wall_ns() + l->for_ns : 0;
        } else {
            int lists = sl_kernel_list_remove(s->guard, &l->prefix);
            int penalties = sl_kernel_penalty_remove(s->guard, &l->prefix);
            r = lists < 0 && lists != -ENOENT ? lists : penalties < 0 ? penalties : penalties + (lists >= 0);
        }
    }
    if (r >= 0) {
        sl_shared_tell_list(s, l);
        sl_kept_lists_save(s);
    }
    sl_state_publish(s); /* before the answer: who asks next sees it */
    sl_request_result(s, l->h.id, r < 0 ? r : 0, r < 0 ? 0 : deadline + (uint64_t)r, NULL);
}

static void _sl_detach(struct sl_child *c, uint64_t id)
{
    int r = sl_kernel_detach_all();
    if (r >= 0)
        sl_warn("the guard is off the interfaces, as asked; a reload or a restart puts it back");
    (void)sl_kernel_refresh(c->s->guard); /* which interfaces have lost it stands in the state */
    sl_request_result(c->s, id, r < 0 ? r : 0, r < 0 ? 0 : (uint64_t)r, NULL);
    sl_state_publish(c->s);
}

static void _sl_ready(struct sl_child *c, const struct sl_ipc_ready *m)
{
    char name[16];
    c->answered = m->version;
    c->error = m->error;
    if (m->error)
        (void)sl_error_r(m->error, "%s could not take policy version %llu", sl_child_name(c, name),
                         (unsigned long long)m->version);
    else
        c->serves = m->version;
    sl_reload_ready(c->s);
    sl_state_publish(c->s);
}

static int _sl_reload(struct sl_supervisor *s, const struct sl_ipc_reload *m)
{
    if (m->confirm_ns && (m->confirm_ns < SL_TRIAL_MIN_NS || m->confirm_ns > SL_TRIAL_MAX_NS))
        return -EPERM;
    sl_reload(s, m->h.id, m->confirm_ns);
    return 0;
}

static int _sl_controller_asks(struct sl_child *c, const union sl_ipc *m)
{
    switch (m->h.type) {
    case SL_IPC_RELOAD:
        return _sl_reload(c->s, &m->reload);
    case SL_IPC_CONFIRM:
        sl_trial_confirm(c->s, m->h.id);
        return 0;
    case SL_IPC_ROLLBACK:
        sl_trial_rollback(c->s, m->h.id);
        return 0;
    case SL_IPC_LIST:
        if (!sl_upgrade_refuses(c->s, m->h.id))
            _sl_list(c, &m->list);
        return 0;
    case SL_IPC_SHARED:
        sl_shared_take(c->s, &m->shared);
        return 0;
    case SL_IPC_DETACH:
        if (!sl_upgrade_refuses(c->s, m->h.id))
            _sl_detach(c, m->h.id);
        return 0;
    case SL_IPC_UPGRADE:
        sl_upgrade(c->s, m->h.id);
        return 0;
    default:
        return -EPERM;
    }
}

int sl_request_serve(struct sl_child *c, const union sl_ipc *m, int fd)
{
    if (fd >= 0 && (m->h.type != SL_IPC_KEYS_FETCHED || c->index >= 0))
        return -EPERM;
    /* of a child that was taken over: it cannot keep the supervisor busy, nor fill its log */
    if (sl_bucket_take(&c->asked, sl_now_ns(), SL_ASK_INTERVAL, SL_ASK_TOLERANCE, NULL) != 1) {
        if (c->index < 0)
            sl_request_result(c->s, m->h.id, -EAGAIN, 0, NULL);
        return m->h.type == SL_IPC_READY ? -EPERM : 0;
    }
    if (m->h.type == SL_IPC_READY) {
        if (m->ready.error > 0 || m->ready.version > c->s->version)
            return -EPERM;
        _sl_ready(c, &m->ready);
        return 0;
    }
    if (m->h.type == SL_IPC_PENALTY) {
        _sl_penalty(c, &m->penalty);
        return 0;
    }
    if (m->h.type == SL_IPC_KEYS_UNKNOWN && c->index >= 0) {
        sl_keys_unknown(c->s, &m->wanted);
        return 0;
    }
    if (m->h.type == SL_IPC_KEYS_FETCHED && c->index < 0)
        return sl_keys_fetched(c->s, &m->keys, fd);
    return c->index < 0 ? _sl_controller_asks(c, m) : -EPERM;
}
