/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's life on a veth pair: attach, take over, refuse to displace, detach with nothing left. */
#include "kernel_harness.h"

#include "exact.skel.h"

/* Asks the kernel for filters and TCX programs by bpftool: how many lines name ours. */
static int count_ours_at_tc(void)
{
    FILE *f = popen("bpftool net show 2>/dev/null | grep -c 'sl_tc_'", "r");
    int n = -1;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static void assert_nothing_left(void)
{
    assert_int_equal(th_xdp_on("sl0"), 0);
    assert_int_equal(count_ours_at_tc(), 0);
    assert_int_not_equal(access(SL_PIN_ROOT, F_OK), 0);
    th_sh("! tc qdisc show dev sl0 | grep -q clsact");
}

static void test_attaches_native_and_leaves_nothing(void **state)
{
    (void)state;
    struct sl_attach_state st[2];
    th_meter(&policy);
    th_start();
    assert_int_equal(sl_kernel_attach_states(guard, st, 2), 1);
    assert_string_equal(st[0].interface, "sl0");
    assert_int_equal(st[0].xdp, SL_ATTACH_NATIVE);
    assert_true(strcmp(st[0].tc, "tcx") == 0 || strcmp(st[0].tc, "clsact") == 0);
    assert_int_not_equal(th_xdp_on("sl0"), 0);
    assert_int_equal(access(TH_PINS "/links/xdp_sl0", F_OK), 0);
    assert_int_equal(access(TH_PINS "/maps/sl_buckets", F_OK), 0);
    assert_true(sl_kernel_detach_all() >= 1);
    assert_nothing_left();
}

static void test_close_keeps_guarding(void **state)
{
    (void)state;
    th_deny(&policy, "203.0.113.0/24");
    th_start();
    const uint32_t prog = th_xdp_on("sl0");
    th_stop();
    assert_int_equal(th_xdp_on("sl0"), prog);
    th_expect_on("sl0", "203.0.113.5", "192.0.2.1", 443, XDP_DROP);
    assert_true(sl_kernel_detach_all() >= 1); /* with the daemon gone */
    assert_nothing_left();
    assert_int_equal(sl_kernel_detach_all(), 0);
}

static void test_detach_while_the_daemon_lives(void **state)
{
    (void)state;
    struct sl_attach_state st;
    th_start();
    assert_true(sl_kernel_detach_all() >= 1); /* although the guard holds the links open */
    assert_nothing_left();
    assert_int_equal(sl_kernel_refresh(guard), 0); /* not put on again behind the operator's back */
    assert_nothing_left();
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_NONE);
    th_apply(); /* that is the way back */
    assert_int_not_equal(th_xdp_on("sl0"), 0);
    th_restart();
    assert_int_not_equal(th_xdp_on("sl0"), 0);
}

static void test_takeover_keeps_link_and_state(void **state)
{
    (void)state;
    struct sl_penalty_request r = {
        .source = th_ip("198.51.100.9"), .effect = SL_PENALTY_SOURCE, .duration_ns = 3600 * SL_NS_PER_SEC};
    const struct sl_cidr denied = th_cidr("198.51.100.77/32");
    uint64_t deadline;
    unsigned ifindex;
    th_start();
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    assert_int_equal(sl_kernel_list_add(guard, &denied, SL_LIST_DENY, 0), 0);
    struct sl_bucket_table t = sl_kernel_buckets(guard);
    struct sl_bucket *b = sl_bucket_get(&t, 12345, sl_now_ns());
    b->tat = deadline;
    const uint64_t seed = t.seed;
    const int link_before = bpf_obj_get(TH_PINS "/links/xdp_sl0");
    struct bpf_link_info before = {0}, after = {0};
    uint32_t len = sizeof(before);
    assert_int_equal(bpf_obj_get_info_by_fd(link_before, &before, &len), 0);
    th_restart();
    const int link_after = bpf_obj_get(TH_PINS "/links/xdp_sl0");
    len = sizeof(after);
    assert_int_equal(bpf_obj_get_info_by_fd(link_after, &after, &len), 0);
    close(link_before);
    close(link_after);
    assert_int_equal(after.id, before.id);               /* the same link */
    assert_int_not_equal(after.prog_id, before.prog_id); /* with the new program */
    assert_int_equal(th_prog_of_link(TH_PINS "/links/xdp_sl0", &ifindex), (int)th_xdp_on("sl0"));
    assert_int_equal(ifindex, if_nametoindex("sl0"));
    th_expect_on("sl0", "198.51.100.9", "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", "198.51.100.77", "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", "198.51.100.78", "192.0.2.1", 443, XDP_PASS);
    t = sl_kernel_buckets(guard);
    assert_int_equal(t.seed, seed);
    assert_int_equal(sl_bucket_get(&t, 12345, sl_now_ns())->tat, deadline);
}

