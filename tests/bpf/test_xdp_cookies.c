/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies: the frame that goes back is compared byte by byte with a SYN-ACK made here, its sums computed
 * here, and the stack is shown an ACK of it, which it must take for the end of a handshake.
 */
#include "syn_frames.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#define SILENT 444 /* a listener of the guard, without a socket */

static struct th_guard guard;
static int listeners[2];

static struct sl_sockaddr sockaddr(const char *address, unsigned port)
{
    struct sl_sockaddr a;
    char text[80];
    snprintf(text, sizeof(text), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
    assert_int_equal(sl_sockaddr_parse(sl_slice_str(text), &a), 0);
    return a;
}

static int listen_on(const char *address, unsigned port, int backlog)
{
    const struct sl_sockaddr a = sockaddr(address, port);
    const int one = 1, fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    if (bind(fd, &a.sa, a.len) < 0 || listen(fd, backlog) < 0)
        fail_msg("listening on %s: %s", address, strerror(errno));
    return fd;
}

static int setup(void **state)
{
    (void)state;
    th_load_ours(&guard, true, 0, 0);
    th_listen(&guard, OURS, SILENT, 0);
    guard.config.flags |= SL_COOKIES_ALWAYS;
    th_write_config(&guard);
    th_syncookies("2");
    listeners[0] = listen_on(OURS, PORT, 8);
    listeners[1] = listen_on(OURS6, PORT, 8);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    th_unload(&guard);
    close(listeners[0]);
    close(listeners[1]);
    return 0;
}

/* ---- one SYN through the guard */

static unsigned char out[16384];

static int run(const void *data, size_t n, size_t *length)
{
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (uint32_t)n, .data_out = out,
                .data_size_out = sizeof(out), .repeat = 1);
    const int r = bpf_prog_test_run_opts(bpf_program__fd(guard.skel->progs.sl_xdp_guard), &o);
    if (r < 0)
        fail_msg("BPF_PROG_TEST_RUN of %zu bytes: %s", n, strerror(errno));
    *length = o.data_size_out;
    return (int)o.retval;
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t counted(enum sl_reason r)
{
    struct th_counts c;
    th_counts(&guard, &c);
    return c.is[r].packets;
}

/* Answered with this MSS; the cookie. */
static uint32_t answered(const struct th_packet *s, int tags, unsigned mss)
{
    size_t n;
    const uint64_t before = counted(SL_TX_SYN_COOKIE);
    assert_int_equal(run(s->b, s->n, &n), 3 /* XDP_TX */);
    assert_int_equal(counted(SL_TX_SYN_COOKIE), before + 1);
    const uint32_t cookie = get32(out + s->l4 + 4);
    const struct th_packet want = syn_ack(s, tags, cookie, mss);
    assert_int_equal(n, want.n);
    assert_memory_equal(out, want.b, n);
    return cookie;
}

/* Left as it came, and passed; counted as failed or not. */
static void left(const struct th_packet *s, uint64_t failed)
{
    size_t n;
    const uint64_t passed = counted(SL_PASS), was = counted(SL_SYN_COOKIE_FAILED);
    assert_int_equal(run(s->b, s->n, &n), 2 /* XDP_PASS */);
    assert_int_equal(n, s->n);
    assert_memory_equal(out, s->b, n);
    assert_int_equal(counted(SL_PASS), passed + 1);
    assert_int_equal(counted(SL_SYN_COOKIE_FAILED), was + failed);
}

/* The client's ACK, over loopback. */
static void send_ack(const struct th_packet *s, unsigned sport, uint32_t cookie)
{
    const int v4 = s->family == SL_AF_INET;
    struct th_packet p =
        v4 ? th_tcp4(CLIENT, sport, OURS, PORT, TH_ACK) : th_tcp6(CLIENT6, sport, OURS6, PORT, TH_ACK);
    unsigned char *t = p.b + p.l4;
    put32(t + 4, ISN + 1);
    put32(t + 8, cookie + 1);
    th_put16(t + 14, 1000);
    th_put16(t + 16, 0xffff ^ sum(t, 20, sum(p.b + p.ip + (v4 ? 12 : 8), v4 ? 8 : 32, IPPROTO_TCP + 20)));
    struct sl_sockaddr to = sockaddr(v4 ? OURS : OURS6, PORT);
    to.in.sin_port = 0; /* where IPv6 has its own */
    const int fd = socket(to.sa.sa_family, SOCK_RAW, IPPROTO_RAW);
    if (sendto(fd, p.b + p.ip, p.n - p.ip, 0, &to.sa, to.len) != (ssize_t)(p.n - p.ip))
        fail_msg("sending the ACK: %s", strerror(errno));
    close(fd);
}

/* ---- what is answered */

static void test_answers(void **state)
{
    (void)state;
    for (int tags = PLAIN; tags <= DOUBLE; tags++) {
        const struct th_packet p4 = syn(SL_AF_INET, tags), p6 = syn(SL_AF_INET6, tags);
        (void)answered(&p4, tags, 1460);
        (void)answered(&p6, tags, 1440);
    }
}

static void test_the_stack_takes_the_cookie(void **state)
{
    (void)state;
    static const int families[] = {SL_AF_INET, SL_AF_INET6};
    for (size_t i = 0; i < 2; i++) {
        const struct th_packet s = syn(families[i], PLAIN);
        const uint32_t cookie = answered(&s, PLAIN, i ? 1440 : 1460);
        struct pollfd p = {.fd = listeners[i], .events = POLLIN};
        send_ack(&s, 40001, cookie); /* it is another's */
        send_ack(&s, 40000, cookie);
        assert_int_equal(poll(&p, 1, 10000), 1);
        struct sl_sockaddr peer = {.len = sizeof(peer.in6)};
        const int c = accept(listeners[i], &peer.sa, &peer.len);
        assert_true(c >= 0);
        assert_int_equal(sl_sockaddr_port(&peer), 40000);
        assert_int_equal(accept(listeners[i], NULL, NULL), -1);
        left(&s, 0); /* a SYN within a connection is the stack's business, and no failure */
        const struct linger reset = {.l_onoff = 1};
        assert_int_equal(setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        close(c);
    }
}

static void test_mss(void **state)
{
    (void)state;
    static const struct {
        int family;
        const char *options;
        size_t n;
        unsigned mss;
    } cases[] = {
        {SL_AF_INET, "", 0, 536}, /* RFC 9293, 3.7.1 */
        {SL_AF_INET6, "", 0, 1220},
        {SL_AF_INET, MSS("\x05\xb4"), 4, 1460},
        {SL_AF_INET, MSS("\x05\xb3"), 4, 1440}, /* the stack's table: 536, 1300, 1440, 1460 */
        {SL_AF_INET, MSS("\x05\x14"), 4, 1300},
        {SL_AF_INET, MSS("\x22\xd8"), 4, 1460},
        {SL_AF_INET6, MSS("\x23\x00"), 4, 8940},
        {SL_AF_INET, "\x01\x01\x01\x01\x01\x01" MSS("\x05\xb4") "\x01\x01", 12, 1460},
        {SL_AF_INET,
         "\x08\x0a\0\0\0\0\0\0\0\0\x03\x03\x07\x08\x0a\0\0\0\0\0\0\0\0\x08\x0a\0\0\0\0\0\0\0\0\x01"
         "\x01" MSS("\x05\xb4") "",
         40, 1460},                                               /* at the very end of the longest header */
        {SL_AF_INET, "\x00\x01\x01\x01" MSS("\x05\xb4"), 8, 536}, /* behind the list's end */
        {SL_AF_INET, "\x02\x03\x05\xb4", 4, 536},                 /* of a length that it has not */
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        const struct th_packet s = syn_with(cases[i].family, PLAIN, cases[i].options, cases[i].n, 0);
        (void)answered(&s, PLAIN, cases[i].mss);
    }
}

static void test_mss_fits_our_link(void **state)
{
    (void)state;
    const struct th_packet p4 = syn(SL_AF_INET, PLAIN), p6 = syn(SL_AF_INET6, PLAIN);
    assert_int_equal(system("ip link set lo mtu 1400"), 0);
    (void)answered(&p4, PLAIN, 1360);
    (void)answered(&p6, PLAIN, 1340);
    assert_int_equal(system("ip link set lo mtu 1500"), 0);
    (void)answered(&p4, PLAIN, 1460);
    assert_int_equal(system("ip link set lo mtu 65536"), 0);
}

/* Of one buffer and of several. */
static void test_a_payload_is_not_acknowledged(void **state)
{
    (void)state;
    static unsigned char big[9000];
    struct th_packet s = syn_with(SL_AF_INET, PLAIN, LINUX_OPTIONS, sizeof(LINUX_OPTIONS) - 1, 900);
    size_t n;
    (void)answered(&s, PLAIN, 1460);
    memcpy(big, s.b, s.n);
    th_put16(big + 16, sizeof(big) - 14);
    assert_int_equal(run(big, sizeof(big), &n), 3);
    const struct th_packet want = syn_ack(&s, PLAIN, get32(out + s.l4 + 4), 1460);
    assert_int_equal(n, want.n);
    assert_memory_equal(out, want.b, n);
}

/* ---- what is not */

static void test_what_no_cookie_is_made_for(void **state)
{
    (void)state;
    struct th_packet options, extension, silent = th_tcp4(CLIENT, 40000, OURS, SILENT, TH_SYN);
    th_eth(&options, 0x0800);
    th_ip4(&options, CLIENT, OURS, IPPROTO_TCP, 4);
    th_tcp(&options, 40000, PORT, TH_SYN);
    th_finish(&options);
    th_eth(&extension, 0x86dd);
    th_ip6(&extension, CLIENT6, OURS6, IPPROTO_TCP);
    th_ext(&extension, 60, 0);
    th_tcp(&extension, 40000, PORT, TH_SYN);
    th_finish(&extension);
    struct th_packet fragment = syn(SL_AF_INET, PLAIN);
    fragment.b[fragment.ip + 6] = 0x20; /* more follow */
    guard.config.flags |= SL_PASS_FRAGMENTS;
    th_write_config(&guard);
    left(&fragment, 1);
    left(&options, 1);
    left(&extension, 1);
    left(&silent, 1);
}

static void test_without_the_sysctl_the_stack_gives_none(void **state)
{
    (void)state;
    const struct th_packet p4 = syn(SL_AF_INET, PLAIN), p6 = syn(SL_AF_INET6, PLAIN);
    th_syncookies("1");
    left(&p4, 1);
    left(&p6, 1);
    th_syncookies("0");
    left(&p4, 1);
    th_syncookies("2");
    (void)answered(&p4, PLAIN, 1460);
}

static void test_a_full_accept_queue_gives_none(void **state)
{
    (void)state;
    const struct th_packet s = syn(SL_AF_INET, PLAIN);
    const struct sl_sockaddr to = sockaddr(OURS, PORT);
    int clients[2];
    close(listeners[0]);
    listeners[0] = listen_on(OURS, PORT, 0); /* holds one more than it says */
    (void)answered(&s, PLAIN, 1460);
    for (size_t i = 0; i < 2; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], &to.sa, to.len);
        struct pollfd p = {.fd = listeners[0], .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
    }
    left(&s, 1);
    close(clients[0]);
    close(clients[1]);
}

static void test_only_syns_for_a_listener(void **state)
{
    (void)state;
    const struct th_packet ack = th_tcp4(CLIENT, 40000, OURS, PORT, TH_ACK),
                           both = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN | TH_ACK),
                           ssh = th_tcp4(CLIENT, 40000, OURS, 22, TH_SYN),
                           first = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN),
                           other = th_tcp4("198.51.100.8", 40000, OURS, PORT, TH_SYN);
    th_expect(&guard, &ack, SL_PASS);
    th_expect(&guard, &both, SL_PASS);
    th_expect(&guard, &ssh, SL_PASS_NOT_OURS);
    th_expect(&guard, &first, SL_TX_SYN_COOKIE);
    guard.config.flags &= ~(uint32_t)SL_COOKIES_ALWAYS;
    th_write_config(&guard);
    th_expect(&guard, &first, SL_PASS);
    guard.config.flags |= SL_COOKIES_ALWAYS;
    th_list(&guard, CLIENT "/32", SL_LIST_DENY, 0);
    th_expect(&guard, &first, SL_DROP_DENIED);
    th_expect(&guard, &other, SL_TX_SYN_COOKIE);
    th_list(&guard, CLIENT "/32", SL_LIST_ALLOW, 0);
    th_expect(&guard, &first, SL_PASS_ALLOWED);
}

