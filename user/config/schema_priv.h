/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy language as one table: keys, types, ranges, defaults and what they mean. The reader fills the
 * snapshot by it, the loader finds the files that it names by it, and policies/schema.json is printed of it,
 * so each key is written once.
 */
#ifndef SL_CONFIG_SCHEMA_PRIV_H
#define SL_CONFIG_SCHEMA_PRIV_H

#include "config/bundle_priv.h"

enum sl_type_kind {
    SL_T_BOOL,      /* bool */
    SL_T_INT,       /* unsigned, of the type's size */
    SL_T_REAL,      /* double */
    SL_T_TEXT,      /* const char * or struct sl_slice, by the type's size */
    SL_T_CHOICE,    /* unsigned: one of a list of words */
    SL_T_DURATION,  /* uint64_t, ns */
    SL_T_SIZE,      /* unsigned, of the type's size, bytes */
    SL_T_RATE,      /* struct sl_rate */
    SL_T_BYTE_RATE, /* struct sl_rate */
    SL_T_FILE,      /* struct sl_blob: a path in the policy, the file's bytes in the snapshot */
    SL_T_SECRET,    /* struct sl_blob: the text itself, never shown */
    SL_T_JSON,      /* struct sl_blob: any map, as JSON text */
    SL_T_PARSED,    /* a string read by the type's parse() */
    SL_T_REF,       /* a pointer to a thing named elsewhere in the policy */
    SL_T_LIST,      /* pointer and size_t */
    SL_T_RANGES,    /* struct sl_cidrs; {$file} is a file of them, read by the checks */
    SL_T_NAMED,     /* the same, of structs that begin with name and pos */
    SL_T_PAIRS,     /* struct sl_name_values */
    SL_T_OBJECT,    /* known keys */
    SL_T_VARIANT,   /* known keys, which depend on the value of one of them */
};

struct sl_choice {
    const char *name;
    unsigned value;
    bool not_built; /* of the language, refused by this version */
};

struct sl_reader;
struct sl_type {
    enum sl_type_kind kind;
    unsigned names;        /* SL_T_NAMED, SL_T_REF: enum sl_names */
    size_t size;           /* of what it writes */
    const char *what;      /* "a duration such as \"5s\"": what would be right */
    const char *pattern;   /* for the schema (ECMA-262) */
    const char *schema;    /* for the schema, where nothing else tells it: members of a JSON object */
    const char *min, *max; /* written as values of the type */
    const struct sl_choice *choices; /* SL_T_CHOICE; SL_T_TEXT: the words that are allowed; ends with NULL */
    const struct sl_type *item;      /* of a list, of named things, values of pairs */
    const struct sl_type *key;       /* names of named things and of pairs */
    const struct sl_field *fields;   /* ends with key NULL */
    const char *variant;             /* SL_T_VARIANT: the key that decides */
    const struct sl_variant *variants;
    const char *one;  /* "tier": what SL_T_REF names */
    const char *word; /* SL_T_REF: a word that may stand instead of a name; *out is sl_ref_word then */
    size_t extra;     /* SL_T_NAMED: room for so many more behind the last */
    size_t raw;       /* an object is read into zeroed bytes of this size, for finish() to convert */
    /* SL_T_TEXT, and keys: NULL where right, else what is wrong. */
    const char *(*valid)(struct sl_slice text);
    /* SL_T_PARSED: false: it is not what `what` says. True as well where it told a better error. */
    bool (*parse)(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out);
    void (*finish)(struct sl_reader *r, const struct sl_node *n, void *raw, void *out);
    bool secret;      /* the value never stands in a diagnostic */
    bool also_number; /* SL_T_PARSED: a number will do as well */
    bool lower;       /* SL_T_TEXT: stored in lower case */
    bool some;        /* a list or map must not be empty */
    bool unique;      /* a list of texts holds none twice */
};

/* APART: the struct has a pointer to it, NULL where it is not written. */
enum sl_field_flags { SL_F_REQUIRED = 1, SL_F_NOT_BUILT = 2, SL_F_APART = 4 };
struct sl_field {
    const char *key;
    const struct sl_type *type;
    size_t at;         /* offset in the object */
    const char *value; /* the default, as JSON; NULL: none, the bytes stay zero */
    unsigned flags;
    const char *doc;
};
#define SL_FIELDS_END                \
    {                                \
        NULL, NULL, 0, NULL, 0, NULL \
    }
struct sl_variant {
    const char *name;
    const struct sl_field *fields; /* NULL: not built in this version */
};

