/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meter on a veth pair with a real TCP connection between two namespaces. Every segment of it carries the
 * same headers (timestamps on, no SACK, no loss), so bytes == payload + packets * headers must hold to the
 * byte, however the segments were merged by GRO or left whole by TSO.
 */
#include "kernel_harness.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PAYLOAD (4u << 20)
#define MSS     1448

static pid_t client;
static int to_client;

/* Windows well below the 256 packets that veth queues for an XDP program: a lost one would be sent, and
 * counted, twice. */
static void small_window(int s)
{
    const int size = 65536;
    (void)setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    (void)setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Payload that was sent again: tail loss probes of a busy host. */
static uint64_t bytes_sent_again(int s)
{
    struct tcp_info i = {0};
    socklen_t len = sizeof(i);
    (void)getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &len);
    return i.tcpi_bytes_retrans;
}

/* ---- the client: in a namespace of its own, echoes what it is sent */

static uint64_t client_echo(int family)
{
    struct sl_sockaddr to;
    static char buf[65536];
    if (sl_sockaddr_parse(family == AF_INET ? SL_S("192.0.2.1:7777") : SL_S("[2001:db8::1]:7777"), &to) < 0)
        _exit(1);
    const int s = socket(family, SOCK_STREAM, 0);
    small_window(s);
    if (s < 0 || connect(s, &to.sa, to.len) < 0)
        _exit(2);
    for (size_t got = 0; got < PAYLOAD;) {
        const ssize_t n = read(s, buf, sizeof(buf));
        if (n <= 0)
            _exit(3);
        for (ssize_t put = 0; put < n;) {
            const ssize_t w = write(s, buf + put, (size_t)(n - put));
            if (w <= 0)
                _exit(4);
            put += w;
        }
        got += (size_t)n;
    }
    /* The server sends its end only after it has read all: nothing is sent again behind this. */
    shutdown(s, SHUT_WR);
    (void)!read(s, buf, sizeof(buf));
    const uint64_t again = bytes_sent_again(s);
    close(s);
    return again;
}

static void client_main(int ready, int commands)
{
    char c;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const uint64_t none = 0;
    if (unshare(CLONE_NEWNET) < 0 || write(ready, &none, sizeof(none)) != sizeof(none))
        _exit(1);
    while (read(commands, &c, 1) == 1) {
        if (c == 'u' && system("echo 0 >/proc/sys/net/ipv4/tcp_sack && ip addr add 192.0.2.2/24 dev sl1 && "
                               "ip addr add 2001:db8::2/64 dev sl1 nodad && "
                               "ip link set sl1 up"))
            _exit(5);
        const uint64_t again = c == '4' || c == '6' ? client_echo(c == '4' ? AF_INET : AF_INET6) : 0;
        if (write(ready, &again, sizeof(again)) != sizeof(again))
            _exit(6);
    }
    _exit(0);
}

static int from_client;

static void ask_client(char what)
{
    assert_int_equal(write(to_client, &what, 1), 1);
}

/* What it sent again. */
static uint64_t await_client(void)
{
    uint64_t again;
    assert_int_equal(read(from_client, &again, sizeof(again)), sizeof(again));
    return again;
}

static int setup(void **state)
{
    (void)state;
    int up[2], down[2];
    th_veth();
    assert_int_equal(pipe(up) | pipe(down), 0);
    client = fork();
    if (client == 0) {
        close(down[1]);
        close(up[0]);
        client_main(up[1], down[0]);
    }
    close(up[1]);
    close(down[0]);
    from_client = up[0];
    to_client = down[1];
    await_client();
    th_sh("ip link set sl1 netns %d", (int)client);
    ask_client('u');
    await_client();
    th_policy(&policy, "192.0.2.1:7777");
    th_meter(&policy);
    th_start();
    return 0;
}

static int teardown(void **state)
{
    close(to_client);
    close(from_client);
    if (client > 0)
        (void)waitpid(client, NULL, 0);
    return th_teardown(state);
}

/* ---- the server */

static int accept_one(const char *bind_text)
{
    struct sl_sockaddr at;
    const int one = 1;
    assert_int_equal(sl_sockaddr_parse(sl_slice_str(bind_text), &at), 0);
    const int l = socket(at.sa.sa_family, SOCK_STREAM, 0);
    (void)setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    small_window(l);
    assert_int_equal(bind(l, &at.sa, at.len), 0);
    assert_int_equal(listen(l, 1), 0);
    ask_client(at.sa.sa_family == AF_INET ? '4' : '6');
    const int s = accept(l, NULL, NULL);
    assert_true(s >= 0);
    close(l);
    return s;
}

