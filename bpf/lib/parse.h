/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the bytes of a frame to addresses, ports and TCP flags. Also compiled natively by the fuzzer, which
 * compares its answer with the kernel program's.
 *
 * Invariant: nothing is read past `end`, nor past the length that the IP header states (what lies behind it
 * is padding, which the stack does not read either). Ports are read from the first fragment only.
 */
#ifndef SL_BPF_PARSE_H
#define SL_BPF_PARSE_H

#include "sluice/abi.h"

#define SL_INLINE static inline __attribute__((always_inline))
#ifdef __bpf__
/* The kernel programs run where unaligned loads are cheap (the verifier refuses them elsewhere): without the
 * alignment the compiler loads byte by byte. */
#define SL_WIRE  __attribute__((packed, aligned(2)))
#define SL_WIRE4 __attribute__((packed, aligned(4)))
#else
#define SL_WIRE  __attribute__((packed))
#define SL_WIRE4 __attribute__((packed))
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SL_BE16(x) ((__u16)__builtin_bswap16(x))
#else
#define SL_BE16(x) ((__u16)(x))
#endif

#define SL_MAX_VLANS       2
#define SL_MAX_EXT_HEADERS 6

enum sl_ethertype {
    SL_ETH_IP4 = 0x0800,
    SL_ETH_ARP = 0x0806,
    SL_ETH_VLAN = 0x8100,
    SL_ETH_IP6 = 0x86dd,
    SL_ETH_QINQ = 0x88a8
};
enum sl_ipproto {
    SL_IP_HOPOPTS = 0,
    SL_IP_ICMP = 1,
    SL_IP_TCP = 6,
    SL_IP_UDP = 17,
    SL_IP_ROUTING = 43,
    SL_IP_FRAGMENT = 44,
    SL_IP_AH = 51,
    SL_IP_ICMP6 = 58,
    SL_IP_DSTOPTS = 60,
};
enum sl_tcp_flag {
    SL_TCP_FIN = 1,
    SL_TCP_SYN = 2,
    SL_TCP_RST = 4,
    SL_TCP_PSH = 8,
    SL_TCP_ACK = 16,
    SL_TCP_URG = 32
};

struct sl_wire_eth {
    __u8 dst[6], src[6];
    __u16 type_be;
} SL_WIRE;
struct sl_wire_vlan {
    __u16 tag_be, type_be;
} SL_WIRE4;
struct sl_wire_ip4 {
    __u8 version_ihl, tos;
    __u16 total_be, id_be, fragment_be;
    __u8 ttl, proto;
    __u16 check;
    __u32 src, dst;
} SL_WIRE4;
struct sl_wire_ip6 {
    __u8 version_class;
    __u8 flow[3];
    __u16 payload_be;
    __u8 next, hops;
    __u64 src[2], dst[2];
} SL_WIRE4;
struct sl_wire_ext {
    __u8 next, len;
} SL_WIRE;
struct sl_wire_fragment {
    __u8 next, reserved;
    __u16 offset_be;
    __u32 id;
} SL_WIRE4;
struct sl_wire_ports {
    __u16 sport_be, dport_be;
} SL_WIRE4;
struct sl_wire_tcp_rest { /* behind the ports */
    __u32 seq, ack;
    __u8 offset, flags;
    __u16 window, check, urgent;
} SL_WIRE4;

enum sl_parsed {
    SL_PARSED_UNKNOWN,  /* an IP header that the stack refuses by itself */
    SL_PARSED_VLANS,    /* more VLAN tags than we follow */
    SL_PARSED_OTHER,    /* no IP, or a protocol that no listener has */
    SL_PARSED_CONTROL,  /* ARP, ICMP, ICMPv6 */
    SL_PARSED_PORTS,    /* addresses, protocol and ports stand in the packet */
    SL_PARSED_NO_PORTS, /* addresses only; proto is 0 where the extension headers could not be followed to it
                         */
};
enum sl_packet_flags {
    SL_PACKET_FRAGMENT = 1,   /* first or later */
    SL_PACKET_CUT = 2,        /* ends within its headers */
    SL_PACKET_LONG = 4,       /* more extension headers than we follow */
    SL_PACKET_BAD_OFFSET = 8, /* TCP header shorter than 20 bytes, or longer than the datagram */
    SL_PACKET_LATER = 16      /* a fragment but the first: ports and flags stand in another packet */
};
struct sl_packet {
    struct sl_addr src, dst;
    __u16 sport_be, dport_be;
    __u8 family, proto, tcp_flags;
    __u8 flags;    /* enum sl_packet_flags */
    __u32 headers; /* TCP: bytes of the frame before its payload */
};

