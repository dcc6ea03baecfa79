/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SYN cookies at XDP: a SYN is turned in place into the SYN-ACK that the stack would have sent, and goes back
 * by XDP_TX. Nothing is kept: the client's ACK carries the cookie, and the stack, which holds the key, makes
 * the connection of it (net.ipv4.tcp_syncookies = 2).
 *
 * Invariant: either the frame is rewritten whole, or it is as it came.
 *
 * Answered: Ethernet with up to SL_MAX_VLANS tags, IPv4 whole and without options, IPv6 without extension
 * headers, TCP with any options and any payload. Of the options the MSS alone is heard and answered: a cookie
 * has room for nothing else (RFC 4987, 3.6), so the connection goes without window scale, SACK and
 * timestamps. A payload (TCP Fast Open) is not acknowledged; the client sends it again (RFC 7413, 3).
 */
#ifndef SL_BPF_COOKIE_H
#define SL_BPF_COOKIE_H

#include "vmlinux.h"

#include "lib/parse.h"
#include <bpf/bpf_helpers.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SL_BE32(x) __builtin_bswap32(x)
#else
#define SL_BE32(x) (x)
#endif

#define SL_COOKIE_WORDS 6 /* of the answer's TCP header: 20 bytes and the MSS option */
#define SL_COOKIE_WINDOW \
    29200                   /* until the first ACK: what any stack can hold, and more than a first flight */
#define SL_COOKIE_TTL    64 /* RFC 1700 */
#define SL_COOKIE_FRAME  60 /* shorter frames are none on a wire (IEEE 802.3), and not every driver pads */
#define SL_COOKIE_LISTEN 10 /* TCP_LISTEN in bpf_sock.state, which is ABI */

enum sl_cookie {
    SL_COOKIE_NONE,  /* cannot be answered */
    SL_COOKIE_STACK, /* belongs to a connection that there is, or was until now: the stack knows what to do */
    SL_COOKIE_SENT   /* the frame is the answer */
};

/* What the answer takes from the SYN, whose frame it overwrites. In network byte order as far as words. */
struct sl_syn {
    __u32 family, l2;
    __u32 addr[8]; /* source, then destination; IPv4: the first two words */
    union {
        __u32 tcp[15]; /* header and options; what there is not is zero: the end of the list */
        __u16 port[2];
        __u8 byte[60];
    };
};

/* The TCP header, word by word: each at an offset that the verifier knows. 0 where it is cut. */
SL_INLINE int sl_cookie_read_tcp(struct sl_cursor *c, struct sl_syn *s)
{
    const __u32 *head = sl_take(c, 20);
    if (!head)
        return 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < 5; i++)
        s->tcp[i] = head[i];
    const __u32 words = s->byte[12] >> 4;
    for (__u32 i = 5; i < 15; i++) {
        if (i >= words)
            break;
        const __u32 *word = sl_take(c, 4);
        if (!word)
            return 0;
        s->tcp[i] = *word;
    }
    return words >= 5;
}

/* The IP header at the cursor; 0 where it is a fragment's, or has options or extension
 * headers. */
SL_INLINE const void *sl_cookie_read_ip(struct sl_cursor *c, struct sl_syn *s, int type)
{
    if (type == SL_ETH_IP4) {
        const struct sl_wire_ip4 *ip = sl_take(c, sizeof(*ip));
        if (!ip || ip->version_ihl != 0x45 || ip->proto != SL_IP_TCP || (SL_BE16(ip->fragment_be) & 0x3fff))
            return 0;
        s->family = SL_AF_INET;
        __builtin_memcpy(s->addr, (const char *)ip + 12, 8);
        return ip;
    }
    const struct sl_wire_ip6 *ip = type == SL_ETH_IP6 ? sl_take(c, sizeof(*ip)) : 0;
    if (!ip || ip->next != SL_IP_TCP)
        return 0;
    s->family = SL_AF_INET6;
    __builtin_memcpy(s->addr, (const char *)ip + 8, 32);
    return ip;
}

