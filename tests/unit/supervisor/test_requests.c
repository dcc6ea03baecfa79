/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask for what. A child that faces the network is not believed. */
#include "supervisor_test.h"

#include "base/io.h"
#include "harness/ca.h"

#include <fcntl.h>
#include <sys/mman.h>

#define CONTROLLER 0
#define WORKER     1

/* The controller's end of its socket; its place counts as running. The guard is off. */
static int controller_of(struct fixture *f)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    f->children[CONTROLLER].ipc = pair[0];
    f->children[CONTROLLER].pid = getpid();
    f->s.snapshot = snapshot_of("trusted_proxies: [10.9.0.0/16, '2001:db8::/32']\n"
                                "listeners: {a: {bind: ['127.0.0.1:1']}}");
    f->s.version = 3;
    assert_int_equal(sl_kernel_start(f->s.snapshot, &f->s.guard), 0);
    return pair[1];
}

/* The result that the controller got, passing over the news of the state; false where none came. */
static bool result(int fd, struct sl_ipc_result *out)
{
    union sl_ipc m;
    int fds[SL_IPC_MAX_FDS];
    for (;;) {
        size_t n = SL_IPC_MAX_FDS;
        if (sl_ipc_recv(fd, &m, fds, &n) != 1)
            return false;
        while (n > 0)
            (void)close(fds[--n]);
        if (m.h.type == SL_IPC_RESULT) {
            *out = m.result;
            return true;
        }
    }
}

static union sl_ipc penalty_for(const char *ip)
{
    union sl_ipc m = {.penalty = {.h = {.type = SL_IPC_PENALTY, .id = 7},
                                  .effect = SL_PENALTY_SOURCE,
                                  .duration_ns = SL_NS_PER_SEC,
                                  .max_ns = SL_NS_PER_SEC}};
    assert_int_equal(sl_ip_parse(sl_slice_str(ip), &m.penalty.source), 0);
    return m;
}

static void only_the_controller_may_ask_for_these(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    const uint32_t types[] = {SL_IPC_RELOAD, SL_IPC_CONFIRM, SL_IPC_ROLLBACK,
                              SL_IPC_LIST,   SL_IPC_DETACH,  SL_IPC_SHARED};
    for (size_t i = 0; i < SL_ARRAY_LEN(types); i++) {
        union sl_ipc m = {.h = {.type = types[i], .id = 1}};
        struct sl_ipc_result r;
        assert_int_equal(sl_request_serve(&f->children[WORKER], &m, -1), -EPERM);
        assert_false(result(fd, &r));
    }
}

static void what_only_the_supervisor_says_is_said_by_no_child(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    const uint32_t types[] = {SL_IPC_SNAPSHOT, SL_IPC_DRAIN, SL_IPC_REOPEN, SL_IPC_RESULT, SL_IPC_STATE,
                              SL_IPC_SHARE,    999};
    for (int who = CONTROLLER; who <= WORKER; who++)
        for (size_t i = 0; i < SL_ARRAY_LEN(types); i++) {
            union sl_ipc m = {.h = {.type = types[i], .id = 1}};
            assert_int_equal(sl_request_serve(&f->children[who], &m, -1), -EPERM);
        }
}

static void ready_counts_for_its_sender_only(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    union sl_ipc m = {.ready = {.h = {.type = SL_IPC_READY}, .version = 3}};
    assert_int_equal(sl_request_serve(&f->children[WORKER], &m, -1), 0);
    assert_int_equal(f->children[WORKER].serves, 3);
    assert_int_equal(f->children[CONTROLLER].serves, 0);
}

static void who_could_not_take_a_policy_serves_the_old_one(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    f->children[WORKER].serves = 2;
    union sl_ipc m = {.ready = {.h = {.type = SL_IPC_READY}, .version = 3, .error = -ENOMEM}};
    assert_int_equal(sl_request_serve(&f->children[WORKER], &m, -1), 0);
    assert_int_equal(f->children[WORKER].serves, 2);
    assert_int_equal(f->children[WORKER].answered, 3);
}

