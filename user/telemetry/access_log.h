/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: one JSON object a line, or a line by a format. Lines go into a ring in memory and a thread
 * of its own writes them, so that a full disk or a slow pipe never stops a worker; lines that find no room
 * are dropped and counted.
 */
#ifndef SL_TELEMETRY_ACCESS_LOG_H
#define SL_TELEMETRY_ACCESS_LOG_H

#include "base/macros.h"
#include "base/slice.h"
#include "telemetry/access_format.h"

#define SL_ACCESS_LOG_RING  (1024 * 1024)
#define SL_ACCESS_FIELD_MAX 1024 /* bytes of a field; the rest is cut */

struct sl_access_record {
    uint64_t wall_ns;                    /* when the request began */
    uint64_t duration_ns, first_byte_ns; /* first_byte_ns 0: the upstream was not asked, or said nothing */
    struct sl_slice correlation_id, client, peer, listener, protocol, method, host, path, route, consumer,
        tier, upstream, target, reason, detail, user_agent;
    unsigned status;
    unsigned retries;
    uint64_t bytes_in, bytes_out;
};

struct sl_access_log;
/* fd -1: lines wait in the ring for sl_access_log_reopen. 0 or -errno. */
int sl_access_log_new(int fd, struct sl_access_log **out) SL_MUST_CHECK;
/* Takes fd (closed later); the old one is closed once nothing writes to it. */
void sl_access_log_reopen(struct sl_access_log *l, int fd);
/* Adds a line, by f or (NULL) as JSON: 0, or -ENOSPC dropped. Never blocks. */
int sl_access_log_add(struct sl_access_log *l, const struct sl_access_format *f,
                      const struct sl_access_record *r);
/* Wakes the writer if lines wait: at the end of a turn or every tick. */
void sl_access_log_kick(struct sl_access_log *l);
/* Lines lost so far: no room, or a write that failed. */
uint64_t sl_access_log_dropped(const struct sl_access_log *l);
/* Bytes in the ring. */
size_t sl_access_log_pending(const struct sl_access_log *l);
/* Writes what is left (for at most wait_ms), ends the thread, frees. NULL is fine. */
void sl_access_log_free(struct sl_access_log *l, unsigned wait_ms);

#endif
