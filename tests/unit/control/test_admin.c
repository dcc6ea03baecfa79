/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API over real sockets: who may do what, and what the supervisor has to say. */
#include "control_test.h"

#include <grp.h>

static json_t *json_of(struct answer *a, unsigned status)
{
    assert_int_equal(a->status, status);
    json_t *j = json_loads(a->body, 0, NULL);
    assert_non_null(j);
    free(a->body);
    a->body = NULL;
    return j;
}

/* ---- health */

static void healthy_at_once_ready_when_every_worker_is(void **state)
{
    struct daemon *d = *state;
    want_status(&d->local, "GET", "/healthz", "", 200);
    want_status(&d->local, "GET", "/readyz", "", 503);
    d->args.counters.blocks[0].generation = 1;
    want_status(&d->local, "GET", "/readyz", "", 503);
    d->args.counters.blocks[1].generation = 1;
    want_status(&d->local, "GET", "/readyz", "", 200);
    send_snapshot(d, 2);
    want_status(&d->local, "GET", "/readyz", "", 503);
}

static void not_ready_while_draining(void **state)
{
    struct daemon *d = *state;
    d->args.counters.blocks[0].generation = d->args.counters.blocks[1].generation = 1;
    send_state(d, "{\"draining\": false}");
    want_status(&d->local, "GET", "/readyz", "", 200);
    send_state(d, "{\"draining\": true}");
    send_snapshot(d, 1); /* its READY says that the state before it was read */
    want_status(&d->local, "GET", "/readyz", "", 503);
}

static void status_is_what_the_supervisor_said(void **state)
{
    struct daemon *d = *state;
    send_state(d, "{\"version\": 1, \"workers\": [{\"pid\": 42}]}");
    send_snapshot(d, 1);
    struct answer a = get(&d->local, "GET", "/v1/status", "");
    json_t *j = json_of(&a, 200);
    assert_int_equal(json_integer_value(json_object_get(j, "version")), 1);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(j, "workers"), 0), "pid")), 42);
    assert_true(json_is_false(json_object_get(j, "ready")));
    json_decref(j);
}

/* ---- who may do what */

static void over_tcp_there_are_only_metrics_and_health(void **state)
{
    struct daemon *d = *state;
    static const char *const reads[] = {"/v1/status", "/v1/top", "/v1/penalties"};
    static const char *const changes[] = {"/v1/apply", "/v1/confirm", "/v1/rollback", "/v1/deny",
                                          "/v1/allow", "/v1/forget",  "/v1/detach"};
    want_status(&d->tcp, "GET", "/metrics", "", 200);
    want_status(&d->tcp, "GET", "/healthz", "", 200);
    want_status(&d->tcp, "GET", "/readyz", "", 503);
    for (size_t i = 0; i < SL_ARRAY_LEN(reads); i++) {
        want_status(&d->tcp, "GET", reads[i], "", 404);
        want_status(&d->local, "GET", reads[i], "", 200);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(changes); i++)
        want_status(&d->tcp, "POST", changes[i], "{\"cidr\": \"192.0.2.1\"}", 404);
}

/* Asks as another user; 0 where every answer has the status. */
static int as_user(struct daemon *d, uid_t uid, unsigned status)
{
    static const char *const changes[] = {"/v1/apply", "/v1/confirm", "/v1/rollback", "/v1/deny",
                                          "/v1/allow", "/v1/forget",  "/v1/detach"};
    int code;
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
            _exit(100);
        for (size_t i = 0; i < SL_ARRAY_LEN(changes); i++) {
            struct answer a = get(&d->local, "POST", changes[i], "{");
            if (a.status != status)
                _exit((int)i + 1);
        }
        struct answer a = get(&d->local, "GET", "/v1/status", "");
        _exit(a.status == 200 ? 0 : 50);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    return WEXITSTATUS(code);
}

static void only_root_and_the_owner_change_anything(void **state)
{
    struct daemon *d = *state;
    if (geteuid() != 0) {
        print_message("needs root to be someone else\n");
        skip();
    }
    d->args.owner = 1234;
    want_status(&d->local, "POST", "/v1/deny", "{", 400); /* root: as far as the body */
    assert_int_equal(as_user(d, 1235, 403), 0);
    assert_int_equal(as_user(d, 65534, 403), 0); /* whom the daemon may run as */
}

static void methods_and_paths(void **state)
{
    struct daemon *d = *state;
    want_status(&d->local, "POST", "/v1/status", "", 405);
    want_status(&d->local, "GET", "/v1/apply", "", 405);
    want_status(&d->local, "DELETE", "/metrics", "", 405);
    want_status(&d->local, "GET", "/", "", 404);
    want_status(&d->local, "GET", "/v1/applyx", "", 404);
    want_status(&d->local, "GET", "/metrics/", "", 404);
}

/* ---- changing */

