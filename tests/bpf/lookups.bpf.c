/* SPDX-License-Identifier: GPL-2.0-only */
/* Times the guard's list step by itself: many lookups a run, each of another address. The test puts its maps
 * in the place of these. */
#include "vmlinux.h"

#include "lib/lists.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define SL_LOOKUPS 256

__u32 flags; /* as in the settings */
__u32 family;
__u64 seed;     /* not 0 */
__u64 and_with; /* narrows the first 64 bits of the random addresses */
__u64 or_with;
__u64 denied;

/* Global, so that the verifier checks it once and not at each turn of the loop. */
__noinline int look_up_one(__u64 x)
{
    struct sl_packet p = {.family = family};
    const __u64 hi = bpf_cpu_to_be64((x & and_with) | or_with), lo = family == SL_AF_INET6 ? x : 0;
    __builtin_memcpy(p.src.bytes, &hi, 8);
    __builtin_memcpy(p.src.bytes + 8, &lo, 8);
    const __u32 zero = 0;
    const struct sl_hints *hints = bpf_map_lookup_elem(&sl_hints, &zero); /* none given: lookups are timed */
    if (!hints)
        return 0;
    if (sl_lists_verdict(&p, flags, hints, 0) == SL_LIST_DENY)
        denied++; /* in memory: a known sum would make each turn another state for the verifier */
    return 0;
}

SEC("xdp")
int look_up(struct xdp_md *ctx)
{
    __u64 x = seed;
    for (int i = 0; i < SL_LOOKUPS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (void)look_up_one(x);
    }
    seed = x;
    return 2;
}
