/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant: a call ends once: by its answer, by its deadline, or with the controller. When its callback runs
 * it stands in no list any more, so that nobody can join what is over; whoever was parked goes on then.
 */
#include "gateway/errand_priv.h"

#include "base/log.h"
#include "gateway/exchange_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>

static void _sl_watch(struct sl_worker *w, bool writes)
{
    struct sl_worker_errands *e = &w->errands;
    ev_io_stop(w->loop.ev, &e->io);
    ev_io_set(&e->io, e->fd, EV_READ | (writes ? EV_WRITE : 0));
    ev_io_start(w->loop.ev, &e->io);
}

/* ---- the end of a call */

static void _sl_end(struct sl_errand_call *call, const struct sl_errand_result *r)
{
    sl_list_remove(&call->node);
    call->w->errands.n--;
    call->q.done(call, r);
    sl_gw_config_unref(call->config);
    OPENSSL_cleanse((void *)(uintptr_t)call->q.payload.p, call->q.payload.n);
    free(call);
}

static void _sl_end_as(struct sl_errand_call *call, enum sl_errand_status status)
{
    _sl_end(call, &(struct sl_errand_result){.status = status});
}

/* Those that are begun meanwhile find no controller, and are in no list. */
static void _sl_disconnect(struct sl_worker *w)
{
    struct sl_worker_errands *e = &w->errands;
    if (e->fd < 0)
        return;
    ev_io_stop(w->loop.ev, &e->io);
    sl_closep(&e->fd);
    e->fd = -1;
    while (!sl_list_empty(&e->calls))
        _sl_end_as(SL_LIST_ENTRY(e->calls.next, struct sl_errand_call, node), SL_ERRAND_GONE);
}

/* ---- the controller's answers */

static struct sl_errand_call *_sl_find(const struct sl_worker *w, uint64_t id)
{
    sl_list_for_each (it, &w->errands.calls) {
        struct sl_errand_call *call = SL_LIST_ENTRY(it, struct sl_errand_call, node);
        if (call->id == id)
            return call;
    }
    return NULL;
}

static int _sl_read(struct sl_worker *w)
{
    struct sl_errand_answer head;
    struct sl_errand_result r;
    struct sl_slice payload;
    const int n = sl_errand_recv_answer(w->errands.fd, &head, w->errands.buf, &payload);
    if (n != 1)
        return n;
    struct sl_errand_call *call = _sl_find(w, head.id); /* NULL: its deadline is over */
    r = (struct sl_errand_result){
        .status = (enum sl_errand_status)head.status, .expires_ns = head.expires_ns, .payload = payload};
    if (call)
        _sl_end(call, &r);
    OPENSSL_cleanse(w->errands.buf, payload.n);
    return 1;
}

/* 0 where all is sent; -EAGAIN; another -errno: there is no controller. */
static int _sl_send(struct sl_worker *w)
{
    sl_list_for_each (it, &w->errands.calls) {
        struct sl_errand_call *call = SL_LIST_ENTRY(it, struct sl_errand_call, node);
        struct sl_errand_ask head = {.kind = call->q.kind,
                                     .id = call->id,
                                     .version = call->config->snapshot->version,
                                     .source = call->q.source};
        const int r = call->sent ? 0 : sl_errand_send_ask(w->errands.fd, &head, call->q.payload);
        if (r < 0)
            return r;
        call->sent = true;
    }
    return 0;
}

static void _sl_on_event(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev;
    struct sl_worker *w = io->data;
    int r = 1;
    for (unsigned budget = SL_ERRANDS_MAX; r == 1 && budget && w->errands.fd >= 0; budget--)
        r = _sl_read(w);
    if (r >= 0 && w->errands.fd >= 0 && events & EV_WRITE && (r = _sl_send(w)) == 0)
        _sl_watch(w, false);
    if (r < 0 && r != -EAGAIN)
        _sl_disconnect(w);
    sl_loop_settle(&w->loop);
}

