/* SPDX-License-Identifier: Apache-2.0 */
/* Proven and unproven sources: prefixes, what proof takes, and that a flood of invented addresses
 * leaves no trace. */
#include "bpf_harness.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>

#define OURS   "192.0.2.1"
#define OURS6  "2001:db8::1"
#define CLIENT "198.51.100.7"
#define PORT   443

static struct th_guard guard;

static int setup(void **state)
{
    (void)state;
    th_load(&guard);
    guard.config.sketch_seed[0] = 0x0123456789abcdefull;
    guard.config.sketch_seed[1] = 0xfedcba9876543210ull;
    th_listen(&guard, OURS, PORT, 0);
    th_listen(&guard, OURS6, PORT, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static struct sl_limit per_second(uint64_t rate, uint64_t capacity)
{
    const uint64_t interval = SL_NS_PER_SEC / rate;
    return (struct sl_limit){.interval_ns = interval, .tolerance_ns = capacity * interval};
}

static int sources(void)
{
    return bpf_map__fd(guard.skel->maps.sl_sources);
}

static unsigned proven_sources(void)
{
    struct sl_source_key key;
    unsigned n = 0;
    for (int r = bpf_map_get_next_key(sources(), NULL, &key); r == 0; n++)
        r = bpf_map_get_next_key(sources(), &key, &key);
    return n;
}

static void prove(const char *address)
{
    const struct sl_ip ip = sl_ip_mask(th_ip(address), th_ip(address).family == SL_AF_INET ? 32 : 64);
    const struct sl_source_key key = {.addr = ip.addr, .family = ip.family};
    const struct sl_source value = {.seen_ns = TH_START};
    assert_int_equal(bpf_map_update_elem(sources(), &key, &value, BPF_NOEXIST), 0);
}

static unsigned admitted(const char *src, unsigned flags, unsigned n)
{
    const struct th_packet p =
        strchr(src, ':') ? th_tcp6(src, 1, OURS6, PORT, flags) : th_tcp4(src, 1, OURS, PORT, flags);
    return th_admitted(&guard, &p, n);
}

static void expect(const char *src, unsigned flags, enum sl_reason want)
{
    const struct th_packet p =
        strchr(src, ':') ? th_tcp6(src, 1, OURS6, PORT, flags) : th_tcp4(src, 1, OURS, PORT, flags);
    th_expect(&guard, &p, want);
}

/* ---- prefixes */

static void test_prefix_of_ipv4(void **state)
{
    (void)state;
    guard.config.prefix_connections = per_second(10, 20);
    th_write_config(&guard);
    assert_int_equal(admitted("198.51.100.1", TH_SYN, 15), 15);
    assert_int_equal(admitted("198.51.100.254", TH_SYN, 15), 5);
    expect("198.51.100.77", TH_SYN, SL_DROP_PREFIX_RATE);
    expect("198.51.100.77", TH_ACK, SL_PASS);
    expect("198.51.101.77", TH_SYN, SL_PASS); /* the next one */
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10 - 1);
    expect("198.51.100.77", TH_SYN, SL_DROP_PREFIX_RATE);
    th_clock(&guard, TH_START + SL_NS_PER_SEC / 10);
    expect("198.51.100.77", TH_SYN, SL_PASS);
    expect("198.51.100.78", TH_SYN, SL_DROP_PREFIX_RATE);
}

static void test_prefixes_of_ipv6(void **state)
{
    (void)state;
    guard.config.prefix_connections = per_second(1, 10);
    th_write_config(&guard);
    assert_int_equal(admitted("2001:db8:5:0100::1", TH_SYN, 12), 10); /* the /56 */
    expect("2001:db8:5:01ff::1", TH_SYN, SL_DROP_PREFIX_RATE);
    expect("2001:db8:5:0200::1", TH_SYN, SL_DROP_PREFIX_RATE); /* the /48 with it: the same rate */
    expect("2001:db8:6:0100::1", TH_SYN, SL_PASS);
    /* with single addresses as sources the /64 is a prefix too */
    guard.config.ipv6_prefix = 128;
    guard.config.source_connections = per_second(1, 4);
    th_write_config(&guard);
    th_clock(&guard, TH_START + 100 * SL_NS_PER_SEC);
    assert_int_equal(admitted("2001:db8:5:1::1", TH_SYN, 8), 4);
    expect("2001:db8:5:1::1", TH_SYN, SL_DROP_CONN_RATE);
    assert_int_equal(admitted("2001:db8:5:1::2", TH_SYN, 4), 4);
    assert_int_equal(admitted("2001:db8:5:1::3", TH_SYN, 4), 2);
    expect("2001:db8:5:1::4", TH_SYN, SL_DROP_PREFIX_RATE);
    /* and a source as wide as a prefix is none of its own */
    guard.config.ipv6_prefix = 48;
    guard.config.source_connections = (struct sl_limit){0};
    th_write_config(&guard);
    th_clock(&guard, TH_START + 200 * SL_NS_PER_SEC);
    assert_int_equal(admitted("2001:db8:5:1::1", TH_SYN, 30), 30);
}

static void test_proven_and_unproven_of_a_prefix_are_apart(void **state)
{
    (void)state;
    guard.config.prefix_connections = per_second(1, 10);
    th_write_config(&guard);
    prove(CLIENT);
    assert_int_equal(admitted("198.51.100.66", TH_SYN, 20), 10); /* spoofed, say */
    assert_int_equal(admitted(CLIENT, TH_SYN, 20), 10);
    expect(CLIENT, TH_SYN, SL_DROP_PREFIX_RATE);
}

static void test_a_flood_leaves_a_listener_to_proven_sources(void **state)
{
    (void)state;
    guard.config.listener_connections = per_second(1, 10);
    th_write_config(&guard);
    prove(CLIENT);
    assert_int_equal(admitted("203.0.113.66", TH_SYN, 20), 10);
    expect("203.0.113.67", TH_SYN, SL_DROP_LISTENER_RATE);
    assert_int_equal(admitted(CLIENT, TH_SYN, 20), 10);
    expect(CLIENT, TH_SYN, SL_DROP_LISTENER_RATE);
}

/* ---- proven sources have their own */

static void test_proven_source(void **state)
{
    (void)state;
    guard.config.source_connections = per_second(1, 3);
    guard.config.source_packets = per_second(1, 8);
    th_write_config(&guard);
    assert_int_equal(admitted(CLIENT, TH_SYN, 5), 3);
    prove(CLIENT); /* by hand: with full buckets */
    assert_int_equal(admitted(CLIENT, TH_SYN, 5), 3);
    expect(CLIENT, TH_SYN, SL_DROP_CONN_RATE);
    assert_int_equal(admitted(CLIENT, TH_ACK, 9), 5);
    expect(CLIENT, TH_ACK, SL_DROP_PACKET_RATE);
    prove("2001:db8:5:6::1"); /* its whole /64 */
    assert_int_equal(admitted("2001:db8:5:6::1", TH_ACK, 20), 8);
    expect("2001:db8:5:6:ffff::1", TH_ACK, SL_DROP_PACKET_RATE);
}

/* ---- what a flood leaves behind */

static void test_invented_sources_leave_nothing(void **state)
{
    (void)state;
    char src[32];
    guard.config.source_connections = per_second(10, 20);
    guard.config.source_packets = per_second(1000, 1000);
    th_write_config(&guard);
    uint64_t x = 1;
    for (unsigned i = 0; i < 50000; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        snprintf(src, sizeof(src), "%u.%u.%u.%u", 1 + (unsigned)(x >> 33) % 197, (unsigned)(x >> 41) & 255,
                 (unsigned)(x >> 49) & 255, (unsigned)(x >> 56) & 255);
        assert_int_equal(admitted(src, i % 2 ? TH_SYN : TH_PSH | TH_ACK, 1), 1);
    }
    assert_int_equal(proven_sources(), 0);
    assert_int_equal(admitted(CLIENT, TH_SYN, 30), 20); /* and a newcomer has all that is his */
}

/* ---- proof */

static struct sockaddr_in at(const char *address, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
    return a;
}

/* A listener on loopback, and who is connected to it; the guard judges as if the packets came in there. */
struct connection {
    int listener, client;
    unsigned port, from;
};

static void connect_to_ours(struct connection *c)
{
    struct sockaddr_in a = at("127.0.0.1", 0), b = at("127.0.0.2", 0);
    socklen_t n = sizeof(a);
    c->listener = socket(AF_INET, SOCK_STREAM, 0);
    c->client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(c->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(c->listener, 8), 0);
    assert_int_equal(getsockname(c->listener, (struct sockaddr *)&a, &n), 0);
    assert_int_equal(bind(c->client, (struct sockaddr *)&b, sizeof(b)), 0);
    assert_int_equal(connect(c->client, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(c->client, (struct sockaddr *)&b, &n), 0);
    c->port = ntohs(a.sin_port);
    c->from = ntohs(b.sin_port);
    th_listen(&guard, "127.0.0.1", c->port, 0);
}

static void disconnect(struct connection *c)
{
    close(c->client);
    close(c->listener);
}

static void test_proof_is_a_connection(void **state)
{
    (void)state;
    struct connection c;
    connect_to_ours(&c);
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    const struct th_packet syn = th_tcp4("127.0.0.2", 9, "127.0.0.1", c.port, TH_SYN),
                           ack = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_ACK),
                           other = th_tcp4("127.0.0.2", c.from ^ 1, "127.0.0.1", c.port, TH_PSH | TH_ACK),
                           data = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_PSH | TH_ACK);
    assert_int_equal(th_admitted(&guard, &syn, 5), 3);
    th_expect(&guard, &ack, SL_PASS);
    th_expect(&guard, &other, SL_PASS); /* no connection, a socket that listens */
    assert_int_equal(proven_sources(), 0);
    th_expect(&guard, &data, SL_PASS);
    th_expect(&guard, &data, SL_PASS);
    assert_int_equal(proven_sources(), 1);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE); /* what it has used is not forgotten */
    th_clock(&guard, TH_START + SL_NS_PER_SEC);
    th_expect(&guard, &syn, SL_PASS);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    disconnect(&c);
}

