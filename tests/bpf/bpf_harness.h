/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the kernel programs share: a private network and bpffs, a packet builder, and the guard
 * loaded with a clock that the test sets. Every packet is judged by BPF_PROG_TEST_RUN, and must move exactly
 * one reason counter.
 */
#ifndef SL_TESTS_BPF_HARNESS_H
#define SL_TESTS_BPF_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ip.h"
#include "base/log.h"
#include "kernel/maps.h"
#include "sluice/abi.h"
#include "xdp_guard.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>

/* A listener's addresses (th_veth gives them to sl0) and port, and who asks. */
#define OURS   "192.0.2.1"
#define OURS6  "2001:db8::1"
#define CLIENT "198.51.100.7"
#define PORT   443

/* ---- a place of our own: gone with the process */

static inline int th_isolate(void)
{
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    if (geteuid() != 0) {
        fprintf(stderr, "these tests load BPF programs: run them as root\n");
        return -1;
    }
    (void)setrlimit(RLIMIT_MEMLOCK, &all);
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0) {
        perror("a private mount and network namespace with a bpffs");
        return -1;
    }
    return 0;
}

static inline void th_syncookies(const char *value)
{
    const int fd = open("/proc/sys/net/ipv4/tcp_syncookies", O_WRONLY);
    assert_true(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value));
    close(fd);
}

static inline struct sl_ip th_ip(const char *text)
{
    struct sl_ip ip;
    assert_int_equal(sl_ip_parse(sl_slice_str(text), &ip), 0);
    return ip;
}

static inline struct sl_cidr th_cidr(const char *text)
{
    struct sl_cidr c;
    assert_int_equal(sl_cidr_parse(sl_slice_str(text), &c), 0);
    return c;
}

/* ---- packets */

struct th_packet {
    unsigned char b[4096];
    size_t n;
    size_t ip, l4; /* offsets of the (first) IP header and of TCP or UDP */
    size_t next;   /* offset of the byte that names what comes next */
    int family;
};

static inline unsigned char *th_room(struct th_packet *p, size_t n)
{
    unsigned char *at = p->b + p->n;
    assert_true(p->n + n <= sizeof(p->b));
    memset(at, 0, n);
    p->n += n;
    return at;
}

static inline void th_put16(unsigned char *at, unsigned v)
{
    at[0] = (unsigned char)(v >> 8);
    at[1] = (unsigned char)v;
}