/*
 * Where the parser stands, as an offset: the verifier merges the paths that lead to one place by different
 * offsets, while each packet pointer moved by a number of its own would be followed to the end.
 */
struct sl_cursor {
    const char *data, *end;
    __u32 at;
    __u32 left; /* of the datagram, as its header states */
};
/* Above what all headers can come to; below what the verifier takes for an offset (65,535). */
#define SL_MAX_OFFSET 0x7fffu

/* n bytes at the cursor, which moves past them; NULL where the frame or the datagram ends before. */
SL_INLINE const void *sl_take(struct sl_cursor *c, __u32 n)
{
    __u32 at = c->at;
#ifdef __bpf__
    /* The verifier of 6.1 forgets a bound once the number is copied; the compiler, which does not, is kept
     * from dropping the mask. */
    __asm__ volatile("" : "+r"(at));
    at &= SL_MAX_OFFSET;
    if (c->data + at + n > c->end || c->left < n)
        return 0;
#else
    if (at + n > (__u64)(c->end - c->data) || c->left < n)
        return 0;
#endif
    c->at = at + n;
    c->left -= n;
    return c->data + at;
}

/* Whether the frame holds what is skipped shows at the next sl_take. */
SL_INLINE int sl_skip(struct sl_cursor *c, __u32 n)
{
    if (c->left < n)
        return 0;
    c->at += n;
    c->left -= n;
    return 1;
}

SL_INLINE enum sl_parsed sl_parse_ports(struct sl_cursor *c, struct sl_packet *p)
{
    const struct sl_wire_ports *ports = sl_take(c, sizeof(*ports));
    if (!ports) {
        p->flags |= SL_PACKET_CUT;
        return SL_PARSED_NO_PORTS;
    }
    p->sport_be = ports->sport_be;
    p->dport_be = ports->dport_be;
    if (p->proto == SL_IP_UDP) {
        if (!sl_take(c, 4))
            p->flags |= SL_PACKET_CUT;
        return SL_PARSED_PORTS;
    }
    const struct sl_wire_tcp_rest *tcp = sl_take(c, sizeof(*tcp));
    if (!tcp) {
        p->flags |= SL_PACKET_CUT;
        return SL_PARSED_PORTS;
    }
    p->tcp_flags = tcp->flags;
    const __u32 header = (tcp->offset >> 4) * 4u;
    if (header < 20 || header - 20 > c->left)
        p->flags |= SL_PACKET_BAD_OFFSET;
    p->headers = c->at + header - 20;
    return SL_PARSED_PORTS;
}

/* The protocol is known; a later fragment has no ports. */
SL_INLINE enum sl_parsed sl_parse_proto(struct sl_cursor *c, struct sl_packet *p, int later_fragment)
{
    if (p->proto != SL_IP_TCP && p->proto != SL_IP_UDP)
        return SL_PARSED_OTHER;
    if (!later_fragment)
        return sl_parse_ports(c, p);
    p->flags |= SL_PACKET_LATER;
    return SL_PARSED_NO_PORTS;
}

SL_INLINE enum sl_parsed sl_parse_ip4(struct sl_cursor *c, struct sl_packet *p)
{
    const struct sl_wire_ip4 *ip = sl_take(c, sizeof(*ip));
    if (!ip)
        return SL_PARSED_UNKNOWN;
    const __u32 header = (ip->version_ihl & 15) * 4u, total = SL_BE16(ip->total_be);
    if (ip->version_ihl >> 4 != 4 || header < 20 || (total && total < header))
        return SL_PARSED_UNKNOWN;
    if (total) /* 0: a GRO packet of more than 64 KiB (BIG TCP), seen by generic XDP */
        c->left = total - 20;
    p->family = SL_AF_INET;
    p->proto = ip->proto;
    __builtin_memcpy(p->src.bytes, &ip->src, 4);
    __builtin_memcpy(p->dst.bytes, &ip->dst, 4);
    const __u16 fragment = SL_BE16(ip->fragment_be);
    const int later = (fragment & 0x1fff) != 0;
    if (fragment & 0x3fff)
        p->flags |= SL_PACKET_FRAGMENT;
    (void)sl_skip(c, header - 20);        /* total holds it */
    if (p->proto == SL_IP_AH && !later) { /* RFC 4302: length in 4-byte units, less 2 */
        const struct sl_wire_ext *ah = sl_take(c, sizeof(*ah));
        if (!ah || !sl_skip(c, (ah->len + 2u) * 4 - sizeof(*ah))) {
            p->proto = 0;
            p->flags |= SL_PACKET_CUT;
            return SL_PARSED_NO_PORTS;
        }
        p->proto = ah->next;
    }
    if (p->proto == SL_IP_ICMP)
        return SL_PARSED_CONTROL;
    return sl_parse_proto(c, p, later);
}

