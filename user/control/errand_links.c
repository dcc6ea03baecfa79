/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers' ends of errands: a socket each, from which nothing is read while an answer waits to be taken,
 * so that no worker can make the controller hold more than its places are worth.
 */
#include "control/errand_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>

static void _sl_link_watch(struct sl_errand_link *link)
{
    struct ev_loop *ev = link->all->control->loop;
    ev_io_stop(ev, &link->io);
    ev_io_set(&link->io, link->fd, sl_list_empty(&link->unsent) ? EV_READ : EV_WRITE);
    ev_io_start(ev, &link->io);
}

static bool _sl_keep(struct sl_errand_link *link, const struct sl_errand_answer *head,
                     struct sl_slice payload)
{
    struct sl_errand_unsent *u = malloc(sizeof(*u) + payload.n);
    if (!u)
        return false;
    u->head = *head;
    u->n = payload.n;
    if (payload.n)
        memcpy(u->payload, payload.p, payload.n);
    sl_list_push_back(&link->unsent, &u->node);
    return true;
}

static void _sl_drop_unsent(struct sl_errand_unsent *u)
{
    sl_list_remove(&u->node);
    OPENSSL_cleanse(u->payload, u->n);
    free(u);
}

/* An answer that is lost, for want of memory, is one that comes too late. */
void sl_errand_tell(struct sl_errand_link *link, uint64_t id, const struct sl_errand_outcome *o)
{
    struct sl_errand_answer head = {.id = id, .status = (uint32_t)o->status, .expires_ns = o->expires_ns};
    const bool waits = !sl_list_empty(&link->unsent);
    const int r = waits ? -EAGAIN : sl_errand_send_answer(link->fd, &head, o->payload);
    if (r == -EAGAIN && _sl_keep(link, &head, o->payload) && !waits)
        _sl_link_watch(link); /* any other failure is the worker's end, which is read of the socket */
}

static void _sl_flush(struct sl_errand_link *link)
{
    while (!sl_list_empty(&link->unsent)) {
        struct sl_errand_unsent *u = SL_LIST_ENTRY(link->unsent.next, struct sl_errand_unsent, node);
        if (sl_errand_send_answer(link->fd, &u->head, sl_slice(u->payload, u->n)) == -EAGAIN)
            return;
        _sl_drop_unsent(u);
    }
    _sl_link_watch(link);
}

/* ---- questions */

static void _sl_on_link(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    struct sl_errand_link *link = io->data;
    struct sl_errands *all = link->all;
    struct sl_errand_ask q;
    struct sl_slice payload;
    int r = 1;
    if (events & EV_WRITE)
        _sl_flush(link);
    for (unsigned budget = 64; r == 1 && budget && sl_list_empty(&link->unsent); budget--) {
        r = sl_errand_recv_ask(link->fd, &q, all->buf, &payload);
        if (r == 1)
            sl_errand_asked(link, &q, payload);
    }
    OPENSSL_cleanse(all->buf, sizeof(all->buf));
    if (r < 0)
        sl_errand_link_close(link);
}

void sl_errand_link_close(struct sl_errand_link *link)
{
    struct sl_errands *all = link->all;
    sl_errand_forget(link);
    sl_list_for_each_safe (it, &link->unsent)
        _sl_drop_unsent(SL_LIST_ENTRY(it, struct sl_errand_unsent, node));
    ev_io_stop(all->control->loop, &link->io);
    (void)close(link->fd);
    sl_list_remove(&link->node);
    free(link);
    sl_control_maybe_done(all->control);
}

void sl_errands_connect(struct sl_control *c, uint32_t worker, int fd)
{
    struct sl_errands *all = sl_errands_of(c);
    struct sl_errand_link *link = all && fd >= 0 ? calloc(1, sizeof(*link)) : NULL;
    if (!link)
        return;
    sl_list_for_each_safe (it, &all->links) { /* its predecessor's, whose end may not have been read yet */
        struct sl_errand_link *former = SL_LIST_ENTRY(it, struct sl_errand_link, node);
        if (former->worker == worker)
            sl_errand_link_close(former);
    }
    *link = (struct sl_errand_link){.all = all, .worker = worker, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)};
    if (link->fd < 0) {
        free(link);
        return;
    }
    sl_list_init(&link->unsent);
    sl_list_push_back(&all->links, &link->node);
    ev_io_init(&link->io, _sl_on_link, link->fd, EV_READ);
    link->io.data = link;
    ev_io_start(c->loop, &link->io);
}

bool sl_errands_idle(const struct sl_control *c)
{
    return !c->errands || !c->errands->n_servers || sl_list_empty(&c->errands->links);
}
