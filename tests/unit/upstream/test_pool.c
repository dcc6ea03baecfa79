/* SPDX-License-Identifier: Apache-2.0 */
/* Pools over real sockets on loopback: reuse, caps, peers that close, targets that refuse, weights,
 * max_pending. */
#include "upstream/upstream.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct sl_loop loop;
    struct sl_bufpool bufs;
    struct sl_upstreams all;
    struct sl_worker_counters *counters;
    struct sl_shared_health *health;
    int listeners[3];
    struct sl_target targets[3];
    char text[3][32];
    struct sl_upstream cfg;
    unsigned connected, readable;
    int error;
};

static void on_connected(struct sl_upconn *c, int error)
{
    struct world *w = c->owner;
    w->connected++;
    w->error = error;
    if (error)
        sl_upconn_release(c, false);
    sl_loop_stop(&w->loop);
}
static void on_readable(struct sl_upconn *c)
{
    struct world *w = c->owner;
    w->readable++;
    sl_loop_stop(&w->loop);
}
static const struct sl_upconn_ops ops = {
    .connected = on_connected, .readable = on_readable, .writable = on_readable};

static int listen_here(struct sl_sockaddr *out)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *out = (struct sl_sockaddr){.len = sizeof(out->in),
                                .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, &out->sa, out->len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, &out->sa, &out->len), 0);
    return fd;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_int_equal(sl_loop_init(&w->loop), 0);
    w->counters = calloc(1, sizeof(*w->counters));
    w->health = aligned_alloc(SL_CACHE_LINE, sizeof(*w->health));
    memset(w->health, 0, sizeof(*w->health));
    sl_upstreams_init(&w->all, &w->loop, &w->bufs, w->counters, w->health);
    for (int i = 0; i < 3; i++) {
        w->listeners[i] = listen_here(&w->targets[i].address);
        snprintf(w->text[i], sizeof(w->text[i]), "target-%d", i);
        w->targets[i].text = w->text[i];
        w->targets[i].weight = 1;
    }
    w->cfg = (struct sl_upstream){
        .name = "up", .targets = w->targets, .n_targets = 1, .max_pending = 10, .slot = 1};
    w->cfg.keepalive.idle = 2;
    w->cfg.keepalive.idle_timeout = 3600 * SL_NS_PER_SEC;
    w->cfg.keepalive.requests = 100;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    sl_loop_close(&w->loop);
    sl_bufpool_close(&w->bufs);
    for (int i = 0; i < 3; i++)
        if (w->listeners[i] >= 0)
            close(w->listeners[i]);
    free(w->counters);
    free(w->health);
    free(w);
    return 0;
}

static struct sl_upconn *get(struct world *w, struct sl_group *g, int *how)
{
    struct sl_attempts a = {0};
    struct sl_upconn *c = NULL;
    *how = sl_group_connect(g, &a, 10 * SL_NS_PER_SEC, SL_REUSE_ANY, &ops, w, &c);
    if (*how == 0) {
        w->error = 0;
        sl_loop_run(&w->loop);
    }
    return *how < 0 || w->error ? NULL : c;
}

static struct sl_upstream_counters *n(struct world *w)
{
    return &w->counters->upstreams[1];
}

static void test_released_connection_is_used_again_latest_first(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_upconn *a = get(w, g, &how), *b = get(w, g, &how);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(n(w)->active, 2);
    sl_upconn_release(a, true);
    sl_upconn_release(b, true);
    assert_int_equal(n(w)->idle, 2);
    assert_int_equal(n(w)->active, 0);
    assert_ptr_equal(get(w, g, &how), b);
    assert_int_equal(how, 1);
    assert_true(b->reused);
    assert_int_equal(n(w)->connects, 2);
    assert_int_equal(n(w)->reused, 1);
    sl_upconn_release(b, false);
    sl_group_free(g);
    assert_int_equal(n(w)->idle, 0);
}

