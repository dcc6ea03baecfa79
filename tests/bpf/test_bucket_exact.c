/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes and a kernel program debit the same buckets for ten seconds, as fast as they can. What is
 * admitted must be the limit, to ±1 %, at 10/s, 1,000/s and 100,000/s: a racy refill admits a multiple, a
 * lost update less.
 *
 * A bucket of capacity C admits C at once and then its rate, so over ten seconds C + 10 * rate. Each bucket
 * begins with its capacity spent, so that the expected number is 10 * rate itself; capacities are a second's
 * worth, so that a turn of the scheduler loses nothing.
 */
#include "bpf_harness.h"

#include "base/clock.h"
#include "exact.skel.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define BUCKETS   3
#define SECONDS   10
#define PROCESSES 2

static const uint64_t rates[BUCKETS] = {10, 1000, 100000};

struct tally {
    uint64_t admitted[BUCKETS], denied[BUCKETS], exhausted[BUCKETS];
};

static void debit_until(struct sl_bucket *b, const struct sl_limit *limits, uint64_t end, struct tally *t)
{
    for (uint64_t now = sl_now_ns(); now < end; now = sl_now_ns())
        for (int i = 0; i < BUCKETS; i++) {
            const int r = sl_bucket_take(&b[i].tat, now, limits[i].interval_ns, limits[i].tolerance_ns, NULL);
            t->admitted[i] += r > 0;
            t->denied[i] += r == 0;
            t->exhausted[i] += r < 0;
        }
}

static pid_t start_process(struct sl_bucket *b, const struct sl_limit *limits, uint64_t end, struct tally *t)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        debit_until(b, limits, end, t);
        _exit(0);
    }
    return pid;
}

static void run_kernel_until(const struct exact *skel, uint64_t end)
{
    unsigned char packet[64] = {0};
    while (sl_now_ns() < end) {
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet), .repeat = 1000);
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.take_each), &o), 0);
    }
}

static void test_three_parties_one_bucket(void **state)
{
    (void)state;
    struct exact *skel = exact__open_and_load();
    assert_non_null(skel);
    size_t n;
    struct sl_bucket *b = sl_maps_buckets(bpf_map__fd(skel->maps.shared), &n);
    struct tally *t =
        mmap(NULL, PROCESSES * sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sl_limit limits[BUCKETS];
    assert_non_null(b);
    assert_true(t != MAP_FAILED);
    const uint64_t start = sl_now_ns(), end = start + SECONDS * SL_NS_PER_SEC;
    for (int i = 0; i < BUCKETS; i++) {
        limits[i] = (struct sl_limit){.interval_ns = SL_NS_PER_SEC / rates[i], .tolerance_ns = SL_NS_PER_SEC};
        skel->bss->limits[i] = limits[i];
        b[i].tat = start + limits[i].tolerance_ns - limits[i].interval_ns / 2; /* spent */
    }
    skel->bss->end_ns = end;
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = start_process(b, limits, end, &t[i]);
    run_kernel_until(skel, end);
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    for (int i = 0; i < BUCKETS; i++) {
        const uint64_t kernel = skel->bss->admitted[i], want = rates[i] * SECONDS;
        uint64_t all = kernel, refused = 0;
        for (int p = 0; p < PROCESSES; p++) {
            all += t[p].admitted[i];
            refused += t[p].denied[i];
        }
        print_message("%6lu/s over %d s: %lu admitted (kernel %lu, processes %lu and %lu), want %lu; "
                      "contended out: %lu\n",
                      rates[i], SECONDS, all, kernel, t[0].admitted[i], t[1].admitted[i], want,
                      t[0].exhausted[i] + t[1].exhausted[i]);
        assert_true(all <= want + want / 100);
        if (refused < want) /* an emulated machine: the parties cannot ask for as much as the limit is */
            print_message("%6lu/s: only %lu refused, so the limit was not always reached\n", rates[i],
                          refused);
        else
            assert_true(all >= want - want / 100);
    }
    assert_true(skel->bss->admitted[2] > 0 && t[0].admitted[2] > 0 && t[1].admitted[2] > 0);
    (void)munmap(b, n * sizeof(*b));
    (void)munmap(t, PROCESSES * sizeof(*t));
    exact__destroy(skel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_three_parties_one_bucket)};
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
