/* SPDX-License-Identifier: Apache-2.0 */
/* Limits, the tiers that carry them, and the consumers in those. */
#include "base/clock.h"
#include "config/reader_priv.h"

#define END                          \
    {                                \
        NULL, NULL, 0, NULL, 0, NULL \
    }

/* ---- limits */

struct sl_by {
    enum sl_limit_by by;
    const char *header;
};
struct sl_limit_raw {
    uint64_t windows[4], burst;
    struct sl_by by;
    unsigned policy, headers, status;
    const char *message;
    bool shadow;
};
struct sl_in_flight_raw {
    uint32_t max;
    struct sl_by by;
    unsigned status;
    const char *message;
    bool shadow;
};

static bool _sl_parse_by(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_by *by = out;
    (void)n;
    if (sl_slice_eq(text, SL_S("consumer")))
        by->by = SL_BY_CONSUMER;
    else if (sl_slice_eq(text, SL_S("ip")))
        by->by = SL_BY_IP;
    else if (sl_slice_eq(text, SL_S("credential")))
        by->by = SL_BY_CREDENTIAL;
    else if (sl_slice_starts(text, SL_S("header:")) && !sl_valid_token(sl_slice(text.p + 7, text.n - 7)))
        *by = (struct sl_by){SL_BY_HEADER, sl_read_keep(r, sl_slice(text.p + 7, text.n - 7), false).p};
    else
        return false;
    return true;
}
static const struct sl_type _sl_by = {.kind = SL_T_PARSED,
                                      .size = sizeof(struct sl_by),
                                      .what = "one of consumer, ip, credential, header:NAME",
                                      .pattern =
                                          "^(consumer|ip|credential|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
                                      .parse = _sl_parse_by};
static const struct sl_choice _sl_policy_choices[] = {
    {"local", false, false}, {"cluster", true, false}, {NULL, 0, false}};
static const struct sl_type _sl_policy = {.kind = SL_T_CHOICE,
                                          .size = sizeof(unsigned),
                                          .what = "one of local, cluster",
                                          .choices = _sl_policy_choices};
static const struct sl_choice _sl_headers_choices[] = {{"ietf", SL_LIMIT_HEADERS_IETF, false},
                                                       {"kong", SL_LIMIT_HEADERS_KONG, false},
                                                       {"both", SL_LIMIT_HEADERS_BOTH, false},
                                                       {"off", SL_LIMIT_HEADERS_OFF, false},
                                                       {NULL, 0, false}};
static const struct sl_type _sl_headers = {.kind = SL_T_CHOICE,
                                           .size = sizeof(unsigned),
                                           .what = "one of ietf, kong, both, off",
                                           .choices = _sl_headers_choices};
/* A bucket counts in whole ns, so a second holds at most as many requests (sl_limit, sluice/abi.h). */
static const struct sl_type _sl_requests = {.kind = SL_T_INT,
                                            .size = sizeof(uint64_t),
                                            .what = "a number of requests",
                                            .min = "1",
                                            .max = "1000000000"};
static const struct sl_type _sl_status = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a status", .min = "400", .max = "599"};
#define AT(m) offsetof(struct sl_limit_raw, m)
static const struct sl_field _sl_limit_fields[] = {
    {"second", &_sl_requests, AT(windows[0]), NULL, 0, "Requests in a second."},
    {"minute", &_sl_requests, AT(windows[1]), NULL, 0, "Requests in a minute."},
    {"hour", &_sl_requests, AT(windows[2]), NULL, 0, "Requests in an hour."},
    {"day", &_sl_requests, AT(windows[3]), NULL, 0, "Requests in a day."},
    {"burst", &_sl_requests, AT(burst), NULL, 0,
     "Requests that may come at once: the capacity of the shortest window. Not written: that window's "
     "limit."},
    {"by", &_sl_by, AT(by), "\"consumer\"", 0,
     "What is counted: requests of a consumer (its address where there is none), ip, credential or "
     "header:NAME."},
    {"policy", &_sl_policy, AT(policy), "\"local\"", 0,
     "local: each host counts for itself; cluster: the hosts of the cluster section count together."},
    {"headers", &_sl_headers, AT(headers), "\"ietf\"", 0,
     "Headers that tell the client: RateLimit of the IETF draft, X-RateLimit-* as Kong, both or off."},
    {"status", &_sl_status, AT(status), "429", 0, "Status of a refusal."},
    {"message", &sl_type_string, AT(message), "\"Rate limit exceeded\"", 0, "Detail of a refusal."},
    {"shadow", &sl_type_bool, AT(shadow), "false", 0,
     "Count what it would refuse, and refuse nothing. Clients are not told of it."},
    SL_FIELDS_END,
};
#undef AT

