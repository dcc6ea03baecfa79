/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the top: start, a hop (resolve, connect, handshake, ask), the answer, the end. Each step either goes
 * on by an event or ends in _sl_finish; after that the fetch only waits for the end of the turn, to be freed.
 */
#include "control/fetch_priv.h"

#include "base/buf.h"
#include "http/h1.h"
#include "net/socket.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>

#define SL_FETCH_HEAD    (16 * 1024)
#define SL_FETCH_INTERIM 4 /* answers of 1xx that are skipped */
#define SL_FETCH_WHY     200

struct sl_fetch {
    struct sl_fetch_request req;
    struct sl_loop *loop;
    struct sl_resolver *resolver;
    struct sl_arena arena; /* of the fetch */
    struct sl_arena head;  /* of the hop's answer */
    struct sl_url url;     /* of the hop */
    bool named;            /* the policy's own host */
    struct sl_query query;
    struct sl_ip ips[SL_RESOLVED_MAX];
    size_t n_ips, next_ip;
    struct sl_fetch_link *link; /* NULL: none yet, or it is not needed any more */
    bool connected, asked;
    bool heard, again; /* something of the hop's answer; it is asked for the second time */
    struct sl_buf out, in, body;
    size_t sent, scanned;
    unsigned interim;
    bool has_head;
    struct sl_response res;
    struct sl_h1_body decoder;
    struct sl_timer timer;
    struct sl_deferred start, end;
    bool begun, over;
    char why[SL_FETCH_WHY];
};

static void _sl_hop(struct sl_fetch *f);
static void _sl_connect_next(struct sl_fetch *f, const char *why);

/* ---- the end */

/* Before the answer was whole. Those that were kept beside a kept one are no younger than it. */
static void _sl_disconnect(struct sl_fetch *f)
{
    struct sl_fetch_link *k = SL_TAKE_PTR(f->link);
    if (k && k->kept)
        sl_fetch_pool_drop(k->pool);
    if (k)
        sl_fetch_link_close(k);
    f->connected = f->asked = false;
}

static void _sl_free(struct sl_deferred *d)
{
    struct sl_fetch *f = SL_CONTAINER_OF(d, struct sl_fetch, end);
    struct sl_buf *const bufs[] = {&f->out, &f->in, &f->body}; /* tokens and secrets, some of them */
    for (size_t i = 0; i < SL_ARRAY_LEN(bufs); i++)
        sl_buf_wipe(bufs[i]);
    sl_arena_free(&f->arena);
    sl_arena_free(&f->head);
    free(f);
}

static void _sl_stop(struct sl_fetch *f)
{
    f->over = true;
    sl_query_cancel(&f->query);
    _sl_disconnect(f);
    sl_timer_stop(f->loop, &f->timer);
    if (f->begun) /* else the beginning, which still comes, frees it */
        sl_loop_defer(f->loop, &f->end, _sl_free);
}

/* error NULL: the answer stands in res and body. */
static void _sl_finish(struct sl_fetch *f, const char *error)
{
    const struct sl_fetch_result r = {.error = error, .response = &f->res, .body = sl_buf_slice(&f->body)};
    if (f->over)
        return;
    _sl_stop(f);
    f->req.done(f->req.ctx, &r);
}

static void _sl_fail(struct sl_fetch *f, const char *what, const char *why)
{
    (void)snprintf(f->why, sizeof(f->why), "%s: %s: %s", f->url.field, what, why);
    _sl_finish(f, f->why);
}

/*
 * The connection is of no use. A server may close one that has been idle just when it is asked again, so what
 * went over a kept one is asked once more, over a new one, if nothing of an answer came (RFC 9112 section
 * 9.3.1). That these are POSTs is no hindrance: what is asked may be asked twice (RFC 9110 section 9.2.2). A
 * question about a token changes nothing; a grant by client credentials or by exchange uses nothing up, and
 * the token of an answer that was lost is shown to nobody.
 */