/* The SYN's IP header, with all else in s; 0 where it is not one that we answer. */
SL_INLINE const void *sl_cookie_read(struct sl_cursor *c, struct sl_syn *s)
{
    const int type = sl_parse_link(c);
    s->l2 = c->at;
    const void *ip = sl_cookie_read_ip(c, s, type);
    return ip && sl_cookie_read_tcp(c, s) ? ip : 0;
}

SL_INLINE struct bpf_sock *sl_cookie_socket(struct xdp_md *ctx, const struct sl_syn *s)
{
    struct bpf_sock_tuple t = {};
    if (s->family == SL_AF_INET6) {
        __builtin_memcpy(t.ipv6.saddr, s->addr, 16);
        __builtin_memcpy(t.ipv6.daddr, s->addr + 4, 16);
        t.ipv6.sport = s->port[0];
        t.ipv6.dport = s->port[1];
        return bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
    }
    t.ipv4.saddr = s->addr[0];
    t.ipv4.daddr = s->addr[1];
    t.ipv4.sport = s->port[0];
    t.ipv4.dport = s->port[1];
    return bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* The cookie in the low half, the client's MSS in the high one; negative where the stack gives none: cookies
 * are off, or the accept queue is full. */
SL_INLINE enum sl_cookie sl_cookie_make(struct xdp_md *ctx, const struct sl_syn *s, const void *ip,
                                        __s64 *cookie)
{
    __u32 header = (s->byte[12] >> 4) * 4u;
    /* Known to be so, to the compiler: the verifier is to see it once more. */
    __asm__ volatile("" : "+r"(header));
    if (header < 20 || header > 60)
        return SL_COOKIE_NONE;
    struct bpf_sock *sk = sl_cookie_socket(ctx, s);
    if (!sk)
        return SL_COOKIE_NONE;
    enum sl_cookie r = SL_COOKIE_STACK;
    if (sk->state == SL_COOKIE_LISTEN) {
        *cookie =
            bpf_tcp_gen_syncookie(sk, (void *)ip, s->family == SL_AF_INET6 ? 40 : 20, (void *)s->tcp, header);
        r = *cookie < 0 ? SL_COOKIE_NONE : SL_COOKIE_SENT;
    }
    bpf_sk_release(sk);
    return r;
}

/* What the client may send: no more than it said it takes, and no more than fits our own link. */
SL_INLINE __u32 sl_cookie_mss(struct xdp_md *ctx, const struct sl_syn *s, __s64 cookie)
{
    const __u32 headers = s->family == SL_AF_INET6 ? 60 : 40, mss = (cookie >> 32) & 0xffff;
    __u32 mtu = 0;
    (void)bpf_check_mtu(ctx, 0, &mtu, 0, 0); /* writes the link's whatever it says */
    return mtu > headers && mtu - headers < mss ? mtu - headers : mss;
}

/* ---- writing */

SL_INLINE __u16 sl_cookie_fold(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (__u16)~sum;
}

SL_INLINE void sl_cookie_write_eth(__u16 *eth)
{
#pragma clang loop unroll(full)
    for (int i = 0; i < 3; i++) {
        const __u16 dst = eth[i];
        eth[i] = eth[3 + i];
        eth[3 + i] = dst;
    }
}

SL_INLINE void sl_cookie_write_ip4(__u32 *ip, const struct sl_syn *s)
{
    union {
        __u32 w[5];
        __u16 h[10];
    } a = {.w = {SL_BE32(0x45000000 | (20 + 4 * SL_COOKIE_WORDS)), SL_BE32(0x4000) /* DF */,
                 SL_BE32(SL_COOKIE_TTL << 24 | SL_IP_TCP << 16), s->addr[1], s->addr[0]}};
    a.h[5] = sl_cookie_fold((__u64)a.w[0] + a.w[1] + a.w[2] + a.w[3] + a.w[4]);
#pragma clang loop unroll(full)
    for (int i = 0; i < 5; i++)
        ip[i] = a.w[i];
}

SL_INLINE void sl_cookie_write_ip6(__u32 *ip, const struct sl_syn *s)
{
    ip[0] = SL_BE32(0x60000000);
    ip[1] = SL_BE32((4 * SL_COOKIE_WORDS) << 16 | SL_IP_TCP << 8 | SL_COOKIE_TTL);
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        ip[2 + i] = s->addr[4 + i];
        ip[6 + i] = s->addr[i];
    }
}

