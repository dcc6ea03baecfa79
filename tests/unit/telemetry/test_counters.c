/* SPDX-License-Identifier: Apache-2.0 */
/* The counters' region: one memory for all processes, of a size that a reader can trust. */
#include "telemetry/counters.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static void two_mappings_are_one_memory(void **state)
{
    (void)state;
    struct sl_counters a, b;
    assert_int_equal(sl_counters_new(3, &a), 0);
    assert_int_equal(sl_counters_map(dup(a.fd), &b), 0);
    assert_int_equal(b.workers, 3);
    a.blocks[2].routes[SL_COUNTER_ROUTES - 1].codes[2] = 7;
    a.shared->subjects[SL_SHARED_SUBJECTS - 1].rejections = 9;
    assert_int_equal(b.blocks[2].routes[SL_COUNTER_ROUTES - 1].codes[2], 7);
    assert_int_equal(b.shared->subjects[SL_SHARED_SUBJECTS - 1].rejections, 9);
    assert_ptr_equal((void *)(b.blocks + 4), (void *)b.shared);
    sl_counters_unmap(&b);
    sl_counters_unmap(&a);
    assert_int_equal(a.fd, -1);
}

static void a_dead_writer_leaves_what_it_counted(void **state)
{
    (void)state;
    struct sl_counters c;
    int status;
    assert_int_equal(sl_counters_new(1, &c), 0);
    pid_t pid = fork();
    if (pid == 0) {
        c.blocks[0].listeners[1].requests = 42;
        abort();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(c.blocks[0].listeners[1].requests, 42);
    sl_counters_unmap(&c);
}

/* Blocks are wide: only what was touched may cost memory. */
static void the_region_is_sparse(void **state)
{
    (void)state;
    struct sl_counters c;
    struct stat st;
    assert_int_equal(sl_counters_new(SL_MAX_WORKERS, &c), 0);
    c.blocks[SL_MAX_WORKERS - 1].loop_turns = 1;
    assert_int_equal(fstat(c.fd, &st), 0);
    assert_true((size_t)st.st_size >= SL_MAX_WORKERS * sizeof(struct sl_worker_counters));
    assert_true(st.st_blocks * 512 <= 2 * 1024 * 1024); /* one page, huge at most */
    sl_counters_unmap(&c);
}

/* Over two upgrades, while a former worker goes on counting, and without its gauges once it is gone. */
static void what_was_counted_before_is_carried(void **state)
{
    (void)state;
    struct sl_counters first, second, third;
    const struct sl_counter_rows rows = {
        .listeners = 2, .routes = 2, .tiers = 1, .upstreams = 2, .targets = 2};
    assert_int_equal(sl_counters_new(3, &first), 0);
    assert_int_equal(sl_counters_new(1, &second), 0);
    assert_int_equal(sl_counters_new(2, &third), 0);
    first.blocks[0].routes[1].codes[2] = 5;
    first.blocks[2].routes[1].codes[2] = 6;
    first.blocks[1].listeners[1].active = 9;
    first.blocks[1].log_lines = 4;
    sl_counters_carry(&second, &first, &rows, true);
    assert_int_equal(second.blocks[1].routes[1].codes[2], 11);
    assert_int_equal(second.blocks[1].listeners[1].active, 9);
    assert_int_equal(second.blocks[1].log_lines, 4);
    first.blocks[0].routes[1].codes[2]++;
    second.blocks[0].routes[1].codes[2] = 100;
    sl_counters_carry(&second, &first, &rows, false);
    assert_int_equal(second.blocks[1].listeners[1].active, 0);
    sl_counters_carry(&third, &second, &rows, false);
    assert_int_equal(third.blocks[2].routes[1].codes[2], 112);
    assert_int_equal(third.blocks[0].routes[1].codes[2], 0);
    sl_counters_unmap(&first);
    sl_counters_unmap(&second);
    sl_counters_unmap(&third);
}

static void no_worker_and_too_many_are_refused(void **state)
{
    (void)state;
    struct sl_counters c;
    assert_int_equal(sl_counters_new(0, &c), -EINVAL);
    assert_int_equal(sl_counters_new(SL_MAX_WORKERS + 1, &c), -EINVAL);
}

static void a_file_of_another_size_is_refused(void **state)
{
    (void)state;
    const size_t sizes[] = {0,
                            1,
                            sizeof(struct sl_shared),
                            sizeof(struct sl_shared) - 8,
                            sizeof(struct sl_worker_counters),
                            sizeof(struct sl_shared) + sizeof(struct sl_worker_counters) + 64};
    struct sl_counters c;
    for (size_t i = 0; i < SL_ARRAY_LEN(sizes); i++) {
        SL_CLOSE int fd = memfd_create("test", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)sizes[i]), 0);
        assert_int_equal(sl_counters_map(fd, &c), -EINVAL);
    }
    assert_int_equal(sl_counters_map(-1, &c), -EBADF);
}