void sl_worker_errands_connect(struct sl_worker *w, int fd)
{
    struct sl_worker_errands *e = &w->errands;
    _sl_disconnect(w);
    if (!e->buf)
        e->buf = malloc(SL_ERRAND_ANSWER_MAX);
    e->fd = e->buf && fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (e->fd < 0)
        return;
    ev_io_init(&e->io, _sl_on_event, e->fd, EV_READ);
    e->io.data = w;
    ev_io_start(w->loop.ev, &e->io);
}

/* ---- questions */

/* The same, and how many are asked of its server. */
static struct sl_errand_call *_sl_same(const struct sl_worker *w, const struct sl_gw_config *c,
                                       const struct sl_errand_question *q, unsigned *of_server)
{
    *of_server = 0;
    sl_list_for_each (it, &w->errands.calls) {
        struct sl_errand_call *call = SL_LIST_ENTRY(it, struct sl_errand_call, node);
        if (call->q.kind != q->kind || call->q.source != q->source)
            continue;
        ++*of_server;
        if (call->config == c && call->q.done == q->done && call->q.payload.n == q->payload.n &&
            CRYPTO_memcmp(call->q.payload.p, q->payload.p, q->payload.n) == 0)
            return call;
    }
    return NULL;
}

static struct sl_errand_call *_sl_new(struct sl_worker *w, struct sl_gw_config *c,
                                      const struct sl_errand_question *q)
{
    struct sl_errand_call *call = malloc(sizeof(*call) + q->payload.n);
    if (!call)
        return NULL;
    *call = (struct sl_errand_call){.w = w,
                                    .config = sl_gw_config_ref(c),
                                    .q = *q,
                                    .id = ++w->errands.next_id,
                                    .deadline = w->loop.now + q->timeout + SL_ERRAND_GRACE};
    call->q.payload.p = memcpy(call + 1, q->payload.p, q->payload.n);
    sl_list_init(&call->parking.waiting);
    sl_list_push_back(&w->errands.calls, &call->node);
    w->errands.n++;
    return call;
}

enum sl_errand_status sl_errand_begin(struct sl_worker *w, struct sl_gw_config *c,
                                      const struct sl_errand_question *q, struct sl_errand_call **out)
{
    unsigned of_server;
    if (w->errands.fd < 0)
        return SL_ERRAND_GONE;
    if ((*out = _sl_same(w, c, q, &of_server)))
        return SL_ERRAND_OK;
    if (w->errands.n >= SL_ERRANDS_MAX || of_server >= SL_ERRANDS_OF_SERVER ||
        q->payload.n > SL_ERRAND_ASK_MAX || !(*out = _sl_new(w, c, q)))
        return SL_ERRAND_FULL;
    if (_sl_send(w) < 0) /* it is full, and tells when not; or gone, which is read of it */
        _sl_watch(w, true);
    return SL_ERRAND_OK;
}

enum sl_errand_status sl_errand_wait(struct sl_exchange *ex, const struct sl_errand_question *q)
{
    struct sl_errand_call *call;
    enum sl_errand_status status = sl_errand_begin(ex->w, ex->config, q, &call);
    if (status == SL_ERRAND_OK && call->parking.n == SL_PARKING_MAX)
        status = SL_ERRAND_FULL;
    ex->errand_status = status == SL_ERRAND_OK ? SL_ERRAND_LATE : (uint8_t)status;
    if (status == SL_ERRAND_OK)
        sl_exchange_park_at(ex, &call->parking, call->deadline + SL_ERRAND_GRACE - ex->w->loop.now);
    return status;
}

/* ---- time */

void sl_worker_errands_tick(struct sl_worker *w)
{
    sl_list_for_each_safe (it, &w->errands.calls) {
        struct sl_errand_call *call = SL_LIST_ENTRY(it, struct sl_errand_call, node);
        if (w->loop.now >= call->deadline)
            _sl_end_as(call, SL_ERRAND_LATE);
    }
}

void sl_worker_errands_close(struct sl_worker *w)
{
    _sl_disconnect(w);
    free(SL_TAKE_PTR(w->errands.buf));
}
