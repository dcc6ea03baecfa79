/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active health checks: each target of an upstream with `health.active` is connected to, and asked where a
 * path is written, every interval and a tenth of it of jitter, so that many checks never come at once. The
 * verdict goes into the target's row in shared memory, where every worker sees it.
 *
 * Invariant: a check has at most one connection, and its timer says either when the next check begins or when
 * this one has taken too long. A target by DNS has a check for each row of its name, which rests while no
 * address has that row and begins anew when another one has. What the target sends is only compared: twelve
 * bytes of a status line.
 */
#include "control/control_priv.h"
#include "net/socket.h"
#include "net/tls.h"
#include "telemetry/named.h"

#include <errno.h>

#define SL_STATUS_LINE 12 /* "HTTP/1.1 200" */
#define SL_JITTER      10 /* percent, either way */

struct sl_check {
    struct sl_checks *all;
    const struct sl_upstream *u;
    const struct sl_target *t;
    uint32_t row;               /* of a name's */
    struct sl_sockaddr address; /* that is checked */
    SSL_CTX *tls;               /* of its upstream */
    struct sl_stream stream;
    struct sl_timer timer;
    bool open, ready, asked; /* connected to; TLS is up; the request is out */
    uint32_t good, bad;      /* in a row */
    char line[SL_STATUS_LINE];
    size_t n;
};
struct sl_checks {
    struct sl_control *control;
    struct sl_snapshot *snapshot; /* one reference */
    SSL_CTX **tls;                /* [n_upstreams]; NULL: plain, or no checks */
    struct sl_check *v;
    size_t n;
    uint64_t rng;
};

static void _sl_begin(struct sl_check *k);

static uint64_t _sl_random(struct sl_checks *all)
{
    all->rng ^= all->rng << 13; /* xorshift64: for spreading, never for secrets */
    all->rng ^= all->rng >> 7;
    all->rng ^= all->rng << 17;
    return all->rng;
}

/* ---- verdicts */

/* The address of its row now. */
static bool _sl_address(const struct sl_check *k, struct sl_sockaddr *out)
{
    const struct sl_shared_health *h = &k->all->control->args->counters.shared->health;
    struct sl_named_answer a;
    uint32_t seq;
    *out = k->t->address;
    if (!k->t->dns.host)
        return true;
    if (sl_named_read(&h->names[sl_slot(k->t->slot, SL_COUNTER_TARGETS)], &a, &seq) < 0)
        return false;
    for (uint32_t i = 0; i < a.n; i++)
        if (a.v[i].row == k->row) {
            *out = sl_named_sockaddr(&a.v[i]);
            return true;
        }
    return false;
}

static bool _sl_same(const struct sl_sockaddr *a, const struct sl_sockaddr *b)
{
    const struct sl_ip x = sl_sockaddr_ip(a), y = sl_sockaddr_ip(b);
    return sl_ip_eq(&x, &y) && sl_sockaddr_port(a) == sl_sockaddr_port(b);
}

static void _sl_set(struct sl_check *k, bool unhealthy, const char *why)
{
    struct sl_shared_health *h = &k->all->control->args->counters.shared->health;
    const uint32_t slot = sl_slot(k->t->slot, SL_COUNTER_TARGETS);
    struct sl_shared_target *s = k->t->dns.host ? &h->names[slot].rows[k->row] : &h->targets[slot];
    char at[SL_SOCK_STRLEN];
    if (!slot || __atomic_load_n(&s->unhealthy, __ATOMIC_RELAXED) == unhealthy)
        return;
    if (!unhealthy)
        __atomic_store_n(&s->back_at, sl_now_ns(), __ATOMIC_RELAXED);
    __atomic_store_n(&s->unhealthy, unhealthy, __ATOMIC_RELAXED);
    (void)__atomic_add_fetch(&h->changes, 1, __ATOMIC_RELEASE);
    const char *text = k->t->dns.host && k->address.len ? sl_sockaddr_text(&k->address, at) : k->t->text;
    if (unhealthy)
        sl_warn("upstream %s: target %s: unhealthy after %u checks: %s", k->u->name, text, k->bad, why);
    else
        sl_info("upstream %s: target %s: healthy: %s", k->u->name, text, why);
}

/* why: NULL where the check is passed. */
static void _sl_judge(struct sl_check *k, const char *why)
{
    struct sl_sockaddr now;
    if (!_sl_address(k, &now) || !_sl_same(&now, &k->address))
        return; /* the row is another address's meanwhile */
    k->all->control->checks_total[why != NULL]++;
    k->good = why ? 0 : k->good + 1;
    k->bad = why ? k->bad + 1 : 0;
    if (k->bad >= k->u->health.active.failures)
        _sl_set(k, true, why);
    else if (k->good >= k->u->health.active.successes)
        _sl_set(k, false, "it passes its checks");
}

