/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop and its timer wheel. Invariant: a timer with tick != 0 stands in wheel[tick % SL_WHEEL_SLOTS],
 * tick is after the last tick that was run, and no later than its deadline's.
 */
#include "net/loop.h"

#include <errno.h>

static void _sl_on_check(struct ev_loop *ev, ev_check *w, int revents)
{
    (void)ev, (void)revents;
    struct sl_loop *l = w->data;
    l->now = sl_now_ns();
    l->turns++;
}

static void _sl_run_deferred(struct sl_loop *l)
{
    sl_loop_settle(l);
    while (l->deferred) {
        struct sl_deferred *d = l->deferred;
        l->deferred = d->next;
        d->run(d);
        sl_loop_settle(l);
    }
}

static void _sl_on_prepare(struct ev_loop *ev, ev_prepare *w, int revents)
{
    (void)ev, (void)revents;
    _sl_run_deferred(w->data);
}

static void _sl_run_slot(struct sl_loop *l, struct sl_list *slot)
{
    struct sl_list due;
    sl_list_init(&due);
    if (sl_list_empty(slot))
        return;
    due = *slot;
    due.next->prev = due.prev->next = &due;
    sl_list_init(slot);
    while (!sl_list_empty(&due)) {
        struct sl_timer *t = SL_LIST_ENTRY(due.next, struct sl_timer, node);
        sl_timer_stop(l, t);
        if (t->at > l->now) {
            sl_timer_place(l, t);
        } else if (t->at) {
            t->at = 0;
            t->fn(t);
        }
    }
}

static void _sl_on_tick(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev, (void)revents;
    struct sl_loop *l = w->data;
    l->wall_offset = sl_wall_ns() - l->now;
    uint64_t until = l->now / SL_TICK_NS;
    if (until >
        l->tick + SL_WHEEL_SLOTS) /* stopped for long (SIGSTOP, a suspended VM): once round is enough */
        l->tick = until - SL_WHEEL_SLOTS;
    while (l->tick < until) {
        l->tick++;
        _sl_run_slot(l, &l->wheel[l->tick % SL_WHEEL_SLOTS]);
    }
    if (!l->timers)
        ev_timer_stop(l->ev, &l->ticker);
}

int sl_loop_init(struct sl_loop *l)
{
    *l = (struct sl_loop){.now = sl_now_ns()};
    l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!l->ev)
        return -ENOMEM;
    l->wall_offset = sl_wall_ns() - l->now;
    l->tick = l->now / SL_TICK_NS;
    for (size_t i = 0; i < SL_WHEEL_SLOTS; i++)
        sl_list_init(&l->wheel[i]);
    ev_check_init(&l->check, _sl_on_check);
    ev_set_priority(&l->check, EV_MAXPRI);
    ev_prepare_init(&l->prepare, _sl_on_prepare);
    ev_timer_init(&l->ticker, _sl_on_tick, 0., (double)SL_TICK_NS / (double)SL_NS_PER_SEC);
    ev_set_priority(&l->ticker, EV_MAXPRI - 1);
    l->check.data = l->prepare.data = l->ticker.data = l;
    ev_check_start(l->ev, &l->check);
    ev_prepare_start(l->ev, &l->prepare);
    return 0;
}

void sl_loop_close(struct sl_loop *l)
{
    if (!l->ev)
        return;
    _sl_run_deferred(l);
    ev_loop_destroy(l->ev);
    l->ev = NULL;
}

void sl_loop_run(struct sl_loop *l)
{
    (void)ev_run(l->ev, 0);
}

void sl_loop_stop(struct sl_loop *l)
{
    ev_break(l->ev, EVBREAK_ALL);
}

int sl_loop_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int r = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

void sl_timer_init(struct sl_timer *t, void (*fn)(struct sl_timer *))
{
    *t = (struct sl_timer){.fn = fn};
    sl_list_init(&t->node);
}

void sl_timer_place(struct sl_loop *l, struct sl_timer *t)
{
    sl_timer_stop(l, t);
    if (!l->timers && !ev_is_active(&l->ticker)) {
        l->tick = l->now / SL_TICK_NS;
        ev_timer_again(l->ev, &l->ticker);
    }
    uint64_t tick = t->at / SL_TICK_NS + 1;
    tick = SL_MAX(tick, l->tick + 1);
    tick = SL_MIN(tick, l->tick + SL_WHEEL_SLOTS - 1);
    t->tick = tick;
    sl_list_push_back(&l->wheel[tick % SL_WHEEL_SLOTS], &t->node);
    l->timers++;
}

void sl_timer_stop(struct sl_loop *l, struct sl_timer *t)
{
    if (!t->tick)
        return;
    sl_list_remove(&t->node);
    t->tick = 0;
    l->timers--;
}
