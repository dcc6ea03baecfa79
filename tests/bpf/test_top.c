/* SPDX-License-Identifier: Apache-2.0 */
/* Who sends most: what is counted, what a spoofed flood does to it, and that the bounds hold. */
#include "bpf_harness.h"
#include "kernel/top.h"

#define OURS  "192.0.2.1"
#define OURS6 "2001:db8::1"
#define PORT  443

static struct th_guard guard;
static struct sl_top_entry top[SL_TOP_MAX];

static void load_one_in(uint32_t flags, uint32_t one_in)
{
    memset(&guard, 0, sizeof(guard));
    guard.skel = xdp_guard__open();
    assert_non_null(guard.skel);
    guard.skel->rodata->test_clock = 1;
    guard.skel->rodata->top_one_in = one_in;
    guard.skel->rodata->top_seed = 0x123456789abcdefull;
    assert_int_equal(xdp_guard__load(guard.skel), 0);
    guard.config.ipv6_prefix = 64;
    guard.config.flags = flags;
    th_write_config(&guard);
    th_clock(&guard, TH_START);
    th_listen(&guard, OURS, PORT, 3);
    th_listen(&guard, OURS6, PORT, 4);
    th_list(&guard, "203.0.0.0/8", SL_LIST_DENY, 0);
    th_list(&guard, "2001:db8:bad::/48", SL_LIST_DENY, 0);
}

/* All are counted, so that counts are exact. */
static void load(uint32_t flags)
{
    load_one_in(flags, 1);
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static void send4(const char *src, unsigned n)
{
    const struct th_packet p = th_tcp4(src, 40000, OURS, PORT, TH_ACK);
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p.b, .data_size_in = (uint32_t)p.n, .repeat = (int)n);
    assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(guard.skel->progs.sl_xdp_guard), &o), 0);
}

static int read_top(enum sl_top_kind kind, uint64_t now)
{
    const int n = sl_top_read(bpf_map__fd(guard.skel->maps.sl_top), kind, now, top, SL_TOP_MAX);
    assert_true(n >= 0);
    for (int i = 1; i < n; i++)
        assert_true(top[i - 1].at_least >= top[i].at_least && top[i].at_least <= top[i].at_most);
    return n;
}

static void is(int i, const char *cidr, uint64_t packets)
{
    char text[SL_IP_STRLEN];
    assert_string_equal(sl_cidr_text(&top[i].who, text), cidr);
    assert_true(top[i].at_least <= packets * SL_TOP_ONE_IN && packets * SL_TOP_ONE_IN <= top[i].at_most);
}

static void test_counts_drops_by_source_and_prefix(void **state)
{
    (void)state;
    load(SL_TOP_DROPPED);
    send4("203.0.113.9", 50);
    send4("203.0.113.77", 30);
    send4("198.51.100.7", 1000); /* passes */
    for (unsigned i = 1; i <= 20; i++) {
        char src[40];
        (void)snprintf(src, sizeof(src), "2001:db8:bad:1::%x", i);
        const struct th_packet p = th_tcp6(src, 40000, OURS6, PORT, TH_ACK);
        th_expect(&guard, &p, SL_DROP_DENIED);
    }
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START), 3);
    is(0, "203.0.113.9/32", 50);
    is(1, "203.0.113.77/32", 30);
    is(2, "2001:db8:bad:1::/64", 20);
    assert_int_equal(read_top(SL_TOP_PREFIX, TH_START), 2);
    is(0, "203.0.113.0/24", 80);
    is(1, "2001:db8:bad::/48", 20);
}

static void test_all_counts_what_passes_but_not_what_is_not_ours(void **state)
{
    (void)state;
    load(SL_TOP_ALL);
    send4("203.0.113.9", 5);
    send4("198.51.100.7", 10);
    const struct th_packet other = th_tcp4("198.51.100.8", 40000, OURS, PORT + 1, TH_SYN);
    th_expect(&guard, &other, SL_PASS_NOT_OURS);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START), 2);
    is(0, "198.51.100.7/32", 10);
    is(1, "203.0.113.9/32", 5);
}

static void test_off_counts_nothing(void **state)
{
    (void)state;
    load(0);
    send4("203.0.113.9", 50);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START), 0);
}

static void test_windows_pass(void **state)
{
    (void)state;
    load(SL_TOP_DROPPED);
    send4("203.0.113.9", 50);
    th_clock(&guard, TH_START + SL_TOP_WINDOW_NS);
    send4("203.0.113.9", 5);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START + SL_TOP_WINDOW_NS), 1);
    is(0, "203.0.113.9/32", 55);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START + 2 * SL_TOP_WINDOW_NS), 1);
    is(0, "203.0.113.9/32", 5);
    th_clock(&guard, TH_START + 2 * SL_TOP_WINDOW_NS); /* the first window's table is begun anew */
    send4("203.0.113.9", 1);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START + 2 * SL_TOP_WINDOW_NS), 1);
    is(0, "203.0.113.9/32", 6);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START + 9 * SL_TOP_WINDOW_NS), 0);
}

/* 50,000 invented sources, and ten packets of one host after every thousand, one percent in all: he is named,
 * within his bounds. */
static void test_a_spoofed_flood_hides_nobody(void **state)
{
    (void)state;
    const unsigned flood = 50000, each = 10;
    struct th_packet p = th_tcp4("203.1.0.1", 40000, OURS, PORT, TH_ACK);
    unsigned his = 0;
    load(SL_TOP_DROPPED);
    for (unsigned i = 0; i < flood; i++) {
        p.b[p.ip + 13] = (unsigned char)(1 + i / 65536);
        th_put16(p.b + p.ip + 14, i % 65536);
        assert_int_equal(th_run_raw(&guard, p.b, p.n), 1 /* XDP_DROP */);
        if (i % 1000 == 0) {
            send4("203.255.255.9", each);
            his += each;
        }
    }
    assert_true(read_top(SL_TOP_SOURCE, TH_START) == SL_TOP_MAX);
    is(0, "203.255.255.9/32", his);
    assert_true(his > flood / SL_TOP_SLOTS); /* or nothing would be promised */
}

/* The clock of the guard stands still between ticks: packets of one are still counted each by itself. Of
 * 16,000, 1,000 are expected; one run in 10^50 is off by half. */
static void test_one_in_so_many_is_counted_at_random(void **state)
{
    (void)state;
    load_one_in(SL_TOP_DROPPED, SL_TOP_ONE_IN);
    send4("203.0.113.9", 1000 * SL_TOP_ONE_IN);
    assert_int_equal(read_top(SL_TOP_SOURCE, TH_START), 1);
    assert_in_range(top[0].at_least, 500 * SL_TOP_ONE_IN, 1500 * SL_TOP_ONE_IN);
    assert_int_equal(top[0].at_least, top[0].at_most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_counts_drops_by_source_and_prefix, teardown),
        cmocka_unit_test_teardown(test_all_counts_what_passes_but_not_what_is_not_ours, teardown),
        cmocka_unit_test_teardown(test_off_counts_nothing, teardown),
        cmocka_unit_test_teardown(test_windows_pass, teardown),
        cmocka_unit_test_teardown(test_one_in_so_many_is_counted_at_random, teardown),
        cmocka_unit_test_teardown(test_a_spoofed_flood_hides_nobody, teardown),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests_name("top sources", tests, NULL, NULL);
}
