/* SPDX-License-Identifier: Apache-2.0 */
/* A table of buckets that processes may share, limits over it, and who asks. */
#ifndef SL_TEST_LIMIT_H
#define SL_TEST_LIMIT_H

#include "base/clock.h"
#include "policy_test.h"

#include <sys/mman.h>

#define SLOTS 4096
#define T0    (100000000 * SL_NS_PER_SEC) /* after the clock of any host */

static struct sl_bucket_table table;

static SL_UNUSED int setup(void **state)
{
    (void)with_arena(state);
    table = (struct sl_bucket_table){.n = SLOTS, .seed = 42};
    table.slots =
        mmap(NULL, SLOTS * sizeof(*table.slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return table.slots == MAP_FAILED ? -1 : 0;
}

static SL_UNUSED int teardown(void **state)
{
    (void)munmap(table.slots, SLOTS * sizeof(*table.slots));
    return drop_arena(state);
}

static SL_UNUSED struct sl_rate_limit limit_of(uint64_t seconds, uint64_t limit, uint64_t capacity)
{
    return (struct sl_rate_limit){.windows = {{seconds == 1    ? "second"
                                               : seconds == 60 ? "minute"
                                                               : "hour",
                                               seconds, limit, capacity}},
                                  .n_windows = 1,
                                  .by = SL_BY_CONSUMER,
                                  .status = 429};
}

static SL_UNUSED struct sl_limit_set *set_of(const struct sl_rate_limit *rl, const char *name)
{
    struct sl_limit_set *l;
    assert_int_equal(sl_limit_set_new(rl, name, &l), 0);
    assert_non_null(l);
    assert_ptr_equal(sl_limit_set_config(l), rl);
    return l;
}

static SL_UNUSED struct sl_limit_subject who(const char *consumer)
{
    struct sl_limit_subject s = {.consumer = sl_slice_str(consumer)};
    assert_int_equal(sl_ip_parse(SL_S("192.0.2.1"), &s.ip), 0);
    return s;
}

static SL_UNUSED struct sl_limit_verdict take(struct sl_limit_set *l, const struct sl_limit_subject *s,
                                              uint64_t now)
{
    struct sl_limit_verdict v;
    sl_limits_take(&table, &l, 1, s, now, &v);
    return v;
}

static SL_UNUSED unsigned admitted(struct sl_limit_set *l, const char *consumer, uint64_t now, unsigned tries)
{
    const struct sl_limit_subject s = who(consumer);
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++)
        n += take(l, &s, now).admitted;
    return n;
}

#define unit_test_limit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

#endif