static void test_buckets_move_into_a_table_of_another_size(void **state)
{
    (void)state;
    th_start();
    const uint64_t now = sl_now_ns(), ahead = now + 3600 * SL_NS_PER_SEC;
    struct sl_bucket_table t = sl_kernel_buckets(guard);
    for (uint64_t key = 1; key <= 1000; key++)
        sl_bucket_get(&t, key * 0x9e3779b97f4a7c15ull, now)->tat = ahead + key;
    policy.s.kernel.table_size = 32768;
    th_restart();
    t = sl_kernel_buckets(guard);
    assert_int_equal(t.n, 32768);
    for (uint64_t key = 1; key <= 1000; key++)
        assert_int_equal(sl_bucket_get(&t, key * 0x9e3779b97f4a7c15ull, now)->tat, ahead + key);
}

static void test_state_of_another_boot_is_discarded(void **state)
{
    (void)state;
    struct sl_penalty_request r = {
        .source = th_ip("198.51.100.9"), .effect = SL_PENALTY_SOURCE, .duration_ns = 3600 * SL_NS_PER_SEC};
    struct sl_state_header h;
    uint64_t deadline;
    const uint32_t zero = 0;
    th_start();
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    const int fd = bpf_obj_get(TH_PINS "/maps/sl_state");
    assert_int_equal(bpf_map_lookup_elem(fd, &zero, &h), 0);
    h.boot_id[3] ^= 1;
    assert_int_equal(bpf_map_update_elem(fd, &zero, &h, 0), 0);
    close(fd);
    th_restart();
    th_expect_on("sl0", "198.51.100.9", "192.0.2.1", 443, XDP_PASS);
    const int again = bpf_obj_get(TH_PINS "/maps/sl_state");
    struct sl_state_header now;
    assert_int_equal(bpf_map_lookup_elem(again, &zero, &now), 0);
    close(again);
    assert_memory_not_equal(now.boot_id, h.boot_id, 16);
    assert_int_not_equal(now.bucket_seed, h.bucket_seed);
}

static void test_another_owner_is_never_displaced(void **state)
{
    (void)state;
    struct exact *other = exact__open_and_load();
    assert_non_null(other);
    const int fd = bpf_program__fd(other->progs.take_each);
    static const uint32_t modes[] = {1u << 2 /* native */, 1u << 1 /* generic */};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bpf_xdp_attach((int)if_nametoindex("sl0"), fd, modes[i], NULL), 0);
        const uint32_t owner = th_xdp_on("sl0");
        assert_int_equal(sl_kernel_start(&policy.s, &guard), -EBUSY);
        assert_null(guard);
        assert_int_equal(th_xdp_on("sl0"), owner);
        assert_int_equal(count_ours_at_tc(), 0);
        assert_int_not_equal(access(TH_PINS, F_OK), 0);
        assert_int_equal(bpf_xdp_detach((int)if_nametoindex("sl0"), modes[i], NULL), 0);
    }
    exact__destroy(other);
}

/* Another mount over the bpffs hides our own pins: what is on the interface is not doubled, and is found
 * again. */
