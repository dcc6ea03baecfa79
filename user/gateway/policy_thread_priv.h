/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies built and freed off the event loop: with a million consumers the one takes seconds and the other a
 * tenth of one, in which no request may have to wait.
 */
#ifndef SL_GATEWAY_POLICY_THREAD_PRIV_H
#define SL_GATEWAY_POLICY_THREAD_PRIV_H

#include "policy/policy.h"

struct sl_worker;
struct sl_policy_thread;
/* Told on the loop: the policy of the bundle (taken over), or NULL with why (-errno; the log says more). */
typedef void (*sl_built_fn)(struct sl_worker *w, struct sl_policy *policy, int r);
/* One at a time. The bundle is taken over. Where no thread can be had it is built, and told, at once. */
void sl_policy_thread_start(struct sl_worker *w, int bundle_fd, sl_built_fn done);
/* Frees it; nobody may use it or anything of it any more. */
void sl_policy_thread_discard(struct sl_worker *w, struct sl_policy *policy);
/* Waits for what is under way; what is discarded afterwards is freed at once. */
void sl_policy_thread_close(struct sl_worker *w);

#endif
