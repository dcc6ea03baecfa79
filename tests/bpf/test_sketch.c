/* SPDX-License-Identifier: Apache-2.0 */
/* The sketch by itself and in the program: exact on any number of CPUs, whoever shares its cells. */
#include "bpf_harness.h"

#include "../../bpf/lib/sketch.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

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

/* Of an address that asks, as the program makes it. */
static uint64_t hash_of(uint32_t address)
{
    static const __u64 seed[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};
    return sl_sketch_hash(seed, (uint64_t)address << 32, 0, 0);
}

static uint32_t cells_of(uint64_t hash)
{
    uint32_t drawn = 0;
    for (uint32_t row = 0; row < SL_SKETCH_ROWS; row++)
        assert_true(sl_sketch_draw(hash, row, &drawn) < SL_SKETCH_CELLS);
    return drawn;
}

static unsigned shared(uint64_t one, uint64_t other)
{
    return (unsigned)__builtin_popcount(cells_of(one) & cells_of(other));
}

/* A hash that has that many cells in common with one's. */
static uint64_t sharing(uint64_t one, unsigned cells)
{
    uint64_t other;
    for (uint32_t i = 1;; i++) {
        other = hash_of(i);
        if (shared(one, other) == cells)
            return other;
    }
}

static unsigned taken(struct sl_sketch_line *l, uint64_t hash, unsigned n, uint64_t capacity)
{
    unsigned admitted = 0;
    for (unsigned i = 0; i < n; i++)
        admitted += sl_sketch_take(l, hash, TH_START, 1000, capacity * 1000) == 1;
    return admitted;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Each of the 1,365 sets of four cells is drawn as often as any. */
static void test_cells_are_drawn_evenly(void **state)
{
    (void)state;
    enum { DRAWS = 136500 };
    uint32_t *sets = calloc(DRAWS, sizeof(*sets)), kinds = 0, run = 0;
    assert_non_null(sets);
    for (uint32_t i = 0; i < DRAWS; i++) {
        sets[i] = cells_of(hash_of(i));
        assert_int_equal(__builtin_popcount(sets[i]), SL_SKETCH_ROWS);
    }
    qsort(sets, DRAWS, sizeof(*sets), by_number);
    for (uint32_t i = 0; i < DRAWS; i++) {
        run = i && sets[i] == sets[i - 1] ? run + 1 : 1;
        kinds += run == 1;
        assert_true(run < 200); /* 100 on average */
    }
    assert_int_equal(kinds, 1365);
    free(sets);
}

static void test_sharing_some_cells_hurts_nobody(void **state)
{
    (void)state;
    const uint64_t one = hash_of(0);
    for (unsigned cells = 0; cells <= SL_SKETCH_ROWS; cells++) {
        struct sl_sketch_line l = {0};
        const uint64_t other = sharing(one, cells);
        assert_int_equal(taken(&l, other, 100, 50), 50);
        assert_int_equal(taken(&l, one, 100, 50), cells == SL_SKETCH_ROWS ? 0 : 50);
        assert_int_equal(taken(&l, other, 100, 50), 0);
    }
}

/* How many of others' clients a flood hurts, per 10,000. */
static unsigned hurt(uint32_t flooders)
{
    enum { CLIENTS = 20000 };
    unsigned n = 0;
    struct sl_sketch_line *lines = calloc(SL_SKETCH_LINES, sizeof(*lines));
    assert_non_null(lines);
    for (uint32_t i = 0; i < flooders + CLIENTS; i++) {
        const uint64_t hash = hash_of(i);
        struct sl_sketch_line *l = &lines[SL_SKETCH_LINE(0, hash)];
        if (i < flooders)
            (void)taken(l, hash, 4, 4);
        else
            n += sl_sketch_refuses(l, hash, TH_START, 1000, 4000);
    }
    free(lines);
    return n / (CLIENTS / 10000);
}

static void test_few_are_hurt_by_a_flood(void **state)
{
    (void)state;
    const unsigned some = hurt(10000), many = hurt(65536);
    print_message("of 10,000 clients %u are refused with 10,000 sources over their limits, %u with 65,536\n",
                  some, many);
    assert_in_range(some, 1, 40);
    assert_in_range(many, 1, 1000);
}

static void test_a_sketch_recovers_from_a_wider_limit(void **state)
{
    (void)state;
    struct sl_sketch_line l = {0};
    const uint64_t hash = hash_of(1), hour = 3600 * SL_NS_PER_SEC;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(sl_sketch_take(&l, hash, TH_START, hour, 100 * hour), 1);
    assert_int_equal(sl_sketch_take(&l, hash, TH_START, 1000, 5000), 0);
    assert_int_equal(sl_sketch_take(&l, hash, TH_START + 999, 1000, 5000), 0);
    assert_int_equal(sl_sketch_take(&l, hash, TH_START + 1000, 1000, 5000), 1);
    assert_true(sl_sketch_tat(&l, hash) <= TH_START + 6000);
}

/* Who holds the lock for ever costs others their admission, not their CPU. */
static void test_a_held_lock_refuses(void **state)
{
    (void)state;
    struct sl_sketch_line l = {.lock = 1};
    assert_int_equal(sl_sketch_take(&l, hash_of(1), TH_START, 1000, 5000), -1);
    l.lock = 0;
    assert_int_equal(sl_sketch_take(&l, hash_of(1), TH_START, 1000, 5000), 1);
    assert_int_equal(l.lock, 0);
}

/* A line is closed where each of its keys is refused, and no earlier. */
static void test_when_a_line_is_closed(void **state)
{
    (void)state;
    const uint64_t second = SL_NS_PER_SEC;
    struct sl_sketch_line l = {0};
    uint32_t covered = 0;
    for (uint32_t i = 0; covered != (1u << SL_SKETCH_CELLS) - 1; i++) {
        const uint32_t least = (uint32_t)(sl_sketch_least(&l) >> SL_SKETCH_CLOSED_SHIFT);
        assert_false(sl_sketch_is_closed(least, TH_START, second, 4 * second));
        for (unsigned n = 0; n < 4; n++)
            (void)sl_sketch_take(&l, hash_of(i), TH_START, second, 4 * second);
        covered |= cells_of(hash_of(i));
    }
    const uint32_t least = (uint32_t)(sl_sketch_least(&l) >> SL_SKETCH_CLOSED_SHIFT);
    for (uint64_t at = TH_START; at < TH_START + 2 * second; at += second / 100)
        if (sl_sketch_is_closed(least, at, second, 4 * second))
            for (uint32_t i = 0; i < 100; i++)
                assert_true(sl_sketch_refuses(&l, hash_of(i), at, second, 4 * second));
    assert_true(sl_sketch_is_closed(least, TH_START + 9 * second / 10, second, 4 * second));
    assert_false(sl_sketch_is_closed(least, TH_START + second, second, 4 * second));
    assert_false(sl_sketch_is_closed(least, TH_START, second, second)); /* a narrower limit clamps first */
}

struct hammer {
    struct sl_sketch_line *l;
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
        r = sl_sketch_take(h->l, h->hash, TH_START, 1000, HAMMERED * 1000ull);
        h->admitted += r == 1;
        if (r < 0) /* whoever has the lock is not running */
            (void)sched_yield();
    } while (r != 0);
    return NULL;
}