static void _sl_limit_windows(const struct sl_limit_raw *raw, struct sl_rate_limit *out)
{
    static const struct {
        const char *name;
        uint64_t seconds;
    } windows[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}};
    for (size_t i = 0; i < SL_ARRAY_LEN(windows); i++) {
        uint64_t limit = raw->windows[i];
        if (!limit)
            continue;
        bool shortest = out->n_windows == 0;
        out->windows[out->n_windows++] = (struct sl_window){windows[i].name, windows[i].seconds, limit,
                                                            shortest && raw->burst ? raw->burst : limit};
    }
}

static void _sl_finish_limit(struct sl_reader *r, const struct sl_node *n, void *raw_, void *out_)
{
    const struct sl_limit_raw *raw = raw_;
    struct sl_rate_limit *out = out_;
    *out = (struct sl_rate_limit){.pos = sl_read_pos(r, n),
                                  .by = raw->by.by,
                                  .by_header = raw->by.header,
                                  .headers = raw->headers,
                                  .status = raw->status,
                                  .message = raw->message,
                                  .shadow = raw->shadow,
                                  .cluster = raw->policy};
    _sl_limit_windows(raw, out);
    if (!sl_node_get(n, "second") && !sl_node_get(n, "minute") && !sl_node_get(n, "hour") &&
        !sl_node_get(n, "day"))
        sl_read_key_error(r, n, "a limit needs at least one of second, minute, hour, day");
    for (size_t i = 1; i < out->n_windows; i++)
        if (out->windows[i].limit < out->windows[i - 1].limit)
            sl_read_warn(r, sl_node_get(n, out->windows[i].name),
                         "fewer requests in a %s than in a %s: the latter limit is never reached for long",
                         out->windows[i].name, out->windows[i - 1].name);
}
const struct sl_type sl_type_rate_limit = {.kind = SL_T_OBJECT,
                                           .size = sizeof(struct sl_rate_limit),
                                           .what = "a map such as {second: 50}",
                                           .fields = _sl_limit_fields,
                                           .raw = sizeof(struct sl_limit_raw),
                                           .finish = _sl_finish_limit};

/* ---- requests at once */

static const struct sl_type _sl_at_once = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number of requests", .min = "1", .max = "65535"};
#define AT(m) offsetof(struct sl_in_flight_raw, m)
static const struct sl_field _sl_in_flight_fields[] = {
    {"max", &_sl_at_once, AT(max), NULL, SL_F_REQUIRED, "Requests under way at once, over all workers."},
    {"by", &_sl_by, AT(by), "\"consumer\"", 0, "Whose requests are counted together, as of a rate_limit."},
    {"status", &_sl_status, AT(status), "429", 0, "Status of a refusal."},
    {"message", &sl_type_string, AT(message), "\"Too many requests at once\"", 0, "Detail of a refusal."},
    {"shadow", &sl_type_bool, AT(shadow), "false", 0, "Count what it would refuse, and refuse nothing."},
    SL_FIELDS_END,
};
#undef AT
static void _sl_finish_in_flight(struct sl_reader *r, const struct sl_node *n, void *raw_, void *out)
{
    const struct sl_in_flight_raw *raw = raw_;
    *(struct sl_in_flight *)out = (struct sl_in_flight){.pos = sl_read_pos(r, n),
                                                        .max = raw->max,
                                                        .by = raw->by.by,
                                                        .by_header = raw->by.header,
                                                        .status = raw->status,
                                                        .message = raw->message,
                                                        .shadow = raw->shadow};
}
const struct sl_type sl_type_in_flight = {.kind = SL_T_OBJECT,
                                          .size = sizeof(struct sl_in_flight),
                                          .what = "a map such as {max: 50}",
                                          .fields = _sl_in_flight_fields,
                                          .raw = sizeof(struct sl_in_flight_raw),
                                          .finish = _sl_finish_in_flight};

