/* SPDX-License-Identifier: Apache-2.0 */
/* What proves a source, for how long, and that no flood takes it from one. */
#include "sources.h"

static void connect_under_a_limit(struct connection *c)
{
    connect_to_ours(c);
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
}

static void test_proof_is_a_connection(void **state)
{
    (void)state;
    struct connection c;
    connect_under_a_limit(&c);
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

/* A listener that waits for data has no socket for the first of it, and a single request leaves nothing but
 * the end of a connection that the gateway has ended already. */
static void test_the_end_of_a_connection_is_proof(void **state)
{
    (void)state;
    struct connection c;
    connect_under_a_limit(&c);
    const struct th_packet end = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_FIN | TH_ACK),
                           other = th_tcp4("127.0.0.2", c.from ^ 1, "127.0.0.1", c.port, TH_FIN | TH_ACK);
    close(accept(c.listener, NULL, NULL)); /* FIN_WAIT2 */
    th_expect(&guard, &other, SL_PASS);
    assert_int_equal(proven_sources(), 0);
    th_expect(&guard, &end, SL_PASS);
    assert_int_equal(proven_sources(), 1);
    disconnect(&c);
}

static uint64_t own_connections(const char *address)
{
    struct sl_source v;
    const struct sl_source_key key = {.addr = th_ip(address).addr, .family = SL_AF_INET};
    assert_int_equal(bpf_map_lookup_elem(sources(), &key, &v), 0);
    return v.tat_connections;
}

/* SYNs from addresses that are in one line with this one, until none is admitted any more. */
static void fill_line_of(const char *address, unsigned port)
{
    const struct sl_ip ip = th_ip(address);
    const uint32_t line = SL_SKETCH_LINE(0, hash_of(&ip));
    unsigned admitted = 1;
    for (uint32_t n = 0, i = 0x64400000; admitted || n < 60; i++) { /* 100.64.0.0 and on */
        struct sl_ip other = {.family = SL_AF_INET};
        char text[INET_ADDRSTRLEN];
        const uint32_t be = htonl(i);
        memcpy(other.addr.bytes, &be, sizeof(be));
        if (SL_SKETCH_LINE(0, hash_of(&other)) != line)
            continue;
        assert_non_null(inet_ntop(AF_INET, &be, text, sizeof(text)));
        const struct th_packet syn = th_tcp4(text, 9, "127.0.0.1", port, TH_SYN);
        admitted = th_admitted(&guard, &syn, 5);
        n++;
    }
}

/* A flood that leaves a line nothing to give, so that it is not even looked at, takes nothing from who is
 * proven and stands there. */
static void test_a_closed_line_shuts_out_no_proven_source(void **state)
{
    (void)state;
    struct connection c;
    uint32_t closed;
    connect_under_a_limit(&c);
    const struct sl_ip client = th_ip("127.0.0.2");
    const uint32_t line = SL_SKETCH_LINE(0, hash_of(&client));
    const struct th_packet syn = th_tcp4("127.0.0.2", 9, "127.0.0.1", c.port, TH_SYN),
                           data = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_PSH | TH_ACK);
    const int fd = bpf_map__fd(guard.skel->maps.sl_closed);
    fill_line_of("127.0.0.2", c.port);
    assert_int_equal(bpf_map_lookup_elem(fd, &line, &closed), 0);
    assert_true(closed > TH_START >> SL_SKETCH_CLOSED_SHIFT);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    th_expect(&guard, &data, SL_PASS);
    assert_int_equal(proven_sources(), 1);
    assert_int_equal(bpf_map_lookup_elem(fd, &line, &closed), 0);
    assert_int_equal(closed, 0);
    for (unsigned second = 1; second <= 3; second++) {
        th_clock(&guard, TH_START + second * SL_NS_PER_SEC);
        fill_line_of("127.0.0.2", c.port);
        th_expect(&guard, &syn, SL_PASS);
        th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    }
    disconnect(&c);
}

/* A wider limit has closed a line for an hour; the narrower one that follows opens it, as it does a bucket.
 */
static void test_a_closed_line_recovers_from_a_wider_limit(void **state)
{
    (void)state;
    struct connection c;
    connect_to_ours(&c);
    guard.config.source_connections =
        (struct sl_limit){.interval_ns = 1800 * SL_NS_PER_SEC, .tolerance_ns = 3600 * SL_NS_PER_SEC};
    th_write_config(&guard);
    fill_line_of("127.0.0.2", c.port);
    const struct th_packet syn = th_tcp4("127.0.0.2", 9, "127.0.0.1", c.port, TH_SYN);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE);
    guard.config.source_connections = per_second(1, 3);
    th_write_config(&guard);
    th_expect(&guard, &syn, SL_DROP_CONN_RATE); /* clamped */
    th_clock(&guard, TH_START + SL_NS_PER_SEC);
    th_expect(&guard, &syn, SL_PASS);
    disconnect(&c);
}

/* As long as userspace may still keep it, a silent source's SYN finds its own buckets; whoever sends is
 * vouched for anew. */
static void test_for_how_long_a_source_is_vouched_for(void **state)
{
    (void)state;
    struct connection c;
    connect_under_a_limit(&c);
    const struct th_packet syn = th_tcp4("127.0.0.2", 9, "127.0.0.1", c.port, TH_SYN),
                           data = th_tcp4("127.0.0.2", c.from, "127.0.0.1", c.port, TH_PSH | TH_ACK);
    th_expect(&guard, &data, SL_PASS);
    const uint64_t idle = SL_SOURCE_IDLE_NS + SL_NS_PER_SEC, later = TH_START + 100 * SL_NS_PER_SEC;
    th_clock(&guard, later);
    th_expect(&guard, &data, SL_PASS);
    th_clock(&guard, later + idle);
    th_expect(&guard, &syn, SL_PASS);
    assert_int_equal(own_connections("127.0.0.2"), later + idle + SL_NS_PER_SEC);
    th_clock(&guard,
             later + 3 * idle); /* nobody has forgotten it, and it has nothing that it may not forget */
    th_expect(&guard, &syn, SL_PASS);
    assert_int_equal(own_connections("127.0.0.2"), later + idle + SL_NS_PER_SEC);
    th_expect(&guard, &data, SL_PASS);
    th_expect(&guard, &syn, SL_PASS);
    assert_int_equal(own_connections("127.0.0.2"), later + 3 * idle + SL_NS_PER_SEC);
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
    const struct th_packet data = th_tcp4("192.0.2.77", 4000, OURS, PORT, TH_PSH | TH_ACK),
                           end = th_tcp4("192.0.2.77", 4000, OURS, PORT, TH_FIN | TH_ACK);
    th_expect(&guard, &data, SL_PASS);
    th_expect(&guard, &end, SL_PASS);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_proof_is_a_connection),
        TEST(test_the_end_of_a_connection_is_proof),
        TEST(test_a_closed_line_shuts_out_no_proven_source),
        TEST(test_a_closed_line_recovers_from_a_wider_limit),
        TEST(test_for_how_long_a_source_is_vouched_for),
        TEST(test_no_limit_proves_nobody),
        TEST(test_a_half_open_connection_is_no_proof),
        TEST(test_proof_is_looked_for_so_often),
        cmocka_unit_test_setup_teardown(test_no_room_for_a_proven_source, setup_small, teardown),
    };
    if (th_isolate() < 0 || system("ip link set lo up") != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
