/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole worker, forked, with the test as its supervisor, its client and its upstream. Every wait is for an
 * event, with a limit that only a failure reaches.
 */
#ifndef SL_TESTS_GATEWAY_WORKER_H
#define SL_TESTS_GATEWAY_WORKER_H

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

#define SL_T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
