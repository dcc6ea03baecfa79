/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard's inside. Pins:
 *
 *   ROOT/v<schema>/maps/NAME         every map
 *   ROOT/v<schema>/links/xdp_IF      and tcx_in_IF, tcx_out_IF; a '.' of the interface's name is written ':'
 *
 * ROOT is SL_PIN_ROOT, or $SLUICE_BPF_ROOT where set; whoever holds the lock on the schema's directory owns
 * it.
 */
#ifndef SL_KERNEL_GUARD_PRIV_H
#define SL_KERNEL_GUARD_PRIV_H

#include "kernel/kernel.h"
#include "kernel/penalty_heap_priv.h"
#include "kernel/plan_priv.h"
#include <limits.h>

struct xdp_guard;
struct tc_meter;

#define SL_PIN_PATH 256

struct sl_attachment {
    char name[16];
    unsigned ifindex; /* 0: the interface is gone */
    enum sl_attach_mode mode;
    int xdp;    /* link */
    int tcx[2]; /* links, in and out; -1 with clsact */
    bool clsact;
    bool fresh;    /* put on by the apply under way */
    bool renamed;  /* said that it goes by another name now */
    bool released; /* its pin is gone: an operator has detached it; left alone until the next apply */
};

/* A former daemon's directory of another schema. */
struct sl_before {
    char dir[SL_PIN_PATH];
    int lock;
    const struct sl_schema *schema;
};
#define SL_MAX_BEFORE 4

/* The ranges of a policy's files, as they stand in the kernel. */
struct sl_range_files {
    int fd; /* array of struct sl_trie_node; -1: the policy names none */
    unsigned char digest[SL_DIGEST];
    struct sl_range_counts n[2]; /* IPv4, IPv6 */
    uint64_t bytes;
};

enum sl_feature_id {
    SL_FEATURE_XDP_LINK,
    SL_FEATURE_RINGBUF,
    SL_FEATURE_FRAGS,
    SL_FEATURE_SYN_COOKIES,
    SL_FEATURE_SOCKET_STORAGE,
    SL_FEATURE_TCX,
    SL_FEATURE_UNPRIVILEGED_MAPS,
    SL_FEATURES
};

struct sl_kernel_guard {
    bool off;                               /* no BPF at all: only the bucket table */
    int handed;                             /* during the start: the lock of who hands over; -1: none does */
    char dir[SL_PIN_PATH];                  /* ROOT/v<schema> */
    int lock;                               /* on dir */
    struct sl_before before[SL_MAX_BEFORE]; /* during the start: what is taken over from */
    size_t n_before;
    struct xdp_guard *xdp;  /* NULL when off */
    struct tc_meter *meter; /* NULL where the kernel cannot run it */
    int memfd;              /* bucket table when off, else -1 */
    struct sl_bucket_table table;
    struct sl_hints *hints; /* mapped; NULL when off */
    struct sl_plan *plan;
    struct sl_manuals manuals;
    struct sl_range_files files;
    struct sl_attachment *attachments;
    size_t n_attachments;
    int netlink;
    enum sl_kernel_mode mode;
    uint32_t generation;
    bool have_penalties;
    bool sources_walk;   /* a walk over the proven sources has begun */
    uint32_t sources_at; /* where it goes on: the kernel's cursor */
    struct sl_feature features[SL_FEATURES];
    bool penalties_full; /* said in the log */
    uint64_t penalties_refused, penalties_evicted;
    struct sl_penalty_heap penalty_heap;
};

/* ---- pins.c */
/* "ROOT/v<schema>"; ROOT is a bpffs, mounted if need be. 0 or -errno (logged). */
int sl_pins_open(char dir[SL_PIN_PATH], int handed, int *lock) SL_MUST_CHECK;
/* Makes and locks the directory anew where an operator's detach has removed it. */
int sl_pins_reopen(const char *dir, int *lock) SL_MUST_CHECK;
void sl_pin_path(char out[SL_PIN_PATH], const char *dir, const char *sub, const char *prefix,
                 const char *name);
/* Removes a directory of ours with all that is pinned there, detaching its links first: how many links. */
int sl_pins_remove(const char *dir);
/* Locks a schema's directory: fd or -errno (logged); waits a while for a daemon that is ending. handed (or
 * -1): a lock that is shared with us, of whatever directory. */
