/* SPDX-License-Identifier: GPL-2.0-only */
/* What needs no lookup; see struct sl_hints. One map for the guard and the meter. */
#ifndef SL_BPF_HINTS_H
#define SL_BPF_HINTS_H

#include "vmlinux.h"

#include "sluice/abi.h"
#include <bpf/bpf_helpers.h>

struct { /* userspace stores single words into it */
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct sl_hints);
} sl_hints SEC(".maps");

#endif
