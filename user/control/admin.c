/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin API's sockets and HTTP: a small server on the codec that clients meet too. Bounded: so many
 * clients, one request each at a time, a body of at most SL_ADMIN_BODY, and a deadline on everything.
 */
#include "control/control_priv.h"

#include <errno.h>
#include <stdio.h>

static const struct sl_h1_limits _sl_limits = {.head = 16384, .header_count = 64, .target = 1024};

static void _sl_drop(struct sl_admin_client *a)
{
    struct sl_control *c = a->control;
    ev_io_stop(c->loop, &a->in);
    ev_io_stop(c->loop, &a->out);
    ev_timer_stop(c->loop, &a->deadline);
    sl_list_remove(&a->node);
    c->n_clients--;
    sl_buf_free(&a->rx);
    sl_buf_free(&a->tx);
    sl_arena_free(&a->arena);
    if (a->shaken)
        (void)SSL_shutdown(a->ssl); /* one way: the peer need not answer */
    SSL_free(a->ssl);
    (void)close(a->fd);
    free(a);
}

struct sl_admin_client *sl_admin_waiting(struct sl_control *c, uint64_t id)
{
    sl_list_for_each (it, &c->clients) {
        struct sl_admin_client *a = SL_LIST_ENTRY(it, struct sl_admin_client, node);
        if (id && a->asked == id)
            return a;
    }
    return NULL;
}

/* ---- answering */

static void _sl_deadline(struct sl_admin_client *a, double seconds)
{
    a->deadline.repeat = seconds;
    ev_timer_again(a->control->loop, &a->deadline);
}

void sl_admin_reply(struct sl_admin_client *a, unsigned status, const char *type, struct sl_slice body)
{
    bool head_only = a->has_head && a->req.method == SL_METHOD_HEAD;
    int r = sl_buf_printf(
        &a->tx,
        "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n%s\r\n",
        status, sl_status_phrase(status), type, body.n, a->close ? "Connection: close\r\n" : "");
    if (r == 0 && !head_only)
        r = sl_buf_append_slice(&a->tx, body);
    if (r < 0)
        a->close = true;
    if (a->has_head)
        sl_buf_consume(&a->rx, a->head_len + a->body_len);
    a->has_head = false;
    a->scanned = 0;
    a->asked = 0;
    _sl_deadline(a, SL_ADMIN_TIMEOUT);
    ev_io_stop(a->control->loop, &a->in);
    ev_io_start(a->control->loop, &a->out);
}

void sl_admin_json(struct sl_admin_client *a, unsigned status, json_t *j)
{
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(j);
    if (text)
        sl_admin_reply(a, status, "application/json", sl_slice_str(text));
    else
        sl_admin_reply(a, 503, "text/plain", SL_S("out of memory\n"));
    free(text);
}

void sl_admin_error(struct sl_admin_client *a, unsigned status, const char *text)
{
    sl_admin_json(a, status, json_pack("{s:b, s:s}", "ok", 0, "error", text));
}

/* ---- reading */

static void _sl_refuse(struct sl_admin_client *a, unsigned status, const char *text)
{
    a->close = true;
    sl_admin_error(a, status, text);
}

/* A head that is whole: its body's length must be known and small. */
static bool _sl_take_head(struct sl_admin_client *a)
{
    ssize_t n = sl_h1_head_end(sl_buf_slice(&a->rx), &a->scanned, &_sl_limits);
    if (n == 0)
        return false;
    sl_arena_reset(&a->arena);
    enum sl_h1_error e = n < 0 ? (enum sl_h1_error) - n
                               : sl_h1_parse_request(&a->arena, sl_slice(sl_buf_data(&a->rx), (size_t)n),
                                                     &_sl_limits, &a->req);
    if (e != SL_H1_OK) {
        _sl_refuse(a, sl_h1_error_status(e), sl_h1_error_text(e));
        return false;
    }
    a->head_len = (size_t)n;
    a->body_len = 0;
    if (a->req.framing == SL_FRAMING_CHUNKED ||
        (a->req.framing == SL_FRAMING_LENGTH && a->req.content_length > SL_ADMIN_BODY)) {
        _sl_refuse(a, 413, "a body is at most 64 KiB, with Content-Length");
        return false;
    }
    if (a->req.framing == SL_FRAMING_LENGTH)
        a->body_len = (size_t)a->req.content_length;
    a->close |= !a->req.keep_alive;
    a->has_head = true;
    return true;
}

static void _sl_process(struct sl_admin_client *a)
{
    if (!a->asked && !sl_buf_len(&a->tx) && (a->has_head || _sl_take_head(a)) &&
        sl_buf_len(&a->rx) >= a->head_len + a->body_len)
        sl_api_serve(a);
}

