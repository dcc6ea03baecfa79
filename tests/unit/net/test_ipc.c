/* SPDX-License-Identifier: Apache-2.0 */
/* The messages between processes: exact sizes, terminated strings, descriptors that never leak. */
#include "net/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void pair(int s[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int i = 0; i < 256; i++)
        n += fcntl(i, F_GETFD) >= 0;
    return n;
}

static void test_message_and_descriptors_arrive(void **state)
{
    (void)state;
    int s[2], p[2], fds[SL_IPC_MAX_FDS];
    pair(s);
    assert_int_equal(pipe(p), 0);
    union sl_ipc m = {.snapshot = {.h = {.type = SL_IPC_SNAPSHOT, .id = 7}, .version = 42, .n_sockets = 1}},
                 in;
    assert_int_equal(sl_ipc_send(s[0], &m, p, 2), 0);
    size_t n = SL_IPC_MAX_FDS;
    assert_int_equal(sl_ipc_recv(s[1], &in, fds, &n), 1);
    assert_int_equal(n, 2);
    assert_int_equal(in.h.size, sizeof(struct sl_ipc_snapshot));
    assert_int_equal(in.h.id, 7);
    assert_int_equal(in.snapshot.version, 42);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fds[1], "x", 1), 1);
    char c = 0;
    assert_int_equal(read(p[0], &c, 1), 1);
    assert_int_equal(c, 'x');
    n = 4;
    assert_int_equal(sl_ipc_recv(s[1], &in, fds + 2, &n), 0);
    for (int i = 0; i < 2; i++) {
        close(s[i]);
        close(p[i]);
        close(fds[i]);
    }
}

static void test_wrong_size_and_type_are_refused_without_leak(void **state)
{
    (void)state;
    int s[2], fds[4];
    pair(s);
    unsigned before = open_fds();
    struct sl_ipc_header bad[] = {{.type = SL_IPC_DRAIN, .size = sizeof(bad[0])},
                                  {.type = 999, .size = sizeof(bad[0])}};
    union sl_ipc in;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(send(s[0], &bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
        size_t n = 4;
        assert_int_equal(sl_ipc_recv(s[1], &in, fds, &n), -EPROTO);
        assert_int_equal(n, 0);
    }
    char huge[sizeof(union sl_ipc) + 8] = {0};
    assert_int_equal(send(s[0], huge, sizeof(huge), 0), sizeof(huge));
    size_t n = 4;
    assert_int_equal(sl_ipc_recv(s[1], &in, fds, &n), -EPROTO);
    int many[4] = {0, 0, 0, 0};
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_REOPEN}}};
    assert_int_equal(sl_ipc_send(s[0], &m, many, 4), 0);
    n = 1; /* room for one only */
    assert_int_equal(sl_ipc_recv(s[1], &in, fds, &n), -EPROTO);
    assert_int_equal(n, 0);
    assert_int_equal(open_fds(), before);
    close(s[0]);
    close(s[1]);
}

static void test_unterminated_strings_are_refused(void **state)
{
    (void)state;
    int s[2], fds[1];
    pair(s);
    union sl_ipc m = {.penalty = {.h = {.type = SL_IPC_PENALTY}}}, in;
    memset(m.penalty.rule, 'r', sizeof(m.penalty.rule));
    assert_int_equal(sl_ipc_send(s[0], &m, NULL, 0), 0);
    size_t n = 1;
    assert_int_equal(sl_ipc_recv(s[1], &in, fds, &n), -EPROTO);
    m.penalty.rule[SL_NAME_LEN - 1] = '\0';
    assert_int_equal(sl_ipc_send(s[0], &m, NULL, 0), 0);
    n = 1;
    assert_int_equal(sl_ipc_recv(s[1], &in, fds, &n), 1);
    close(s[0]);
    close(s[1]);
}

static void test_peer_gone_and_peer_slow(void **state)
{
    (void)state;
    int s[2], fds[1];
    pair(s);
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_RELOAD}}}, in;
    int r = 0;
    for (int i = 0; i < 100000 && r == 0; i++)
        r = sl_ipc_send(s[0], &m, NULL, 0);
    assert_int_equal(r, -EAGAIN);
    close(s[0]);
    size_t n = 1;
    while ((r = sl_ipc_recv(s[1], &in, fds, &n)) == 1)
        n = 1;
    assert_int_equal(r, -EPIPE);
    assert_int_equal(sl_ipc_send(s[1], &m, NULL, 0), -EPIPE);
    close(s[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_and_descriptors_arrive),
        cmocka_unit_test(test_wrong_size_and_type_are_refused_without_leak),
        cmocka_unit_test(test_unterminated_strings_are_refused),
        cmocka_unit_test(test_peer_gone_and_peer_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