SL_INLINE int sl_is_ext_header(__u8 next)
{
    return next == SL_IP_HOPOPTS || next == SL_IP_ROUTING || next == SL_IP_DSTOPTS || next == SL_IP_AH ||
           next == SL_IP_FRAGMENT;
}

/* One extension header: 1 followed, 0 cut. *later is set by a fragment header with an offset. */
SL_INLINE int sl_parse_ext(struct sl_cursor *c, struct sl_packet *p, int *later)
{
    if (p->proto == SL_IP_FRAGMENT) {
        const struct sl_wire_fragment *f = sl_take(c, sizeof(*f));
        if (!f)
            return 0;
        const __u16 offset = SL_BE16(f->offset_be);
        if (offset & 0xfff9) /* not the atomic fragment of RFC 6946, which is whole */
            p->flags |= SL_PACKET_FRAGMENT;
        *later = (offset & 0xfff8) != 0;
        p->proto = f->next;
        return 1;
    }
    const struct sl_wire_ext *e = sl_take(c, sizeof(*e));
    if (!e)
        return 0;
    const __u32 rest = p->proto == SL_IP_AH ? (e->len + 2u) * 4 - sizeof(*e) : e->len * 8u + 8 - sizeof(*e);
    p->proto = e->next;
    return sl_skip(c, rest);
}

SL_INLINE enum sl_parsed sl_parse_ip6(struct sl_cursor *c, struct sl_packet *p)
{
    const struct sl_wire_ip6 *ip = sl_take(c, sizeof(*ip));
    if (!ip || ip->version_class >> 4 != 6)
        return SL_PARSED_UNKNOWN;
    if (ip->payload_be) /* 0: a jumbogram (RFC 2675), or BIG TCP */
        c->left = SL_BE16(ip->payload_be);
    p->family = SL_AF_INET6;
    p->proto = ip->next;
    __builtin_memcpy(p->src.bytes, ip->src, 16);
    __builtin_memcpy(p->dst.bytes, ip->dst, 16);
    int later = 0;
    for (int i = 0; i < SL_MAX_EXT_HEADERS; i++) {
        if (later || !sl_is_ext_header(p->proto))
            break;
        if (!sl_parse_ext(c, p, &later)) {
            p->proto = 0;
            p->flags |= SL_PACKET_CUT;
            return SL_PARSED_NO_PORTS;
        }
    }
    if (!later && sl_is_ext_header(p->proto)) {
        p->proto = 0;
        p->flags |= SL_PACKET_LONG;
        return SL_PARSED_NO_PORTS;
    }
    if (p->proto == SL_IP_ICMP6)
        return SL_PARSED_CONTROL;
    return sl_parse_proto(c, p, later);
}

/* Past the Ethernet header and as many VLAN tags as we follow: the type of what is next, -1 where the frame
 * ends before. */
SL_INLINE int sl_parse_link(struct sl_cursor *c)
{
    const struct sl_wire_eth *eth = sl_take(c, sizeof(*eth));
    if (!eth)
        return -1;
    int type = SL_BE16(eth->type_be);
    for (int i = 0; i < SL_MAX_VLANS; i++) {
        if (type != SL_ETH_VLAN && type != SL_ETH_QINQ)
            break;
        const struct sl_wire_vlan *vlan = sl_take(c, sizeof(*vlan));
        if (!vlan)
            return -1;
        type = SL_BE16(vlan->type_be);
    }
    return type;
}

/* p must be zeroed. */
SL_INLINE enum sl_parsed sl_parse(const void *data, const void *end, struct sl_packet *p)
{
    struct sl_cursor c = {.data = data, .end = end, .left = 0xffffffff};
    switch (sl_parse_link(&c)) {
    case -1:
        return SL_PARSED_UNKNOWN;
    case SL_ETH_IP4:
        return sl_parse_ip4(&c, p);
    case SL_ETH_IP6:
        return sl_parse_ip6(&c, p);
    case SL_ETH_ARP:
        return SL_PARSED_CONTROL;
    case SL_ETH_VLAN:
    case SL_ETH_QINQ:
        return SL_PARSED_VLANS;
    default:
        return SL_PARSED_OTHER;
    }
}

