/* SPDX-License-Identifier: Apache-2.0 */
/* The guard alone with sources that are proven, by hand or by a connection that they have. */
#ifndef SL_TESTS_SOURCES_H
#define SL_TESTS_SOURCES_H

#include "bpf_harness.h"

#include "../../bpf/lib/sketch.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct th_guard guard;

static SL_UNUSED int setup(void **state)
{
    (void)state;
    th_load(&guard);
    guard.config.sketch_seed[0] = 0x0123456789abcdefull;
    guard.config.sketch_seed[1] = 0xfedcba9876543210ull;
    th_listen(&guard, OURS, PORT, 0);
    th_listen(&guard, OURS6, PORT, 0);
    return 0;
}

static SL_UNUSED int teardown(void **state)
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

static SL_UNUSED unsigned proven_sources(void)
{
    struct sl_source_key key;
    unsigned n = 0;
    for (int r = bpf_map_get_next_key(sources(), NULL, &key); r == 0; n++)
        r = bpf_map_get_next_key(sources(), &key, &key);
    return n;
}

/* Of an IPv4 address, or an IPv6 /64. */
static uint64_t hash_of(const struct sl_ip *ip)
{
    uint64_t high;
    memcpy(&high, ip->addr.bytes, sizeof(high));
    return sl_sketch_hash(guard.config.sketch_seed, be64toh(high), 0, ip->family == SL_AF_INET6 ? 256 : 0);
}

/* What the guard does with a source that it puts in. */
static void vouch(const struct sl_ip *ip)
{
    struct sl_sketch_line l;
    const int fd = bpf_map__fd(guard.skel->maps.sl_sketch);
    const uint32_t i = SL_SKETCH_LINE(SL_SKETCH_CONNECTIONS, hash_of(ip));
    assert_int_equal(bpf_map_lookup_elem(fd, &i, &l), 0);
    l.vouched = UINT32_MAX;
    assert_int_equal(bpf_map_update_elem(fd, &i, &l, BPF_ANY), 0);
}

static SL_UNUSED void prove(const char *address)
{
    const struct sl_ip ip = sl_ip_mask(th_ip(address), th_ip(address).family == SL_AF_INET ? 32 : 64);
    const struct sl_source_key key = {.addr = ip.addr, .family = ip.family};
    const struct sl_source value = {.seen_ns = TH_START};
    assert_int_equal(bpf_map_update_elem(sources(), &key, &value, BPF_NOEXIST), 0);
    vouch(&ip);
}

static SL_UNUSED unsigned admitted(const char *src, unsigned flags, unsigned n)
{
    const struct th_packet p =
        strchr(src, ':') ? th_tcp6(src, 1, OURS6, PORT, flags) : th_tcp4(src, 1, OURS, PORT, flags);
    return th_admitted(&guard, &p, n);
}

static SL_UNUSED void expect(const char *src, unsigned flags, enum sl_reason want)
{
    const struct th_packet p =
        strchr(src, ':') ? th_tcp6(src, 1, OURS6, PORT, flags) : th_tcp4(src, 1, OURS, PORT, flags);
    th_expect(&guard, &p, want);
}

static SL_UNUSED struct sockaddr_in at(const char *address, unsigned port)
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

static SL_UNUSED void connect_to_ours(struct connection *c)
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
    /* connected on this side before the handshake's last segment is worked off on the other: until it can be
     * accepted */
    struct pollfd accepted = {.fd = c->listener, .events = POLLIN};
    assert_int_equal(poll(&accepted, 1, 60000), 1);
    assert_int_equal(getsockname(c->client, (struct sockaddr *)&b, &n), 0);
    c->port = ntohs(a.sin_port);
    c->from = ntohs(b.sin_port);
    th_listen(&guard, "127.0.0.1", c->port, 0);
}

static SL_UNUSED void disconnect(struct connection *c)
{
    close(c->client);
    close(c->listener);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
