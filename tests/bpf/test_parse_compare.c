/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native parser, which is fuzzed, and the kernel's verdict must say the same of the same packet:
 * a million packets, each a known one with a few bytes changed, cut or added. The seed is printed; SL_SEED
 * repeats it, SL_PACKETS sets how many.
 */
#include "random_packets.h"

#define PACKETS 1000000
#define BATCH   64 /* packets that the kernel judges between two looks at its counters */

static struct th_guard guard;
static uint64_t seed;

static bool is_listener(const struct sl_packet *p)
{
    const struct sl_ip ours4 = th_ip(OURS), ours6 = th_ip(OURS6),
                       *ours = p->family == SL_AF_INET ? &ours4 : &ours6;
    if (memcmp(&p->dst, &ours->addr, sizeof(p->dst)) != 0)
        return false;
    return p->dport_be == 0 ? p->proto == SL_IP_TCP || p->proto == 0
                            : p->dport_be == htons(PORT) && p->proto == SL_IP_TCP;
}

/* What the guard says where the policy has listeners and nothing else. */
static enum sl_reason expected(const unsigned char *frame, size_t n)
{
    struct sl_packet p;
    memset(&p, 0, sizeof(p));
    switch (sl_parse(frame, frame + n, &p)) {
    case SL_PARSED_UNKNOWN:
        return SL_PASS_UNPARSED;
    case SL_PARSED_VLANS:
        return SL_PASS_VLANS;
    case SL_PARSED_CONTROL:
        return SL_PASS_CONTROL;
    case SL_PARSED_OTHER:
        return SL_PASS_NOT_OURS;
    default:
        break;
    }
    if (!is_listener(&p))
        return SL_PASS_NOT_OURS;
    const enum sl_reason fault = sl_packet_fault(&p, 0);
    return fault == SL_REASON_COUNT ? SL_PASS : fault;
}

static void print_frame(const struct th_packet *p)
{
    for (size_t i = 0; i < p->n; i++)
        print_error("%02x%s", p->b[i], i % 16 == 15 ? "\n" : " ");
    print_error("\n");
}

/* The counters of a batch differ: which packet it was. */
static void find_culprit(const struct th_packet *batch)
{
    for (unsigned i = 0; i < BATCH; i++) {
        int action;
        bool would;
        const enum sl_reason want = expected(batch[i].b, batch[i].n),
                             got = th_judge(&guard, batch[i].b, batch[i].n, &action, &would);
        if (want != got) {
            print_error("native %s, kernel %s\n", sl_reason_name(want), sl_reason_name(got));
            print_frame(&batch[i]);
            fail();
        }
    }
    fail_msg("the counters of a batch differ, those of its packets one by one do not");
}

static void agree(unsigned *seen)
{
    static struct th_packet batch[BATCH];
    static struct th_counts before, after;
    unsigned want[SL_REASON_COUNT] = {0};
    th_counts(&guard, &before);
    for (unsigned i = 0; i < BATCH; i++) {
        batch[i] = th_random_packet(&seed, OURS, OURS6, PORT);
        th_mutate(&seed, &batch[i]);
        const enum sl_reason r = expected(batch[i].b, batch[i].n);
        const int action = th_run_raw(&guard, batch[i].b, batch[i].n);
        want[r]++;
        if (action != (sl_reason_drops(r) ? 1 /* XDP_DROP */ : 2 /* XDP_PASS */))
            find_culprit(batch);
    }
    th_counts(&guard, &after);
    for (unsigned i = 0; i < SL_REASON_COUNT; i++) {
        seen[i] += want[i];
        if (after.is[i].packets - before.is[i].packets != want[i])
            find_culprit(batch);
    }
}

static void test_native_and_kernel_agree(void **state)
{
    (void)state;
    unsigned seen[SL_REASON_COUNT] = {0};
    const char *count = getenv("SL_PACKETS");
    const unsigned packets = count ? (unsigned)strtoul(count, NULL, 0) : PACKETS;
    seed = th_seed();
    th_load(&guard);
    th_listen(&guard, OURS, PORT, 0);
    th_listen(&guard, OURS6, PORT, 0);
    for (unsigned i = 0; i < packets; i += BATCH)
        agree(seen);
    th_unload(&guard);
    /* or the generator has gone blind */
    static const enum sl_reason reached[] = {SL_PASS_NOT_OURS,  SL_PASS,           SL_PASS_CONTROL,
                                             SL_PASS_UNPARSED,  SL_DROP_MALFORMED, SL_DROP_FRAGMENT,
                                             SL_DROP_TRUNCATED, SL_DROP_HEADERS};
    for (size_t i = 0; i < SL_ARRAY_LEN(reached); i++) {
        print_message("%-20s %u\n", sl_reason_name(reached[i]), seen[reached[i]]);
        assert_true(seen[reached[i]] > packets / 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_native_and_kernel_agree)};
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
