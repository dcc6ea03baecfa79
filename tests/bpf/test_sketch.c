/* SPDX-License-Identifier: Apache-2.0 */
/* The sketch by itself and in the program: exact on any number of CPUs, whoever shares its cells. */
#include "bpf_harness.h"

#include <linux/bpf.h>

/* What bpf_spin_lock is in the kernel. */
static void sketch_lock(struct bpf_spin_lock *lock)
{
    while (__sync_lock_test_and_set(&lock->val, 1))
        sched_yield();
}
#define SL_SKETCH_LOCK(lock)   sketch_lock(lock)
#define SL_SKETCH_UNLOCK(lock) __sync_lock_release(&(lock)->val)
#include "../../bpf/lib/sketch.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define OURS   "192.0.2.1"
#define CLIENT "198.51.100.7"
#define PORT   443

static struct th_guard guard;

static int setup(void **state)
{
    (void)state;
    th_load(&guard);
    guard.config.sketch_seed[0] = 0x0123456789abcdefull;
    guard.config.sketch_seed[1] = 0xfedcba9876543210ull;
    th_listen(&guard, OURS, PORT, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    return 0;
}

static struct sl_limit per_second(uint64_t rate, uint64_t capacity)
{
    const uint64_t interval = SL_NS_PER_SEC / rate;
    return (struct sl_limit){.interval_ns = interval, .tolerance_ns = capacity * interval};
}

static unsigned admitted(const char *src, unsigned n)
{
    const struct th_packet p = th_tcp4(src, 1, OURS, PORT, TH_SYN);
    return th_admitted(&guard, &p, n);
}

struct sketch {
    struct sl_sketch_first first[SL_SKETCH_CELLS];
    struct sl_sketch rest;
};

static struct sketch *new_sketch(void)
{
    struct sketch *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    return s;
}

static int take(struct sketch *s, uint64_t hash, uint64_t now, uint64_t cost, uint64_t tolerance)
{
    return sl_sketch_take(&s->first[SL_SKETCH_FIRST(0, hash)], &s->rest, hash, now, cost, tolerance);
}

static unsigned taken(struct sketch *s, uint64_t hash, unsigned n, uint64_t capacity)
{
    unsigned admitted = 0;
    for (unsigned i = 0; i < n; i++)
        admitted += take(s, hash, TH_START, 1000, capacity * 1000) == 1;
    return admitted;
}

static void test_sharing_some_rows_hurts_nobody(void **state)
{
    (void)state;
    for (unsigned shared = 0; shared < 16; shared++) { /* each set of rows */
        struct sketch *s = new_sketch();
        uint64_t other = 0;
        for (unsigned row = 0; row < SL_SKETCH_ROWS; row++)
            other |= (uint64_t)(shared >> row & 1 ? 7 : 9) << 16 * row;
        const uint64_t one = 0x0007000700070007ull;
        assert_int_equal(taken(s, other, 100, 50), 50);
        assert_int_equal(taken(s, one, 100, 50), shared == 15 ? 0 : 50);
        assert_int_equal(taken(s, other, 100, 50), 0);
        free(s);
    }
}

static void test_a_sketch_recovers_from_a_wider_limit(void **state)
{
    (void)state;
    struct sketch *s = new_sketch();
    const uint64_t hash = 0x0001000200030004ull, hour = 3600 * SL_NS_PER_SEC;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(take(s, hash, TH_START, hour, 100 * hour), 1);
    assert_int_equal(take(s, hash, TH_START, 1000, 5000), 0);
    assert_int_equal(take(s, hash, TH_START + 999, 1000, 5000), 0);
    assert_int_equal(take(s, hash, TH_START + 1000, 1000, 5000), 1);
    assert_true(sl_sketch_tat(&s->first[SL_SKETCH_FIRST(0, hash)], &s->rest, hash) <= TH_START + 6000);
    free(s);
}

struct hammer {
    struct sketch *s;
    uint64_t hash;
    unsigned admitted;
    pthread_t thread;
};
#define HAMMERED 50000u

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    int r;
    do {
        r = take(h->s, h->hash, TH_START, 1000, HAMMERED * 1000ull);
        h->admitted += r == 1;
    } while (r != 0);
    return NULL;
}

/* Four threads on one key and two on another, for each set of rows that they share: each key is admitted
 * exactly what is its own, or, sharing all, the one bucket that they are. */
