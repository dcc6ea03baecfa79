/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pairs between workers and the controller (net/errand.h): made here, since neither child can hand the
 * other one a socket, and let go of at once, since what passes over them is not for root.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <sys/socket.h>

static int _sl_send(const struct sl_child *to, const struct sl_child *worker, int fd)
{
    union sl_ipc m = {.errands = {.h = {.type = SL_IPC_ERRANDS}, .worker = (uint32_t)worker->index}};
    return sl_ipc_send(to->ipc, &m, &fd, 1);
}

static void _sl_pair(const struct sl_child *controller, const struct sl_child *worker)
{
    char name[16];
    int pair[2];
    int r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ? -errno : 0;
    if (r == 0) {
        r = _sl_send(controller, worker, pair[0]);
        if (r == 0)
            r = _sl_send(worker, worker, pair[1]);
        (void)close(pair[0]);
        (void)close(pair[1]);
    }
    if (r < 0) /* it answers what would need the controller with 503 */
        (void)sl_error_r(r, "%s cannot be joined to the controller", sl_child_name(worker, name));
}

void sl_errands_pair(const struct sl_child *c)
{
    const struct sl_supervisor *s = c->s;
    const struct sl_child *controller = &s->children[0];
    for (size_t i = 1; i < s->n_children && controller->pid; i++)
        if (s->children[i].pid && (c == controller || c == &s->children[i]))
            _sl_pair(controller, &s->children[i]);
}
