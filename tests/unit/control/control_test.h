/* SPDX-License-Identifier: Apache-2.0 */
/* A controller in a thread, with the test as its supervisor and as its clients. */
#ifndef SL_TEST_CONTROL_H
#define SL_TEST_CONTROL_H

#include "base/io.h"
#include "control/control_priv.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define WORKERS 2

/* Names in the order of their slots: 1, 2, … */
#define POLICY                                                                                            \
    "version: 1\nworkers: 2\nlisteners: {main: {bind: ['127.0.0.1:1']}, side: {bind: ['127.0.0.1:2']}}\n" \
    "tiers: {gold: {rate_limit: {second: 5}}}\n"                                                          \
    "upstreams: {up: {targets: [{address: '127.0.0.1:9'}]}}\n"                                            \
    "routes: {a: {paths: [/a], auth: [public], upstream: up},"                                            \
    " b: {paths: [/b], auth: [public], respond: {status: 200}}}\n"

struct daemon {
    char dir[64];
    struct sl_control_args args;
    struct sl_slots *slots;
    struct sl_bundle *bundle;
    struct sl_snapshot *snapshot;
    int ipc; /* the supervisor's end */
    struct sl_sockaddr local, tcp;
    int listeners[2];
    pthread_t thread;
    bool running;
    int exit_code;
};

static void *_run(void *arg)
{
    struct daemon *d = arg;
    d->exit_code = sl_control_run(&d->args);
    return NULL;
}

/* Bundle and snapshot of a policy, with slots. */
static SL_UNUSED void compile(struct daemon *d, const char *text)
{
    struct sl_diag diag;
    sl_diag_init(&diag);
    int r = sl_bundle_from_text("policy.yaml", sl_slice_str(text), &diag, &d->bundle);
    if (r == 0)
        r = sl_snapshot_new(d->bundle, &diag, &d->snapshot);
    for (size_t i = 0; r < 0 && i < diag.n; i++)
        print_error("%s: %s\n", diag.v[i].pos.pointer, diag.v[i].text);
    assert_int_equal(r, 0);
    assert_int_equal(sl_bundle_accept(d->bundle, d->snapshot, d->slots), 0);
    sl_diag_free(&diag);
}

/* Without a controller: for what is printed of counters. */
static SL_UNUSED int daemon_new(void **state)
{
    struct daemon *d = calloc(1, sizeof(*d));
    if (!d)
        return -1;
    (void)snprintf(d->dir, sizeof(d->dir), "/tmp/sl-control-XXXXXX");
    if (!mkdtemp(d->dir) || chmod(d->dir, 0755) < 0 || sl_counters_new(WORKERS, &d->args.counters) < 0)
        return -1;
    d->args.kernel = (struct sl_kernel_fds)SL_KERNEL_NO_FDS;
    d->args.owner = getuid();
    d->ipc = d->args.ipc_fd = d->listeners[0] = d->listeners[1] = -1;
    d->slots = sl_slots_new();
    sl_log_setup("test", (enum sl_log_level)0);
    *state = d;
    return d->slots ? 0 : -1;
}

static SL_UNUSED void stop(struct daemon *d)
{
    if (d->ipc >= 0)
        (void)close(d->ipc);
    d->ipc = -1;
    if (d->running)
        (void)pthread_join(d->thread, NULL);
    d->running = false;
}

static SL_UNUSED int daemon_free(void **state)
{
    struct daemon *d = *state;
    char command[96];
    stop(d);
    sl_closep(&d->args.ipc_fd);
    sl_closep(&d->listeners[0]);
    sl_closep(&d->listeners[1]);
    sl_snapshot_unref(d->snapshot);
    sl_bundle_free(d->bundle);
    sl_slots_free(d->slots);
    sl_counters_unmap(&d->args.counters);
    (void)snprintf(command, sizeof(command), "rm -rf %s", d->dir);
    int r = system(command);
    free(d);
    return r;
}

static SL_UNUSED int listen_on(struct sl_sockaddr *a)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, &a->sa, a->len) < 0 || listen(fd, 64) < 0)
        return -1;
    return getsockname(fd, &a->sa, &a->len) < 0 ? -1 : fd;
}

/* What the controller says next; fails the test where it says nothing within 10 s. */
static SL_UNUSED union sl_ipc hear(struct daemon *d)
{
    union sl_ipc m = {0};
    struct pollfd p = {.fd = d->ipc, .events = POLLIN};
    size_t n = 0;
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(sl_ipc_recv(d->ipc, &m, NULL, &n), 1);
    return m;
}