static void test_caps_on_idle_and_requests(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    w->cfg.keepalive.requests = 2;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_upconn *c[3];
    for (int i = 0; i < 3; i++)
        c[i] = get(w, g, &how);
    for (int i = 0; i < 3; i++)
        sl_upconn_release(c[i], true);
    assert_int_equal(n(w)->idle, 2);
    struct sl_upconn *again = get(w, g, &how);
    assert_int_equal(how, 1);
    sl_upconn_release(again, true); /* its second request: enough */
    assert_int_equal(n(w)->idle, 1);
    sl_group_free(g);
}

static void test_idle_connection_leaves_the_pool_when_its_peer_closes(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_upconn *c = get(w, g, &how);
    int peer = accept(w->listeners[0], NULL, NULL);
    sl_upconn_release(c, true);
    assert_int_equal(n(w)->idle, 1);
    close(peer);
    while (n(w)->idle)
        ev_run(w->loop.ev, EVRUN_ONCE);
    c = get(w, g, &how);
    assert_int_equal(how, 0); /* a new one */
    close(peer = accept(w->listeners[0], NULL, NULL));
    sl_upconn_release(c, false);
    sl_group_free(g);
}

static void test_a_peek_tells_a_dead_connection_before_its_event_comes(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_upconn *a = get(w, g, &how), *b = get(w, g, &how);
    int alive = accept(w->listeners[0], NULL, NULL), dead = accept(w->listeners[0], NULL, NULL);
    sl_upconn_release(a, true);
    sl_upconn_release(b, true); /* would be taken first */
    close(dead);
    struct pollfd p = {.fd = b->stream.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    struct sl_attempts tries = {0};
    struct sl_upconn *c = NULL;
    assert_int_equal(sl_group_connect(g, &tries, SL_NS_PER_SEC, SL_REUSE_PEEKED, &ops, w, &c), 1);
    assert_ptr_equal(c, a);
    sl_upconn_release(c, false);
    close(alive);
    sl_group_free(g);
}

static void test_bytes_nobody_asked_for_end_an_idle_connection(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_upconn *c = get(w, g, &how);
    int peer = accept(w->listeners[0], NULL, NULL);
    sl_upconn_release(c, true);
    assert_int_equal(write(peer, "HTTP/1.1 200 OK\r\n\r\n", 19), 19); /* an answer for the next client? */
    while (n(w)->idle)
        ev_run(w->loop.ev, EVRUN_ONCE);
    close(peer);
    sl_group_free(g);
}

static void test_weights_are_kept_exactly_and_spread(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    w->cfg.n_targets = 3;
    w->targets[0].weight = 5;
    w->targets[1].weight = 1;
    w->targets[2].weight = 2;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    unsigned hits[3] = {0}, run = 0, longest = 0;
    for (int i = 0; i < 80; i++) {
        struct sl_upconn *c = get(w, g, &how);
        int t = sl_upconn_target(c)[7] - '0';
        hits[t]++;
        run = t == 0 ? run + 1 : 0;
        longest = SL_MAX(longest, run);
        sl_upconn_release(c, true);
    }
    assert_int_equal(hits[0], 50);
    assert_int_equal(hits[1], 10);
    assert_int_equal(hits[2], 20);
    assert_true(longest < 5);
    sl_group_free(g);
}

static void test_refused_connect_goes_to_another_target(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    w->cfg.n_targets = 2;
    close(w->listeners[0]);
    w->listeners[0] = -1;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    for (int i = 0; i < 4; i++) {
        struct sl_attempts a = {0};
        struct sl_upconn *c = NULL;
        w->connected = 0;
        assert_int_equal(sl_group_connect(g, &a, SL_NS_PER_SEC, SL_REUSE_NONE, &ops, w, &c), 0);
        const void *pool = c->pool;
        bool dead = strcmp(sl_upconn_target(c), "target-0") == 0;
        sl_loop_run(&w->loop);
        assert_int_equal(w->connected, 1);
        if (dead) {
            assert_int_equal(w->error, -ECONNREFUSED);
            a.failed = pool;
            assert_int_equal(sl_group_connect(g, &a, SL_NS_PER_SEC, SL_REUSE_NONE, &ops, w, &c), 0);
            assert_string_equal(sl_upconn_target(c), "target-1");
            assert_int_equal(a.tries, 2);
            sl_loop_run(&w->loop);
        }
        assert_int_equal(w->error, 0);
        sl_upconn_release(c, false);
    }
    assert_true(n(w)->connect_failures >= 1);
    sl_group_free(g);
}

static void test_max_pending_is_a_bound(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    w->cfg.max_pending = 2;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_attempts a = {0};
    struct sl_upconn *c[3] = {NULL};
    assert_int_equal(sl_group_connect(g, &a, SL_NS_PER_SEC, SL_REUSE_ANY, &ops, w, &c[0]), 0);
    assert_int_equal(sl_group_connect(g, &a, SL_NS_PER_SEC, SL_REUSE_ANY, &ops, w, &c[1]), 0);
    assert_int_equal(sl_group_connect(g, &a, SL_NS_PER_SEC, SL_REUSE_ANY, &ops, w, &c[2]), SL_GROUP_FULL);
    sl_upconn_release(c[0], false); /* given up: no longer pending */
    assert_int_equal(sl_group_connect(g, &a, SL_NS_PER_SEC, SL_REUSE_ANY, &ops, w, &c[2]), 0);
    sl_upconn_release(c[1], false);
    sl_upconn_release(c[2], false);
    sl_group_free(g);
}

static void test_pools_outlive_a_reload_that_keeps_the_target(void **state)
{
    struct world *w = *state;
    struct sl_group *old, *new;
    int how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &old), 0);
    struct sl_upconn *c = get(w, old, &how);
    sl_upconn_release(c, true);
    struct sl_upstream again = w->cfg;
    assert_int_equal(sl_group_new(&w->all, &again, &new), 0);
    sl_group_free(old);
    assert_ptr_equal(get(w, new, &how), c);
    assert_int_equal(how, 1);
    sl_group_free(new); /* while it is in use */
    sl_upconn_release(c, true);
    assert_int_equal(n(w)->idle, 0); /* nobody names the target any more */
    w->loop.prepare.cb(w->loop.ev, &w->loop.prepare, EV_PREPARE);
    assert_true(sl_list_empty(&w->all.pools));
}

