/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reads the tree by the table (schema_priv.h) into a snapshot. Errors do not stop it: what is wrong
 * stays zero, and since an error forbids the snapshot, only the checks that run after it must expect such
 * holes.
 */
#ifndef SL_CONFIG_READER_PRIV_H
#define SL_CONFIG_READER_PRIV_H

#include "config/schema_priv.h"

enum sl_names {
    SL_NAMES_NONE,
    SL_NAMES_AUTH,
    SL_NAMES_TIER,
    SL_NAMES_UPSTREAM,
    SL_NAMES_CONSUMER,
    SL_NAMES_SIGNER,
    SL_NAMES_COUNT
};

/* A string that must be wiped with the snapshot. */
struct sl_secret {
    struct sl_secret *next;
    struct sl_slice bytes;
};

struct sl_reader {
    struct sl_snapshot *s;
    struct sl_arena *arena; /* the snapshot's */
    struct sl_arena scratch;
    struct sl_diag *diag;
    const struct sl_bundle *bundle;
    const struct sl_tree *tree;
    const char **files; /* names of the sources, in the snapshot's arena */
    struct sl_map names[SL_NAMES_COUNT];
    struct sl_tree defaults; /* what the table's defaults parse to */
    struct sl_map default_nodes;
    struct sl_secret **secrets;
    unsigned suggestions; /* left: looking for near names costs time that grows with the policy */
    bool oom;
};

/* ---- read.c */
/* Reads n as type into out (zeroed, type->size bytes). */
void sl_read(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out);
/* Zeroed, in the snapshot; NULL with r->oom set. */
void *sl_read_alloc(struct sl_reader *r, size_t n, size_t size);
/* A NUL-terminated copy in the snapshot, wiped with it where secret. */
struct sl_slice sl_read_keep(struct sl_reader *r, struct sl_slice text, bool secret);
/* For the snapshot: of the key, where there is one; of the value. */
struct sl_pos sl_read_pos(struct sl_reader *r, const struct sl_node *n);
struct sl_pos sl_read_value_pos(struct sl_reader *r, const struct sl_node *n);
/* At the value; at its key. */
void sl_read_error(struct sl_reader *r, const struct sl_node *n, const char *fmt, ...) SL_PRINTF(3, 4);
void sl_read_key_error(struct sl_reader *r, const struct sl_node *n, const char *fmt, ...) SL_PRINTF(3, 4);
void sl_read_warn(struct sl_reader *r, const struct sl_node *n, const char *fmt, ...) SL_PRINTF(3, 4);
/* "file:line:column" of the value, in the scratch arena, for naming a second place. */
const char *sl_read_place(struct sl_reader *r, const struct sl_node *n);
const char *sl_place(struct sl_reader *r, const struct sl_pos *pos);

/* ---- value.c: one value each */
void sl_read_scalar(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out);
/* The text of a string or reference; false with the error told. *secret: it came by reference. */
bool sl_read_text(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                  struct sl_slice *text, bool *secret);
/* The bytes of a file or variable that the policy names; NULL with the error told. */
const struct sl_bundle_file *sl_read_fetch(struct sl_reader *r, const struct sl_reference *ref);
/* How a value may be shown in an error: in quotes and cut short, or only what it is. */
const char *sl_read_shown(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n);
/* text, which was made of n's value, unless that came by reference. */
const char *sl_read_known(const struct sl_node *n, const char *text);
/* "expected WHAT, found …" */
void sl_read_mismatch(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n);

/* ---- scalar.c: units, without any tree. 0 or -EINVAL, -ERANGE. */
int sl_parse_duration(struct sl_slice s, uint64_t *ns);
int sl_parse_size(struct sl_slice s, uint64_t *bytes);
int sl_parse_rate(struct sl_slice s, bool bytes, struct sl_rate *out);
/* As the type of a number, duration or size. */
int sl_parse_u64(enum sl_type_kind kind, struct sl_slice s, uint64_t *out);

/* ---- syntax.c: NULL where right, else what is wrong ("holds a space") */
const char *sl_valid_token(struct sl_slice s);
const char *sl_valid_header(struct sl_slice s);
const char *sl_valid_header_value(struct sl_slice s);
const char *sl_valid_name(struct sl_slice s);
const char *sl_valid_consumer(struct sl_slice s);
const char *sl_valid_plain(struct sl_slice s);
const char *sl_valid_host(struct sl_slice s);
const char *sl_valid_path(struct sl_slice s);
const char *sl_valid_prefix(struct sl_slice s);
const char *sl_valid_interface(struct sl_slice s);
const char *sl_valid_sni(struct sl_slice s);
const char *sl_valid_method(struct sl_slice s);
const char *sl_valid_body(struct sl_slice s);

/* ---- suggest.c: did you mean */
struct sl_suggest {
    struct sl_slice word, best;
    unsigned distance; /* of best; above it nothing is near */
};
void sl_suggest_init(struct sl_suggest *s, struct sl_slice word);
void sl_suggest_try(struct sl_suggest *s, struct sl_slice candidate);
/* "; did you mean \"X\"?" or "", in the arena. */
const char *sl_suggest_text(const struct sl_suggest *s, struct sl_arena *a);

/* ---- check*.c: what takes more than one value to judge */
void sl_check_policy(struct sl_reader *r, const struct sl_node *root);
void sl_check_kernel(struct sl_reader *r, const struct sl_node *root);
void sl_check_consumers(struct sl_reader *r, const struct sl_node *root);
void sl_check_cluster(struct sl_reader *r);

/* ---- schema_remote.c: where a token provider's keys come from, once all else of it is read */
void sl_check_remote_keys(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a);
/* ---- schema_remote.c: whom to trust at a server that is asked about tokens, and which server it is */
void sl_check_introspection(struct sl_reader *r, const struct sl_node *n, struct sl_auth *a);
/* ---- schema_oauth2.c: of a route that issues tokens, once all else of it is read */
void sl_check_oauth2_route(struct sl_reader *r, const struct sl_node *n, struct sl_route *route);
/* of `tls: {ca}`, or the system's; errors told at n */
void sl_read_fetch_ca(struct sl_reader *r, const struct sl_node *n, struct sl_blob *ca);
/* ---- schema_token.c: a token for upstreams, once all else of it is read */
void sl_check_upstream_token(struct sl_reader *r, const struct sl_node *n, struct sl_upstream_auth *a);
/* ---- schema_upstream.c: without `ca`, the authorities that the loader read beside the policy */
void sl_read_system_ca(struct sl_reader *r, const struct sl_node *n, struct sl_blob *ca);

/* ---- ranges.c */
void sl_read_ranges(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                    struct sl_cidrs *out);
/* {$file: PATH} where a range may stand. */
bool sl_is_range_file(const struct sl_node *n);
/* Reads the files of allow and deny into the snapshot. */
void sl_check_range_files(struct sl_reader *r, const struct sl_node *kernel);

/* ---- pem.c */
/* The chain parses, the key is the leaf's, dates; fills c->names. */
void sl_check_certificate(struct sl_reader *r, struct sl_certificate *c);
/* As above, for a client certificate: no names. */
void sl_check_key_pair(struct sl_reader *r, const struct sl_blob *cert, const struct sl_blob *key);
void sl_check_ca(struct sl_reader *r, const struct sl_blob *ca);

#endif
