/* SPDX-License-Identifier: Apache-2.0 */
/* The ladder: rungs in order, the NAT guard, trusted proxies, mixed flows, several workers over one region.
 */
#include "gateway/exchange_priv.h"
#include "net/ipc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct world {
    int ipc[2], pair[2];
    struct sl_worker_args args;
    struct sl_worker workers[2];
    struct sl_shared shared;
    struct sl_worker_counters *counters;
    struct sl_tier tier;
    struct sl_conn conn;
    struct sl_exchange ex;
    struct sl_identity acme, other;
};

static int set_up(void **state)
{
    struct world *w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);
    memset(w, 0, sizeof(*w));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->ipc), 0);
    /* a TCP pair: flows have ports */
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sl_sockaddr a = {.len = sizeof(a.in),
                            .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(l, &a.sa, a.len) | listen(l, 1) | getsockname(l, &a.sa, &a.len), 0);
    w->pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(w->pair[0], &a.sa, a.len), 0);
    w->conn.peer.len = sizeof(w->conn.peer.un);
    w->pair[1] = accept(l, &w->conn.peer.sa, &w->conn.peer.len);
    close(l);
    w->counters = calloc(1, sizeof(*w->counters));
    w->args.ipc_fd = w->ipc[0];
    w->args.counters.shared = &w->shared;
    for (int i = 0; i < 2; i++)
        w->workers[i] =
            (struct sl_worker){.args = &w->args, .counters = w->counters, .loop.now = 1000 * SL_NS_PER_SEC};
    w->tier = (struct sl_tier){.name = "partner",
                               .escalate = {.enabled = true,
                                            .rejections = 10,
                                            .within = SL_NS_PER_SEC,
                                            .penalty = 5 * SL_NS_PER_SEC,
                                            .max_penalty = 60 * SL_NS_PER_SEC}};
    w->acme = (struct sl_identity){.consumer_name = SL_S("acme")};
    w->other = (struct sl_identity){.consumer_name = SL_S("other")};
    w->conn.stream.fd = w->pair[1];
    w->ex =
        (struct sl_exchange){.w = &w->workers[0], .conn = &w->conn, .tier = &w->tier, .identity = &w->acme};
    assert_int_equal(sl_ip_parse(SL_S("198.51.100.7"), &w->ex.client_ip), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        close(w->ipc[i]);
        close(w->pair[i]);
    }
    free(w->counters);
    free(w);
    return 0;
}

/* What the supervisor was asked for: the effect, or 0. */
static uint32_t asked(struct world *w, struct sl_ipc_penalty *out)
{
    union sl_ipc m;
    int fds[1];
    size_t n = 1;
    int r = sl_ipc_recv(w->ipc[1], &m, fds, &n);
    if (r == 0)
        return 0;
    assert_int_equal(r, 1);
    assert_int_equal(m.h.type, SL_IPC_PENALTY);
    if (out)
        *out = m.penalty;
    return m.penalty.effect;
}

static void reject(struct world *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        sl_escalate_rejected(&w->ex);
}

static void later(struct world *w, uint64_t ns)
{
    w->workers[0].loop.now += ns;
    w->workers[1].loop.now += ns;
}

static void test_rungs_come_in_order(void **state)
{
    struct world *w = *state;
    struct sl_ipc_penalty p;
    reject(w, 9);
    assert_int_equal(asked(w, NULL), 0);
    assert_false(w->ex.penalised);
    reject(w, 1);
    assert_int_equal(asked(w, &p), SL_PENALTY_FLOW);
    assert_true(w->ex.penalised); /* the client sees a RST, not silence */
    assert_int_equal(p.source_port, sl_sockaddr_port(&w->conn.peer));
    assert_true(p.destination_port != 0);
    assert_int_equal(p.rejections, 10);
    assert_string_equal(p.consumer, "acme");
    assert_string_equal(p.rule, "tier:partner");
    assert_int_equal(p.duration_ns, 5 * SL_NS_PER_SEC);
    assert_int_equal(p.max_ns, 60 * SL_NS_PER_SEC);
    reject(w, 10);
    assert_int_equal(asked(w, &p), SL_PENALTY_CONNECT);
    assert_int_equal(p.source_port, 0);
    reject(w, 10);
    assert_int_equal(asked(w, NULL), SL_PENALTY_SOURCE);
    reject(w, 10);
    assert_int_equal(asked(w, NULL), SL_PENALTY_SOURCE);
    assert_int_equal(w->counters->tiers[0].penalties, 4);
}

static void test_slow_rejections_never_climb(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 200; i++) {
        reject(w, 1);
        later(w, SL_NS_PER_SEC / 5); /* 5 a second, 10 are needed */
    }
    assert_int_equal(asked(w, NULL), 0);
}

