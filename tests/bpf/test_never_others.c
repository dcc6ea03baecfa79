/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No policy, however wrong, drops a packet that is not for a listener: policies made at random, with
 * everything denied, penalised and limited to nothing, and packets for other addresses, ports and protocols.
 */
#include "kernel_harness.h"
#include "random_packets.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#define POLICIES 300
#define PACKETS  2000

static const char *const addresses4[] = {OURS, "192.0.2.2", "198.51.100.7", "255.255.255.255", "224.0.0.1"};
static const char *const addresses6[] = {OURS6, "2001:db8::2", "ff02::1", "fe80::1", "2001:db8::9"};
static const unsigned ports[] = {22, 53, 80, 443, 8443};

static uint64_t seed;
enum bound { NO, OURS_ONLY, ANY_OF_THE_HOST };
static enum bound bound4[5], bound6[5]; /* by ports[] */

static unsigned one_of(unsigned n)
{
    return (unsigned)(th_next(&seed) >> 20) % n;
}

static void random_listener(size_t i)
{
    for (unsigned n = 1 + one_of(2); n > 0; n--) {
        char bind[64];
        const unsigned port = one_of(5), form = one_of(4);
        static const char *const forms[] = {OURS ":%u", "0.0.0.0:%u", "[" OURS6 "]:%u", "[::]:%u"};
        (void)snprintf(bind, sizeof(bind), forms[form], ports[port]);
        th_bind(&policy, i, bind);
        enum bound *b = (form < 2 ? bound4 : bound6) + port;
        *b = SL_MAX(*b, form % 2 ? ANY_OF_THE_HOST : OURS_ONLY);
    }
}

static struct sl_rate random_rate(void)
{
    return one_of(3) ? (struct sl_rate){.count = 1, .per_ns = 86400 * SL_NS_PER_SEC} : (struct sl_rate){0};
}

static void random_policy(void)
{
    th_policy(&policy, "192.0.2.1:9");
    policy.listeners[0].n_bind = 0;
    memset(bound4, 0, sizeof(bound4));
    memset(bound6, 0, sizeof(bound6));
    policy.s.n_listeners = 1 + one_of(2);
    for (size_t i = 0; i < policy.s.n_listeners; i++)
        random_listener(i);
    if (one_of(4))
        th_deny(&policy, one_of(2) ? "0.0.0.0/0" : "198.51.100.7/32");
    if (one_of(4))
        th_deny(&policy, one_of(2) ? "::/0" : "2001:db8::/32");
    policy.s.kernel.per_source.new_connections = random_rate();
    policy.s.kernel.per_source.packets = random_rate();
    policy.s.kernel.per_source.bytes = random_rate();
    policy.s.kernel.per_listener.new_connections = random_rate();
    policy.s.kernel.per_listener.burst = 1;
    policy.s.kernel.per_prefix.new_connections = random_rate();
    policy.s.kernel.per_prefix.burst = 1;
    policy.s.kernel.ipv6_prefix = 32 + one_of(97);
    policy.s.kernel.fragments = one_of(2) ? SL_FRAGMENTS_DROP : SL_FRAGMENTS_PASS;
    policy.s.kernel.syn_cookies = one_of(2) ? SL_SYN_COOKIES_ALWAYS : SL_SYN_COOKIES_OFF;
}

static void penalise(const char *source)
{
    uint64_t deadline;
    const struct sl_penalty_request r = {.source = th_ip(source),
                                         .effect = SL_PENALTY_SOURCE,
                                         .duration_ns = 3600 * SL_NS_PER_SEC,
                                         .max_ns = 3600 * SL_NS_PER_SEC,
                                         .rejections = 1,
                                         .consumer = "anyone",
                                         .rule = "tier:any"};
    assert_int_equal(sl_kernel_penalty_add(guard, &r, &deadline), 0);
}