static inline void th_eth(struct th_packet *p, unsigned type)
{
    memset(p, 0, sizeof(*p));
    unsigned char *e = th_room(p, 14);
    memcpy(e, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
    th_put16(e + 12, type);
}

/* A tag before what is there already named by the last type field. */
static inline void th_vlan(struct th_packet *p, unsigned tag_type, unsigned inner_type)
{
    th_put16(p->b + p->n - 2, tag_type);
    unsigned char *v = th_room(p, 4);
    th_put16(v, 100);
    th_put16(v + 2, inner_type);
}

static inline void th_ip4(struct th_packet *p, const char *src, const char *dst, unsigned proto,
                          size_t options)
{
    const struct sl_ip s = th_ip(src), d = th_ip(dst);
    p->ip = p->n;
    p->family = SL_AF_INET;
    unsigned char *h = th_room(p, 20 + options);
    h[0] = (unsigned char)(0x40 | (20 + options) / 4);
    h[8] = 64;
    h[9] = (unsigned char)proto;
    memcpy(h + 12, s.addr.bytes, 4);
    memcpy(h + 16, d.addr.bytes, 4);
    p->next = p->ip + 9;
}

static inline void th_ip6(struct th_packet *p, const char *src, const char *dst, unsigned next)
{
    const struct sl_ip s = th_ip(src), d = th_ip(dst);
    p->ip = p->n;
    p->family = SL_AF_INET6;
    unsigned char *h = th_room(p, 40);
    h[0] = 0x60;
    h[6] = (unsigned char)next;
    h[7] = 64;
    memcpy(h + 8, s.addr.bytes, 16);
    memcpy(h + 24, d.addr.bytes, 16);
    p->next = p->ip + 6;
}

/* An extension header of type `type`, put before what the packet's next field named so far. units: its length
 * field. */
static inline void th_ext(struct th_packet *p, unsigned type, unsigned units)
{
    const unsigned char inner = p->b[p->next];
    const size_t size = type == 44 ? 8 : type == 51 ? (units + 2) * 4 : (units + 1) * 8;
    p->b[p->next] = (unsigned char)type;
    p->next = p->n;
    unsigned char *e = th_room(p, size);
    e[0] = inner;
    e[1] = (unsigned char)(type == 44 ? 0 : units);
}

enum { TH_FIN = 1, TH_SYN = 2, TH_RST = 4, TH_PSH = 8, TH_ACK = 16, TH_URG = 32 };

static inline void th_tcp(struct th_packet *p, unsigned sport, unsigned dport, unsigned flags)
{
    p->l4 = p->n;
    unsigned char *h = th_room(p, 20);
    th_put16(h, sport);
    th_put16(h + 2, dport);
    h[12] = 5 << 4;
    h[13] = (unsigned char)flags;
}

static inline void th_udp(struct th_packet *p, unsigned sport, unsigned dport)
{
    p->l4 = p->n;
    unsigned char *h = th_room(p, 8);
    th_put16(h, sport);
    th_put16(h + 2, dport);
}

/* Writes the lengths of what stands there now. */
static inline void th_finish(struct th_packet *p)
{
    if (p->family == SL_AF_INET)
        th_put16(p->b + p->ip + 2, (unsigned)(p->n - p->ip));
    else if (p->family == SL_AF_INET6)
        th_put16(p->b + p->ip + 4, (unsigned)(p->n - p->ip - 40));
}

static inline struct th_packet th_tcp4(const char *src, unsigned sport, const char *dst, unsigned dport,
                                       unsigned flags)
{
    struct th_packet p;
    th_eth(&p, 0x0800);
    th_ip4(&p, src, dst, IPPROTO_TCP, 0);
    th_tcp(&p, sport, dport, flags);
    th_finish(&p);
    return p;
}

static inline struct th_packet th_tcp6(const char *src, unsigned sport, const char *dst, unsigned dport,
                                       unsigned flags)
{
    struct th_packet p;
    th_eth(&p, 0x86dd);
    th_ip6(&p, src, dst, IPPROTO_TCP);
    th_tcp(&p, sport, dport, flags);
    th_finish(&p);
    return p;
}

/* ---- the guard alone, with a clock */

struct th_guard {
    struct xdp_guard *skel;
    struct sl_kernel_config config;
};

static inline void th_write_config(struct th_guard *g)
{
    const uint32_t zero = 0;
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(g->skel->maps.sl_config), &zero, &g->config, BPF_ANY),
                     0);
}

static inline void th_clock(struct th_guard *g, uint64_t now_ns)
{
    g->skel->bss->test_now_ns = now_ns;
}

#define TH_START \
    100000000000000000ull /* where the test's clock begins: after that of any host, three years up */

/* frags false: as on a kernel that knows no frames in more than one buffer. */
static inline void th_load_with(struct th_guard *g, bool frags)
{
    memset(g, 0, sizeof(*g));
    g->skel = xdp_guard__open();
    assert_non_null(g->skel);
    g->skel->rodata->test_clock = 1;
    g->skel->rodata->have_frags = frags;
    if (frags)
        assert_int_equal(bpf_program__set_flags(g->skel->progs.sl_xdp_guard, BPF_F_XDP_HAS_FRAGS), 0);
    assert_int_equal(xdp_guard__load(g->skel), 0);
    g->config.ipv6_prefix = 64;
    th_write_config(g);
    th_clock(g, TH_START);
}

static inline void th_load(struct th_guard *g)
{
    th_load_with(g, true);
}

static inline void th_unload(struct th_guard *g)
{
    xdp_guard__destroy(g->skel);
    g->skel = NULL;
}

static inline void th_listen_for(struct th_guard *g, const char *addr, unsigned port, unsigned proto,
                                 uint32_t listener)
{
    const struct sl_ip ip = th_ip(addr);
    struct sl_listener_key k = {
        .addr = ip.addr, .port_be = htons((uint16_t)port), .proto = (uint8_t)proto, .family = ip.family};
    struct sl_listener_value v = {.listener = listener};
    const int fd = bpf_map__fd(g->skel->maps.sl_listeners);
    assert_int_equal(bpf_map_update_elem(fd, &k, &v, BPF_ANY), 0);
    v.listener = SL_NO_LISTENER;
    k.port_be = 0;
    assert_int_equal(bpf_map_update_elem(fd, &k, &v, BPF_ANY), 0);
    k.proto = 0;
    assert_int_equal(bpf_map_update_elem(fd, &k, &v, BPF_ANY), 0);
}

