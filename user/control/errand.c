/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errands between the workers' sockets (errand_links.c) and the servers (errand_servers.c). A question that
 * is under way already, of whichever worker, gets another asker; a new one runs, waits its turn at its
 * server, or waits for the policy that it was asked under.
 *
 * Invariant: an asker stands in exactly one job until it is answered, once; a job has a deadline from its
 * first moment on, and its server's ops hold nothing of it after its end.
 */
#include "control/errand_priv.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#define SL_ERRAND_RUNNING  32                  /* asked of one server at a time */
#define SL_ERRAND_QUEUE    512                 /* that wait for their turn there */
#define SL_ERRAND_POLICY   (5 * SL_NS_PER_SEC) /* how long a question waits for its policy */
#define SL_ERRAND_FAILURES 3                   /* in a row, and the server is left alone for a while: */
#define SL_ERRAND_HOLD     SL_NS_PER_SEC
#define SL_ERRAND_HOLD_MAX (10 * SL_NS_PER_SEC) /* doubled up to this */

/* ---- a job's end */

static void _sl_job_free(struct sl_errand_job *job)
{
    sl_list_for_each_safe (it, &job->askers) {
        struct sl_errand_asker *a = SL_LIST_ENTRY(it, struct sl_errand_asker, node);
        a->link->n--;
        free(a);
    }
    sl_timer_stop(&job->all->control->turn, &job->timer);
    sl_list_remove(&job->node);
    OPENSSL_cleanse(job->payload, job->n);
    free(job->payload);
    free(job);
}

/* Takes it from its server, if it has one. */
static void _sl_leave(struct sl_errand_job *job, bool cancel)
{
    struct sl_errand_server *s = SL_TAKE_PTR(job->server);
    if (!s)
        return;
    if (job->running && cancel)
        s->ops->cancel(job);
    s->running -= job->running;
    s->queued -= !job->running;
    job->running = false;
    job->work = NULL;
}

static void _sl_hold(struct sl_errand_server *s)
{
    const uint64_t now = s->all->control->turn.now;
    if (now < s->held_until) /* asked before that was known */
        return;
    if (++s->failures < SL_ERRAND_FAILURES)
        return;
    const unsigned doubled = SL_MIN(s->failures - SL_ERRAND_FAILURES, 4u);
    s->held_until = now + SL_MIN(SL_ERRAND_HOLD << doubled, SL_ERRAND_HOLD_MAX);
}

static void _sl_learn(struct sl_errand_server *s, const struct sl_errand_outcome *o)
{
    s->total[o->status]++;
    if (o->status == SL_ERRAND_OK || o->status == SL_ERRAND_REFUSED) {
        if (s->why[0])
            sl_info("%s: %s answers again", s->name, s->url);
        s->why[0] = '\0';
        s->failures = 0;
        s->held_until = 0;
    }
    if (o->status != SL_ERRAND_FAILED)
        return;
    if (!s->why[0])
        sl_warn("%s: %s cannot be asked: %s", s->name, s->url, o->why);
    (void)snprintf(s->why, sizeof(s->why), "%s", o->why);
    if (o->unreachable)
        _sl_hold(s);
}

static void _sl_end(struct sl_errand_job *job, const struct sl_errand_outcome *o)
{
    struct sl_errand_server *s = job->server;
    _sl_leave(job, false);
    if (s)
        _sl_learn(s, o);
    sl_list_for_each (it, &job->askers) {
        struct sl_errand_asker *a = SL_LIST_ENTRY(it, struct sl_errand_asker, node);
        sl_errand_tell(a->link, a->id, o);
    }
    _sl_job_free(job);
}

static void _sl_end_as(struct sl_errand_job *job, enum sl_errand_status status)
{
    _sl_end(job, &(struct sl_errand_outcome){.status = status});
}

/* ---- a server's jobs */

static bool _sl_held(const struct sl_errand_server *s)
{
    return s->all->control->turn.now < s->held_until;
}

static void _sl_run(struct sl_errand_job *job)
{
    struct sl_errand_server *s = job->server;
    s->queued--;
    s->running++;
    job->running = true;
    if (s->ops->start(job) < 0)
        _sl_end(job, &(struct sl_errand_outcome){.status = SL_ERRAND_FAILED, .why = "out of memory"});
}