/* auto: nobody is answered but past the listener's limit; who cannot be is dropped there. */
static void test_auto_answers_past_the_listeners_limit(void **state)
{
    (void)state;
    struct th_packet options;
    const struct th_packet s = syn(SL_AF_INET, PLAIN), other = th_tcp4("198.51.100.8", 1, OURS, PORT, TH_SYN),
                           ack = th_tcp4(CLIENT, 40000, OURS, PORT, TH_ACK);
    th_eth(&options, 0x0800);
    th_ip4(&options, CLIENT, OURS, IPPROTO_TCP, 4);
    th_tcp(&options, 40000, PORT, TH_SYN);
    th_finish(&options);
    guard.config.flags = SL_COOKIES_AUTO;
    guard.config.listener_connections =
        (struct sl_limit){.interval_ns = 1000000000, .tolerance_ns = 3000000000};
    th_write_config(&guard);
    left(&s, 0);
    left(&options, 0);
    left(&s, 0);
    (void)answered(&s, PLAIN, 1460);
    th_expect(&guard, &other, SL_TX_SYN_COOKIE);
    th_expect(&guard, &ack, SL_PASS);
    const uint64_t failed = counted(SL_SYN_COOKIE_FAILED);
    th_expect(&guard, &options, SL_DROP_LISTENER_RATE);
    assert_int_equal(counted(SL_SYN_COOKIE_FAILED), failed + 1);
    th_syncookies("1");
    th_expect(&guard, &s, SL_DROP_LISTENER_RATE);
    th_syncookies("2");
    th_clock(&guard, TH_START + 1000000000);
    left(&s, 0);
    (void)answered(&s, PLAIN, 1460);
    guard.config.flags = 0;
    th_write_config(&guard);
    th_expect(&guard, &s, SL_DROP_LISTENER_RATE);
}