/* RFC 9293, 3.1; the checksum over the pseudo header too. */
SL_INLINE void sl_cookie_write_tcp(__u32 *tcp, const struct sl_syn *s, __u32 cookie, __u32 mss)
{
    union {
        __u32 w[SL_COOKIE_WORDS];
        __u16 h[2 * SL_COOKIE_WORDS];
    } a = {.h = {s->port[1], s->port[0]}};
    __u64 sum = SL_BE32(SL_IP_TCP) + (__u64)SL_BE32(4 * SL_COOKIE_WORDS);
    a.w[1] = SL_BE32(cookie);
    a.w[2] = SL_BE32(SL_BE32(s->tcp[1]) + 1);
    a.w[3] = SL_BE32(SL_COOKIE_WORDS << 28 | (SL_TCP_SYN | SL_TCP_ACK) << 16 | SL_COOKIE_WINDOW);
    a.w[5] = SL_BE32(2u << 24 | 4 << 16 | mss);
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++)
        sum += s->addr[i]; /* zero beyond IPv4's two */
#pragma clang loop unroll(full)
    for (int i = 0; i < SL_COOKIE_WORDS; i++)
        sum += a.w[i];
    a.h[8] = sl_cookie_fold(sum);
#pragma clang loop unroll(full)
    for (int i = 0; i < SL_COOKIE_WORDS; i++)
        tcp[i] = a.w[i];
}

/* The frame has the answer's length already. 0 where it has not. */
SL_INLINE int sl_cookie_write(struct xdp_md *ctx, const struct sl_syn *s, __u32 cookie, __u32 mss)
{
    struct sl_cursor c = {
        .data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end, .left = 0xffffffff};
    __u16 *eth = (__u16 *)sl_take(&c, sizeof(struct sl_wire_eth));
    if (!eth || !sl_skip(&c, (s->l2 - sizeof(struct sl_wire_eth)) & 15))
        return 0;
    if (s->family == SL_AF_INET6) {
        __u32 *ip = (__u32 *)sl_take(&c, 40 + 4 * SL_COOKIE_WORDS);
        if (!ip)
            return 0;
        sl_cookie_write_ip6(ip, s);
        sl_cookie_write_tcp(ip + 10, s, cookie, mss);
    } else {
        __u32 *ip = (__u32 *)sl_take(&c, 20 + 4 * SL_COOKIE_WORDS);
        if (!ip)
            return 0;
        sl_cookie_write_ip4(ip, s);
        sl_cookie_write_tcp(ip + 5, s, cookie, mss);
        __u16 *padding = (__u16 *)sl_take(&c, 2);
        if (padding)
            *padding = 0; /* not the SYN's bytes */
    }
    sl_cookie_write_eth(eth);
    return 1;
}

/* The whole of it; dry: says what it would do. frame: bytes of the SYN's frame, in all its buffers. */
SL_INLINE enum sl_cookie sl_cookie_answer(struct xdp_md *ctx, __u32 frame, int dry)
{
    struct sl_syn s = {};
    struct sl_cursor c = {
        .data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end, .left = 0xffffffff};
    __s64 cookie = 0;
    const void *ip = sl_cookie_read(&c, &s);
    if (!ip)
        return SL_COOKIE_NONE;
    const enum sl_cookie r = sl_cookie_make(ctx, &s, ip, &cookie);
    if (r != SL_COOKIE_SENT || dry)
        return r;
    const __u32 mss = sl_cookie_mss(ctx, &s, cookie);
    __u32 length = s.l2 + (s.family == SL_AF_INET6 ? 40 : 20) + 4 * SL_COOKIE_WORDS;
    if (length < SL_COOKIE_FRAME)
        length = SL_COOKIE_FRAME;
    if (bpf_xdp_adjust_tail(ctx, (int)(length - frame)) < 0)
        return SL_COOKIE_NONE; /* a driver that leaves no room for four bytes more */
    return sl_cookie_write(ctx, &s, (__u32)cookie, mss) ? SL_COOKIE_SENT : SL_COOKIE_NONE;
}

#endif
