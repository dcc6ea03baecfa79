/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole worker, forked, with this test as its supervisor, its client and its upstream. Every wait is for an
 * event, with a limit that only a failure reaches.
 */
#include "config/config.h"
#include "gateway/gateway.h"
#include "net/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LIMIT_MS 10000

struct world {
    int ipc, listener, port, upstream, upstream_port;
    pid_t pid;
    struct sl_worker_counters *counters;
    uint64_t version;
};

static int listen_here(int *port)
{
    struct sl_sockaddr a = {.len = sizeof(a.in),
                            .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    *port = ntohs(a.in.sin_port);
    return fd;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, LIMIT_MS), 1);
}

/* ---- the supervisor */

static void send_policy(struct world *w, const char *text, int with_sockets)
{
    struct sl_diag diag;
    sl_diag_init(&diag);
    struct sl_bundle *b = NULL;
    int r = sl_bundle_from_text("test.yaml", sl_slice_str(text), &diag, &b);
    SL_BUF struct sl_buf errors = {0};
    if (r < 0 && sl_diag_print(&diag, &errors) == 0)
        print_error(SL_SFMT, SL_SARG(sl_buf_slice(&errors)));
    assert_int_equal(r, 0);
    int fds[2] = {sl_bundle_to_memfd(b), w->listener};
    assert_true(fds[0] >= 0);
    (void)fcntl(w->listener, F_SETFL, O_NONBLOCK);
    union sl_ipc m = {
        .snapshot = {.h = {.type = SL_IPC_SNAPSHOT}, .version = ++w->version, .n_sockets = with_sockets}};
    assert_int_equal(sl_ipc_send(w->ipc, &m, fds, 1 + with_sockets), 0);
    close(fds[0]);
    sl_bundle_free(b);
    sl_diag_free(&diag);
}

static void expect_message(struct world *w, uint32_t type, union sl_ipc *m)
{
    int fds[1];
    size_t n = 1;
    wait_for(w->ipc, POLLIN);
    assert_int_equal(sl_ipc_recv(w->ipc, m, fds, &n), 1);
    assert_int_equal(m->h.type, type);
}

static int apply(struct world *w, const char *text)
{
    union sl_ipc m;
    send_policy(w, text, 1);
    expect_message(w, SL_IPC_READY, &m);
    assert_int_equal(m.ready.version, w->version);
    return m.ready.error;
}

static void *shared(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    int sp[2];
    w->listener = listen_here(&w->port);
    w->upstream = listen_here(&w->upstream_port);
    w->counters = shared(sizeof(*w->counters));
    struct sl_worker_args args = {
        .kernel = {-1, -1, -1, -1, -1, -1, -1, -1},
        .counters = {.workers = 1, .blocks = w->counters, .shared = shared(sizeof(struct sl_shared))},
        .buckets = {.slots = shared(1024 * sizeof(struct sl_bucket)), .n = 1024, .seed = 42}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp), 0);
    w->pid = fork();
    if (w->pid == 0) {
        close(sp[0]);
        close(w->listener);
        close(w->upstream);
        args.ipc_fd = sp[1];
        exit(sl_worker_run(&args)); /* not _exit: under ASan its leaks are this test's failure */
    }
    close(sp[1]);
    w->ipc = sp[0];
    *state = w;
    return 0;
}

static int exit_code(struct world *w)
{
    int status = 0;
    for (int i = 0; i < LIMIT_MS; i += 5) { /* there is no descriptor to wait on in every kernel we serve */
        if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
            w->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        }
        (void)poll(NULL, 0, 5);
    }
    return -1;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    if (w->ipc >= 0)
        close(w->ipc); /* the worker ends with its supervisor */
    int code = w->pid ? exit_code(w) : 1;
    if (w->pid) {
        (void)kill(w->pid, SIGKILL);
        (void)waitpid(w->pid, NULL, 0);
    }
    close(w->listener);
    close(w->upstream);
    munmap(w->counters, sizeof(*w->counters));
    free(w);
    return code == 1 ? 0 : -1;
}

/* ---- the client */

static int dial(struct world *w)
{
    struct sl_sockaddr a = {.len = sizeof(a.in),
                            .in = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)w->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &a.sa, a.len), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `end` is in it, or the end of the stream where end is NULL. */
