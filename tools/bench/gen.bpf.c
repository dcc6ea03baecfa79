/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sends the frame that it is run with out of one interface, from as many source addresses as told. Run by
 * live.c with BPF_F_TEST_XDP_LIVE_FRAMES, so that what arrives is an xdp_frame as from a NIC's driver, not an
 * skb that veth must copy first.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

const volatile __u32 out_ifindex = 0;
const volatile __u32 sources = 1; /* from the frame's own address upwards */
const volatile __u32 first = 0;   /* that address, host order */
const volatile __u32 from = 0;    /* which of them is the first to send */
__u32 next = 0;

struct frame {
    __u8 ethernet[14];
    __u8 ip_before[10];
    __u16 check;
    __u32 source;
} __attribute__((packed));

SEC("xdp")
int gen(struct xdp_md *ctx)
{
    struct frame *f = (void *)(long)ctx->data;
    if ((void *)(f + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    if (sources > 1) {
        const __u32 old = f->source, new = bpf_htonl(first + (from + next++) % sources);
        __u32 sum = (__u16)~f->check; /* RFC 1624 */
        sum += (~old & 0xffff) + (~old >> 16) + (new & 0xffff) + (new >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        f->source = new;
        f->check = (__u16)~sum;
    }
    return bpf_redirect(out_ifindex, 0);
}