static void test_no_limit_proves_nobody(void **state)
{
    (void)state;
    struct connection c;
    connect_to_ours(&c);
    const struct th_packet data = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_PSH | TH_ACK);
    th_expect(&guard, &data, SL_PASS);
    assert_int_equal(proven_sources(), 0);
    disconnect(&c);
}

static uint16_t checksum(const unsigned char *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static bool half_open(unsigned port)
{
    char want[32], line[256];
    bool found = false;
    snprintf(want, sizeof(want), "010200C0:%04X", port);
    FILE *f = fopen("/proc/net/tcp", "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        found |= strstr(line, want) && strstr(line, " 03 ");
    (void)fclose(f);
    return found;
}

/* Who spoofs an address gets a request socket for it, and can send an ACK in its name: that proves nothing.
 */
static void test_a_half_open_connection_is_no_proof(void **state)
{
    (void)state;
    const int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0),
              raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    struct sockaddr_in a = at(OURS, PORT);
    assert_int_equal(system("ip link add sl0 type veth peer name sl1 && ip addr add " OURS "/24 dev sl0 && "
                            "ip link set sl0 up && ip link set sl1 up"),
                     0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 8), 0);
    struct th_packet syn = th_tcp4("192.0.2.77", 4000, OURS, PORT, TH_SYN);
    th_put16(syn.b + syn.l4 + 14, 1024); /* window */
    unsigned char pseudo[32];
    memcpy(pseudo, syn.b + syn.ip + 12, 8);
    memcpy(pseudo + 8, "\0\6\0\24", 4);
    memcpy(pseudo + 12, syn.b + syn.l4, 20);
    th_put16(syn.b + syn.l4 + 16, checksum(pseudo, 32, 0));
    assert_int_equal(sendto(raw, syn.b + syn.ip, syn.n - syn.ip, 0, (struct sockaddr *)&a, sizeof(a)), 40);
    for (unsigned i = 0; !half_open(PORT) && i < 10000; i++)
        usleep(1000);
    assert_true(half_open(PORT));
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    const struct th_packet data = th_tcp4("192.0.2.77", 4000, OURS, PORT, TH_PSH | TH_ACK);
    th_expect(&guard, &data, SL_PASS);
    assert_int_equal(proven_sources(), 0);
    close(raw);
    close(listener);
    assert_int_equal(system("ip link del sl0"), 0);
}

