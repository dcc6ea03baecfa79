/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary upgrade as the new supervisor sees it. It begins with what the one before handed over, builds
 * everything beside it, and says so; on GO, or when that one is gone, it is in charge. Until then its
 * processes accept nothing and no file or address changes, so that dying costs nobody anything.
 *
 * Invariant: a listening socket that was handed over is never closed before GO, and after it only where the
 * policy does not name its address any more: what waits in its queue is served by either side.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"
#include "telemetry/named.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>

#define SL_HAND_WAIT_MS 10000

/* ---- what is handed over */

static int _sl_wait(int sock, union sl_ipc *m, int *fds, size_t *n)
{
    for (;;) {
        struct pollfd p = {.fd = sock, .events = POLLIN};
        size_t room = *n;
        int r = sl_ipc_recv(sock, m, fds, n);
        if (r != 0)
            return r < 0 ? r : 0;
        *n = room;
        if (poll(&p, 1, SL_HAND_WAIT_MS) == 0)
            return -ETIMEDOUT;
    }
}

static int _sl_add_bound(struct sl_supervisor *s, const struct sl_ipc_hand *m, const int *fds, size_t n)
{
    struct sl_bound **v = m->admin ? &s->admin : &s->bound;
    size_t *count = m->admin ? &s->n_admin : &s->n_bound;
    struct sl_bound *bigger = realloc(*v, (*count + 1) * sizeof(*bigger));
    if (!bigger)
        return -ENOMEM;
    *v = bigger;
    struct sl_bound *b = &bigger[*count];
    *b = (struct sl_bound){
        .address = m->address, .fds = calloc(SL_MAX(n, (size_t)1), sizeof(int)), .n = n, .listening = n};
    if (!b->fds)
        return -ENOMEM;
    memcpy(b->fds, fds, n * sizeof(int));
    (*count)++;
    return 0;
}

static int _sl_take_rest(struct sl_supervisor *s, const struct sl_ipc_hand_rest *m, const int *fds, size_t n)
{
    struct sl_takeover *t = &s->takeover;
    int *const to[] = {&s->lock, &t->bundle_fd, &t->counters_fd, &t->kernel.lock, &t->kernel.buckets};
    size_t at = 0;
    for (size_t i = 0; i < SL_ARRAY_LEN(to); i++)
        if (m->has >> i & 1 && at < n)
            *to[i] = fds[at++];
    for (size_t i = at; i < n; i++)
        (void)close(fds[i]);
    t->kernel.bucket_seed = m->bucket_seed;
    t->layout = m->layout;
    s->version = m->version;
    return s->lock >= 0 && (m->has & ~(unsigned)SL_HANDED_ALL) == 0 ? 0 : -EPROTO;
}

