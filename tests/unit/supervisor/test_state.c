/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: one supervisor each, and nobody else's. */
#include "supervisor_test.h"

#include <fcntl.h>

static int open_again(void *arg)
{
    struct fixture *f = arg;
    struct sl_supervisor s = {.options = &f->options, .lock = -1};
    return -sl_state_open(&s);
}

static void a_second_instance_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sl_state_open(&f->s), 0);
    assert_int_equal(in_child(open_again, f), EBUSY);
}

static void the_second_instance_names_the_first(void **state)
{
    struct fixture *f = *state;
    char line[256] = "", want[32];
    int out[2];
    assert_int_equal(sl_state_open(&f->s), 0);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(out[1], STDERR_FILENO);
        sl_log_setup("second", SL_LOG_ERROR);
        _exit(open_again(f));
    }
    (void)close(out[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(read(out[0], line, sizeof(line) - 1) > 0);
    (void)close(out[0]);
    (void)snprintf(want, sizeof(want), "(pid %d)", getpid());
    assert_non_null(strstr(line, want));
}

static void the_lock_ends_with_its_holder(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(in_child(open_again, f), 0);
    assert_int_equal(sl_state_open(&f->s), 0);
}

static void the_admin_socket_stands_in_it(void **state)
{
    struct fixture *f = *state;
    char want[96];
    assert_int_equal(sl_state_open(&f->s), 0);
    (void)snprintf(want, sizeof(want), "%s/admin.sock", f->dir);
    assert_string_equal(f->s.admin_default.un.sun_path, want);
}

static void a_directory_too_deep_for_a_socket_is_refused(void **state)
{
    struct fixture *f = *state;
    char deep[200];
    int n = snprintf(deep, sizeof(deep), "%s/", f->dir);
    memset(deep + n, 'd', 100);
    deep[n + 100] = '\0';
    f->options.state = deep;
    assert_int_equal(sl_state_open(&f->s), -ENAMETOOLONG);
}

static void what_cannot_be_made_is_refused(void **state)
{
    struct fixture *f = *state;
    f->options.state = "/proc/no/such";
    assert_int_equal(sl_state_open(&f->s), -ENOENT);
}

/* A lock that is a link would be written through it. */
static void a_lock_that_is_a_link_is_refused(void **state)
{
    struct fixture *f = *state;
    char link[96];
    (void)snprintf(link, sizeof(link), "%s/sluiced.pid", f->dir);
    assert_int_equal(symlink("/tmp/elsewhere", link), 0);
    assert_int_equal(sl_state_open(&f->s), -ELOOP);
}

/* A user's default directory that someone else made first; 0: refused, as it must be. */
static int with_anothers_directory(void *arg)
{
    struct fixture *f = arg;
    struct sl_supervisor s = {.options = &f->options, .lock = -1};
    char theirs[96];
    (void)snprintf(theirs, sizeof(theirs), "%s/sluice", f->dir);
    if (mkdir(theirs, 0777) < 0 || chmod(theirs, 0777) < 0 || chmod(f->dir, 0755) < 0)
        return 100;
    if (setresuid(1234, 1234, 1234) < 0)
        return 101;
    f->options.state = NULL;
    (void)setenv("XDG_RUNTIME_DIR", f->dir, 1);
    return sl_state_open(&s) == -EPERM ? 0 : 102;
}

static void a_default_directory_of_someone_else_is_refused(void **state)
{
    skip_unless_root();
    assert_int_equal(in_child(with_anothers_directory, *state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(a_second_instance_is_refused),
        with_fixture(the_second_instance_names_the_first),
        with_fixture(the_lock_ends_with_its_holder),
        with_fixture(the_admin_socket_stands_in_it),
        with_fixture(a_directory_too_deep_for_a_socket_is_refused),
        with_fixture(what_cannot_be_made_is_refused),
        with_fixture(a_lock_that_is_a_link_is_refused),
        with_fixture(a_default_directory_of_someone_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
