/* SPDX-License-Identifier: Apache-2.0 */
/* The table's top, and the types that many keys share. */
#include "config/reader_priv.h"

#include <errno.h>

/* ---- shared types */

const struct sl_type sl_type_bool = {.kind = SL_T_BOOL, .size = sizeof(bool), .what = "true or false"};
const struct sl_type sl_type_string = {
    .kind = SL_T_TEXT, .size = sizeof(const char *), .what = "a string", .valid = sl_valid_plain};
static const struct sl_type _sl_slice = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a string", .valid = sl_valid_plain};
const struct sl_type sl_type_strings = {.kind = SL_T_LIST,
                                        .size = sizeof(struct sl_strings),
                                        .what = "a list of strings",
                                        .item = &_sl_slice,
                                        .some = true,
                                        .unique = true};
const struct sl_type sl_type_name = {
    .kind = SL_T_TEXT, .what = "name", .valid = sl_valid_name, .pattern = "^[A-Za-z0-9._-]{1,64}$"};

#define SL_WHAT_DURATION    "a duration such as \"500ms\", \"5s\", \"2m\", \"1h\" or \"1d\""
#define SL_PATTERN_DURATION "^[0-9]+(ms|s|m|h|d)$"
const struct sl_type sl_type_duration = {.kind = SL_T_DURATION,
                                         .size = sizeof(uint64_t),
                                         .what = SL_WHAT_DURATION,
                                         .pattern = SL_PATTERN_DURATION,
                                         .min = "1ms",
                                         .max = "1d"};
const struct sl_type sl_type_duration_or_none = {.kind = SL_T_DURATION,
                                                 .size = sizeof(uint64_t),
                                                 .what = SL_WHAT_DURATION,
                                                 .pattern = SL_PATTERN_DURATION,
                                                 .max = "1d"};