static void blocks_share_no_cache_line(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct sl_worker_counters) % SL_CACHE_LINE, 0);
    assert_int_equal(sizeof(struct sl_shared) % SL_CACHE_LINE, 0);
}

static void slots_past_the_table_are_other(void **state)
{
    (void)state;
    assert_int_equal(sl_slot(0, 4), 0);
    assert_int_equal(sl_slot(3, 4), 3);
    assert_int_equal(sl_slot(4, 4), 0);
    assert_int_equal(sl_slot(UINT32_MAX, 4), 0);
}

static void a_bound_belongs_to_its_bucket(void **state)
{
    (void)state;
    struct sl_histogram h = {0};
    for (unsigned i = 0; i < SL_HISTOGRAM_BUCKETS - 1; i++) {
        sl_histogram_observe(&h, sl_histogram_bounds_us[i]);     /* le is "less or equal" */
        sl_histogram_observe(&h, sl_histogram_bounds_us[i] + 1); /* so this is the next one's */
    }
    assert_int_equal(h.buckets[0], 1);
    for (unsigned i = 1; i < SL_HISTOGRAM_BUCKETS - 1; i++)
        assert_int_equal(h.buckets[i], 2);
    assert_int_equal(h.buckets[SL_HISTOGRAM_BUCKETS - 1], 1);
    sl_histogram_observe(&h, 0);
    assert_int_equal(h.buckets[0], 2);
}

static void bounds_rise_and_sums_add_up(void **state)
{
    (void)state;
    struct sl_histogram h = {0};
    uint64_t sum = 0;
    for (unsigned i = 0; i < SL_HISTOGRAM_BUCKETS - 1; i++) {
        assert_true(i == 0 || sl_histogram_bounds_us[i] > sl_histogram_bounds_us[i - 1]);
        sl_histogram_observe(&h, sl_histogram_bounds_us[i]);
        sum += sl_histogram_bounds_us[i];
    }
    assert_int_equal(h.sum_us, sum);
}

static void reasons_have_names_of_their_own(void **state)
{
    (void)state;
    for (unsigned i = SL_WHY_NONE + 1; i < SL_WHY_COUNT; i++) {
        const char *name = sl_proxy_reason_name((enum sl_proxy_reason)i);
        unsigned status = sl_proxy_reason_status((enum sl_proxy_reason)i);
        assert_true(strlen(name) > 0 && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
        assert_true(status >= 400 && status <= 599);
        for (unsigned k = i + 1; k < SL_WHY_COUNT; k++)
            assert_string_not_equal(name, sl_proxy_reason_name((enum sl_proxy_reason)k));
    }
    assert_string_equal(sl_proxy_reason_name(SL_WHY_COUNT), "?");
    assert_int_equal(sl_proxy_reason_status(SL_WHY_COUNT), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_mappings_are_one_memory),
        cmocka_unit_test(a_dead_writer_leaves_what_it_counted),
        cmocka_unit_test(the_region_is_sparse),
        cmocka_unit_test(what_was_counted_before_is_carried),
        cmocka_unit_test(no_worker_and_too_many_are_refused),
        cmocka_unit_test(a_file_of_another_size_is_refused),
        cmocka_unit_test(blocks_share_no_cache_line),
        cmocka_unit_test(slots_past_the_table_are_other),
        cmocka_unit_test(a_bound_belongs_to_its_bucket),
        cmocka_unit_test(bounds_rise_and_sums_add_up),
        cmocka_unit_test(reasons_have_names_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
