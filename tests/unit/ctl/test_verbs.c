/* SPDX-License-Identifier: Apache-2.0 */
/* What each verb asks of the daemon, byte for byte, and the exit code that its answer makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/ctl_priv.h"
#include "server.h"

/* Runs the verb against a daemon that answers with body; the request is in *s after it. */
static int _run(struct server *s, const char *status, const char *body, char *const *words)
{
    static char answer[65536];
    char *argv[12] = {(char *)"sluicectl", (char *)"--socket"};
    int argc = 3;
    (void)snprintf(answer, sizeof(answer), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
                   strlen(body), body);
    _server_start(s, answer);
    argv[2] = s->path;
    while (*words && argc < 11)
        argv[argc++] = *words++;
    argv[argc] = NULL;
    int r = sl_ctl_run(argc, argv);
    _server_stop(s);
    return r;
}
#define RUN(s, status, body, ...) _run(s, status, body, (char *const[]){__VA_ARGS__, NULL})

static json_t *_body(const struct server *s)
{
    const char *at = strstr(s->request, "\r\n\r\n");
    assert_non_null(at);
    json_t *j = json_loads(at + 4, 0, NULL);
    assert_non_null(j);
    return j;
}

static void _asked(const struct server *s, const char *line)
{
    assert_memory_equal(s->request, line, strlen(line));
}

static void deny_sends_a_canonical_prefix_and_a_time(void **state)
{
    (void)state;
    struct server s;
    assert_int_equal(RUN(&s, "200 OK", "{\"ok\":true}", "deny", "2001:DB8:0::/48", "--for", "10m"),
                     SL_CTL_OK);
    _asked(&s, "POST /v1/deny HTTP/1.1\r\n");
    json_t *j = _body(&s);
    assert_string_equal(sl_ctl_str(j, "cidr"), "2001:db8::/48");
    assert_int_equal((int)sl_ctl_num(j, "for_ms"), 600000);
    json_decref(j);
}

static void allow_without_a_time_is_for_ever(void **state)
{
    (void)state;
    struct server s;
    assert_int_equal(RUN(&s, "200 OK", "{\"ok\":true}", "allow", "192.0.2.7"), SL_CTL_OK);
    _asked(&s, "POST /v1/allow HTTP/1.1\r\n");
    json_t *j = _body(&s);
    assert_string_equal(sl_ctl_str(j, "cidr"), "192.0.2.7/32");
    assert_int_equal((int)sl_ctl_num(j, "for_ms"), 0);
    json_decref(j);
}

static void forget_asks_for_it(void **state)
{
    (void)state;
    struct server s;
    assert_int_equal(RUN(&s, "200 OK", "{\"ok\":true,\"removed\":2}", "forget", "192.0.2.0/24"), SL_CTL_OK);
    _asked(&s, "POST /v1/forget HTTP/1.1\r\n");
}

static void what_the_daemon_refuses_exits_1(void **state)
{
    (void)state;
    struct server s;
    static const char bad[] =
        "{\"ok\":false,\"version\":3,\"diagnostics\":\"p.yaml:3:1: error: /routes: wrong\\n\"}";
    assert_int_equal(RUN(&s, "200 OK", bad, "apply"), SL_CTL_FAILED);
    _asked(&s, "POST /v1/apply HTTP/1.1\r\n");
    assert_int_equal(RUN(&s, "422 No", bad, "apply", "--json"), SL_CTL_FAILED);
    assert_int_equal(RUN(&s, "403 Forbidden", "{\"detail\":\"not you\"}", "deny", "192.0.2.1"),
                     SL_CTL_FAILED);
    assert_int_equal(RUN(&s, "200 OK", "{\"ok\":true,\"version\":4}", "apply"), SL_CTL_OK);
    assert_int_equal(RUN(&s, "200 OK", "{}", "apply"), SL_CTL_FAILED); /* only "ok": true is a yes */
    assert_int_equal(RUN(&s, "500 Oops", "", "metrics"), SL_CTL_FAILED);
}

