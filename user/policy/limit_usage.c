/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a limit for one who is not asking now: for operators. Takes no bucket and debits none. */
#include "base/clock.h"
#include "policy/limit_priv.h"

static struct sl_bucket *_sl_bucket(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                                    const struct sl_limit_subject *subject, size_t window)
{
    return sl_bucket_find(t, sl_limit_bucket_key(t, l, subject, window));
}

size_t sl_limit_usage(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                      const struct sl_limit_subject *subject, uint64_t now, struct sl_limit_usage out[4])
{
    for (size_t w = 0; w < l->n; w++) {
        const struct sl_limit_window *win = &l->windows[w];
        const struct sl_bucket *b = _sl_bucket(t, l, subject, w);
        const uint64_t tat = b ? __atomic_load_n(&b->tat, __ATOMIC_RELAXED) : 0,
                       debt = tat > now ? tat - now : 0, kept = SL_MIN(debt, win->tolerance_ns);
        out[w] = (struct sl_limit_usage){.window = &l->config->windows[w],
                                         .remaining = (win->tolerance_ns - kept) / win->interval_ns,
                                         .reset_ns = debt,
                                         .admitted = b ? b->admitted : 0,
                                         .denied = b ? b->denied : 0,
                                         .seen = b != NULL};
    }
    return l->n;
}

unsigned sl_limit_reset(const struct sl_bucket_table *t, const struct sl_limit_set *l,
                        const struct sl_limit_subject *subject, uint64_t now, uint64_t keys[4])
{
    unsigned n = 0;
    for (size_t w = 0; w < l->n; w++) {
        struct sl_bucket *b = _sl_bucket(t, l, subject, w);
        if (!b || __atomic_load_n(&b->tat, __ATOMIC_RELAXED) <= now)
            continue;
        __atomic_store_n(&b->tat, now, __ATOMIC_RELAXED);
        keys[n++] = b->key;
    }
    return n;
}
