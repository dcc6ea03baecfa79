/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hints never change a verdict: random policies, applied one over the other with lists and penalties put and
 * taken in between, are asked with the hints that stand and again without any. And they are there: what a
 * policy does not name is passed without a lookup.
 */
#include "kernel_harness.h"

#include "kernel/guard_priv.h"

#include <arpa/inet.h>

#define TH_PREFIXES 24
#define TH_ROUNDS   40
#define TH_PACKETS  150

static uint32_t _rnd;

static uint32_t _random(uint32_t n)
{
    _rnd = _rnd * 1664525u + 1013904223u;
    return (_rnd >> 8) % n;
}

/* Of few networks, so that prefixes, sources and listeners meet. */
static struct sl_ip _address(bool v6)
{
    struct sl_ip ip = th_ip(v6 ? "2001:db8::" : "192.0.2.0");
    if (v6) {
        ip.addr.bytes[5] = (uint8_t)_random(2);
        ip.addr.bytes[7] = (uint8_t)_random(4);
        ip.addr.bytes[15] = (uint8_t)_random(4);
    } else {
        ip.addr.bytes[1] = (uint8_t)_random(2);
        ip.addr.bytes[2] = (uint8_t)_random(3);
        ip.addr.bytes[3] = (uint8_t)_random(8);
    }
    return ip;
}

static struct sl_cidr _prefix(void)
{
    static const uint8_t len4[] = {1, 8, 14, 16, 17, 23, 24, 25, 30, 32, 32, 32};
    static const uint8_t len6[] = {3, 16, 20, 32, 40, 48, 55, 56, 57, 64, 65, 128};
    const bool v6 = _random(2);
    const uint8_t len = v6 ? len6[_random(12)] : len4[_random(12)];
    return (struct sl_cidr){.ip = sl_ip_mask(_address(v6), len), .len = len};
}

static void stop(struct sl_kernel_guard *g)
{
    sl_kernel_close(g);
    (void)sl_kernel_detach_all();
    th_no_veth();
}

struct policy {
    struct th_policy p;
    struct sl_cidr allow[TH_PREFIXES], deny[TH_PREFIXES];
};

/* Few prefixes at times, so that the short ones among them do not cover all. */
static void _policy(struct policy *p)
{
    static const char *binds[] = {"192.0.2.1:80", "192.0.2.1:443", "192.1.1.1:80", "[2001:db8::1]:80",
                                  "0.0.0.0:8080"};
    th_policy(&p->p, binds[_random(5)]);
    th_bind(&p->p, 0, binds[_random(5)]);
    p->p.s.kernel.allow = (struct sl_cidrs){.v = p->allow, .n = _random(2) ? _random(6) : 0};
    p->p.s.kernel.deny = (struct sl_cidrs){.v = p->deny, .n = _random(_random(2) ? TH_PREFIXES : 3)};
    for (size_t i = 0; i < TH_PREFIXES; i++) {
        p->allow[i] = _prefix();
        p->deny[i] = _prefix();
    }
}

static struct th_packet _packet(void)
{
    static const unsigned ports[] = {80, 443, 8080, 22, 0};
    const bool v6 = _random(2), udp = _random(8) == 0;
    struct th_packet p;
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
    const struct sl_ip s = _address(v6),
                       d = _random(3) ? th_ip(v6 ? "2001:db8::1" : "192.0.2.1") : _address(v6);
    assert_non_null(inet_ntop(s.family, s.addr.bytes, src, sizeof(src)));
    assert_non_null(inet_ntop(d.family, d.addr.bytes, dst, sizeof(dst)));
    th_eth(&p, v6 ? 0x86dd : 0x0800);
    if (v6)
        th_ip6(&p, src, dst, udp ? IPPROTO_UDP : IPPROTO_TCP);
    else
        th_ip4(&p, src, dst, udp ? IPPROTO_UDP : IPPROTO_TCP, 0);
    if (udp)
        th_udp(&p, 40000, ports[_random(5)]);
    else
        th_tcp(&p, 40000, ports[_random(5)], _random(2) ? TH_SYN : TH_ACK);
    th_finish(&p);
    return p;
}

