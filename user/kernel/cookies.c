/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies: what the policy wants, what the host lets us have, and which of it stands. The guard makes a
 * cookie and the stack takes it back, so both must hold: bpf_tcp_gen_syncookie in the kernel, and
 * net.ipv4.tcp_syncookies = 2 in our network namespace (it counts for IPv6 too): at 1 the stack gives cookies
 * only while its own queue is full, and the helper none.
 *
 * Invariant: a policy that says `always` is refused where they cannot be had; one that came to miss them
 * later, and `auto`, go without, and say so in the log and in the status.
 */
#include "base/io.h"
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>

#define SL_SYSCTL "/proc/sys/net/ipv4/tcp_syncookies"

bool sl_cookies_probe(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_tcp_gen_syncookie, NULL) == 1;
}

/* What is missing and what would be right, as text; empty where nothing is. */
static void _sl_missing(bool have_helper, char why[SL_COOKIES_WHY])
{
    SL_BUF struct sl_buf text = {0};
    why[0] = '\0';
    if (!have_helper) {
        (void)snprintf(why, SL_COOKIES_WHY,
                       "this kernel's XDP has no bpf_tcp_gen_syncookie (5.3 or later has)");
        return;
    }
    const int r = sl_read_file(SL_SYSCTL, 16, &text);
    if (r < 0) {
        (void)snprintf(why, SL_COOKIES_WHY, "cannot read " SL_SYSCTL "%s",
                       r == -ENOENT ? ": the kernel was built without CONFIG_SYN_COOKIES" : "");
        return;
    }
    struct sl_slice rest = sl_buf_slice(&text), value = {0};
    (void)sl_slice_next(&rest, '\n', &value);
    if (!sl_slice_eq(value, SL_S("2")))
        (void)snprintf(why, SL_COOKIES_WHY,
                       "net.ipv4.tcp_syncookies is " SL_SFMT
                       " and must be 2: sysctl -w net.ipv4.tcp_syncookies=2",
                       SL_SARG(value));
}

static enum sl_cookies_state _sl_state(const struct sl_cookies *c)
{
    if (c->policy == SL_SYN_COOKIES_OFF)
        return SL_COOKIES_OFF;
    if (c->policy == SL_SYN_COOKIES_AUTO && !c->bucket)
        return SL_COOKIES_IDLE;
    return c->why[0] ? SL_COOKIES_MISSING : SL_COOKIES_ON;
}

/* Brings state and flags of the plan to what the host has now. */
static void _sl_decide(const struct sl_kernel_guard *g, struct sl_plan *p)
{
    struct sl_cookies *c = &p->cookies;
    _sl_missing(sl_has(g, SL_FEATURE_SYN_COOKIES), c->why);
    c->state = _sl_state(c);
    if (c->state != SL_COOKIES_MISSING)
        c->why[0] = '\0';
    p->config.flags &= ~(uint32_t)(SL_COOKIES_ALWAYS | SL_COOKIES_AUTO);
    if (c->state == SL_COOKIES_ON)
        p->config.flags |= c->policy == SL_SYN_COOKIES_ALWAYS ? SL_COOKIES_ALWAYS : SL_COOKIES_AUTO;
}

int sl_cookies_plan(const struct sl_kernel_guard *g, const struct sl_snapshot *s, struct sl_plan *p)
{
    p->cookies = (struct sl_cookies){.policy = s->kernel.syn_cookies,
                                     .bucket = s->kernel.per_listener.new_connections.count != 0};
    _sl_decide(g, p);
    if (p->cookies.state != SL_COOKIES_MISSING)
        return 0;
    if (p->cookies.policy == SL_SYN_COOKIES_ALWAYS) {
        sl_error(
            "kernel: kernel.syn_cookies: always cannot be had: %s; or write auto, which goes without where "
            "they are missing, or off",
            p->cookies.why);
        return -EOPNOTSUPP;
    }
    sl_warn("kernel: no SYN cookies: what comes past per_listener is dropped: %s", p->cookies.why);
    return 0;
}

bool sl_kernel_lacks_cookies(const struct sl_snapshot *s, char why[SL_COOKIES_WHY])
{
    why[0] = '\0';
    if (s->kernel.mode != SL_KERNEL_OFF && s->kernel.syn_cookies == SL_SYN_COOKIES_ALWAYS)
        _sl_missing(sl_feature_probe(SL_FEATURE_SYN_COOKIES), why);
    return why[0] != '\0';
}

void sl_cookies_watch(struct sl_kernel_guard *g)
{
    const enum sl_cookies_state was = g->plan->cookies.state;
    _sl_decide(g, g->plan);
    if (g->plan->cookies.state == was)
        return;
    if (g->plan->cookies.state == SL_COOKIES_ON)
        sl_info("kernel: SYN cookies can be had again");
    else
        sl_warn("kernel: no SYN cookies any more: %s", g->plan->cookies.why);
    if (sl_guard_write_config(g) < 0)
        g->plan->cookies.state = was; /* tried again at the next sweep */
}

struct sl_cookies_status sl_kernel_syn_cookies(const struct sl_kernel_guard *g)
{
    static const char *const policies[] = {
        [SL_SYN_COOKIES_AUTO] = "auto", [SL_SYN_COOKIES_ALWAYS] = "always", [SL_SYN_COOKIES_OFF] = "off"};
    static const char *const states[] = {[SL_COOKIES_OFF] = "off",
                                         [SL_COOKIES_IDLE] = "idle",
                                         [SL_COOKIES_MISSING] = "missing",
                                         [SL_COOKIES_ON] = "on"};
    if (!g->plan)
        return (struct sl_cookies_status){"off", "off", ""};
    const struct sl_cookies *c = &g->plan->cookies;
    return (struct sl_cookies_status){policies[c->policy], states[c->state], c->why};
}