static inline void th_listen(struct th_guard *g, const char *addr, unsigned port, uint32_t listener)
{
    th_listen_for(g, addr, port, IPPROTO_TCP, listener);
}

/* The guard with two listeners: these are their slots. */
static inline void th_load_ours(struct th_guard *g, bool frags, uint32_t slot, uint32_t slot6)
{
    th_load_with(g, frags);
    th_listen(g, OURS, PORT, slot);
    th_listen(g, OURS6, PORT, slot6);
}

static inline void th_list(struct th_guard *g, const char *cidr, enum sl_list_verdict verdict,
                           uint64_t deadline)
{
    const struct sl_cidr c = th_cidr(cidr);
    const bool v6 = c.ip.family == SL_AF_INET6;
    struct sl_lpm6_key k = {.prefixlen = c.len};
    const struct sl_list_value v = {.verdict = verdict, .generation = 1, .deadline_ns = deadline};
    memcpy(k.addr, c.ip.addr.bytes, 16);
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(v6 ? g->skel->maps.sl_lists6 : g->skel->maps.sl_lists4),
                                         &k, &v, BPF_ANY),
                     0);
    g->config.flags |= v6 ? SL_HAVE_LISTS6 : SL_HAVE_LISTS4;
    th_write_config(g);
}

/* Judges once: what XDP does. */
static inline int th_run_raw(struct th_guard *g, const void *data, size_t n)
{
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (uint32_t)n, .repeat = 1);
    const int r = bpf_prog_test_run_opts(bpf_program__fd(g->skel->progs.sl_xdp_guard), &o);
    if (r < 0)
        fail_msg("BPF_PROG_TEST_RUN of %zu bytes: %s", n, strerror(errno));
    return (int)o.retval;
}

struct th_counts {
    struct sl_count is[SL_REASON_COUNT], would[SL_REASON_COUNT];
};

static inline void th_counts(struct th_guard *g, struct th_counts *c)
{
    assert_int_equal(sl_maps_reasons(bpf_map__fd(g->skel->maps.sl_reasons), c->is, c->would), 0);
}

/* The reason of one packet; *would tells whether it was counted in shadow. Exactly one counter must have
 * moved, save those that are counted beside a verdict. */
static inline enum sl_reason th_judge(struct th_guard *g, const void *data, size_t n, int *action,
                                      bool *would)
{
    struct th_counts before, after;
    enum sl_reason reason = SL_REASON_COUNT;
    unsigned moved = 0;
    th_counts(g, &before);
    *action = th_run_raw(g, data, n);
    th_counts(g, &after);
    *would = false;
    for (int i = 0; i < SL_REASON_COUNT; i++) {
        const uint64_t is = after.is[i].packets - before.is[i].packets,
                       w = after.would[i].packets - before.would[i].packets;
        if (i == SL_CAS_EXHAUSTED || i == SL_SOURCE_INSERT_FAILED || i == SL_SYN_COOKIE_FAILED ||
            i == SL_PROOF_DEFERRED || is + w == 0)
            continue;
        assert_int_equal(is + w, 1);
        assert_int_equal(
            after.is[i].bytes - before.is[i].bytes + after.would[i].bytes - before.would[i].bytes, n);
        reason = i;
        *would = w != 0;
        moved++;
    }
    if (moved != 1)
        fail_msg("%u reasons were counted for one packet", moved);
    return reason;
}

static inline void th_expect_at(struct th_guard *g, const struct th_packet *p, enum sl_reason want,
                                const char *file, int line)
{
    int action;
    bool would;
    const enum sl_reason got = th_judge(g, p->b, p->n, &action, &would);
    const int right = sl_reason_answers(got) ? 3 /* XDP_TX */
                      : sl_reason_drops(got) ? 1 /* XDP_DROP */
                                             : 2 /* XDP_PASS */;
    if (got != want || action != right || would) {
        print_error("%s:%d: judged %s (action %d)%s, not %s\n", file, line, sl_reason_name(got), action,
                    would ? " in shadow" : "", sl_reason_name(want));
        _fail(file, line);
    }
}
#define th_expect(g, p, want) th_expect_at((g), (p), (want), __FILE__, __LINE__)

/* The same for n copies of a packet: how many were admitted. */
static inline unsigned th_admitted(struct th_guard *g, const struct th_packet *p, unsigned n)
{
    unsigned admitted = 0;
    for (unsigned i = 0; i < n; i++)
        admitted += th_run_raw(g, p->b, p->n) == 2;
    return admitted;
}

#endif
