/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which streams have been, and how they ended: RFC 9113 section 5.1 wants frames on a stream that the client
 * itself has ended refused, and those on one that we reset ignored, since they may have been under way.
 * Two bits a stream, in a window of the last SL_H2_PAST; before it, nothing is certain and nothing refused.
 */
#include "http/h2_priv.h"

static uint32_t _sl_number(int32_t id)
{
    return ((uint32_t)id + 1) / 2;
}

static bool _sl_get(const uint64_t *bits, uint32_t n)
{
    return bits[n % SL_H2_PAST / 64] >> n % 64 & 1;
}

static void _sl_set(uint64_t *bits, uint32_t n, bool on)
{
    const uint64_t mask = (uint64_t)1 << n % 64;
    uint64_t *word = &bits[n % SL_H2_PAST / 64];
    *word = on ? *word | mask : *word & ~mask;
}

void sl_h2_past_open(struct sl_h2_past *p, int32_t id)
{
    const uint32_t n = _sl_number(id);
    const uint32_t from = n - p->last > SL_H2_PAST ? n - SL_H2_PAST : p->last;
    for (uint32_t i = from + 1; i <= n; i++) {
        _sl_set(p->opened, i, false);
        _sl_set(p->ended, i, false);
    }
    p->last = n;
    _sl_set(p->opened, n, true);
}

void sl_h2_past_end(struct sl_h2_past *p, int32_t id)
{
    const uint32_t n = _sl_number(id);
    if (n <= p->last && p->last - n < SL_H2_PAST)
        _sl_set(p->ended, n, true);
}

enum sl_h2_past_state sl_h2_past_of(const struct sl_h2_past *p, int32_t id)
{
    const uint32_t n = _sl_number(id);
    if (id % 2 == 0 || n > p->last || p->last - n >= SL_H2_PAST)
        return SL_H2_PAST_UNKNOWN;
    if (!_sl_get(p->opened, n))
        return SL_H2_PAST_SKIPPED;
    return _sl_get(p->ended, n) ? SL_H2_PAST_ENDED : SL_H2_PAST_OPENED;
}
