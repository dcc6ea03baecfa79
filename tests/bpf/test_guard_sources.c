/* SPDX-License-Identifier: Apache-2.0 */
/* Sources as the daemon keeps them: from the policy, over restarts, and forgotten in the end. */
#include "kernel_harness.h"

#include "kernel/guard_priv.h"

#define HOUR (3600 * SL_NS_PER_SEC)

static struct th_policy policy;
static struct sl_kernel_guard *guard;

static int setup(void **state)
{
    (void)state;
    th_veth();
    th_policy(&policy, "192.0.2.1:443");
    th_bind(&policy, 0, "[2001:db8::1]:443");
    policy.s.kernel.per_source.burst = policy.s.kernel.per_prefix.burst = 3600;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sl_kernel_close(guard);
    guard = NULL;
    (void)sl_kernel_detach_all();
    th_no_veth();
    return 0;
}

static void start(void)
{
    assert_int_equal(sl_kernel_start(&policy.s, &guard), 0);
}

static unsigned admitted(const char *src, unsigned n)
{
    unsigned admitted = 0;
    const struct th_packet p = strchr(src, ':') ? th_tcp6(src, 40000, "2001:db8::1", 443, TH_SYN)
                                                : th_tcp4(src, 40000, "192.0.2.1", 443, TH_SYN);
    for (unsigned i = 0; i < n; i++)
        admitted += th_run_on("sl0", &p) == 2;
    return admitted;
}

static void test_prefix_limit_from_the_policy(void **state)
{
    (void)state;
    policy.s.kernel.per_prefix.new_connections = (struct sl_rate){.count = 5, .per_ns = HOUR};
    start();
    assert_int_equal(admitted("198.51.100.1", 3), 3);
    assert_int_equal(admitted("198.51.100.2", 9), 2);
    assert_int_equal(admitted("198.51.101.1", 3), 3);
    policy.s.kernel.per_prefix.new_connections.count = 0;
    assert_int_equal(sl_kernel_apply(guard, &policy.s), 0);
    assert_int_equal(admitted("198.51.100.1", 9), 9);
}

static void test_ipv6_prefix_from_the_policy(void **state)
{
    (void)state;
    policy.s.kernel.per_source.new_connections = (struct sl_rate){.count = 5, .per_ns = HOUR};
    start();
    assert_int_equal(admitted("2001:db8:5:6::1", 3), 3);
    assert_int_equal(admitted("2001:db8:5:6::2", 9), 2);
    assert_int_equal(admitted("2001:db8:5:7::2", 2), 2);
    policy.s.kernel.ipv6_prefix = 128;
    assert_int_equal(sl_kernel_apply(guard, &policy.s), 0);
    assert_int_equal(admitted("2001:db8:5:6::1", 9), 5);
    assert_int_equal(admitted("2001:db8:5:6::2", 9), 5);
}

static void test_a_restart_forgets_nobody(void **state)
{
    (void)state;
    policy.s.kernel.per_source.new_connections = (struct sl_rate){.count = 5, .per_ns = HOUR};
    start();
    assert_int_equal(admitted("198.51.100.1", 9), 5);
    sl_kernel_close(guard);
    start();
    assert_int_equal(admitted("198.51.100.1", 9), 0); /* the sketch and its seeds are those of before */
    assert_int_equal(admitted("198.51.100.2", 9), 5);
}

static struct sl_source_key source(const char *address)
{
    return (struct sl_source_key){.addr = th_ip(address).addr, .family = SL_AF_INET};
}

static int proven(const char *pin, const struct sl_source_key *key, struct sl_source *v)
{
    const int fd = bpf_obj_get(pin);
    assert_true(fd >= 0);
    const int r = bpf_map_lookup_elem(fd, key, v);
    close(fd);
    return r;
}

static void test_silent_sources_are_forgotten(void **state)
{
    (void)state;
    const char *pin = SL_PIN_ROOT "/v" SL_ABI_SCHEMA_STR "/maps/sl_sources";
    const struct sl_source_key idle = source("198.51.100.1"), used = source("198.51.100.2"),
                               seen = source("198.51.100.3");
    const uint64_t now = sl_now_ns(), later = now + 301 * SL_NS_PER_SEC;
    const struct sl_source values[] = {{.seen_ns = now, .tat_packets = later},
                                       {.seen_ns = now, .tat_packets = later + 1},
                                       {.seen_ns = now + 2 * SL_NS_PER_SEC}};
    struct sl_source v;
    start();
    const int fd = bpf_obj_get(pin);
    assert_true(fd >= 0);
    assert_int_equal(bpf_map_update_elem(fd, &idle, &values[0], BPF_ANY), 0);
    assert_int_equal(bpf_map_update_elem(fd, &used, &values[1], BPF_ANY), 0);
    assert_int_equal(bpf_map_update_elem(fd, &seen, &values[2], BPF_ANY), 0);
    close(fd);
    sl_sources_sweep(guard, now + 299 * SL_NS_PER_SEC);
    assert_int_equal(proven(pin, &idle, &v), 0);
    sl_sources_sweep(guard, later);
    assert_int_equal(proven(pin, &idle, &v), -ENOENT);
    assert_int_equal(proven(pin, &used, &v), 0);
    assert_int_equal(proven(pin, &seen, &v), 0);
    sl_sources_sweep(guard, later + HOUR);
    assert_int_equal(proven(pin, &used, &v), -ENOENT);
    assert_int_equal(proven(pin, &seen, &v), -ENOENT);
}

/* More than one batch holds: call by call, all of it. */
static void test_a_large_map_is_swept_in_parts(void **state)
{
    (void)state;
    enum { SOURCES = 12000 };
    struct sl_source_key key = {.family = SL_AF_INET};
    const struct sl_source old = {.seen_ns = 1};
    policy.s.kernel.table_size = 32768;
    start();
    const int fd = bpf_obj_get(SL_PIN_ROOT "/v" SL_ABI_SCHEMA_STR "/maps/sl_sources");
    assert_true(fd >= 0);
    for (uint32_t i = 0; i < SOURCES; i++) {
        memcpy(key.addr.bytes, &i, sizeof(i));
        assert_int_equal(bpf_map_update_elem(fd, &key, &old, BPF_ANY), 0);
    }
    sl_sources_sweep(guard, sl_now_ns() + HOUR);
    assert_int_equal(bpf_map_get_next_key(fd, NULL, &key), 0);
    for (unsigned i = 0; i < 8 && bpf_map_get_next_key(fd, NULL, &key) == 0; i++)
        sl_sources_sweep(guard, sl_now_ns() + HOUR);
    assert_int_equal(bpf_map_get_next_key(fd, NULL, &key), -ENOENT);
    close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prefix_limit_from_the_policy),  TEST(test_ipv6_prefix_from_the_policy),
        TEST(test_a_restart_forgets_nobody),      TEST(test_silent_sources_are_forgotten),
        TEST(test_a_large_map_is_swept_in_parts),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