static void test_always_answers_past_the_listeners_limit_too(void **state)
{
    (void)state;
    const struct th_packet s = syn(SL_AF_INET, PLAIN);
    guard.config.listener_connections =
        (struct sl_limit){.interval_ns = 1000000000, .tolerance_ns = 1000000000};
    th_write_config(&guard);
    for (int i = 0; i < 5; i++)
        (void)answered(&s, PLAIN, 1460);
    th_syncookies("1");
    th_expect(&guard, &s, SL_DROP_LISTENER_RATE);
}

/* A cookie is no way round a limit. */
static void test_limits_come_first(void **state)
{
    (void)state;
    const struct th_packet s = th_tcp4(CLIENT, 40000, OURS, PORT, TH_SYN);
    guard.config.source_connections =
        (struct sl_limit){.interval_ns = 1000000000, .tolerance_ns = 3000000000};
    th_write_config(&guard);
    for (int i = 0; i < 3; i++)
        th_expect(&guard, &s, SL_TX_SYN_COOKIE);
    th_expect(&guard, &s, SL_DROP_CONN_RATE);
    guard.config.flags = SL_COOKIES_AUTO;
    guard.config.source_connections.interval_ns = 0;
    guard.config.source_packets = guard.config.listener_connections =
        (struct sl_limit){.interval_ns = 1000000000, .tolerance_ns = 2000000000};
    th_write_config(&guard);
    th_expect(&guard, &s, SL_PASS);
    th_expect(&guard, &s, SL_PASS);
    th_expect(&guard, &s, SL_DROP_PACKET_RATE);
}