static void _sl_lost(struct sl_fetch *f, const char *what, const char *why)
{
    if (!f->link->kept || f->heard) {
        _sl_fail(f, what, why);
        return;
    }
    _sl_disconnect(f);
    f->again = true;
    _sl_hop(f);
}

void sl_fetch_cancel(struct sl_fetch *f)
{
    if (f && !f->over)
        _sl_stop(f);
}

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_fetch *f = SL_CONTAINER_OF(t, struct sl_fetch, timer);
    _sl_fail(f,
             !f->connected ? "connecting"
             : !f->asked   ? "the TLS handshake"
                           : "waiting for the answer",
             "it takes too long");
}

/* ---- the answer */

static void _sl_redirect(struct sl_fetch *f)
{
    const struct sl_header *location = sl_headers_find(&f->res.headers, SL_S("location"));
    struct sl_url next;
    const char *wrong = "it names no place";
    if (f->req.hops-- == 0 || f->req.reach == SL_REACH_NONE || f->req.post)
        wrong = "none is followed here";
    else if (location)
        wrong = sl_url_resolve(&f->arena, &f->url, location->value, &next);
    if (wrong) {
        _sl_fail(f, "a redirect", wrong);
        return;
    }
    f->named = f->named && sl_url_same_origin(&f->url, &next);
    f->url = next;
    _sl_disconnect(f);
    _sl_hop(f);
}

static void _sl_answered(struct sl_fetch *f)
{
    const unsigned s = f->res.status;
    sl_fetch_link_done(SL_TAKE_PTR(f->link),
                       f->res.keep_alive && f->sent == sl_buf_len(&f->out) && !sl_buf_len(&f->in));
    if (s == 301 || s == 302 || s == 303 || s == 307 || s == 308)
        _sl_redirect(f);
    else
        _sl_finish(f, NULL);
}

/* True: the head is there. */
static bool _sl_read_head(struct sl_fetch *f)
{
    static const struct sl_h1_limits limits = {.head = SL_FETCH_HEAD, .header_count = 100, .target = 0};
    const ssize_t n = sl_h1_head_end(sl_buf_slice(&f->in), &f->scanned, &limits);
    if (n == 0)
        return false;
    enum sl_h1_error e = n < 0 ? (enum sl_h1_error) - n : SL_H1_OK;
    struct sl_slice copy = SL_SLICE_NUL;
    if (e == SL_H1_OK && !(copy = sl_arena_copy(&f->head, sl_slice(sl_buf_data(&f->in), (size_t)n))).p)
        e = SL_H1_NO_MEMORY;
    if (e == SL_H1_OK)
        e = sl_h1_parse_response(&f->head, copy, &limits, f->req.post ? SL_METHOD_POST : SL_METHOD_GET,
                                 &f->res);
    if (e != SL_H1_OK) {
        _sl_fail(f, "its answer", sl_h1_error_text(e));
        return false;
    }
    sl_buf_consume(&f->in, (size_t)n);
    f->scanned = 0;
    if (f->res.status < 200) {
        if (f->res.status == 101 || ++f->interim > SL_FETCH_INTERIM)
            _sl_fail(f, "its answer", "an interim one that nobody asked for");
        else
            return _sl_read_head(f);
        return false;
    }
    f->has_head = true;
    sl_h1_body_init(&f->decoder, f->res.framing, f->res.content_length);
    return true;
}

/* Whether the whole body is there. */
static bool _sl_read_body(struct sl_fetch *f)
{
    while (!f->decoder.done) {
        size_t used = 0;
        struct sl_slice data;
        const enum sl_h1_error e = sl_h1_body_feed(&f->decoder, sl_buf_slice(&f->in), &used, &data);
        if (e != SL_H1_OK) {
            _sl_fail(f, "its answer", sl_h1_error_text(e));
            return false;
        }
        if (sl_buf_len(&f->body) + data.n > f->req.max) {
            _sl_fail(f, "its answer", "longer than is taken");
            return false;
        }
        if (data.n && sl_buf_append_slice(&f->body, data) < 0) {
            _sl_fail(f, "its answer", "out of memory");
            return false;
        }
        sl_buf_consume(&f->in, used);
        if (!used)
            return false;
    }
    return true;
}