static const char *hear(int fd, const char *end)
{
    static char got[65536];
    size_t n = 0;
    got[0] = '\0';
    while (!end || !strstr(got, end)) {
        wait_for(fd, POLLIN);
        ssize_t r = recv(fd, got + n, sizeof(got) - 1 - n, 0);
        if (r <= 0) {
            assert_null(end);
            break;
        }
        n += (size_t)r;
        got[n] = '\0';
    }
    return got;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        print_error("no \"%s\" in:\n%s\n", part, text);
    assert_non_null(strstr(text, part));
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        print_error("\"%s\" in:\n%s\n", part, text);
    assert_null(strstr(text, part));
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: api.test\r\n\r\n"

/* ---- policies */

static const char *policy(struct world *w, const char *routes)
{
    static char text[8192];
    snprintf(text, sizeof(text),
             "version: 1\n"
             "listeners: { public: { bind: [\"127.0.0.1:%d\"], limits: { body: 1KiB } } }\n"
             "upstreams: { up: { targets: [ { address: \"127.0.0.1:%d\" } ] } }\n"
             "routes:\n%s",
             w->port, w->upstream_port, routes);
    return text;
}

#define HELLO \
    "  hello: { paths: [/hello], methods: [GET], auth: [public], respond: { status: 200, body: hi } }\n"
#define UP "  up: { paths: [/up], auth: [public], upstream: up }\n"

static void test_answers_of_its_own(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, HELLO)), 0);
    int c = dial(w);
    say(c, GET("/hello"));
    const char *r = hear(c, "hi");
    assert_has(r, "HTTP/1.1 200 OK\r\n");
    assert_has(r, "X-Correlation-Id: ");
    assert_lacks(r, "Server:");
    say(c, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Correlation-Id: mine-1\r\n\r\n");
    assert_has(hear(c, "hi"), "X-Correlation-Id: mine-1\r\n");
    say(c, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Correlation-Id: <script>\r\n\r\n");
    assert_lacks(hear(c, "hi"), "script");
    say(c, GET("/nothing"));
    r = hear(c, "}\n");
    assert_has(r, "HTTP/1.1 404 Not Found\r\n");
    assert_has(r, "Content-Type: application/problem+json\r\n");
    assert_has(r, "\"type\":\"urn:sluice:problem:no_route\"");
    assert_has(r, "\"status\":404");
    assert_has(r, "\"correlation_id\":\"");
    say(c, "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    r = hear(c, "}\n");
    assert_has(r, "HTTP/1.1 405 ");
    assert_has(r, "Allow: GET");
    say(c, "GET /hello\r\n\r\n");
    r = hear(c, NULL); /* and the connection ends */
    assert_has(r, "Connection: close\r\n");
    close(c);
}

static void test_forwards_and_keeps_both_connections(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    int c = dial(w);
    say(c, "GET /up?q=1 HTTP/1.1\r\nHost: api.test\r\nConnection: X-Drop, Authorization\r\nX-Drop: "
           "1\r\nAuthorization: kept\r\n"
           "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Proto: spoof\r\nForwarded: for=6.6.6.6\r\nTE: "
           "trailers\r\n\r\n");
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    const char *r = hear(u, "\r\n\r\n");
    assert_has(r, "GET /up?q=1 HTTP/1.1\r\n");
    assert_has(r, "Host: api.test\r\n");
    assert_has(r, "Authorization: kept\r\n");
    assert_has(r, "X-Forwarded-For: 127.0.0.1\r\n");
    assert_has(r, "X-Forwarded-Proto: http\r\n");
    assert_has(r, "X-Correlation-Id: ");
    assert_lacks(r, "6.6.6.6");
    assert_lacks(r, "spoof");
    assert_lacks(r, "X-Drop");
    assert_has(r, "TE: trailers\r\nConnection: TE\r\n");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: timeout=5\r\n\r\none");
    r = hear(c, "one");
    assert_lacks(r, "Keep-Alive");
    say(c, GET("/up"));
    assert_has(hear(u, "\r\n\r\n"), "GET /up"); /* on the same connection */
    say(u, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n");
    hear(c, "3\r\ntwo\r\n0\r\n\r\n");
    assert_int_equal(w->counters->upstreams[0].connects + w->counters->upstreams[1].connects, 1);
    close(u);
    close(c);
}

static void test_a_kept_connection_that_died_is_replaced_unseen(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    int c = dial(w);
    say(c, GET("/up"));
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    hear(u, "\r\n\r\n");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    hear(c, "one");
    say(c, GET("/up"));
    hear(u, "\r\n\r\n");
    close(u); /* read, and no answer */
    wait_for(w->upstream, POLLIN);
    u = accept(w->upstream, NULL, NULL);
    hear(u, "\r\n\r\n");
    close(u); /* a fresh connection is not tried again */
    assert_has(hear(c, "}\n"), "HTTP/1.1 502 ");
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    wait_for(w->upstream, POLLIN);
    u = accept(w->upstream, NULL, NULL);
    hear(u, "hi");
    say(u, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
    hear(c, "two");
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nho");
    hear(u, "ho");
    close(u); /* it was read: sending it again might do it twice */
    assert_has(hear(c, "}\n"), "\"type\":\"urn:sluice:problem:upstream_reset\"");
    close(c);
}

static void test_bodies_are_bounded_and_expectations_answered(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    int c = dial(w);
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    const char *r = hear(c, NULL);
    assert_has(r, "HTTP/1.1 413 ");
    assert_lacks(r, "100 Continue");
    close(c);
    c = dial(w);
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_has(hear(c, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n");
    say(c, "body");
    wait_for(w->upstream, POLLIN);
    int u = accept(w->upstream, NULL, NULL);
    assert_lacks(hear(u, "body"), "Expect");
    say(u, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_has(hear(c, "\r\n\r\n"), "HTTP/1.1 204 ");
    close(u);
    close(c);
    c = dial(w); /* chunked: the limit shows only on the way */
    say(c, "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n");
    char kib[1024 + 3];
    memset(kib, 'x', 1024);
    memcpy(kib + 1024, "\r\n", 3);
    say(c, kib);
    say(c, "400\r\n");
    say(c, kib);
    assert_has(hear(c, NULL), "HTTP/1.1 413 ");
    close(c);
}

static void test_an_answer_cut_short_does_not_look_whole(void **state)
{
    struct world *w = *state;
    assert_int_equal(apply(w, policy(w, UP)), 0);
    const char *answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"};
    for (size_t i = 0; i < SL_ARRAY_LEN(answers); i++) {
        int c = dial(w);
        say(c, GET("/up"));
        wait_for(w->upstream, POLLIN);
        int u = accept(w->upstream, NULL, NULL);
        hear(u, "\r\n\r\n");
        say(u, answers[i]);
        hear(c, "half");
        close(u);
        char byte;
        wait_for(c, POLLIN);
        while (recv(c, &byte, 1, 0) > 0)
            assert_int_not_equal(byte, '0'); /* no last chunk */
        close(c);
    }
}

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

static void test_floods_climb_the_ladder(void **state)
{
    struct world *w = *state;
    char text[4096];
    snprintf(text, sizeof(text),
             "version: 1\n"
             "listeners: { public: { bind: [\"127.0.0.1:%d\"] } }\n"
             "tiers: { anonymous: { rate_limit: { minute: 2, by: ip }, kernel: { escalate: { rejections: 5, "
             "within: 1m, "
             "penalty: 10s, max_penalty: 1m } } } }\n"
             "routes:\n" HELLO,
             w->port);
    assert_int_equal(apply(w, text), 0);
    uint32_t effects[] = {SL_PENALTY_FLOW, SL_PENALTY_CONNECT, SL_PENALTY_SOURCE};
    for (size_t i = 0; i < SL_ARRAY_LEN(effects); i++) {
        int c = dial(w);
        unsigned refused = 0;
        while (refused < 5) {
            say(c, GET("/hello"));
            const char *r = hear(c, "\r\n\r\n");
            if (strstr(r, "HTTP/1.1 429 ")) {
                refused++;
                assert_has(r, "Retry-After: ");
                assert_has(r, "RateLimit: ");
                assert_has(r, "application/problem+json");
            } else {
                assert_int_equal(i, 0);
            }
        }
        union sl_ipc m;
        expect_message(w, SL_IPC_PENALTY, &m);
        assert_int_equal(m.penalty.effect, effects[i]);
        char byte[512];
        ssize_t n;
        while ((n = recv(c, byte, sizeof(byte), 0)) > 0)
            ;
        assert_int_equal(n, -1);
        assert_int_equal(errno, ECONNRESET);
        close(c);
    }
}

int main(void)
{
#define SL_T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SL_T(test_answers_of_its_own),
        SL_T(test_forwards_and_keeps_both_connections),
        SL_T(test_a_kept_connection_that_died_is_replaced_unseen),
        SL_T(test_bodies_are_bounded_and_expectations_answered),
        SL_T(test_an_answer_cut_short_does_not_look_whole),
        SL_T(test_reload_holds_for_connections_that_are_open),
        SL_T(test_an_exchange_ends_under_the_policy_it_began_with),
        SL_T(test_a_bad_bundle_changes_nothing),
        SL_T(test_drain_lets_the_exchange_end_and_exits),
        SL_T(test_a_tunnel_ends_at_the_deadline_of_the_drain),
        SL_T(test_what_is_held_accepts_once_told),
        SL_T(test_floods_climb_the_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