static void ready_for_a_version_that_is_not_there_yet(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    union sl_ipc m = {.ready = {.h = {.type = SL_IPC_READY}, .version = 4}};
    assert_int_equal(sl_request_serve(&f->children[WORKER], &m, -1), -EPERM);
    assert_int_equal(f->children[WORKER].serves, 0);
}

/* The guard is off: what passes the checks is answered -ENODEV, what does not -EINVAL. */
static void penalties_out_of_range(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    union sl_ipc good = penalty_for("192.0.2.1"), bad[8];
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].penalty.effect = 0;
    bad[1].penalty.effect = SL_PENALTY_SOURCE + 1;
    bad[2].penalty.duration_ns = 0;
    bad[3].penalty.duration_ns = UINT64_MAX;
    bad[4].penalty.max_ns = UINT64_MAX;
    bad[5].penalty.source.family = 1;
    bad[6].penalty.effect = SL_PENALTY_FLOW; /* without a destination */
    memset(bad[7].penalty.consumer, 'x', sizeof(bad[7].penalty.consumer));
    struct sl_ipc_result r;
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &good, -1), 0);
    assert_true(result(fd, &r));
    assert_int_equal(r.error, -ENODEV);
    assert_int_equal(r.h.id, 7);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &bad[i], -1), 0);
        assert_true(result(fd, &r));
        assert_int_equal(r.error, -EINVAL);
    }
}

static void lists_out_of_range(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    struct sl_ipc_result r;
    union sl_ipc m = {.list = {.h = {.type = SL_IPC_LIST, .id = 9}, .verdict = SL_LIST_DENY}};
    assert_int_equal(sl_cidr_parse(SL_S("192.0.2.0/24"), &m.list.prefix), 0);
    union sl_ipc bad[3] = {m, m, m};
    bad[0].list.prefix.len = 33;
    bad[1].list.prefix.ip.family = 0;
    bad[2].list.verdict = SL_LIST_DENY + 1;
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, -1), 0);
    assert_true(result(fd, &r));
    assert_int_equal(r.error, -ENODEV);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &bad[i], -1), 0);
        assert_true(result(fd, &r));
        assert_int_equal(r.error, -EINVAL);
    }
}

/* Serves m; whether the log said that it is refused. A worker gets no answer that could be looked at. */
static bool refused_in_the_log(struct sl_child *c, union sl_ipc m)
{
    char line[256] = "";
    int out[2], old = dup(STDERR_FILENO);
    assert_int_equal(pipe2(out, O_NONBLOCK), 0);
    assert_true(dup2(out[1], STDERR_FILENO) >= 0);
    sl_log_setup("test", SL_LOG_ERROR);
    int r = sl_request_serve(c, &m, -1);
    sl_log_setup("test", (enum sl_log_level)0);
    (void)dup2(old, STDERR_FILENO);
    (void)close(old);
    (void)close(out[1]);
    ssize_t n = read(out[0], line, sizeof(line) - 1);
    (void)close(out[0]);
    assert_int_equal(r, 0);
    return n > 0 && strstr(line, "refused");
}

static void a_trusted_proxy_is_boxed_by_no_worker(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    const char *const proxies[] = {"10.9.3.4", "2001:db8::7"};
    for (size_t i = 0; i < SL_ARRAY_LEN(proxies); i++) {
        union sl_ipc m = penalty_for(proxies[i]);
        m.penalty.effect = SL_PENALTY_CONNECT;
        assert_true(refused_in_the_log(&f->children[WORKER], m));
        m.penalty.effect = SL_PENALTY_SOURCE;
        assert_true(refused_in_the_log(&f->children[WORKER], m));
        assert_false(refused_in_the_log(&f->children[CONTROLLER], m)); /* an operator may */
        m.penalty.effect = SL_PENALTY_FLOW; /* one connection of the proxy's is not all of it */
        m.penalty.destination = m.penalty.source;
        assert_false(refused_in_the_log(&f->children[WORKER], m));
    }
    assert_false(refused_in_the_log(&f->children[WORKER], penalty_for("10.10.0.1")));
}

/* ---- shared with other hosts */