/* Whether each packet goes the same way without hints; how many of either way. */
static void _compare(struct sl_kernel_guard *g, unsigned ways[2])
{
    static struct th_packet packets[TH_PACKETS];
    static struct sl_hints hints;
    int with[TH_PACKETS];
    for (size_t i = 0; i < TH_PACKETS; i++) {
        packets[i] = _packet();
        with[i] = th_run_on("sl0", &packets[i]);
        ways[with[i] == 1]++;
    }
    hints = *g->hints;
    memset(g->hints, 0, sizeof(*g->hints));
    for (size_t i = 0; i < TH_PACKETS; i++)
        if (th_run_on("sl0", &packets[i]) != with[i])
            fail_msg("packet %zu: %d with the hints", i, with[i]);
    *g->hints = hints;
}

static void _penalise(struct sl_kernel_guard *g)
{
    uint64_t until;
    const struct sl_penalty_request r = {.source = _address(_random(2)),
                                         .effect = SL_PENALTY_FLOW + _random(3),
                                         .destination = _address(false),
                                         .source_port = 40000,
                                         .destination_port = 80,
                                         .duration_ns = 3600 * SL_NS_PER_SEC};
    assert_int_equal(sl_kernel_penalty_add(g, &r, &until), 0);
}

static void _change_by_hand(struct sl_kernel_guard *g)
{
    struct sl_cidr c = _prefix();
    if (_random(2))
        assert_int_equal(
            sl_kernel_list_add(g, &c, _random(2) ? SL_LIST_DENY : SL_LIST_ALLOW, SL_NS_PER_SEC * 3600), 0);
    if (_random(3) == 0)
        assert_true(sl_kernel_list_remove(g, &c) >= 0);
    if (_random(2))
        _penalise(g);
    c = (struct sl_cidr){.ip = _address(_random(2)), .len = (uint8_t)(16 + _random(17))};
    c.ip = sl_ip_mask(c.ip, c.len);
    if (_random(4) == 0)
        assert_true(sl_kernel_penalty_remove(g, &c) >= 0);
}

static void test_no_verdict_changes(void **state)
{
    (void)state;
    static struct policy p;
    struct sl_kernel_guard *g = NULL;
    unsigned ways[2] = {0, 0};
    th_veth();
    _policy(&p);
    assert_int_equal(sl_kernel_start(&p.p.s, &g), 0);
    for (int i = 0; i < TH_ROUNDS; i++) {
        _compare(g, ways);
        _change_by_hand(g);
        _compare(g, ways);
        _policy(&p);
        assert_int_equal(sl_kernel_apply(g, &p.p.s), 0);
    }
    stop(g);
    if (ways[0] < 1000 || ways[1] < 200)
        fail_msg("%u packets passed, %u dropped: the test says little", ways[0], ways[1]);
}

static unsigned _given(const __u64 bits[SL_HINT_WORDS])
{
    unsigned n = 0;
    for (size_t i = 0; i < SL_HINT_WORDS; i++)
        n += (unsigned)__builtin_popcountll(bits[i]);
    return n;
}

/* One bit less for each prefix's networks, each port, and each source under a penalty. */
static void test_they_are_given(void **state)
{
    (void)state;
    struct th_policy p;
    struct sl_kernel_guard *g = NULL;
    const unsigned all = 64 * SL_HINT_WORDS;
    uint64_t until;
    th_veth();
    th_policy(&p, "192.0.2.1:80");
    th_deny(&p, "192.0.2.7/32");
    th_deny(&p, "192.0.4.0/23");
    assert_int_equal(sl_kernel_start(&p.s, &g), 0);
    assert_int_equal(_given(g->hints->ports), all - 2); /* port 80, and 0 */
    assert_int_equal(_given(g->hints->long_lists), all - 1);
    assert_int_equal(_given(g->hints->wide_lists), all - 1);
    assert_int_equal(_given(g->hints->penalties), all);
    const struct sl_penalty_request r = {
        .source = th_ip("192.0.2.9"), .effect = SL_PENALTY_SOURCE, .duration_ns = 3600 * SL_NS_PER_SEC};
    assert_int_equal(sl_kernel_penalty_add(g, &r, &until), 0);
    assert_int_equal(_given(g->hints->penalties), all - 1);
    const __u32 slot = sl_hint_pair_slot(sl_hint_pair(&r.source.addr, 0));
    assert_int_equal(sl_hint_until(g->hints->sources[slot]), until >> 30);
    const struct sl_cidr all4 = th_cidr("0.0.0.0/0");
    assert_int_equal(sl_kernel_penalty_remove(g, &all4), 1);
    assert_int_equal(_given(g->hints->penalties), all);
    assert_int_equal(g->hints->sources[slot], 0);
    const struct sl_cidr shortest = th_cidr("::/1");
    assert_int_equal(sl_kernel_list_add(g, &shortest, SL_LIST_ALLOW, 0), 0);
    assert_int_equal(_given(g->hints->wide_lists), 0);
    assert_int_equal(sl_kernel_list_remove(g, &shortest), 1);
    assert_int_equal(_given(g->hints->wide_lists), all - 1);
    stop(g);
}

