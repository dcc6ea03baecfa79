/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one tree that JSON and YAML become: values with the place where they stand. Built by sl_builder, which
 * holds what both syntaxes share: depth and size caps, and that no key stands twice in a map.
 */
#ifndef SL_CONFIG_TREE_PRIV_H
#define SL_CONFIG_TREE_PRIV_H

#include "base/hash.h"
#include "config/diag.h"

#define SL_TREE_DEPTH 32
#define SL_TREE_NODES (8u << 20)
#define SL_TREE_LARGE (64u << 10)

enum sl_node_kind {
    SL_NODE_NULL,
    SL_NODE_BOOL,
    SL_NODE_NUMBER,
    SL_NODE_STRING,
    SL_NODE_LIST,
    SL_NODE_MAP,
};

struct sl_node {
    struct sl_node *parent, *next;
    struct sl_node *first, *last; /* of a list or map, in the order of the file */
    struct sl_slice text; /* of a scalar, NUL-terminated: a number as written, true, a string's bytes */
    struct sl_slice key;  /* within a map; NUL-terminated */
    uint32_t n;           /* how many children */
    uint32_t index;       /* within a list */
    uint32_t line, column, key_line, key_column;
    uint16_t source; /* index into sl_tree.files */
    uint8_t kind;
    bool ambiguous; /* an unquoted YAML word that readers of YAML 1.1 and 1.2 take for different things */
};

struct sl_tree {
    struct sl_arena arena;
    struct sl_node *root; /* NULL: an empty document */
    const char **files;   /* names by source; borrowed from the bundle */
    size_t nodes;
};

/* Words that stand in a policy over and over ("tier", and its name) are kept once. */
#define SL_WORDS    256
#define SL_WORD_MAX 15

struct sl_builder {
    struct sl_tree *tree;
    struct sl_diag *diag;
    uint16_t source;
    unsigned depth;
    bool oom;
    struct sl_slice key; /* of the value to come, inside a map; p NULL: none yet */
    uint32_t key_line, key_column;
    bool key_doubled; /* the value to come is read, for its own errors, and dropped */
    struct {
        struct sl_node *node;
        struct sl_map keys; /* of a map: name to node, found without a search through the list */
    } frames[SL_TREE_DEPTH];
    struct sl_node *root;
    struct sl_slice words[SL_WORDS]; /* the last of each hash, in the tree's arena */
};

/* n becomes the last of a list's or map's children, wherever it hung before. */
void sl_node_append(struct sl_node *parent, struct sl_node *n);

void sl_builder_init(struct sl_builder *b, struct sl_tree *tree, struct sl_diag *diag, uint16_t source);
void sl_builder_free(struct sl_builder *b);
/* An error at a place of the file being read. */
void sl_builder_error(struct sl_builder *b, unsigned line, unsigned column, const char *fmt, ...)
    SL_PRINTF(4, 5);
/* All: 0; -EINVAL where reading cannot go on (said in diag); -ENOMEM. Text and keys are copied. */
int sl_builder_key(struct sl_builder *b, struct sl_slice key, unsigned line, unsigned column) SL_MUST_CHECK;
int sl_builder_scalar(struct sl_builder *b, enum sl_node_kind kind, struct sl_slice text, bool ambiguous,
                      unsigned line, unsigned column) SL_MUST_CHECK;
int sl_builder_open(struct sl_builder *b, enum sl_node_kind kind, unsigned line,
                    unsigned column) SL_MUST_CHECK;
void sl_builder_close(struct sl_builder *b);
bool sl_builder_in_map(const struct sl_builder *b);

/* One document into b->root; -EINVAL with errors in diag, -ENOMEM. */
int sl_json_read(struct sl_builder *b, struct sl_slice text) SL_MUST_CHECK;
int sl_yaml_read(struct sl_builder *b, struct sl_slice text) SL_MUST_CHECK;

void sl_tree_init(struct sl_tree *t);
/* Overwrites the strings first: a policy may carry secrets in its text. NULL is fine. */
void sl_tree_free(struct sl_tree *t);
/* The child of a map, or NULL. Looks through them in turn: for maps of known keys. */
const struct sl_node *sl_node_get(const struct sl_node *map, const char *key);
/* The JSON pointer of a node (RFC 6901), in the arena; NULL when memory is out. */
const char *sl_node_pointer(const struct sl_node *n, struct sl_arena *a);
/* Where the value stands, or its key; pointer in the arena. */
struct sl_pos sl_node_pos(const struct sl_tree *t, const struct sl_node *n, struct sl_arena *a);
struct sl_pos sl_node_key_pos(const struct sl_tree *t, const struct sl_node *n, struct sl_arena *a);
/* Appends the value as JSON. 0 or -ENOMEM. */
int sl_node_json(const struct sl_node *n, struct sl_buf *out) SL_MUST_CHECK;

/*
 * Lays one document after the other over the tree: sections (maps at the top) are joined, any name in them
 * that was there before is an error that tells both places; so is any other key, but version (when equal) and
 * include.
 */
struct sl_merge {
    struct sl_tree *tree;
    struct sl_diag *diag;
    struct sl_map sections; /* struct sl_merge_section */
    struct sl_arena arena;
};
void sl_merge_init(struct sl_merge *m, struct sl_tree *tree, struct sl_diag *diag);
void sl_merge_free(struct sl_merge *m);
int sl_merge_add(struct sl_merge *m, struct sl_node *document) SL_MUST_CHECK;

#endif
