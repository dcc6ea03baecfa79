/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a schema before to this one: what a daemon of it would have left pinned is made out of what ours
 * leaves. Schema 0 is invented here, with smaller penalties and lists that know no deadline; schema 1 is the
 * one that was released.
 */
#include "flood.h"

#include "kernel/guard_priv.h"

#include <fcntl.h>
#include <sys/file.h>

#define DIR0 SL_PIN_ROOT "/v0"
#define DIR1 SL_PIN_ROOT "/v1"

#define PENALISED "198.51.100.9"
#define DENIED    "198.51.100.77"
#define BY_POLICY "203.0.113.5"
#define WELCOME   "198.51.100.10"

struct penalty_key0 {
    __u8 addr[16];
    __u8 family, zero[3];
};
struct penalty_value0 {
    __u64 deadline_ns;
    __u32 effect, zero;
};
struct list_value0 {
    __u32 verdict, generation;
};

static int copy_penalty(const void *key, const void *value, void *new_key, void *new_value)
{
    const struct penalty_key0 *k = key;
    const struct penalty_value0 *v = value;
    struct sl_penalty_key *nk = new_key;
    struct sl_penalty_value *nv = new_value;
    memcpy(nk->addr.bytes, k->addr, sizeof(k->addr));
    nk->family = k->family;
    nk->scope = SL_PENALTY_SOURCE;
    nv->deadline_ns = v->deadline_ns;
    nv->effect = v->effect;
    nv->level = 1;
    return 1;
}

/* The policy's entries are written anew. */
static int copy_list4(const void *key, const void *value, void *new_key, void *new_value)
{
    const struct list_value0 *v = value;
    const struct sl_list_value now = {.verdict = v->verdict};
    memcpy(new_key, key, sizeof(struct sl_lpm4_key));
    memcpy(new_value, &now, sizeof(now));
    return v->generation == 0;
}

const struct sl_schema *sl_schema_find(unsigned number)
{
    static const struct sl_schema_map maps[] = {
        {"sl_old_penalties", "sl_penalties", sizeof(struct penalty_key0), sizeof(struct penalty_value0),
         copy_penalty},
        {"sl_lists4", "sl_lists4", sizeof(struct sl_lpm4_key), sizeof(struct list_value0), copy_list4},
    };
    static const struct sl_schema zero = {0, maps, SL_ARRAY_LEN(maps)};
    return number == 0 ? &zero : sl_schema_released(number);
}

/* ---- a daemon of schema 0 that has ended */

static int setup(void **state)
{
    (void)th_setup(state);
    th_deny(&policy, "203.0.113.0/24");
    th_meter(&policy);
    return 0;
}

static int pinned(const char *path)
{
    const int fd = bpf_obj_get(path);
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return fd;
}

/* Under the directory of the former schema. */
static const char *former;

static void pin(int fd, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", former, name);
    if (bpf_obj_pin(fd, path) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    close(fd);
}

static int map_of(enum bpf_map_type type, size_t key, size_t value)
{
    LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = BPF_F_NO_PREALLOC);
    const int fd = bpf_map_create(type, "old", (uint32_t)key, (uint32_t)value, 64, &o);
    assert_true(fd >= 0);
    return fd;
}

static void put(int fd, const void *key, const void *value)
{
    assert_int_equal(bpf_map_update_elem(fd, key, value, 0), 0);
}

#define AN_HOUR (3600 * SL_NS_PER_SEC)

static void maps0(void)
{
    const struct penalty_key0 k = {.addr = {198, 51, 100, 9}, .family = SL_AF_INET};
    const struct penalty_value0 v = {sl_now_ns() + AN_HOUR, SL_PENALTY_SOURCE, 0};
    const struct sl_lpm4_key mine = {32, {198, 51, 100, 77}}, policys = {32, {198, 51, 100, 10}};
    const struct list_value0 manual = {SL_LIST_DENY, 0}, of_policy = {SL_LIST_DENY, 5};
    const int penalties = map_of(BPF_MAP_TYPE_HASH, sizeof(k), sizeof(v)),
              lists = map_of(BPF_MAP_TYPE_LPM_TRIE, sizeof(mine), sizeof(manual));
    put(penalties, &k, &v);
    put(lists, &mine, &manual);
    put(lists, &policys, &of_policy); /* of a policy that is no more */
    pin(penalties, "maps/sl_old_penalties");
    pin(lists, "maps/sl_lists4");
}