/* Two listeners in one slot are both looked up; a slot without any is one load. */
static void test_pairs_that_share_a_slot(void **state)
{
    (void)state;
    struct th_policy p;
    struct sl_kernel_guard *g = NULL;
    char second[32];
    struct sl_addr a = th_ip("192.0.2.1").addr;
    const uint32_t slot = sl_hint_pair_slot(sl_hint_pair(&a, htons(80)));
    unsigned port = 81;
    while (sl_hint_pair_slot(sl_hint_pair(&a, htons((uint16_t)port))) != slot)
        port++;
    assert_true(port < 65536);
    (void)snprintf(second, sizeof(second), "192.0.2.1:%u", port);
    th_veth();
    th_policy(&p, "192.0.2.1:80");
    th_deny(&p, "198.51.100.0/24");
    assert_int_equal(sl_kernel_start(&p.s, &g), 0);
    assert_true(g->hints->pairs[slot] & SL_HINT_ONE);
    assert_true(g->hints->pairs[(slot + 1) % SL_HINT_PAIRS] == SL_HINT_NONE);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", 80, 1);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", port, 2);
    th_bind(&p, 0, second);
    assert_int_equal(sl_kernel_apply(g, &p.s), 0);
    assert_true(g->hints->pairs[slot] == 0);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", 80, 1);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", port, 1);
    stop(g);
}

/* One address of a list is one load; not so where it ends one day, or shares its slot. */
static void test_hosts(void **state)
{
    (void)state;
    struct th_policy p;
    struct sl_kernel_guard *g = NULL;
    const struct sl_addr a = th_ip("198.51.100.1").addr;
    const __u32 slot = sl_hint_pair_slot(sl_hint_pair(&a, 0));
    struct sl_cidr other = th_cidr("198.51.100.2/32"), timed = th_cidr("198.51.100.1/32");
    uint32_t be, n = 0xc6336402;
    do {
        be = htonl(++n);
        memcpy(other.ip.addr.bytes, &be, sizeof(be));
    } while (sl_hint_pair_slot(sl_hint_pair(&other.ip.addr, 0)) != slot);
    th_veth();
    th_policy(&p, "192.0.2.1:80");
    th_deny(&p, "198.51.100.1/32");
    th_allow(&p, "198.51.100.0/24");
    assert_int_equal(sl_kernel_start(&p.s, &g), 0);
    assert_true(g->hints->hosts[slot] & SL_HINT_ONE);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", 80, 1);
    th_expect_on("sl0", "198.51.100.3", "192.0.2.1", 80, 2);
    assert_int_equal(sl_kernel_list_add(g, &other, SL_LIST_DENY, 0), 0);
    assert_true(g->hints->hosts[slot] == 0);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", 80, 1);
    assert_int_equal(sl_kernel_list_remove(g, &other), 1);
    assert_true(g->hints->hosts[slot] & SL_HINT_ONE);
    assert_int_equal(sl_kernel_list_add(g, &timed, SL_LIST_ALLOW, 3600 * SL_NS_PER_SEC), 0);
    assert_true(g->hints->hosts[slot] == 0);
    th_expect_on("sl0", "198.51.100.1", "192.0.2.1", 80, 2);
    stop(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_verdict_changes),
        cmocka_unit_test(test_they_are_given),
        cmocka_unit_test(test_pairs_that_share_a_slot),
        cmocka_unit_test(test_hosts),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
