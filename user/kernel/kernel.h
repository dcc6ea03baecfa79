/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard as the rest of the daemon sees it: loaded, attached, pinned, and fed from a snapshot. The only
 * user of libbpf. Called by the supervisor (everything) and by sluicectl (sl_kernel_detach_all, with the
 * daemon dead). Controller and workers get descriptors by inheritance and use kernel/maps.h.
 */
#ifndef SL_KERNEL_KERNEL_H
#define SL_KERNEL_KERNEL_H

#include "base/bucket.h"
#include "base/ip.h"
#include "config/snapshot.h"

#define SL_PIN_ROOT "/sys/fs/bpf/sluice"

struct sl_kernel_guard; /* loaded programs, maps, links */

enum sl_attach_mode { SL_ATTACH_NONE, SL_ATTACH_NATIVE, SL_ATTACH_GENERIC };
struct sl_attach_state {
    char interface[16];
    unsigned ifindex; /* 0: the interface is gone */
    enum sl_attach_mode xdp;
    const char *tc; /* "tcx", "clsact", "none" */
};

/* Descriptors that children inherit; -1 where the guard is off. The supervisor closes its own at exit. */
struct sl_kernel_fds {
    int buckets;        /* mmapable array of struct sl_bucket; without the guard: a memfd of the same shape */
    int socket_storage; /* SK_STORAGE of struct sl_sock_consumer */
    int reasons; /* per-CPU array of struct sl_count, by enum sl_reason; second half: would_drop in shadow */
    int listener_stats;
    int consumer_bytes;
    int penalties;
    int lists4, lists6;
    int samples; /* ring of struct sl_sample (kernel/samples.h) */
    int sampled; /* per-CPU struct sl_sample_counts */
    int top;     /* per-CPU struct sl_top_table (kernel/top.h) */
};
#define SL_KERNEL_NO_FDS                           \
    {                                              \
        -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 \
    }

/*
 * Loads or takes over the pinned state (schema and boot id agree), attaches to the snapshot's interfaces,
 * fills the maps. With mode off, opens nothing of BPF and still provides the bucket table as a memfd. Every
 * failure says the interface or map and what would be right, through the log; 0 or -errno, and on failure
 * nothing stays attached that was not before.
 */
int sl_kernel_start(const struct sl_snapshot *s, struct sl_kernel_guard **out) SL_MUST_CHECK;
/*
 * What a supervisor hands to the one that takes over from it (a binary upgrade), which then owns pins and
 * maps as if it had been started alone. With the guard off lock is -1, else buckets is.
 */
struct sl_kernel_handover {
    int lock;    /* on the pins: shared, since it hangs on the open file */
    int buckets; /* memfd of the bucket table */
    uint64_t bucket_seed;
};
/* Descriptors stay the guard's. */
struct sl_kernel_handover sl_kernel_hand_over(const struct sl_kernel_guard *g);
/* sl_kernel_start by what was handed over; descriptors stay the caller's. -EOPNOTSUPP (logged) where the
 * guard would have to be switched on or off. A failure leaves programs in place: who handed over reclaims. */
int sl_kernel_take(const struct sl_snapshot *s, const struct sl_kernel_handover *from,
                   struct sl_kernel_guard **out) SL_MUST_CHECK;
/* The one that was to take over has failed: our programs and the snapshot's maps in place of its. */
int sl_kernel_reclaim(struct sl_kernel_guard *g, const struct sl_snapshot *s) SL_MUST_CHECK;
/* Brings maps and attachments to a new snapshot; on failure the old state stands. */
int sl_kernel_apply(struct sl_kernel_guard *g, const struct sl_snapshot *s) SL_MUST_CHECK;
/* Re-reads the host's addresses for wildcard listeners (call it on RTM_NEWADDR/DELADDR) and re-attaches to
 * interfaces that came back (RTM_NEWLINK). */
int sl_kernel_refresh(struct sl_kernel_guard *g);
/* A netlink socket, non-blocking, that gets readable when sl_kernel_refresh is due; drain it with
 * sl_kernel_netlink_drain. -1 where the guard is off. */
int sl_kernel_netlink_fd(const struct sl_kernel_guard *g);
void sl_kernel_netlink_drain(struct sl_kernel_guard *g);
struct sl_kernel_fds sl_kernel_fds(const struct sl_kernel_guard *g);
/* The bucket table as mapped by the guard, with the seed of its keys (kept over restarts): children that were
 * forked share the mapping. Gone with sl_kernel_close. */
struct sl_bucket_table sl_kernel_buckets(const struct sl_kernel_guard *g);
/* The first slots from `at` on that may have been written, up to *end: the number of all where there are
 * none. Where the guard is off the others have no memory yet, and reading them would give them some. */
size_t sl_kernel_buckets_written(const struct sl_kernel_guard *g, size_t at, size_t *end);
/* The seed that buckets were kept under: before the first child is there. 0; -EBUSY: the table holds buckets
 * under another one; -errno. */
int sl_kernel_keep_seed(struct sl_kernel_guard *g, uint64_t seed);
size_t sl_kernel_attach_states(const struct sl_kernel_guard *g, struct sl_attach_state *out, size_t max);
/* SYN cookies: what the policy says (auto, always, off), and what stands: off, idle (auto, and no listener
 * has a bucket), missing (why says what and what would be right), on. Texts live until the next apply or
 * sweep. */
