/* SPDX-License-Identifier: Apache-2.0 */
/* A policy comes into force whole or not at all. The guard is off; nothing runs but the supervisor's own
 * part. */
#include "supervisor_test.h"

#include <fcntl.h>

static int setup(void **state)
{
    if (fixture_new(state) < 0)
        return -1;
    struct fixture *f = *state;
    static char path[96];
    (void)snprintf(path, sizeof(path), "%s/policy.yaml", f->dir);
    f->options.policy = path;
    f->s.slots = sl_slots_new();
    f->s.loop = ev_loop_new(EVFLAG_AUTO);
    return sl_state_open(&f->s) < 0 || !f->s.slots || !f->s.loop ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ev_timer_stop(f->s.loop, &f->s.reload.deadline);
    ev_loop_destroy(f->s.loop);
    sl_slots_free(f->s.slots);
    sl_trial_end(&f->s);
    sl_closep(&f->s.bundle_fd);
    sl_closep(&f->s.former.fd);
    sl_closep(&f->s.log_fd);
    free(f->s.reload.text);
    return fixture_free(state);
}

static void write_policy(struct fixture *f, const char *fmt, ...)
{
    va_list ap;
    FILE *out = fopen(f->options.policy, "we");
    assert_non_null(out);
    (void)fprintf(out, "version: 1\nworkers: 2\n");
    va_start(ap, fmt);
    (void)vfprintf(out, fmt, ap);
    va_end(ap);
    assert_int_equal(fclose(out), 0);
}

#define ROUTES "routes: {a: {paths: [/], auth: [public], respond: {status: 200}}}\n"

static int load(struct fixture *f)
{
    sl_diag_free(&f->diag);
    sl_diag_init(&f->diag);
    return sl_policy_load(&f->s, &f->diag);
}

/* The state that a refused policy must leave as it was. */
struct before {
    uint64_t version;
    const struct sl_snapshot *snapshot;
    int bundle_fd, log_fd, fds[SL_IPC_MAX_FDS];
    int n;
    size_t slots;
};

static struct before look(struct fixture *f)
{
    struct before b = {.version = f->s.version,
                       .snapshot = f->s.snapshot,
                       .bundle_fd = f->s.bundle_fd,
                       .log_fd = f->s.log_fd,
                       .slots = sl_slots_count(f->s.slots, SL_SLOT_ROUTE)};
    uint8_t more[SL_IPC_MAX_FDS] = {0};
    b.n = sl_sockets_for(&f->s, &f->children[1], b.fds, more, SL_IPC_MAX_FDS);
    return b;
}

static void unchanged(struct fixture *f, const struct before *b)
{
    struct before now = look(f);
    assert_int_equal(now.version, b->version);
    assert_ptr_equal(now.snapshot, b->snapshot);
    assert_int_equal(now.bundle_fd, b->bundle_fd);
    assert_int_equal(now.log_fd, b->log_fd);
    assert_int_equal(now.n, b->n);
    assert_memory_equal(now.fds, b->fds, (size_t)b->n * sizeof(int));
    assert_int_equal(now.slots, b->slots);
}

static void versions_count_up(void **state)
{
    struct fixture *f = *state;
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", free_port());
    for (unsigned v = 1; v <= 3; v++) {
        assert_int_equal(load(f), 0);
        assert_int_equal(f->s.version, v);
        assert_int_equal(f->s.snapshot->version, v);
        assert_true(f->s.bundle_fd >= 0);
    }
}

static void refused(struct fixture *f, const char *because)
{
    struct before b = look(f);
    assert_true(load(f) < 0);
    if (!strstr(told(f), because))
        fail_msg("not told \"%s\" but:\n%s", because, f->text);
    unchanged(f, &b);
}

static void a_bad_policy_changes_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned port = free_port();
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", port);
    assert_int_equal(load(f), 0);
    write_policy(f, ROUTES "listeners: {a: {bnid: ['127.0.0.1:%u']}}\n", port);
    refused(f, "policy.yaml:4:");
    write_policy(f, "routes: {a: {paths: ['~[']}}\n");
    refused(f, "error");
    write_policy(f, "  : : {\n");
    refused(f, "error");
    assert_int_equal(unlink(f->options.policy), 0);
    refused(f, "policy.yaml");
}