static void _sl_close(struct sl_check *k)
{
    if (k->open)
        sl_stream_close(&k->stream, false);
    k->open = false;
}

/* The check is over: the next one comes after the interval. */
static void _sl_done(struct sl_check *k, const char *why)
{
    const uint64_t interval = k->u->health.active.interval, span = interval * 2 * SL_JITTER / 100;
    struct sl_loop *l = &k->all->control->turn;
    _sl_close(k);
    _sl_judge(k, why);
    sl_timer_set(l, &k->timer, l->now + interval - span / 2 + (span ? _sl_random(k->all) % span : 0));
}

static bool _sl_wanted(const struct sl_check *k, unsigned status)
{
    const struct sl_statuses *list = &k->u->health.active.statuses;
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i] == status)
            return true;
    return false;
}

static void _sl_answered(struct sl_check *k)
{
    const char *l = k->line;
    uint64_t status = 0;
    if (memcmp(l, "HTTP/1.", 7) != 0 || l[8] != ' ' || sl_slice_u64(sl_slice(l + 9, 3), &status) < 0)
        _sl_done(k, "the answer is no HTTP");
    else
        _sl_done(k,
                 _sl_wanted(k, (unsigned)status) ? NULL : "its status is not one of health.active.statuses");
}

/* ---- one check */

static void _sl_ask(struct sl_check *k)
{
    char text[3072];
    const struct sl_upstream *u = k->u;
    if (!u->health.active.path) {
        _sl_done(k, NULL); /* it takes connections */
        return;
    }
    int n = snprintf(text, sizeof(text),
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice-health\r\nConnection: close\r\n\r\n",
                     u->health.active.path,
                     u->tls.sni       ? u->tls.sni
                     : k->t->dns.host ? k->t->dns.host
                                      : k->t->text);
    k->asked = n > 0 && (size_t)n < sizeof(text) && sl_stream_write(&k->stream, text, (size_t)n) == n;
    if (!k->asked)
        _sl_done(k, "the request cannot be sent");
}

static void _sl_shake(struct sl_check *k)
{
    int r = k->stream.ssl ? sl_stream_handshake(&k->stream) : 1;
    const char *detail;
    if (r < 0)
        _sl_done(k, sl_tls_failure_text(sl_tls_failed(k->stream.ssl, r, &detail)));
    if (r <= 0)
        return;
    k->ready = true;
    _sl_ask(k);
}

static void _sl_on_event(struct sl_check *k)
{
    if (k->ready || k->stream.fd < 0)
        return;
    int r = sl_socket_error(k->stream.fd);
    if (r < 0) {
        _sl_done(k, strerror(-r));
        return;
    }
    sl_stream_watch_write(&k->stream, false);
    _sl_shake(k);
}

static void _sl_on_writable(struct sl_stream *s)
{
    struct sl_check *k = SL_CONTAINER_OF(s, struct sl_check, stream);
    if (k->ready)
        sl_stream_watch_write(s, false);
    else
        _sl_on_event(k);
}

static void _sl_on_readable(struct sl_stream *s)
{
    struct sl_check *k = SL_CONTAINER_OF(s, struct sl_check, stream);
    if (!k->ready) {
        _sl_on_event(k);
        return;
    }
    ssize_t n = sl_stream_read(s, k->line + k->n, sizeof(k->line) - k->n);
    if (n == 0)
        return;
    if (n > 0)
        k->n += (size_t)n;
    if (k->n == sizeof(k->line))
        _sl_answered(k);
    else if (n < 0)
        _sl_done(k, "it closed without an answer");
}

static void _sl_on_timer(struct sl_timer *t)
{
    struct sl_check *k = SL_CONTAINER_OF(t, struct sl_check, timer);
    if (k->open)
        _sl_done(k, "no answer in time");
    else
        _sl_begin(k);
}

static SSL *_sl_tls_new(const struct sl_check *k)
{
    char ip[SL_IP_STRLEN];
    const struct sl_ip address = sl_sockaddr_ip(&k->address);
    const char *name = k->u->tls.sni ? k->u->tls.sni : k->t->dns.host;
    return sl_tls_connect_new(k->tls, name ? name : sl_ip_text(&address, ip));
}

