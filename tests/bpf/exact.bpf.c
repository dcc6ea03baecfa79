/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's part in the test of exactness: one request for each run, on the bucket that the test names. */
#include "vmlinux.h"

#include "sluice/abi.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define SL_BUCKETS 3

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SL_BUCKETS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct sl_bucket);
} shared SEC(".maps");

struct sl_limit limits[SL_BUCKETS];
__u64 admitted[SL_BUCKETS];
__u64 end_ns;

SEC("xdp")
int take_each(struct xdp_md *ctx)
{
    const __u64 now = bpf_ktime_get_ns();
    if (now >= end_ns)
        return 1;
    for (__u32 i = 0; i < SL_BUCKETS; i++) {
        const __u32 slot = i;
        struct sl_bucket *b = bpf_map_lookup_elem(&shared, &slot);
        if (b && sl_bucket_take(&b->tat, now, limits[i].interval_ns, limits[i].tolerance_ns, 0) > 0)
            __sync_fetch_and_add(&admitted[i], 1);
    }
    return 2;
}