static SL_UNUSED void send_snapshot(struct daemon *d, uint64_t version)
{
    union sl_ipc m = {.snapshot = {.h = {.type = SL_IPC_SNAPSHOT}, .version = version, .n_sockets = 2}};
    int fds[3] = {sl_bundle_to_memfd(d->bundle), d->listeners[0], d->listeners[1]};
    assert_true(fds[0] >= 0);
    assert_int_equal(sl_ipc_send(d->ipc, &m, fds, 3), 0);
    (void)close(fds[0]);
    m = hear(d);
    assert_int_equal(m.h.type, SL_IPC_READY);
    assert_int_equal(m.ready.version, version);
    assert_int_equal(m.ready.error, 0);
}

static SL_UNUSED void send_state(struct daemon *d, const char *json)
{
    union sl_ipc m = {.plain = {.h = {.type = SL_IPC_STATE}}};
    SL_CLOSE int fd = sl_memfd_sealed("state", json, strlen(json));
    assert_int_equal(sl_ipc_send(d->ipc, &m, &fd, 1), 0);
}

static SL_UNUSED void send_result(struct daemon *d, uint64_t id, int error, uint64_t value, const char *text)
{
    union sl_ipc m = {.result = {.h = {.type = SL_IPC_RESULT, .id = id}, .error = error, .value = value}};
    SL_CLOSE int fd = text ? sl_memfd_sealed("text", text, strlen(text)) : -1;
    assert_int_equal(sl_ipc_send(d->ipc, &m, &fd, text ? 1 : 0), 0);
}

/* A controller that serves POLICY as version 1. */
static SL_UNUSED int daemon_run(void **state)
{
    int pair[2];
    if (daemon_new(state) < 0)
        return -1;
    struct daemon *d = *state;
    compile(d, POLICY);
    d->local = (struct sl_sockaddr){.un = {.sun_family = AF_UNIX}, .len = sizeof(struct sockaddr_un)};
    (void)snprintf(d->local.un.sun_path, sizeof(d->local.un.sun_path), "%s/admin", d->dir);
    d->tcp = (struct sl_sockaddr){.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                                  .len = sizeof(struct sockaddr_in)};
    d->listeners[0] = listen_on(&d->local);
    d->listeners[1] = listen_on(&d->tcp);
    if (d->listeners[0] < 0 || d->listeners[1] < 0 || chmod(d->local.un.sun_path, 0666) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    d->ipc = pair[0];
    d->args.ipc_fd = pair[1];
    d->running = pthread_create(&d->thread, NULL, _run, d) == 0;
    send_snapshot(d, 1);
    return d->running ? 0 : -1;
}

/* ---- clients */

static SL_UNUSED int dial(const struct sl_sockaddr *a)
{
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &a->sa, a->len), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

static SL_UNUSED void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static SL_UNUSED void ask(int fd, const char *method, const char *path, const char *body)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: sluice\r\nContent-Length: %zu\r\n\r\n%s",
                   method, path, strlen(body), body);
    say(fd, text);
}

struct answer {
    unsigned status;
    char head[1024];
    char *body;  /* NUL-terminated; the test frees it */
    bool closed; /* instead of an answer */
};

/* One answer, by its Content-Length. */
static SL_UNUSED struct answer answer_of(int fd)
{
    struct answer a = {0};
    size_t n = 0, length;
    for (char c; n < sizeof(a.head) - 1; a.head[n] = '\0') {
        ssize_t r = recv(fd, &c, 1, 0);
        if (r <= 0) {
            assert_true(r == 0 || errno == ECONNRESET);
            a.closed = true;
            return a;
        }
        a.head[n++] = c;
        if (n >= 4 && memcmp(a.head + n - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    assert_int_equal(sscanf(a.head, "HTTP/1.1 %u", &a.status), 1);
    const char *field = strstr(a.head, "Content-Length: ");
    assert_non_null(field);
    length = strtoul(field + 16, NULL, 10);
    a.body = calloc(1, length + 1);
    assert_non_null(a.body);
    for (size_t got = 0; got < length;) {
        ssize_t r = recv(fd, a.body + got, length - got, 0);
        assert_true(r > 0);
        got += (size_t)r;
    }
    return a;
}

/* Asks on a connection of its own. */
static SL_UNUSED struct answer get(const struct sl_sockaddr *to, const char *method, const char *path,
                                   const char *body)
{
    SL_CLOSE int fd = dial(to);
    ask(fd, method, path, body);
    return answer_of(fd);
}

static SL_UNUSED void want_status(const struct sl_sockaddr *to, const char *method, const char *path,
                                  const char *body, unsigned status)
{
    struct answer a = get(to, method, path, body);
    if (a.status != status)
        fail_msg("%s %s: %u, not %u: %s", method, path, a.status, status, a.body ? a.body : "");
    free(a.body);
}

#define with_daemon(f) cmocka_unit_test_setup_teardown(f, daemon_run, daemon_free)

#endif