struct sl_cookies_status {
    const char *policy, *state, *why;
};
#define SL_COOKIES_WHY 128
struct sl_cookies_status sl_kernel_syn_cookies(const struct sl_kernel_guard *g);
/* What of the running kernel was looked for at the start. Texts are static. */
struct sl_feature {
    const char *name;
    bool present;
    const char *without; /* what is not to be had where it is missing */
};
/* How many; 0 with the guard off. *out lives as long as the guard. */
size_t sl_kernel_features(const struct sl_kernel_guard *g, const struct sl_feature **out);
/* Whether the policy insists on SYN cookies that this host does not give; why then says what is missing. */
bool sl_kernel_lacks_cookies(const struct sl_snapshot *s, char why[SL_COOKIES_WHY]);
/* How full the maps are. Penalties and lists out of files are counted elsewhere; of a large bucket table, an
 * estimate. */
#define SL_MAP_FILLS 8
struct sl_map_fill {
    const char *map;
    size_t entries, max;
};
size_t sl_kernel_map_fills(const struct sl_kernel_guard *g, struct sl_map_fill out[SL_MAP_FILLS]);
/* Since they were loaded, while kernel.bpf_stats_enabled is 1: else 0 runs. */
#define SL_PROGRAMS 3
struct sl_program_runs {
    const char *program;
    uint64_t runs, run_ns;
};
size_t sl_kernel_program_runs(const struct sl_kernel_guard *g, struct sl_program_runs out[SL_PROGRAMS]);
/* Frees memory and descriptors; pins and links stay attached (a restart takes them over). */
void sl_kernel_close(struct sl_kernel_guard *g);
/* Detaches everything under SL_PIN_ROOT and removes the pins, daemon or no daemon. Returns how many links, or
 * -errno. */
int sl_kernel_detach_all(void);

/* ---- map changes asked for by the others, done by the supervisor */
struct sl_penalty_request {
    struct sl_ip source;
    struct sl_ip destination;               /* flow only */
    uint16_t source_port, destination_port; /* flow only, host order */
    enum sl_penalty_scope effect;
    uint64_t duration_ns, max_ns; /* doubled per repeat within twice the last duration, up to max_ns */
    uint32_t rejections;
    uint32_t level; /* 0: reckoned here; else the penalty was reckoned elsewhere, and lasts duration_ns */
    bool manual;
    char consumer[SL_NAME_LEN], rule[SL_NAME_LEN];
};
/* 0 with *deadline set; -ENODEV with the guard off. In a full table the entry that ends first gives way
 * (counted), never an operator's; -ENOSPC where all there are end later (counted). An escalation never
 * weakens a stronger entry that is still alive. */
int sl_kernel_penalty_add(struct sl_kernel_guard *g, const struct sl_penalty_request *r,
                          uint64_t *deadline_ns);
/* The entry that stands where r's would: 0 or -ENOENT, -ENODEV. */
int sl_kernel_penalty_get(const struct sl_kernel_guard *g, const struct sl_penalty_request *r,
                          struct sl_penalty_value *out) SL_MUST_CHECK;
/* Takes back one flow's penalty. */
void sl_kernel_penalty_withdraw(struct sl_kernel_guard *g, const struct sl_penalty_request *r);
/* Penalties that the full table took out before their end, and those that it had no room for. */
uint64_t sl_kernel_penalties_evicted(const struct sl_kernel_guard *g);
uint64_t sl_kernel_penalties_refused(const struct sl_kernel_guard *g);
/* Removes every penalty and timed deny of addresses in the prefix; how many, or -errno. */
int sl_kernel_penalty_remove(struct sl_kernel_guard *g, const struct sl_cidr *c);
/* A list entry beside the policy's: for_ns 0 until removed. It survives reloads; the pins keep it, and over a
 * reboot whoever restores it. */
int sl_kernel_list_add(struct sl_kernel_guard *g, const struct sl_cidr *c, enum sl_list_verdict v,
                       uint64_t for_ns);
int sl_kernel_list_remove(struct sl_kernel_guard *g, const struct sl_cidr *c);
/* The operators' entries, in no order: how many there are, with the first max of them in out. */
struct sl_kernel_operators {
    struct sl_cidr prefix;
    enum sl_list_verdict verdict;
    uint64_t deadline_ns; /* 0: until it is removed */
};
size_t sl_kernel_list_operators(const struct sl_kernel_guard *g, struct sl_kernel_operators *out, size_t max);
/* Puts n of them in, over those of the same prefixes. 0, -ENODEV where the guard is off, or another -errno,
 * with none that is new. */
int sl_kernel_list_put(struct sl_kernel_guard *g, const struct sl_kernel_operators *v, size_t n);
/* Until when an operator's entry denies this very prefix: UINT64_MAX without an end, 0: there is none. */
uint64_t sl_kernel_list_denied_until(const struct sl_kernel_guard *g, const struct sl_cidr *c);
/* Whether an operator has allowed an address of the prefix. */
bool sl_kernel_list_allows(const struct sl_kernel_guard *g, const struct sl_cidr *c);
/* How many ranges hold, by where they come from; [0] allow, [1] deny, each IPv4 and IPv6. */
struct sl_kernel_list_counts {
    size_t policy, operators, files;
};
void sl_kernel_list_counts(const struct sl_kernel_guard *g, struct sl_kernel_list_counts out[2][2]);
/* What those of files take in the kernel. */
uint64_t sl_kernel_list_bytes(const struct sl_kernel_guard *g);
/* Removes entries past their deadline, and looks whether SYN cookies can (still) be had; call every few
 * seconds. */
void sl_kernel_sweep(struct sl_kernel_guard *g);

#endif
