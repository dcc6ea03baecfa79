/* SPDX-License-Identifier: Apache-2.0 */
/* Samples of drops: what stands in one, how many are taken, and what is counted when one is not. */
#include "bpf_harness.h"
#include "kernel/samples.h"

#define BAD "203.0.113.9"

static struct th_guard guard;
static struct sl_sample seen[4096];
static unsigned n_seen;

static void note(const struct sl_sample *s, void *arg)
{
    (void)arg;
    if (n_seen < SL_ARRAY_LEN(seen))
        seen[n_seen] = *s;
    n_seen++;
}

static void drain(void)
{
    struct sl_sample_ring *ring;
    assert_int_equal(sl_samples_open(bpf_map__fd(guard.skel->maps.sl_samples), note, NULL, &ring), 0);
    n_seen = 0;
    sl_samples_read(ring);
    sl_samples_close(ring);
}

static struct sl_sample_counts counts(void)
{
    struct sl_sample_counts c;
    assert_int_equal(sl_samples_counts(bpf_map__fd(guard.skel->maps.sl_sampled), &c), 0);
    return c;
}

static void sampling(uint64_t interval_ns, uint64_t tolerance_ns)
{
    const uint32_t zero = 0;
    const struct sl_sampling s = {.interval_ns = interval_ns, .tolerance_ns = tolerance_ns};
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(guard.skel->maps.sl_sampling), &zero, &s, BPF_ANY), 0);
    guard.config.flags |= SL_SAMPLE_DROPS;
    th_write_config(&guard);
}

static int setup_with(bool frags)
{
    th_load_ours(&guard, frags, 3, 4);
    th_list(&guard, BAD, SL_LIST_DENY, 0);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(true);
}

static int setup_single_buffer(void **state)
{
    (void)state;
    return setup_with(false);
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static void test_holds_the_packet_and_why(void **state)
{
    (void)state;
    struct th_packet p = th_tcp4(BAD, 40000, OURS, PORT, TH_SYN);
    (void)th_room(&p, 500);
    th_finish(&p);
    sampling(1, 1);
    th_expect(&guard, &p, SL_DROP_DENIED);
    drain();
    assert_int_equal(n_seen, 1);
    const struct sl_sample *s = &seen[0];
    assert_int_equal(s->reason, SL_DROP_DENIED);
    assert_int_equal(s->listener, 3);
    assert_int_equal(s->time_ns, TH_START);
    assert_int_equal(s->ifindex, 1); /* BPF_PROG_TEST_RUN's: loopback */
    assert_int_equal(s->length, p.n);
    assert_int_equal(s->captured, SL_SAMPLE_BYTES);
    assert_memory_equal(s->data, p.b, SL_SAMPLE_BYTES);
    assert_int_equal(s->passed, 0);
    assert_int_equal(s->proto, IPPROTO_TCP);
    assert_int_equal(s->tcp_flags, TH_SYN);
    assert_int_equal(ntohs(s->sport_be), 40000);
    assert_int_equal(ntohs(s->dport_be), PORT);
    const struct sl_ip src = th_ip(BAD), dst = th_ip(OURS);
    assert_memory_equal(&s->src, &src.addr, 16);
    assert_memory_equal(&s->dst, &dst.addr, 16);
}

static void test_short_and_odd_frames(void **state)
{
    (void)state;
    struct th_packet p = th_tcp6("2001:db8::9", 40000, OURS6, PORT, TH_SYN | TH_FIN);
    sampling(1, 1);
    th_expect(&guard, &p, SL_DROP_MALFORMED);
    for (size_t more = 127 - 54; more <= 129 - 54; more++) { /* around SL_SAMPLE_BYTES */
        p = th_tcp4(BAD, 40000, OURS, PORT, TH_ACK);
        (void)th_room(&p, more);
        th_finish(&p);
        th_clock(&guard, TH_START + more * 1000);
        th_expect(&guard, &p, SL_DROP_DENIED);
    }
    drain();
    assert_int_equal(n_seen, 4);
    assert_int_equal(seen[0].family, SL_AF_INET6);
    assert_int_equal(seen[0].captured, 74);
    assert_int_equal(seen[0].length, 74);
    assert_int_equal(seen[1].captured, 127);
    assert_int_equal(seen[2].captured, 128);
    assert_int_equal(seen[3].captured, 128);
    assert_int_equal(seen[3].length, 129);
}

static void test_what_passes_is_not_sampled(void **state)
{
    (void)state;
    const struct th_packet ours = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN),
                           other = th_tcp4(BAD, 40000, OURS, PORT + 1, TH_SYN);
    sampling(1, 1);
    th_expect(&guard, &ours, SL_PASS);
    th_expect(&guard, &other, SL_PASS_NOT_OURS);
    drain();
    assert_int_equal(n_seen, 0);
    const struct sl_sample_counts c = counts();
    assert_int_equal(c.taken + c.lost + c.skipped, 0);
}

