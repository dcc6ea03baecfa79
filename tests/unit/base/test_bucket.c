/* SPDX-License-Identifier: Apache-2.0 */
/* The shared bucket table: slots found, taken, reused and pinned; and by many processes at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bucket.h"
#include "base/clock.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW 1000000ull

static struct sl_bucket_table new_table(size_t n)
{
    struct sl_bucket_table t = {.n = n, .seed = 42};
    t.slots = mmap(NULL, n * sizeof(*t.slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(t.slots != MAP_FAILED);
    return t;
}

static void free_table(struct sl_bucket_table *t)
{
    (void)munmap(t->slots, t->n * sizeof(*t->slots));
}

static uint64_t key_of(uint64_t i)
{
    return sl_hash(&i, sizeof(i), 7);
}

static void test_a_key_keeps_its_slot(void **state)
{
    (void)state;
    struct sl_bucket_table t = new_table(1024);
    for (uint64_t i = 0; i < 500; i++) {
        struct sl_bucket *b = sl_bucket_get(&t, key_of(i), NOW);
        assert_non_null(b);
        b->tat = NOW + 1 + i;
    }
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(sl_bucket_get(&t, key_of(i), NOW)->tat, NOW + 1 + i);
    free_table(&t);
}

/* A million at once, each with a debt of its own, in a table of the size that `table_size: 1000000` gives. */
static void test_a_million_live_buckets(void **state)
{
    (void)state;
    struct sl_bucket_table t = new_table(1u << 21);
    unsigned lost = 0;
    assert_true(t.n * sizeof(*t.slots) < 100u * 1000 * 1000);
    for (uint64_t i = 0; i < 1000000; i++) {
        struct sl_bucket *b = sl_bucket_get(&t, key_of(i), NOW);
        if (b)
            b->tat = NOW + 1 + i;
        else
            lost++;
    }
    assert_int_equal(lost, 0);
    for (uint64_t i = 0; i < 1000000; i++)
        assert_int_equal(sl_bucket_get(&t, key_of(i), NOW)->tat, NOW + 1 + i);
    /* and a second million, once the first has fallen idle */
    for (uint64_t i = 1000000; i < 2000000; i++) {
        struct sl_bucket *b = sl_bucket_get(&t, key_of(i), NOW + 2000000);
        if (b)
            b->tat = NOW + 3000000 + i;
        else
            lost++;
    }
    assert_int_equal(lost, 0);
    free_table(&t);
}

static void test_full_window_gives_nothing_until_one_is_idle(void **state)
{
    (void)state;
    struct sl_bucket_table t = new_table(SL_BUCKET_PROBES);
    for (uint64_t i = 1; i <= SL_BUCKET_PROBES; i++)
        sl_bucket_get(&t, i, NOW)->tat = NOW + 10 * i;
    assert_null(sl_bucket_get(&t, 100, NOW));
    /* the one idle for longest goes first, and its counts with it */
    uint64_t oldest = UINT64_MAX, key = 0;
    for (size_t i = 0; i < t.n; i++)
        if (t.slots[i].tat < oldest) {
            oldest = t.slots[i].tat;
            key = t.slots[i].key;
        }
    for (size_t i = 0; i < t.n; i++)
        t.slots[i].admitted = 9;
    struct sl_bucket *b = sl_bucket_get(&t, 100, NOW + 1000);
    assert_non_null(b);
    assert_int_equal(b->tat, oldest);
    assert_int_equal(b->key, 100);
    assert_int_equal(b->admitted, 0);
    assert_int_equal(sl_bucket_get(&t, 100, NOW), b);
    for (size_t i = 0; i < t.n; i++)
        assert_int_not_equal(t.slots[i].key, key);
    free_table(&t);
}

