/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each reason of SL_REASONS by name: a packet that just misses it, judged otherwise, and one that reaches it.
 * A reason that is added to the table without a line here fails. What leads to each in full is in the files
 * of the guard's parts.
 */
#include "sources.h"

#define OTHER "192.0.2.2"

static struct th_packet syn(void)
{
    return th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN);
}

static struct th_packet data(void)
{
    return th_tcp4(CLIENT, 40000, OURS, PORT, TH_PSH | TH_ACK);
}

static void judged(const struct th_packet *p, enum sl_reason want)
{
    th_expect(&guard, p, want);
}

/* As many as may pass, and where the reason is to be reached, one more. */
static void one_over(const struct th_packet *p, unsigned capacity, bool reach, enum sl_reason want)
{
    th_write_config(&guard);
    assert_int_equal(th_admitted(&guard, p, capacity), capacity);
    if (reach)
        judged(p, want);
}

/* ---- passed */

static void not_ours(bool reach)
{
    const struct th_packet p = th_tcp4(CLIENT, 40000, OURS, reach ? PORT + 1 : PORT, TH_SYN);
    judged(&p, reach ? SL_PASS_NOT_OURS : SL_PASS);
}

static void admitted_one(bool reach)
{
    const struct th_packet p = th_tcp4(CLIENT, 40000, reach ? OURS : OTHER, PORT, TH_SYN);
    judged(&p, reach ? SL_PASS : SL_PASS_NOT_OURS);
}

static void allowed(bool reach)
{
    const struct th_packet p = syn();
    th_list(&guard, reach ? CLIENT "/32" : "198.51.100.8/32", SL_LIST_ALLOW, 0);
    judged(&p, reach ? SL_PASS_ALLOWED : SL_PASS);
}

static void control(bool reach)
{
    struct th_packet p = syn();
    p.b[p.ip + 9] = reach ? IPPROTO_ICMP : IPPROTO_IGMP;
    judged(&p, reach ? SL_PASS_CONTROL : SL_PASS_NOT_OURS);
}

static void unparsed(bool reach)
{
    struct th_packet p = syn();
    p.b[p.ip] = reach ? 0x44 : 0x45;
    judged(&p, reach ? SL_PASS_UNPARSED : SL_PASS);
}

static void vlans(bool reach)
{
    struct th_packet p;
    th_eth(&p, 0x0800);
    for (unsigned i = 0; i < (reach ? 3 : 2); i++)
        th_vlan(&p, 0x8100, 0x0800);
    th_ip4(&p, CLIENT, OURS, IPPROTO_TCP, 0);
    th_tcp(&p, 40000, PORT, TH_SYN);
    th_finish(&p);
    judged(&p, reach ? SL_PASS_VLANS : SL_PASS);
}

/* ---- lists and penalties */

static void denied(bool reach)
{
    const struct th_packet p = syn();
    th_list(&guard, CLIENT "/32", SL_LIST_DENY, TH_START + 1);
    th_clock(&guard, reach ? TH_START : TH_START + 1);
    judged(&p, reach ? SL_DROP_DENIED : SL_PASS);
}

static void penalty(enum sl_penalty_scope effect, uint64_t deadline)
{
    struct sl_penalty_key k = {.addr = th_ip(CLIENT).addr, .family = SL_AF_INET, .scope = SL_PENALTY_SOURCE};
    const struct sl_penalty_value v = {.deadline_ns = deadline, .effect = effect};
    if (effect == SL_PENALTY_FLOW) {
        k.scope = SL_PENALTY_FLOW;
        k.daddr = th_ip(OURS).addr;
        k.sport_be = htons(40000);
        k.dport_be = htons(PORT);
    }
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(guard.skel->maps.sl_penalties), &k, &v, BPF_ANY), 0);
    guard.config.flags |= SL_HAVE_PENALTIES;
    th_write_config(&guard);
}

static void penalty_flow(bool reach)
{
    const struct th_packet p = th_tcp4(CLIENT, reach ? 40000 : 40001, OURS, PORT, TH_ACK);
    penalty(SL_PENALTY_FLOW, UINT64_MAX);
    judged(&p, reach ? SL_DROP_PENALTY_FLOW : SL_PASS);
}

static void penalty_connect(bool reach)
{
    const struct th_packet p = reach ? syn() : data();
    penalty(SL_PENALTY_CONNECT, UINT64_MAX);
    judged(&p, reach ? SL_DROP_PENALTY_CONNECT : SL_PASS);
}

