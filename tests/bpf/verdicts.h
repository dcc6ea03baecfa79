/* SPDX-License-Identifier: Apache-2.0 */
/* The guard alone with a listener of each family, and packets judged one by one. */
#ifndef SL_TESTS_VERDICTS_H
#define SL_TESTS_VERDICTS_H

#include "bpf_harness.h"

#define OTHER "192.0.2.2"

static struct th_guard guard;

static int setup(void **state)
{
    (void)state;
    th_load_ours(&guard, true, 3, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static SL_UNUSED void expect4(const char *src, const char *dst, unsigned port, unsigned flags,
                              enum sl_reason want)
{
    const struct th_packet p = th_tcp4(src, 40000, dst, port, flags);
    th_expect(&guard, &p, want);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
