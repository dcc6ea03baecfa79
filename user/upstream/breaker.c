/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The breaker of an upstream: closed, open until a moment, then half open: one request is let through, and
 * its outcome closes or opens again. Its state is shared by all workers, so that one opens it for all and the
 * probe is one; what is counted to open it is each worker's own, since a shared count would cost every
 * request a contended line. The window is two halves, so that it moves without keeping each request.
 */
#include "base/log.h"
#include "upstream/group_priv.h"

#include <errno.h>

#define SL_GET(x)    __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define SL_PUT(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

static void _sl_forget(struct sl_group *g)
{
    g->halves[0] = g->halves[1] = (struct sl_breaker_half){0};
}

int sl_breaker_admit(struct sl_group *g, struct sl_attempts *a)
{
    struct sl_shared_upstream *s = g->breaker;
    const uint64_t now = g->all->loop->now, open = SL_GET(s->open_until);
    if (!open || a->probe)
        return 0;
    _sl_forget(g);
    uint64_t probe = SL_GET(s->probe_until);
    if (now >= open && now >= probe &&
        __atomic_compare_exchange_n(&s->probe_until, &probe, now + g->cfg->breaker.open, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        a->probe = true; /* a worker that dies with it leaves the next probe to whoever comes then */
        return 0;
    }
    g->counters->breaker_refused++;
    a->retry_after = now < open ? open - now : SL_NS_PER_SEC;
    return SL_GROUP_OPEN;
}

static void _sl_open(struct sl_group *g, uint64_t from)
{
    const uint64_t open = g->cfg->breaker.open;
    if (!__atomic_compare_exchange_n(&g->breaker->open_until, &from, g->all->loop->now + open, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    g->counters->breaker_opened++;
    sl_warn("upstream %s: the breaker is open for %llu ms", g->cfg->name,
            (unsigned long long)(open / SL_NS_PER_MS));
}

static void _sl_probed(struct sl_group *g, bool failed)
{
    if (failed) {
        _sl_open(g, SL_GET(g->breaker->open_until));
    } else {
        SL_PUT(g->breaker->open_until, 0);
        sl_info("upstream %s: the breaker is closed", g->cfg->name);
    }
    SL_PUT(g->breaker->probe_until, 0);
}

void sl_breaker_report(struct sl_group *g, struct sl_attempts *a, bool failed)
{
    const struct sl_breaker_config *cfg = &g->cfg->breaker;
    const uint64_t now = g->all->loop->now;
    if (a->probe) {
        a->probe = false;
        _sl_forget(g);
        _sl_probed(g, failed);
        return;
    }
    if (SL_GET(g->breaker->open_until)) /* an answer to a request from before */
        return;
    struct sl_breaker_half *h = g->halves;
    if (now - h[0].since >= cfg->window / 2) {
        h[1] = now - h[0].since < cfg->window ? h[0] : (struct sl_breaker_half){0};
        h[0] = (struct sl_breaker_half){.since = now};
    }
    h[0].requests++;
    h[0].errors += failed;
    const uint32_t requests = h[0].requests + h[1].requests, errors = h[0].errors + h[1].errors;
    if (failed && requests >= cfg->min_requests && errors >= cfg->error_ratio * requests)
        _sl_open(g, 0);
}

void sl_group_unprobe(struct sl_group *g, struct sl_attempts *a)
{
    if (!a->probe)
        return;
    a->probe = false;
    SL_PUT(g->breaker->probe_until, 0);
}
