/* SPDX-License-Identifier: Apache-2.0 */
/* The trie of files against a slow search: every length, nested and doubled ranges, both families. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/ranges.h"
#include "kernel/trie_priv.h"

#define RANGES 2000

static void compare(const struct tr_list *l, uint64_t *seed, bool ipv6, unsigned tries)
{
    struct sl_snapshot *s = tr_compile(l);
    struct sl_trie t;
    char text[SL_IP_STRLEN];
    unsigned hits = 0;
    assert_non_null(s);
    assert_int_equal(sl_trie_build(s->kernel.ranges, &t), 0);
    for (unsigned i = 0; i < tries; i++) {
        const struct sl_ip ip = tr_probe(l, seed, ipv6, i);
        const uint32_t want = tr_slow(l, &ip), got = sl_trie_lookup(&t, &ip);
        hits += want != 0;
        if (want != got)
            fail_msg("%s: %u, not %u", sl_ip_text(&ip, text), got, want);
    }
    assert_true(hits > tries / 4);
    sl_trie_free(&t);
    sl_snapshot_unref(s);
}

static void compare_400(const struct tr_list *l, uint64_t *seed, bool ipv6)
{
    compare(l, seed, ipv6, 400);
}

static void test_each_length_ipv4(void **state)
{
    (void)state;
    tr_each_length(false, 40, false, compare_400);
}

static void test_each_length_ipv6(void **state)
{
    (void)state;
    tr_each_length(true, 40, false, compare_400);
}

static void test_dense(void **state)
{
    (void)state;
    static struct sl_cidr v[RANGES];
    static bool allow[RANGES];
    uint64_t seed = 99;
    for (unsigned six = 0; six < 2; six++) {
        const struct sl_cidr within = tr_random_cidr(&seed, six, 20);
        for (size_t i = 0; i < RANGES; i++) {
            struct sl_ip ip = tr_near(&seed, &within);
            const uint8_t len = (uint8_t)(20 + tr_random(&seed) % 13);
            v[i] = (struct sl_cidr){.ip = sl_ip_mask(ip, len), .len = len};
            allow[i] = tr_random(&seed) % 3 == 0;
        }
        compare(&(struct tr_list){v, allow, RANGES}, &seed, six, 4000);
    }
}

static void test_the_whole_world(void **state)
{
    (void)state;
    struct sl_snapshot *s = tr_snapshot(SL_S("10.0.0.0/8\n::1\n"), SL_S("0.0.0.0/0\n::/0\n10.1.2.3\n"));
    static const struct {
        const char *ip;
        uint32_t want;
    } cases[] = {{"0.0.0.0", SL_LIST_DENY},     {"255.255.255.255", SL_LIST_DENY},
                 {"10.255.0.1", SL_LIST_ALLOW}, {"10.1.2.3", SL_LIST_DENY},
                 {"10.1.2.2", SL_LIST_ALLOW},   {"11.0.0.0", SL_LIST_DENY},
                 {"::1", SL_LIST_ALLOW},        {"::2", SL_LIST_DENY},
                 {"ff02::1", SL_LIST_DENY}};
    struct sl_trie t;
    assert_non_null(s);
    assert_int_equal(sl_trie_build(s->kernel.ranges, &t), 0);
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        struct sl_ip ip;
        assert_int_equal(sl_ip_parse(sl_slice_str(cases[i].ip), &ip), 0);
        if (sl_trie_lookup(&t, &ip) != cases[i].want)
            fail_msg("%s", cases[i].ip);
    }
    sl_trie_free(&t);
    sl_snapshot_unref(s);
}

static void test_one_verdict_per_prefix(void **state)
{
    (void)state; /* the same range allowed by one file and denied by the other: it is allowed */
    struct sl_snapshot *s = tr_snapshot(SL_S("192.0.2.0/24\n"), SL_S("192.0.2.0/24\n192.0.2.0/24\n"));
    struct sl_trie t;
    struct sl_ip ip;
    assert_non_null(s);
    assert_int_equal(s->kernel.ranges->n4, 2);
    assert_int_equal(s->kernel.ranges->doubled, 1);
    assert_int_equal(sl_trie_build(s->kernel.ranges, &t), 0);
    assert_int_equal(sl_ip_parse(SL_S("192.0.2.9"), &ip), 0);
    assert_int_equal(sl_trie_lookup(&t, &ip), SL_LIST_ALLOW);
    sl_trie_free(&t);
    sl_snapshot_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_length_ipv4),
        cmocka_unit_test(test_each_length_ipv6),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_the_whole_world),
        cmocka_unit_test(test_one_verdict_per_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