static void _sl_take(struct sl_fetch *f)
{
    if (!f->has_head && !_sl_read_head(f))
        return;
    if (f->res.framing == SL_FRAMING_LENGTH && f->res.content_length > f->req.max)
        _sl_fail(f, "its answer", "longer than is taken");
    else if (_sl_read_body(f))
        _sl_answered(f);
}

static void _sl_read(struct sl_fetch *f)
{
    ssize_t n = 1;
    while (!f->over && f->asked && n > 0) {
        if (sl_buf_reserve(&f->in, 16384) < 0) {
            _sl_fail(f, "its answer", "out of memory");
            return;
        }
        n = sl_stream_read(&f->link->stream, f->in.base + f->in.end, sl_buf_room(&f->in));
        if (n <= 0)
            break;
        f->heard = true;
        sl_buf_commit(&f->in, (size_t)n);
        _sl_take(f);
    }
    if (f->over || n >= 0)
        return;
    if (f->has_head && !f->decoder.done && n == -EPIPE && sl_h1_body_eof(&f->decoder) == SL_H1_OK)
        _sl_answered(f);
    else
        _sl_lost(f, "its answer", n == -EPIPE ? "it ended early" : strerror((int)-n));
}

/* ---- the question */

static void _sl_send(struct sl_fetch *f)
{
    while (f->sent < sl_buf_len(&f->out)) {
        ssize_t n =
            sl_stream_write(&f->link->stream, sl_buf_data(&f->out) + f->sent, sl_buf_len(&f->out) - f->sent);
        if (n < 0) {
            _sl_lost(f, "sending the request", strerror((int)-n));
            return;
        }
        f->sent += (size_t)n;
        if (n == 0) {
            sl_stream_watch_write(&f->link->stream, true);
            return;
        }
    }
    sl_stream_watch_write(&f->link->stream, false);
}

