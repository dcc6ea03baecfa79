/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, the admin API, the kernel guard, and what is observed. */
#include "config/reader_priv.h"

#define REL(s, base, m) (offsetof(struct s, base.m) - offsetof(struct s, base))

/* ---- addresses */

static bool _sl_parse_tcp(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_sockaddr sa;
    (void)r, (void)n;
    if (sl_sockaddr_parse(text, &sa) < 0 || sa.sa.sa_family == AF_UNIX)
        return false;
    *(struct sl_sockaddr *)out = sa;
    return true;
}
static const struct sl_type _sl_tcp = {.kind = SL_T_PARSED,
                                       .size = sizeof(struct sl_sockaddr),
                                       .what = "an address and port such as \"0.0.0.0:443\" or \"[::]:443\"",
                                       .parse = _sl_parse_tcp};
static const struct sl_type _sl_tcps = {.kind = SL_T_LIST,
                                        .size = sizeof(struct sl_strings),
                                        .what = "a list of addresses such as [\"0.0.0.0:443\"]",
                                        .item = &_sl_tcp,
                                        .some = true};

static bool _sl_parse_admin(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_sockaddr sa;
    if (sl_sockaddr_parse(text, &sa) < 0)
        return false;
    if (sa.sa.sa_family == AF_UNIX && sa.un.sun_path[0] != '/')
        sl_read_error(r, n,
                      "the path of an admin socket must be absolute, as in \"unix:/run/sluice/admin.sock\"");
    *(struct sl_sockaddr *)out = sa;
    return true;
}
static const struct sl_type _sl_admin_bind = {
    .kind = SL_T_PARSED,
    .size = sizeof(struct sl_sockaddr),
    .what = "an address such as \"unix:/run/sluice/admin.sock\" or \"127.0.0.1:9901\"",
    .parse = _sl_parse_admin};
static const struct sl_type _sl_admin_binds = {.kind = SL_T_LIST,
                                               .size = sizeof(struct sl_strings),
                                               .what = "a list of addresses",
                                               .item = &_sl_admin_bind,
                                               .some = true};
static const struct sl_field _sl_admin_fields[] = {
    {"bind", &_sl_admin_binds, offsetof(struct sl_admin, bind), NULL, 0,
     "Where the admin API listens; TCP serves only metrics and health, but for clients with a certificate "
     "(tls). Not written: "
     "unix:/run/sluice/admin.sock, "
     "or in the state directory when not root."},
    {"tls", &sl_type_listener_tls, offsetof(struct sl_admin, tls), NULL, 0,
     "Speak TLS on TCP, as listeners do. A client whose certificate client_ca vouches for has the whole "
     "API."},
    SL_FIELDS_END,
};
const struct sl_type sl_type_admin = {.kind = SL_T_OBJECT,
                                      .size = sizeof(struct sl_admin),
                                      .what = "a map with bind",
                                      .fields = _sl_admin_fields};

/* ---- listeners */

static const struct sl_field _sl_timeout_fields[] = {
    {"handshake", &sl_type_duration, REL(sl_listener, timeouts, handshake), "\"5s\"", 0,
     "From accept to the end of the TLS handshake."},
    {"headers", &sl_type_duration, REL(sl_listener, timeouts, headers), "\"5s\"", 0,
     "From the first byte of a request to the end of its header."},
    {"body", &sl_type_duration, REL(sl_listener, timeouts, body), "\"30s\"", 0,
     "Without a byte of a request's body, or of room for the response's."},
    {"idle", &sl_type_duration, REL(sl_listener, timeouts, idle), "\"60s\"", 0, "Between requests."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_timeouts = {
    .kind = SL_T_OBJECT, .what = "a map of durations", .fields = _sl_timeout_fields};

static const struct sl_type _sl_connections = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1", .max = "1000000"};
static const struct sl_type _sl_header_bytes = {.kind = SL_T_SIZE,
                                                .size = sizeof(uint32_t),
                                                .what = "a size such as \"32KiB\" or \"1MiB\"",
                                                .pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)$",
                                                .min = "1KiB",
                                                .max = "1MiB"};
static const struct sl_type _sl_header_count = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "8", .max = "1000"};
static const struct sl_type _sl_streams = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1", .max = "1000"};
static const struct sl_type _sl_body_bytes = {.kind = SL_T_SIZE,
                                              .size = sizeof(uint64_t),
                                              .what = "a size such as \"32KiB\" or \"1MiB\"",
                                              .pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)$",
                                              .max = "1024TiB"};