/*
 * What most frames are: TCP over IPv4, untagged, whole, without IP options. 1: it is such a one, and p, which
 * must be zeroed, says what sl_parse would have said; else p is as it was. Short, so that it may be inlined
 * where sl_parse is called.
 */
SL_INLINE int sl_parse_quick(const void *data, const void *end, struct sl_packet *p)
{
    const struct sl_wire_eth *eth = data;
    const struct sl_wire_ip4 *ip = (const void *)((const char *)data + sizeof(*eth));
    const struct sl_wire_ports *ports = (const void *)((const char *)ip + sizeof(*ip));
    const struct sl_wire_tcp_rest *tcp = (const void *)((const char *)ports + sizeof(*ports));
    if ((const char *)tcp + sizeof(*tcp) > (const char *)end)
        return 0;
    const __u32 header = (tcp->offset >> 4) * 4u;
    if (eth->type_be != SL_BE16(SL_ETH_IP4) || ip->version_ihl != 0x45 || ip->proto != SL_IP_TCP ||
        (ip->fragment_be & SL_BE16(0x3fff)) || header < 20 || SL_BE16(ip->total_be) < 20 + header)
        return 0;
    p->family = SL_AF_INET;
    p->proto = SL_IP_TCP;
    __builtin_memcpy(p->src.bytes, &ip->src, 4);
    __builtin_memcpy(p->dst.bytes, &ip->dst, 4);
    p->sport_be = ports->sport_be;
    p->dport_be = ports->dport_be;
    p->tcp_flags = tcp->flags;
    p->headers = sizeof(*eth) + sizeof(*ip) + header;
    return 1;
}

/*
 * Whether a TCP segment's flags are ones that a stack sends: the table of nf_conntrack_proto_tcp.c, which
 * leaves PSH, ECE and CWR aside. Null, Xmas, SYN+FIN, SYN+RST, and all but SYN and RST without ACK, fall
 * through it.
 */
SL_INLINE int sl_tcp_flags_valid(__u8 flags)
{
#define SL_FLAGS(f) (1ull << (f))
    const __u64 valid = SL_FLAGS(SL_TCP_SYN) | SL_FLAGS(SL_TCP_SYN | SL_TCP_URG) |
                        SL_FLAGS(SL_TCP_SYN | SL_TCP_ACK) | SL_FLAGS(SL_TCP_RST) |
                        SL_FLAGS(SL_TCP_RST | SL_TCP_ACK) | SL_FLAGS(SL_TCP_FIN | SL_TCP_ACK) |
                        SL_FLAGS(SL_TCP_FIN | SL_TCP_ACK | SL_TCP_URG) | SL_FLAGS(SL_TCP_ACK) |
                        SL_FLAGS(SL_TCP_ACK | SL_TCP_URG);
#undef SL_FLAGS
    return (valid >> (flags & 0x3f & ~SL_TCP_PSH)) & 1;
}

/* Asks for a connection. */
SL_INLINE int sl_packet_opens(const struct sl_packet *p)
{
    return p->proto == SL_IP_TCP && (p->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) == SL_TCP_SYN;
}

/*
 * Of a packet for a listener, or one without ports for its address: why it is dropped whatever its source's
 * limits. SL_REASON_COUNT: nothing is wrong with it. Where the policy lets fragments pass, a first one must
 * still hold its whole TCP header (RFC 3128).
 */
SL_INLINE enum sl_reason sl_packet_fault(const struct sl_packet *p, int pass_fragments)
{
    if ((p->flags & SL_PACKET_FRAGMENT) && !pass_fragments)
        return SL_DROP_FRAGMENT;
    if (p->flags & SL_PACKET_CUT)
        return SL_DROP_TRUNCATED;
    if (p->flags & SL_PACKET_LONG)
        return SL_DROP_HEADERS;
    if (p->flags & SL_PACKET_LATER)
        return SL_REASON_COUNT;
    if (p->proto == SL_IP_TCP && ((p->flags & SL_PACKET_BAD_OFFSET) || !sl_tcp_flags_valid(p->tcp_flags)))
        return SL_DROP_MALFORMED;
    return SL_REASON_COUNT;
}

#endif
