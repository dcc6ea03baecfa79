/* SPDX-License-Identifier: Apache-2.0 */
/* A policy is pure memory, so that it can be made in one thread, used in another and freed in a third. */
#include "gateway/policy_thread_priv.h"

#include "base/log.h"
#include "config/config.h"
#include "gateway/worker_priv.h"

#include <unistd.h>

struct sl_policy_thread {
    struct sl_background background;
    struct sl_worker *w;
    int bundle_fd;
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

static void _sl_run(void *arg)
{
    struct sl_policy_thread *t = arg;
    t->r = _sl_build(t->bundle_fd, &t->policy);
}

static void _sl_free(void *policy)
{
    sl_policy_free(policy);
}

/* ---- building */

static void _sl_thread_free(struct sl_policy_thread *t)
{
    sl_closep(&t->bundle_fd);
    free(t);
}

static void _sl_on_built(void *arg)
{
    struct sl_policy_thread *t = arg;
    struct sl_worker *w = t->w;
    struct sl_policy *policy = SL_TAKE_PTR(t->policy);
    const int r = t->r;
    const sl_built_fn done = t->done;
    w->policy_thread = NULL;
    _sl_thread_free(t);
    done(w, policy, r);
}

void sl_policy_thread_start(struct sl_worker *w, int bundle_fd, sl_built_fn done)
{
    struct sl_policy_thread *t = calloc(1, sizeof(*t));
    if (!t) {
        struct sl_policy *policy = NULL;
        const int r = _sl_build(bundle_fd, &policy);
        (void)close(bundle_fd);
        done(w, policy, r);
        return;
    }
    *t = (struct sl_policy_thread){.w = w, .bundle_fd = bundle_fd, .done = done};
    w->policy_thread = t;
    if (sl_background_start(&t->background, &w->loop, "policy", _sl_run, _sl_on_built, t) < 0) {
        _sl_run(t);
        _sl_on_built(t);
    }
}

/* ---- freeing */

void sl_policy_thread_discard(struct sl_worker *w, struct sl_policy *policy)
{
    sl_background_join(&w->freeing);
    if (w->closing || !policy ||
        sl_background_start(&w->freeing, &w->loop, "policy", _sl_free, NULL, policy) < 0)
        sl_policy_free(policy);
}

void sl_policy_thread_close(struct sl_worker *w)
{
    struct sl_policy_thread *t = SL_TAKE_PTR(w->policy_thread);
    w->closing = true;
    sl_background_join(&w->freeing);
    if (!t)
        return;
    sl_background_join(&t->background);
    sl_policy_free(t->policy);
    _sl_thread_free(t);
}