static uint64_t counted(enum sl_reason r)
{
    struct th_counts c;
    th_counts(&guard, &c);
    return c.is[r].packets;
}

static void test_proof_is_looked_for_so_often(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    assert_int_equal(admitted(CLIENT, TH_PSH | TH_ACK, 2000), 2000);
    assert_int_equal(counted(SL_PROOF_DEFERRED), 0);
    expect(CLIENT, TH_PSH | TH_ACK, SL_PASS);
    assert_int_equal(counted(SL_PROOF_DEFERRED), 1);
    expect(CLIENT, TH_ACK, SL_PASS); /* does not ask */
    assert_int_equal(counted(SL_PROOF_DEFERRED), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static int setup_small(void **state)
{
    (void)state;
    memset(&guard, 0, sizeof(guard));
    guard.skel = xdp_guard__open();
    assert_non_null(guard.skel);
    guard.skel->rodata->test_clock = 1;
    assert_int_equal(bpf_map__set_max_entries(guard.skel->maps.sl_sources, 1), 0);
    assert_int_equal(xdp_guard__load(guard.skel), 0);
    guard.config.ipv6_prefix = 64;
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    th_clock(&guard, TH_START);
    return 0;
}

static void test_no_room_for_a_proven_source(void **state)
{
    (void)state;
    struct connection c;
    connect_to_ours(&c);
    const struct th_packet data = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_PSH | TH_ACK),
                           syn = th_tcp4("127.0.0.2", 9, "127.0.0.1", c.port, TH_SYN);
    prove(CLIENT);
    th_expect(&guard, &data, SL_PASS);
    assert_int_equal(counted(SL_SOURCE_INSERT_FAILED), 1);
    assert_int_equal(proven_sources(), 1);
    assert_int_equal(th_admitted(&guard, &syn, 5), 3); /* still limited */
    const struct sl_source_key key = {.addr = th_ip(CLIENT).addr, .family = SL_AF_INET};
    assert_int_equal(bpf_map_delete_elem(sources(), &key), 0);
    th_expect(&guard, &data, SL_PASS);
    assert_int_equal(counted(SL_SOURCE_INSERT_FAILED), 1);
    assert_int_equal(proven_sources(), 1);
    disconnect(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prefix_of_ipv4),
        TEST(test_prefixes_of_ipv6),
        TEST(test_proven_and_unproven_of_a_prefix_are_apart),
        TEST(test_a_flood_leaves_a_listener_to_proven_sources),
        TEST(test_proven_source),
        TEST(test_invented_sources_leave_nothing),
        TEST(test_proof_is_a_connection),
        TEST(test_no_limit_proves_nobody),
        TEST(test_a_half_open_connection_is_no_proof),
        TEST(test_proof_is_looked_for_so_often),
        cmocka_unit_test_setup_teardown(test_no_room_for_a_proven_source, setup_small, teardown),
    };
    if (th_isolate() < 0 || system("ip link set lo up") != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