static void a_trial_is_asked_for_in_milliseconds(void **state)
{
    (void)state;
    struct server s;
    static const char yes[] = "{\"ok\":true,\"version\":4,\"trial\":true}",
                      no[] = "{\"ok\":false,\"version\":4,\"diagnostics\":\"nothing\"}";
    assert_int_equal(RUN(&s, "200 OK", yes, "apply", "--confirm", "30s"), SL_CTL_OK);
    json_t *j = _body(&s);
    assert_int_equal((int)sl_ctl_num(j, "confirm_ms"), 30000);
    json_decref(j);
    assert_int_equal(RUN(&s, "200 OK", yes, "confirm"), SL_CTL_OK);
    _asked(&s, "POST /v1/confirm HTTP/1.1\r\n");
    assert_int_equal(RUN(&s, "200 OK", no, "confirm"), SL_CTL_FAILED);
    assert_int_equal(RUN(&s, "200 OK", yes, "rollback"), SL_CTL_OK);
    _asked(&s, "POST /v1/rollback HTTP/1.1\r\n");
    assert_int_equal(RUN(&s, "200 OK", no, "rollback", "--json"), SL_CTL_FAILED);
}

static void an_upgrade_is_asked_for_and_may_be_refused(void **state)
{
    (void)state;
    struct server s;
    assert_int_equal(RUN(&s, "200 OK", "{\"ok\":true,\"pid\":7}", "upgrade"), SL_CTL_OK);
    _asked(&s, "POST /v1/upgrade HTTP/1.1\r\n");
    assert_int_equal(RUN(&s, "200 OK", "{\"ok\":false,\"diagnostics\":\"it is no program\"}", "upgrade"),
                     SL_CTL_FAILED);
}

static void any_json_is_shown_without_harm(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{}",
        "{\"trial\":{\"waits\":true,\"former\":\"x\",\"left_ms\":[]}}",
        "{\"trial\":9}",
        "{\"kernel\":{\"features\":[7,{},{\"name\":5,\"without\":\"\\u001b\"}]}}",
        "{\"workers\":7,\"kernel\":[],\"supervisor\":\"x\",\"version\":\"1\",\"hash\":5}",
        "{\"workers\":[1,null,{\"pid\":\"x\"}],\"kernel\":{\"interfaces\":[{},3,{\"interface\":\"\\u001b["
        "2J\"}]}}",
        "{\"penalties\":[{},null,{\"source\":\"\\u001b]0;owned\\u0007\",\"left_ms\":-1e300,\"level\":1e300}]"
        "}",
        "{\"penalties\":{},\"jwks\":{},\"cluster\":{\"penalties\":[]}}",
        "{\"jwks\":[0,null,{\"provider\":[],\"url\":\"\\u001b[2J\",\"age_seconds\":1e300,\"keys\":\"x\"}]}",
        "{\"denies\":[null,{\"source\":\"\\u001b[2J\",\"left_ms\":\"x\",\"from\":7}]}",
        "{\"cluster\":{\"redis\":7,\"penalties\":{\"host\":\"\\u001b\",\"refused\":{\"a\":\"b\"}}}}",
    };
    struct server s;
    for (size_t i = 0; i < SL_ARRAY_LEN(answers); i++) {
        assert_int_equal(RUN(&s, "200 OK", answers[i], "status"), SL_CTL_OK);
        assert_int_equal(RUN(&s, "200 OK", answers[i], "penalties"), SL_CTL_OK);
        assert_int_equal(RUN(&s, "200 OK", answers[i], "penalties", "--json"), SL_CTL_OK);
    }
    _asked(&s, "GET /v1/penalties HTTP/1.1\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deny_sends_a_canonical_prefix_and_a_time),
        cmocka_unit_test(allow_without_a_time_is_for_ever),
        cmocka_unit_test(forget_asks_for_it),
        cmocka_unit_test(what_the_daemon_refuses_exits_1),
        cmocka_unit_test(a_trial_is_asked_for_in_milliseconds),
        cmocka_unit_test(an_upgrade_is_asked_for_and_may_be_refused),
        cmocka_unit_test(any_json_is_shown_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
