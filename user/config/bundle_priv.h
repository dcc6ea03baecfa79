/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle's inside. Invariant: everything that a snapshot is made of stands here by value; once loaded,
 * nothing reads the file system or the environment any more.
 */
#ifndef SL_CONFIG_BUNDLE_PRIV_H
#define SL_CONFIG_BUNDLE_PRIV_H

#include "config/config.h"
#include "config/tree_priv.h"

#define SL_SOURCE_MAX   (64u << 20) /* bytes of one policy file */
#define SL_SOURCES_MAX  16384
#define SL_FILE_MAX     (1u << 20)  /* bytes of a file that the policy names */
#define SL_LIST_MAX     (64u << 20) /* bytes of a file of ranges */
#define SL_FILES_MAX    262144
#define SL_BUNDLE_MAX   (512ull << 20)
#define SL_INCLUDE_DEEP 8
/* Read with a policy that asks for names. */
#define SL_RESOLV_CONF "/etc/resolv.conf"
#define SL_HOSTS       "/etc/hosts"

/* Rows of each kind that have counters of their own; the tables of telemetry/ and of the kernel hold as many.
 * What comes later counts as "other". */
#define SL_SLOTS_LISTENERS 256
#define SL_SLOTS_ROUTES    12288
#define SL_SLOTS_TIERS     1024
#define SL_SLOTS_UPSTREAMS 2048
#define SL_SLOTS_CONSUMERS SL_MAX_CONSUMER_SLOTS
#define SL_SLOTS_TARGETS   8192

struct sl_policy_text {
    char *name; /* as given on the command line, or as its include resolves it */
    struct sl_slice text;
    bool json;
};

struct sl_bundle_file {
    char *key; /* 'f', 'e' or 'l' and the path or name: the kinds share one map */
    bool env;  /* a variable of the environment */
    bool list; /* a file of ranges: digest is set */
    bool lean; /* its bytes stayed in the memfd: data is empty */
    int error; /* errno of reading it, told where the policy names it; 0: data is there */
    struct sl_slice data;
    unsigned char digest[SL_DIGEST];
};

struct sl_bundle {
    uint64_t version;
    unsigned cpus; /* of the host: what workers: auto means */
    struct sl_policy_text *sources;
    size_t n_sources;
    struct sl_bundle_file **files;
    size_t n_files;
    struct sl_map by_key;
    size_t bytes;
    struct sl_slots *slots;
    bool flawed; /* an error was told that does not keep the rest from being checked: no snapshot comes of it
                  */
    struct sl_tree *tree; /* kept from loading until a snapshot is made of it; NULL: parse again */
};

struct sl_bundle *sl_bundle_new(void);
/* Take copies. -EFBIG past a cap. */
int sl_bundle_add_source(struct sl_bundle *b, const char *name, struct sl_slice text,
                         bool json) SL_MUST_CHECK;
int sl_bundle_add_file(struct sl_bundle *b, bool env, const char *name, int error,
                       struct sl_slice data) SL_MUST_CHECK;
/* digest: stands for bytes that are not given (data empty then); NULL: it is taken of data. */
int sl_bundle_add_list(struct sl_bundle *b, const char *name, int error, struct sl_slice data,
                       const unsigned char *digest) SL_MUST_CHECK;
/* NULL where it was not read. */
const struct sl_bundle_file *sl_bundle_find(const struct sl_bundle *b, bool env, const char *name);
const struct sl_bundle_file *sl_bundle_find_list(const struct sl_bundle *b, const char *name);
/* The sources of a bundle becoming one tree, one after the other, while sources may still be added. */
struct sl_parse {
    const struct sl_bundle *bundle;
    struct sl_tree *tree;
    struct sl_merge merge;
};
int sl_parse_begin(struct sl_parse *p, const struct sl_bundle *b, struct sl_diag *diag) SL_MUST_CHECK;
/* *include: what the source says there, or NULL. */
int sl_parse_source(struct sl_parse *p, size_t index, const struct sl_node **include) SL_MUST_CHECK;
/* Always called; r: how it went so far. */
int sl_parse_end(struct sl_parse *p, int r, struct sl_tree **out) SL_MUST_CHECK;
/* All sources parsed and merged, into *out (the caller frees it, sl_tree_free and free). -EINVAL, -ENOMEM. */
int sl_bundle_parse(const struct sl_bundle *b, struct sl_diag *diag, struct sl_tree **out) SL_MUST_CHECK;
/* Puts other bytes in the place of a file's. Copied. 0, -EFBIG or -ENOMEM. */
int sl_bundle_replace(struct sl_bundle *b, const struct sl_bundle_file *file,
                      struct sl_slice data) SL_MUST_CHECK;
/* A path as a policy file names it: relative ones to that file. malloc'ed; NULL when memory is out. */
char *sl_path_beside(const char *file, struct sl_slice path);
/* Whether a file holds JSON: by its ending, else by its first character. */
bool sl_is_json(const char *name, struct sl_slice text);

struct sl_slots *sl_slots_clone(const struct sl_slots *s);
int sl_slots_add(struct sl_slots *s, enum sl_slot_kind kind, const char *name) SL_MUST_CHECK;
/* 0 where the name has none. */
uint32_t sl_slots_find(const struct sl_slots *s, enum sl_slot_kind kind, const char *name);
/* Sets the slot of every named thing of the snapshot. */
void sl_slots_apply(const struct sl_slots *slots, struct sl_snapshot *s);

#endif
