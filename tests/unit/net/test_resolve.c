/* SPDX-License-Identifier: Apache-2.0 */
/* Names asked of a nameserver that the test plays itself, and of a hosts file; nothing else is ever asked. */
#include "net/resolve.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct sl_loop loop;
    struct sl_resolver *r;
    struct sl_query q;
    int server;
    ev_io io;
    unsigned asked;
    int rcode; /* that the server answers with; -1: it does not */
    bool done;
    char error[100];
    struct sl_ip v[SL_RESOLVED_MAX];
    size_t n;
};

/* One address of 192.0.2.53 for an A query, none for AAAA. */
static void on_query(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    struct fixture *f = io->data;
    unsigned char m[512];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(f->server, m, sizeof(m) - 16, 0, (struct sockaddr *)&from, &len);
    assert_true(n > 16);
    f->asked++;
    if (f->rcode < 0)
        return;
    size_t end = 12;
    while (m[end])
        end += m[end] + 1u;
    const bool is_a = m[end + 2] == 1;
    end += 5; /* what stands behind, EDNS, is left out */
    m[2] = 0x81;
    m[3] = (unsigned char)(0x80 | f->rcode);
    m[7] = is_a && !f->rcode;
    memset(m + 8, 0, 4);
    static const unsigned char answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 53};
    if (m[7]) {
        memcpy(m + end, answer, sizeof(answer));
        end += sizeof(answer);
    }
    assert_int_equal(sendto(f->server, m, end, 0, (struct sockaddr *)&from, len), end);
}

static void on_done(struct sl_query *q, const char *error, const struct sl_ip *v, size_t n)
{
    struct fixture *f = SL_CONTAINER_OF(q, struct fixture, q);
    assert_false(f->done);
    f->done = true;
    (void)snprintf(f->error, sizeof(f->error), "%s", error ? error : "");
    for (size_t i = 0; i < n; i++)
        f->v[i] = v[i];
    f->n = n;
}

static int setup(void **state)
{
    static struct fixture f;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    f = (struct fixture){.q = {.done = on_done}};
    assert_int_equal(sl_loop_init(&f.loop), 0);
    f.server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f.server, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(f.server, (struct sockaddr *)&a, &len), 0);
    ev_io_init(&f.io, on_query, f.server, EV_READ);
    f.io.data = &f;
    ev_io_start(f.loop.ev, &f.io);
    assert_int_equal(
        sl_resolver_new(&f.loop,
                        SL_S("# comment\nsearch corp.test\nnameserver 127.0.0.1 # ours\noptions ndots:5\n"),
                        SL_S("127.0.0.9 keys.test\n::9\tip6.test keys.test # two\n\nnonsense\n"),
                        ntohs(a.sin_port), &f.r),
        0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sl_resolver_free(f->r);
    ev_io_stop(f->loop.ev, &f->io);
    (void)close(f->server);
    sl_loop_close(&f->loop);
    return 0;
}

static void run(struct fixture *f, const char *name)
{
    f->done = false;
    sl_resolve(f->r, name, &f->q);
    while (!f->done)
        ev_run(f->loop.ev, EVRUN_ONCE);
}

static const char *text(const struct fixture *f, size_t i)
{
    static char out[SL_IP_STRLEN];
    return sl_ip_text(&f->v[i], out);
}

static void a_name_has_its_address(void **state)
{
    struct fixture *f = *state;
    run(f, "auth.example");
    assert_string_equal(f->error, "");
    assert_int_equal(f->n, 1);
    assert_string_equal(text(f, 0), "192.0.2.53");
    assert_int_equal(f->asked, 2); /* A and AAAA, and no search domain */
    assert_int_equal(f->q.ttl, 60);
    run(f, "single");
    assert_int_equal(f->n, 1);
    assert_int_equal(f->asked, 4);
}

static void hosts_come_first(void **state)
{
    struct fixture *f = *state;
    run(f, "Keys.test");
    assert_int_equal(f->n, 2);
    assert_string_equal(text(f, 0), "127.0.0.9");
    assert_string_equal(text(f, 1), "::9");
    assert_int_equal(f->q.ttl, UINT32_MAX);
    assert_int_equal(f->asked, 0);
}

static void localhost_needs_nobody(void **state)
{
    static const char *const names[] = {"localhost", "LOCALHOST.", "keys.localhost", "a.b.localhost."};
    struct fixture *f = *state;
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        run(f, names[i]);
        assert_int_equal(f->n, 2);
        assert_string_equal(text(f, 0), "127.0.0.1");
        assert_string_equal(text(f, 1), "::1");
    }
    assert_int_equal(f->asked, 0);
    run(f, "notlocalhost");
    assert_int_equal(f->asked, 2);
}

static void a_name_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    f->rcode = 3;
    run(f, "nobody.example");
    assert_true(f->q.absent);
    assert_int_equal(f->n, 0);
    assert_string_not_equal(f->error, "");
}

static void what_was_cancelled_is_not_told(void **state)
{
    struct fixture *f = *state;
    f->rcode = -1;
    sl_resolve(f->r, "slow.example", &f->q);
    while (f->asked < 2)
        ev_run(f->loop.ev, EVRUN_ONCE);
    sl_query_cancel(&f->q);
    sl_query_cancel(&f->q);
    f->rcode = 0;
    run(f, "auth.example");
    assert_int_equal(f->n, 1);
    sl_resolve(f->r, "slow.example", &f->q);
    sl_query_cancel(&f->q); /* and with the resolver, later */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_has_its_address, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(localhost_needs_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_cancelled_is_not_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
