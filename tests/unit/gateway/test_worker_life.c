/* SPDX-License-Identifier: Apache-2.0 */
/* A worker through policies that change, drains, and waiting to be told. */
#include "worker_test.h"

static void test_reload_holds_for_connections_that_are_open(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, HELLO)), 0);
    int c = dial(w);
    say(c, GET("/hello"));
    hear(c, "hi");
    int early = dial(w);
    for (int i = 0; i < 20; i++) {
        char route[128];
        snprintf(route, sizeof(route),
                 "  r: { paths: [/hello], auth: [public], respond: { status: 200, body: v%d. } }\n", i);
        assert_int_equal(apply(w, policy(w, route)), 0);
        char want[16];
        snprintf(want, sizeof(want), "v%d.", i);
        say(c, GET("/hello"));
        hear(c, want);
        int fresh = dial(w);
        say(fresh, GET("/hello"));
        hear(fresh, want);
        close(fresh);
    }
    say(early, GET("/hello"));
    hear(early, "v19.");
    assert_int_equal(w->counters->generation != 0 || w->version, 1);
    close(early);
    close(c);
}

static void test_an_exchange_ends_under_the_policy_it_began_with(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, "  up: { paths: [/up], auth: [public], upstream: up, response: { "
                                        "headers: { set: { X-Policy: old } } } }\n")),
                     0);
    int c = dial(w);
    say(c, GET("/up"));
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    hear(u, "\r\n\r\n");
    char without[512];
    snprintf(without, sizeof(without),
             "version: 1\nlisteners: { public: { bind: [\"127.0.0.1:%d\"] } }\nroutes:\n" HELLO, w->port);
    assert_int_equal(apply(w, without), 0); /* the route and its upstream are gone */
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend");
    assert_has(hear(c, "end"), "X-Policy: old\r\n");
    say(c, GET("/up"));
    assert_has(hear(c, "}\n"), "HTTP/1.1 404 ");
    char byte;
    wait_for(u, POLLIN);
    assert_int_equal(recv(u, &byte, 1, 0), 0); /* nobody names the target any more */
    close(u);
    close(c);
}

static void test_a_bad_bundle_changes_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, HELLO)), 0);
    int junk = memfd_create("junk", MFD_CLOEXEC);
    assert_int_equal(write(junk, "junk", 4), 4);
    int fds[2] = {junk, w->listener};
    union sl_ipc m = {.snapshot = {.h = {.type = SL_IPC_SNAPSHOT}, .version = 99, .n_sockets = 1}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, fds, 2), 0);
    expect_message(w, SL_IPC_READY, &m);
    assert_int_equal(m.ready.version, 99);
    assert_true(m.ready.error < 0);
    close(junk);
    int c = dial(w);
    say(c, GET("/hello"));
    hear(c, "hi");
    close(c);
}

static void test_drain_lets_the_exchange_end_and_exits(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP HELLO)), 0);
    int idle = dial(w), busy = dial(w);
    say(idle, GET("/hello"));
    hear(idle, "hi");
    say(busy, GET("/up"));
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    hear(u, "\r\n\r\n");
    union sl_ipc m = {.drain = {.h = {.type = SL_IPC_DRAIN}, .deadline_ns = UINT64_MAX}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, NULL, 0), 0);
    assert_string_equal(hear(idle, NULL), "");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend");
    assert_has(hear(busy, NULL), "Connection: close\r\n");
    assert_int_equal(exit_code(w), 0);
    close(u);
    close(idle);
    close(busy);
}

#define WS "  ws: { paths: [/ws], upstream: up, auth: [public], upgrade: [websocket] }\n"

static void test_a_tunnel_ends_at_the_deadline_of_the_drain(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, WS)), 0);
    int c = dial(w);
    say(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    assert_has(hear(u, "\r\n\r\n"), "Connection: upgrade\r\nUpgrade: websocket\r\n");
    say(u, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello");
    hear(c, "hello");
    union sl_ipc m = {.drain = {.h = {.type = SL_IPC_DRAIN}, .deadline_ns = UINT64_MAX}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, NULL, 0), 0);
    say(c, "there"); /* a drain leaves it */
    hear(u, "there");
    m.drain.deadline_ns = 1;
    assert_int_equal(sl_ipc_send(w->ipc, &m, NULL, 0), 0);
    assert_string_equal(hear(u, NULL), "");
    assert_string_equal(hear(c, NULL), "");
    assert_int_equal(exit_code(w), 0);
    close(u);
    close(c);
}