/* schema.c: types that many keys share. */
extern const struct sl_type sl_type_policy;
extern const struct sl_type sl_type_bool, sl_type_string, sl_type_strings, sl_type_name;
extern const struct sl_type sl_type_duration, sl_type_duration_or_none;
extern const struct sl_type sl_type_cidr, sl_type_ranges; /* ranges.c: the second */
extern const struct sl_type sl_type_cidrs, sl_type_token, sl_type_header, sl_type_header_values;
extern const struct sl_type sl_type_file, sl_type_secret;
/* The sections, by the files that hold them. */
extern const struct sl_type sl_type_access_log; /* schema_log.c */
extern const struct sl_type sl_type_byte_rate;  /* schema_listener.c */
extern const struct sl_type sl_type_listeners, sl_type_admin, sl_type_kernel, sl_type_correlation,
    sl_type_observe;                              /* schema_listener.c */
extern const struct sl_type sl_type_listener_tls; /* schema_tls.c */
extern const struct sl_type sl_type_auths, sl_type_tiers, sl_type_consumers, sl_type_rate_limit,
    sl_type_in_flight, sl_type_limits, sl_type_cluster; /* schema_auth.c */
extern const struct sl_type sl_type_users;              /* schema_basic.c */
extern const struct sl_type sl_type_signers, sl_type_signer_ref, sl_type_upstream_auth,
    sl_type_upstream_auth_type, sl_type_token_header; /* schema_sign.c */
/* schema_token.c */
extern const struct sl_field sl_client_credentials_fields[], sl_token_exchange_fields[];
extern const struct sl_type sl_type_https, sl_type_redirects, sl_type_refresh, sl_type_stale,
    sl_type_fetch_timeout, sl_type_fetch_tls;                       /* schema_remote.c */
extern const struct sl_type sl_type_targets, sl_type_dns;           /* schema_target.c */
extern const struct sl_type sl_type_upstreams, sl_type_retries;     /* schema_upstream.c */
extern const struct sl_type sl_type_upgrade;                        /* schema_protocol.c */
extern const struct sl_type sl_type_respond, sl_type_redirect;      /* schema_action.c */
extern const struct sl_type sl_type_key_hash;                       /* schema_consumer.c */
extern const struct sl_type sl_type_oauth2, sl_type_oauth2_clients; /* schema_oauth2.c */
extern const struct sl_type sl_type_routes;                         /* schema_route.c */
/* schema_protocol.c */
extern const struct sl_type sl_type_upstream_protocol;
void sl_check_targets(struct sl_reader *r, const struct sl_node *n, const struct sl_upstream *u);
void sl_check_upstream_protocol(struct sl_reader *r, const struct sl_node *n, const struct sl_upstream *u);
/* What SL_T_REF reads where its type's word stands. */
extern const char sl_ref_word[];

/* Calls found() for every string of the tree that is a path by the table, and for every {$file} and {$env}.
 */
struct sl_reference {
    const struct sl_node *node; /* of the name */
    bool env;
    bool list; /* a file of ranges */
    struct sl_slice name;
};
typedef int (*sl_reference_fn)(void *ctx, const struct sl_reference *ref);
int sl_schema_references(const struct sl_node *root, sl_reference_fn found, void *ctx) SL_MUST_CHECK;
/* The type of a map's or list's child; NULL where the table knows none: references are looked for all the
 * same. */
const struct sl_type *sl_schema_child(const struct sl_type *type, const struct sl_node *n,
                                      const struct sl_node *child);
/* Whether the value stands for bytes elsewhere, which *ref names: a path by the table, {$file} or {$env}. */
bool sl_schema_names_bytes(const struct sl_type *type, const struct sl_node *n, struct sl_reference *ref);
/* Whether an upstream asks for TLS and names no authorities: the loader then reads the system's, as a file
 * named X509_get_default_cert_file() whatever SSL_CERT_FILE says. */
bool sl_schema_system_ca(const struct sl_node *root);
/* schema_remote.c: a server that policy's node n goes to, told from others by what is asked of it. */
uint64_t sl_schema_source(struct sl_reader *r, const char *name, const char *url, const char *how);
/* Whether n is a map with that type. */
bool sl_schema_type_is(const struct sl_node *n, const char *type);
/* Whether a provider of identity fetches its keys; whether one of them does and trusts the system's
 * authorities; whether names are asked for at all, so that the loader brings resolv.conf and hosts. */
bool sl_schema_fetches(const struct sl_node *auth);
bool sl_schema_auth_system_ca(const struct sl_node *root);
bool sl_schema_asks_names(const struct sl_node *root);
/* schema_target.c: whether an upstream has a target by DNS. */
bool sl_schema_names_targets(const struct sl_node *root);
/* {$file: PATH} or {$env: NAME}: true with *ref. A map that has one of these keys, but more or no string, is
 * not one: *broken then. */
bool sl_node_reference(const struct sl_node *n, struct sl_reference *ref, bool *broken);

#endif