int sl_pins_lock(const char *dir, int handed) SL_MUST_CHECK;
/* Removes what is pinned under every schema but dir's. */
void sl_pins_remove_others(const char *dir);
/* The number of a schema's directory by its name ("v1"). */
bool sl_pins_schema_of(const char *name, unsigned *schema);
const char *sl_pin_root(void);
/* The interface whose XDP link runs prog_id, and is pinned under another name: its pins get the new one. */
void sl_pins_rename(const char *dir, unsigned ifindex, uint32_t prog_id, const char *interface);
/* Drops the links of interfaces that keep() does not want: how many are left. */
size_t sl_pins_prune_links(const char *dir, bool (*keep)(const char *interface, void *arg), void *arg);
/* With the guard off: takes off what a dead daemon left on, unless a living one holds it. */
void sl_pins_remove_orphans(void);

/* ---- migrate.c */
/* One map of an older schema, and how an entry of it is written today. */
struct sl_schema_map {
    const char *from, *to;         /* the map's name then and now */
    uint32_t key_size, value_size; /* then */
    /* 1: new_key and new_value are filled; 0: this entry is not carried over. */
    int (*copy)(const void *key, const void *value, void *new_key, void *new_value);
};
struct sl_schema {
    unsigned number;
    const struct sl_schema_map *maps;
    size_t n_maps;
};
/* A released schema that this version can take over from; NULL: unknown. */
const struct sl_schema *sl_schema_released(unsigned number);
/* The same. Weak: tests add schemas of their own. */
const struct sl_schema *sl_schema_find(unsigned number);
/* Finds and locks what other schemas left pinned. -EPROTONOSUPPORT where it is of one that is not known. */
int sl_before_open(struct sl_kernel_guard *g) SL_MUST_CHECK;
/* Whether one of them holds state of this boot, whose key of the buckets then goes into header. */
bool sl_before_state(const struct sl_kernel_guard *g, struct sl_state_header *header);
/* Fills our maps from its. */
int sl_before_copy(struct sl_kernel_guard *g, const struct sl_state_header *header) SL_MUST_CHECK;
/* Removes them, once our programs run in their place. */
void sl_before_remove(struct sl_kernel_guard *g);
void sl_before_close(struct sl_kernel_guard *g);

/* ---- load.c */
/* The buckets of another table move into ours, by key. */
int sl_guard_carry_buckets(struct sl_kernel_guard *g, int fd) SL_MUST_CHECK;
/* Loads the programs over the pinned maps, or over new ones. 0 or -errno (logged). */
int sl_guard_load(struct sl_kernel_guard *g, uint32_t table_size) SL_MUST_CHECK;
/* Pins what is not pinned yet. */
int sl_guard_pin_maps(struct sl_kernel_guard *g) SL_MUST_CHECK;
void sl_guard_unload(struct sl_kernel_guard *g);
/* -1 with the guard off. */
int sl_guard_map(const struct sl_kernel_guard *g, enum sl_plan_map m);
int sl_guard_penalties(const struct sl_kernel_guard *g);
int sl_guard_list_files(const struct sl_kernel_guard *g);
/* Writes the plan's settings, with SL_HAVE_PENALTIES as it stands. */
int sl_guard_write_config(struct sl_kernel_guard *g) SL_MUST_CHECK;
/* Quiet: libbpf speaks at debug level only, since every failure is reported by us. */
void sl_libbpf_quiet(void);
int sl_memlock_raise(void);

/* ---- hints.c */
/* Maps them, none given. 0 or -errno (logged). */
int sl_hints_open(struct sl_kernel_guard *g) SL_MUST_CHECK;
void sl_hints_close(struct sl_kernel_guard *g);
/* Brings these maps to the plan's, with the hints of the whole plan. 0 or -errno (logged). */
int sl_guard_sync_maps(struct sl_kernel_guard *g, const struct sl_plan *p, enum sl_plan_map first,
                       enum sl_plan_map last) SL_MUST_CHECK;
/* Around each write of an entry: before it, or before its end; and after it. */
void sl_hints_penalty_off(struct sl_kernel_guard *g, const struct sl_penalty_key *k);
void sl_hints_penalty_on(struct sl_kernel_guard *g, const struct sl_penalty_key *k,
                         const struct sl_penalty_value *v);
/* After some have gone: gives anew what the table allows. */
int sl_hints_penalties(struct sl_kernel_guard *g) SL_MUST_CHECK;