/* Two sockets of one address: the second is of a supervisor that had more workers. */
static void test_what_is_held_accepts_once_told(void **state)
{
    struct world *w = *state;
    struct sl_bundle *b = NULL;
    struct sl_diag diag;
    sl_diag_init(&diag);
    assert_int_equal(sl_bundle_from_text("test.yaml", sl_slice_str(policy(w, HELLO)), &diag, &b), 0);
    int port, more = listen_here(&port), fds[3] = {sl_bundle_to_memfd(b), w->listener, more};
    union sl_ipc m = {
        .snapshot = {.h = {.type = SL_IPC_SNAPSHOT}, .version = 1, .n_sockets = 2, .hold = 1, .more = {1}}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, fds, 3), 0);
    expect_message(w, SL_IPC_READY, &m);
    assert_int_equal(m.ready.error, 0);
    int first = dial(w), own = w->port;
    w->port = port;
    int second = dial(w);
    w->port = own;
    say(first, GET("/hello"));
    say(second, GET("/hello"));
    struct pollfd p = {.fd = first, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 50), 0);
    m = (union sl_ipc){.plain = {.h = {.type = SL_IPC_LISTEN}}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, NULL, 0), 0);
    hear(first, "hi");
    hear(second, "hi");
    m = (union sl_ipc){.drain = {.h = {.type = SL_IPC_DRAIN}, .deadline_ns = UINT64_MAX, .patient = 1}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, NULL, 0), 0);
    do /* idle, and told so by its next answer: the first one may still come before the message does */
        say(first, GET("/hello"));
    while (!strstr(hear(first, "hi"), "Connection: close\r\n"));
    assert_string_equal(hear(first, NULL), "");
    close(second);
    assert_int_equal(exit_code(w), 0);
    close(first);
    close(more);
    close(fds[0]);
    sl_bundle_free(b);
    sl_diag_free(&diag);
}

/* A policy with another listener in place of the world's, whose last call it is. */
static void replace_listener(struct world *w, int listener, int port)
{
    char text[256];
    struct sl_bundle *b = NULL;
    struct sl_diag diag;
    sl_diag_init(&diag);
    (void)snprintf(text, sizeof(text),
                   "version: 1\nlisteners: { other: { bind: ['127.0.0.1:%d'] } }\n"
                   "routes: { a: { auth: [public], respond: { status: 200, body: new } } }\n",
                   port);
    assert_int_equal(sl_bundle_from_text("test.yaml", sl_slice_str(text), &diag, &b), 0);
    int fds[2] = {sl_bundle_to_memfd(b), listener};
    union sl_ipc m = {
        .snapshot = {.h = {.type = SL_IPC_SNAPSHOT}, .version = 99, .n_sockets = 1, .last_call = 1}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, fds, 2), 0);
    expect_message(w, SL_IPC_READY, &m);
    assert_int_equal(m.ready.error, 0);
    close(fds[0]);
    sl_bundle_free(b);
    sl_diag_free(&diag);
}

static void test_a_listener_that_is_taken_away_serves_until_its_last_call_is_over(void **state)
{
    struct world *w = *state;
    int port, other = listen_here(&port);
    assert_int_equal(apply(w, policy(w, HELLO)), 0);
    replace_listener(w, other, port);
    int last = dial(w);
    say(last, GET("/hello"));
    const char *answer = hear(last, NULL);
    assert_has(answer, "Connection: close\r\n");
    assert_has(answer, "hi");
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_LAST_CALLED}}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, NULL, 0), 0);
    replace_listener(w, other, port); /* the message before it has been read */
    int late = dial(w);
    say(late, GET("/hello"));
    wait_for(w->listener, POLLIN);
    int nobodys = accept(w->listener, NULL, NULL);
    assert_true(nobodys >= 0);
    close(nobodys);
    close(late);
    close(last);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SL_T(test_reload_holds_for_connections_that_are_open),
        SL_T(test_an_exchange_ends_under_the_policy_it_began_with),
        SL_T(test_a_bad_bundle_changes_nothing),
        SL_T(test_drain_lets_the_exchange_end_and_exits),
        SL_T(test_a_tunnel_ends_at_the_deadline_of_the_drain),
        SL_T(test_what_is_held_accepts_once_told),
        SL_T(test_a_listener_that_is_taken_away_serves_until_its_last_call_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