/* As version 0.1.0 had them. */
struct penalty_key1 {
    __u8 addr[16], daddr[16];
    __u16 sport_be, dport_be;
    __u8 family, scope;
    __u16 zero;
};
struct penalty_value1 {
    __u64 deadline_ns, since_ns;
    __u32 effect, level, rejections, manual;
    char consumer[32], rule[32];
};
struct list_value1 {
    __u32 verdict, generation;
    __u64 deadline_ns;
};

static void maps1(void)
{
    const struct penalty_key1 k = {
        .addr = {198, 51, 100, 9}, .family = SL_AF_INET, .scope = SL_PENALTY_SOURCE};
    const struct penalty_value1 v = {.deadline_ns = sl_now_ns() + AN_HOUR,
                                     .effect = SL_PENALTY_SOURCE,
                                     .level = 3,
                                     .rejections = 7,
                                     .consumer = "bulk",
                                     .rule = "hour"};
    const struct sl_lpm4_key mine = {32, {198, 51, 100, 77}}, policys = {32, {198, 51, 100, 10}};
    const struct sl_lpm6_key six = {64, {0x20, 0x01, 0x0d, 0xb8, 0, 7}};
    const struct list_value1 manual = {SL_LIST_DENY, 0, sl_now_ns() + AN_HOUR},
                             of_policy = {SL_LIST_DENY, 5, 0};
    const int penalties = map_of(BPF_MAP_TYPE_HASH, sizeof(k), sizeof(v)),
              lists4 = map_of(BPF_MAP_TYPE_LPM_TRIE, sizeof(mine), sizeof(manual)),
              lists6 = map_of(BPF_MAP_TYPE_LPM_TRIE, sizeof(six), sizeof(manual));
    put(penalties, &k, &v);
    put(lists4, &mine, &manual);
    put(lists4, &policys, &of_policy);
    put(lists6, &six, &manual);
    pin(penalties, "maps/sl_penalties");
    pin(lists4, "maps/sl_lists4");
    pin(lists6, "maps/sl_lists6");
}

static void header_of(unsigned number, int boot_differs)
{
    struct sl_state_header h;
    const __u32 zero = 0;
    const int was = pinned(TH_PINS "/maps/sl_state");
    assert_int_equal(bpf_map_lookup_elem(was, &zero, &h), 0);
    close(was);
    h.schema = number;
    h.boot_id[3] ^= (__u8)boot_differs;
    const int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "old", sizeof(zero), sizeof(h), 1, NULL);
    put(fd, &zero, &h);
    pin(fd, "maps/sl_state");
}

#define KEY(i) ((i)*0x9e3779b97f4a7c15ull)
static uint64_t seed, ahead;

/* Ours starts, is used, ends. */
static void use_and_end(void)
{
    const struct sl_cidr denied = th_cidr(DENIED "/32");
    const struct sl_penalty_request r = {
        .source = th_ip(PENALISED), .effect = SL_PENALTY_SOURCE, .duration_ns = AN_HOUR};
    uint64_t deadline;
    th_start();
    assert_int_equal(sl_kernel_list_add(guard, &denied, SL_LIST_DENY, 0), 0);
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
    struct sl_bucket_table t = sl_kernel_buckets(guard);
    seed = t.seed;
    ahead = sl_now_ns() + AN_HOUR;
    for (uint64_t i = 1; i <= 100; i++)
        sl_bucket_get(&t, KEY(i), sl_now_ns())->tat = ahead + i;
    th_stop();
}

/* Its links and buckets stay, under another schema, and its programs run on. */
static void former_daemon(unsigned number, int boot_differs)
{
    static const char *const links[] = {"xdp_sl0", "tcx_in_sl0", "tcx_out_sl0"};
    use_and_end();
    former = number ? DIR1 : DIR0;
    th_sh("mkdir -p %s/maps %s/links", former, former);
    number ? maps1() : maps0();
    header_of(number, boot_differs);
    pin(pinned(TH_PINS "/maps/sl_buckets"), "maps/sl_buckets");
    for (size_t i = 0; i < SL_ARRAY_LEN(links); i++) {
        char from[128], to[64];
        (void)snprintf(from, sizeof(from), TH_PINS "/links/%s", links[i]);
        (void)snprintf(to, sizeof(to), "links/%s", links[i]);
        if (access(from, F_OK) == 0) /* a kernel without TCX has no such links */
            pin(pinned(from), to);
    }
    th_sh("rm -r " TH_PINS);
    assert_int_not_equal(th_xdp_on("sl0"), 0);
}

