/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant: what a thread makes belongs to it until it has been joined; until then the loop sees nothing of
 * it but the eventfd. A policy is pure memory, so that it can be made in one thread, used in another and
 * freed in a third.
 */
#include "gateway/policy_thread_priv.h"

#include "base/log.h"
#include "config/config.h"
#include "gateway/worker_priv.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Requests come first, as far as a policy is still in force in time where the core is never idle. */
#define SL_POLICY_THREAD_NICE 5

struct sl_policy_thread {
    struct sl_worker *w;
    pthread_t thread;
    int bundle_fd, event;
    ev_io io;
    sl_built_fn done;
    struct sl_policy *policy; /* the result */
    int r;
};

/* ---- in the thread */

static void _sl_say(const struct sl_diag *diag)
{
    struct sl_buf text = {0};
    if (sl_diag_print(diag, &text) == 0)
        sl_error("policy refused: " SL_SFMT, SL_SARG(sl_buf_slice(&text)));
    sl_buf_free(&text);
}

static int _sl_read(int fd, struct sl_diag *diag, struct sl_snapshot **out)
{
    struct sl_bundle *bundle = NULL;
    int r = sl_bundle_from_memfd_lean(fd, &bundle);
    if (r < 0)
        return sl_error_r(r, "the bundle from the supervisor cannot be read");
    r = sl_snapshot_new(bundle, diag, out);
    sl_bundle_free(bundle);
    return r;
}

static int _sl_build(int fd, struct sl_policy **out)
{
    struct sl_snapshot *s = NULL;
    struct sl_diag diag;
    sl_diag_init(&diag);
    int r = _sl_read(fd, &diag, &s);
    if (r == 0)
        r = sl_policy_new(s, &diag, out); /* which holds the snapshot */
    if (r < 0)
        _sl_say(&diag);
    sl_snapshot_unref(s);
    sl_diag_free(&diag);
    return r;
}

static void *_sl_build_thread(void *arg)
{
    struct sl_policy_thread *t = arg;
    const uint64_t one = 1;
    (void)prctl(PR_SET_NAME, "policy");
    (void)setpriority(PRIO_PROCESS, 0, SL_POLICY_THREAD_NICE); /* of this thread alone */
    t->r = _sl_build(t->bundle_fd, &t->policy);
    if (write(t->event, &one, sizeof(one)) < 0)
        sl_error("the worker cannot be told of its policy"); /* the counter is 0: it has room */
    return NULL;
}

static void *_sl_free_thread(void *arg)
{
    (void)prctl(PR_SET_NAME, "policy");
    sl_policy_free(arg);
    return NULL;
}

/* ---- building */

static void _sl_thread_free(struct sl_policy_thread *t)
{
    sl_closep(&t->bundle_fd);
    sl_closep(&t->event);
    free(t);
}

static void _sl_on_built(struct ev_loop *ev, ev_io *io, int events)
{
    (void)events;
    struct sl_policy_thread *t = io->data;
    struct sl_worker *w = t->w;
    struct sl_policy *policy = NULL;
    ev_io_stop(ev, io);
    (void)pthread_join(t->thread, NULL);
    w->policy_thread = NULL;
    policy = SL_TAKE_PTR(t->policy);
    const int r = t->r;
    const sl_built_fn done = t->done;
    _sl_thread_free(t);
    done(w, policy, r);
}

static int _sl_start(struct sl_worker *w, struct sl_policy_thread *t)
{
    t->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int r = t->event < 0 ? -errno : sl_loop_thread(&t->thread, _sl_build_thread, t);
    if (r < 0)
        return r;
    ev_io_init(&t->io, _sl_on_built, t->event, EV_READ);
    t->io.data = t;
    ev_io_start(w->loop.ev, &t->io);
    w->policy_thread = t;
    return 0;
}

void sl_policy_thread_start(struct sl_worker *w, int bundle_fd, sl_built_fn done)
{
    struct sl_policy_thread *t = calloc(1, sizeof(*t));
    if (t)
        *t = (struct sl_policy_thread){.w = w, .bundle_fd = bundle_fd, .event = -1, .done = done};
    if (t && _sl_start(w, t) == 0)
        return;
    struct sl_policy *policy = NULL;
    const int r = _sl_build(bundle_fd, &policy);
    if (t)
        _sl_thread_free(t);
    else
        (void)close(bundle_fd);
    done(w, policy, r);
}

/* ---- freeing */

static void _sl_join_freeing(struct sl_worker *w)
{
    if (w->freeing)
        (void)pthread_join(w->freeing_thread, NULL);
    w->freeing = false;
}

void sl_policy_thread_discard(struct sl_worker *w, struct sl_policy *policy)
{
    _sl_join_freeing(w);
    w->freeing = !w->closing && policy && sl_loop_thread(&w->freeing_thread, _sl_free_thread, policy) == 0;
    if (!w->freeing)
        sl_policy_free(policy);
}

void sl_policy_thread_close(struct sl_worker *w)
{
    struct sl_policy_thread *t = SL_TAKE_PTR(w->policy_thread);
    w->closing = true;
    _sl_join_freeing(w);
    if (!t)
        return;
    ev_io_stop(w->loop.ev, &t->io);
    (void)pthread_join(t->thread, NULL);
    sl_policy_free(t->policy);
    _sl_thread_free(t);
}