static void apply_says_what_the_supervisor_says(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    ask(fd, "POST", "/v1/apply", "");
    union sl_ipc m = hear(d);
    assert_int_equal(m.h.type, SL_IPC_RELOAD);
    assert_true(m.h.id != 0);
    send_result(d, m.h.id, -EINVAL, 3, "p.yaml:1:2: error: \"x\"\n");
    struct answer a = answer_of(fd);
    json_t *j = json_of(&a, 200);
    assert_true(json_is_false(json_object_get(j, "ok")));
    assert_int_equal(json_integer_value(json_object_get(j, "version")), 3);
    assert_string_equal(json_string_value(json_object_get(j, "diagnostics")), "p.yaml:1:2: error: \"x\"\n");
    json_decref(j);
}

static void a_trial_that_is_misspelt_is_not_for_good(void **state)
{
    struct daemon *d = *state;
    static const char *const bad[] = {"{\"confirm\": 30000}",      "{\"confirm_ms\": 999}",
                                      "{\"confirm_ms\": 0}",       "{\"confirm_ms\": 86400001}",
                                      "{\"confirm_ms\": \"30s\"}", "[]",
                                      "{\"confirm_ms\": -1}",      "30s"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        want_status(&d->local, "POST", "/v1/apply", bad[i], 400);
    SL_CLOSE int fd = dial(&d->local);
    ask(fd, "POST", "/v1/apply", "{\"confirm_ms\": 30000}");
    union sl_ipc m = hear(d);
    assert_int_equal(m.h.type, SL_IPC_RELOAD);
    assert_int_equal(m.reload.confirm_ns, 30 * SL_NS_PER_SEC);
    send_result(d, m.h.id, 0, 2, NULL);
    struct answer a = answer_of(fd);
    json_decref(json_of(&a, 200));
    static const struct {
        const char *path;
        uint32_t type;
    } steps[] = {{"/v1/confirm", SL_IPC_CONFIRM}, {"/v1/rollback", SL_IPC_ROLLBACK}};
    for (size_t i = 0; i < SL_ARRAY_LEN(steps); i++) {
        ask(fd, "POST", steps[i].path, "");
        m = hear(d);
        assert_int_equal(m.h.type, steps[i].type);
        send_result(d, m.h.id, -ENOENT, 2, "none");
        a = answer_of(fd);
        json_t *j = json_of(&a, 200);
        assert_true(json_is_false(json_object_get(j, "ok")));
        json_decref(j);
    }
}

static void status_counts_a_trial_down(void **state)
{
    struct daemon *d = *state;
    char text[160];
    (void)snprintf(text, sizeof(text), "{\"trial\": {\"waits\": true, \"deadline_ns\": %llu, \"former\": 1}}",
                   (unsigned long long)(sl_now_ns() + 3600 * SL_NS_PER_SEC));
    send_state(d, text);
    send_snapshot(d, 2);
    struct answer a = get(&d->local, "GET", "/v1/status", "");
    json_t *j = json_of(&a, 200), *trial = json_object_get(j, "trial");
    json_int_t left = json_integer_value(json_object_get(trial, "left_ms"));
    assert_true(left > 3000000 && left <= 3600000);
    assert_null(json_object_get(trial, "deadline_ns"));
    json_decref(j);
    send_state(d, "{\"trial\": {\"waits\": true, \"deadline_ns\": 1, \"former\": 1}}");
    send_snapshot(d, 3);
    a = get(&d->local, "GET", "/v1/status", "");
    j = json_of(&a, 200);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "trial"), "left_ms")), 0);
    json_decref(j);
}

static void answers_find_who_asked(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int one = dial(&d->local);
    SL_CLOSE int two = dial(&d->local);
    ask(one, "POST", "/v1/forget", "{\"cidr\": \"192.0.2.1\"}");
    union sl_ipc first = hear(d);
    ask(two, "POST", "/v1/detach", "");
    union sl_ipc second = hear(d);
    assert_int_equal(first.h.type, SL_IPC_LIST);
    assert_int_equal(second.h.type, SL_IPC_DETACH);
    assert_int_not_equal(first.h.id, second.h.id);
    send_result(d, second.h.id, 0, 22, NULL);
    send_result(d, first.h.id + 1000, 0, 99, NULL); /* nobody waits for that */
    send_result(d, first.h.id, 0, 11, NULL);
    struct answer a = answer_of(two);
    json_t *j = json_of(&a, 200);
    assert_int_equal(json_integer_value(json_object_get(j, "detached")), 22);
    json_decref(j);
    a = answer_of(one);
    j = json_of(&a, 200);
    assert_int_equal(json_integer_value(json_object_get(j, "removed")), 11);
    json_decref(j);
}

