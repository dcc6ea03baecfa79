/* SPDX-License-Identifier: Apache-2.0 */
/* Penalties: given, listed, taken back, doubled, forgotten, and what gives way where there is no room. */
#include "kernel_harness.h"

#include "kernel/guard_priv.h"

static void expect(const char *src, const char *dst, unsigned port, int action)
{
    th_expect_on("sl0", src, dst, port, action);
}

static struct sl_penalty_request request(const char *src, enum sl_penalty_scope effect, uint64_t ns)
{
    struct sl_penalty_request r = {.source = th_ip(src),
                                   .destination = th_ip("192.0.2.1"),
                                   .source_port = 40000,
                                   .destination_port = 443,
                                   .effect = effect,
                                   .duration_ns = ns,
                                   .max_ns = 4 * ns,
                                   .rejections = 200,
                                   .consumer = "acme",
                                   .rule = "tier:partner"};
    return r;
}

struct found {
    unsigned n;
    struct sl_penalty_key key;
    struct sl_penalty_value value;
};

static int note(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    struct found *f = arg;
    f->n++;
    f->key = *k;
    f->value = *v;
    return 0;
}

static struct found penalties(void)
{
    struct found f = {0};
    assert_int_equal(sl_maps_penalties(sl_kernel_fds(guard).penalties, note, &f), 0);
    return f;
}

static void test_penalty_given_listed_taken_back(void **state)
{
    (void)state;
    const struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_SOURCE, 3600 * SL_NS_PER_SEC);
    const struct sl_cidr c = th_cidr("198.51.100.9/32"), other = th_cidr("198.51.100.8/32");
    uint64_t deadline = 0;
    th_start();
    const uint64_t before = sl_now_ns();
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_in_range(deadline, before + r.duration_ns, sl_now_ns() + r.duration_ns);
    expect("198.51.100.9", "192.0.2.1", 443, XDP_DROP);
    th_apply();
    expect("198.51.100.9", "192.0.2.1", 443, XDP_DROP);
    struct found f = penalties();
    assert_int_equal(f.n, 1);
    assert_string_equal(f.value.consumer, "acme");
    assert_string_equal(f.value.rule, "tier:partner");
    assert_int_equal(f.value.rejections, 200);
    assert_int_equal(f.value.deadline_ns, deadline);
    assert_int_equal(sl_kernel_penalty_remove(guard, &other), 0);
    assert_int_equal(sl_kernel_penalty_remove(guard, &c), 1);
    expect("198.51.100.9", "192.0.2.1", 443, XDP_PASS);
    assert_int_equal(penalties().n, 0);
}

static void test_scopes_of_penalties(void **state)
{
    (void)state;
    uint64_t deadline;
    th_start();
    struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_FLOW, 3600 * SL_NS_PER_SEC);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    const struct th_packet flow = th_tcp4("198.51.100.9", 40000, "192.0.2.1", 443, TH_ACK),
                           syn = th_tcp4("198.51.100.9", 40001, "192.0.2.1", 443, TH_SYN),
                           open = th_tcp4("198.51.100.9", 40001, "192.0.2.1", 443, TH_ACK);
    assert_int_equal(th_run_on("sl0", &flow), XDP_DROP);
    assert_int_equal(th_run_on("sl0", &syn), XDP_PASS);
    r.effect = SL_PENALTY_CONNECT;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_int_equal(th_run_on("sl0", &syn), XDP_DROP);
    assert_int_equal(th_run_on("sl0", &open), XDP_PASS);
    r.effect = SL_PENALTY_SOURCE;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_int_equal(th_run_on("sl0", &open), XDP_DROP);
    const uint64_t strongest = deadline; /* what is weaker or shorter changes nothing any more */
    r.effect = SL_PENALTY_CONNECT;
    r.duration_ns = SL_NS_PER_SEC;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_int_equal(deadline, strongest);
    assert_int_equal(th_run_on("sl0", &open), XDP_DROP);
}