static void test_a_hidden_bpffs_leads_to_no_second_program(void **state)
{
    (void)state;
    th_start();
    const uint32_t program = th_xdp_on("sl0");
    sl_kernel_close(guard);
    guard = NULL;
    assert_int_equal(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), 0);
    assert_true(sl_kernel_start(&policy.s, &guard) < 0);
    assert_int_equal(th_xdp_on("sl0"), program);
    assert_int_equal(umount2("/sys/fs/bpf", MNT_DETACH), 0);
    th_start();
    th_expect_on("sl0", "198.51.100.9", "192.0.2.1", 443, XDP_PASS);
}

static void test_missing_interface(void **state)
{
    (void)state;
    policy.interfaces[1] = SL_S("nonesuch0");
    policy.s.kernel.interfaces.n = 2;
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -ENODEV);
    assert_nothing_left(); /* sl0 had been attached by then */
    policy.interfaces[1] = SL_S("a-name-of-sixteen");
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -ENODEV);
    assert_nothing_left();
}

static void test_a_failed_apply_changes_nothing(void **state)
{
    (void)state;
    th_deny(&policy, "203.0.113.0/24");
    th_start();
    const uint32_t prog = th_xdp_on("sl0");
    policy.deny[0] = th_cidr("198.51.100.0/24");
    policy.interfaces[1] = SL_S("nonesuch0");
    policy.s.kernel.interfaces.n = 2;
    assert_int_equal(sl_kernel_apply(guard, &policy.s), -ENODEV);
    assert_int_equal(th_xdp_on("sl0"), prog);
    th_expect_on("sl0", "203.0.113.5", "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", "198.51.100.5", "192.0.2.1", 443, XDP_PASS);
    policy.s.kernel.interfaces.n = 1;
    th_apply();
    th_expect_on("sl0", "203.0.113.5", "192.0.2.1", 443, XDP_PASS);
    th_expect_on("sl0", "198.51.100.5", "192.0.2.1", 443, XDP_DROP);
}

static void test_interfaces_come_and_go_with_the_policy(void **state)
{
    (void)state;
    struct sl_attach_state st[2];
    th_start();
    policy.interfaces[1] = SL_S("sl1");
    policy.s.kernel.interfaces.n = 2;
    th_apply();
    assert_int_equal(sl_kernel_attach_states(guard, st, 2), 2);
    assert_int_not_equal(th_xdp_on("sl1"), 0);
    policy.interfaces[0] = SL_S("sl1");
    policy.s.kernel.interfaces.n = 1;
    th_apply();
    assert_int_equal(th_xdp_on("sl0"), 0);
    assert_int_not_equal(th_xdp_on("sl1"), 0);
    policy.interfaces[0] = SL_S("sl0"); /* and over a restart */
    th_restart();
    assert_int_equal(th_xdp_on("sl1"), 0);
    assert_int_not_equal(th_xdp_on("sl0"), 0);
}

static void test_an_interface_that_comes_back_is_guarded_again(void **state)
{
    (void)state;
    struct sl_attach_state st;
    th_start();
    assert_true(sl_kernel_netlink_fd(guard) >= 0);
    sl_kernel_netlink_drain(guard);
    th_no_veth();
    assert_int_equal(sl_kernel_refresh(guard), 0);
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_NONE);
    th_veth();
    assert_int_equal(sl_kernel_refresh(guard), 0);
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_NATIVE);
    assert_int_not_equal(th_xdp_on("sl0"), 0);
}

static uint32_t link_of(const char *pin)
{
    struct bpf_link_info i = {0};
    uint32_t len = sizeof(i);
    const int fd = bpf_obj_get(pin);
    if (fd < 0)
        fail_msg("%s: %s", pin, strerror(errno));
    assert_int_equal(bpf_obj_get_info_by_fd(fd, &i, &len), 0);
    close(fd);
    return i.id;
}

