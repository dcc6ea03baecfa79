/* SPDX-License-Identifier: Apache-2.0 */
/* What is given up is given up: looked at from inside the process and by trying to get it back. */
#include "supervisor_test.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static unsigned long long status_field(const char *name, int base)
{
    char line[256];
    unsigned long long v = ~0ull;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            v = strtoull(line + strlen(name) + 1, NULL, base);
    if (f)
        (void)fclose(f);
    return v;
}

/* Exit codes name the step that failed. */
static int drop_and_look(void *arg)
{
    static const char *const caps[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    const struct sl_supervisor *s = arg;
    uid_t r, e, saved;
    gid_t groups[2];
    if (sl_privilege_drop(s) < 0)
        return 1;
    for (size_t i = 0; i < SL_ARRAY_LEN(caps); i++)
        if (status_field(caps[i], 16) != 0)
            return 10 + (int)i;
    if (getresuid(&r, &e, &saved) < 0 || r != s->uid || e != s->uid || saved != s->uid || getgid() != s->gid)
        return 2;
    if (getgroups(2, groups) != 0)
        return 3;
    if (status_field("NoNewPrivs", 10) != 1)
        return 4;
    if (setuid(0) == 0 || setgid(0) == 0 || setgroups(0, NULL) == 0 || chroot("/") == 0)
        return 5;
    if (open("/etc/shadow", O_RDONLY) >= 0)
        return 6;
    return prctl(PR_GET_DUMPABLE) == 0 ? 0 : 7;
}

static void root_becomes_nobody_for_good(void **state)
{
    struct fixture *f = *state;
    skip_unless_root();
    assert_int_equal(sl_privilege_resolve(&f->s, "nobody"), 0);
    assert_true(f->s.drop);
    assert_int_equal(f->s.owner, 0);
    assert_int_equal(in_child(drop_and_look, &f->s), 0);
}

/* A user's daemon that was given a capability, by its file or by systemd. */
static int with_an_ambient_capability(void *arg)
{
    struct sl_supervisor *s = arg;
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2] = {{0}};
    d[0].effective = d[0].permitted = d[0].inheritable = 1u << CAP_NET_BIND_SERVICE;
    if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(1234, 1234, 1234) < 0 ||
        setresuid(1234, 1234, 1234) < 0 || syscall(SYS_capset, &h, d) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) < 0)
        return 100;
    if (sl_privilege_resolve(s, NULL) < 0 || s->drop || s->uid != 1234 || s->owner != 1234)
        return 101;
    if (sl_privilege_drop(s) < 0)
        return 102;
    return status_field("CapEff", 16) | status_field("CapPrm", 16) | status_field("CapAmb", 16) ? 103 : 0;
}

static void a_users_daemon_loses_what_it_was_given(void **state)
{
    struct fixture *f = *state;
    skip_unless_root();
    assert_int_equal(in_child(with_an_ambient_capability, &f->s), 0);
}

static void a_user_that_does_not_exist_is_refused(void **state)
{
    struct fixture *f = *state;
    skip_unless_root();
    assert_int_equal(sl_privilege_resolve(&f->s, "no-such-user-here"), -ENOENT);
}

static void root_is_refused_as_the_user(void **state)
{
    struct fixture *f = *state;
    skip_unless_root();
    assert_int_equal(sl_privilege_resolve(&f->s, "root"), -EPERM);
}

static void without_a_name_it_is_sluice_or_nobody(void **state)
{
    struct fixture *f = *state;
    skip_unless_root();
    assert_int_equal(sl_privilege_resolve(&f->s, NULL), 0);
    const struct passwd *pw = getpwnam("sluice") ? getpwnam("sluice") : getpwnam("nobody");
    assert_int_equal(f->s.uid, pw->pw_uid);
    assert_int_equal(f->s.gid, pw->pw_gid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(root_becomes_nobody_for_good),
        with_fixture(a_users_daemon_loses_what_it_was_given),
        with_fixture(a_user_that_does_not_exist_is_refused),
        with_fixture(root_is_refused_as_the_user),
        with_fixture(without_a_name_it_is_sluice_or_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