static const struct sl_type _sl_per_source_connections = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "0", .max = "65535"};
static const struct sl_field _sl_limit_fields[] = {
    {"connections", &_sl_connections, REL(sl_listener, limits, connections), "20000", 0,
     "Connections open at once, over all workers."},
    {"connections_per_source", &_sl_per_source_connections, REL(sl_listener, limits, connections_per_source),
     "0", 0,
     "Connections that one address (IPv6: /64) may have open at once, over all workers; trusted proxies any "
     "number. 0: no limit."},
    {"min_rate", &sl_type_byte_rate, REL(sl_listener, limits, min_rate), "\"240B/s\"", 0,
     "What a client that is waited for must send or take, over 15 to 20 s; 1B/d: anything."},
    {"handshakes", &_sl_connections, REL(sl_listener, limits, handshakes), "2000", 0,
     "TLS handshakes under way at once, in each worker; more connections are closed."},
    {"headers", &_sl_header_bytes, REL(sl_listener, limits, headers), "\"32KiB\"", 0,
     "Request line and header, bytes."},
    {"header_count", &_sl_header_count, REL(sl_listener, limits, header_count), "100", 0, "Header lines."},
    {"body", &_sl_body_bytes, REL(sl_listener, limits, body), "\"8MiB\"", 0,
     "A request's body; a route may say otherwise."},
    {"streams", &_sl_streams, REL(sl_listener, limits, streams), "100", 0,
     "Requests open at once on an HTTP/2 connection."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_limits = {
    .kind = SL_T_OBJECT, .what = "a map of limits", .fields = _sl_limit_fields};

struct sl_listener_raw {
    struct sl_listener l;
    struct sl_strings protocols;
};
static const struct sl_choice _sl_protocol_choices[] = {
    {"h2", 0, false}, {"http/1.1", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_protocol = {.kind = SL_T_TEXT,
                                            .size = sizeof(struct sl_slice),
                                            .what = "\"h2\" or \"http/1.1\"",
                                            .choices = _sl_protocol_choices};
static const struct sl_type _sl_protocols = {.kind = SL_T_LIST,
                                             .size = sizeof(struct sl_strings),
                                             .what = "a list of protocols such as [h2, http/1.1]",
                                             .item = &_sl_protocol,
                                             .some = true,
                                             .unique = true};
#define AT(m) offsetof(struct sl_listener_raw, m)
static const struct sl_field _sl_listener_fields[] = {
    {"bind", &_sl_tcps, AT(l.bind), NULL, SL_F_REQUIRED, "Addresses and ports, as in [\"0.0.0.0:443\"]."},
    {"protocols", &_sl_protocols, AT(protocols), NULL, 0,
     "What is spoken, best first: TLS clients choose by ALPN, others by HTTP/2's preface. Not written: "
     "[h2, http/1.1] with tls, [http/1.1] without."},
    {"tls", &sl_type_listener_tls, AT(l.tls), NULL, 0, "Speak TLS. Not written: plain text."},
    {"redirect_https", &sl_type_bool, AT(l.redirect_https), "false", 0,
     "Answer every request with a redirect to the same address by https."},
    {"proxy_protocol", &sl_type_bool, AT(l.proxy_protocol), "false", 0,
     "Each connection begins with a header of the PROXY protocol, version 2; from trusted_proxies only."},
    {"timeouts", &_sl_timeouts, AT(l.timeouts), "{}", 0, "How long a client may take."},
    {"limits", &_sl_limits, AT(l.limits), "{}", 0, "How much a client may send."},
    SL_FIELDS_END,
};
#undef AT

static void _sl_choose_protocols(struct sl_listener *l, const struct sl_strings *written)
{
    l->protocols.http1 = !written->n;
    l->protocols.h2 = l->protocols.h2_first = !written->n && l->tls.enabled;
    for (size_t i = 0; i < written->n; i++) {
        const bool h2 = sl_slice_eq(written->v[i], SL_S("h2"));
        l->protocols.h2 |= h2;
        l->protocols.http1 |= !h2;
        l->protocols.h2_first |= h2 && i == 0;
    }
}

static void _sl_finish_listener(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_listener *l = out, *from = raw;
    const struct sl_node *redirect = sl_node_get(n, "redirect_https");
    from->name = l->name;
    from->pos = l->pos;
    *l = *from;
    _sl_choose_protocols(l, &((struct sl_listener_raw *)raw)->protocols);
    if (l->redirect_https && l->tls.enabled && redirect)
        sl_read_error(r, redirect, "a listener that speaks TLS cannot redirect to https: that is itself");
}
static const struct sl_type _sl_listener = {.kind = SL_T_OBJECT,
                                            .size = sizeof(struct sl_listener),
                                            .what = "a map with bind",
                                            .fields = _sl_listener_fields,
                                            .raw = sizeof(struct sl_listener_raw),
                                            .finish = _sl_finish_listener};
const struct sl_type sl_type_listeners = {.kind = SL_T_NAMED,
                                          .size = sizeof(struct sl_strings),
                                          .what = "a map of listeners by name",
                                          .key = &sl_type_name,
                                          .item = &_sl_listener,
                                          .some = true};

/* ---- the kernel guard */

static const struct sl_type _sl_interface = {.kind = SL_T_TEXT,
                                             .size = sizeof(struct sl_slice),
                                             .what = "the name of an interface",
                                             .valid = sl_valid_interface};
static const struct sl_type _sl_interfaces = {.kind = SL_T_LIST,
                                              .size = sizeof(struct sl_strings),
                                              .what = "a list of interfaces such as [eth0]",
                                              .item = &_sl_interface,
                                              .some = true,
                                              .unique = true};
static const struct sl_choice _sl_mode_choices[] = {{"auto", SL_KERNEL_AUTO, false},
                                                    {"native", SL_KERNEL_NATIVE, false},
                                                    {"generic", SL_KERNEL_GENERIC, false},
                                                    {"off", SL_KERNEL_OFF, false},
                                                    {NULL, 0, false}};
static const struct sl_type _sl_mode = {.kind = SL_T_CHOICE,
                                        .size = sizeof(enum sl_kernel_mode),
                                        .what = "one of auto, native, generic, off",
                                        .choices = _sl_mode_choices};
static const struct sl_choice _sl_cookies_choices[] = {{"auto", SL_SYN_COOKIES_AUTO, false},
                                                       {"always", SL_SYN_COOKIES_ALWAYS, false},
                                                       {"off", SL_SYN_COOKIES_OFF, false},
                                                       {NULL, 0, false}};
static const struct sl_type _sl_cookies = {.kind = SL_T_CHOICE,
                                           .size = sizeof(enum sl_syn_cookies),
                                           .what = "one of auto, always, off",
                                           .choices = _sl_cookies_choices};
static const struct sl_type _sl_rate = {.kind = SL_T_RATE,
                                        .size = sizeof(struct sl_rate),
                                        .what = "a rate such as \"1000/s\" or \"60/m\"",
                                        .pattern = "^[0-9]+/[smhd]$"};
const struct sl_type sl_type_byte_rate = {.kind = SL_T_BYTE_RATE,
                                          .size = sizeof(struct sl_rate),
                                          .what = "a rate such as \"100MiB/s\"",
                                          .pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)/[smhd]$"};
static const struct sl_type _sl_burst = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number of seconds", .min = "1", .max = "3600"};
static const struct sl_field _sl_per_source_fields[] = {
    {"new_connections", &_sl_rate, REL(sl_kernel, per_source, new_connections), NULL, 0,
     "Connections that one source may open."},
    {"packets", &_sl_rate, REL(sl_kernel, per_source, packets), NULL, 0, "Packets that one source may send."},
    {"bytes", &sl_type_byte_rate, REL(sl_kernel, per_source, bytes), NULL, 0,
     "Bytes that one source may send."},
    {"burst", &_sl_burst, REL(sl_kernel, per_source, burst), "2", 0,
     "How many seconds of each rate may come at once."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_per_source = {
    .kind = SL_T_OBJECT, .what = "a map of rates", .fields = _sl_per_source_fields};
static const struct sl_field _sl_per_prefix_fields[] = {
    {"new_connections", &_sl_rate, REL(sl_kernel, per_prefix, new_connections), NULL, 0,
     "Connections that the sources of one prefix may open together."},
    {"burst", &_sl_burst, REL(sl_kernel, per_prefix, burst), "2", 0,
     "How many seconds of the rate may come at once."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_per_prefix = {
    .kind = SL_T_OBJECT, .what = "a map of rates", .fields = _sl_per_prefix_fields};
static const struct sl_type _sl_ipv6_prefix = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number of bits", .min = "32", .max = "128"};
static const struct sl_field _sl_per_listener_fields[] = {
    {"new_connections", &_sl_rate, REL(sl_kernel, per_listener, new_connections), NULL, 0,
     "Connections that may be opened to one listener, over all its addresses."},
    {"burst", &_sl_burst, REL(sl_kernel, per_listener, burst), "2", 0,
     "How many seconds of the rate may come at once."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_per_listener = {
    .kind = SL_T_OBJECT, .what = "a map of rates", .fields = _sl_per_listener_fields};
static const struct sl_choice _sl_fragment_choices[] = {
    {"drop", SL_FRAGMENTS_DROP, false}, {"pass", SL_FRAGMENTS_PASS, false}, {NULL, 0, false}};
static const struct sl_type _sl_fragments = {.kind = SL_T_CHOICE,
                                             .size = sizeof(enum sl_fragments),
                                             .what = "one of drop, pass",
                                             .choices = _sl_fragment_choices};
static const struct sl_type _sl_table_size = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1024", .max = "16777216"};
static const struct sl_choice _sl_top_choices[] = {{"dropped", SL_TOP_COUNT_DROPPED, false},
                                                   {"all", SL_TOP_COUNT_ALL, false},
                                                   {"off", SL_TOP_COUNT_OFF, false},
                                                   {NULL, 0, false}};
static const struct sl_type _sl_top_sources = {.kind = SL_T_CHOICE,
                                               .size = sizeof(enum sl_top_counted),
                                               .what = "one of dropped, all, off",
                                               .choices = _sl_top_choices};
static const struct sl_type _sl_samples = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number of packets", .min = "0", .max = "10000"};

#define AT(m) offsetof(struct sl_kernel, m)
static const struct sl_field _sl_kernel_fields[] = {
    {"interfaces", &_sl_interfaces, AT(interfaces), NULL, 0,
     "Interfaces that the guard attaches to; needed unless mode is off."},
    {"mode", &_sl_mode, AT(mode), "\"auto\"", 0,
     "native: in the driver; generic: in the stack; auto: native where the driver can, else generic."},
    {"shadow", &sl_type_bool, AT(shadow), "false", 0, "Count what would be dropped, and pass it."},
    {"allow", &sl_type_ranges, AT(allow), NULL, 0, "Sources that no limit holds for."},
    {"deny", &sl_type_ranges, AT(deny), NULL, 0,
     "Sources whose packets are dropped; the longer prefix wins, and what stands here wins over what stands "
     "in "
     "files."},
    {"per_source", &_sl_per_source, AT(per_source), NULL, 0, "What each source address may do."},
    {"ipv6_prefix", &_sl_ipv6_prefix, AT(ipv6_prefix), "64", 0,
     "Bits of an IPv6 address that make one source."},
    {"per_prefix", &_sl_per_prefix, AT(per_prefix), NULL, 0,
     "What each /24, and each IPv6 /64, /56 and /48 that is wider than a source, may do."},
    {"per_listener", &_sl_per_listener, AT(per_listener), NULL, 0, "What may be sent to each listener."},
    {"fragments", &_sl_fragments, AT(fragments), "\"drop\"", 0,
     "IP fragments to a listener's address and protocol. pass: unread, save that a first one is judged as a "
     "whole packet is."},
    {"syn_cookies", &_sl_cookies, AT(syn_cookies), "\"auto\"", 0,
     "SYNs answered by the guard, nothing kept (needs net.ipv4.tcp_syncookies = 2). auto: past per_listener, "
     "where it "
     "can be had; always: each one, refused where it cannot."},
    {"top_sources", &_sl_top_sources, AT(top_sources), "\"dropped\"", 0,
     "Which packets `sluicectl top sources` counts by their source: those dropped, or all for a listener."},
    {"samples_per_second", &_sl_samples, AT(samples), "100", 0,
     "Dropped packets whose first bytes are kept for `sluicectl capture`, at most; 0: none."},
    {"table_size", &_sl_table_size, AT(table_size), "262144", 0,
     "Buckets in the table that kernel and proxy share, of 32 bytes. The table is larger, a power of two."},
    SL_FIELDS_END,
};
#undef AT

static void _sl_finish_kernel(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_kernel *k = out;
    uint32_t size = 1024;
    (void)raw;
    k->pos = sl_read_pos(r, n);
    /* a third stays free, or buckets do not find room near their place */
    while (size < k->table_size / 2 * 3)
        size *= 2;
    k->table_size = size;
    if (k->mode != SL_KERNEL_OFF && !sl_node_get(n, "interfaces"))
        sl_read_key_error(
            r, n, "\"interfaces\" is missing: which ones shall the guard attach to? (mode: off needs none)");
}
const struct sl_type sl_type_kernel = {.kind = SL_T_OBJECT,
                                       .size = sizeof(struct sl_kernel),
                                       .what = "a map with interfaces",
                                       .fields = _sl_kernel_fields,
                                       .finish = _sl_finish_kernel};

/* ---- correlation id, metrics, access log */

static const struct sl_choice _sl_generator_choices[] = {{"uuid", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_generator = {
    .kind = SL_T_CHOICE, .size = sizeof(unsigned), .what = "\"uuid\"", .choices = _sl_generator_choices};
struct sl_correlation_raw { /* the snapshot's own, and what it does not keep */
    const char *header;
    bool trust, echo;
    unsigned generator;
};
static const struct sl_field _sl_correlation_fields[] = {
    {"header", &sl_type_token, offsetof(struct sl_correlation_raw, header), "\"X-Correlation-Id\"", 0,
     "Header that carries it."},
    {"generator", &_sl_generator, offsetof(struct sl_correlation_raw, generator), "\"uuid\"", 0,
     "How a new one is made."},
    {"trust", &sl_type_bool, offsetof(struct sl_correlation_raw, trust), "true", 0,
     "Keep what the client sent, where it is short and of safe characters."},
    {"echo", &sl_type_bool, offsetof(struct sl_correlation_raw, echo), "true", 0,
     "Send it back to the client."},
    SL_FIELDS_END,
};
static void _sl_finish_correlation(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    (void)r, (void)n;
    memcpy(out, raw, sizeof(((struct sl_snapshot *)0)->correlation_id));
}
const struct sl_type sl_type_correlation = {.kind = SL_T_OBJECT,
                                            .what = "a map",
                                            .fields = _sl_correlation_fields,
                                            .raw = sizeof(struct sl_correlation_raw),
                                            .finish = _sl_finish_correlation};

struct sl_metrics_raw {
    struct sl_strings labels;
    uint32_t max_series;
};
static const struct sl_choice _sl_label_choices[] = {
    {"route", 0, false}, {"code", 0, false}, {"tier", 0, false}, {NULL, 0, false}};
static const struct sl_type _sl_label = {.kind = SL_T_TEXT,
                                         .size = sizeof(struct sl_slice),
                                         .what = "one of route, code, tier",
                                         .choices = _sl_label_choices};
static const struct sl_type _sl_labels = {.kind = SL_T_LIST,
                                          .size = sizeof(struct sl_strings),
                                          .what = "a list of labels",
                                          .item = &_sl_label,
                                          .unique = true};
static const struct sl_type _sl_series = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "100", .max = "1000000"};
static const struct sl_field _sl_metrics_fields[] = {
    {"labels", &_sl_labels, offsetof(struct sl_metrics_raw, labels), "[\"route\",\"code\",\"tier\"]", 0,
     "What request metrics are split by."},
    {"max_series", &_sl_series, offsetof(struct sl_metrics_raw, max_series), "5000", 0,
     "Series at most; what comes later counts as \"other\"."},
    SL_FIELDS_END,
};
static void _sl_finish_metrics(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_snapshot *s = out;
    const struct sl_metrics_raw *m = raw;
    (void)r, (void)n;
    s->metrics.max_series = m->max_series;
    for (size_t i = 0; i < m->labels.n; i++) {
        s->metrics.by_route |= sl_slice_eq(m->labels.v[i], SL_S("route"));
        s->metrics.by_code |= sl_slice_eq(m->labels.v[i], SL_S("code"));
        s->metrics.by_tier |= sl_slice_eq(m->labels.v[i], SL_S("tier"));
    }
}
static const struct sl_type _sl_metrics = {.kind = SL_T_OBJECT,
                                           .what = "a map",
                                           .fields = _sl_metrics_fields,
                                           .raw = sizeof(struct sl_metrics_raw),
                                           .finish = _sl_finish_metrics};

static const struct sl_field _sl_observe_fields[] = {
    {"metrics", &_sl_metrics, 0, "{}", 0, "Prometheus metrics on the admin listener."},
    {"access_log", &sl_type_access_log, 0, NULL, 0, "A line per request. Not written: none."},
    {"traces", NULL, 0, NULL, SL_F_NOT_BUILT, ""},
    SL_FIELDS_END,
};
const struct sl_type sl_type_observe = {
    .kind = SL_T_OBJECT, .what = "a map of metrics and access_log", .fields = _sl_observe_fields};