static uint32_t link_id(const char *path)
{
    struct bpf_link_info i = {0};
    uint32_t len = sizeof(i);
    const int fd = pinned(path);
    assert_int_equal(bpf_obj_get_info_by_fd(fd, &i, &len), 0);
    close(fd);
    return i.id;
}

static void carried_over(unsigned number)
{
    char was[128];
    former_daemon(number, 0);
    (void)snprintf(was, sizeof(was), "%s/links/xdp_sl0", former);
    const uint32_t link = link_id(was), prog = th_xdp_on("sl0");
    th_start();
    assert_int_equal(link_id(TH_PINS "/links/xdp_sl0"), link); /* the same link, */
    assert_int_not_equal(th_xdp_on("sl0"), prog);              /* with our program */
    assert_int_equal(th_prog_of_link(TH_PINS "/links/xdp_sl0", NULL), (int)th_xdp_on("sl0"));
    assert_int_not_equal(access(former, F_OK), 0);
    th_expect_on("sl0", PENALISED, "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", DENIED, "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", BY_POLICY, "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", WELCOME, "192.0.2.1", 443, XDP_PASS);
    struct sl_bucket_table t = sl_kernel_buckets(guard);
    assert_int_equal(t.seed, seed);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(sl_bucket_get(&t, KEY(i), sl_now_ns())->tat, ahead + i);
}

/* What was carried is still the operator's to take back, and an ordinary state from now on. */
static void goes_on(void)
{
    const struct sl_cidr denied = th_cidr(DENIED "/32"), penalised = th_cidr(PENALISED "/32");
    const uint32_t link = link_id(TH_PINS "/links/xdp_sl0");
    assert_int_equal(sl_kernel_list_remove(guard, &denied), 1);
    assert_int_equal(sl_kernel_penalty_remove(guard, &penalised), 1);
    th_expect_on("sl0", DENIED, "192.0.2.1", 443, XDP_PASS);
    th_expect_on("sl0", PENALISED, "192.0.2.1", 443, XDP_PASS);
    th_stop();
    th_start();
    assert_int_equal(link_id(TH_PINS "/links/xdp_sl0"), link);
    assert_int_equal(sl_kernel_buckets(guard).seed, seed);
}

static void an_invented_schema_is_carried_over(void **state)
{
    (void)state;
    carried_over(0);
    goes_on();
}

static int keep_penalty(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    (void)k;
    *(struct sl_penalty_value *)arg = *v;
    return 1;
}

static void schema_1_is_carried_over(void **state)
{
    (void)state;
    struct sl_penalty_value v = {0};
    th_bind(&policy, 0, "[2001:db8::1]:443");
    carried_over(1);
    th_expect_on("sl0", "2001:db8:7::5", "2001:db8::1", 443, XDP_DROP);
    th_expect_on("sl0", "2001:db8:8::5", "2001:db8::1", 443, XDP_PASS);
    (void)sl_maps_penalties(sl_kernel_fds(guard).penalties, keep_penalty, &v);
    assert_int_equal(v.level, 3); /* its cause is told on */
    assert_int_equal(v.rejections, 7);
    assert_string_equal(v.consumer, "bulk");
    assert_string_equal(v.rule, "hour");
    goes_on();
}

static void schema_1_of_another_shape_is_refused(void **state)
{
    (void)state;
    former_daemon(1, 0);
    const uint32_t prog = th_xdp_on("sl0");
    th_sh("rm " DIR1 "/maps/sl_penalties");
    pin(map_of(BPF_MAP_TYPE_HASH, 40, 88), "maps/sl_penalties");
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -EINVAL);
    assert_int_equal(th_xdp_on("sl0"), prog);
    assert_int_not_equal(access(TH_PINS, F_OK), 0);
}

static void no_packet_passes_meanwhile(void **state)
{
    (void)state;
    struct th_flood f = {0};
    former_daemon(0, 0);
    th_flood_from(&f, PENALISED);
    th_flood_from(&f, DENIED);
    th_flood_from(&f, BY_POLICY);
    th_flood_start(&f);
    th_flood_more(&f, 100);
    const unsigned long before = f.sent;
    th_start();
    assert_true(f.sent > before + 10); /* they came all the while */
    th_flood_more(&f, 100);
    th_flood_stop(&f);
    assert_int_equal(th_flood_passed(&f), 0);
    struct th_flood open = {0};
    th_flood_from(&open, WELCOME);
    th_flood_start(&open);
    th_flood_more(&open, 50);
    th_flood_stop(&open);
    assert_true(th_flood_passed(&open) > 0); /* what passes is seen */
    close(open.in);
    close(f.in);
}

