/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker does before it runs out of something, and with clients that are too slow (overload.c). */
#ifndef SL_GATEWAY_OVERLOAD_PRIV_H
#define SL_GATEWAY_OVERLOAD_PRIV_H

#include "gateway/conn_priv.h"

#define SL_NO_ROW UINT32_MAX

/* Whether a connection that was just accepted may stay: false with why counted, answered where that costs
 * nothing (plain HTTP), and fd closed. True with *row held in the table of sources, or SL_NO_ROW. */
bool sl_overload_admit(struct sl_bind *b, int fd, const struct sl_sockaddr *peer, uint32_t *row);
/* Its connection is gone. */
void sl_overload_left(struct sl_worker *w, uint32_t row);
/* accept() has no descriptor: makes room, or stops accepting for a moment. */
void sl_overload_no_descriptor(struct sl_bind *b);
/* Every tick: begins to accept again, and every SL_SLOW_WINDOW looks for clients that are too slow. */
void sl_overload_tick(struct sl_worker *w);

#endif