static union sl_ipc shared_of(uint32_t kind, const char *prefix)
{
    union sl_ipc m = {.shared = {.h = {.type = SL_IPC_SHARED, .id = 11}, .kind = kind}};
    assert_int_equal(sl_cidr_parse(sl_slice_str(prefix), &m.shared.prefix), 0);
    if (kind != SL_SHARED_REVOKED)
        m.shared.left_ns = SL_NS_PER_SEC;
    if (kind == SL_SHARED_PENALTY) {
        m.shared.effect = SL_PENALTY_SOURCE;
        m.shared.level = 1;
    }
    return m;
}

static int answer_to(struct fixture *f, int fd, union sl_ipc m)
{
    struct sl_ipc_result r;
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, -1), 0);
    assert_true(result(fd, &r));
    assert_int_equal(r.h.id, 11);
    return r.error;
}

/* The guard is off: what passes the checks is answered -ENODEV. */
static void what_this_host_protects_no_other_shuts_out(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    sl_snapshot_unref(f->s.snapshot);
    f->s.snapshot = snapshot_of("trusted_proxies: [10.9.0.0/16]\n"
                                "kernel: {interfaces: [lo], allow: [203.0.113.0/24]}\n"
                                "listeners: {a: {bind: ['127.0.0.1:1']}}");
    assert_int_equal(answer_to(f, fd, shared_of(SL_SHARED_PENALTY, "192.0.2.1")), -ENODEV);
    assert_int_equal(answer_to(f, fd, shared_of(SL_SHARED_DENY, "192.0.2.0/24")), -ENODEV);
    assert_int_equal(answer_to(f, fd, shared_of(SL_SHARED_REVOKED, "0.0.0.0/0")), -ENODEV);
    static const char *const one[] = {"10.9.1.1", "203.0.113.7"}, *const ranges[] = {
                                                                      "10.9.1.0/24", "10.0.0.0/8",
                                                                      "203.0.113.128/25", "203.0.0.0/16"};
    for (size_t i = 0; i < SL_ARRAY_LEN(one); i++)
        assert_int_equal(answer_to(f, fd, shared_of(SL_SHARED_PENALTY, one[i])), -EPERM);
    for (size_t i = 0; i < SL_ARRAY_LEN(ranges); i++)
        assert_int_equal(answer_to(f, fd, shared_of(SL_SHARED_DENY, ranges[i])), -EPERM);
    union sl_ipc m = shared_of(SL_SHARED_PENALTY, "192.0.2.1");
    m.shared.effect = SL_PENALTY_FLOW; /* a flow is its host's alone */
    assert_int_equal(answer_to(f, fd, m), -EINVAL);
    m = shared_of(SL_SHARED_DENY, "192.0.2.0/24");
    m.shared.prefix.len = 4;
    assert_int_equal(answer_to(f, fd, m), -EINVAL);
    f->s.upgrade.pid = 1; /* nobody changes the guard then */
    assert_int_equal(answer_to(f, fd, shared_of(SL_SHARED_PENALTY, "192.0.2.1")), -EBUSY);
    f->s.upgrade.pid = 0;
    m = shared_of(SL_SHARED_PENALTY, "192.0.2.1");
    assert_int_equal(sl_request_serve(&f->children[WORKER], &m, -1), -EPERM);
}

/* A child that asks without end is not served without end. */
static void requests_are_metered(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    union sl_ipc m = {.list = {.h = {.type = SL_IPC_LIST, .id = 9}}};
    struct sl_ipc_result r;
    unsigned served = 0, refused = 0;
    f->children[CONTROLLER].asked = sl_now_ns() + SL_NS_PER_SEC * 99 / 100; /* ten are left */
    for (int i = 0; i < 200; i++) {
        assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, -1), 0);
        assert_true(result(fd, &r));
        served += r.error == -EINVAL;
        refused += r.error == -EAGAIN;
    }
    assert_int_equal(served + refused, 200);
    assert_true(refused > 0);
    union sl_ipc ready = {.ready = {.h = {.type = SL_IPC_READY}, .version = 3}};
    f->children[WORKER].asked = sl_now_ns() + SL_NS_PER_SEC * 3 / 2;
    assert_int_equal(sl_request_serve(&f->children[WORKER], &ready, -1), -EPERM);
}