/* Sends PAYLOAD and reads it back, both at once. */
static void exchange(int s)
{
    static char buf[65536];
    size_t sent = 0, got = 0;
    while (got < PAYLOAD) {
        struct pollfd p = {.fd = s, .events = (short)(POLLIN | (sent < PAYLOAD ? POLLOUT : 0))};
        assert_int_equal(poll(&p, 1, 10000), 1);
        if (p.revents & POLLOUT) {
            const ssize_t n = send(s, buf, SL_MIN(sizeof(buf), PAYLOAD - sent), MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
        }
        if (p.revents & POLLIN) {
            const ssize_t n = read(s, buf, sizeof(buf));
            assert_true(n > 0);
            got += (size_t)n;
        }
    }
}

static void meter(const char *bind_text, uint64_t headers, uint32_t tag, uint32_t counted_in)
{
    struct sl_consumer_bytes c, before;
    const struct sl_kernel_fds f = sl_kernel_fds(guard);
    assert_int_equal(sl_maps_consumer_bytes(f.consumer_bytes, counted_in, &before), 0);
    const int s = accept_one(bind_text);
    assert_int_equal(sl_maps_tag_socket(f.socket_storage, s, tag), 0);
    exchange(s);
    char end;
    assert_int_equal(read(s, &end, 1), 0); /* the client's FIN */
    assert_int_equal(shutdown(s, SHUT_WR), 0);
    const uint64_t again_in = await_client(), again_out = bytes_sent_again(s);
    assert_int_equal(sl_maps_consumer_bytes(f.consumer_bytes, counted_in, &c), 0);
    close(s);
    c.in.packets -= before.in.packets;
    c.in.bytes -= before.in.bytes;
    c.out.packets -= before.out.packets;
    c.out.bytes -= before.out.bytes;
    print_message("in %lu packets %lu bytes, out %lu packets %lu bytes\n", (unsigned long)c.in.packets,
                  (unsigned long)c.in.bytes, (unsigned long)c.out.packets, (unsigned long)c.out.bytes);
    assert_true(c.in.packets >= PAYLOAD / MSS && c.out.packets >= PAYLOAD / MSS);
    assert_int_equal(c.out.bytes, PAYLOAD + again_out + c.out.packets * headers);
    assert_in_range(c.in.bytes - c.in.packets * headers, PAYLOAD, PAYLOAD + again_in);
}

static void test_ipv4_merged_segments(void **state)
{
    (void)state;
    th_sh("ethtool -K sl0 gro on >/dev/null 2>&1 || true");
    meter("192.0.2.1:7777", 14 + 20 + 32, 5, 5);
}

static void test_ipv4_single_segments(void **state)
{
    (void)state;
    th_sh("ip link set sl0 gso_max_segs 1 && nsenter -t %d -n ip link set sl1 gso_max_segs 1", (int)client);
    meter("192.0.2.1:7777", 14 + 20 + 32, 5, 5);
}

static void test_ipv6(void **state)
{
    (void)state;
    meter("[2001:db8::1]:7777", 14 + 40 + 32, 6, 6);
}

static void test_a_slot_past_the_table_is_other(void **state)
{
    (void)state;
    meter("192.0.2.1:7777", 14 + 20 + 32, 0x7fffffff, 0);
}

static void test_untagged_sockets_count_nowhere(void **state)
{
    (void)state;
    struct sl_consumer_bytes c;
    const int s = accept_one("192.0.2.1:7777");
    exchange(s);
    close(s);
    (void)await_client();
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(sl_maps_consumer_bytes(sl_kernel_fds(guard).consumer_bytes, i, &c), 0);
        assert_int_equal(c.in.packets + c.out.packets, 0);
    }
}

/* What a worker does: no privilege, an inherited descriptor. */
static void test_unprivileged_tagging(void **state)
{
    (void)state;
    int status;
    const struct sl_kernel_fds f = sl_kernel_fds(guard);
    const pid_t pid = fork();
    if (pid == 0) {
        struct sl_count reasons[SL_REASON_COUNT];
        struct sl_consumer_bytes c;
        if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
            _exit(9);
        const int s = socket(AF_INET, SOCK_STREAM, 0);
        _exit((sl_maps_tag_socket(f.socket_storage, s, 3) ? 1 : 0) |
              (sl_maps_reasons(f.reasons, reasons, NULL) ? 2 : 0) |
              (sl_maps_consumer_bytes(f.consumer_bytes, 3, &c) ? 4 : 0));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ipv4_merged_segments),
        TEST(test_ipv4_single_segments),
        TEST(test_ipv6),
        TEST(test_a_slot_past_the_table_is_other),
        TEST(test_untagged_sockets_count_nowhere),
        TEST(test_unprivileged_tagging),
    };
    if (th_isolate() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