static struct sl_errand_job *_sl_next(const struct sl_errand_server *s)
{
    sl_list_for_each (it, &s->all->jobs) {
        struct sl_errand_job *job = SL_LIST_ENTRY(it, struct sl_errand_job, node);
        if (job->server == s && !job->running)
            return job;
    }
    return NULL;
}

void sl_errand_pump(struct sl_errand_server *s)
{
    while (s->queued && (s->running < SL_ERRAND_RUNNING || _sl_held(s))) {
        struct sl_errand_job *job = _sl_next(s);
        if (_sl_held(s))
            _sl_end_as(job, SL_ERRAND_HELD);
        else
            _sl_run(job);
    }
}

void sl_errand_done(struct sl_errand_job *job, const struct sl_errand_outcome *o)
{
    struct sl_errand_server *s = job->server;
    _sl_end(job, o);
    sl_errand_pump(s);
}

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_errand_job *job = SL_CONTAINER_OF(t, struct sl_errand_job, timer);
    struct sl_errand_server *s = job->server;
    if (!s) {
        _sl_end_as(job, SL_ERRAND_UNKNOWN);
        return;
    }
    if (!job->running) {
        _sl_end_as(job, SL_ERRAND_FULL);
        return;
    }
    s->ops->cancel(job);
    sl_errand_done(job, &(struct sl_errand_outcome){
                            .status = SL_ERRAND_FAILED, .why = "it takes too long", .unreachable = true});
}

/* A job without a server finds one, waits for the policy that has it, or ends. */
static void _sl_dispatch(struct sl_errand_job *job)
{
    struct sl_errands *all = job->all;
    struct sl_loop *l = &all->control->turn;
    struct sl_errand_server *s = sl_errand_server_find(all, job->kind, job->source);
    if (!s && job->version > all->control->version) {
        sl_timer_set(l, &job->timer, l->now + SL_ERRAND_POLICY);
        return;
    }
    if (!s || s->queued >= SL_ERRAND_QUEUE) {
        if (s)
            s->total[SL_ERRAND_FULL]++;
        _sl_end_as(job, s ? SL_ERRAND_FULL : SL_ERRAND_UNKNOWN);
        return;
    }
    job->server = s;
    s->queued++;
    sl_timer_set(l, &job->timer, l->now + s->timeout);
    sl_errand_pump(s);
}

struct sl_loop *sl_errand_loop(const struct sl_errand_job *job)
{
    return &job->all->control->turn;
}

struct sl_resolver *sl_errand_resolver(const struct sl_errand_job *job)
{
    return job->all->resolver;
}

/* ---- questions */

static struct sl_errand_job *_sl_same(const struct sl_errands *all, const struct sl_errand_ask *q,
                                      struct sl_slice payload, uint64_t hash)
{
    sl_list_for_each (it, &all->jobs) {
        struct sl_errand_job *job = SL_LIST_ENTRY(it, struct sl_errand_job, node);
        if (job->hash == hash && job->kind == q->kind && job->source == q->source && job->n == payload.n &&
            CRYPTO_memcmp(job->payload, payload.p, payload.n) == 0)
            return job;
    }
    return NULL;
}

static struct sl_errand_job *_sl_job_new(struct sl_errands *all, const struct sl_errand_ask *q,
                                         struct sl_slice payload, uint64_t hash)
{
    struct sl_errand_job *job = calloc(1, sizeof(*job));
    if (!job)
        return NULL;
    *job = (struct sl_errand_job){.all = all,
                                  .kind = (enum sl_errand_kind)q->kind,
                                  .source = q->source,
                                  .version = q->version,
                                  .hash = hash,
                                  .n = payload.n,
                                  .payload = malloc(payload.n + 1)};
    if (!job->payload) {
        free(job);
        return NULL;
    }
    memcpy(job->payload, payload.p, payload.n);
    sl_list_init(&job->askers);
    sl_timer_init(&job->timer, _sl_on_timer);
    sl_list_push_back(&all->jobs, &job->node);
    return job;
}