/* Everything is right but the last address: the others that it adds are given back. */
static void a_port_that_is_taken_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    unsigned kept = free_port(), fresh = free_port();
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", kept);
    assert_int_equal(load(f), 0);
    SL_CLOSE int other = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(other, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&a, &n), 0);
    write_policy(f, ROUTES "listeners: {b: {bind: ['127.0.0.1:%u', '127.0.0.1:%u']}}\n", fresh,
                 ntohs(a.sin_port));
    refused(f, "cannot listen on 127.0.0.1:");
    a.sin_port = htons((uint16_t)fresh);
    SL_CLOSE int probe = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(probe, (struct sockaddr *)&a, n), -1);
}

static void an_access_log_that_cannot_be_opened_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char fifo[96];
    unsigned port = free_port();
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", port);
    assert_int_equal(load(f), 0);
    write_policy(f,
                 ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n"
                        "observe: {access_log: {format: json, path: %s/no/such/log}}\n",
                 port, f->dir);
    refused(f, "cannot open the access log");
    (void)snprintf(fifo, sizeof(fifo), "%s/fifo", f->dir);
    assert_int_equal(mkfifo(fifo, 0600), 0); /* opening it would wait for a reader */
    write_policy(f,
                 ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n"
                        "observe: {access_log: {format: json, path: %s}}\n",
                 port, fifo);
    refused(f, "nobody reads");
}

static void the_access_log_is_opened_for_appending(void **state)
{
    struct fixture *f = *state;
    write_policy(f,
                 ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n"
                        "observe: {access_log: {format: json, path: %s/log}}\n",
                 free_port(), f->dir);
    assert_int_equal(load(f), 0);
    int flags = fcntl(f->s.log_fd, F_GETFL);
    assert_true(flags & O_APPEND);
    assert_false(flags & O_NONBLOCK); /* its writer is a thread that may wait */
}

static void an_interface_that_is_not_there_is_refused(void **state)
{
    struct fixture *f = *state;
    write_policy(f,
                 ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n"
                        "kernel: {interfaces: [nosuch0], mode: auto}\n",
                 free_port());
    assert_int_equal(load(f), -EINVAL);
    assert_non_null(strstr(told(f), "nosuch0"));
    assert_null(f->s.guard);
}

static void the_guard_is_not_switched_on_by_a_reload(void **state)
{
    struct fixture *f = *state;
    unsigned port = free_port();
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", port);
    assert_int_equal(load(f), 0);
    write_policy(f,
                 ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n"
                        "kernel: {interfaces: [lo], mode: generic}\n",
                 port);
    refused(f, "restart sluiced");
}

static void more_addresses_than_one_message_carries(void **state)
{
    struct fixture *f = *state;
    char binds[16384];
    int n = 0;
    for (unsigned i = 0; i < SL_IPC_MAX_FDS; i++)
        n += snprintf(binds + n, sizeof(binds) - (size_t)n, "%s'127.1.0.%u:65000'", i ? ", " : "", i + 1);
    write_policy(f, ROUTES "listeners: {a: {bind: [%s]}}\n", binds);
    assert_true(load(f) < 0);
    assert_non_null(strstr(told(f), "too many"));
    assert_int_equal(f->s.n_bound, 0);
}

static void what_waits_for_the_next_start_is_said(void **state)
{
    struct fixture *f = *state;
    unsigned port = free_port();
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", port);
    assert_int_equal(load(f), 0);
    FILE *out = fopen(f->options.policy, "we");
    assert_non_null(out);
    (void)fprintf(
        out, "version: 1\nworkers: 5\nuser: nobody\n" ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n",
        port);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(load(f), 0);
    assert_non_null(strstr(told(f), "workers stays at 2"));
    assert_non_null(strstr(told(f), "user stays"));
}

/* ---- waiting for READY */

static void all_must_have_answered(void **state)
{
    struct fixture *f = *state;
    f->s.version = 4;
    sl_reload_wait(&f->s, 0);
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", free_port());
    f->s.snapshot = snapshot_of("listeners: {a: {bind: ['127.0.0.1:1']}}");
    for (size_t i = 0; i < f->s.n_children; i++) {
        assert_true(f->s.reload.active);
        f->children[i].answered = f->children[i].serves = 4;
        sl_reload_ready(&f->s);
    }
    assert_false(f->s.reload.active);
    assert_true(f->s.up);
}

static void one_that_could_not_is_an_error(void **state)
{
    struct fixture *f = *state;
    f->s.version = 4;
    f->s.snapshot = snapshot_of("listeners: {a: {bind: ['127.0.0.1:1']}}");
    sl_reload_wait(&f->s, 0);
    for (size_t i = 0; i < f->s.n_children; i++)
        f->children[i].answered = f->children[i].serves = 4;
    f->children[2].serves = 3;
    f->children[2].error = -ENOMEM;
    sl_reload_ready(&f->s);
    assert_false(f->s.reload.active);
    assert_false(f->s.up); /* READY=1 is not said */
}