static void deny_and_allow_are_passed_on_exactly(void **state)
{
    struct daemon *d = *state;
    SL_CLOSE int fd = dial(&d->local);
    ask(fd, "POST", "/v1/deny", "{\"cidr\": \"2001:db8::/48\", \"for_ms\": 1500}");
    union sl_ipc m = hear(d);
    assert_int_equal(m.h.type, SL_IPC_LIST);
    assert_int_equal(m.list.verdict, SL_LIST_DENY);
    assert_int_equal(m.list.prefix.len, 48);
    assert_int_equal(m.list.prefix.ip.family, SL_AF_INET6);
    assert_int_equal(m.list.for_ns, 1500 * SL_NS_PER_MS);
    send_result(d, m.h.id, 0, 77 * SL_NS_PER_MS, NULL);
    struct answer a = answer_of(fd);
    json_t *j = json_of(&a, 200);
    assert_true(json_is_true(json_object_get(j, "ok")));
    assert_int_equal(json_integer_value(json_object_get(j, "deadline_ms")), 77);
    json_decref(j);
    ask(fd, "POST", "/v1/allow", "{\"cidr\": \"192.0.2.7\"}");
    m = hear(d);
    assert_int_equal(m.list.verdict, SL_LIST_ALLOW);
    assert_int_equal(m.list.prefix.len, 32);
    assert_int_equal(m.list.for_ns, 0);
    send_result(d, m.h.id, -ENODEV, 0, NULL);
    a = answer_of(fd);
    j = json_of(&a, 200);
    assert_true(json_is_false(json_object_get(j, "ok")));
    assert_non_null(strstr(json_string_value(json_object_get(j, "error")), "guard is off"));
    json_decref(j);
}

static void bodies_that_are_refused(void **state)
{
    struct daemon *d = *state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"cidr\": 5}",
        "{\"cidr\": \"\"}",
        "{\"cidr\": \"192.0.2.1/33\"}",
        "{\"cidr\": \"192.0.2.1/24\"}",
        "{\"cidr\": \"192.0.2.0/24\", \"for_ms\": -1}",
        "{\"cidr\": \"192.0.2.0/24\", \"for_ms\": 99999999999999}",
        "{\"cidr\": \"192.0.2.0/24\", \"for_ms\": 1.5}",
        "{\"cidr\": \"192.0.2.0/24\", \"for_ms\": \"1h\"}",
        "{\"cidr\": \"192.0.2.0/24\", \"for_ns\": 1}",
        "{\"cidr\": \"192.0.2.0/24\", \"cidr\": \"198.51.100.0/24\"}",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        struct answer a = get(&d->local, "POST", "/v1/deny", bad[i]);
        if (a.status != 400)
            fail_msg("%s: %u", bad[i], a.status);
        free(a.body);
    }
}

/* ---- the supervisor */

static void without_a_supervisor_no_controller_stays(void **state)
{
    struct daemon *d = *state;
    stop(d);
    assert_int_equal(d->exit_code, 1);
}

static void drained_it_ends_well(void **state)
{
    struct daemon *d = *state;
    union sl_ipc m = {.drain = {.h = {.type = SL_IPC_DRAIN}, .deadline_ns = sl_now_ns()}};
    for (int i = 0; i < 2; i++) /* a stop behind an upgrade says it again */
        assert_int_equal(sl_ipc_send(d->ipc, &m, NULL, 0), 0);
    assert_int_equal(pthread_join(d->thread, NULL), 0);
    d->running = false;
    assert_int_equal(d->exit_code, 0);
}

static void a_policy_that_cannot_be_read_leaves_the_old_one(void **state)
{
    struct daemon *d = *state;
    union sl_ipc m = {.snapshot = {.h = {.type = SL_IPC_SNAPSHOT}, .version = 2}};
    SL_CLOSE int fd = sl_memfd_sealed("bundle", "garbage", 7);
    assert_int_equal(sl_ipc_send(d->ipc, &m, &fd, 1), 0);
    m = hear(d);
    assert_int_equal(m.h.type, SL_IPC_READY);
    assert_true(m.ready.error < 0);
    want_status(&d->local, "GET", "/metrics", "", 200);
    struct answer a = get(&d->local, "GET", "/metrics", "");
    assert_non_null(strstr(a.body, "\nsluice_policy_version 1\n"));
    free(a.body);
}

static void a_state_that_is_no_json_leaves_the_old_one(void **state)
{
    struct daemon *d = *state;
    send_state(d, "{\"version\": 1}");
    send_state(d, "{");
    send_snapshot(d, 1);
    struct answer a = get(&d->local, "GET", "/v1/status", "");
    assert_non_null(strstr(a.body, "\"version\":1"));
    free(a.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_daemon(healthy_at_once_ready_when_every_worker_is),
        with_daemon(not_ready_while_draining),
        with_daemon(status_is_what_the_supervisor_said),
        with_daemon(over_tcp_there_are_only_metrics_and_health),
        with_daemon(only_root_and_the_owner_change_anything),
        with_daemon(methods_and_paths),
        with_daemon(apply_says_what_the_supervisor_says),
        with_daemon(a_trial_that_is_misspelt_is_not_for_good),
        with_daemon(status_counts_a_trial_down),
        with_daemon(answers_find_who_asked),
        with_daemon(deny_and_allow_are_passed_on_exactly),
        with_daemon(bodies_that_are_refused),
        with_daemon(without_a_supervisor_no_controller_stays),
        with_daemon(drained_it_ends_well),
        with_daemon(a_policy_that_cannot_be_read_leaves_the_old_one),
        with_daemon(a_state_that_is_no_json_leaves_the_old_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
