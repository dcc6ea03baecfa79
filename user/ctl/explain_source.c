/* SPDX-License-Identifier: Apache-2.0 */
/* What would happen to packets and requests of an address. */
#include "ctl/explain_priv.h"

#include <string.h>

/* The list that decides, as the guard finds it: the longest prefix of the policy's own ranges, else of files;
 * 0: none, else 1 allowed, 2 denied. */
static int _sl_list(const struct sl_kernel *k, const struct sl_ip *ip, struct sl_cidr *found, bool *file)
{
    const struct sl_cidrs *const lists[] = {&k->allow, &k->deny};
    int verdict = 0;
    *file = false;
    for (int l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->n; i++)
            if (sl_cidr_contains(&lists[l]->v[i], ip) && (!verdict || lists[l]->v[i].len > found->len)) {
                *found = lists[l]->v[i];
                verdict = l + 1;
            }
    const bool v6 = ip->family == SL_AF_INET6;
    const size_t n = verdict || !k->ranges ? 0 : v6 ? k->ranges->n6 : k->ranges->n4;
    for (size_t i = 0; i < n; i++) {
        const struct sl_range r = sl_ranges_at(k->ranges, v6, i);
        struct sl_cidr c = {.ip = {.family = ip->family}, .len = (uint8_t)r.len};
        for (unsigned b = 0; b < 16; b++)
            c.ip.addr.bytes[b] = (uint8_t)((b < 8 ? r.hi : r.lo) >> (56 - 8 * (b % 8)));
        if (!sl_cidr_contains(&c, ip) || (verdict && c.len < found->len))
            continue;
        *found = c;
        *file = true;
        verdict = r.allow ? 1 : 2;
    }
    return verdict;
}

const char *sl_explain_from(struct sl_explain *x, const json_t *entry)
{
    const char *from = sl_ctl_str(entry, "from"), *text = NULL;
    if (*from)
        text = sl_arena_printf(&x->arena, ", from host %s", from);
    return text ? text : "";
}

/* Whether an operator's entry denies it, of a prefix that is no wider than what the policy's lists say of it.
 */
static bool _sl_denied(struct sl_explain *x, const struct sl_ip *ip, uint8_t least)
{
    bool denied = false;
    size_t i;
    json_t *d;
    json_array_foreach(json_object_get(x->penalties, "denies"), i, d)
    {
        struct sl_cidr c;
        char left[SL_CTL_UNIT];
        const char *source = sl_ctl_str(d, "source");
        if (sl_cidr_parse(sl_slice_str(source), &c) < 0 || !sl_cidr_contains(&c, ip) || c.len < least)
            continue;
        const bool ends = json_is_number(json_object_get(d, "left_ms"));
        sl_explain_say(x, NULL, "%s is denied by an operator%s%s%s", source, ends ? " for another " : "",
                       ends ? sl_ctl_span(sl_ctl_num(d, "left_ms") / 1000, left) : "", sl_explain_from(x, d));
        denied = true;
    }
    return denied;
}

/* "flow", "connect" or "source" of the penalty that weighs most; NULL: none. */
static const char *_sl_penalised(struct sl_explain *x, const struct sl_ip *ip)
{
    const struct sl_ip source = sl_ip_source(ip).ip;
    char address[SL_IP_STRLEN], exact[SL_IP_STRLEN];
    const char *worst = NULL, *whole = NULL;
    size_t i;
    json_t *p;
    (void)sl_ip_text(&source, address);
    (void)sl_ip_text(ip, exact);
    whole = ip->family == SL_AF_INET6 ? sl_arena_printf(&x->arena, "%s/64", address) : address;
    const char *flow = sl_arena_printf(&x->arena, ip->family == SL_AF_INET6 ? "[%s]:" : "%s:", exact);
    json_array_foreach(json_object_get(x->penalties, "penalties"), i, p)
    {
        const char *of = sl_ctl_str(p, "source"), *effect = sl_ctl_str(p, "effect");
        const bool its_flow = flow && strncmp(of, flow, strlen(flow)) == 0;
        char left[SL_CTL_UNIT];
        if (!whole || (strcmp(of, whole) != 0 && !its_flow))
            continue;
        sl_explain_say(x, NULL, "a penalty of %s on %s for another %s%s: %.0f rejections of %s by %s%s",
                       effect, of, sl_ctl_span(sl_ctl_num(p, "left_ms") / 1000, left), sl_explain_from(x, p),
                       sl_ctl_num(p, "rejections"),
                       *sl_ctl_str(p, "consumer") ? sl_ctl_str(p, "consumer") : "nobody known",
                       *sl_ctl_str(p, "rule") ? sl_ctl_str(p, "rule") : "an operator",
                       sl_ctl_num(p, "level") > 1 ? ", not for the first time" : "");
        if (!worst || strcmp(effect, "source") == 0 || strcmp(worst, "flow") == 0)
            worst = effect;
    }
    return worst;
}