static void test_the_rung_is_forgotten_after_good_behaviour(void **state)
{
    struct world *w = *state;
    reject(w, 20);
    assert_int_equal(asked(w, NULL), SL_PENALTY_FLOW);
    assert_int_equal(asked(w, NULL), SL_PENALTY_CONNECT);
    later(w, 600 * SL_NS_PER_SEC);
    reject(w, 9);
    assert_int_equal(asked(w, NULL), 0);
    reject(w, 1);
    assert_int_equal(asked(w, NULL), SL_PENALTY_FLOW);
}

static void test_neighbours_behind_one_address_are_spared(void **state)
{
    struct world *w = *state;
    w->ex.identity = &w->other;
    sl_escalate_succeeded(&w->ex);
    w->conn.identity = 0; /* he has a connection of his own */
    w->conn.mixed = false;
    w->ex.identity = &w->acme;
    for (int i = 0; i < 5; i++) {
        reject(w, 10);
        assert_int_equal(asked(w, NULL), SL_PENALTY_FLOW);
    }
    later(w, 2 * SL_NS_PER_SEC); /* the neighbour is silent for longer than the window */
    reject(w, 11);
    assert_int_equal(asked(w, NULL), SL_PENALTY_SOURCE);
}

static void test_own_success_is_no_shield(void **state)
{
    struct world *w = *state;
    sl_escalate_succeeded(&w->ex);
    reject(w, 20);
    assert_int_equal(asked(w, NULL), SL_PENALTY_FLOW);
    assert_int_equal(asked(w, NULL), SL_PENALTY_CONNECT);
}

static void test_a_flow_that_carries_others_is_spared(void **state)
{
    struct world *w = *state;
    sl_escalate_succeeded(&w->ex);
    w->ex.identity = &w->other;
    sl_escalate_succeeded(&w->ex);
    assert_true(w->conn.mixed);
    w->ex.identity = &w->acme;
    reject(w, 100);
    assert_int_equal(asked(w, NULL), 0);
    assert_false(w->ex.penalised);
}

static void test_trusted_proxies_are_never_penalised(void **state)
{
    struct world *w = *state;
    w->ex.peer_trusted = true;
    reject(w, 1000);
    assert_int_equal(asked(w, NULL), 0);
}

static void test_off_unless_written(void **state)
{
    struct world *w = *state;
    w->tier.escalate.enabled = false;
    reject(w, 1000);
    assert_int_equal(asked(w, NULL), 0);
}

static void test_workers_count_together(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 30; i++) {
        w->ex.w = &w->workers[i % 2];
        reject(w, 1);
    }
    assert_int_equal(asked(w, NULL), SL_PENALTY_FLOW);
    assert_int_equal(asked(w, NULL), SL_PENALTY_CONNECT);
    assert_int_equal(asked(w, NULL), SL_PENALTY_SOURCE);
    assert_int_equal(asked(w, NULL), 0);
}

static void test_consumers_and_addresses_are_counted_apart(void **state)
{
    struct world *w = *state;
    reject(w, 9);
    w->ex.identity = &w->other;
    reject(w, 9);
    assert_int_equal(sl_ip_parse(SL_S("198.51.100.8"), &w->ex.client_ip), 0);
    reject(w, 9);
    w->ex.identity = NULL;
    reject(w, 9);
    assert_int_equal(asked(w, NULL), 0);
    reject(w, 1);
    struct sl_ipc_penalty p;
    assert_int_equal(asked(w, &p), SL_PENALTY_FLOW);
    assert_string_equal(p.consumer, "anonymous");
}

static void test_many_sources_do_not_grow_memory_and_old_ones_make_room(void **state)
{
    struct world *w = *state;
    w->tier.escalate.rejections = 3;
    for (unsigned i = 0; i < 100000; i++) {
        uint32_t ip = htonl(0x0a000000u + i);
        memcpy(w->ex.client_ip.addr.bytes, &ip, 4);
        w->workers[0].loop.now += 1000;
        reject(w, 1);
    }
    assert_int_equal(asked(w, NULL), 0);
    reject(w, 2);
    assert_int_equal(asked(w, NULL), SL_PENALTY_FLOW);
}

int main(void)
{
#define SL_T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SL_T(test_rungs_come_in_order),
        SL_T(test_slow_rejections_never_climb),
        SL_T(test_the_rung_is_forgotten_after_good_behaviour),
        SL_T(test_neighbours_behind_one_address_are_spared),
        SL_T(test_own_success_is_no_shield),
        SL_T(test_a_flow_that_carries_others_is_spared),
        SL_T(test_trusted_proxies_are_never_penalised),
        SL_T(test_off_unless_written),
        SL_T(test_workers_count_together),
        SL_T(test_consumers_and_addresses_are_counted_apart),
        SL_T(test_many_sources_do_not_grow_memory_and_old_ones_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