void sl_errand_asked(struct sl_errand_link *link, const struct sl_errand_ask *q, struct sl_slice payload)
{
    struct sl_errands *all = link->all;
    const uint64_t hash = sl_hash(payload.p, payload.n, all->seed);
    struct sl_errand_job *job = _sl_same(all, q, payload, hash);
    const bool fresh = !job;
    struct sl_errand_asker *a = link->n < SL_ERRANDS_MAX ? malloc(sizeof(*a)) : NULL;
    if (a && fresh)
        job = _sl_job_new(all, q, payload, hash);
    if (!a || !job) {
        free(a);
        sl_errand_tell(link, q->id, &(struct sl_errand_outcome){.status = SL_ERRAND_FULL});
        return;
    }
    *a = (struct sl_errand_asker){.link = link, .id = q->id};
    sl_list_push_back(&job->askers, &a->node);
    link->n++;
    if (fresh)
        _sl_dispatch(job);
}

/* ---- a worker that is gone */

static void _sl_forget_asker(struct sl_errand_job *job, const struct sl_errand_link *link)
{
    sl_list_for_each_safe (it, &job->askers) {
        struct sl_errand_asker *a = SL_LIST_ENTRY(it, struct sl_errand_asker, node);
        if (a->link != link)
            continue;
        sl_list_remove(&a->node);
        a->link->n--;
        free(a);
    }
}

/* What nobody else asked, nobody wants to know. */
void sl_errand_forget(struct sl_errand_link *link)
{
    struct sl_errands *all = link->all;
    sl_list_for_each_safe (it, &all->jobs) {
        struct sl_errand_job *job = SL_LIST_ENTRY(it, struct sl_errand_job, node);
        _sl_forget_asker(job, link);
        if (!sl_list_empty(&job->askers))
            continue;
        _sl_leave(job, true);
        _sl_job_free(job);
    }
    for (size_t i = 0; i < all->n_servers; i++)
        sl_errand_pump(&all->servers[i]);
}

/* ---- all of them */

struct sl_errands *sl_errands_of(struct sl_control *c)
{
    if (c->errands)
        return c->errands;
    c->errands = calloc(1, sizeof(*c->errands));
    if (!c->errands)
        return NULL;
    c->errands->control = c;
    c->errands->seed = sl_now_ns();
    sl_list_init(&c->errands->links);
    sl_list_init(&c->errands->jobs);
    return c->errands;
}

/* Asked anew of the policy's own servers: what a server of the former one would still answer may not count.
 */
static void _sl_detach(struct sl_errands *all)
{
    sl_list_for_each (it, &all->jobs)
        _sl_leave(SL_LIST_ENTRY(it, struct sl_errand_job, node), true);
}

int sl_errands_start(struct sl_control *c)
{
    struct sl_errands *all = sl_errands_of(c);
    if (!all)
        return -ENOMEM;
    _sl_detach(all);
    struct sl_errand_server *former = SL_TAKE_PTR(all->servers);
    const size_t n = all->n_servers;
    struct sl_snapshot *s = SL_TAKE_PTR(all->snapshot);
    sl_resolver_free(SL_TAKE_PTR(all->resolver));
    all->snapshot = sl_snapshot_ref(c->snapshot);
    int r = sl_resolver_new(&c->turn, c->snapshot->resolv_conf, c->snapshot->hosts, 0, &all->resolver);
    const int e = sl_errand_servers_new(all, former, n);
    sl_errand_servers_free(former, n);
    sl_snapshot_unref(s);
    sl_list_for_each_safe (it, &all->jobs)
        _sl_dispatch(SL_LIST_ENTRY(it, struct sl_errand_job, node));
    return r < 0 ? r : e;
}

void sl_errands_stop(struct sl_control *c)
{
    struct sl_errands *all = c->errands;
    if (!all)
        return;
    _sl_detach(all);
    sl_errand_servers_free(SL_TAKE_PTR(all->servers), all->n_servers);
    all->n_servers = 0;
    sl_list_for_each_safe (it, &all->links)
        sl_errand_link_close(SL_LIST_ENTRY(it, struct sl_errand_link, node));
    sl_resolver_free(all->resolver);
    sl_snapshot_unref(all->snapshot);
    free(SL_TAKE_PTR(c->errands));
}