static void a_result_carries_its_text_sealed(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    union sl_ipc m;
    int text = -1;
    size_t n = 1;
    struct sl_slice s;
    sl_request_result(&f->s, 5, -EINVAL, 3, "policy.yaml:1:1: error");
    assert_int_equal(sl_ipc_recv(fd, &m, &text, &n), 1);
    assert_int_equal(n, 1);
    assert_int_equal(m.result.h.id, 5);
    assert_int_equal(m.result.error, -EINVAL);
    assert_int_equal(m.result.value, 3);
    assert_int_equal(sl_memfd_map(text, &s), 0);
    assert_true(sl_slice_eq(s, SL_S("policy.yaml:1:1: error")));
    (void)munmap((void *)(uintptr_t)s.p, s.n);
    (void)close(text);
}

/* ---- fetched keys */

static uint64_t with_keys(struct fixture *f)
{
    sl_snapshot_unref(f->s.snapshot);
    f->s.snapshot = snapshot_of(
        "listeners: {a: {bind: ['127.0.0.1:1']}}\n"
        "auth: {a: {type: jwt, algorithms: [ES256], jwks_uri: 'https://a.test/', tls: {ca: \"" TEST_CA
        "\"}}}");
    return f->s.snapshot->auths[0].jwt.remote.source;
}

static union sl_ipc keys_of(uint64_t source, uint64_t deadline)
{
    return (union sl_ipc){
        .keys = {.h = {.type = SL_IPC_KEYS_FETCHED}, .source = source, .deadline_ns = deadline}};
}

static void keys_go_from_the_controller_to_workers(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    int pair[2], got = -1;
    size_t n = 1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    SL_CLOSE int worker = pair[1];
    f->children[WORKER].ipc = pair[0];
    f->children[WORKER].pid = getpid();
    const uint64_t source = with_keys(f);
    union sl_ipc m = keys_of(source, 7), in;
    SL_CLOSE int text = sl_memfd_sealed("keys", "{}", 2);

    /* a worker may not say what keys are, and none of another policy are kept */
    assert_int_equal(sl_request_serve(&f->children[WORKER], &m, text), -EPERM);
    m.keys.source = source + 1;
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, text), 0);
    assert_int_equal(sl_ipc_recv(worker, &in, &got, &n), 0);

    m.keys.source = source;
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, text), 0);
    n = 1;
    assert_int_equal(sl_ipc_recv(worker, &in, &got, &n), 1);
    assert_int_equal(in.h.type, SL_IPC_KEYS);
    assert_int_equal(n, 1);
    assert_true(in.keys.source == source && in.keys.deadline_ns == 7);
    (void)close(got);

    /* the next one hears of them at its start, with the deadline as it is by then */
    m.keys.deadline_ns = 9;
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, -1), 0);
    n = 1;
    assert_int_equal(sl_ipc_recv(worker, &in, &got, &n), 1);
    assert_true(n == 0 && in.keys.deadline_ns == 9);
    assert_int_equal(sl_keys_send_all(f->children[WORKER].s, f->children[WORKER].ipc), 0);
    n = 1;
    assert_int_equal(sl_ipc_recv(worker, &in, &got, &n), 1);
    assert_true(n == 1 && in.keys.deadline_ns == 9);
    (void)close(got);

    /* a worker's question goes to the controller, about what is of the policy only */
    union sl_ipc asks = {.wanted = {.h = {.type = SL_IPC_KEYS_UNKNOWN}, .source = source + 1}};
    assert_int_equal(sl_request_serve(&f->children[WORKER], &asks, -1), 0);
    asks.wanted.source = source;
    assert_int_equal(sl_request_serve(&f->children[WORKER], &asks, -1), 0);
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &asks, -1), -EPERM);
    n = 1;
    assert_int_equal(sl_ipc_recv(fd, &in, &got, &n), 1);
    assert_true(in.h.type == SL_IPC_KEYS_WANTED && in.wanted.source == source);
    n = 1;
    assert_int_equal(sl_ipc_recv(fd, &in, &got, &n), 0);
    (void)close(f->children[WORKER].ipc);
    sl_snapshot_unref(SL_TAKE_PTR(f->s.snapshot));
    sl_keys_prune(&f->s);
    assert_int_equal(f->s.keys[0].source, 0);
}

