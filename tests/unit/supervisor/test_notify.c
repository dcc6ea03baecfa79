/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) as systemd would hear it. */
#include "supervisor_test.h"

static int listen_at(const struct sockaddr_un *a, socklen_t n)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)a, n), 0);
    return fd;
}

static void heard(int fd, const char *want)
{
    char got[64] = "";
    ssize_t n = recv(fd, got, sizeof(got) - 1, 0);
    assert_int_equal(n, (ssize_t)strlen(want));
    assert_string_equal(got, want);
}

static void a_path(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/notify", f->dir);
    SL_CLOSE int fd = listen_at(&a, sizeof(a));
    (void)setenv("NOTIFY_SOCKET", a.sun_path, 1);
    sl_notify("READY=1");
    heard(fd, "READY=1");
    sl_notify("WATCHDOG=1");
    heard(fd, "WATCHDOG=1");
}

static void an_abstract_name(void **state)
{
    (void)state;
    char name[64];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(name, sizeof(name), "@sluice-test-%d", getpid());
    memcpy(a.sun_path + 1, name + 1, (size_t)n - 1);
    SL_CLOSE int fd = listen_at(&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n));
    (void)setenv("NOTIFY_SOCKET", name, 1);
    sl_notify("STOPPING=1");
    heard(fd, "STOPPING=1");
}

static void without_systemd_nothing_happens(void **state)
{
    (void)state;
    char longer[sizeof(((struct sockaddr_un *)0)->sun_path) + 2];
    const char *const odd[] = {"", "/", "relative", longer, "/no/such/socket"};
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    for (size_t i = 0; i < SL_ARRAY_LEN(odd); i++) {
        (void)setenv("NOTIFY_SOCKET", odd[i], 1);
        sl_notify("READY=1"); /* survives */
    }
    (void)unsetenv("NOTIFY_SOCKET");
    sl_notify("READY=1");
}

static void the_watchdog_is_fed_twice_as_often_as_it_bites(void **state)
{
    (void)state;
    (void)unsetenv("WATCHDOG_USEC");
    assert_true(sl_notify_watchdog() == 0);
    (void)setenv("WATCHDOG_USEC", "30000000", 1);
    assert_true(sl_notify_watchdog() == 15.0);
    (void)setenv("WATCHDOG_USEC", "soon", 1);
    assert_true(sl_notify_watchdog() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(a_path),
        with_fixture(an_abstract_name),
        with_fixture(without_systemd_nothing_happens),
        with_fixture(the_watchdog_is_fed_twice_as_often_as_it_bites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
