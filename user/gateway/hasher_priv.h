/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords hashed off the event loop: one thread a worker, a bounded queue, and an eventfd that brings the
 * answer back. The thread sees a password and a hash, and nothing else of the worker.
 */
#ifndef SL_GATEWAY_HASHER_PRIV_H
#define SL_GATEWAY_HASHER_PRIV_H

#include "base/list.h"
#include "policy/auth.h"

#define SL_HASHER_QUEUE 64 /* passwords that wait; more are answered with 503 */

struct sl_worker;
struct sl_exchange;
struct sl_hasher;
/* Made with the first password. */
void sl_hasher_close(struct sl_worker *w);
/* The exchange waits for the verdict, which it then finds in ex->again. False: the queue is full. */
bool sl_hasher_submit(struct sl_exchange *ex, const struct sl_password_job *job);

#endif
