/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native parser, which is fuzzed, and the kernel's verdict must say the same of the same packet: of one
 * of each kind, with each byte of it set to each value and cut at each length, which takes each branch
 * whatever chance says; and of a million more, each a known one with a few bytes changed, cut or added. The
 * seed is printed; SL_SEED repeats it, SL_PACKETS sets how many.
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
    return p->dport_be == 0 || p->dport_be == htons(PORT);
}

/* What the guard says where the policy has listeners and nothing else. */
static enum sl_reason expected(const unsigned char *frame, size_t n)
{
    struct sl_packet p, quick;
    memset(&p, 0, sizeof(p));
    memset(&quick, 0, sizeof(quick));
    const enum sl_parsed parsed = sl_parse(frame, frame + n, &p);
    if (sl_parse_quick(frame, frame + n, &quick)) {
        assert_int_equal(parsed, SL_PARSED_PORTS);
        assert_memory_equal(&quick, &p, sizeof(p));
    }
    switch (parsed) {
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
    const enum sl_reason fault = sl_packet_fault(&p, guard.config.flags & SL_PASS_FRAGMENTS);
    return fault == SL_REASON_COUNT ? SL_PASS : fault;
}

static void print_frame(const struct th_packet *p)
{
    for (size_t i = 0; i < p->n; i++)
        print_error("%02x%s", p->b[i], i % 16 == 15 ? "\n" : " ");
    print_error("\n");
}

/* Packets, until a batch of them is full; seen counts what was said of them. */
struct batch {
    struct th_packet packets[BATCH];
    unsigned n, seen[SL_REASON_COUNT];
};

/* The counters of a batch differ: which packet it was. */
static void find_culprit(const struct batch *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        int action;
        bool would;
        const enum sl_reason want = expected(b->packets[i].b, b->packets[i].n),
                             got = th_judge(&guard, b->packets[i].b, b->packets[i].n, &action, &would);
        if (want != got) {
            print_error("native %s, kernel %s\n", sl_reason_name(want), sl_reason_name(got));
            print_frame(&b->packets[i]);
            fail();
        }
    }
    fail_msg("the counters of a batch differ, those of its packets one by one do not");
}

static void agree(struct batch *b)
{
    static struct th_counts before, after;
    unsigned want[SL_REASON_COUNT] = {0};
    th_counts(&guard, &before);
    for (unsigned i = 0; i < b->n; i++) {
        const struct th_packet *p = &b->packets[i];
        const enum sl_reason r = expected(p->b, p->n);
        want[r]++;
        if (th_run_raw(&guard, p->b, p->n) != (sl_reason_drops(r) ? XDP_DROP : XDP_PASS))
            find_culprit(b);
    }
    th_counts(&guard, &after);
    for (unsigned i = 0; i < SL_REASON_COUNT; i++) {
        b->seen[i] += want[i];
        if (after.is[i].packets - before.is[i].packets != want[i])
            find_culprit(b);
    }
    b->n = 0;
}

static struct th_packet *next_of(struct batch *b)
{
    if (b->n == BATCH)
        agree(b);
    return &b->packets[b->n++];
}

static int setup(void **state)
{
    th_load(&guard);
    for (unsigned proto = IPPROTO_TCP; proto; proto = proto == IPPROTO_TCP ? IPPROTO_UDP : 0) {
        th_listen_for(&guard, OURS, PORT, proto, 0);
        th_listen_for(&guard, OURS6, PORT, proto, 0);
    }
    return (*state = calloc(1, sizeof(struct batch))) ? 0 : -1;
}

static int teardown(void **state)
{
    free(*state);
    th_unload(&guard);
    return 0;
}

/* ---- one of each kind */

static void begin(struct th_packet *p, bool v6, unsigned proto)
{
    th_eth(p, v6 ? 0x86dd : 0x0800);
    if (v6)
        th_ip6(p, "2001:db8::9", OURS6, proto);
    else
        th_ip4(p, CLIENT, OURS, proto, 0);
}

static void end(struct th_packet *p, unsigned proto)
{
    if (proto == IPPROTO_UDP)
        th_udp(p, 40000, PORT);
    else
        th_tcp(p, 40000, PORT, TH_SYN);
    (void)th_room(p, 4);
    th_finish(p);
}

static void plain(struct th_packet *p, unsigned variant)
{
    const unsigned proto = variant & 2 ? IPPROTO_UDP : IPPROTO_TCP;
    begin(p, variant & 1, proto);
    end(p, proto);
}

