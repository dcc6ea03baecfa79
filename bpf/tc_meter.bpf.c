/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The meter at TC: bytes and packets of each consumer, in and out, as they stand on the wire.
 *
 * The worker puts the consumer into the client socket's storage, which is freed with the socket: nothing here
 * can be stale. Invariant: the meter never drops, marks or changes a packet.
 */
#include "vmlinux.h"

#include "lib/hints.h"
#include "lib/parse.h"
#include "sluice/abi.h"
#include <bpf/bpf_helpers.h>

#define SL_TC_NEXT (-1) /* TC_ACT_UNSPEC: the next program or qdisc decides; the same as TCX_NEXT */

char _license[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct sl_sock_consumer);
} sl_sockets SEC(".maps");

struct { /* userspace sets max_entries; a consumer past the end counts in slot 0, "other" */
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, SL_MAX_CONSUMER_SLOTS);
    __type(key, __u32);
    __type(value, struct sl_consumer_bytes);
} sl_usage SEC(".maps");

/*
 * A GSO or GRO packet is one skb for many segments, and has their headers once. skb->wire_len would tell, but
 * on ingress it is the length without the link layer, and of the merged packet.
 */
SL_INLINE void sl_count_wire(struct sl_count *c, const struct __sk_buff *skb, __u32 headers)
{
    __u32 segments = skb->gso_segs;
    if (skb->gso_size && segments == 0 &&
        skb->len > headers) /* from a VM, or LRO: not counted by the driver */
        segments = (skb->len - headers + skb->gso_size - 1) / skb->gso_size;
    if (segments == 0)
        segments = 1;
    c->packets += segments;
    c->bytes += skb->len + (__u64)(segments - 1) * headers;
}

SL_INLINE struct sl_consumer_bytes *sl_consumer_of(struct bpf_sock *sk)
{
    const struct sl_sock_consumer *tag = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
    if (!tag)
        return 0;
    __u32 slot = tag->consumer;
    struct sl_consumer_bytes *c = bpf_map_lookup_elem(&sl_usage, &slot);
    if (c)
        return c;
    slot = 0;
    return bpf_map_lookup_elem(&sl_usage, &slot);
}

/* Global, so that the verifier looks at it once (xdp_guard.bpf.c). */
__noinline int sl_meter_parse(struct __sk_buff *skb, struct sl_packet *p)
{
    if (!p)
        return SL_PARSED_UNKNOWN;
    return sl_parse((void *)(long)skb->data, (void *)(long)skb->data_end, p);
}

/* Addresses and ports, and how long the headers up to TCP's end are; 0 where it is no whole TCP packet. */
SL_INLINE __u32 sl_tcp_headers(struct __sk_buff *skb, struct sl_packet *p)
{
    if (sl_meter_parse(skb, p) != SL_PARSED_PORTS || p->proto != SL_IP_TCP || p->flags)
        return 0;
    return p->headers;
}

SEC("tc")
int sl_tc_egress(struct __sk_buff *skb)
{
    struct sl_packet p = {};
    struct bpf_sock *sk = skb->sk;
    if (!sk)
        return SL_TC_NEXT;
    sk = bpf_sk_fullsock(sk);
    if (!sk)
        return SL_TC_NEXT;
    struct sl_consumer_bytes *c = sl_consumer_of(sk);
    if (c)
        sl_count_wire(&c->out, skb, sl_tcp_headers(skb, &p));
    return SL_TC_NEXT;
}

SEC("tc")
int sl_tc_ingress(struct __sk_buff *skb)
{
    struct sl_packet p = {};
    const __u32 zero = 0, headers = sl_tcp_headers(skb, &p);
    const struct sl_hints *hints = bpf_map_lookup_elem(&sl_hints, &zero);
    if (!headers || !hints || sl_hint_absent(hints->ports, p.dport_be))
        return SL_TC_NEXT;
    struct bpf_sock_tuple t = {};
    __u32 size = sizeof(t.ipv4);
    if (p.family == SL_AF_INET) {
        __builtin_memcpy(&t.ipv4.saddr, p.src.bytes, 4);
        __builtin_memcpy(&t.ipv4.daddr, p.dst.bytes, 4);
        t.ipv4.sport = p.sport_be;
        t.ipv4.dport = p.dport_be;
    } else {
        __builtin_memcpy(t.ipv6.saddr, p.src.bytes, 16);
        __builtin_memcpy(t.ipv6.daddr, p.dst.bytes, 16);
        t.ipv6.sport = p.sport_be;
        t.ipv6.dport = p.dport_be;
        size = sizeof(t.ipv6);
    }
    /* skb->sk is not there yet: the stack has not seen the packet. */
    struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
    if (!sk)
        return SL_TC_NEXT;
    struct sl_consumer_bytes *c = sl_consumer_of(sk);
    if (c)
        sl_count_wire(&c->in, skb, headers);
    bpf_sk_release(sk);
    return SL_TC_NEXT;
}
