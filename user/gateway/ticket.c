/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed of the session ticket keys, in the region that the workers share. Each epoch's seed is a one-way
 * step from the one before and replaces it, so what was sealed in an epoch that is two past can no longer be
 * opened by anyone.
 */
#include "base/log.h"
#include "gateway/worker_priv.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sched.h>
#include <string.h>

#define SL_TICKET_EPOCH_S 43200 /* 12 h: a ticket is good for up to a day */

static int _sl_step(uint8_t seed[32])
{
    uint8_t next[EVP_MAX_MD_SIZE], in[33];
    unsigned n = 0;
    memcpy(in, seed, 32);
    in[32] = 's'; /* step: the keys themselves are made with other labels */
    if (EVP_Digest(in, sizeof(in), next, &n, EVP_sha256(), NULL) != 1 || n != 32)
        return -ENOMEM;
    memcpy(seed, next, 32);
    OPENSSL_cleanse(next, sizeof(next));
    OPENSSL_cleanse(in, sizeof(in));
    return 0;
}

static int _sl_advance(struct sl_shared_tickets *t, uint64_t epoch)
{
    if (!t->ready) {
        if (RAND_bytes(t->seed, sizeof(t->seed)) != 1)
            return -EIO;
        t->epoch = epoch;
        t->ready = 1;
    }
    if (epoch > t->epoch + 64) { /* a clock that jumped: begin anew */
        t->ready = 0;
        return _sl_advance(t, epoch);
    }
    for (; t->epoch < epoch; t->epoch++) {
        int r = _sl_step(t->seed);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Held for a few microseconds; a worker that died inside must not hold it for ever. */
static void _sl_lock(struct sl_shared_tickets *t)
{
    for (int i = 0; i < 100000 && __sync_lock_test_and_set(&t->lock, 1); i++)
        sched_yield();
}

int sl_worker_tickets_refresh(struct sl_worker *w)
{
    struct sl_shared_tickets *t = &w->args->counters.shared->tickets;
    uint64_t epoch = sl_loop_wall(&w->loop) / (SL_TICKET_EPOCH_S * SL_NS_PER_SEC);
    if (w->tickets.ready && w->tickets.epoch == epoch)
        return 0;
    uint8_t seed[32];
    _sl_lock(t);
    int r = _sl_advance(t, epoch);
    memcpy(seed, t->seed, sizeof(seed));
    __sync_lock_release(&t->lock);
    if (r == 0)
        r = sl_tls_tickets_set(&w->tickets, epoch, seed);
    OPENSSL_cleanse(seed, sizeof(seed));
    return r < 0 ? sl_error_r(r, "session tickets: no keys; sessions are not resumed") : 0;
}
