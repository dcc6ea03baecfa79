/* SPDX-License-Identifier: GPL-2.0-only */
/* Counting verdicts, per CPU: plain adds, merged by the reader. */
#ifndef SL_BPF_COUNT_H
#define SL_BPF_COUNT_H

#include "lib/maps.h"
#include "lib/parse.h"

SL_INLINE void sl_count_add(struct sl_count *c, __u64 bytes)
{
    c->packets++;
    c->bytes += bytes;
}

SL_INLINE void sl_count_reason(__u32 reason, __u64 bytes)
{
    struct sl_count *c = bpf_map_lookup_elem(&sl_reasons, &reason);
    if (c)
        sl_count_add(c, bytes);
}

SL_INLINE int sl_reason_is_drop(__u32 reason)
{
#define SL_X(e, name, kind, help) ((__u64)((kind) == SL_DROPS) << SL_##e) |
    return (((SL_REASONS(SL_X) 0ull) >> reason) & 1) != 0;
#undef SL_X
}

/* Counts the verdict for the reason and for the listener, and turns it into what XDP does. In shadow mode
 * what is not passed is counted apart, and passed. */
SL_INLINE int sl_count_verdict(__u32 reason, __u32 listener, __u64 bytes, int shadow)
{
    const int drops = sl_reason_is_drop(reason), answers = reason == SL_TX_SYN_COOKIE;
    sl_count_reason((drops || answers) && shadow ? SL_REASON_COUNT + reason : reason, bytes);
    if (answers && !shadow)
        return XDP_TX;
    struct sl_listener_stats *s = listener == SL_NO_LISTENER ? 0 : bpf_map_lookup_elem(&sl_stats, &listener);
    if (s)
        sl_count_add(!drops ? &s->passed : shadow ? &s->would_drop : &s->dropped, bytes);
    return drops && !shadow ? XDP_DROP : XDP_PASS;
}

#endif