/* Four threads on one key and two on another, however many cells they share: each key is admitted exactly
 * what is its own, or, sharing all, the one bucket that they are. */
static void test_a_sketch_is_exact_under_contention(void **state)
{
    (void)state;
    for (unsigned cells = 0; cells <= SL_SKETCH_ROWS; cells++) {
        struct sl_sketch_line l = {0};
        const uint64_t hash[2] = {hash_of(0), sharing(hash_of(0), cells)};
        struct hammer h[6];
        unsigned admitted[2] = {0};
        for (unsigned i = 0; i < 6; i++) {
            h[i] = (struct hammer){.l = &l, .hash = hash[i >= 4]};
            assert_int_equal(pthread_create(&h[i].thread, NULL, hammer, &h[i]), 0);
        }
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(pthread_join(h[i].thread, NULL), 0);
            admitted[i >= 4] += h[i].admitted;
        }
        assert_int_equal(admitted[0] + admitted[1], cells == SL_SKETCH_ROWS ? HAMMERED : 2 * HAMMERED);
        if (cells < SL_SKETCH_ROWS)
            assert_int_equal(admitted[0], HAMMERED);
    }
}

/* Two sources of one line that share that many cells, found by the hash. */
struct pair {
    char address[2][INET_ADDRSTRLEN];
    uint64_t hash;
};

static struct pair with_common_cells(unsigned cells)
{
    static uint32_t seen[SL_SKETCH_LINES];
    struct pair p;
    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0x64400001;; i++) { /* 100.64.0.1 and on */
        uint32_t *last = &seen[SL_SKETCH_LINE(0, hash_of(i))];
        const uint32_t before = *last;
        *last = i;
        if (!before || shared(hash_of(before), hash_of(i)) != cells)
            continue;
        const struct in_addr in[2] = {{htonl(before)}, {htonl(i)}};
        (void)inet_ntop(AF_INET, &in[0], p.address[0], sizeof(p.address[0]));
        (void)inet_ntop(AF_INET, &in[1], p.address[1], sizeof(p.address[1]));
        p.hash = hash_of(before);
        return p;
    }
}

/* What the program does is what is tested above. */
static void test_two_sources_with_a_common_cell(void **state)
{
    (void)state;
    const struct pair p = with_common_cells(1);
    guard.config.source_connections = per_second(1, 20);
    th_write_config(&guard);
    assert_int_equal(admitted(p.address[0], 40), 20);
    assert_int_equal(admitted(p.address[1], 40), 20);
    struct sl_sketch_line l;
    const uint32_t i = SL_SKETCH_LINE(SL_SKETCH_CONNECTIONS, p.hash);
    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(guard.skel->maps.sl_sketch), &i, &l), 0);
    assert_int_equal(sl_sketch_tat(&l, p.hash),
                     TH_START + 20 * SL_NS_PER_SEC); /* the hash is the program's */
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
    for (unsigned cells = 0; cells < SL_SKETCH_ROWS; cells++) {
        th_clock(&guard, TH_START + (cells + 1) * SL_NS_PER_SEC); /* all buckets full again */
        const struct pair p = with_common_cells(cells);
        const uint64_t now = sent_by_two_cpus(p.address[0], p.address[1], 2 * LIMIT);
        assert_int_equal(now - before, 2 * LIMIT);
        before = now;
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_are_drawn_evenly),
        cmocka_unit_test(test_sharing_some_cells_hurts_nobody),
        cmocka_unit_test(test_few_are_hurt_by_a_flood),
        cmocka_unit_test(test_a_held_lock_refuses),
        cmocka_unit_test(test_when_a_line_is_closed),
        cmocka_unit_test(test_a_sketch_recovers_from_a_wider_limit),
        cmocka_unit_test(test_a_sketch_is_exact_under_contention),
        TEST(test_two_sources_with_a_common_cell),
        TEST(test_two_cpus_are_admitted_one_limit),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
