/* SPDX-License-Identifier: Apache-2.0 */
/* Where an upstream runs: addresses, and names that the controller resolves. */
#include "config/reader_priv.h"

#include <string.h>

#define SL_BY_DNS 64 /* targets by name in one upstream: a hash has places for all of their addresses */
#define SL_ADDRESS_WHAT \
    "an address and port such as \"10.0.1.10:8080\", \"dns:NAME:PORT\" or \"dns+srv:NAME\""

static void _sl_parse_name(struct sl_reader *r, const struct sl_node *n, struct sl_slice name,
                           struct sl_target *t)
{
    struct sl_ip ip;
    const char *wrong =
        sl_ip_parse(name, &ip) == 0 ? "is an address: write it without dns:" : sl_valid_sni(name);
    if (wrong)
        sl_read_error(r, n, "\"" SL_SFMT "\" %s", SL_SARG(name), wrong);
    t->dns.host = sl_read_keep(r, name, false).p;
}

/* NAME:PORT */
static void _sl_parse_dns(struct sl_reader *r, const struct sl_node *n, struct sl_slice text,
                          struct sl_target *t)
{
    uint64_t port = 0;
    const ptrdiff_t colon = sl_slice_chr(text, ':');
    const size_t at = colon < 0 ? text.n : (size_t)colon;
    if (colon < 0 || sl_slice_u64(sl_slice(text.p + at + 1, text.n - at - 1), &port) < 0 || port == 0 ||
        port > 65535) {
        sl_read_error(r, n, "expected dns:NAME:PORT, such as \"dns:orders.internal:8080\"");
        return;
    }
    t->dns.port = (uint16_t)port;
    _sl_parse_name(r, n, sl_slice(text.p, at), t);
}

static bool _sl_parse_address(struct sl_reader *r, const struct sl_node *n, struct sl_slice text, void *out)
{
    struct sl_target *t = out;
    const struct sl_slice dns = SL_S("dns:"), srv = SL_S("dns+srv:");
    if (sl_slice_starts(text, dns)) {
        _sl_parse_dns(r, n, sl_slice(text.p + dns.n, text.n - dns.n), t);
    } else if (sl_slice_starts(text, srv)) {
        t->dns.srv = true;
        _sl_parse_name(r, n, sl_slice(text.p + srv.n, text.n - srv.n), t);
    } else if (sl_sockaddr_parse(text, &t->address) < 0 || t->address.sa.sa_family == AF_UNIX) {
        return false;
    }
    t->text = sl_read_keep(r, text, false).p;
    return true;
}
static const struct sl_type _sl_address = {.kind = SL_T_PARSED,
                                           .size = 0, /* the whole target */
                                           .what = SL_ADDRESS_WHAT,
                                           .parse = _sl_parse_address};
static const struct sl_type _sl_weight = {
    .kind = SL_T_INT, .size = sizeof(uint32_t), .what = "a number", .min = "1", .max = "65535"};
static const struct sl_field _sl_target_fields[] = {
    {"address", &_sl_address, 0, NULL, SL_F_REQUIRED,
     "Address and port, as in \"10.0.1.10:8080\"; or \"dns:NAME:PORT\": all addresses of the name; or "
     "\"dns+srv:NAME\": hosts, ports and weights of its SRV records of the best priority."},
    {"weight", &_sl_weight, offsetof(struct sl_target, weight), "1", 0,
     "Its share of requests beside the others'; the addresses of a name share it."},
    SL_FIELDS_END,
};
static const struct sl_type _sl_target = {.kind = SL_T_OBJECT,
                                          .size = sizeof(struct sl_target),
                                          .what = "a map of address and weight",
                                          .fields = _sl_target_fields};
const struct sl_type sl_type_targets = {.kind = SL_T_LIST,
                                        .size = sizeof(struct sl_strings),
                                        .what = "a list of {address, weight}",
                                        .item = &_sl_target,
                                        .some = true};

static const struct sl_type _sl_ttl = {.kind = SL_T_DURATION,
                                       .size = sizeof(uint64_t),
                                       .what = "a duration such as \"5s\"",
                                       .pattern = "^[0-9]+(ms|s|m|h|d)$",
                                       .min = "100ms",
                                       .max = "1d"};
static const struct sl_field _sl_dns_fields[] = {
    {"min_ttl", &_sl_ttl, offsetof(struct sl_dns, min_ttl), "\"5s\"", 0,
     "An answer holds at least so long, whatever its TTL; and a name that fails is asked for again after "
     "it."},
    {"max_ttl", &_sl_ttl, offsetof(struct sl_dns, max_ttl), "\"5m\"", 0, "And at most so long."},
    SL_FIELDS_END,
};
static void _sl_finish_dns(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    const struct sl_dns *d = out;
    const struct sl_node *min = sl_node_get(n, "min_ttl"), *max = sl_node_get(n, "max_ttl");
    (void)raw;
    if (d->min_ttl > d->max_ttl && (min || max))
        sl_read_key_error(r, min ? min : max, "min_ttl is longer than max_ttl");
}
const struct sl_type sl_type_dns = {.kind = SL_T_OBJECT,
                                    .what = "a map of min_ttl and max_ttl",
                                    .fields = _sl_dns_fields,
                                    .finish = _sl_finish_dns};

void sl_check_targets(struct sl_reader *r, const struct sl_node *n, const struct sl_upstream *u)
{
    size_t names = 0;
    for (size_t i = 0; i < u->n_targets; i++)
        names += u->targets[i].dns.host != NULL;
    if (names > SL_BY_DNS)
        sl_read_key_error(r, sl_node_get(n, "targets"), "%zu targets are by DNS: at most %u may be", names,
                          SL_BY_DNS);
}

bool sl_schema_names_targets(const struct sl_node *root)
{
    const struct sl_node *all = root->kind == SL_NODE_MAP ? sl_node_get(root, "upstreams") : NULL;
    for (const struct sl_node *u = all && all->kind == SL_NODE_MAP ? all->first : NULL; u; u = u->next) {
        const struct sl_node *list = u->kind == SL_NODE_MAP ? sl_node_get(u, "targets") : NULL;
        for (const struct sl_node *t = list && list->kind == SL_NODE_LIST ? list->first : NULL; t;
             t = t->next) {
            const struct sl_node *a = t->kind == SL_NODE_MAP ? sl_node_get(t, "address") : NULL;
            if (a && a->kind == SL_NODE_STRING && sl_slice_starts(a->text, SL_S("dns")))
                return true;
        }
    }
    return false;
}