static void test_what_the_peer_never_got_is_told_from_what_it_got(void **state)
{
    struct world *w = *state;
    struct sl_group *g;
    int how;
    assert_int_equal(sl_group_new(&w->all, &w->cfg, &g), 0);
    struct sl_upconn *c = get(w, g, &how);
    int peer = accept(w->listeners[0], NULL, NULL);
    assert_int_equal(sl_stream_write(&c->stream, "first", 5), 5);
    char got[8];
    assert_int_equal(recv(peer, got, 5, MSG_WAITALL), 5);
    sl_upconn_release(c, true);
    c = get(w, g, &how);
    assert_int_equal(how, 1);
    assert_true(sl_upconn_unread(c));
    close(peer); /* everything read, so a FIN; what comes now meets no socket */
    struct pollfd p = {.fd = c->stream.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(sl_stream_write(&c->stream, "second", 6), 6);
    p.events = 0;
    assert_int_equal(poll(&p, 1, 5000), 1); /* the RST */
    assert_true(sl_upconn_unread(c));
    sl_upconn_release(c, false);
    c = get(w, g, &how);
    peer = accept(w->listeners[0], NULL, NULL);
    assert_int_equal(sl_stream_write(&c->stream, "third", 5), 5);
    assert_int_equal(recv(peer, got, 5, MSG_WAITALL), 5);
    assert_false(sl_upconn_unread(c));
    close(peer);
    sl_upconn_release(c, false);
    sl_group_free(g);
}

int main(void)
{
#define SL_T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SL_T(test_released_connection_is_used_again_latest_first),
        SL_T(test_caps_on_idle_and_requests),
        SL_T(test_idle_connection_leaves_the_pool_when_its_peer_closes),
        SL_T(test_a_peek_tells_a_dead_connection_before_its_event_comes),
        SL_T(test_bytes_nobody_asked_for_end_an_idle_connection),
        SL_T(test_weights_are_kept_exactly_and_spread),
        SL_T(test_refused_connect_goes_to_another_target),
        SL_T(test_max_pending_is_a_bound),
        SL_T(test_pools_outlive_a_reload_that_keeps_the_target),
        SL_T(test_what_the_peer_never_got_is_told_from_what_it_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