/* As another host has reckoned it: nothing is doubled, and told again it changes nothing. */
static void test_penalty_of_another_host(void **state)
{
    (void)state;
    uint64_t deadline, again;
    struct sl_penalty_value v;
    th_start();
    struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_CONNECT, 60 * SL_NS_PER_SEC);
    assert_int_equal(sl_kernel_penalty_get(guard, &r, &v), -ENOENT);
    r.level = 5;
    const uint64_t before = sl_now_ns();
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_in_range(deadline, before + r.duration_ns, sl_now_ns() + r.duration_ns);
    assert_int_equal(sl_kernel_penalty_get(guard, &r, &v), 0);
    assert_int_equal(v.level, 5);
    const uint64_t since = v.since_ns;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &again), 0); /* a little later, since it came a way */
    assert_int_equal(again, deadline);
    assert_int_equal(sl_kernel_penalty_get(guard, &r, &v), 0);
    assert_int_equal(v.since_ns, since);
    r.duration_ns = 600 * SL_NS_PER_SEC;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &again), 0);
    assert_true(again > deadline);
    r.effect = SL_PENALTY_SOURCE;
    r.duration_ns = SL_NS_PER_SEC;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_int_equal(deadline, again); /* stronger, and no shorter */
    assert_int_equal(sl_kernel_penalty_get(guard, &r, &v), 0);
    assert_int_equal(v.effect, SL_PENALTY_SOURCE);
}

/* Puts the entry's times into the past, as if its deadline had come `ago` ns ago. */
static void expire(uint64_t ago)
{
    struct found f = penalties();
    assert_int_equal(f.n, 1);
    const uint64_t length = f.value.deadline_ns - f.value.since_ns;
    f.value.deadline_ns = sl_now_ns() - ago;
    f.value.since_ns = f.value.deadline_ns - length;
    sl_hints_penalty_off(guard, &f.key);
    assert_int_equal(bpf_map_update_elem(sl_kernel_fds(guard).penalties, &f.key, &f.value, BPF_EXIST), 0);
}

static void test_repeats_double_up_to_the_cap(void **state)
{
    (void)state;
    const uint64_t hour = 3600 * SL_NS_PER_SEC;
    const struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_SOURCE, hour);
    static const uint64_t hours[] = {1, 2, 4, 4};
    uint64_t deadline;
    th_start();
    for (size_t i = 0; i < SL_ARRAY_LEN(hours); i++) {
        const uint64_t before = sl_now_ns();
        assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
        assert_in_range(deadline, before + hours[i] * hour, sl_now_ns() + hours[i] * hour);
        assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline),
                         0); /* another worker, at once: no repeat */
        assert_int_equal(penalties().value.level, i + 1);
        expire(SL_NS_PER_SEC); /* the guard's clock is that of the last tick */
        expect("198.51.100.9", "192.0.2.1", 443, XDP_PASS);
        if (i == 1)
            sl_kernel_sweep(guard);         /* keeps it: it may be repeated yet */
        assert_int_equal(penalties().n, 0); /* nothing is listed once it is over */
    }
}

static void test_sweep_forgets_old_penalties(void **state)
{
    (void)state;
    const uint64_t second = SL_NS_PER_SEC;
    const struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_SOURCE, second);
    struct sl_penalty_key key;
    uint64_t deadline;
    th_start();
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    expire(2 * second + 1);
    sl_kernel_sweep(guard);
    assert_int_equal(bpf_map_get_next_key(sl_kernel_fds(guard).penalties, NULL, &key), -ENOENT);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_int_equal(penalties().value.level, 1);
}

static void test_ipv6_penalties_hold_the_64(void **state)
{
    (void)state;
    uint64_t deadline;
    th_bind(&policy, 0, "[2001:db8::1]:443");
    th_start();
    const struct sl_penalty_request r = request("2001:db8:5:5::9", SL_PENALTY_SOURCE, 3600 * SL_NS_PER_SEC);
    const struct sl_cidr one = th_cidr("2001:db8:5:5::1234/128");
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    expect("2001:db8:5:5:ffff::1", "2001:db8::1", 443, XDP_DROP);
    expect("2001:db8:5:6::9", "2001:db8::1", 443, XDP_PASS);
    assert_int_equal(sl_kernel_penalty_remove(guard, &one), 1);
    expect("2001:db8:5:5:ffff::1", "2001:db8::1", 443, XDP_PASS);
}

static void test_bad_requests_are_refused(void **state)
{
    (void)state;
    uint64_t deadline;
    th_start();
    struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_SOURCE, 0);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), -EINVAL);
    r = request("198.51.100.9", 7, 1000);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), -EINVAL);
    r.source.family = 0;
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), -EINVAL);
}