static void test_a_sketch_is_exact_under_contention(void **state)
{
    (void)state;
    for (unsigned shared = 0; shared < 16; shared++) {
        struct sketch *s = new_sketch();
        uint64_t hash[2] = {0x0001000100010001ull, 0};
        for (unsigned row = 0; row < SL_SKETCH_ROWS; row++)
            hash[1] |= (uint64_t)(shared >> row & 1 ? 1 : 2) << 16 * row;
        struct hammer h[6];
        unsigned admitted[2] = {0};
        for (unsigned i = 0; i < 6; i++) {
            h[i] = (struct hammer){.s = s, .hash = hash[i >= 4]};
            assert_int_equal(pthread_create(&h[i].thread, NULL, hammer, &h[i]), 0);
        }
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(pthread_join(h[i].thread, NULL), 0);
            admitted[i >= 4] += h[i].admitted;
        }
        if (shared == 15) {
            assert_int_equal(admitted[0] + admitted[1], HAMMERED);
        } else {
            assert_int_equal(admitted[0], HAMMERED);
            assert_int_equal(admitted[1], HAMMERED);
        }
        free(s);
    }
}

/* Two sources that share the cell of a row, found by the hash. */
struct pair {
    char address[2][INET_ADDRSTRLEN];
    uint64_t hash[2];
};

static struct pair with_common_cell(uint32_t row)
{
    static uint32_t seen[SL_SKETCH_CELLS];
    struct pair p;
    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0x64400001;; i++) { /* 100.64.0.1 and on */
        const uint64_t h =
            sl_sketch_hash(guard.config.sketch_seed, (uint64_t)i << 32, 0, 0 /* a source, IPv4 */);
        const uint32_t before = seen[SL_SKETCH_CELL(h, row)];
        seen[SL_SKETCH_CELL(h, row)] = i;
        if (!before)
            continue;
        const struct in_addr in[2] = {{htonl(before)}, {htonl(i)}};
        (void)inet_ntop(AF_INET, &in[0], p.address[0], sizeof(p.address[0]));
        (void)inet_ntop(AF_INET, &in[1], p.address[1], sizeof(p.address[1]));
        p.hash[0] = sl_sketch_hash(guard.config.sketch_seed, (uint64_t)before << 32, 0, 0);
        p.hash[1] = h;
        return p;
    }
}

/* What the program does is what is tested above. */
static void test_two_sources_with_a_common_cell(void **state)
{
    (void)state;
    const struct pair p = with_common_cell(0);
    guard.config.source_connections = per_second(1, 20);
    th_write_config(&guard);
    assert_int_equal(admitted(p.address[0], 40), 20);
    assert_int_equal(admitted(p.address[1], 40), 20);
    struct sl_sketch_first first;
    const uint32_t i = SL_SKETCH_FIRST(SL_SKETCH_CONNECTIONS, p.hash[0]);
    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(guard.skel->maps.sl_sketch_firsts), &i, &first), 0);
    assert_true(first.tat > TH_START); /* the hash is the program's */
}

struct sender {
    const char *src;
    unsigned cpu, runs;
    pthread_t thread;
};

static void *send_all(void *arg)
{
    const struct sender *s = arg;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(s->cpu, &one);
    (void)sched_setaffinity(0, sizeof(one), &one); /* where there is only one CPU, it is that one */
    struct th_packet p = th_tcp4(s->src, 1, OURS, PORT, TH_SYN);
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p.b, .data_size_in = (uint32_t)p.n, .repeat = (int)s->runs);
    return bpf_prog_test_run_opts(bpf_program__fd(guard.skel->progs.sl_xdp_guard), &o) ? arg : NULL;
}

static uint64_t sent_by_two_cpus(const char *a, const char *b, unsigned runs)
{
    struct th_counts c;
    void *failed;
    struct sender s[2] = {{.src = a, .cpu = 0, .runs = runs}, {.src = b, .cpu = 1, .runs = runs}};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&s[i].thread, NULL, send_all, &s[i]), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(s[i].thread, &failed), 0);
        assert_null(failed);
    }
    th_counts(&guard, &c);
    return c.is[SL_PASS].packets;
}

/* Each source sends what it may and as much again: two CPUs for one, then one for each of two with a common
 * cell. */
static void test_two_cpus_are_admitted_one_limit(void **state)
{
    (void)state;
    enum { LIMIT = 500000 };
    guard.config.source_connections = (struct sl_limit){.interval_ns = 1000, .tolerance_ns = LIMIT * 1000ull};
    th_write_config(&guard);
    uint64_t before = sent_by_two_cpus(CLIENT, CLIENT, LIMIT);
    assert_int_equal(before, LIMIT);
    for (uint32_t row = 0; row < SL_SKETCH_ROWS; row++) {
        th_clock(&guard, TH_START + (row + 1) * SL_NS_PER_SEC); /* all buckets full again */
        const struct pair p = with_common_cell(row);
        const uint64_t now = sent_by_two_cpus(p.address[0], p.address[1], 2 * LIMIT);
        assert_int_equal(now - before, 2 * LIMIT);
        before = now;
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sharing_some_rows_hurts_nobody),
        cmocka_unit_test(test_a_sketch_recovers_from_a_wider_limit),
        cmocka_unit_test(test_a_sketch_is_exact_under_contention),
        TEST(test_two_sources_with_a_common_cell),
        TEST(test_two_cpus_are_admitted_one_limit),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
