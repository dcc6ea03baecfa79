/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that real hosts sent, from the captures that Debian's packages carry: the native parser and the
 * kernel say the same of each, as it is and aimed at a listener of ours on the port that it was for.
 */
#include "random_packets.h"

#include <glob.h>
#define bpf_insn pcap_bpf_insn /* classic BPF's, by the same name as the kernel's */
#include <pcap/pcap.h>
#undef bpf_insn

static const char *const places[] = {
    "/usr/share/gocode/src/github.com/google/gopacket/pcap/*.pcap",
    "/usr/share/gocode/src/github.com/google/gopacket/pcapgo/tests/*/*.pcapng",
    "/usr/share/doc/python3-dpkt/examples/data/*.pcap*"};

static struct th_guard guard;

static enum sl_parsed parse(const struct th_packet *t, struct sl_packet *p)
{
    memset(p, 0, sizeof(*p));
    return sl_parse(t->b, t->b + t->n, p);
}

static enum sl_reason expected(enum sl_parsed parsed, const struct sl_packet *p, bool ours)
{
    if (parsed == SL_PARSED_UNKNOWN)
        return SL_PASS_UNPARSED;
    if (parsed == SL_PARSED_VLANS)
        return SL_PASS_VLANS;
    if (parsed == SL_PARSED_CONTROL)
        return SL_PASS_CONTROL;
    if (!ours || parsed == SL_PARSED_OTHER || (p->proto != IPPROTO_TCP && p->proto != 0))
        return SL_PASS_NOT_OURS;
    const enum sl_reason fault = sl_packet_fault(p, 0);
    return fault == SL_REASON_COUNT ? SL_PASS : fault;
}

static void judge(const struct th_packet *t, const char *file, unsigned number, bool ours)
{
    int action;
    bool would;
    struct sl_packet p;
    const enum sl_parsed parsed = parse(t, &p);
    const enum sl_reason want = expected(parsed, &p, ours),
                         got = th_judge(&guard, t->b, t->n, &action, &would);
    if (got != want)
        fail_msg("%s: packet %u%s: native %s, kernel %s", file, number, ours ? " aimed at us" : "",
                 sl_reason_name(want), sl_reason_name(got));
}

/* Its destination becomes ours, and its port a listener's. */
static bool aim(struct th_packet *t)
{
    struct sl_packet p;
    const enum sl_parsed parsed = parse(t, &p);
    if (parsed != SL_PARSED_PORTS && parsed != SL_PARSED_NO_PORTS)
        return false;
    const bool v4 = p.family == SL_AF_INET;
    const size_t size = v4 ? 4 : 16;
    const struct sl_ip ours = th_ip(v4 ? OURS : OURS6);
    unsigned char *at = memmem(t->b + 14 + size, t->n - 14 - size, &p.dst, size);
    assert_non_null(at);
    memcpy(at, &ours.addr, size);
    th_listen(&guard, v4 ? OURS : OURS6, ntohs(p.dport_be), 0);
    return true;
}

static unsigned judge_file(const char *path)
{
    char why[PCAP_ERRBUF_SIZE];
    struct pcap_pkthdr *h;
    const unsigned char *data;
    unsigned n = 0;
    pcap_t *file = pcap_open_offline(path, why);
    if (!file) /* of a link type or a shape that libpcap does not read either */
        return 0;
    while (pcap_datalink(file) == DLT_EN10MB && pcap_next_ex(file, &h, &data) == 1) {
        struct th_packet t = {.n = h->caplen};
        if (t.n < 14 || t.n > sizeof(t.b))
            continue;
        memcpy(t.b, data, t.n);
        judge(&t, path, ++n, false);
        if (aim(&t))
            judge(&t, path, n, true);
    }
    pcap_close(file);
    return n;
}

static void test_captured_packets(void **state)
{
    (void)state;
    unsigned files = 0, packets = 0;
    th_load(&guard);
    for (size_t i = 0; i < SL_ARRAY_LEN(places); i++) {
        glob_t found = {0};
        if (glob(places[i], 0, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++) {
                const unsigned n = judge_file(found.gl_pathv[k]);
                files += n > 0;
                packets += n;
            }
        globfree(&found);
    }
    th_unload(&guard);
    print_message("%u packets of %u captures\n", packets, files);
    if (packets == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_captured_packets)};
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
