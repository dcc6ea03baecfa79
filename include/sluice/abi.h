/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the kernel programs and userspace agree on: keys and values of every shared map, reasons, and the
 * arithmetic of the bucket (bucket.h, which is a part of this). The only header that bpf/ and user/ both
 * include.
 *
 * Invariants: fixed-width types only, no implicit padding (each struct's size is asserted), network byte
 * order where a field says _be, host order otherwise. Any change of a shape raises SL_ABI_SCHEMA, which names
 * the directory that the maps are pinned in, so that programs of two schemas never meet over one map.
 */
#ifndef SLUICE_ABI_H
#define SLUICE_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif
#include "bucket.h"

#define SL_ABI_SCHEMA     2
#define SL_ABI_SCHEMA_STR "2"

/* Sizes; what a full table does is said at each map in bpf/lib/maps.h. */
#define SL_MAX_LISTENERS       1024 /* bound (address, port, protocol) triples known to the kernel */
#define SL_MAX_SOURCES_DEFAULT 65536
#define SL_MAX_LIST_ENTRIES    65536 /* prefixes of each family in the allow and deny lists */
#define SL_MAX_PENALTIES       65536
#define SL_MAX_CONSUMER_SLOTS  65536 /* consumers with byte counters */
#define SL_NAME_LEN            32    /* consumer and rule names kept with a penalty, NUL-terminated, cut */

/* Families, as the first byte of a key: the values of AF_INET and AF_INET6, which are ABI. */
#define SL_AF_INET  2
#define SL_AF_INET6 10

/* An address of either family: IPv4 stands in the first 4 bytes, the other 12 are zero. */
struct sl_addr {
    __u8 bytes[16];
};

/*
 * A listener that is ours. Beside each stand two entries with port_be 0, of its protocol and of protocol 0:
 * they say that the address is a listener's, for packets whose ports cannot be read (fragments, cut and
 * endless headers).
 */
struct sl_listener_key {
    struct sl_addr addr;
    __u16 port_be;
    __u8 proto; /* IPPROTO_TCP or IPPROTO_UDP */
    __u8 family;
};
#define SL_NO_LISTENER 0xffffffffu
struct sl_listener_value {
    __u32 listener; /* the policy's listener: index into listener_stats, < SL_MAX_LISTENERS; SL_NO_LISTENER
                       with port 0 */
};

/* Longest-prefix keys. prefixlen counts bits of addr only. */
struct sl_lpm4_key {
    __u32 prefixlen;
    __u8 addr[4];
};
struct sl_lpm6_key {
    __u32 prefixlen;
    __u8 addr[16];
};

/*
 * allow and deny live in one trie per family, so that the longer prefix wins and one lookup decides. These
 * are the ranges that stand in the policy itself and the operator's; they win over those of files, below.
 */
enum sl_list_verdict {
    SL_LIST_ALLOW = 1, /* skips all limits */
    SL_LIST_DENY = 2,
};
struct sl_list_value {
    __u32 verdict;
    __u32 generation;  /* of the policy load that wrote it; 0: put there by an operator, survives loads */
    __u64 deadline_ns; /* CLOCK_MONOTONIC; 0: for ever (`sluicectl deny --for` sets it) */
};

/*
 * Lists from files, of up to millions of prefixes: a trie with 32 ways a node, built by userspace and read
 * here, in one array of nodes that is swapped whole. An address's first 17 bits pick one of its family's
 * roots (IPv4's come first, then IPv6's); each node then takes 5 bits: 17, 22, 27, 32. What a child is stands
 * in two bits of `codes`; those with nodes of their own stand side by side from `base` on, so a child's
 * number is base plus how many such children come before it (as in Poptrie, SIGCOMM 2015). The longest prefix
 * has been painted over the shorter ones: the first code that is no SL_TRIE_NODE is the answer.
 */
#define SL_TRIE_ROOT_BITS 17
#define SL_TRIE_STRIDE    5
#define SL_TRIE_ROOTS     (1u << SL_TRIE_ROOT_BITS)
#define SL_TRIE_DEPTH     23         /* nodes on the way of an IPv6 address: 17 + 23 * 5 >= 128 */
#define SL_TRIE_MAX_NODES (1u << 24) /* 256 MiB; past it userspace refuses the policy */
#define SL_TRIE_NODE      3u         /* beside 0: in no list, SL_LIST_ALLOW, SL_LIST_DENY */
struct sl_trie_node {
    __u64 codes;
    __u32 base;
    __u32 zero;
};

static inline __attribute__((always_inline)) __u32 sl_trie_code(const struct sl_trie_node *n, __u32 child)
{
    return n->codes >> 2 * (child & 31) & 3;
}

static inline __attribute__((always_inline)) __u32 sl_trie_child(const struct sl_trie_node *n, __u32 child)
{
    __u64 x = n->codes & n->codes >> 1 & 0x5555555555555555ull & ((1ull << 2 * (child & 31)) - 1);
    x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return n->base + (__u32)(x * 0x0101010101010101ull >> 56);
}

/* Penalties: written by userspace only. */
enum sl_penalty_scope {
    SL_PENALTY_FLOW = 1,    /* this 4-tuple only; ports are set */
    SL_PENALTY_CONNECT = 2, /* new connections (SYN without ACK) of the source */
    SL_PENALTY_SOURCE = 3,  /* every packet of the source */
};
struct sl_penalty_key {
    struct sl_addr addr;  /* the source; for IPv6 CONNECT and SOURCE scopes its /64 (the rest zero) */
    struct sl_addr daddr; /* FLOW only, else zero */
    __u16 sport_be;       /* FLOW only, else zero */
    __u16 dport_be;       /* FLOW only, else zero */
    __u8 family;
    __u8 scope; /* enum sl_penalty_scope: SOURCE and CONNECT share one key with scope SL_PENALTY_SOURCE */
    __u16 zero;
};
struct sl_penalty_value {
    __u64 deadline_ns; /* CLOCK_MONOTONIC; past it the entry counts for nothing */
    __u64 since_ns;
    __u32 effect;     /* SL_PENALTY_CONNECT or SL_PENALTY_SOURCE or SL_PENALTY_FLOW: what is dropped */
    __u32 level;      /* how often in a row: the deadline doubles with it */
    __u32 rejections; /* that led to it */
    __u32 manual;     /* 1: put there by an operator */
    char consumer[SL_NAME_LEN];
    char rule[SL_NAME_LEN];
};

/*
 * What needs no lookup in a hash or a trie. Zero, as a new map is, says nothing, and so is always right.
 * Userspace alone writes, single words: it takes a hint back before it changes the table behind it, and gives
 * it again afterwards.
 *
 * Of the bits, one set says that the table surely holds nothing that the slot stands for.
 */
#define SL_HINT_WORDS 1024 /* of 64 bits: slots are 16 bits wide */
#define SL_HINT_PAIRS 1024 /* a power of two */
struct sl_hints {
    __u64 pairs[SL_HINT_PAIRS];      /* listeners on IPv4 and TCP, by sl_hint_pair_slot() */
    __u64 ports[SL_HINT_WORDS];      /* listeners, by port_be */
    __u64 penalties[SL_HINT_WORDS];  /* of a source and its flows, by sl_hint_host() */
    __u64 long_lists[SL_HINT_WORDS]; /* list prefixes of SL_HINT_LONG bits and more, by sl_hint_host() */
    __u64 wide_lists[SL_HINT_WORDS]; /* shorter ones, by sl_hint_net() */
    __u64 hosts[SL_HINT_PAIRS];      /* single IPv4 addresses in a list, by sl_hint_pair_slot() */
    __u64 sources[SL_HINT_PAIRS];    /* IPv4 sources under a penalty, by sl_hint_pair_slot() */
};
#define SL_HINT_LONG(v6) ((v6) ? 56u : 24u)

/* A word of pairs: address and port in 48 bits as they stand in memory, the listener, and what it says. */
#define SL_HINT_PAIR_BITS 48
#define SL_HINT_ONE       (1ull << 62) /* this pair, and no other of the slot, has this listener */
#define SL_HINT_NONE      (1ull << 63) /* no pair of the slot has one */

/* A word of hosts: the address in 32 bits as they stand in memory, the verdict, and SL_HINT_ONE. An entry of
 * all 32 bits is the longest that can match, so that it decides. */
#define SL_HINT_HOST_BITS 32

/* A word of sources: the address as above, SL_HINT_ONE, and until when, in 2^30 ns, every packet of it is
 * surely dropped. */
#define SL_HINT_UNTIL_BITS 28 /* nine years of uptime */

static inline __attribute__((always_inline)) __u32 sl_hint_until(__u64 word)
{
    return (__u32)(word >> SL_HINT_HOST_BITS) & ((1u << SL_HINT_UNTIL_BITS) - 1);
}

static inline __attribute__((always_inline)) __u64 sl_hint_pair(const struct sl_addr *a, __u16 port_be)
{
    __u32 word;
    __builtin_memcpy(&word, a->bytes, sizeof(word));
    return (__u64)port_be << 32 | word;
}

static inline __attribute__((always_inline)) __u32 sl_hint_pair_slot(__u64 pair)
{
    return (__u32)(pair * 0x9e3779b97f4a7c15ull >> 32) & (SL_HINT_PAIRS - 1);
}

/* The slot of an IPv4 address, or of the /64 of an IPv6 one. */
static inline __attribute__((always_inline)) __u32 sl_hint_host(const struct sl_addr *a)
{
    __u64 word;
    __builtin_memcpy(&word, a->bytes, sizeof(word));
    return (__u32)(word * 0x9e3779b97f4a7c15ull >> 48);
}

/* The slot of its /16, or of its /32. */
static inline __attribute__((always_inline)) __u32 sl_hint_net(const struct sl_addr *a, int v6)
{
    __u16 high, low;
    __builtin_memcpy(&high, a->bytes, sizeof(high));
    __builtin_memcpy(&low, a->bytes + 2, sizeof(low));
    return (__u32)((high + (v6 ? low * 65536ull : 0)) * 0x9e3779b97f4a7c15ull >> 48);
}

static inline __attribute__((always_inline)) int sl_hint_absent(const __u64 bits[SL_HINT_WORDS], __u32 slot)
{
    return bits[slot >> 6 & (SL_HINT_WORDS - 1)] >> (slot & 63) & 1;
}

/* ---- sources ------------------------------------------------------------------------------------------ */

/* Buckets of proven sources in the kernel, in a map keyed by the source. */
struct sl_source_key {
    struct sl_addr addr; /* IPv6: cut to sl_kernel_config.ipv6_prefix bits */
    __u32 family;
};
struct sl_source {
    __u64 tat_connections;
    __u64 tat_packets;
    __u64 tat_bytes;
    __u64 seen_ns; /* to the second; userspace forgets who has long been silent */
};

/* Userspace forgets a proven source that has been silent for so long, once its buckets are full again. */
#define SL_SOURCE_IDLE_NS 300000000000ull

/*
 * Buckets of all other sources: cells that any number of them share; see bpf/lib/sketch.h. A key's cells
 * stand in one line of its table, two cache lines side by side, so that a flood of keys costs one trip to
 * memory each.
 */
#define SL_SKETCH_ROWS  4
#define SL_SKETCH_CELLS 15
#define SL_SKETCH_LINES 32768 /* of a table; a power of two */
struct sl_sketch_line {
    __u64 tat[SL_SKETCH_CELLS];
    __u32 lock;    /* 1: held */
    __u32 vouched; /* SL_SKETCH_CONNECTIONS: no source of this line is proven after that time, in 2^30 ns */
};
#define SL_SKETCH_CLOSED_SHIFT 26 /* until when a line is closed, in 2^26 ns: nine years of uptime */
enum sl_sketch_table {
    SL_SKETCH_CONNECTIONS, /* of a source */
    SL_SKETCH_PACKETS,
    SL_SKETCH_BYTES,
    SL_SKETCH_NEAR,   /* new connections of a /24, or an IPv6 /64 */
    SL_SKETCH_MIDDLE, /* of a /56 */
    SL_SKETCH_FAR,    /* of a /48 */
    SL_SKETCH_TABLES
};

/* A consumer's `sources`: what the kernel holds new connections of that range to. */
struct sl_consumer_source {
    __u32 bucket;          /* slot in the shared bucket table */
    __u32 consumer;        /* slot in consumer_bytes */
    struct sl_limit limit; /* headroom x the proxy's limit; interval 0: claimed by more than one, no limit */
    __u32 generation;
    __u32 zero;
};

/* ---- reasons ------------------------------------------------------------------------------------------ */

enum sl_verdict_kind {
    SL_PASSES,
    SL_DROPS,
    SL_ANSWERS /* sent back by the guard: the stack never sees the packet */
};

/* X(enumerator, name in metrics and CLI, enum sl_verdict_kind as a number, help) */
#define SL_REASONS(X)                                                                                 \
    X(PASS_NOT_OURS, "not_ours", 0, "not for a listener: passed as it came")                          \
    X(PASS, "admitted", 0, "for a listener, admitted")                                                \
    X(PASS_ALLOWED, "allow_list", 0, "source in the allow list: passed without limits")               \
    X(PASS_CONTROL, "control", 0, "ARP, neighbour discovery, path MTU and other ICMP: always passed") \
    X(PASS_UNPARSED, "unparsed", 0, "beyond what the parser follows, passed")                         \
    X(DROP_DENIED, "deny_list", 1, "source in the deny list")                                         \
    X(DROP_PENALTY_FLOW, "penalty_flow", 1, "flow under a penalty")                                   \
    X(DROP_PENALTY_CONNECT, "penalty_connect", 1, "new connection of a source under a penalty")       \
    X(DROP_PENALTY_SOURCE, "penalty_source", 1, "source under a penalty")                             \
    X(DROP_MALFORMED, "malformed", 1, "TCP flags or offsets that no stack sends")                     \
    X(DROP_FRAGMENT, "fragment", 1, "fragment aimed at a listener's address that cannot be read")     \
    X(DROP_TRUNCATED, "truncated", 1, "header cut short, aimed at a listener's address")              \
    X(DROP_HEADERS, "extension_headers", 1,                                                           \
      "more IPv6 extension headers than are followed, at a listener's address")                       \
    X(DROP_CONN_RATE, "source_connections", 1, "source over its new-connection limit")                \
    X(DROP_CONSUMER_RATE, "consumer_connections", 1, "consumer's sources over headroom x its limit")  \
    X(DROP_PACKET_RATE, "source_packets", 1, "source over its packet limit")                          \
    X(DROP_BYTE_RATE, "source_bytes", 1, "source over its byte limit")                                \
    X(CAS_EXHAUSTED, "cas_exhausted", 0,                                                              \
      "bucket contended for too many tries: refused, counted here as well")                           \
    X(SOURCE_INSERT_FAILED, "source_insert_failed", 0, "no room for one more proven source")          \
    X(TX_SYN_COOKIE, "syn_cookie_sent", 2, "SYN answered by the guard with a cookie")                 \
    X(SYN_COOKIE_FAILED, "syn_cookie_failed", 0,                                                      \
      "SYN that could not be given its cookie: judged without, counted here as well")                 \
    X(DROP_LISTENER_RATE, "listener_connections", 1, "new connection past its listener's limit")      \
    X(PASS_VLANS, "vlan_tags", 0, "more VLAN tags than are followed: passed")                         \
    X(DROP_PREFIX_RATE, "prefix_connections", 1, "prefix over its new-connection limit")              \
    X(PROOF_DEFERRED, "source_proof_deferred", 0,                                                     \
      "too many unproven sources at once to look whether they are connected, counted here as well")

enum sl_reason {
#define SL_X(e, name, drops, help) SL_##e,
    SL_REASONS(SL_X)
#undef SL_X
        SL_REASON_COUNT
};

struct sl_count {
    __u64 packets;
    __u64 bytes;
};

/* Per listener, per CPU. What the guard answers itself stands in none of them. */
struct sl_listener_stats {
    struct sl_count passed;
    struct sl_count dropped;
    struct sl_count would_drop; /* shadow mode */
};

/* Bytes of a consumer seen at TC, per CPU: wire length, so retransmits and headers count. */
struct sl_consumer_bytes {
    struct sl_count in;
    struct sl_count out;
};

/* In the socket's storage (BPF_MAP_TYPE_SK_STORAGE), put there by the worker once the consumer is known. */
struct sl_sock_consumer {
    __u32 consumer; /* slot in consumer_bytes, < SL_MAX_CONSUMER_SLOTS */
    __u32 generation;
};

/* Settings, one entry, replaced whole by userspace. */
struct sl_kernel_config {
    struct sl_limit source_connections; /* interval 0: no limit */
    struct sl_limit source_packets;
    struct sl_limit source_bytes;
    struct sl_limit prefix_connections;   /* of each level */
    struct sl_limit listener_connections; /* of each of the policy's listeners by itself */
    __u32 shadow;                         /* 1: count as would_drop and pass */
    __u32 ipv6_prefix;                    /* bits that make one IPv6 source, 1..128 */
    __u32 generation;
    __u32 flags;          /* enum sl_kernel_flags: steps that have nothing to do are skipped */
    __u64 sketch_seed[2]; /* random */
};
enum sl_kernel_flags {
    SL_HAVE_LISTS4 = 1,
    SL_HAVE_LISTS6 = 2,
    SL_HAVE_PENALTIES = 4,
    SL_HAVE_CONSUMER_SOURCES = 8,
    SL_COOKIES_ALWAYS = 16, /* each SYN that nothing else drops is answered by the guard */
    SL_PASS_FRAGMENTS = 32,
    SL_HAVE_LIST_FILES = 64,
    SL_COOKIES_AUTO = 128,   /* each SYN past its listener's limit is answered instead of dropped */
    SL_SAMPLE_DROPS = 65536, /* bpf/lib/sample.h */
    SL_TOP_DROPPED = 131072, /* bpf/lib/top.h: what is dropped, by source */
    SL_TOP_ALL = 262144,     /* all that is for a listener, by source */
};

/*
 * Samples of dropped packets, put into a ring by the guard and read by the controller. Addresses, ports and
 * protocol stand there as the guard has read them, so that nobody parses the frame again.
 */
#define SL_SAMPLE_BYTES 128        /* of each frame, from its Ethernet header */
#define SL_SAMPLE_RING  (1u << 18) /* bytes of ring: some 1,300 samples */
struct sl_sample {
    __u64 time_ns; /* CLOCK_MONOTONIC */
    __u32 ifindex;
    __u32 length;   /* of the whole frame */
    __u32 listener; /* SL_NO_LISTENER where its ports could not be read */
    __u16 reason;   /* enum sl_reason */
    __u8 passed;    /* 1: shadow mode, it was not dropped */
    __u8 captured;  /* bytes of data */
    struct sl_addr src, dst;
    __u16 sport_be, dport_be;
    __u8 family, proto, tcp_flags, zero;
    __u8 data[SL_SAMPLE_BYTES];
};

/* How often a sample is taken, one entry; the bucket is shared by all CPUs. */
struct sl_sampling {
    __u64 interval_ns; /* 0: none are taken */
    __u64 tolerance_ns;
    __u64 tat;
};
/* What became of the drops, per CPU: taken + lost + skipped is all of them while sampling is on. */
struct sl_sample_counts {
    __u64 taken;
    __u64 lost;    /* the ring was full */
    __u64 skipped; /* over the rate */
};

/*
 * Who sends most: tables of fixed size, one a CPU, kind and window (bpf/lib/top.h says what is certain of
 * them). Tables of two windows: the one that runs, and the one before.
 */
#define SL_TOP_SLOTS \
    512 /* a power of two; a table must fit into 32 KiB, the kernel's largest per-CPU value */
#define SL_TOP_ONE_IN    16 /* packets are counted, at random */
#define SL_TOP_WINDOW_NS 10000000000ull
enum sl_top_kind { SL_TOP_SOURCE, SL_TOP_PREFIX, SL_TOP_KINDS }; /* /32 and /64; /24 and /48 */
struct sl_top_slot {
    __u64 addr[2]; /* of the candidate, as in struct sl_addr */
    __u32 family;
    __u32 window; /* whose counts these are: time / SL_TOP_WINDOW_NS, cut */
    __u32 votes;  /* for the candidate less those of others */
    __u32 total;
};
struct sl_top_table {
    struct sl_top_slot slots[SL_TOP_SLOTS];
};

/* Header of the pinned state: says which boot the monotonic times belong to. */
struct sl_state_header {
    __u32 schema;
    __u32 zero;
    __u8 boot_id[16];
    __u64 bucket_seed; /* of the key hash: kept, so that buckets survive a restart */
    __u64 bucket_slots;
};

#define SL_ASSERT_SIZE(t, n) \
    _Static_assert(sizeof(struct t) == (n), #t " has padding or changed: raise SL_ABI_SCHEMA")
SL_ASSERT_SIZE(sl_addr, 16);
SL_ASSERT_SIZE(sl_listener_key, 20);
SL_ASSERT_SIZE(sl_lpm4_key, 8);
SL_ASSERT_SIZE(sl_lpm6_key, 20);
SL_ASSERT_SIZE(sl_list_value, 16);
SL_ASSERT_SIZE(sl_trie_node, 16);
SL_ASSERT_SIZE(sl_penalty_key, 40);
SL_ASSERT_SIZE(sl_penalty_value, 96);
SL_ASSERT_SIZE(sl_hints, 57344);
SL_ASSERT_SIZE(sl_bucket, 32);
SL_ASSERT_SIZE(sl_limit, 24);
SL_ASSERT_SIZE(sl_source_key, 20);
SL_ASSERT_SIZE(sl_source, 32);
SL_ASSERT_SIZE(sl_sketch_line, 128);
SL_ASSERT_SIZE(sl_consumer_source, 40);
SL_ASSERT_SIZE(sl_count, 16);
SL_ASSERT_SIZE(sl_listener_stats, 48);
SL_ASSERT_SIZE(sl_consumer_bytes, 32);
SL_ASSERT_SIZE(sl_sock_consumer, 8);
SL_ASSERT_SIZE(sl_kernel_config, 152);
SL_ASSERT_SIZE(sl_state_header, 40);
SL_ASSERT_SIZE(sl_sample, 192);
SL_ASSERT_SIZE(sl_sampling, 24);
SL_ASSERT_SIZE(sl_sample_counts, 24);
SL_ASSERT_SIZE(sl_top_slot, 32);
SL_ASSERT_SIZE(sl_top_table, 32 * SL_TOP_SLOTS);

#endif
