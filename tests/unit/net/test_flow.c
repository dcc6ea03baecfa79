/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a connection is, and whether one is to come, asked of the kernel over loopback. */
#include "net/flow.h"
#include "net/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* A listener on any port of loopback, and where it is. */
static int listening(struct sl_sockaddr *at)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(sl_sockaddr_parse(SL_S("127.0.0.1:1"), at), 0);
    at->in.sin_port = 0;
    assert_int_equal(bind(fd, &at->sa, at->len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(sl_socket_local(fd, at), 0);
    return fd;
}

static void test_whose_a_flow_is(void **state)
{
    (void)state;
    struct sl_sockaddr at, local, peer;
    const int listener = listening(&at), client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, &at.sa, at.len), 0);
    const int server = accept(listener, NULL, NULL);
    assert_int_equal(sl_socket_local(server, &local), 0);
    assert_int_equal(sl_socket_local(client, &peer), 0);
    struct sl_flow f = {.local = sl_sockaddr_ip(&local),
                        .peer = sl_sockaddr_ip(&peer),
                        .local_port = sl_sockaddr_port(&local),
                        .peer_port = sl_sockaddr_port(&peer)};
    const uint64_t cookie = sl_socket_cookie(server);
    assert_true(cookie != 0);
    assert_false(sl_flow_is_anothers(&f, cookie));
    assert_true(sl_flow_is_anothers(&f, cookie + 1));
    f.peer_port ^= 1; /* nobody's: the listener is not meant */
    assert_false(sl_flow_is_anothers(&f, cookie));
    close(server);
    close(client);
    close(listener);
}

static void test_who_says_nothing_is_opening(void **state)
{
    (void)state;
    struct sl_sockaddr at;
    const int listener = listening(&at), client = socket(AF_INET, SOCK_STREAM, 0);
    sl_socket_listener(listener, true);
    assert_false(sl_flow_is_opening(&at));
    assert_int_equal(connect(client, &at.sa, at.len), 0);
    assert_true(sl_flow_is_opening(&at));
    assert_int_equal(send(client, "x", 1, 0), 1);
    const int server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    assert_false(sl_flow_is_opening(&at));
    close(server);
    close(client);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whose_a_flow_is),
                                       cmocka_unit_test(test_who_says_nothing_is_opening)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