static void a_sighup_during_a_reload_is_not_lost(void **state)
{
    struct fixture *f = *state;
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", free_port());
    assert_int_equal(load(f), 0);
    sl_reload(&f->s, 0, 0);
    assert_int_equal(f->s.version, 2);
    sl_reload(&f->s, 0, 0); /* while the first one waits */
    assert_int_equal(f->s.version, 2);
    for (size_t i = 0; i < f->s.n_children; i++)
        f->children[i].answered = f->children[i].serves = 2;
    sl_reload_ready(&f->s);
    assert_int_equal(f->s.version, 3);
    assert_true(f->s.reload.active);
}

static void nothing_is_reloaded_while_stopping(void **state)
{
    struct fixture *f = *state;
    write_policy(f, ROUTES "listeners: {a: {bind: ['127.0.0.1:%u']}}\n", free_port());
    assert_int_equal(load(f), 0);
    f->s.stopping = true;
    sl_reload(&f->s, 0, 0);
    assert_int_equal(f->s.version, 1);
    assert_false(f->s.reload.active);
}

/* ---- back to the one before */

/* Every process serves what was sent. */
static void all_serve(struct fixture *f)
{
    for (size_t i = 0; i < f->s.n_children; i++)
        f->children[i].answered = f->children[i].serves = f->s.version;
    sl_reload_ready(&f->s);
}

static void policy_with_status(struct fixture *f, unsigned port, unsigned status)
{
    write_policy(f,
                 "routes: {a: {paths: [/], auth: [public], respond: {status: %u}}}\n"
                 "listeners: {a: {bind: ['127.0.0.1:%u']}}\n",
                 status, port);
}

static unsigned status_in_force(const struct fixture *f)
{
    return f->s.snapshot->routes[0].respond.status;
}

/* Version 2 with status 201, applied over version 1 with status 200. */
static unsigned two_policies(struct fixture *f, uint64_t confirm_ns)
{
    unsigned port = free_port();
    policy_with_status(f, port, 200);
    assert_int_equal(load(f), 0);
    f->s.up = true;
    policy_with_status(f, port, 201);
    sl_reload(&f->s, 0, confirm_ns);
    all_serve(f);
    assert_int_equal(f->s.version, 2);
    assert_int_equal(status_in_force(f), 201);
    return port;
}

static void a_rollback_goes_one_step_back(void **state)
{
    struct fixture *f = *state;
    two_policies(f, 0);
    assert_false(f->s.trial.waits);
    sl_trial_rollback(&f->s, 0);
    all_serve(f);
    assert_int_equal(f->s.version, 3); /* a version of its own */
    assert_int_equal(f->s.snapshot->version, 3);
    assert_int_equal(status_in_force(f), 200);
    sl_trial_rollback(&f->s, 0); /* no second step */
    assert_int_equal(f->s.version, 3);
    sl_reload(&f->s, 0, 0); /* the file was left as it is */
    all_serve(f);
    assert_int_equal(status_in_force(f), 201);
    sl_trial_rollback(&f->s, 0);
    all_serve(f);
    assert_int_equal(status_in_force(f), 200);
}

static void the_same_policy_again_is_no_step(void **state)
{
    struct fixture *f = *state;
    two_policies(f, 0);
    sl_reload(&f->s, 0, SL_NS_PER_SEC);
    all_serve(f);
    assert_int_equal(f->s.version, 3);
    assert_false(f->s.trial.waits); /* nothing to go back to */
    sl_trial_rollback(&f->s, 0);
    all_serve(f);
    assert_int_equal(status_in_force(f), 200);
}

static void a_refused_policy_is_no_step(void **state)
{
    struct fixture *f = *state;
    two_policies(f, 0);
    write_policy(f, "routes: {a: {paths: ['~[']}}\n");
    sl_reload(&f->s, 0, SL_NS_PER_SEC);
    assert_int_equal(f->s.version, 2);
    assert_false(f->s.trial.waits);
    sl_trial_rollback(&f->s, 0);
    all_serve(f);
    assert_int_equal(status_in_force(f), 200);
}

static void unconfirmed_it_comes_back(void **state)
{
    struct fixture *f = *state;
    two_policies(f, SL_NS_PER_SEC / 100);
    assert_true(f->s.trial.waits);
    assert_true(f->s.trial.deadline_ns > 0);
    ev_run(f->s.loop, EVRUN_ONCE); /* until the timer */
    assert_int_equal(f->s.version, 3);
    assert_int_equal(status_in_force(f), 200);
    assert_false(f->s.trial.waits);
}

