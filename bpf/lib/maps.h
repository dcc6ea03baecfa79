/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guard's maps. Userspace sets the sizes marked so, pins them all, and hands them on over restarts.
 *
 * What a full table does: listeners, lists, consumers - userspace refuses the policy; penalties - the one
 * that ends first gives way, and is counted (user/kernel/penalty.c); sources - one more proven source stays
 * with the unproven ones, and is counted; the sketches never fill (lib/sources.h).
 */
#ifndef SL_BPF_MAPS_H
#define SL_BPF_MAPS_H

#include "vmlinux.h"

#include "lib/hints.h"
#include "sluice/abi.h"
#include <bpf/bpf_helpers.h>

struct { /* one entry, replaced whole */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sl_kernel_config);
} sl_config SEC(".maps");

struct { /* says which boot the times in the other maps belong to; read by userspace only */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sl_state_header);
} sl_state SEC(".maps");

struct { /* with the two address entries of each */
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 3 * SL_MAX_LISTENERS);
    __type(key, struct sl_listener_key);
    __type(value, struct sl_listener_value);
} sl_listeners SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SL_MAX_LIST_ENTRIES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sl_lpm4_key);
    __type(value, struct sl_list_value);
} sl_lists4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SL_MAX_LIST_ENTRIES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sl_lpm6_key);
    __type(value, struct sl_list_value);
} sl_lists6 SEC(".maps");

struct { /* a plain hash, written by userspace only: an LRU can be flushed by spoofed packets */
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SL_MAX_PENALTIES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sl_penalty_key);
    __type(value, struct sl_penalty_value);
} sl_penalties SEC(".maps");

struct { /* each listener's buckets of new connections, tats: of unproven sources, then of proven ones */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2 * SL_MAX_LISTENERS);
    __type(key, __u32);
    __type(value, __u64);
} sl_listener_rate SEC(".maps");

struct { /* proven ones; userspace sets max_entries, and deletes who has long been silent */
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SL_MAX_SOURCES_DEFAULT);
    __type(key, struct sl_source_key);
    __type(value, struct sl_source);
} sl_sources SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SL_MAX_LIST_ENTRIES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sl_lpm4_key);
    __type(value, struct sl_consumer_source);
} sl_consumers4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SL_MAX_LIST_ENTRIES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sl_lpm6_key);
    __type(value, struct sl_consumer_source);
} sl_consumers6 SEC(".maps");

struct { /* the shared bucket table (user/base/bucket.h); userspace sets max_entries */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SL_MAX_SOURCES_DEFAULT);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct sl_bucket);
} sl_buckets SEC(".maps");

struct { /* by enum sl_reason; the second half counts what shadow mode would have dropped */
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2 * SL_REASON_COUNT);
    __type(key, __u32);
    __type(value, struct sl_count);
} sl_reasons SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, SL_MAX_LISTENERS);
    __type(key, __u32);
    __type(value, struct sl_listener_stats);
} sl_stats SEC(".maps");

#endif