/* ---- of all routes */

static const struct sl_choice _sl_full_choices[] = {
    {"allow", SL_TABLE_FULL_ALLOW, false}, {"refuse", SL_TABLE_FULL_REFUSE, false}, {NULL, 0, false}};
static const struct sl_type _sl_full = {.kind = SL_T_CHOICE,
                                        .size = sizeof(enum sl_table_full),
                                        .what = "one of allow, refuse",
                                        .choices = _sl_full_choices};
#define AT(m) offsetof(struct sl_limits, m)
static const struct sl_field _sl_limits_fields[] = {
    {"rate_limit", &sl_type_rate_limit, AT(rate_limit), NULL, 0,
     "Holds on every route, beside the route's own and the tier's."},
    {"in_flight", &sl_type_in_flight, AT(in_flight), NULL, 0,
     "Requests at once on all routes, beside the route's own and the tier's."},
    {"table_full", &_sl_full, AT(table_full), "\"allow\"", 0,
     "What becomes of a request that there is no room to count (kernel.table_size): allow, or refuse with "
     "503."},
    SL_FIELDS_END,
};
#undef AT
const struct sl_type sl_type_limits = {.kind = SL_T_OBJECT,
                                       .size = sizeof(struct sl_limits),
                                       .what = "a map of rate_limit, in_flight, table_full",
                                       .fields = _sl_limits_fields};

/* ---- bandwidth */

#define AT(m) offsetof(struct sl_bandwidth, m)
static const struct sl_field _sl_bandwidth_fields[] = {
    {"in", &sl_type_byte_rate, AT(in), NULL, 0, "What a consumer may send, over all its connections."},
    {"out", &sl_type_byte_rate, AT(out), NULL, 0, "What is sent to a consumer, over all its connections."},
    SL_FIELDS_END,
};
#undef AT
/* Slower than a buffer a second, timeouts would cut what merely waits for its turn. */
#define SL_MIN_BANDWIDTH 16384
static void _sl_check_bandwidth(struct sl_reader *r, const struct sl_node *n, const struct sl_rate *rate)
{
    if (n && rate->per_ns && rate->count / (rate->per_ns / SL_NS_PER_SEC) < SL_MIN_BANDWIDTH)
        sl_read_error(r, n, "is below 16KiB/s, the least that can be enforced without breaking connections");
}
static void _sl_finish_bandwidth(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_bandwidth *b = out;
    (void)raw;
    _sl_check_bandwidth(r, sl_node_get(n, "in"), &b->in);
    _sl_check_bandwidth(r, sl_node_get(n, "out"), &b->out);
    if (!sl_node_get(n, "in") && !sl_node_get(n, "out"))
        sl_read_key_error(r, n, "a bandwidth needs in, out or both");
}
static const struct sl_type _sl_bandwidth = {.kind = SL_T_OBJECT,
                                             .size = sizeof(struct sl_bandwidth),
                                             .what = "a map such as {out: 50MiB/s}",
                                             .fields = _sl_bandwidth_fields,
                                             .finish = _sl_finish_bandwidth};

/* ---- tiers */