/* Fills the table: the i-th entry ends i seconds after the first. */
static void fill(uint64_t first_ns, uint32_t manual)
{
    for (uint32_t i = 0; i < SL_MAX_PENALTIES; i++) {
        struct sl_penalty_key k = {.family = SL_AF_INET, .scope = SL_PENALTY_SOURCE};
        const struct sl_penalty_value v = {
            .deadline_ns = first_ns + i * SL_NS_PER_SEC, .effect = SL_PENALTY_SOURCE, .manual = manual};
        /* 10.x.x.x, in an order that is not that of the deadlines */
        const uint32_t be = htonl(0x0a000000u + (i * 40503u) % SL_MAX_PENALTIES);
        memcpy(k.addr.bytes, &be, 4);
        assert_int_equal(bpf_map_update_elem(sl_kernel_fds(guard).penalties, &k, &v, 0), 0);
    }
    assert_int_equal(sl_hints_penalties(guard), 0);
}

static const char *nth(uint32_t i, char out[SL_IP_STRLEN])
{
    const uint32_t be = htonl(0x0a000000u + (i * 40503u) % SL_MAX_PENALTIES);
    struct sl_ip ip = {.family = SL_AF_INET};
    memcpy(ip.addr.bytes, &be, 4);
    (void)sl_ip_text(&ip, out);
    return out;
}

static void test_in_a_full_penalty_table_the_nearest_end_gives_way(void **state)
{
    (void)state;
    const uint64_t hour = 3600 * SL_NS_PER_SEC, first = sl_now_ns() + hour;
    const struct sl_cidr all = th_cidr("0.0.0.0/0");
    char name[SL_IP_STRLEN];
    uint64_t deadline;
    th_start();
    fill(first, 0);
    /* nearer than all: it is the one that has no room */
    struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_SOURCE, hour / 2);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), -ENOSPC);
    assert_int_equal(sl_kernel_penalties_refused(guard), 1);
    assert_int_equal(sl_kernel_penalties_evicted(guard), 0);
    /* later than some: they go, one for each, nearest first */
    for (uint32_t i = 0; i < 3; i++) {
        char source[SL_IP_STRLEN];
        (void)snprintf(source, sizeof(source), "198.51.100.%u", 9 + i);
        r = request(source, SL_PENALTY_SOURCE, 24 * hour);
        assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
        assert_int_equal(sl_kernel_penalties_evicted(guard), i + 1);
        expect(source, "192.0.2.1", 443, XDP_DROP);
        expect(nth(i, name), "192.0.2.1", 443, XDP_PASS);
        expect(nth(i + 1, name), "192.0.2.1", 443, XDP_DROP);
    }
    /* one that was made longer is not taken by its old end */
    r = request(nth(3, name), SL_PENALTY_SOURCE, 24 * hour);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    r = request("198.51.100.77", SL_PENALTY_SOURCE, 24 * hour);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    expect(nth(3, name), "192.0.2.1", 443, XDP_DROP);
    expect(nth(4, name), "192.0.2.1", 443, XDP_PASS);
    assert_int_equal(sl_kernel_penalties_evicted(guard), 4);
    assert_int_equal(sl_kernel_penalties_refused(guard), 1);
    assert_int_equal(sl_kernel_penalty_remove(guard, &all), SL_MAX_PENALTIES);
}

static void test_an_operators_penalty_gives_way_to_none(void **state)
{
    (void)state;
    const uint64_t hour = 3600 * SL_NS_PER_SEC;
    const struct sl_cidr all = th_cidr("0.0.0.0/0");
    uint64_t deadline;
    th_start();
    fill(sl_now_ns() + hour, 1);
    const struct sl_penalty_request r = request("198.51.100.9", SL_PENALTY_SOURCE, 24 * hour);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), -ENOSPC);
    assert_int_equal(sl_kernel_penalties_refused(guard), 1);
    expect("198.51.100.9", "192.0.2.1", 443, XDP_PASS);
    assert_int_equal(sl_kernel_penalty_remove(guard, &all), SL_MAX_PENALTIES);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    expect("198.51.100.9", "192.0.2.1", 443, XDP_DROP);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, th_setup, th_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_penalty_given_listed_taken_back),
        TEST(test_scopes_of_penalties),
        TEST(test_penalty_of_another_host),
        TEST(test_repeats_double_up_to_the_cap),
        TEST(test_sweep_forgets_old_penalties),
        TEST(test_ipv6_penalties_hold_the_64),
        TEST(test_bad_requests_are_refused),
        TEST(test_in_a_full_penalty_table_the_nearest_end_gives_way),
        TEST(test_an_operators_penalty_gives_way_to_none),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