/* A binary upgrade: the same bytes, the same end; and nothing that could still change, or comes twice. */
static void keys_are_handed_over_with_their_end(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    SL_CLOSE int ours = pair[0];
    SL_CLOSE int theirs = pair[1];
    union sl_ipc m = keys_of(with_keys(f), 700), in;
    m.keys.fetched_ns = 300;
    SL_CLOSE int text = sl_memfd_sealed("keys", "{}", 2);
    SL_CLOSE int open_fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(sl_write_all(open_fd, "{}", 2), 0);
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, text), 0);
    assert_int_equal(sl_keys_send_all(&f->s, ours), 0);

    struct sl_supervisor next = {.lock = -1};
    struct sl_slice s;
    int got = -1;
    size_t n = 1;
    assert_int_equal(sl_ipc_recv(theirs, &in, &got, &n), 1);
    assert_true(n == 1 && in.h.type == SL_IPC_KEYS);
    assert_int_equal(sl_keys_take_over(&next, &in.keys, open_fd), -EPROTO);
    assert_int_equal(sl_keys_take_over(&next, &in.keys, got), 0);
    assert_int_equal(sl_keys_take_over(&next, &in.keys, text), -EPROTO);
    assert_true(next.keys[0].source == m.keys.source && next.keys[0].deadline_ns == 700);
    assert_true(next.keys[0].fetched_ns == 300);
    assert_int_equal(sl_memfd_map(next.keys[0].fd, &s), 0);
    assert_true(sl_slice_eq(s, SL_S("{}")));
    (void)munmap((void *)(uintptr_t)s.p, s.n);
    n = 1;
    assert_int_equal(sl_ipc_recv(theirs, &in, &got, &n), 0);
    sl_keys_prune(&next); /* a policy that does not fetch them any more */
    assert_int_equal(next.keys[0].source, 0);
    sl_snapshot_unref(SL_TAKE_PTR(f->s.snapshot));
    sl_keys_prune(&f->s);
}

static void keys_must_be_sealed_and_few(void **state)
{
    struct fixture *f = *state;
    SL_CLOSE int fd = controller_of(f);
    static char big[SL_KEYS_BYTES + 1];
    union sl_ipc m = keys_of(with_keys(f), 7);
    SL_CLOSE int open_fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    SL_CLOSE int big_fd = sl_memfd_sealed("big", big, sizeof(big));
    SL_CLOSE int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(sl_write_all(open_fd, "{}", 2), 0);
    const int bad[] = {open_fd, big_fd, null_fd};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &m, bad[i]), -EPERM);
    union sl_ipc other = {.list = {.h = {.type = SL_IPC_LIST, .id = 9}}};
    assert_int_equal(sl_request_serve(&f->children[CONTROLLER], &other, big_fd), -EPERM);
    sl_keys_prune(&f->s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(only_the_controller_may_ask_for_these),
        with_fixture(what_only_the_supervisor_says_is_said_by_no_child),
        with_fixture(ready_counts_for_its_sender_only),
        with_fixture(who_could_not_take_a_policy_serves_the_old_one),
        with_fixture(ready_for_a_version_that_is_not_there_yet),
        with_fixture(penalties_out_of_range),
        with_fixture(lists_out_of_range),
        with_fixture(a_trusted_proxy_is_boxed_by_no_worker),
        with_fixture(what_this_host_protects_no_other_shuts_out),
        with_fixture(requests_are_metered),
        with_fixture(a_result_carries_its_text_sealed),
        with_fixture(keys_go_from_the_controller_to_workers),
        with_fixture(keys_are_handed_over_with_their_end),
        with_fixture(keys_must_be_sealed_and_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