static void tagged(struct th_packet *p, unsigned variant)
{
    th_eth(p, 0x0800);
    for (unsigned i = 0; i < 1 + variant % 3; i++)
        th_vlan(p, variant < 3 ? 0x8100 : 0x88a8, 0x0800);
    th_ip4(p, CLIENT, OURS, IPPROTO_TCP, 0);
    end(p, IPPROTO_TCP);
}

/* Options, authentication, fragments first and later; chains of 1, 6 and 7 extension headers. */
static void extended(struct th_packet *p, unsigned variant)
{
    static const unsigned types[] = {0, 43, 60, 51, 44, 60, 60};
    const unsigned chain[] = {1, 6, 7};
    const bool v6 = variant < SL_ARRAY_LEN(chain);
    begin(p, v6, IPPROTO_TCP);
    for (unsigned i = 0; v6 && i < chain[variant]; i++)
        th_ext(p, types[i], 0);
    if (variant == 3)
        th_ext(p, 51, 1);
    if (variant >= 4)
        th_put16(p->b + p->ip + 6, variant == 4 ? 0x2000 : 0x2001);
    end(p, IPPROTO_TCP);
}

static void controls(struct th_packet *p, unsigned variant)
{
    if (variant < 2)
        begin(p, variant == 1, variant == 1 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    else
        th_eth(p, variant == 2 ? 0x0806 : 0x88cc);
    end(p, IPPROTO_TCP);
}

static const struct {
    void (*make)(struct th_packet *, unsigned variant);
    unsigned variants;
} kinds[] = {{plain, 4}, {tagged, 6}, {extended, 6}, {controls, 4}};

static void agree_on_all_like(struct batch *b, const struct th_packet *p)
{
    for (size_t n = 14; n <= p->n; n++) {
        struct th_packet *cut = next_of(b); /* the frame, then the datagram */
        *cut = *p;
        cut->n = n;
        if (p->ip && n > p->ip) {
            cut = next_of(b);
            *cut = *p;
            th_put16(cut->b + p->ip + (p->family == SL_AF_INET ? 2 : 4), (unsigned)(n - p->ip));
        }
    }
    for (size_t at = 12; at < p->n; at++)
        for (unsigned value = 0; value < 256; value++) {
            struct th_packet *changed = next_of(b);
            *changed = *p;
            changed->b[at] = (unsigned char)value;
        }
}

static void test_they_agree_on_each_kind(void **state)
{
    struct batch *b = *state;
    struct th_packet p;
    for (unsigned pass = 0; pass < 2; pass++) {
        guard.config.flags = pass ? SL_PASS_FRAGMENTS : 0;
        th_write_config(&guard);
        for (size_t k = 0; k < SL_ARRAY_LEN(kinds); k++)
            for (unsigned v = 0; v < kinds[k].variants; v++) {
                kinds[k].make(&p, v);
                agree_on_all_like(b, &p);
            }
        agree(b);
    }
    for (size_t n = 0; n < 14; n++) /* no frame that BPF_PROG_TEST_RUN would take */
        assert_int_equal(expected(p.b, n), SL_PASS_UNPARSED);
}

/* ---- a million others */

static void test_they_agree_on_random_ones(void **state)
{
    struct batch *b = *state;
    const char *count = getenv("SL_PACKETS");
    const unsigned packets = count ? (unsigned)strtoul(count, NULL, 0) : PACKETS;
    seed = th_seed();
    for (unsigned i = 0; i < packets; i++) {
        struct th_packet *p = next_of(b);
        *p = th_random_packet(&seed, OURS, OURS6, PORT);
        th_mutate(&seed, p);
    }
    agree(b);
    /* or the generator has gone blind */
    static const enum sl_reason reached[] = {SL_PASS_NOT_OURS,  SL_PASS,           SL_PASS_CONTROL,
                                             SL_PASS_UNPARSED,  SL_DROP_MALFORMED, SL_DROP_FRAGMENT,
                                             SL_DROP_TRUNCATED, SL_DROP_HEADERS};
    for (size_t i = 0; i < SL_ARRAY_LEN(reached); i++) {
        print_message("%-20s %u\n", sl_reason_name(reached[i]), b->seen[reached[i]]);
        assert_true(b->seen[reached[i]] > packets / 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_they_agree_on_each_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_they_agree_on_random_ones, setup, teardown),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