static void penalty_source(bool reach)
{
    const struct th_packet p = data();
    penalty(SL_PENALTY_SOURCE, reach ? TH_START + 1 : TH_START);
    judged(&p, reach ? SL_DROP_PENALTY_SOURCE : SL_PASS);
}

/* ---- headers */

static void malformed(bool reach)
{
    struct th_packet p = syn();
    p.b[p.l4 + 12] = reach ? 4 << 4 : 5 << 4;
    judged(&p, reach ? SL_DROP_MALFORMED : SL_PASS);
}

static void fragment(bool reach)
{
    struct th_packet p = syn();
    th_put16(p.b + p.ip + 6, reach ? 0x2000 : 0x4000);
    judged(&p, reach ? SL_DROP_FRAGMENT : SL_PASS);
}

static void truncated(bool reach)
{
    struct th_packet p = syn();
    p.n -= reach;
    judged(&p, reach ? SL_DROP_TRUNCATED : SL_PASS);
}

static void extension_headers(bool reach)
{
    struct th_packet p;
    th_eth(&p, 0x86dd);
    th_ip6(&p, "2001:db8::9", OURS6, IPPROTO_TCP);
    for (unsigned i = 0; i < (reach ? 7 : 6); i++)
        th_ext(&p, 60, 0);
    th_tcp(&p, 40000, PORT, TH_SYN);
    th_finish(&p);
    judged(&p, reach ? SL_DROP_HEADERS : SL_PASS);
}

/* ---- limits */

static void source_connections(bool reach)
{
    const struct th_packet p = syn();
    guard.config.source_connections = per_second(1, 3);
    one_over(&p, 3, reach, SL_DROP_CONN_RATE);
}

static void consumer_connections(bool reach)
{
    const struct th_packet p = syn();
    const struct sl_cidr c = th_cidr(CLIENT "/32");
    struct sl_lpm4_key k = {.prefixlen = c.len};
    const struct sl_consumer_source v = {.bucket = 7, .limit = per_second(1, 3)};
    memcpy(k.addr, c.ip.addr.bytes, sizeof(k.addr));
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(guard.skel->maps.sl_consumers4), &k, &v, BPF_ANY), 0);
    guard.config.flags |= SL_HAVE_CONSUMER_SOURCES;
    one_over(&p, 3, reach, SL_DROP_CONSUMER_RATE);
}

static void source_packets(bool reach)
{
    const struct th_packet p = data();
    guard.config.source_packets = per_second(1, 3);
    one_over(&p, 3, reach, SL_DROP_PACKET_RATE);
}

static void source_bytes(bool reach)
{
    const struct th_packet p = data();
    guard.config.source_bytes =
        (struct sl_limit){.interval_ns = 1000, .tolerance_ns = 3 * p.n * 1000, .mult = 1000};
    one_over(&p, 3, reach, SL_DROP_BYTE_RATE);
}

static void listener_connections(bool reach)
{
    const struct th_packet p = syn();
    guard.config.listener_connections = per_second(1, 3);
    one_over(&p, 3, reach, SL_DROP_LISTENER_RATE);
}

static void prefix_connections(bool reach)
{
    const struct th_packet p = syn();
    guard.config.prefix_connections = per_second(1, 3);
    one_over(&p, 3, reach, SL_DROP_PREFIX_RATE);
}

/* ---- counted beside a verdict */

/* As where another CPU has been interrupted with the lock of the source's line in its hands. */
static void cas_exhausted(bool reach)
{
    const struct th_packet p = syn();
    const struct sl_ip ip = th_ip(CLIENT);
    const struct sl_sketch_line l = {.lock = reach};
    const uint32_t i = SL_SKETCH_LINE(SL_SKETCH_CONNECTIONS, hash_of(&ip));
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(guard.skel->maps.sl_sketch), &i, &l, BPF_ANY), 0);
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    judged(&p, reach ? SL_DROP_CONN_RATE : SL_PASS);
}

/* The table of this guard has room for one. */
static void source_insert_failed(bool reach)
{
    struct connection c;
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    connect_to_ours(&c);
    if (reach)
        prove("192.0.2.77");
    const struct th_packet p = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_PSH | TH_ACK);
    judged(&p, SL_PASS);
    assert_int_equal(proven_sources(), 1);
    disconnect(&c);
}

