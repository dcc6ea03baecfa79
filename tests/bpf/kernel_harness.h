/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the guard as the daemon uses it: snapshots made by hand, veth pairs, and commands of iproute2.
 */
#ifndef SL_TESTS_KERNEL_HARNESS_H
#define SL_TESTS_KERNEL_HARNESS_H

#include "bpf_harness.h"

#include "base/clock.h"
#include "kernel/kernel.h"

#include <net/if.h>
#include <sys/stat.h>
#include <sys/wait.h>

static inline void th_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline void th_sh(const char *fmt, ...)
{
    char cmd[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    const int r = system(cmd);
    if (r != 0)
        fail_msg("%s: exit %d", cmd, r);
}

/* A pair sl0 - sl1 in this namespace, up, with addresses. */
static inline void th_veth(void)
{
    th_sh("ip link add sl0 type veth peer name sl1 && ip addr add 192.0.2.1/24 dev sl0 && "
          "ip addr add 2001:db8::1/64 dev sl0 nodad && ip link set sl0 up && ip link set sl1 up && ip link "
          "set lo up");
}

static inline void th_no_veth(void)
{
    (void)!system("ip link del sl0 2>/dev/null");
}

/* ---- a snapshot with room for a few of everything */

struct th_policy {
    struct sl_snapshot s;
    struct sl_listener listeners[2];
    struct sl_sockaddr binds[4];
    struct sl_slice interfaces[3];
    struct sl_cidr allow[4], deny[4];
    struct sl_tier tier;
    struct sl_consumer consumers[3];
    struct sl_cidr sources[3][3];
};

static inline void th_bind(struct th_policy *p, size_t listener, const char *text)
{
    struct sl_listener *l = &p->listeners[listener];
    assert_int_equal(sl_sockaddr_parse(sl_slice_str(text), &l->bind[l->n_bind++]), 0);
}

/* One listener on the bind given, interface sl0, no limits. */
static inline void th_policy(struct th_policy *p, const char *bind)
{
    memset(p, 0, sizeof(*p));
    p->s.listeners = p->listeners;
    p->s.n_listeners = 1;
    p->listeners[0] = (struct sl_listener){.name = "public", .bind = p->binds, .slot = 1};
    p->listeners[1] = (struct sl_listener){.name = "other", .bind = p->binds + 2, .slot = 2};
    th_bind(p, 0, bind);
    p->s.kernel.mode = SL_KERNEL_AUTO;
    p->s.kernel.interfaces = (struct sl_strings){.v = p->interfaces, .n = 1};
    p->interfaces[0] = SL_S("sl0");
    p->s.kernel.allow.v = p->allow;
    p->s.kernel.deny.v = p->deny;
    p->s.kernel.per_source.burst = 1;
    p->s.kernel.ipv6_prefix = 64;
    p->s.kernel.table_size = 4096;
    p->s.tiers = &p->tier;
    p->s.n_tiers = 1;
    p->tier.name = "partner";
    p->s.consumers = p->consumers;
}

static inline void th_deny(struct th_policy *p, const char *cidr)
{
    p->deny[p->s.kernel.deny.n++] = th_cidr(cidr);
}

static inline void th_allow(struct th_policy *p, const char *cidr)
{
    p->allow[p->s.kernel.allow.n++] = th_cidr(cidr);
}

/* Names a consumer: without one nothing is metered. */
static inline void th_meter(struct th_policy *p)
{
    p->s.n_consumers = 1;
    p->consumers[0] = (struct sl_consumer){.name = "acme"};
}

/* ---- one guard at a time, in a namespace of its own: what most tests of it work on */

static SL_UNUSED struct th_policy policy;
static SL_UNUSED struct sl_kernel_guard *guard; /* NULL: not started */

static inline int th_setup(void **state)
{
    (void)state;
    th_veth();
    th_policy(&policy, "192.0.2.1:443");
    return 0;
}

/* The daemon ends; what it attached stays. */
static inline void th_stop(void)
{
    sl_kernel_close(guard);
    guard = NULL;
}

static inline int th_teardown(void **state)
{
    (void)state;
    th_stop();
    (void)sl_kernel_detach_all();
    th_no_veth();
    return 0;
}

static inline void th_start(void)
{
    assert_int_equal(sl_kernel_start(&policy.s, &guard), 0);
}

static inline void th_restart(void)
{
    th_stop();
    th_start();
}

static inline void th_apply(void)
{
    assert_int_equal(sl_kernel_apply(guard, &policy.s), 0);
}

/* ---- looking at the kernel */

#define TH_PINS SL_PIN_ROOT "/v" SL_ABI_SCHEMA_STR

static inline int th_prog_of_link(const char *pin, unsigned *ifindex)
{
    struct bpf_link_info i = {0};
    uint32_t len = sizeof(i);
    const int fd = bpf_obj_get(pin);
    if (fd < 0)
        return -1;
    assert_int_equal(bpf_obj_get_info_by_fd(fd, &i, &len), 0);
    close(fd);
    if (ifindex)
        *ifindex = i.xdp.ifindex;
    return (int)i.prog_id;
}

static inline uint32_t th_xdp_on(const char *interface)
{
    struct bpf_xdp_query_opts q = {.sz = sizeof(q)};
    assert_int_equal(bpf_xdp_query((int)if_nametoindex(interface), 0, &q), 0);
    return q.prog_id ? q.prog_id : q.drv_prog_id ? q.drv_prog_id : q.skb_prog_id;
}

/* Judges a packet with the program that is attached to the interface: what XDP does. */
static inline int th_run_on(const char *interface, const struct th_packet *p)
{
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->b, .data_size_in = (uint32_t)p->n, .repeat = 1);
    const int fd = bpf_prog_get_fd_by_id(th_xdp_on(interface));
    assert_true(fd >= 0);
    assert_int_equal(bpf_prog_test_run_opts(fd, &o), 0);
    close(fd);
    return (int)o.retval;
}

static inline void th_expect_on(const char *interface, const char *src, const char *dst, unsigned port,
                                int action)
{
    const struct sl_ip ip = th_ip(src);
    const struct th_packet p = ip.family == SL_AF_INET ? th_tcp4(src, 40000, dst, port, TH_SYN)
                                                       : th_tcp6(src, 40000, dst, port, TH_SYN);
    if (th_run_on(interface, &p) != action)
        fail_msg("%s to %s port %u: not action %d", src, dst, port, action);
}

#endif