static void test_shadow_passes_and_counts(void **state)
{
    (void)state;
    const struct th_packet s = syn(SL_AF_INET, PLAIN);
    size_t n;
    int action;
    bool would;
    guard.config.shadow = 1;
    th_write_config(&guard);
    assert_int_equal(th_judge(&guard, s.b, s.n, &action, &would), SL_TX_SYN_COOKIE);
    assert_true(would);
    assert_int_equal(run(s.b, s.n, &n), 2);
    assert_int_equal(n, s.n);
    assert_memory_equal(out, s.b, n);
    th_syncookies("1");
    left(&s, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_the_stack_takes_the_cookie),
        TEST(test_mss),
        TEST(test_mss_fits_our_link),
        TEST(test_a_payload_is_not_acknowledged),
        TEST(test_what_no_cookie_is_made_for),
        TEST(test_without_the_sysctl_the_stack_gives_none),
        TEST(test_a_full_accept_queue_gives_none),
        TEST(test_only_syns_for_a_listener),
        TEST(test_auto_answers_past_the_listeners_limit),
        TEST(test_always_answers_past_the_listeners_limit_too),
        TEST(test_limits_come_first),
        TEST(test_shadow_passes_and_counts),
    };
    if (th_isolate() < 0 ||
        system("ip link set lo up && ip addr add " OURS "/32 dev lo && ip addr add " CLIENT "/32 dev lo && "
               "ip addr add " OURS6 "/128 dev lo nodad && ip addr add " CLIENT6 "/128 dev lo nodad") != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