static void _sl_on_in(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct sl_admin_client *a = io->data;
    char chunk[16384];
    if (a->asked) { /* what comes behind waits its turn, in the kernel */
        ev_io_stop(loop, io);
        return;
    }
    const int shaken = sl_admin_tls_shake(a);
    if (shaken < 0)
        _sl_drop(a);
    if (shaken <= 0)
        return;
    ssize_t n = sl_admin_read(a, chunk, sizeof(chunk));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* heads are moved by an append, but one that is parsed is complete: only its body is still to come */
    if (n <= 0 || sl_buf_len(&a->rx) + (size_t)n > SL_ADMIN_BODY + 2 * _sl_limits.head) {
        _sl_drop(a);
        return;
    }
    bool had_head = a->has_head;
    if (sl_buf_append(&a->rx, chunk, (size_t)n) < 0) {
        _sl_drop(a);
        return;
    }
    if (had_head) { /* its slices point into what may have moved */
        a->has_head = false;
        a->scanned = 0;
    }
    if (sl_admin_has_more(a))
        ev_feed_event(loop, io, EV_READ);
    _sl_process(a);
}

static void _sl_on_out(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct sl_admin_client *a = io->data;
    const int shaken = sl_admin_tls_shake(a);
    if (shaken < 0)
        _sl_drop(a);
    if (shaken <= 0 || !sl_buf_len(&a->tx))
        return;
    ssize_t n = sl_admin_write(a, sl_buf_data(&a->tx), sl_buf_len(&a->tx));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        _sl_drop(a);
        return;
    }
    sl_buf_consume(&a->tx, (size_t)n);
    if (sl_buf_len(&a->tx))
        return;
    if (a->close) {
        _sl_drop(a);
        return;
    }
    ev_io_stop(loop, &a->out);
    ev_io_start(loop, &a->in);
    if (sl_admin_has_more(a))
        ev_feed_event(loop, &a->in, EV_READ);
    _sl_process(a);
}

static void _sl_on_deadline(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)events;
    struct sl_admin_client *a = t->data;
    if (!a->asked) {
        _sl_drop(a);
        return;
    }
    ev_timer_stop(loop, t);
    a->close = true;
    sl_admin_error(a, 504, "the supervisor did not answer in time");
}

/* ---- accepting */

/* Not who the daemon runs as: a worker that was taken over could then ask here for what the supervisor
 * refuses it. */
static bool _sl_peer_may_change(int fd, uid_t owner)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        return false;
    return peer.uid == 0 || peer.uid == owner;
}

static void _sl_client_new(struct sl_admin_bind *b, int fd)
{
    struct sl_control *c = b->control;
    size_t room = b->local ? SL_ADMIN_CLIENTS : SL_ADMIN_CLIENTS - SL_ADMIN_RESERVED;
    struct sl_admin_client *a = c->n_clients < room ? calloc(1, sizeof(*a)) : NULL;
    if (!a) {
        (void)close(fd);
        return;
    }
    *a = (struct sl_admin_client){.control = c, .fd = fd, .local = b->local};
    a->may_change = b->local && _sl_peer_may_change(fd, c->args->owner);
    sl_arena_init(&a->arena, 0);
    sl_list_push_back(&c->clients, &a->node);
    c->n_clients++;
    ev_io_init(&a->in, _sl_on_in, fd, EV_READ);
    ev_io_init(&a->out, _sl_on_out, fd, EV_WRITE);
    ev_init(&a->deadline, _sl_on_deadline);
    a->in.data = a->out.data = a->deadline.data = a;
    ev_io_start(c->loop, &a->in);
    _sl_deadline(a, SL_ADMIN_TIMEOUT);
    if (!sl_admin_tls_begin(a))
        _sl_drop(a);
}

static void _sl_on_accept(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    for (int budget = 16; budget; budget--) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        _sl_client_new(io->data, fd);
    }
}

static void _sl_binds_close(struct sl_control *c, struct sl_admin_bind *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ev_io_stop(c->loop, &v[i].io);
        (void)close(v[i].io.fd);
    }
    free(v);
}

int sl_admin_listen(struct sl_control *c, const int *fds, size_t n)
{
    struct sl_admin_bind *v = calloc(n + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int domain = 0;
        socklen_t len = sizeof(domain);
        (void)getsockopt(fds[i], SOL_SOCKET, SO_DOMAIN, &domain, &len);
        v[i] = (struct sl_admin_bind){.control = c, .local = domain == AF_UNIX};
        ev_io_init(&v[i].io, _sl_on_accept, fds[i], EV_READ);
        v[i].io.data = &v[i];
        if (!c->held)
            ev_io_start(c->loop, &v[i].io);
    }
    _sl_binds_close(c, c->binds, c->n_binds);
    c->binds = v;
    c->n_binds = n;
    return 0;
}

void sl_admin_retire(struct sl_control *c)
{
    sl_list_for_each_safe (it, &c->clients) {
        struct sl_admin_client *a = SL_LIST_ENTRY(it, struct sl_admin_client, node);
        if (!a->ssl)
            continue;
        a->close = true;
        if (!a->asked && !sl_buf_len(&a->tx))
            _sl_drop(a);
    }
}

void sl_admin_go(struct sl_control *c)
{
    c->held = false;
    for (size_t i = 0; i < c->n_binds; i++)
        ev_io_start(c->loop, &c->binds[i].io);
}

void sl_admin_stop(struct sl_control *c)
{
    _sl_binds_close(c, c->binds, c->n_binds);
    c->binds = NULL;
    c->n_binds = 0;
}

void sl_admin_close(struct sl_control *c)
{
    sl_list_for_each_safe (it, &c->clients)
        _sl_drop(SL_LIST_ENTRY(it, struct sl_admin_client, node));
    _sl_binds_close(c, c->binds, c->n_binds);
}
