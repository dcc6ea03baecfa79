/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets over reloads: new ones beside old ones, all or none, and nobody else's harmed. */
#include "net/socket.h"
#include "supervisor_test.h"

#include <fcntl.h>

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t n = sizeof(v);
    assert_int_equal(getsockopt(fd, level, name, &v, &n), 0);
    return v;
}

/* Puts a policy with these listeners in force, as a reload does; what sl_sockets_prepare said. */
static int change(struct fixture *f, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct sl_snapshot *snap = snapshot_of(text);
    int r = sl_sockets_prepare(&f->s, snap, &f->diag);
    if (r < 0) {
        sl_sockets_rollback(&f->s);
        sl_snapshot_unref(snap);
        return r;
    }
    sl_snapshot_unref(f->s.snapshot);
    f->s.snapshot = snap;
    sl_sockets_commit(&f->s);
    return 0;
}

static int admin_in(struct fixture *f)
{
    struct sockaddr_un *un = &f->s.admin_default.un;
    un->sun_family = AF_UNIX;
    int n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/admin.sock", f->dir);
    f->s.admin_default.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
    return n;
}

static int sockets_of(struct fixture *f, int index, int *fds)
{
    uint8_t more[SL_IPC_MAX_FDS] = {0};
    return sl_sockets_for(&f->s, &f->children[index + 1], fds, more, SL_IPC_MAX_FDS);
}

static int port_of(int fd)
{
    struct sl_sockaddr a = {.len = sizeof(a.in6)};
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    return sl_sockaddr_port(&a);
}

static int connected_to(unsigned port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SL_CLOSE int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : SL_TAKE_FD(fd);
}

static void one_each_worker_in_the_order_of_the_policy(void **state)
{
    struct fixture *f = *state;
    int a[SL_IPC_MAX_FDS], b[SL_IPC_MAX_FDS];
    unsigned p1 = free_port(), p2 = free_port();
    (void)admin_in(f);
    assert_int_equal(
        change(f, "listeners: {one: {bind: ['127.0.0.1:%u', '[::1]:%u']}, two: {bind: ['127.0.0.1:%u']}}", p1,
               p1, p2),
        0);
    assert_int_equal(sockets_of(f, 0, a), 3);
    assert_int_equal(sockets_of(f, 1, b), 3);
    const unsigned ports[] = {p1, p1, p2};
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(a[i], b[i]);
        assert_int_equal(port_of(a[i]), ports[i]);
        assert_int_equal(port_of(b[i]), ports[i]);
        assert_int_equal(option(a[i], SOL_SOCKET, SO_REUSEPORT), 1);
        assert_int_equal(option(a[i], SOL_SOCKET, SO_ACCEPTCONN), 1);
        assert_true(fcntl(a[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(a[i], F_GETFD) & FD_CLOEXEC);
    }
    assert_int_equal(option(a[1], IPPROTO_IPV6, IPV6_V6ONLY), 1);
}

static void the_admin_socket_is_for_its_group_at_most(void **state)
{
    struct fixture *f = *state;
    int fds[SL_IPC_MAX_FDS];
    struct stat st;
    (void)admin_in(f);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", free_port()), 0);
    assert_int_equal(sockets_of(f, -1, fds), 1);
    assert_int_equal(stat(f->s.admin_default.un.sun_path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0660);
    sl_sockets_close(&f->s);
    assert_int_equal(stat(f->s.admin_default.un.sun_path, &st), -1);
}

static void what_stays_in_the_policy_keeps_its_socket(void **state)
{
    struct fixture *f = *state;
    int before[SL_IPC_MAX_FDS], after[SL_IPC_MAX_FDS];
    unsigned kept = free_port(), gone = free_port(), fresh = free_port();
    (void)admin_in(f);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u', '127.0.0.1:%u']}}", gone, kept), 0);
    assert_int_equal(sockets_of(f, 0, before), 2);
    assert_int_equal(change(f, "listeners: {b: {bind: ['127.0.0.1:%u', '127.0.0.1:%u']}}", kept, fresh), 0);
    assert_int_equal(sockets_of(f, 0, after), 2);
    assert_int_equal(after[0], before[1]);
    assert_int_equal(f->s.n_bound, 2);
    assert_int_equal(connected_to(gone), -ECONNREFUSED); /* nobody listens where nobody should */
}

static void one_that_cannot_be_had_changes_nothing(void **state)
{
    struct fixture *f = *state;
    int before[SL_IPC_MAX_FDS], after[SL_IPC_MAX_FDS];
    unsigned kept = free_port(), fresh = free_port();
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    SL_CLOSE int other = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(other, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(other, 1), 0);
    unsigned taken = (unsigned)port_of(other);
    (void)admin_in(f);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", kept), 0);
    assert_int_equal(sockets_of(f, 0, before), 1);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u', '127.0.0.1:%u']}}", fresh, taken),
                     -EADDRINUSE);
    assert_int_equal(f->s.n_bound, 1);
    assert_int_equal(sockets_of(f, 0, after), 1);
    assert_int_equal(after[0], before[0]);
    assert_non_null(strstr(told(f), "is another server, or another sluiced, running there?"));
}

/* SO_REUSEPORT alone would let both listen. */
static void another_servers_reuseport_is_no_invitation(void **state)
{
    struct fixture *f = *state;
    const int one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SL_CLOSE int other = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(other, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(other, 1), 0);
    (void)admin_in(f);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%d']}}", port_of(other)), -EADDRINUSE);
    assert_int_equal(f->s.n_bound, 0);
}

static void from_one_address_to_all_and_back(void **state)
{
    struct fixture *f = *state;
    unsigned p = free_port();
    (void)admin_in(f);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", p), 0);
    assert_int_equal(change(f, "listeners: {a: {bind: ['0.0.0.0:%u']}}", p), 0);
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", p), 0);
    assert_int_equal(f->s.n_bound, 1);
}

static void who_has_connected_is_called_before_a_socket_is_closed(void **state)
{
    struct fixture *f = *state;
    int before[SL_IPC_MAX_FDS], after[SL_IPC_MAX_FDS];
    unsigned gone = free_port(), kept = free_port();
    (void)admin_in(f);
    f->s.loop = ev_loop_new(EVFLAG_AUTO);
    f->s.last_call.repeat = 1;
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", gone), 0);
    assert_int_equal(sockets_of(f, 0, before), 1);
    for (size_t i = 0; i < f->s.bound[0].n; i++)
        sl_socket_listener(f->s.bound[0].fds[i], true);
    SL_CLOSE int silent = connected_to(gone);
    assert_true(silent >= 0);
    assert_int_equal(change(f, "listeners: {b: {bind: ['127.0.0.1:%u']}}", kept), 0);
    assert_true(ev_is_active(&f->s.last_call));
    assert_int_equal(f->s.n_bound, 2);
    assert_int_equal(change(f, "listeners: {b: {bind: ['127.0.0.1:%u', '192.0.2.1:1']}}", kept),
                     -EADDRNOTAVAIL);
    assert_int_equal(f->s.n_bound, 2); /* one that is refused takes nothing away */
    assert_int_equal(change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", gone), 0);
    assert_int_equal(sockets_of(f, 0, after), 1);
    assert_int_equal(after[0], before[0]);
    assert_int_equal(f->s.n_bound, 2); /* who goes while somebody is waited for stays as long */
    sl_sockets_close_gone(&f->s);
    assert_int_equal(f->s.n_bound, 1);
    assert_int_equal(connected_to(kept), -ECONNREFUSED);
    ev_timer_stop(f->s.loop, &f->s.last_call);
    ev_loop_destroy(f->s.loop);
}

/* ---- what stands at the admin socket's path */

static int with_admin(struct fixture *f)
{
    (void)admin_in(f);
    return change(f, "listeners: {a: {bind: ['127.0.0.1:%u']}}", free_port());
}

static int stand_there(struct fixture *f, bool listening)
{
    (void)admin_in(f);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &f->s.admin_default.sa, f->s.admin_default.len), 0);
    if (listening)
        assert_int_equal(listen(fd, 0), 0);
    return fd;
}

