/* SPDX-License-Identifier: Apache-2.0 */
/* How full the guard's maps are, and what its programs cost. */
#include "kernel/guard_priv.h"

#include "tc_meter.skel.h"
#include "xdp_guard.skel.h"

#include <bpf/bpf.h>

#define SL_FILL_SCAN 65536 /* buckets looked at, of a table that is larger: keys are spread by their hash */

static size_t _sl_used_buckets(const struct sl_kernel_guard *g)
{
    const struct sl_bucket_table *t = &g->table;
    const size_t n = SL_MIN(t->n, (size_t)SL_FILL_SCAN);
    size_t used = 0;
    for (size_t at = 0, end; (at = sl_kernel_buckets_written(g, at, &end)) < n; at = end)
        for (size_t i = at; i < SL_MIN(end, n); i++)
            used += *(volatile uint64_t *)&t->slots[i].key != 0;
    return n ? (size_t)((double)used * ((double)t->n / (double)n)) : 0;
}

size_t sl_kernel_map_fills(const struct sl_kernel_guard *g, struct sl_map_fill out[SL_MAP_FILLS])
{
    static const char *const names[SL_PLAN_MAPS] = {[SL_PLAN_LISTENERS] = "listeners",
                                                    [SL_PLAN_LISTS4] = "lists4",
                                                    [SL_PLAN_LISTS6] = "lists6",
                                                    [SL_PLAN_CONSUMERS4] = "consumers4",
                                                    [SL_PLAN_CONSUMERS6] = "consumers6"};
    size_t n = 0;
    out[n++] = (struct sl_map_fill){"buckets", _sl_used_buckets(g), g->table.n};
    for (size_t i = 0; g->plan && i < SL_PLAN_MAPS; i++)
        out[n++] = (struct sl_map_fill){names[i], g->plan->maps[i].n, g->plan->maps[i].max};
    return n;
}

size_t sl_kernel_program_runs(const struct sl_kernel_guard *g, struct sl_program_runs out[SL_PROGRAMS])
{
    static const char *const names[SL_PROGRAMS] = {"xdp_guard", "tc_ingress", "tc_egress"};
    const struct bpf_program *programs[SL_PROGRAMS] = {0};
    size_t n = 0;
    if (g->xdp)
        programs[0] = g->xdp->progs.sl_xdp_guard;
    if (g->meter) {
        programs[1] = g->meter->progs.sl_tc_ingress;
        programs[2] = g->meter->progs.sl_tc_egress;
    }
    for (size_t i = 0; i < SL_PROGRAMS; i++) {
        struct bpf_prog_info info = {0};
        __u32 len = sizeof(info);
        if (programs[i] && bpf_obj_get_info_by_fd(bpf_program__fd(programs[i]), &info, &len) == 0)
            out[n++] = (struct sl_program_runs){names[i], info.run_cnt, info.run_time_ns};
    }
    return n;
}