struct sl_tier_kernel {
    uint32_t headroom;
    struct sl_escalate escalate;
};
static const struct sl_type _sl_rejections = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1", .max = "1000000"};
#define AT(m) offsetof(struct sl_escalate, m)
static const struct sl_field _sl_escalate_fields[] = {
    {"rejections", &_sl_rejections, AT(rejections), NULL, SL_F_REQUIRED,
     "So many refusals by a limit make a penalty."},
    {"within", &sl_type_duration, AT(within), NULL, SL_F_REQUIRED, "Within this time."},
    {"penalty", &sl_type_duration, AT(penalty), NULL, SL_F_REQUIRED,
     "How long the first penalty lasts; each next one twice as long."},
    {"max_penalty", &sl_type_duration, AT(max_penalty), "\"1h\"", 0, "No penalty lasts longer."},
    SL_FIELDS_END,
};
#undef AT
static void _sl_finish_escalate(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_escalate *e = out;
    const struct sl_node *max = sl_node_get(n, "max_penalty");
    (void)raw;
    e->enabled = true;
    if (!max && e->max_penalty < e->penalty)
        e->max_penalty = e->penalty;
    if (max && e->max_penalty && e->max_penalty < e->penalty)
        sl_read_error(r, max, "max_penalty is below penalty: the first one would be over it");
}
static const struct sl_type _sl_escalate = {.kind = SL_T_OBJECT,
                                            .size = sizeof(struct sl_escalate),
                                            .what = "a map of rejections, within, penalty",
                                            .fields = _sl_escalate_fields,
                                            .finish = _sl_finish_escalate};
static const struct sl_type _sl_headroom = {
    .kind = SL_T_INT,
    .size = sizeof(uint32_t),
    .what = "a whole number, at least 1 (the kernel's ceiling is never under the proxy's limit)",
    .min = "1",
    .max = "1000"};
static const struct sl_field _sl_tier_kernel_fields[] = {
    {"headroom", &_sl_headroom, offsetof(struct sl_tier_kernel, headroom), "2", 0,
     "The kernel holds new connections from the sources of a consumer to so many times its limit."},
    {"escalate", &_sl_escalate, offsetof(struct sl_tier_kernel, escalate), NULL, 0,
     "Penalties in the kernel for who keeps asking over the limit. Not written: none."},
    SL_FIELDS_END,
};
static void _sl_finish_tier_kernel(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_tier_kernel *k = raw;
    struct sl_tier *t = SL_CONTAINER_OF(out, struct sl_tier, headroom);
    (void)r, (void)n;
    t->headroom = k->headroom;
    t->escalate = k->escalate;
}
static const struct sl_type _sl_tier_kernel = {.kind = SL_T_OBJECT,
                                               .what = "a map of headroom, escalate",
                                               .fields = _sl_tier_kernel_fields,
                                               .raw = sizeof(struct sl_tier_kernel),
                                               .finish = _sl_finish_tier_kernel};
static const struct sl_field _sl_tier_fields[] = {
    {"rate_limit", &sl_type_rate_limit, offsetof(struct sl_tier, rate_limit), NULL, 0,
     "What each of its consumers may do. Not written: no limit."},
    {"in_flight", &sl_type_in_flight, offsetof(struct sl_tier, in_flight), NULL, 0,
     "Requests at once of each of its consumers. Not written: no limit."},
    {"bandwidth", &_sl_bandwidth, offsetof(struct sl_tier, bandwidth), NULL, 0,
     "Bytes a second of each of its consumers (of an address where there is none). Not written: no limit."},
    {"kernel", &_sl_tier_kernel, offsetof(struct sl_tier, headroom), NULL, 0,
     "What of it the kernel enforces. Not written: nothing."},
    SL_FIELDS_END,
};
static void _sl_finish_tier(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_node *kernel = sl_node_get(n, "kernel");
    (void)raw, (void)out;
    if (kernel && !sl_node_get(n, "rate_limit"))
        sl_read_key_error(r, kernel, "this tier has no rate_limit that the kernel could enforce");
}
static const char *_sl_valid_tier_name(struct sl_slice s)
{
    return sl_slice_eq(s, SL_S("default")) ? "is the built-in tier without limits: choose another"
                                           : sl_valid_name(s);
}
static const struct sl_type _sl_tier_name = {
    .kind = SL_T_TEXT, .what = "name", .valid = _sl_valid_tier_name, .pattern = "^[A-Za-z0-9._-]{1,64}$"};
static const struct sl_type _sl_tier = {.kind = SL_T_OBJECT,
                                        .size = sizeof(struct sl_tier),
                                        .what = "a map with rate_limit",
                                        .fields = _sl_tier_fields,
                                        .finish = _sl_finish_tier};