/* 127.0.0.1, fe80:: and the like, which a wildcard listens on too. */
static bool is_of_the_host(const struct sl_packet *p)
{
    struct ifaddrs *all;
    bool is = false;
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *a = all; a && !is; a = a->ifa_next) {
        if (!a->ifa_addr || a->ifa_addr->sa_family != p->family)
            continue;
        const struct sockaddr_in *v4 = (const void *)a->ifa_addr;
        const struct sockaddr_in6 *v6 = (const void *)a->ifa_addr;
        is = p->family == SL_AF_INET ? memcmp(&v4->sin_addr, &p->dst, 4) == 0
                                     : memcmp(&v6->sin6_addr, &p->dst, 16) == 0;
    }
    freeifaddrs(all);
    return is;
}

/* Whether the packet is for a listener; one without ports, where it is for the address of one. */
static bool is_for_a_listener(const struct th_packet *t)
{
    struct sl_packet p;
    memset(&p, 0, sizeof(p));
    const enum sl_parsed parsed = sl_parse(t->b, t->b + t->n, &p);
    if ((parsed != SL_PARSED_PORTS && parsed != SL_PARSED_NO_PORTS) ||
        (p.proto != IPPROTO_TCP && p.proto != 0))
        return false;
    const struct sl_ip ours = th_ip(p.family == SL_AF_INET ? OURS : OURS6);
    const enum bound *bound = p.family == SL_AF_INET ? bound4 : bound6;
    const enum bound least = memcmp(&p.dst, &ours.addr, sizeof(p.dst)) == 0 ? OURS_ONLY : ANY_OF_THE_HOST;
    for (unsigned i = 0; i < SL_ARRAY_LEN(ports); i++)
        if (bound[i] >= least &&
            (parsed == SL_PARSED_NO_PORTS || p.dport_be == 0 || p.dport_be == htons((uint16_t)ports[i])))
            return least == OURS_ONLY || is_of_the_host(&p);
    return false;
}

static void judge(int fd, unsigned *others, unsigned *dropped)
{
    struct th_packet p =
        th_random_packet(&seed, addresses4[one_of(5)], addresses6[one_of(5)], ports[one_of(5)]);
    if (one_of(2))
        th_mutate(&seed, &p);
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p.b, .data_size_in = (uint32_t)p.n, .repeat = 1);
    assert_int_equal(bpf_prog_test_run_opts(fd, &o), 0);
    *dropped += o.retval == XDP_DROP;
    if (is_for_a_listener(&p))
        return;
    (*others)++;
    if (o.retval == XDP_PASS)
        return;
    for (size_t i = 0; i < p.n; i++)
        print_error("%02x%s", p.b[i], i % 16 == 15 ? "\n" : " ");
    fail_msg("not for a listener, and not passed: action %u", o.retval);
}

static void test_no_policy_drops_what_is_not_for_a_listener(void **state)
{
    (void)state;
    unsigned others = 0, dropped = 0;
    seed = th_seed();
    th_veth();
    th_syncookies("2");
    for (unsigned i = 0; i < POLICIES; i++) {
        random_policy();
        assert_int_equal(guard ? sl_kernel_apply(guard, &policy.s) : sl_kernel_start(&policy.s, &guard), 0);
        if (i == POLICIES / 2) {
            penalise("198.51.100.7");
            penalise("2001:db8::9");
        }
        const int fd = bpf_prog_get_fd_by_id(th_xdp_on("sl0"));
        assert_true(fd >= 0);
        for (unsigned k = 0; k < PACKETS; k++)
            judge(fd, &others, &dropped);
        close(fd);
    }
    (void)th_teardown(state);
    print_message("%u packets were not for a listener; %u of the others were dropped\n", others, dropped);
    assert_true(others > POLICIES * PACKETS / 10 &&
                dropped > POLICIES * PACKETS / 100); /* or nothing was shown */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_policy_drops_what_is_not_for_a_listener)};
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
