/* SPDX-License-Identifier: Apache-2.0 */
/* From rates to limits: exact where it can be, and never below what the proxy admits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kernel/plan_priv.h"

static void test_rate(void **state)
{
    (void)state;
    struct sl_rate r = {.count = 1000, .per_ns = SL_NS_PER_SEC};
    struct sl_limit l = sl_plan_rate(&r, 2);
    assert_int_equal(l.interval_ns, 1000000);
    assert_int_equal(l.tolerance_ns, 2 * SL_NS_PER_SEC);
    r = (struct sl_rate){.count = 10,
                         .per_ns = 60 * SL_NS_PER_SEC}; /* fewer than one a second: still one at once */
    l = sl_plan_rate(&r, 2);
    assert_int_equal(l.interval_ns, 6 * SL_NS_PER_SEC);
    assert_int_equal(l.tolerance_ns, 6 * SL_NS_PER_SEC);
    r = (struct sl_rate){.count = UINT64_MAX, .per_ns = 1}; /* beyond the clock: not "no limit" */
    assert_int_equal(sl_plan_rate(&r, 1).interval_ns, 1);
    r = (struct sl_rate){0};
    assert_int_equal(sl_plan_rate(&r, 1).interval_ns, 0);
}

static void test_byte_rate(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 1000, 65536, 1000000, 104857600, 12500000000ull, 1000000000000ull};
    for (size_t i = 0; i < SL_ARRAY_LEN(rates); i++) {
        const struct sl_rate r = {.count = rates[i], .per_ns = SL_NS_PER_SEC};
        const struct sl_limit l = sl_plan_byte_rate(&r, 1);
        assert_true(l.interval_ns > 0 && l.mult > 0 && l.shift < 32);
        /* a GiB costs what it should to a millionth, and the product fits */
        const uint64_t gib = 1ull << 30, cost = gib * l.mult >> l.shift;
        const double want = (double)gib / (double)rates[i] * 1e9;
        if (rates[i] > 1)
            assert_true((double)cost > want * 0.999999 - 1 && (double)cost < want * 1.000001 + 1);
        assert_true(l.tolerance_ns > 65535ull * l.mult >> l.shift); /* a whole packet always has its turn */
    }
}

static struct sl_rate_limit two_windows(uint64_t second, uint64_t capacity, uint64_t hour)
{
    struct sl_rate_limit rl = {.n_windows = 2};
    rl.windows[0] = (struct sl_window){.name = "hour", .seconds = 3600, .limit = hour, .capacity = hour};
    rl.windows[1] = (struct sl_window){.name = "second", .seconds = 1, .limit = second, .capacity = capacity};
    return rl;
}

static void test_ceiling(void **state)
{
    (void)state;
    struct sl_rate_limit rl = two_windows(500, 100, 1000000);
    struct sl_limit l = sl_plan_ceiling(&rl, 2);
    assert_int_equal(l.interval_ns, SL_NS_PER_SEC / 1000);
    assert_int_equal(l.tolerance_ns, 200 * l.interval_ns);
    assert_int_equal(sl_plan_ceiling(&rl, 0).interval_ns, 0);
    rl.n_windows = 0;
    assert_int_equal(sl_plan_ceiling(&rl, 2).interval_ns, 0);
}

/* What a bucket admits over a minute of saturation. */
static uint64_t admitted(struct sl_limit l)
{
    __u64 tat = 0;
    uint64_t n = 0;
    const uint64_t start = 1000 * SL_NS_PER_SEC;
    for (uint64_t now = start; now < start + 60 * SL_NS_PER_SEC; now += 1000000)
        while (sl_bucket_take(&tat, now, l.interval_ns, l.tolerance_ns, NULL) > 0)
            n++;
    return n;
}

static void test_ceiling_is_never_below_the_proxys_limit(void **state)
{
    (void)state;
    static const uint64_t limits[] = {1, 3, 7, 11, 333, 999, 1001, 30011};
    for (size_t i = 0; i < SL_ARRAY_LEN(limits); i++)
        for (uint32_t headroom = 1; headroom <= 3; headroom++) {
            const struct sl_rate_limit rl = two_windows(limits[i], limits[i], 1ull << 40);
            const struct sl_limit proxy = {.interval_ns = SL_NS_PER_SEC / limits[i],
                                           .tolerance_ns = SL_NS_PER_SEC / limits[i] * limits[i]};
            const struct sl_limit kernel = sl_plan_ceiling(&rl, headroom);
            assert_true(admitted(kernel) + headroom >= headroom * admitted(proxy));
        }
}

static void test_huge_numbers_do_not_wrap(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = two_windows(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    const struct sl_limit l = sl_plan_ceiling(&rl, UINT32_MAX);
    assert_int_equal(l.interval_ns, 1);
    assert_true(sl_now_ns() + l.tolerance_ns > sl_now_ns());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_byte_rate),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_ceiling_is_never_below_the_proxys_limit),
        cmocka_unit_test(test_huge_numbers_do_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
