/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: options wherever they stand, and exit 2 for every call that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/ctl_priv.h"

#define ARGS(...)  ((char *[]){(char *)"sluicectl", __VA_ARGS__, NULL})
#define COUNT(...) ((int)(sizeof((const char *[]){"", __VA_ARGS__}) / sizeof(char *)))
#define RUN(...)   sl_ctl_run(COUNT(__VA_ARGS__), ARGS(__VA_ARGS__))

static void shared_options_stand_anywhere(void **state)
{
    (void)state;
    unsetenv("SLUICE_SOCKET");
    struct sl_ctl c = {0};
    assert_int_equal(sl_ctl_args_parse(&c, 6, ARGS("--socket", "/a.sock", "deny", "--json", "192.0.2.1")), 0);
    assert_string_equal(c.socket, "/a.sock");
    assert_true(c.json);
    assert_int_equal(c.argc, 2);
    assert_string_equal(c.argv[0], "deny");
    assert_string_equal(c.argv[1], "192.0.2.1");
    c = (struct sl_ctl){0};
    assert_int_equal(sl_ctl_args_parse(&c, 3, ARGS("top", "--socket=unix:/b.sock")), 0);
    assert_string_equal(c.socket, "/b.sock");
    assert_int_equal(c.argc, 1);
}

static void the_socket_comes_from_option_environment_default(void **state)
{
    (void)state;
    struct sl_ctl c = {0};
    unsetenv("SLUICE_SOCKET");
    assert_int_equal(sl_ctl_args_parse(&c, 2, ARGS("top")), 0);
    assert_string_equal(c.socket, "/run/sluice/admin.sock");
    setenv("SLUICE_SOCKET", "/env.sock", 1);
    assert_int_equal(sl_ctl_args_parse(&c, 2, ARGS("top")), 0);
    assert_string_equal(c.socket, "/env.sock");
    assert_int_equal(sl_ctl_args_parse(&c, 4, ARGS("top", "--socket", "/opt.sock")), 0);
    assert_string_equal(c.socket, "/opt.sock");
    unsetenv("SLUICE_SOCKET");
}

static void wrong_calls_exit_2(void **state)
{
    (void)state;
    assert_int_equal(sl_ctl_run(1, (char *[]){(char *)"sluicectl", NULL}), SL_CTL_USAGE);
    assert_int_equal(RUN("chek", "x.yaml"), SL_CTL_USAGE);
    assert_int_equal(RUN("--socket"), SL_CTL_USAGE);
    assert_int_equal(RUN("check"), SL_CTL_USAGE);
    assert_int_equal(RUN("check", "a", "b"), SL_CTL_USAGE);
    assert_int_equal(RUN("check", "--strict", "a"), SL_CTL_USAGE);
    assert_int_equal(RUN("status", "now"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny", "example.com"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny", "192.0.2.7/24"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny", "192.0.2.0/33"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny", "192.0.2.7", "--for"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny", "192.0.2.7", "--for", "soon"), SL_CTL_USAGE);
    assert_int_equal(RUN("deny", "192.0.2.7", "--for", "0s"), SL_CTL_USAGE);
    assert_int_equal(RUN("forget"), SL_CTL_USAGE);
    assert_int_equal(RUN("top", "--interval", "1"), SL_CTL_USAGE);
    assert_int_equal(RUN("top", "--interval", "1ms"), SL_CTL_USAGE);
    assert_int_equal(RUN("help", "nothing"), SL_CTL_USAGE);
    assert_int_equal(RUN("version", "x"), SL_CTL_USAGE);
}

static void no_daemon_exits_1(void **state)
{
    (void)state;
    assert_int_equal(RUN("--socket", "/nonexistent/a.sock", "status"), SL_CTL_FAILED);
    assert_int_equal(RUN("--socket", "/nonexistent/a.sock", "apply"), SL_CTL_FAILED);
    assert_int_equal(RUN("--socket", "/nonexistent/a.sock", "deny", "192.0.2.0/24", "--for", "1m"),
                     SL_CTL_FAILED);
    assert_int_equal(RUN("--socket", "/nonexistent/a.sock", "penalties", "--json"), SL_CTL_FAILED);
    assert_int_equal(RUN("--socket", "/nonexistent/a.sock", "top", "--once"), SL_CTL_FAILED);
    assert_int_equal(RUN("--socket", "/nonexistent/a.sock", "metrics"), SL_CTL_FAILED);
}

static void a_policy_that_is_not_there_is_refused(void **state)
{
    (void)state;
    assert_int_equal(RUN("check", "/nonexistent/policy.yaml"), SL_CTL_FAILED);
    assert_int_equal(RUN("--json", "check", "/nonexistent/policy.yaml"), SL_CTL_FAILED);
}

static void every_verb_has_help(void **state)
{
    (void)state;
    static const char *const verbs[] = {"check",    "apply",   "status",  "top",    "deny",      "confirm",
                                        "rollback", "upgrade", "allow",   "forget", "penalties", "metrics",
                                        "detach",   "schema",  "version", "help"};
    for (size_t i = 0; i < SL_ARRAY_LEN(verbs); i++) {
        const struct sl_ctl_verb *v = sl_ctl_verb_find(verbs[i]);
        assert_non_null(v);
        assert_true(v->brief && *v->brief);
        assert_int_equal(RUN("help", (char *)verbs[i]), SL_CTL_OK);
        assert_int_equal(RUN((char *)verbs[i], "--help"), SL_CTL_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_options_stand_anywhere),
        cmocka_unit_test(the_socket_comes_from_option_environment_default),
        cmocka_unit_test(wrong_calls_exit_2),
        cmocka_unit_test(no_daemon_exits_1),
        cmocka_unit_test(a_policy_that_is_not_there_is_refused),
        cmocka_unit_test(every_verb_has_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
