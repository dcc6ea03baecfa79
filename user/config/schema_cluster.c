/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that several hosts hold together, and penalties that they share, by way of Redis. */
#include "config/reader_priv.h"

struct sl_redis_at {
    struct sl_sockaddr address;
    uint32_t db;
};
struct sl_cluster_raw {
    struct sl_redis_at at;
    struct sl_blob password;
    uint64_t sync;
    const char *name, *host;
    bool penalties;
};

/* redis://ADDRESS:PORT, or with /DB. No host name: nobody here may wait for a resolver, or open its files. */
static bool _sl_parse_redis(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    static const struct sl_slice scheme = {"redis://", 8};
    struct sl_redis_at at = {.db = 0};
    uint64_t db = 0;
    if (!sl_slice_starts(text, scheme))
        return false;
    if (sl_slice_chr(text, '@') >= 0) { /* not shown: there may be a password in it */
        sl_read_error(r, n, "a password does not stand in the address: give it as password: {$env: NAME}");
        return true;
    }
    text = sl_slice(text.p + scheme.n, text.n - scheme.n);
    const ssize_t slash = sl_slice_chr(text, '/');
    if (slash >= 0 && text.n > (size_t)slash + 1 &&
        (sl_slice_u64(sl_slice(text.p + slash + 1, text.n - (size_t)slash - 1), &db) < 0 || db > 65535))
        return false;
    if (slash >= 0)
        text.n = (size_t)slash;
    if (sl_sockaddr_parse(text, &at.address) < 0 || at.address.sa.sa_family == AF_UNIX)
        return false;
    at.db = (uint32_t)db;
    *(struct sl_redis_at *)out = at;
    return true;
}
static const struct sl_type _sl_redis = {
    .kind = SL_T_PARSED,
    .size = sizeof(struct sl_redis_at),
    .what = "an address such as \"redis://127.0.0.1:6379\" or \"redis://[fd00::1]:6379/2\" (no host name)",
    .pattern = "^redis://.+:[0-9]+(/[0-9]*)?$",
    .parse = _sl_parse_redis};
static const struct sl_type _sl_sync = {.kind = SL_T_DURATION,
                                        .size = sizeof(uint64_t),
                                        .what = "a duration such as \"100ms\"",
                                        .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                        .min = "10ms",
                                        .max = "10s"};
static const struct sl_type _sl_cluster_name = {.kind = SL_T_TEXT,
                                                .size = sizeof(const char *),
                                                .what = "a name",
                                                .valid = sl_valid_name,
                                                .pattern = "^[A-Za-z0-9._-]{1,64}$"};
#define AT(m) offsetof(struct sl_cluster_raw, m)
static const struct sl_field _sl_cluster_fields[] = {
    {"redis", &_sl_redis, AT(at), NULL, SL_F_REQUIRED, "The Redis that the hosts meet at."},
    {"password", &sl_type_secret, AT(password), NULL, 0, "For its AUTH."},
    {"sync", &_sl_sync, AT(sync), "\"100ms\"", 0,
     "How often the hosts tell each other; so old is what each knows of the others."},
    {"name", &_sl_cluster_name, AT(name), "\"sluice\"", 0,
     "Begins the keys in Redis: hosts with one name share their limits."},
    {"penalties", &sl_type_bool, AT(penalties), "false", 0,
     "Share penalties of addresses, and operators' timed denies, with the other hosts."},
    {"host", &_sl_cluster_name, AT(host), NULL, 0,
     "What the other hosts show this one by, beside its penalties. Not written: its host name."},
    SL_FIELDS_END,
};
#undef AT

static void _sl_finish_cluster(struct sl_reader *r, const struct sl_node *n, void *raw_, void *out)
{
    const struct sl_cluster_raw *raw = raw_;
    struct sl_cluster *c = out;
    *c = (struct sl_cluster){.enabled = true,
                             .pos = sl_read_pos(r, n),
                             .redis = raw->at.address,
                             .db = raw->at.db,
                             .password = raw->password,
                             .sync = raw->sync,
                             .name = raw->name,
                             .host = raw->host,
                             .penalties = raw->penalties};
    /* Of what every host knows, and clients do not: with the password, nobody can aim at a bucket. */
    if (c->name)
        c->seed = sl_hash(c->name, strlen(c->name), sl_hash(c->password.data.p, c->password.data.n, 3));
}
const struct sl_type sl_type_cluster = {.kind = SL_T_OBJECT,
                                        .size = sizeof(struct sl_cluster),
                                        .what = "a map with redis",
                                        .fields = _sl_cluster_fields,
                                        .raw = sizeof(struct sl_cluster_raw),
                                        .finish = _sl_finish_cluster};

/* ---- who needs it */

static void _sl_check_shared(struct sl_reader *r, const struct sl_rate_limit *l)
{
    if (l->cluster && !r->s->cluster.enabled)
        sl_diag_error(
            r->diag, &l->pos,
            "this limit says policy: cluster, but there is no \"cluster\" section that names a Redis");
}

void sl_check_cluster(struct sl_reader *r)
{
    const struct sl_snapshot *s = r->s;
    if (s->cluster.penalties && s->kernel.mode == SL_KERNEL_OFF)
        sl_diag_warn(
            r->diag, &s->cluster.pos,
            "penalties are shared, but the kernel guard is off: this host gives none and takes none");
    _sl_check_shared(r, &s->limits.rate_limit);
    for (size_t i = 0; i < s->n_tiers; i++)
        _sl_check_shared(r, &s->tiers[i].rate_limit);
    for (size_t i = 0; i < s->n_consumers; i++)
        if (s->consumers[i].rate_limit)
            _sl_check_shared(r, s->consumers[i].rate_limit);
    for (size_t i = 0; i < s->n_routes; i++)
        _sl_check_shared(r, &s->routes[i].rate_limit);
}
