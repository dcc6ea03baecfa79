/* SPDX-License-Identifier: GPL-2.0-only */
/* A frame, which may lie in more than one buffer where the kernel knows of such (5.18, MTU above a page). */
#ifndef SL_BPF_FRAME_H
#define SL_BPF_FRAME_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

/* Set by userspace before loading: without it the verifier never sees the helpers. */
const volatile __u32 have_frags = 1;

/* data_end - data is only the first buffer. */
static __always_inline __u32 sl_frame_length(struct xdp_md *ctx)
{
    return have_frags ? (__u32)bpf_xdp_get_buff_len(ctx) : ctx->data_end - ctx->data;
}

/* Copies the frame's first n bytes, n being at most max, a constant: how many; 0 where it has fewer. */
static __always_inline __u32 sl_frame_copy(struct xdp_md *ctx, __u8 *to, __u32 n, __u32 max)
{
    const __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (have_frags)
        return bpf_xdp_load_bytes(ctx, 0, to, n) == 0 ? n : 0;
    for (__u32 i = 0; i < max; i++) {
        if (i >= n || data + i + 1 > end)
            return i;
        to[i] = data[i];
    }
    return max;
}

#endif