static void _sl_kernel_limits(struct sl_explain *x)
{
    const struct sl_kernel *k = &x->s->kernel;
    const struct {
        const struct sl_rate *rate;
        const char *pointer, *what;
    } all[] = {{&k->per_source.new_connections, "/kernel/per_source/new_connections", "new connections"},
               {&k->per_source.packets, "/kernel/per_source/packets", "packets"},
               {&k->per_source.bytes, "/kernel/per_source/bytes", "bytes"},
               {&k->per_prefix.new_connections, "/kernel/per_prefix/new_connections",
                "new connections of its whole prefix"}};
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
        if (all[i].rate->count)
            sl_explain_say_at(x, all[i].pointer, "the guard holds it to %s of %s%s",
                              sl_explain_rate(x, all[i].rate), all[i].what, k->shadow ? " (shadow)" : "");
}

/* The consumer whose sources hold it: the narrowest, as the kernel has it. */
static void _sl_consumer(struct sl_explain *x, const struct sl_ip *ip)
{
    const struct sl_consumer *best = NULL;
    struct sl_cidr range = {.len = 0};
    char text[SL_IP_STRLEN];
    for (size_t i = 0; i < x->s->n_consumers; i++)
        for (size_t k = 0; k < x->s->consumers[i].sources.n; k++) {
            const struct sl_cidr *c = &x->s->consumers[i].sources.v[k];
            if (sl_cidr_contains(c, ip) && (!best || c->len > range.len)) {
                best = &x->s->consumers[i];
                range = *c;
            }
        }
    if (best)
        sl_explain_say(x, &best->pos, "%s is of the sources of consumer %s, tier %s",
                       sl_cidr_text(&range, text), best->name, best->tier->name);
    const struct sl_tier *anonymous = x->s->anonymous;
    sl_explain_limit(x, "of requests without a consumer the tier anonymous", &anonymous->rate_limit);
}

bool sl_explain_sources(struct sl_explain *x, const struct sl_route *r, const struct sl_ip *ip)
{
    char text[SL_IP_STRLEN];
    bool allowed = r->sources_allow.n == 0;
    for (size_t i = 0; i < r->sources_deny.n; i++)
        if (sl_cidr_contains(&r->sources_deny.v[i], ip)) {
            sl_explain_say(x, &r->pos, "route %s denies %s: 403", r->name,
                           sl_cidr_text(&r->sources_deny.v[i], text));
            return false;
        }
    for (size_t i = 0; i < r->sources_allow.n; i++)
        allowed |= sl_cidr_contains(&r->sources_allow.v[i], ip);
    if (!allowed)
        sl_explain_say(x, &r->pos, "route %s allows other sources only: 403", r->name);
    return allowed;
}

void sl_explain_source(struct sl_explain *x, const struct sl_ip *ip)
{
    const struct sl_snapshot *s = x->s;
    struct sl_cidr range = {.len = 0};
    char text[SL_IP_STRLEN];
    bool file = false;
    const bool on = s->kernel.mode != SL_KERNEL_OFF;
    const int list = on ? _sl_list(&s->kernel, ip, &range, &file) : 0;
    for (size_t i = 0; i < s->trusted_proxies.n; i++)
        if (sl_cidr_contains(&s->trusted_proxies.v[i], ip))
            sl_explain_say_at(x, "/trusted_proxies",
                              "it is a trusted proxy: believed about its clients, and never penalised");
    if (!on)
        sl_explain_say(x, NULL, "the kernel guard is off: nothing is dropped before the proxy");
    if (list)
        sl_explain_say_at(x, list == 1 ? "/kernel/allow" : "/kernel/deny", "%s is %s%s",
                          sl_cidr_text(&range, text),
                          list == 1 ? "allowed: no limit of the guard holds" : "denied",
                          file ? ", by a file that is named there" : "");
    const bool denied = on && _sl_denied(x, ip, list ? range.len : 0);
    const char *penalty = list == 1 || denied ? NULL : _sl_penalised(x, ip);
    if (on && list == 0)
        _sl_kernel_limits(x);
    _sl_consumer(x, ip);
    for (size_t i = 0; i < s->n_routes; i++)
        (void)sl_explain_sources(x, &s->routes[i], ip);
    if (list == 2 || denied)
        sl_explain_verdict(x, "all its packets are dropped in the kernel%s",
                           s->kernel.shadow ? " (shadow: counted)" : "");
    else if (penalty)
        sl_explain_verdict(x, "%s dropped in the kernel, for now",
                           strcmp(penalty, "source") == 0    ? "all its packets are"
                           : strcmp(penalty, "connect") == 0 ? "its new connections are"
                                                             : "one of its connections is");
    else
        sl_explain_verdict(x, list == 1 ? "passes the kernel without limits"
                                        : "reaches the proxy, within limits");
}
