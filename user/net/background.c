/* SPDX-License-Identifier: Apache-2.0 */
#include "net/background.h"

#include "base/log.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define SL_BACKGROUND_NICE 10 /* beside the process's: a weight of 110 against 1024 (sched(7)) */

/* In Linux niceness is a thread's, and 0 the calling one (setpriority(2)). */
static void _sl_give_way(const char *name)
{
    (void)prctl(PR_SET_NAME, name);
    errno = 0;
    const int nice = getpriority(PRIO_PROCESS, 0);
    if (nice != -1 || errno == 0)
        (void)setpriority(PRIO_PROCESS, 0, nice + SL_BACKGROUND_NICE);
}

static void *_sl_thread(void *arg)
{
    struct sl_background *b = arg;
    const uint64_t one = 1;
    _sl_give_way(b->name);
    b->run(b->arg);
    if (b->event >= 0 && write(b->event, &one, sizeof(one)) < 0)
        sl_error("%s: its end cannot be told", b->name); /* the counter is 0: it has room */
    return NULL;
}

static void _sl_on_end(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    struct sl_background *b = io->data;
    void (*const done)(void *) = b->done;
    void *const arg = b->arg;
    sl_background_join(b);
    if (done)
        done(arg);
}

int sl_background_start(struct sl_background *b, struct sl_loop *l, const char *name, void (*run)(void *arg),
                        void (*done)(void *arg), void *arg)
{
    *b = (struct sl_background){.run = run, .done = done, .arg = arg, .name = name, .loop = l};
    b->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const int r = b->event < 0 ? -errno : sl_loop_thread(&b->thread, _sl_thread, b);
    if (r < 0) {
        sl_closep(&b->event);
        b->run = NULL;
        return r;
    }
    ev_io_init(&b->io, _sl_on_end, b->event, EV_READ);
    b->io.data = b;
    ev_io_start(l->ev, &b->io);
    return 0;
}

void sl_background_join(struct sl_background *b)
{
    if (!b->run)
        return;
    ev_io_stop(b->loop->ev, &b->io);
    (void)pthread_join(b->thread, NULL);
    sl_closep(&b->event);
    b->run = NULL;
}

void sl_background_wait(const char *name, void (*run)(void *arg), void *arg)
{
    struct sl_background b = {.run = run, .arg = arg, .name = name, .event = -1};
    if (sl_loop_thread(&b.thread, _sl_thread, &b) == 0)
        (void)pthread_join(b.thread, NULL);
    else
        run(arg);
}