static void test_a_renamed_interface_stays_guarded(void **state)
{
    (void)state;
    struct sl_attach_state st[2], before[1];
    th_meter(&policy);
    th_start();
    const uint32_t link = link_of(TH_PINS "/links/xdp_sl0"), prog = th_xdp_on("sl0");
    assert_int_equal(sl_kernel_attach_states(guard, before, 1), 1);
    const uint32_t tc = strcmp(before[0].tc, "tcx") == 0 ? link_of(TH_PINS "/links/tcx_in_sl0") : 0;
    th_sh("ip link set sl0 down && ip link set sl0 name sl9 && ip link set sl9 up");
    assert_int_equal(sl_kernel_refresh(guard), 0);
    assert_int_equal(th_xdp_on("sl9"), prog);
    policy.interfaces[0] = SL_S("sl9"); /* the policy learns the new name */
    th_apply();
    assert_int_equal(link_of(TH_PINS "/links/xdp_sl9"), link);
    assert_int_not_equal(access(TH_PINS "/links/xdp_sl0", F_OK), 0);
    assert_int_equal(sl_kernel_attach_states(guard, st, 2), 1);
    assert_string_equal(st[0].interface, "sl9");
    assert_int_equal(st[0].xdp, SL_ATTACH_NATIVE);
    sl_kernel_close(guard); /* renamed while no daemon runs */
    guard = NULL;
    th_sh("ip link set sl9 down && ip link set sl9 name sl0 && ip link set sl0 up");
    policy.interfaces[0] = SL_S("sl0");
    th_start();
    assert_int_equal(link_of(TH_PINS "/links/xdp_sl0"), link);
    assert_int_not_equal(access(TH_PINS "/links/xdp_sl9", F_OK), 0);
    if (strcmp(before[0].tc, "tcx") == 0)
        assert_int_equal(link_of(TH_PINS "/links/tcx_in_sl0"), tc);
}

static void test_a_renamed_interface_that_is_no_longer_wanted(void **state)
{
    (void)state;
    th_start();
    th_sh("ip link set sl0 down && ip link set sl0 name sl9 && ip link set sl9 up");
    assert_int_equal(sl_kernel_refresh(guard), 0);
    policy.interfaces[0] = SL_S("sl1");
    th_apply();
    assert_int_equal(th_xdp_on("sl9"), 0);
    assert_int_not_equal(th_xdp_on("sl1"), 0);
    th_sh("ip link set sl9 down && ip link set sl9 name sl0");
}

static void test_another_interface_takes_the_name(void **state)
{
    (void)state;
    th_start();
    th_sh("ip link set sl0 down && ip link set sl0 name sl9 && ip link set sl9 up");
    assert_int_equal(sl_kernel_refresh(guard), 0);
    th_sh("ip link set sl1 down && ip link set sl1 name sl0 && ip link set sl0 up");
    assert_int_equal(sl_kernel_refresh(guard), 0);
    assert_int_not_equal(th_xdp_on("sl0"), 0);
    assert_int_equal(th_xdp_on("sl9"), 0); /* the policy says sl0 */
}

static void test_generic_mode(void **state)
{
    (void)state;
    struct sl_attach_state st;
    policy.s.kernel.mode = SL_KERNEL_GENERIC;
    th_start();
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_GENERIC);
    policy.s.kernel.mode = SL_KERNEL_NATIVE; /* the mode changes with the policy */
    th_apply();
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_NATIVE);
}

static void test_auto_falls_back_native_refuses(void **state)
{
    (void)state;
    struct sl_attach_state st;
    policy.interfaces[0] = SL_S("lo"); /* a driver without XDP */
    policy.s.kernel.mode = SL_KERNEL_NATIVE;
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -EOPNOTSUPP);
    policy.s.kernel.mode = SL_KERNEL_AUTO;
    th_start();
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_GENERIC);
}