/* ---- attach.c */
/* Attaches or takes over. 0 or -errno (logged); on failure nothing is attached that was not before. */
int sl_attach(struct sl_kernel_guard *g, struct sl_attachment *a) SL_MUST_CHECK;
/* Takes the programs off the interface, and the pins away. */
void sl_detach(const struct sl_kernel_guard *g, struct sl_attachment *a);
/* Whether the policy names a consumer whose bytes could be counted: else the meter would cost each packet
 * what a program at TC costs, some 25 ns, for nothing. */
bool sl_meter_wanted(const struct sl_kernel_guard *g);
/* Attaches the meter where it is wanted and not on. 0 or -errno (logged). */
int sl_meter_on(const struct sl_kernel_guard *g, struct sl_attachment *a) SL_MUST_CHECK;
/* Takes it off, be it a former daemon's. */
void sl_meter_off(const struct sl_kernel_guard *g, struct sl_attachment *a);
/* Closes descriptors; pins stay. */
void sl_attachment_close(struct sl_attachment *a);
/* Whether its XDP mode is the one that the policy wants; reads the mode from the kernel. */
bool sl_attachment_mode_stands(const struct sl_kernel_guard *g, struct sl_attachment *a);
/* Whether the pin that stood for it is still there. */
bool sl_attachment_pinned(const struct sl_kernel_guard *g, const struct sl_attachment *a);

/* ---- clsact.c */
/* TC filters by netlink, for kernels before TCX (6.6). in and out are program descriptors. */
int sl_clsact_attach(unsigned ifindex, int in, int out) SL_MUST_CHECK;
/* Removes our filters, and the qdisc where we made it and nobody else uses it: how many filters. */
int sl_clsact_detach(unsigned ifindex);

/* ---- sources.c */
/* Forgets proven sources that have long been silent: a part of the map a call. */
void sl_sources_sweep(struct sl_kernel_guard *g, uint64_t now);

/* ---- host.c */
int sl_host_addresses(struct sl_addresses *out) SL_MUST_CHECK;
int sl_host_netlink(void);

/* ---- features.c */
/* Looks what the kernel has. -EOPNOTSUPP (logged) where something is missing that the guard cannot do
 * without.
 */
int sl_features_probe(struct sl_kernel_guard *g) SL_MUST_CHECK;
bool sl_feature_probe(enum sl_feature_id id);
bool sl_has(const struct sl_kernel_guard *g, enum sl_feature_id id);

/* ---- cookies.c */
/* The helper, tried; ask sl_feature_probe. */
bool sl_cookies_probe(void);
/* Sets the plan's cookies and flags by what the host has: 0, or -EOPNOTSUPP (logged) where the policy
 * insists. */
int sl_cookies_plan(const struct sl_kernel_guard *g, const struct sl_snapshot *s,
                    struct sl_plan *p) SL_MUST_CHECK;
/* The same for the plan that stands; says what changed. */
void sl_cookies_watch(struct sl_kernel_guard *g);

/* ---- range_files.c */
/* Compiles the snapshot's, without touching what stands; unless they are the same. 0 or -errno (logged). */
int sl_range_files_new(const struct sl_kernel_guard *g, const struct sl_snapshot *s,
                       struct sl_range_files *out) SL_MUST_CHECK;
/* Puts them in place of the guard's, which come back in *with. The settings are to be written next: they say
 * whether the program looks there. 0 or -errno (logged, nothing changed). */
int sl_range_files_swap(struct sl_kernel_guard *g, struct sl_range_files *with) SL_MUST_CHECK;
/* Once the settings are written: gives memory back where no list is left. */
void sl_range_files_settle(struct sl_kernel_guard *g);
void sl_range_files_free(struct sl_range_files *f);

/* ---- lists.c */
int sl_manuals_put(struct sl_manuals *m, const struct sl_cidr *c,
                   const struct sl_list_value *v) SL_MUST_CHECK;
size_t sl_manuals_remove(struct sl_manuals *m, const struct sl_cidr *c);
/* Those of a former daemon, from the maps. */
int sl_manuals_read(struct sl_manuals *m, int fd4, int fd6) SL_MUST_CHECK;
void sl_manuals_free(struct sl_manuals *m);
/* Rebuilds both lists of the plan and brings the maps to them. */
int sl_guard_sync_lists(struct sl_kernel_guard *g) SL_MUST_CHECK;

#endif