static void a_dead_daemons_socket_is_replaced(void **state)
{
    struct fixture *f = *state;
    (void)close(stand_there(f, true));
    assert_int_equal(with_admin(f), 0);
}

static void a_living_daemons_socket_is_not(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    SL_CLOSE int other = stand_there(f, true);
    assert_int_equal(with_admin(f), -EADDRINUSE);
    sl_sockets_close(&f->s);
    assert_int_equal(stat(f->s.admin_default.un.sun_path, &st), 0);
}

/* connect() would wait for room in its queue for ever. */
static void a_living_daemon_that_is_busy_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    int waiting[8];
    SL_CLOSE int other = stand_there(f, true);
    for (size_t i = 0; i < SL_ARRAY_LEN(waiting); i++) {
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], &f->s.admin_default.sa, f->s.admin_default.len);
    }
    assert_int_equal(with_admin(f), -EADDRINUSE);
    for (size_t i = 0; i < SL_ARRAY_LEN(waiting); i++)
        (void)close(waiting[i]);
}

static void a_file_is_not_a_socket_and_stays(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    (void)admin_in(f);
    SL_CLOSE int file = open(f->s.admin_default.un.sun_path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(file, "mine", 4), 4);
    assert_int_equal(with_admin(f), -EEXIST);
    assert_int_equal(stat(f->s.admin_default.un.sun_path, &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_non_null(strstr(told(f), "no socket"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(one_each_worker_in_the_order_of_the_policy),
        with_fixture(the_admin_socket_is_for_its_group_at_most),
        with_fixture(what_stays_in_the_policy_keeps_its_socket),
        with_fixture(one_that_cannot_be_had_changes_nothing),
        with_fixture(another_servers_reuseport_is_no_invitation),
        with_fixture(from_one_address_to_all_and_back),
        with_fixture(who_has_connected_is_called_before_a_socket_is_closed),
        with_fixture(a_dead_daemons_socket_is_replaced),
        with_fixture(a_living_daemons_socket_is_not),
        with_fixture(a_living_daemon_that_is_busy_is_not_waited_for),
        with_fixture(a_file_is_not_a_socket_and_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