/* What we ourselves lack (descriptors, memory) is no verdict on the target. */
static void _sl_begin(struct sl_check *k)
{
    struct sl_loop *l = &k->all->control->turn;
    bool done = false;
    struct sl_sockaddr now;
    if (!_sl_address(k, &now)) {
        sl_timer_set(l, &k->timer, l->now + k->u->health.active.interval);
        return;
    }
    if (!_sl_same(&now, &k->address))
        k->good = k->bad = 0;
    k->address = now;
    int fd = sl_socket_connect(&k->address, &done);
    SSL *ssl = fd >= 0 && k->tls ? _sl_tls_new(k) : NULL;
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS || (fd >= 0 && k->tls && !ssl)) {
        sl_closep(&fd);
        sl_timer_set(l, &k->timer, l->now + k->u->health.active.interval);
        return;
    }
    if (fd < 0) {
        _sl_done(k, strerror(-fd));
        return;
    }
    k->stream = (struct sl_stream){.on_readable = _sl_on_readable, .on_writable = _sl_on_writable};
    k->n = 0;
    k->open = true;
    k->ready = k->asked = false;
    sl_stream_open(&k->stream, l, fd, ssl);
    sl_stream_watch_write(&k->stream, true);
    sl_timer_set(l, &k->timer, l->now + k->u->health.active.timeout);
}

/* ---- all of them */

static int _sl_tls_of(struct sl_checks *all, size_t i)
{
    const struct sl_upstream *u = &all->snapshot->upstreams[i];
    const char *why = "";
    if (!u->tls.enabled || !u->health.active.enabled)
        return 0;
    int r = sl_tls_client_new(
        &(struct sl_tls_client){.ca = u->tls.ca.data, .cert = u->tls.cert.data, .key = u->tls.key.data}, &why,
        &all->tls[i]);
    return r < 0 ? sl_error_r(r, "upstream %s: health checks: tls: %s", u->name, why) : 0;
}

static uint32_t _sl_rows(const struct sl_target *t)
{
    return t->dns.host ? SL_NAMED_MAX : 1;
}

static void _sl_add_row(struct sl_checks *all, const struct sl_check *as)
{
    struct sl_check *k = &all->v[all->n];
    struct sl_loop *l = &all->control->turn;
    *k = *as;
    if (!k->u->health.active.enabled) {
        _sl_set(k, false, "no longer checked"); /* nobody would ever say so again */
        return;
    }
    all->n++;
    sl_timer_init(&k->timer, _sl_on_timer);
    sl_timer_set(l, &k->timer,
                 l->now + 1 + _sl_random(all) % SL_MIN(k->u->health.active.interval, SL_NS_PER_SEC));
}

static void _sl_add(struct sl_checks *all, size_t i)
{
    const struct sl_upstream *u = &all->snapshot->upstreams[i];
    for (size_t t = 0; t < u->n_targets; t++)
        for (uint32_t row = 0; row < _sl_rows(&u->targets[t]); row++)
            _sl_add_row(all, &(struct sl_check){
                                 .all = all, .u = u, .t = &u->targets[t], .row = row, .tls = all->tls[i]});
}

void sl_checks_stop(struct sl_control *c)
{
    struct sl_checks *all = SL_TAKE_PTR(c->checks);
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++) {
        _sl_close(&all->v[i]);
        sl_timer_stop(&c->turn, &all->v[i].timer);
    }
    for (size_t i = 0; all->tls && i < all->snapshot->n_upstreams; i++)
        SSL_CTX_free(all->tls[i]);
    sl_snapshot_unref(all->snapshot);
    free(all->tls);
    free(all->v);
    free(all);
}

int sl_checks_start(struct sl_control *c)
{
    struct sl_checks *all = calloc(1, sizeof(*all));
    size_t n = 1; /* one more, as a scratch place */
    int r = 0;
    sl_checks_stop(c);
    if (!all)
        return -ENOMEM;
    c->checks = all;
    *all = (struct sl_checks){.control = c, .snapshot = sl_snapshot_ref(c->snapshot), .rng = sl_now_ns() | 1};
    for (size_t i = 0; i < c->snapshot->n_upstreams; i++)
        for (size_t t = 0; t < c->snapshot->upstreams[i].n_targets; t++)
            n += _sl_rows(&c->snapshot->upstreams[i].targets[t]);
    all->v = calloc(n, sizeof(*all->v));
    all->tls = calloc(c->snapshot->n_upstreams + 1, sizeof(SSL_CTX *));
    if (!all->v || !all->tls)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < c->snapshot->n_upstreams; i++) {
        r = _sl_tls_of(all, i);
        if (r == 0)
            _sl_add(all, i);
    }
    return r;
}
