/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy, from the supervisor's message until it is in force here. It is built in a thread: with a million
 * consumers that takes a second, in which checks, questions to servers and the admin API go on by the policy
 * before. The supervisor's next messages wait in the socket meanwhile: their order is his.
 */
#include "control/control_priv.h"

#include "net/background.h"

#include <errno.h>
#include <unistd.h>

struct sl_control_next {
    struct sl_control *c;
    struct sl_background background;
    struct sl_ipc_snapshot m;
    int fds[SL_IPC_MAX_FDS]; /* the bundle, and the admin's listening sockets */
    size_t n;
    /* what the thread makes */
    struct sl_bundle *bundle;
    struct sl_snapshot *snapshot;
    SSL_CTX *tls;
    int r;
};

static void _sl_build(void *arg)
{
    struct sl_control_next *n = arg;
    struct sl_diag diag;
    sl_diag_init(&diag); /* the supervisor has said what is wrong with it */
    n->r = n->n ? sl_bundle_from_memfd_lean(n->fds[0], &n->bundle) : -EPROTO;
    if (n->r == 0)
        n->r = sl_snapshot_new(n->bundle, &diag, &n->snapshot);
    if (n->r == 0)
        n->r = sl_admin_tls_new(n->snapshot, &n->tls);
    sl_diag_free(&diag);
}

static void _sl_free(struct sl_control_next *n)
{
    for (size_t i = 0; i < n->n; i++)
        sl_closep(&n->fds[i]);
    SSL_CTX_free(n->tls);
    sl_bundle_free(n->bundle);
    sl_snapshot_unref(n->snapshot);
    free(n);
}

/* Each part by itself: one that cannot be had takes none of the others along. */
static void _sl_start_parts(struct sl_control *c)
{
    const struct {
        int (*start)(struct sl_control *);
        const char *without;
    } parts[] = {
        {sl_names_start, "not every target by DNS is resolved"},
        {sl_checks_start, "not every health check runs"},
        {sl_jwks_start, "not every provider's keys are fetched"},
        {sl_errands_start, "not every server can be asked about credentials"},
        {sl_cluster_start, "no memory to share limits"},
        {sl_demand_start, "no memory to watch who asks how much: `sluicectl suggest` has nothing to say"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(parts); i++)
        if (parts[i].start(c) < 0)
            sl_error("policy version %llu: %s", (unsigned long long)c->version, parts[i].without);
}

static void _sl_enforce(struct sl_control *c, struct sl_control_next *n)
{
    SSL_CTX_free(c->tls);
    c->tls = SL_TAKE_PTR(n->tls);
    sl_admin_retire(c);
    sl_bundle_free(c->bundle);
    sl_snapshot_unref(c->snapshot);
    c->bundle = SL_TAKE_PTR(n->bundle);
    c->snapshot = SL_TAKE_PTR(n->snapshot);
    c->version = n->m.version;
    _sl_start_parts(c);
}

static void _sl_answer(struct sl_control *c, uint64_t version, int r)
{
    union sl_ipc ready = {.ready = {.h = {.type = SL_IPC_READY}, .version = version, .error = r}};
    if (r < 0)
        (void)sl_error_r(r, "taking policy version %llu", (unsigned long long)version);
    if (sl_ipc_send(c->args->ipc_fd, &ready, NULL, 0) < 0)
        ev_break(c->loop, EVBREAK_ALL);
}

static void _sl_on_built(void *arg)
{
    struct sl_control_next *n = arg;
    struct sl_control *c = n->c;
    c->next = NULL;
    c->held = n->m.hold;
    if (n->r == 0) {
        n->r = sl_admin_listen(c, n->fds + 1, n->n - 1);
        n->n = n->r == 0 ? 1 : n->n; /* they are the admin's now */
    }
    if (n->r == 0)
        _sl_enforce(c, n);
    _sl_answer(c, n->m.version, n->r);
    _sl_free(n);
    ev_io_start(c->loop, &c->ipc);
}

void sl_control_take_policy(struct sl_control *c, const struct sl_ipc_snapshot *m, const int *fds, size_t n)
{
    struct sl_control_next *next = calloc(1, sizeof(*next));
    if (!next) {
        for (size_t i = 0; i < n; i++)
            (void)close(fds[i]);
        _sl_answer(c, m->version, -ENOMEM);
        return;
    }
    *next = (struct sl_control_next){.c = c, .m = *m, .n = n};
    memcpy(next->fds, fds, n * sizeof(*fds));
    c->next = next;
    ev_io_stop(c->loop, &c->ipc);
    if (sl_background_start(&next->background, &c->turn, "policy", _sl_build, _sl_on_built, next) < 0) {
        _sl_build(next);
        _sl_on_built(next);
    }
}

void sl_control_stop_policy(struct sl_control *c)
{
    struct sl_control_next *n = SL_TAKE_PTR(c->next);
    if (!n)
        return;
    sl_background_join(&n->background);
    _sl_free(n);
}