static int _sl_receive(struct sl_supervisor *s)
{
    for (;;) {
        union sl_ipc m;
        int fds[SL_IPC_MAX_FDS];
        size_t n = SL_IPC_MAX_FDS;
        int r = _sl_wait(s->takeover.sock, &m, fds, &n);
        if (r < 0)
            return r;
        if (m.h.type == SL_IPC_HAND_REST)
            return _sl_take_rest(s, &m.rest, fds, n);
        if (m.h.type == SL_IPC_KEYS && n == 1)
            r = sl_keys_take_over(s, &m.keys, fds[0]);
        else
            r = m.h.type == SL_IPC_HAND ? _sl_add_bound(s, &m.hand, fds, n) : -EPROTO;
        if (r == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            (void)close(fds[i]);
        return r;
    }
}

int sl_takeover_begin(struct sl_supervisor *s)
{
    struct sl_takeover *t = &s->takeover;
    const char *env = getenv(SL_TAKEOVER_ENV);
    unsigned sock = 0, protocol = 0;
    if (!env)
        return 0;
    if (sscanf(env, "%u:%u", &sock, &protocol) != 2 || sock > INT_MAX || /* NOLINT(cert-err34-c) */
        fcntl((int)sock, F_SETFD, FD_CLOEXEC) < 0)
        return sl_error_r(-EINVAL, SL_TAKEOVER_ENV " is what sluiced gives to its successor");
    (void)unsetenv(SL_TAKEOVER_ENV);
    t->sock = (int)sock;
    t->waits = true;
    if (protocol != SL_TAKEOVER_PROTOCOL)
        return sl_error_r(-EPROTO,
                          "the sluiced that runs hands over by protocol %u, this one takes by %u: restart it",
                          protocol, SL_TAKEOVER_PROTOCOL);
    int r = _sl_receive(s);
    return r < 0 ? sl_error_r(r, "taking over from the sluiced that runs") : 0;
}

/* ---- counters and shared health */

/* Rows mean the same only where the names of the slots are the same, and the layout is. */
int sl_takeover_slots(struct sl_supervisor *s)
{
    struct sl_takeover *t = &s->takeover;
    struct sl_bundle *bundle = NULL;
    int r = t->layout == sl_counters_layout() ? sl_bundle_from_memfd_lean(t->bundle_fd, &bundle) : -EPROTO;
    if (r == 0)
        r = sl_slots_adopt(s->slots, sl_bundle_slots(bundle));
    sl_bundle_free(bundle);
    if (r == 0)
        r = sl_counters_map(t->counters_fd, &t->former);
    if (r == 0)
        t->counters_fd = -1; /* t->former's */
    else
        sl_warn("the sluiced that runs counts in another way: counters, ejections and drained targets begin "
                "anew");
    return r == -ENOMEM ? r : 0;
}

static struct sl_counter_rows _sl_rows(const struct sl_supervisor *s)
{
    return (struct sl_counter_rows){.listeners = sl_slots_count(s->slots, SL_SLOT_LISTENER),
                                    .routes = sl_slots_count(s->slots, SL_SLOT_ROUTE),
                                    .tiers = sl_slots_count(s->slots, SL_SLOT_TIER),
                                    .upstreams = sl_slots_count(s->slots, SL_SLOT_UPSTREAM),
                                    .targets = sl_slots_count(s->slots, SL_SLOT_TARGET)};
}

void sl_takeover_counters(struct sl_supervisor *s)
{
    const struct sl_counters *from = &s->takeover.former;
    if (!from->blocks)
        return;
    const struct sl_counter_rows rows = _sl_rows(s);
    sl_counters_carry(&s->counters, from, &rows, true);
    struct sl_shared *to = s->counters.shared;
    to->tickets = from->shared->tickets;
    to->tickets.lock = 0; /* held by a worker of its, and for itself */
    memcpy(to->neighbours, from->shared->neighbours, sizeof(to->neighbours));
    memcpy(to->subjects, from->shared->subjects, sizeof(to->subjects));
    memcpy(&to->health, &from->shared->health, offsetof(struct sl_shared_health, names));
    for (size_t i = 1; i < SL_MIN(rows.targets, (size_t)SL_COUNTER_TARGETS); i++)
        (void)sl_named_copy(&to->health.names[i], &from->shared->health.names[i]);
    sl_evidence_copy(&to->evidence, &from->shared->evidence);
    /* not the flights: what its workers hold they give back there */
}

/* The operator drained or took back a target while we were starting. */
static void _sl_drained_meanwhile(struct sl_supervisor *s)
{
    const struct sl_counters *from = &s->takeover.former;
    size_t n = from->blocks ? SL_MIN(_sl_rows(s).targets, (size_t)SL_COUNTER_TARGETS) : 0;
    struct sl_shared_health *h = &s->counters.shared->health;
    for (size_t i = 1; i < n; i++)
        __atomic_store_n(&h->targets[i].drained,
                         __atomic_load_n(&from->shared->health.targets[i].drained, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    __atomic_add_fetch(&h->changes, 1, __ATOMIC_RELEASE);
}

static void _sl_former_gone(struct sl_supervisor *s)
{
    struct sl_takeover *t = &s->takeover;
    sl_takeover_follow(s, false);
    if (t->former.blocks)
        sl_counters_unmap(&t->former);
    t->former.blocks = NULL;
    ev_io_stop(s->loop, &t->io);
    sl_closep(&t->sock);
    t->sock = -1;
    if (s->stopping)
        sl_children_ended(s);
}

void sl_takeover_follow(struct sl_supervisor *s, bool drains)
{
    if (!s->takeover.former.blocks || s->takeover.waits)
        return;
    const struct sl_counter_rows rows = _sl_rows(s);
    sl_counters_carry(&s->counters, &s->takeover.former, &rows, drains);
}

/* ---- the end of the wait */

static void _sl_go(struct sl_supervisor *s)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_LISTEN}}};
    s->takeover.waits = false;
    sl_sockets_listen(s);
    sl_sockets_sweep(s);
    _sl_drained_meanwhile(s);
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i].pid && sl_ipc_send(s->children[i].ipc, &m, NULL, 0) < 0)
            (void)kill(s->children[i].pid, SIGKILL); /* the next one is not held */
    if (sl_state_own(s) < 0)
        sl_warn("the state directory's pid stays the former one's");
    sl_notify("READY=1");
    sl_state_publish(s);
    sl_info("taken over");
}

static void _sl_on_message(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    struct sl_supervisor *s = io->data;
    union sl_ipc m;
    size_t n = 0;
    int r = sl_ipc_recv(s->takeover.sock, &m, NULL, &n);
    if (r == 0)
        return;
    if (s->takeover.waits) /* GO; or it died, and nobody else serves */
        _sl_go(s);
    if (r < 0)
        _sl_former_gone(s);
}

void sl_takeover_ready(struct sl_supervisor *s)
{
    union sl_ipc m = {.result = {.h = {.type = SL_IPC_TAKEN}}};
    struct sl_takeover *t = &s->takeover;
    (void)sl_ipc_send(t->sock, &m, NULL, 0); /* one that is gone is seen by reading */
    ev_io_init(&t->io, _sl_on_message, t->sock, EV_READ);
    t->io.data = s;
    ev_io_start(s->loop, &t->io);
}

void sl_takeover_failed(struct sl_supervisor *s, int error, const char *text)
{
    union sl_ipc m = {.result = {.h = {.type = SL_IPC_TAKEN}, .error = error}};
    if (s->takeover.sock < 0)
        return;
    SL_CLOSE int fd = text && *text ? sl_memfd_sealed("sluice-takeover", text, strlen(text)) : -1;
    (void)sl_ipc_send(s->takeover.sock, &m, &fd, fd >= 0 ? 1 : 0);
}

void sl_takeover_close(struct sl_supervisor *s)
{
    struct sl_takeover *t = &s->takeover;
    if (t->former.blocks)
        sl_counters_unmap(&t->former);
    sl_closep(&t->sock);
    sl_closep(&t->bundle_fd);
    sl_closep(&t->counters_fd);
    sl_closep(&t->kernel.lock);
    sl_closep(&t->kernel.buckets);
}
