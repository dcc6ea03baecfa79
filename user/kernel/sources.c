/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proven sources: the guard puts them in, and they are taken out here once they have been silent for so long
 * that all their buckets are full again, so that to forget them loses nothing.
 */
#include "base/clock.h"
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "xdp_guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#define SL_SOURCES_BATCH 8192u /* a call: some milliseconds */

static bool _sl_is_forgotten(const struct sl_source *s, uint64_t now)
{
    return s->seen_ns + SL_SOURCE_IDLE_NS <= now && s->tat_connections <= now && s->tat_packets <= now &&
           s->tat_bytes <= now;
}

void sl_sources_sweep(struct sl_kernel_guard *g, uint64_t now)
{
    const int fd = bpf_map__fd(g->xdp->maps.sl_sources);
    uint32_t n = SL_SOURCES_BATCH;
    SL_FREE struct sl_source_key *keys = calloc(n, sizeof(*keys));
    SL_FREE struct sl_source *values = calloc(n, sizeof(*values));
    if (!keys || !values)
        return;
    /* One batch: both cursors are the kernel's number of a hash bucket, 4 bytes. */
    const int r = bpf_map_lookup_batch(fd, g->sources_walk ? &g->sources_at : NULL, &g->sources_at, keys,
                                       values, &n, NULL);
    g->sources_walk = r == 0;
    if (r < 0 && errno != ENOENT) {
        sl_debug("kernel: proven sources cannot be walked: %s", strerror(errno));
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        if (_sl_is_forgotten(&values[i], now))
            (void)bpf_map_delete_elem(fd, &keys[i]);
}