const struct sl_type sl_type_tiers = {.kind = SL_T_NAMED,
                                      .size = sizeof(struct sl_strings),
                                      .what = "a map of tiers by name",
                                      .key = &_sl_tier_name,
                                      .item = &_sl_tier,
                                      .names = SL_NAMES_TIER,
                                      .extra = 1};

/* ---- consumers */

static int _sl_hex(char c)
{
    c = sl_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool _sl_parse_key_hash(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    char raw[32];
    (void)n;
    if (sl_slice_starts(text, SL_S("sha256:")))
        text = sl_slice(text.p + 7, text.n - 7);
    if (text.n != 64)
        return false;
    for (size_t i = 0; i < 32; i++) {
        int high = _sl_hex(text.p[2 * i]), low = _sl_hex(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        raw[i] = (char)(high << 4 | low);
    }
    *(struct sl_slice *)out = sl_read_keep(r, sl_slice(raw, 32), true);
    return true;
}
const struct sl_type sl_type_key_hash = {
    .kind = SL_T_PARSED,
    .size = sizeof(struct sl_slice),
    .what = "the SHA-256 of a key: 64 hexadecimal digits, as from `printf %s KEY | sha256sum`",
    .pattern = "^(sha256:)?[0-9A-Fa-f]{64}$",
    .secret = true,
    .also_number = true,
    .parse = _sl_parse_key_hash};
static const struct sl_type _sl_key_hashes = {.kind = SL_T_LIST,
                                              .size = sizeof(struct sl_strings),
                                              .what = "a list of hashed keys",
                                              .item = &sl_type_key_hash};
static const struct sl_type _sl_tier_ref = {.kind = SL_T_REF,
                                            .size = sizeof(void *),
                                            .what = "the name of a tier",
                                            .names = SL_NAMES_TIER,
                                            .one = "tier"};
#define AT(m) offsetof(struct sl_consumer, m)
static const struct sl_field _sl_consumer_fields[] = {
    {"tier", &_sl_tier_ref, AT(tier), NULL, 0,
     "Its tier. Not written: anonymous, or no limits where that is not written."},
    {"sources", &sl_type_cidrs, AT(sources), NULL, 0,
     "Addresses that are its alone; the kernel knows it by them."},
    {"groups", &sl_type_strings, AT(groups), NULL, 0, "Groups that routes may require."},
    {"keys", &_sl_key_hashes, AT(key_hashes), NULL, 0, "SHA-256 of each of its API keys, in hexadecimal."},
    {"rate_limit", &sl_type_rate_limit, AT(rate_limit), NULL, SL_F_APART,
     "Its own limit, instead of its tier's."},
    {"in_flight", &sl_type_in_flight, AT(in_flight), NULL, SL_F_APART, "Likewise for requests at once."},
    {"basic", &sl_type_users, AT(users), NULL, 0,
     "Its users and their hashed passwords, as {NAME: \"$2b$12$…\"} of crypt(5)."},
    {"oauth2", &sl_type_oauth2_clients, AT(oauth2), NULL, 0,
     "Clients that get access tokens for it at a route with oauth2."},
    {"bandwidth", &_sl_bandwidth, AT(bandwidth), NULL, SL_F_APART,
     "Its own bandwidth, instead of its tier's."},
    SL_FIELDS_END,
};
#undef AT
static const struct sl_type _sl_consumer_name = {
    .kind = SL_T_TEXT, .what = "name", .valid = sl_valid_consumer, .pattern = "^.{1,256}$"};
static const struct sl_type _sl_consumer = {.kind = SL_T_OBJECT,
                                            .size = sizeof(struct sl_consumer),
                                            .what = "a map with tier",
                                            .fields = _sl_consumer_fields};
const struct sl_type sl_type_consumers = {.kind = SL_T_NAMED,
                                          .size = sizeof(struct sl_strings),
                                          .what = "a map of consumers by name",
                                          .names = SL_NAMES_CONSUMER,
                                          .key = &_sl_consumer_name,
                                          .item = &_sl_consumer};
