/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller: admin API and metrics. Serves no client traffic, opens no file, holds no privilege; what
 * must be changed it asks of the supervisor.
 */
#ifndef SL_CONTROL_CONTROL_H
#define SL_CONTROL_CONTROL_H

#include "base/share.h"
#include "kernel/kernel.h"
#include "telemetry/counters.h"
#include <sys/types.h>

struct sl_control_args {
    int ipc_fd;                     /* the supervisor, SOCK_SEQPACKET; the controller exits when it closes */
    struct sl_counters counters;    /* mapped */
    struct sl_kernel_fds kernel;    /* -1 where off */
    struct sl_bucket_table buckets; /* mapped; slots NULL: there are none */
    char host[65];                  /* its name */
    uid_t owner;                    /* who started the daemon: beside root, who may change things */
};

/* Serves until told to drain or until the supervisor is gone; the process's exit code. */
int sl_control_run(const struct sl_control_args *args);

#endif
