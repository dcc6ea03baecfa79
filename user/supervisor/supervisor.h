/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: root's part. Reads policy files and fixed-size messages, and no byte that came from a
 * network. */
#ifndef SL_SUPERVISOR_SUPERVISOR_H
#define SL_SUPERVISOR_SUPERVISOR_H

#include "base/log.h"

struct sl_supervisor_options {
    char *const *argv;  /* as sluiced was called: an upgrade calls it so again */
    const char *policy; /* a file or a directory */
    const char *state;  /* directory of the lock and the default admin socket; NULL: by the rule of state.c */
    enum sl_log_level log_level;
};

/* Runs until SIGTERM or SIGINT; the process's exit code. */
int sl_supervisor_run(const struct sl_supervisor_options *o);

#endif