static void test_a_dot_in_an_interface_name(void **state)
{
    (void)state;
    th_sh("ip link add sl0.7 type veth peer name sl1.7 && ip link set sl0.7 up");
    policy.interfaces[0] = SL_S("sl0.7");
    th_start();
    th_restart();
    assert_int_not_equal(th_xdp_on("sl0.7"), 0);
    policy.interfaces[0] = SL_S("sl0");
    th_restart();
    assert_int_equal(th_xdp_on("sl0.7"), 0);
    assert_int_not_equal(th_xdp_on("sl0"), 0);
    th_sh("ip link del sl0.7");
}

static void test_jumbo_frames(void **state)
{
    (void)state;
    struct sl_attach_state st;
    th_sh("ip link set sl0 mtu 9000 && ip link set sl1 mtu 9000");
    th_start();
    assert_int_equal(sl_kernel_attach_states(guard, &st, 1), 1);
    assert_int_equal(st.xdp, SL_ATTACH_NATIVE);
}

static void test_another_pin_root(void **state)
{
    (void)state;
    assert_int_equal(setenv("SLUICE_BPF_ROOT", "/sys/fs/bpf/elsewhere", 1), 0);
    th_start();
    assert_int_equal(access("/sys/fs/bpf/elsewhere/v" SL_ABI_SCHEMA_STR "/links/xdp_sl0", F_OK), 0);
    th_stop();
    assert_true(sl_kernel_detach_all() >= 1);
    assert_nothing_left();
    assert_int_equal(setenv("SLUICE_BPF_ROOT", "/tmp/sluice", 1), 0); /* no bpffs */
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -ENODEV);
    assert_int_equal(unsetenv("SLUICE_BPF_ROOT"), 0);
}

static void test_mode_off(void **state)
{
    (void)state;
    size_t n;
    th_start();
    th_stop();
    policy.s.kernel.mode = SL_KERNEL_OFF;
    th_start(); /* takes off what the former daemon left */
    assert_nothing_left();
    const struct sl_kernel_fds f = sl_kernel_fds(guard);
    assert_int_equal(f.penalties, -1);
    assert_int_equal(f.reasons, -1);
    struct sl_bucket *b = sl_maps_buckets(f.buckets, &n);
    assert_non_null(b);
    assert_int_equal(n, 4096);
    b[7].tat = 9;
    assert_int_equal(sl_kernel_buckets(guard).slots[7].tat, 9); /* one memory */
    assert_int_equal(sl_kernel_netlink_fd(guard), -1);
    const struct sl_cidr c = th_cidr("10.0.0.0/8");
    assert_int_equal(sl_kernel_list_add(guard, &c, SL_LIST_DENY, 0), -ENODEV);
    policy.s.kernel.mode = SL_KERNEL_AUTO;
    assert_int_equal(sl_kernel_apply(guard, &policy.s), -EOPNOTSUPP);
    policy.s.kernel.mode = SL_KERNEL_OFF;
    th_apply();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, th_setup, th_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_attaches_native_and_leaves_nothing),
        TEST(test_close_keeps_guarding),
        TEST(test_detach_while_the_daemon_lives),
        TEST(test_takeover_keeps_link_and_state),
        TEST(test_buckets_move_into_a_table_of_another_size),
        TEST(test_state_of_another_boot_is_discarded),
        TEST(test_another_owner_is_never_displaced),
        TEST(test_a_hidden_bpffs_leads_to_no_second_program),
        TEST(test_missing_interface),
        TEST(test_a_failed_apply_changes_nothing),
        TEST(test_interfaces_come_and_go_with_the_policy),
        TEST(test_an_interface_that_comes_back_is_guarded_again),
        TEST(test_a_renamed_interface_stays_guarded),
        TEST(test_a_renamed_interface_that_is_no_longer_wanted),
        TEST(test_another_interface_takes_the_name),
        TEST(test_generic_mode),
        TEST(test_auto_falls_back_native_refuses),
        TEST(test_a_dot_in_an_interface_name),
        TEST(test_jumbo_frames),
        TEST(test_another_pin_root),
        TEST(test_mode_off),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
