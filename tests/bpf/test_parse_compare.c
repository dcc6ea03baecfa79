/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native parser, which is fuzzed, and the kernel's verdict must say the same of the same packet:
 * thousands of packets, each a known one with a few bytes changed, cut or added. The seed is printed; SL_SEED
 * repeats it.
 */
#include "bpf_harness.h"

#include "../../bpf/lib/parse.h"

#include "base/clock.h"

#define OURS    "192.0.2.1"
#define OURS6   "2001:db8::1"
#define PORT    443
#define PACKETS 6000

static struct th_guard guard;
static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

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
    case SL_PARSED_CONTROL:
        return SL_PASS_CONTROL;
    case SL_PARSED_OTHER:
        return SL_PASS_NOT_OURS;
    default:
        break;
    }
    if (!is_listener(&p))
        return SL_PASS_NOT_OURS;
    const enum sl_reason fault = sl_packet_fault(&p);
    return fault == SL_REASON_COUNT ? SL_PASS : fault;
}

static struct th_packet base_packet(unsigned which)
{
    static const unsigned exts[] = {0, 60, 43, 51, 44};
    struct th_packet p;
    const bool v6 = which & 1;
    const unsigned icmp = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, proto = (which >> 14) % 16 ? IPPROTO_TCP : icmp;
    th_eth(&p, v6 ? 0x86dd : 0x0800);
    for (unsigned i = 0; i < (which >> 1) % 4; i++)
        th_vlan(&p, i ? 0x8100 : 0x88a8, v6 ? 0x86dd : 0x0800);
    if (v6) {
        th_ip6(&p, "2001:db8::9", OURS6, proto);
        for (unsigned i = 0; i < (which >> 3) % 8; i++)
            th_ext(&p, exts[(which >> (i + 4)) % 5], (which >> i) % 3);
    } else {
        th_ip4(&p, "198.51.100.7", OURS, proto, (which >> 3) % 4 * 4);
        if ((which >> 6) % 4 == 0)
            th_ext(&p, 51, 4);
    }
    th_tcp(&p, 40000, PORT, TH_SYN);
    (void)th_room(&p, (which >> 8) % 64);
    th_finish(&p);
    return p;
}

static void mutate(struct th_packet *p)
{
    static const unsigned char interesting[] = {0,  1,  4,  5,    6,    17,   41,   43,   44,  51,
                                                58, 59, 60, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xff};
    for (unsigned i = (unsigned)(next_random() % 5); i > 0; i--) {
        const uint64_t r = next_random();
        /* the addresses are let be, mostly, or nothing would be ours any more */
        size_t at = 12 + (r >> 8) % SL_MIN(p->n - 12, (size_t)120);
        if (r & 3)
            p->b[at] = (r & 4) ? (unsigned char)(r >> 48) : interesting[(r >> 40) % sizeof(interesting)];
        else
            p->b[at] ^= (unsigned char)(1u << ((r >> 32) % 8));
    }
    const uint64_t r = next_random();
    if (r % 8 == 0)
        p->n = 14 + (r >> 8) % (p->n - 13);
    else if (r % 8 == 1)
        memset(th_room(p, (r >> 8) % 300), (int)(r >> 20), (r >> 8) % 300);
}

static void print_frame(const struct th_packet *p)
{
    for (size_t i = 0; i < p->n; i++)
        print_error("%02x%s", p->b[i], i % 16 == 15 ? "\n" : " ");
    print_error("\n");
}

static void test_native_and_kernel_agree(void **state)
{
    (void)state;
    unsigned seen[SL_REASON_COUNT] = {0};
    const char *given = getenv("SL_SEED");
    seed = given ? strtoull(given, NULL, 0) : sl_wall_ns() | 1;
    print_message("SL_SEED=%#lx\n", (unsigned long)seed);
    th_load(&guard);
    th_listen(&guard, OURS, PORT, 0);
    th_listen(&guard, OURS6, PORT, 0);
    for (unsigned i = 0; i < PACKETS; i++) {
        struct th_packet p = base_packet((unsigned)(next_random() >> 16));
        int action;
        bool would;
        mutate(&p);
        const enum sl_reason want = expected(p.b, p.n), got = th_judge(&guard, p.b, p.n, &action, &would);
        if (want != got) {
            print_error("packet %u: native %s, kernel %s\n", i, sl_reason_name(want), sl_reason_name(got));
            print_frame(&p);
            fail();
        }
        seen[got]++;
    }
    th_unload(&guard);
    /* or the generator has gone blind */
    static const enum sl_reason reached[] = {SL_PASS_NOT_OURS,  SL_PASS,           SL_PASS_CONTROL,
                                             SL_PASS_UNPARSED,  SL_DROP_MALFORMED, SL_DROP_FRAGMENT,
                                             SL_DROP_TRUNCATED, SL_DROP_HEADERS};
    for (size_t i = 0; i < SL_ARRAY_LEN(reached); i++) {
        print_message("%-20s %u\n", sl_reason_name(reached[i]), seen[reached[i]]);
        assert_true(seen[reached[i]] > PACKETS / 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_native_and_kernel_agree)};
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