static void proof_deferred(bool reach)
{
    enum { AT_ONCE = 2000 };
    const struct th_packet p = data();
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0); /* each CPU has a bucket of its own */
    guard.config.source_connections = per_second(1, 3);
    one_over(&p, AT_ONCE, reach, SL_PASS);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* A SYN for a socket that listens; with the sysctl at 0 the stack makes no cookies. */
static void cookie(const char *sysctl, enum sl_reason want)
{
    struct connection c;
    connect_to_ours(&c);
    th_syncookies(sysctl);
    guard.config.flags |= SL_COOKIES_ALWAYS;
    th_write_config(&guard);
    const struct th_packet p = th_tcp4("127.0.0.2", 9, "127.0.0.1", c.port, TH_SYN);
    judged(&p, want);
    disconnect(&c);
}

static void syn_cookie_sent(bool reach)
{
    cookie(reach ? "2" : "0", reach ? SL_TX_SYN_COOKIE : SL_PASS);
}

static void syn_cookie_failed(bool reach)
{
    cookie(reach ? "0" : "2", reach ? SL_PASS : SL_TX_SYN_COOKIE);
}

/* ---- all of them */

static void (*const ways[SL_REASON_COUNT])(bool reach) = {
    [SL_PASS_NOT_OURS] = not_ours,
    [SL_PASS] = admitted_one,
    [SL_PASS_ALLOWED] = allowed,
    [SL_PASS_CONTROL] = control,
    [SL_PASS_UNPARSED] = unparsed,
    [SL_PASS_VLANS] = vlans,
    [SL_DROP_DENIED] = denied,
    [SL_DROP_PENALTY_FLOW] = penalty_flow,
    [SL_DROP_PENALTY_CONNECT] = penalty_connect,
    [SL_DROP_PENALTY_SOURCE] = penalty_source,
    [SL_DROP_MALFORMED] = malformed,
    [SL_DROP_FRAGMENT] = fragment,
    [SL_DROP_TRUNCATED] = truncated,
    [SL_DROP_HEADERS] = extension_headers,
    [SL_DROP_CONN_RATE] = source_connections,
    [SL_DROP_CONSUMER_RATE] = consumer_connections,
    [SL_DROP_PACKET_RATE] = source_packets,
    [SL_DROP_BYTE_RATE] = source_bytes,
    [SL_DROP_LISTENER_RATE] = listener_connections,
    [SL_DROP_PREFIX_RATE] = prefix_connections,
    [SL_CAS_EXHAUSTED] = cas_exhausted,
    [SL_SOURCE_INSERT_FAILED] = source_insert_failed,
    [SL_PROOF_DEFERRED] = proof_deferred,
    [SL_TX_SYN_COOKIE] = syn_cookie_sent,
    [SL_SYN_COOKIE_FAILED] = syn_cookie_failed,
};

static void setup_one_source(void)
{
    memset(&guard, 0, sizeof(guard));
    guard.skel = xdp_guard__open();
    assert_non_null(guard.skel);
    guard.skel->rodata->test_clock = 1;
    assert_int_equal(bpf_map__set_max_entries(guard.skel->maps.sl_sources, 1), 0);
    assert_int_equal(xdp_guard__load(guard.skel), 0);
    guard.config.ipv6_prefix = 64;
    th_write_config(&guard);
    th_clock(&guard, TH_START);
    th_listen(&guard, OURS, PORT, 0);
    th_listen(&guard, OURS6, PORT, 0);
}

/* How often the reason was counted, after its way was gone or just missed. */
static uint64_t counted(enum sl_reason r, bool reach)
{
    struct th_counts c;
    setup_one_source();
    ways[r](reach);
    th_counts(&guard, &c);
    th_unload(&guard);
    return c.is[r].packets;
}

static void test_each_is_reached_and_just_missed(void **state)
{
    (void)state;
    for (int r = 0; r < SL_REASON_COUNT; r++) {
        if (!ways[r])
            fail_msg("%s: no packet here reaches it", sl_reason_name(r));
        if (counted(r, false) != 0)
            fail_msg("%s: counted for what should just miss it", sl_reason_name(r));
        if (counted(r, true) != 1)
            fail_msg("%s: not counted once", sl_reason_name(r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_is_reached_and_just_missed)};
    if (th_isolate() < 0 || system("ip link set lo up") != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
