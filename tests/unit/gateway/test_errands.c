/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's errands, with the test as its controller: asked once, bounded, and answered whatever becomes of
 * the controller. */
#include "worker_test.h"

#include "harness/ca.h"
#include "net/errand.h"

#define OPAQUE                                                                                            \
    "  t: { paths: [/t], auth: [opaque], respond: { status: 200, body: hi } }\n"                          \
    "auth: { opaque: { type: introspection, uri: \"https://as.test/\", client_id: gw, client_secret: s, " \
    "timeout: 60s, tls: { ca: \"" TEST_CA "\" } } }\n"

static char buf[SL_ERRAND_ASK_MAX];

/* A new pair, as the supervisor hands it over; the controller's end. */
static int join(struct world *w)
{
    int s[2];
    union sl_ipc m = {.errands = {.h = {.type = SL_IPC_ERRANDS}}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
    assert_int_equal(sl_ipc_send(w->ipc, &m, &s[1], 1), 0);
    close(s[1]);
    return s[0];
}

static int begin(struct world *w)
{
    static char text[16384];
    const int fd = join(w); /* before the policy: what is asked from then on finds it */
    (void)snprintf(text, sizeof(text), "%s", policy(w, OPAQUE));
    assert_int_equal(apply(w, text), 0);
    return fd;
}

static int ask(struct world *w, const char *token)
{
    char text[128];
    const int c = dial(w);
    (void)snprintf(text, sizeof(text), "GET /t HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n",
                   token);
    say(c, text);
    return c;
}

/* The next question; its token has to be that one. */
static uint64_t expect(int controller, const char *token)
{
    struct sl_errand_ask q;
    struct sl_slice payload;
    wait_for(controller, POLLIN);
    assert_int_equal(sl_errand_recv_ask(controller, &q, buf, &payload), 1);
    assert_int_equal(q.kind, SL_ERRAND_INTROSPECT);
    assert_int_not_equal(q.source, 0);
    if (token)
        assert_true(sl_slice_eq(payload, sl_slice_str(token)));
    return q.id;
}

static void answer(int controller, uint64_t id, enum sl_errand_status status, const char *text)
{
    struct sl_errand_answer a = {.id = id, .status = (uint32_t)status};
    assert_int_equal(sl_errand_send_answer(controller, &a, sl_slice_str(text)), 0);
}

static void expect_closed(int controller)
{
    struct sl_errand_ask q;
    struct sl_slice payload;
    wait_for(controller, POLLIN);
    assert_int_equal(sl_errand_recv_ask(controller, &q, buf, &payload), -EPIPE);
    close(controller);
}

static void refused(int c, const char *why)
{
    const char *r = hear(c, "}\n");
    assert_has(r, "HTTP/1.1 503 ");
    assert_has(r, why);
    close(c);
}

#define ACTIVE "{\"active\": true, \"sub\": \"alice\"}"

static void test_one_question_for_all_who_want_to_know(void **state)
{
    struct world *w = *state;
    const int controller = begin(w);
    const int a = ask(w, "t"), other = ask(w, "u");
    uint64_t id = expect(controller, NULL), second = expect(controller, NULL);
    const int b = ask(w, "t"), gone = ask(w, "t");
    close(gone);
    answer(controller, id, SL_ERRAND_OK, ACTIVE);
    answer(controller, second, SL_ERRAND_OK, ACTIVE);
    const int all[] = {a, b, other};
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        assert_has(hear(all[i], "hi"), "HTTP/1.1 200 ");
        close(all[i]);
    }
    const int c = ask(w, "t"); /* known by now */
    assert_has(hear(c, "hi"), "HTTP/1.1 200 ");
    close(c);
    struct sl_errand_ask q;
    struct sl_slice payload;
    assert_int_equal(sl_errand_recv_ask(controller, &q, buf, &payload), 0);
    close(controller);
}

static void test_places_at_one_server_are_bounded(void **state)
{
    struct world *w = *state;
    const int controller = begin(w);
    int c[SL_ERRANDS_OF_SERVER];
    char token[16];
    uint64_t first = 0;
    for (unsigned i = 0; i < SL_ERRANDS_OF_SERVER; i++) {
        (void)snprintf(token, sizeof(token), "t%u", i);
        c[i] = ask(w, token);
        const uint64_t id = expect(controller, token);
        first = first ? first : id;
    }
    refused(ask(w, "one-more"), "auth_overloaded");
    answer(controller, first, SL_ERRAND_FULL, ""); /* so has the controller */
    refused(c[0], "auth_overloaded");
    const int next = ask(w, "next"); /* its place is free again */
    answer(controller, expect(controller, "next"), SL_ERRAND_OK, ACTIVE);
    assert_has(hear(next, "hi"), "HTTP/1.1 200 ");
    close(next);
    close(controller);
    for (unsigned i = 1; i < SL_ERRANDS_OF_SERVER; i++)
        refused(c[i], "controller_gone");
}

static void test_no_controller_and_a_new_one(void **state)
{
    struct world *w = *state;
    int controller = begin(w);
    int c = ask(w, "t");
    (void)expect(controller, "t");
    close(controller);
    refused(c, "controller_gone");
    refused(ask(w, "t"), "controller_gone");
    controller = join(w);
    do { /* the worker may not have read of it yet */
        c = ask(w, "t");
        struct pollfd p[] = {{.fd = c, .events = POLLIN}, {.fd = controller, .events = POLLIN}};
        assert_true(poll(p, 2, LIMIT_MS) > 0);
        if (p[1].revents)
            break;
        refused(c, "controller_gone");
    } while (true);
    const int former = controller;
    controller = join(w); /* in its place */
    refused(c, "controller_gone");
    (void)expect(former, "t");
    expect_closed(former);
    c = ask(w, "t");
    answer(controller, expect(controller, "t"), SL_ERRAND_OK, ACTIVE);
    assert_has(hear(c, "hi"), "HTTP/1.1 200 ");
    close(c);
    close(controller);
}

static void test_answers_that_nobody_waits_for_and_such_as_are_none(void **state)
{
    struct world *w = *state;
    const int controller = begin(w);
    int c = ask(w, "t");
    const uint64_t id = expect(controller, "t");
    answer(controller, id + 1000, SL_ERRAND_OK, ACTIVE);
    answer(controller, id, SL_ERRAND_FAILED, "");
    refused(c, "auth_unavailable");
    answer(controller, id, SL_ERRAND_OK, ACTIVE); /* once more: it is over */
    c = ask(w, "u");
    answer(controller, expect(controller, "u"), SL_ERRAND_OK, "{\"active\": \"true\"}");
    refused(c, "auth_unavailable");
    c = ask(w, "v");
    (void)expect(controller, "v");
    assert_int_equal(send(controller, "garbage", 7, MSG_NOSIGNAL), 7);
    refused(c, "controller_gone");
    expect_closed(controller);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SL_T(test_one_question_for_all_who_want_to_know),
        SL_T(test_places_at_one_server_are_bounded),
        SL_T(test_no_controller_and_a_new_one),
        SL_T(test_answers_that_nobody_waits_for_and_such_as_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
