/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop a process, and what every part of the hot path wants of it: a clock read once a turn, lazy
 * deadlines, and frees that wait for the end of the turn.
 *
 * Invariant: no object that a callback of this turn may still hold is freed before the turn ends.
 */
#ifndef SL_NET_LOOP_H
#define SL_NET_LOOP_H

#include "base/clock.h"
#include "base/list.h"
#include <ev.h>
#include <pthread.h>

struct sl_deferred {
    struct sl_deferred *next;
    void (*run)(struct sl_deferred *);
};

/*
 * A deadline that costs a store to move later: it stays in the wheel slot it was first put in, and when that
 * slot comes round the true deadline is looked at. Resolution SL_TICK_NS.
 */
struct sl_timer {
    struct sl_list node;
    uint64_t at;   /* ns; 0: not set */
    uint64_t tick; /* of the slot it stands in; 0: in none */
    void (*fn)(struct sl_timer *);
};

#define SL_TICK_NS     (100 * SL_NS_PER_MS)
#define SL_WHEEL_SLOTS 512 /* later deadlines take more than one round */

struct sl_loop {
    struct ev_loop *ev;
    uint64_t now;         /* CLOCK_MONOTONIC at the start of the turn */
    uint64_t wall_offset; /* CLOCK_REALTIME - CLOCK_MONOTONIC, read every tick */
    uint64_t turns;
    struct sl_deferred *deferred, *released;
    ev_check check;
    ev_prepare prepare;
    ev_timer ticker; /* runs only while a timer stands in the wheel */
    uint64_t tick;
    size_t timers;
    struct sl_list wheel[SL_WHEEL_SLOTS];
};

/* 0 or -errno. The loop must not move in memory. */
int sl_loop_init(struct sl_loop *l) SL_MUST_CHECK;
/* Runs what is deferred, then frees. */
void sl_loop_close(struct sl_loop *l);
void sl_loop_run(struct sl_loop *l);
void sl_loop_stop(struct sl_loop *l);
/* Starts a thread beside the loop, which keeps all signals. 0 or -errno. */
int sl_loop_thread(pthread_t *thread, void *(*run)(void *), void *arg) SL_MUST_CHECK;
/* Unix time in ns, right to a tick. */
static inline uint64_t sl_loop_wall(const struct sl_loop *l)
{
    return l->now + l->wall_offset;
}

/* Calls run(d) once this turn's callbacks are over. d may be deferred again only after that. */
static inline void sl_loop_defer(struct sl_loop *l, struct sl_deferred *d, void (*run)(struct sl_deferred *))
{
    d->run = run;
    d->next = l->deferred;
    l->deferred = d;
}

/* The same as soon as this callback is over: nobody who holds it is on the stack any more, and memory that
 * the next callback takes is still in the cache. Whatever else could find d must have let go of it. */
static inline void sl_loop_release(struct sl_loop *l, struct sl_deferred *d,
                                   void (*run)(struct sl_deferred *))
{
    d->run = run;
    d->next = l->released;
    l->released = d;
}
/* Said by a callback as the last thing it does; the end of the turn says it too. */
static inline void sl_loop_settle(struct sl_loop *l)
{
    while (l->released) {
        struct sl_deferred *d = l->released;
        l->released = d->next;
        d->run(d);
    }
}

void sl_timer_init(struct sl_timer *t, void (*fn)(struct sl_timer *));
/* Out of line part of sl_timer_set. */
void sl_timer_place(struct sl_loop *l, struct sl_timer *t);
/* Fires within a tick after `at`; 0 unsets. */
static inline void sl_timer_set(struct sl_loop *l, struct sl_timer *t, uint64_t at)
{
    t->at = at;
    if (at && (!t->tick || at < t->tick * SL_TICK_NS))
        sl_timer_place(l, t);
}
/* Takes it out of the wheel: before its memory goes. */
void sl_timer_stop(struct sl_loop *l, struct sl_timer *t);

#endif