static void confirmed_it_stays(void **state)
{
    struct fixture *f = *state;
    two_policies(f, SL_NS_PER_SEC / 100);
    sl_trial_confirm(&f->s, 0);
    assert_false(f->s.trial.waits);
    ev_run(f->s.loop, EVRUN_ONCE); /* no timer is left: returns at once */
    assert_int_equal(f->s.version, 2);
    assert_int_equal(status_in_force(f), 201);
    sl_trial_rollback(&f->s, 0); /* the step back is still there */
    all_serve(f);
    assert_int_equal(status_in_force(f), 200);
}

static void on_trial_no_other_is_applied(void **state)
{
    struct fixture *f = *state;
    unsigned port = two_policies(f, 3600 * SL_NS_PER_SEC);
    policy_with_status(f, port, 202);
    sl_reload(&f->s, 0, 0);
    assert_int_equal(f->s.version, 2);
    assert_false(f->s.reload.active);
    sl_trial_rollback(&f->s, 0);
    assert_false(f->s.trial.waits);
    all_serve(f);
    assert_int_equal(status_in_force(f), 200);
    sl_reload(&f->s, 0, 0);
    all_serve(f);
    assert_int_equal(status_in_force(f), 202);
}

static void on_trial_and_not_served_by_all_it_comes_back_at_once(void **state)
{
    struct fixture *f = *state;
    unsigned port = free_port();
    policy_with_status(f, port, 200);
    assert_int_equal(load(f), 0);
    f->s.up = true;
    policy_with_status(f, port, 201);
    sl_reload(&f->s, 0, 3600 * SL_NS_PER_SEC);
    for (size_t i = 0; i < f->s.n_children; i++)
        f->children[i].answered = f->children[i].serves = 2;
    f->children[2].serves = 1;
    f->children[2].error = -ENOMEM;
    sl_reload_ready(&f->s);
    assert_false(f->s.trial.waits);
    assert_int_equal(f->s.version, 3);
    assert_int_equal(status_in_force(f), 200);
}

/* The port that the former policy listened on is another's by then. */
static void a_way_back_that_is_barred_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port = free_port();
    const int on = 1;
    policy_with_status(f, port, 200);
    assert_int_equal(load(f), 0);
    f->s.up = true;
    policy_with_status(f, free_port(), 201);
    sl_reload(&f->s, 0, SL_NS_PER_SEC / 100);
    all_serve(f);
    a.sin_port = htons((uint16_t)port);
    SL_CLOSE int squatter = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(squatter, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(squatter, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(squatter, 1), 0);
    ev_run(f->s.loop, EVRUN_ONCE);
    assert_int_equal(f->s.version, 2);
    assert_true(f->s.trial.waits);
    assert_true(ev_is_active(&f->s.trial.timer));
    sl_closep(&squatter);
    squatter = -1;
    ev_feed_event(f->s.loop, &f->s.trial.timer, EV_TIMER); /* its time has come again */
    ev_run(f->s.loop, EVRUN_NOWAIT);
    assert_int_equal(f->s.version, 3);
    assert_int_equal(status_in_force(f), 200);
    assert_false(f->s.trial.waits);
}

#define with_policy(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        with_policy(versions_count_up),
        with_policy(a_bad_policy_changes_nothing),
        with_policy(a_port_that_is_taken_changes_nothing),
        with_policy(an_access_log_that_cannot_be_opened_changes_nothing),
        with_policy(the_access_log_is_opened_for_appending),
        with_policy(an_interface_that_is_not_there_is_refused),
        with_policy(the_guard_is_not_switched_on_by_a_reload),
        with_policy(more_addresses_than_one_message_carries),
        with_policy(what_waits_for_the_next_start_is_said),
        with_policy(all_must_have_answered),
        with_policy(one_that_could_not_is_an_error),
        with_policy(a_sighup_during_a_reload_is_not_lost),
        with_policy(nothing_is_reloaded_while_stopping),
        with_policy(a_rollback_goes_one_step_back),
        with_policy(the_same_policy_again_is_no_step),
        with_policy(a_refused_policy_is_no_step),
        with_policy(unconfirmed_it_comes_back),
        with_policy(confirmed_it_stays),
        with_policy(on_trial_no_other_is_applied),
        with_policy(on_trial_and_not_served_by_all_it_comes_back_at_once),
        with_policy(a_way_back_that_is_barred_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
