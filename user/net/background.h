/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that takes long beside work that may not wait: in a thread of its own, whose niceness lets requests go
 * first. On a core that is never idle it has a tenth of it, so that it ends there too.
 *
 * Invariant: what the thread makes belongs to it until it has been joined; until then the loop sees nothing
 * of it but the eventfd.
 */
#ifndef SL_NET_BACKGROUND_H
#define SL_NET_BACKGROUND_H

#include "net/loop.h"

struct sl_background {
    void (*run)(void *arg), (*done)(void *arg); /* run NULL: nothing runs */
    void *arg;
    const char *name;
    struct sl_loop *loop;
    pthread_t thread;
    int event; /* -1: nobody is to be told on a loop */
    ev_io io;
};
/* Calls run(arg) in a thread of that name (15 characters), and, once that is over, done(arg) on the loop,
 * where b may go (done NULL: nobody is told). b is zeroed, or used before, and stays where it is until then.
 * 0, or -errno: nothing was called. */
int sl_background_start(struct sl_background *b, struct sl_loop *l, const char *name, void (*run)(void *arg),
                        void (*done)(void *arg), void *arg) SL_MUST_CHECK;
/* Waits for run to be over; done is not called any more. Nothing where nothing runs. */
void sl_background_join(struct sl_background *b);

/* Calls run(arg) in such a thread and waits for it; where none can be had, here. */
void sl_background_wait(const char *name, void (*run)(void *arg), void *arg);

#endif