static void test_shadow_is_marked(void **state)
{
    (void)state;
    const struct th_packet p = th_tcp4(BAD, 40000, OURS, PORT, TH_SYN);
    guard.config.shadow = 1;
    sampling(1, 1);
    assert_int_equal(th_run_raw(&guard, p.b, p.n), 2 /* XDP_PASS */);
    drain();
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0].passed, 1);
    assert_int_equal(seen[0].reason, SL_DROP_DENIED);
}

static void test_off_takes_none(void **state)
{
    (void)state;
    const struct th_packet p = th_tcp4(BAD, 40000, OURS, PORT, TH_SYN);
    th_expect(&guard, &p, SL_DROP_DENIED); /* no flag */
    sampling(0, 0);
    th_expect(&guard, &p, SL_DROP_DENIED);
    drain();
    assert_int_equal(n_seen, 0);
    const struct sl_sample_counts c = counts();
    assert_int_equal(c.taken + c.lost + c.skipped, 0);
}

/* 10 a second, 2 at once: 2, then one each 100 ms, and all drops are accounted for. */
static void test_rate(void **state)
{
    (void)state;
    const struct th_packet p = th_tcp4(BAD, 40000, OURS, PORT, TH_SYN);
    sampling(100000000, 200000000);
    for (unsigned i = 0; i < 1000; i++) { /* each ms for a second */
        th_clock(&guard, TH_START + i * 1000000ull);
        assert_int_equal(th_run_raw(&guard, p.b, p.n), 1 /* XDP_DROP */);
    }
    drain();
    const struct sl_sample_counts c = counts();
    assert_int_equal(n_seen, 11);
    assert_int_equal(c.taken, 11);
    assert_int_equal(c.lost, 0);
    assert_int_equal(c.skipped, 1000 - 11);
}

static void test_full_ring_is_counted_and_drops_go_on(void **state)
{
    (void)state;
    const struct th_packet p = th_tcp4(BAD, 40000, OURS, PORT, TH_SYN);
    const unsigned more = SL_SAMPLE_RING / sizeof(struct sl_sample) + 10;
    sampling(1, SL_CLOCK_SLACK_NS);
    for (unsigned i = 0; i < more; i++)
        assert_int_equal(th_run_raw(&guard, p.b, p.n), 1 /* XDP_DROP */);
    drain();
    const struct sl_sample_counts c = counts();
    assert_int_equal(c.taken, n_seen);
    assert_true(c.lost >= 10);
    assert_int_equal(c.taken + c.lost, more);
    assert_int_equal(th_run_raw(&guard, p.b, p.n), 1); /* read: there is room again */
    drain();
    assert_int_equal(n_seen, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_holds_the_packet_and_why, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_and_odd_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holds_the_packet_and_why, setup_single_buffer, teardown),
        cmocka_unit_test_setup_teardown(test_short_and_odd_frames, setup_single_buffer, teardown),
        cmocka_unit_test_setup_teardown(test_what_passes_is_not_sampled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shadow_is_marked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_off_takes_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_ring_is_counted_and_drops_go_on, setup, teardown),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests_name("samples of drops", tests, NULL, NULL);
}