static void test_pinned_slots_are_never_reused(void **state)
{
    (void)state;
    struct sl_bucket_table t = new_table(SL_BUCKET_PROBES);
    struct sl_bucket *pinned = sl_bucket_pin(&t, 3, NOW);
    assert_true(pinned->key & SL_BUCKET_PINNED);
    assert_int_equal(sl_bucket_pin(&t, 3, NOW), pinned);
    assert_int_not_equal(sl_bucket_get(&t, 3, NOW), pinned); /* another key, though it looks alike */
    for (uint64_t i = 10; i < 1000; i++) {
        struct sl_bucket *b = sl_bucket_get(&t, i, NOW + i);
        assert_non_null(b);
        assert_int_not_equal(b, pinned);
    }
    const uint64_t high = sl_bucket_get(&t, SL_BUCKET_PINNED | 77, NOW + 2000)->key;
    assert_int_equal(high, 77); /* no hash of a client's pins anything */
    sl_bucket_unpin(pinned);
    assert_int_equal(pinned->key, 3);
    bool reused = false;
    for (uint64_t i = 5000; i < 5100; i++)
        reused |= sl_bucket_get(&t, i, NOW + i) == pinned;
    assert_true(reused);
    free_table(&t);
}

/* All processes that ask for a key at once get one bucket: what they count comes together. */
static void test_processes_agree_on_a_slot(void **state)
{
    (void)state;
    enum { PROCESSES = 4, KEYS = 2000 };
    struct sl_bucket_table t = new_table(8192);
    uint64_t *go = mmap(NULL, sizeof(*go), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[PROCESSES];
    assert_true(go != MAP_FAILED);
    for (int p = 0; p < PROCESSES; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            while (!__atomic_load_n(go, __ATOMIC_ACQUIRE))
                ;
            for (uint64_t i = 0; i < KEYS; i++) {
                struct sl_bucket *b = sl_bucket_get(&t, key_of(i), NOW);
                if (!b)
                    _exit(1);
                __atomic_add_fetch(&b->admitted, 1, __ATOMIC_RELAXED);
            }
            _exit(0);
        }
    }
    __atomic_store_n(go, 1, __ATOMIC_RELEASE);
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_int_equal(waitpid(pids[p], &status, 0), pids[p]);
        assert_int_equal(status, 0);
    }
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(sl_bucket_get(&t, key_of(i), NOW)->admitted, PROCESSES);
    size_t taken = 0;
    for (size_t i = 0; i < t.n; i++)
        taken += t.slots[i].key != 0;
    assert_int_equal(taken, KEYS); /* none stands twice */
    (void)munmap(go, sizeof(*go));
    free_table(&t);
}

/* Who read the clock and was put off the CPU for ten minutes sees a tat of right now: too far ahead for his
 * reading, and honest all the same. */
static void test_an_old_clock_gives_nothing_back(void **state)
{
    (void)state;
    __u64 tat = 0, wait = 0;
    const uint64_t interval = 1000000, tolerance = 10 * interval, now = sl_now_ns() + 3600 * SL_NS_PER_SEC;
    const uint64_t clock = sl_now_ns(), old = clock > 600 * SL_NS_PER_SEC ? clock - 600 * SL_NS_PER_SEC : 0;
    while (sl_bucket_take(&tat, now, interval, tolerance, NULL) > 0)
        ;
    assert_int_equal(sl_bucket_take(&tat, now, interval, tolerance, &wait), 0);
    assert_int_equal(wait, interval);
    const uint64_t spent = tat = clock + tolerance;
    assert_int_equal(sl_bucket_take(&tat, old, interval, tolerance, NULL), 0);
    assert_int_equal(tat, spent);
}

static void test_a_tat_of_a_wider_limit_is_cut_and_written_back(void **state)
{
    (void)state;
    const uint64_t interval = 1000000, tolerance = 10 * interval, now = sl_now_ns() + 3600 * SL_NS_PER_SEC;
    __u64 tat = now + 3600 * SL_NS_PER_SEC;
    assert_int_equal(sl_bucket_take(&tat, now, interval, tolerance, NULL), 0);
    assert_int_equal(tat, now + tolerance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_keeps_its_slot),
        cmocka_unit_test(test_a_million_live_buckets),
        cmocka_unit_test(test_full_window_gives_nothing_until_one_is_idle),
        cmocka_unit_test(test_pinned_slots_are_never_reused),
        cmocka_unit_test(test_processes_agree_on_a_slot),
        cmocka_unit_test(test_an_old_clock_gives_nothing_back),
        cmocka_unit_test(test_a_tat_of_a_wider_limit_is_cut_and_written_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
