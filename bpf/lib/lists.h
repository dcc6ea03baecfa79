/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allow and deny lists: what the policy writes itself and what operators add stands in a small LPM trie and
 * decides first; then the ranges of files, which may be millions, in a trie that userspace compiles.
 */
#ifndef SL_BPF_LISTS_H
#define SL_BPF_LISTS_H

#include "lib/maps.h"
#include "lib/parse.h"
#include <bpf/bpf_endian.h>

/*
 * One array of sl_trie_node, replaced whole: a program run sees the list before or the list after, never
 * parts of both. Empty where no policy names a file. Arrays of any size fit (BPF_F_INNER_MAP, 5.10);
 * userspace fills them by plain stores (BPF_F_MMAPABLE) before they are put here.
 */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(
        values, struct {
            __uint(type, BPF_MAP_TYPE_ARRAY);
            __uint(max_entries, 1);
            __uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
            __uint(key_size, sizeof(__u32));
            __uint(value_size, sizeof(struct sl_trie_node));
        });
} sl_list_files SEC(".maps");

/*
 * The verdict of an address given as 128 bits (IPv4 in the upper 32), or 0. Global, so that the verifier
 * checks the loop once.
 */
__noinline int sl_guard_list_files(__u64 hi, __u64 lo, __u32 roots)
{
    const __u32 zero = 0;
    void *nodes = bpf_map_lookup_elem(&sl_list_files, &zero);
    __u32 at = roots + (__u32)(hi >> (64 - SL_TRIE_ROOT_BITS));
    if (!nodes)
        return 0;
    hi = hi << SL_TRIE_ROOT_BITS | lo >> (64 - SL_TRIE_ROOT_BITS);
    lo <<= SL_TRIE_ROOT_BITS;
    for (int i = 0; i < SL_TRIE_DEPTH; i++) {
        const struct sl_trie_node *n = bpf_map_lookup_elem(nodes, &at);
        if (!n)
            return 0;
        const __u32 child = hi >> (64 - SL_TRIE_STRIDE), code = sl_trie_code(n, child);
        if (code != SL_TRIE_NODE)
            return (int)code;
        at = sl_trie_child(n, child);
        hi = hi << SL_TRIE_STRIDE | lo >> (64 - SL_TRIE_STRIDE);
        lo <<= SL_TRIE_STRIDE;
    }
    return 0;
}

SL_INLINE const struct sl_list_value *sl_list_lookup(const struct sl_packet *p, __u32 flags,
                                                     const struct sl_hints *hints)
{
    if (sl_hint_absent(hints->long_lists, sl_hint_host(&p->src)) &&
        sl_hint_absent(hints->wide_lists, sl_hint_net(&p->src, p->family == SL_AF_INET6)))
        return 0;
    if (p->family == SL_AF_INET6) {
        struct sl_lpm6_key key = {.prefixlen = 128};
        if (!(flags & SL_HAVE_LISTS6))
            return 0;
        __builtin_memcpy(key.addr, p->src.bytes, 16);
        return bpf_map_lookup_elem(&sl_lists6, &key);
    }
    struct sl_lpm4_key key = {.prefixlen = 32};
    if (!(flags & SL_HAVE_LISTS4))
        return 0;
    __builtin_memcpy(key.addr, p->src.bytes, 4);
    return bpf_map_lookup_elem(&sl_lists4, &key);
}

/* The verdict of an entry for this one IPv4 address, where it needs no lookup; else 0. */
SL_INLINE __u32 sl_list_host(const struct sl_packet *p, const struct sl_hints *hints)
{
    const __u64 host = sl_hint_pair(&p->src, 0), hint = hints->hosts[sl_hint_pair_slot(host)];
    if (p->family != SL_AF_INET || !(hint & SL_HINT_ONE) || (__u32)hint != (__u32)host)
        return 0;
    return (hint >> SL_HINT_HOST_BITS) & 3;
}

/* SL_LIST_ALLOW, SL_LIST_DENY or 0. */
SL_INLINE __u32 sl_lists_verdict(const struct sl_packet *p, __u32 flags, const struct sl_hints *hints,
                                 __u64 now)
{
    const __u32 host = sl_list_host(p, hints);
    if (host)
        return host;
    const struct sl_list_value *v = sl_list_lookup(p, flags, hints);
    __u64 half[2];
    if (v && (!v->deadline_ns || v->deadline_ns > now))
        return v->verdict;
    if (!(flags & SL_HAVE_LIST_FILES))
        return 0;
    __builtin_memcpy(half, p->src.bytes, sizeof(half)); /* of IPv4 the other bytes are zero */
    return (__u32)sl_guard_list_files(bpf_be64_to_cpu(half[0]), bpf_be64_to_cpu(half[1]),
                                      p->family == SL_AF_INET6 ? SL_TRIE_ROOTS : 0);
}

#endif