static void of_another_boot_only_the_links_are_taken(void **state)
{
    (void)state;
    former_daemon(0, 1);
    const uint32_t link = link_id(DIR0 "/links/xdp_sl0");
    th_start();
    assert_int_equal(link_id(TH_PINS "/links/xdp_sl0"), link);
    assert_int_not_equal(access(DIR0, F_OK), 0);
    th_expect_on("sl0", PENALISED, "192.0.2.1", 443, XDP_PASS);
    th_expect_on("sl0", DENIED, "192.0.2.1", 443, XDP_PASS);
    th_expect_on("sl0", BY_POLICY, "192.0.2.1", 443, XDP_DROP);
    assert_int_not_equal(sl_kernel_buckets(guard).seed, seed);
}

/* ---- what is not taken over stays as it is */

static void a_schema_that_is_not_known_is_refused(void **state)
{
    (void)state;
    former_daemon(0, 0);
    const uint32_t prog = th_xdp_on("sl0");
    th_sh("mv " DIR0 " " SL_PIN_ROOT "/v999 2>/dev/null || { mkdir " SL_PIN_ROOT "/v999; }");
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -EPROTONOSUPPORT);
    assert_null(guard);
    assert_int_equal(access(SL_PIN_ROOT "/v999", F_OK), 0);
    assert_int_not_equal(access(TH_PINS, F_OK), 0); /* no half of ours beside it */
    assert_int_equal(th_xdp_on("sl0"), prog);       /* guarded by the other one */
    th_expect_on("sl0", DENIED, "192.0.2.1", 443, XDP_DROP);
    assert_true(sl_kernel_detach_all() >= 1); /* the way out */
    th_start();
}

static void a_living_daemon_of_another_schema_is_not_taken_over(void **state)
{
    (void)state;
    former_daemon(0, 0);
    const uint32_t prog = th_xdp_on("sl0");
    const int held = open(DIR0, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(held, LOCK_EX), 0);
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -EBUSY);
    assert_int_equal(th_xdp_on("sl0"), prog);
    assert_int_equal(access(DIR0 "/links/xdp_sl0", F_OK), 0);
    assert_int_not_equal(access(TH_PINS, F_OK), 0);
    policy.s.kernel.mode = SL_KERNEL_OFF; /* nor is its guard taken off */
    th_start();
    assert_int_equal(th_xdp_on("sl0"), prog);
    th_stop();
    close(held);
    th_start(); /* once it is dead */
    assert_int_equal(th_xdp_on("sl0"), 0);
}

static void a_start_that_fails_leaves_the_former_guard_on(void **state)
{
    (void)state;
    former_daemon(0, 0);
    const uint32_t link = link_id(DIR0 "/links/xdp_sl0");
    policy.interfaces[1] = SL_S("nonesuch0");
    policy.s.kernel.interfaces.n = 2;
    assert_int_equal(sl_kernel_start(&policy.s, &guard), -ENODEV); /* sl0 had been taken over by then */
    th_expect_on("sl0", PENALISED, "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", DENIED, "192.0.2.1", 443, XDP_DROP);
    policy.s.kernel.interfaces.n = 1;
    th_start();
    assert_int_equal(link_id(TH_PINS "/links/xdp_sl0"), link);
    assert_int_not_equal(access(DIR0, F_OK), 0);
    th_expect_on("sl0", PENALISED, "192.0.2.1", 443, XDP_DROP);
    th_expect_on("sl0", DENIED, "192.0.2.1", 443, XDP_DROP);
    struct sl_bucket_table t = sl_kernel_buckets(guard);
    assert_int_equal(sl_bucket_get(&t, KEY(7), sl_now_ns())->tat, ahead + 7);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, th_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_invented_schema_is_carried_over),
        TEST(schema_1_is_carried_over),
        TEST(schema_1_of_another_shape_is_refused),
        TEST(no_packet_passes_meanwhile),
        TEST(of_another_boot_only_the_links_are_taken),
        TEST(a_schema_that_is_not_known_is_refused),
        TEST(a_living_daemon_of_another_schema_is_not_taken_over),
        TEST(a_start_that_fails_leaves_the_former_guard_on),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