const struct sl_type sl_type_token = {.kind = SL_T_TEXT,
                                      .size = sizeof(const char *),
                                      .what = "a header name",
                                      .valid = sl_valid_header,
                                      .pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"};
const struct sl_type sl_type_header = {.kind = SL_T_TEXT,
                                       .size = sizeof(struct sl_slice),
                                       .what = "header name",
                                       .valid = sl_valid_header,
                                       .pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"};
static const struct sl_type _sl_header_value = {
    .kind = SL_T_TEXT, .size = sizeof(struct sl_slice), .what = "a string", .valid = sl_valid_header_value};
const struct sl_type sl_type_header_values = {.kind = SL_T_PAIRS,
                                              .size = sizeof(struct sl_name_values),
                                              .what = "a map of header names to values",
                                              .key = &sl_type_header,
                                              .item = &_sl_header_value};
const struct sl_type sl_type_file = {
    .kind = SL_T_FILE, .size = sizeof(struct sl_blob), .what = "the path of a file"};
const struct sl_type sl_type_secret = {.kind = SL_T_SECRET,
                                       .size = sizeof(struct sl_blob),
                                       .what = "a secret: {$file: PATH} or {$env: NAME}",
                                       .secret = true};

static bool _sl_parse_cidr(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_cidr cidr;
    ssize_t at = sl_slice_chr(text, '/');
    uint64_t len;
    char right[SL_IP_STRLEN];
    int rc = sl_cidr_parse(text, &cidr);
    if (rc == 0)
        *(struct sl_cidr *)out = cidr;
    if (rc != -EDOM || at < 0 || sl_ip_parse(sl_slice(text.p, (size_t)at), &cidr.ip) < 0 ||
        sl_slice_u64(sl_slice(text.p + at + 1, text.n - (size_t)at - 1), &len) < 0)
        return rc == 0;
    cidr.len = (uint8_t)len;
    cidr.ip = sl_ip_mask(cidr.ip, cidr.len);
    if (n->kind == SL_NODE_STRING)
        sl_read_error(
            r, n,
            "\"" SL_SFMT
            "\" has bits set behind its prefix: \"%s\" is the range, without \"/%u\" it is one address",
            SL_SARG(text), sl_cidr_text(&cidr, right), cidr.len);
    else
        sl_read_error(r, n, "this range has bits set behind its prefix");
    return true;
}
const struct sl_type sl_type_cidr = {.kind = SL_T_PARSED,
                                     .size = sizeof(struct sl_cidr),
                                     .what =
                                         "an address or range such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
                                     .parse = _sl_parse_cidr};
const struct sl_type sl_type_cidrs = {.kind = SL_T_LIST,
                                      .size = sizeof(struct sl_cidrs),
                                      .what = "a list of addresses or ranges",
                                      .item = &sl_type_cidr};

/* ---- the top */

static const struct sl_type _sl_version = {
    .kind = SL_T_INT, .size = sizeof(uint64_t), .what = "the number 1", .min = "1", .max = "1"};
static const struct sl_type _sl_include = {.kind = SL_T_LIST,
                                           .size = sizeof(struct sl_strings),
                                           .what = "a list of paths or patterns",
                                           .item = &_sl_slice};

#define SL_WORKERS_MAX 256
static bool _sl_parse_workers(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    uint64_t v = 0;
    unsigned cpus = r->bundle->cpus;
    if (n->kind == SL_NODE_STRING && sl_slice_eq(text, SL_S("auto")))
        v = SL_MIN(cpus, (unsigned)SL_WORKERS_MAX);
    else if (n->kind != SL_NODE_NUMBER || sl_slice_u64(text, &v) < 0 || v == 0 || v > SL_WORKERS_MAX)
        return false;
    *(unsigned *)out = (unsigned)v;
    return true;
}
static const struct sl_type _sl_workers = {
    .kind = SL_T_PARSED,
    .size = sizeof(unsigned),
    .what = "\"auto\" or a number from 1 to 256",
    .also_number = true,
    .parse = _sl_parse_workers,
    .schema = "\"anyOf\":[{\"const\":\"auto\"},{\"type\":\"integer\",\"minimum\":1,\"maximum\":256}]"};

static const struct sl_type _sl_worker_memory = {.kind = SL_T_SIZE,
                                                 .size = sizeof(uint64_t),
                                                 .what = "a size such as \"512MiB\" or \"2GiB\"",
                                                 .pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)$",
                                                 .max = "1024TiB"};

static const char *_sl_valid_user(struct sl_slice s)
{
    const char *wrong = sl_valid_name(s);
    if (!wrong && sl_slice_eq(s, SL_S("root")))
        return "would leave the workers their privileges: name another user";
    return wrong;
}
static const struct sl_type _sl_user = {.kind = SL_T_TEXT,
                                        .size = sizeof(const char *),
                                        .what = "the name of a user",
                                        .valid = _sl_valid_user,
                                        .pattern = "^[A-Za-z0-9._-]{1,64}$"};
static const struct sl_choice _sl_errors_choices[] = {{"problem+json", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_errors = {
    .kind = SL_T_CHOICE, .size = sizeof(unsigned), .what = "\"problem+json\"", .choices = _sl_errors_choices};

/* The snapshot, and what has no place in it. Fields are read in this order: names before those who use them.
 */
struct sl_policy_raw {
    struct sl_snapshot s;
    uint64_t version;
    struct sl_strings include;
    unsigned errors;
};
#define AT(m) offsetof(struct sl_policy_raw, m)
static const struct sl_field _sl_policy_fields[] = {
    {"version", &_sl_version, AT(version), NULL, SL_F_REQUIRED, "Version of the policy language: 1."},
    {"include", &_sl_include, AT(include), NULL, 0,
     "More policy files, as paths or glob patterns, relative to the file that names them; merged in name "
     "order."},
    {"workers", &_sl_workers, AT(s.workers), "\"auto\"", 0, "Worker processes; auto: one per core."},
    {"drain_timeout", &sl_type_duration, AT(s.drain_timeout), "\"10s\"", 0,
     "How long requests under way may take to end when sluiced stops or is upgraded; then they are cut."},
    {"worker_memory", &_sl_worker_memory, AT(s.worker_memory), "\"0B\"", 0,
     "What a worker may use for connections and requests: near it idle connections are closed, then new ones "
     "refused. 0B: no limit."},
    {"user", &_sl_user, AT(s.user), NULL, 0,
     "User that controller and workers become. Not written: sluice where it exists, else nobody with a "
     "warning."},
    {"trusted_proxies", &sl_type_cidrs, AT(s.trusted_proxies), NULL, 0,
     "Only these addresses are believed when they say whom they speak for (X-Forwarded-For, Forwarded)."},
    {"listeners", &sl_type_listeners, AT(s.listeners), NULL, SL_F_REQUIRED,
     "Addresses that the gateway serves, by name."},
    {"admin", &sl_type_admin, AT(s.admin), "{}", 0, "The admin API."},
    {"kernel", &sl_type_kernel, AT(s.kernel), NULL, 0,
     "The guard in the kernel. Not written: off, and no privileges are needed."},
    {"signers", &sl_type_signers, AT(s.signers), NULL, 0,
     "Keys that the gateway itself signs tokens by, by name."},
    {"auth", &sl_type_auths, AT(s.auths), NULL, 0, "Ways to tell who is calling, by name."},
    {"limits", &sl_type_limits, AT(s.limits), "{}", 0,
     "What holds on all routes, and what becomes of what cannot be counted."},
    {"tiers", &sl_type_tiers, AT(s.tiers), "{}", 0,
     "Classes of consumers, by name; anonymous is that of requests without a consumer."},
    {"upstreams", &sl_type_upstreams, AT(s.upstreams), NULL, 0, "Services behind the gateway, by name."},
    {"consumers", &sl_type_consumers, AT(s.consumers), NULL, 0, "Who may call, by name."},
    {"cluster", &sl_type_cluster, AT(s.cluster), NULL, 0,
     "Other hosts that limits with policy: cluster, and penalties, are shared with."},
    {"routes", &sl_type_routes, AT(s.routes), NULL, SL_F_REQUIRED, "Which requests go where, by name."},
    {"correlation_id", &sl_type_correlation, AT(s.correlation_id), "{}", 0,
     "The header that names a request on its way through services."},
    {"errors", &_sl_errors, AT(errors), "\"problem+json\"", 0,
     "Form of the gateway's own errors (RFC 9457)."},
    {"observe", &sl_type_observe, AT(s), "{}", 0, "Metrics and logs."},
    SL_FIELDS_END,
};
#undef AT

static void _sl_finish_policy(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_snapshot *s = out, *from = &((struct sl_policy_raw *)raw)->s;
    from->arena = s->arena; /* what stood in s when reading began, and what the arena became by it */
    from->version = s->version;
    atomic_init(&from->refs, 1);
    memcpy(s, from, sizeof(*s));
    if (!sl_node_get(n, "kernel"))
        s->kernel = (struct sl_kernel){.mode = SL_KERNEL_OFF, .table_size = SL_TABLE_SIZE_DEFAULT};
    if (s->tiers) {
        struct sl_tier *tier = &s->tiers[s->n_tiers++];
        *tier = (struct sl_tier){.name = "default", .pos = {.file = "", .pointer = ""}};
        s->anonymous = sl_map_get(&r->names[SL_NAMES_TIER], SL_S("anonymous"));
        if (!s->anonymous)
            s->anonymous = tier;
    }
    for (size_t i = 0; i < s->n_consumers; i++)
        if (!s->consumers[i].tier)
            s->consumers[i].tier = s->anonymous;
}

const struct sl_type sl_type_policy = {.kind = SL_T_OBJECT,
                                       .size = sizeof(struct sl_snapshot),
                                       .what = "a policy",
                                       .fields = _sl_policy_fields,
                                       .raw = sizeof(struct sl_policy_raw),
                                       .finish = _sl_finish_policy};

/* ---- files that the tree names */

struct sl_walk {
    sl_reference_fn found;
    void *ctx;
};

static const struct sl_type *_sl_field_type(const struct sl_field *fields, struct sl_slice key)
{
    for (; fields && fields->key; fields++)
        if (sl_slice_eq(key, sl_slice_str(fields->key)))
            return fields->type;
    return NULL;
}

const struct sl_type *sl_schema_child(const struct sl_type *type, const struct sl_node *n,
                                      const struct sl_node *child)
{
    if (!type)
        return NULL;
    if (type->kind == SL_T_RANGES)
        return type; /* its items may be files as well */
    if (type->kind == SL_T_OBJECT)
        return _sl_field_type(type->fields, child->key);
    if (type->kind != SL_T_VARIANT)
        return type->item;
    const struct sl_node *which = sl_node_get(n, type->variant);
    for (const struct sl_variant *v = type->variants; which && v->name; v++)
        if (sl_slice_eq(which->text, sl_slice_str(v->name)))
            return _sl_field_type(v->fields, child->key);
    return NULL;
}

bool sl_schema_names_bytes(const struct sl_type *type, const struct sl_node *n, struct sl_reference *ref)
{
    bool broken;
    *ref = (struct sl_reference){.node = n, .name = n->text};
    if (type && type->kind == SL_T_JSON)
        return false;
    if (type && type->kind == SL_T_FILE && n->kind == SL_NODE_STRING)
        return !sl_slice_starts(n->text, SL_S("-----BEGIN "));
    if (!sl_node_reference(n, ref, &broken))
        return false;
    ref->list = type && type->kind == SL_T_RANGES && !ref->env;
    return true;
}

static int _sl_walk(const struct sl_walk *w, const struct sl_type *type, const struct sl_node *n)
{
    struct sl_reference ref;
    int r = 0;
    if (sl_schema_names_bytes(type, n, &ref))
        return w->found(w->ctx, &ref);
    for (const struct sl_node *c = type && type->kind == SL_T_JSON ? NULL : n->first; r == 0 && c;
         c = c->next)
        r = _sl_walk(w, sl_schema_child(type, n, c), c);
    return r;
}

int sl_schema_references(const struct sl_node *root, sl_reference_fn found, void *ctx)
{
    struct sl_walk w = {found, ctx};
    return _sl_walk(&w, &sl_type_policy, root);
}