static int _sl_write_request(struct sl_fetch *f)
{
    const struct sl_fetch_request *q = &f->req;
    f->out.start = f->out.end = f->sent = 0;
    int r = sl_buf_printf(&f->out,
                          "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice/" SL_VERSION
                          "\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n%s",
                          q->post ? "POST" : "GET", f->url.target, f->url.field,
                          q->pool ? "" : "Connection: close\r\n");
    if (r == 0 && q->authorization && f->named)
        r = sl_buf_printf(&f->out, "Authorization: %s\r\n", q->authorization);
    if (r == 0 && q->post)
        r = sl_buf_printf(
            &f->out, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n", q->body.n);
    if (r == 0)
        r = sl_buf_append(&f->out, "\r\n", 2);
    return r == 0 && q->post ? sl_buf_append_slice(&f->out, q->body) : r;
}

static void _sl_ask(struct sl_fetch *f)
{
    f->asked = true;
    if (_sl_write_request(f) < 0)
        _sl_fail(f, "sending the request", "out of memory");
    else
        _sl_send(f);
}

static void _sl_shake(struct sl_fetch *f)
{
    const int r = sl_stream_handshake(&f->link->stream);
    if (r > 0)
        _sl_ask(f);
    else if (r < 0) {
        const long v = SSL_get_verify_result(f->link->stream.ssl);
        _sl_fail(f, "the TLS handshake",
                 v != X509_V_OK ? X509_verify_cert_error_string(v) : "it failed, or is not TLS");
        ERR_clear_error();
    }
}

static void _sl_on_event(struct sl_fetch *f)
{
    if (!f->connected) {
        const int r = sl_socket_error(f->link->stream.fd);
        if (r < 0) {
            _sl_connect_next(f, strerror(-r));
            return;
        }
        f->connected = true;
    }
    _sl_shake(f);
}

void sl_fetch_writable(struct sl_fetch *f)
{
    if (!f->asked)
        _sl_on_event(f);
    else
        _sl_send(f);
}

void sl_fetch_readable(struct sl_fetch *f)
{
    if (!f->asked)
        _sl_on_event(f);
    else
        _sl_read(f);
}

/* ---- a hop */

static void _sl_connect_next(struct sl_fetch *f, const char *why)
{
    _sl_disconnect(f);
    while (f->next_ip < f->n_ips) {
        const struct sl_sockaddr to = sl_sockaddr_of(&f->ips[f->next_ip++], f->url.port);
        const int r = sl_fetch_link_connect(f, f->loop, &f->req, f->url.host, &to, &f->link);
        if (r == 0)
            return;
        why = strerror(-r);
    }
    _sl_fail(f, "connecting", why);
}

static void _sl_on_addresses(struct sl_query *q, const char *error, const struct sl_ip *v, size_t n)
{
    struct sl_fetch *f = SL_CONTAINER_OF(q, struct sl_fetch, query);
    if (error) {
        _sl_fail(f, "finding its address", error);
        return;
    }
    f->n_ips = f->next_ip = 0;
    for (size_t i = 0; i < n; i++)
        if (f->named || f->req.reach == SL_REACH_ANY || sl_ip_is_public(&v[i]))
            f->ips[f->n_ips++] = v[i];
    _sl_connect_next(
        f, "the policy does not name this host, and its address is none of the Internet's (redirects: "
           "any would go there)");
}

static void _sl_hop(struct sl_fetch *f)
{
    f->in.start = f->in.end = f->body.start = f->body.end = 0;
    f->scanned = 0;
    f->has_head = f->heard = false;
    f->interim = 0;
    sl_arena_reset(&f->head);
    f->link = f->req.pool && !f->again ? sl_fetch_link_take(f->req.pool, f) : NULL;
    if (f->link) {
        f->connected = true;
        _sl_ask(f);
    } else if (f->url.ip.family) {
        _sl_on_addresses(&f->query, NULL, &f->url.ip, 1);
    } else {
        sl_resolve(f->resolver, f->url.host, &f->query);
    }
}

/* At the end of the turn: whoever started it knows its address by then. */
static void _sl_begin(struct sl_deferred *d)
{
    struct sl_fetch *f = SL_CONTAINER_OF(d, struct sl_fetch, start);
    f->begun = true;
    if (f->over) {
        _sl_free(&f->end);
        return;
    }
    sl_timer_set(f->loop, &f->timer, f->loop->now + f->req.timeout);
    _sl_hop(f);
}

static bool _sl_copy(struct sl_fetch *f)
{
    struct sl_fetch_request *q = &f->req;
    if (q->body.n && !(q->body = sl_arena_copy(&f->arena, q->body)).p)
        return false;
    if (q->authorization && !(q->authorization = sl_arena_strdup(&f->arena, sl_slice_str(q->authorization))))
        return false;
    return sl_url_parse(&f->arena, sl_slice_str(q->url.text), &f->url) == NULL;
}

struct sl_fetch *sl_fetch_start(struct sl_loop *l, struct sl_resolver *r, const struct sl_fetch_request *req)
{
    struct sl_fetch *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    *f = (struct sl_fetch){.req = *req, .loop = l, .resolver = r, .named = req->named};
    f->query.done = _sl_on_addresses;
    sl_arena_init(&f->arena, 1024);
    sl_arena_init(&f->head, SL_FETCH_HEAD);
    if (!_sl_copy(f)) {
        _sl_free(&f->end);
        return NULL;
    }
    sl_timer_init(&f->timer, _sl_on_timer);
    sl_loop_defer(l, &f->start, _sl_begin);
    return f;
}
