/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolve_priv.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define SL_NAMESERVERS 3 /* as resolv.conf(5) has it */
#define SL_QUERY_MS    2000
#define SL_QUERY_TRIES 2
#define SL_RESOLVE_FDS 16

struct sl_resolve_io {
    struct sl_resolver *r;
    ev_io io; /* fd -1: free */
};
struct sl_resolver {
    ares_channel channel;
    struct ev_loop *ev;
    ev_timer timer;
    char *hosts;
    struct sl_resolve_io ios[SL_RESOLVE_FDS];
};
/* c-ares holds it until it has called back, also where the query was cancelled. */
struct sl_pending {
    struct sl_query *q; /* NULL: cancelled */
};

/* ---- what the files say */

static bool _sl_word(struct sl_slice *line, struct sl_slice *word)
{
    size_t n = 0;
    *line = sl_slice_trim(*line);
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    *word = sl_slice(line->p, n);
    *line = sl_slice(line->p + n, line->n - n);
    return n > 0;
}

static struct sl_slice _sl_without_comment(struct sl_slice line)
{
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] == '#' || line.p[i] == ';')
            line.n = i;
    return line;
}

/* "10.0.0.2:53,[2001:db8::1]:53"; without nameservers this host is asked, as libc does. */
static void _sl_nameservers(struct sl_slice conf, uint16_t port, char *out, size_t size)
{
    struct sl_slice line, word;
    unsigned found = 0;
    size_t n = 0;
    while (found < SL_NAMESERVERS && sl_slice_next(&conf, '\n', &line)) {
        struct sl_ip ip;
        char text[SL_SOCK_STRLEN];
        line = _sl_without_comment(line);
        if (!_sl_word(&line, &word) || !sl_slice_eq(word, SL_S("nameserver")) || !_sl_word(&line, &word) ||
            sl_ip_parse(word, &ip) < 0)
            continue;
        const struct sl_sockaddr sa = sl_sockaddr_of(&ip, port ? port : 53);
        n += (size_t)snprintf(out + n, size - n, "%s%s", found ? "," : "", sl_sockaddr_text(&sa, text));
        found++;
    }
    if (!found)
        (void)snprintf(out, size, "127.0.0.1:%u", port ? port : 53u);
}

static size_t _sl_in_hosts(const char *hosts, const char *name, struct sl_ip *out)
{
    struct sl_slice rest = sl_slice_str(hosts), line, word;
    size_t n = 0;
    while (n < SL_RESOLVED_MAX && sl_slice_next(&rest, '\n', &line)) {
        struct sl_ip ip;
        line = _sl_without_comment(line);
        if (!_sl_word(&line, &word) || sl_ip_parse(word, &ip) < 0)
            continue;
        while (_sl_word(&line, &word))
            if (sl_slice_ieq(word, sl_slice_str(name))) {
                out[n++] = ip;
                break;
            }
    }
    return n;
}

/* RFC 6761 section 6.3: loopback on every host, though nobody has written it down; no nameserver is asked. */
static size_t _sl_is_localhost(const char *name, struct sl_ip *out)
{
    struct sl_slice s = sl_slice_str(name);
    const struct sl_slice last = SL_S(".localhost");
    if (s.n && s.p[s.n - 1] == '.')
        s.n--;
    if (s.n > last.n)
        s = sl_slice(s.p + s.n - last.n, last.n);
    if (!sl_slice_ieq(s, last) && !sl_slice_ieq(s, SL_S("localhost")))
        return 0;
    return (size_t)(sl_ip_parse(SL_S("127.0.0.1"), &out[0]) == 0) + (sl_ip_parse(SL_S("::1"), &out[1]) == 0);
}

static size_t _sl_without_asking(const struct sl_resolver *r, const char *name, struct sl_ip *out)
{
    const size_t n = _sl_in_hosts(r->hosts, name, out);
    return n ? n : _sl_is_localhost(name, out);
}

/* ---- c-ares on the loop */

static void _sl_rearm(struct sl_resolver *r)
{
    struct timeval tv, *left = ares_timeout(r->channel, NULL, &tv);
    ev_timer_stop(r->ev, &r->timer);
    if (!left)
        return;
    ev_timer_set(&r->timer, (double)left->tv_sec + (double)left->tv_usec / 1e6 + 0.001, 0.);
    ev_timer_start(r->ev, &r->timer);
}

static void _sl_on_timer(struct ev_loop *ev, ev_timer *t, int events)
{
    (void)ev, (void)events;
    struct sl_resolver *r = t->data;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    _sl_rearm(r);
}

static void _sl_on_io(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev;
    struct sl_resolver *r = ((struct sl_resolve_io *)io->data)->r;
    const int fd = io->fd;
    ares_process_fd(r->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    _sl_rearm(r);
}

static void _sl_on_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct sl_resolver *r = data;
    struct sl_resolve_io *io = NULL;
    for (size_t i = 0; i < SL_RESOLVE_FDS; i++) {
        if (r->ios[i].io.fd == fd) {
            io = &r->ios[i];
            break;
        }
        if (r->ios[i].io.fd < 0 && !io)
            io = &r->ios[i];
    }
    if (!io) /* more sockets than watchers: what comes there is never read, and the query times out */
        return;
    ev_io_stop(r->ev, &io->io);
    ev_io_set(&io->io, readable || writable ? fd : -1, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    if (readable || writable)
        ev_io_start(r->ev, &io->io);
}

/* All that ares_init_options(3) would else read from files is given. Its ids are of rand(3) where it cannot
 * open /dev/urandom: there this seed is their key, by RC4. No socket is kept past its queries, so that each
 * batch is asked from another port, which the kernel draws (RFC 5452 section 9.2); c-ares compares source,
 * id and question of what comes. */
static int _sl_channel(struct sl_resolver *r, struct sl_slice conf, uint16_t port)
{
    char servers[SL_NAMESERVERS * SL_SOCK_STRLEN], lookups[] = "b";
    struct in_addr none = {htonl(INADDR_LOOPBACK)};
    struct ares_options o = {.flags = ARES_FLAG_NOSEARCH,
                             .timeout = SL_QUERY_MS,
                             .tries = SL_QUERY_TRIES,
                             .ndots = 1,
                             .lookups = lookups,
                             .servers = &none,
                             .nservers = 1,
                             .sock_state_cb = _sl_on_state,
                             .sock_state_cb_data = r};
    const int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                      ARES_OPT_LOOKUPS | ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST |
                      ARES_OPT_SOCK_STATE_CB;
    unsigned seed;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return -EIO;
    srand(seed);
    if (ares_init_options(&r->channel, &o, given) != ARES_SUCCESS)
        return -ENOMEM;
    _sl_nameservers(conf, port, servers, sizeof(servers));
    return ares_set_servers_ports_csv(r->channel, servers) == ARES_SUCCESS ? 0 : -EINVAL;
}

int sl_resolver_new(struct sl_loop *l, struct sl_slice resolv_conf, struct sl_slice hosts, uint16_t port,
                    struct sl_resolver **out)
{
    struct sl_resolver *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->ev = l->ev;
    ev_init(&r->timer, _sl_on_timer);
    r->timer.data = r;
    for (size_t i = 0; i < SL_RESOLVE_FDS; i++) {
        r->ios[i].r = r;
        ev_io_init(&r->ios[i].io, _sl_on_io, -1, 0);
        r->ios[i].io.data = &r->ios[i];
    }
    r->hosts = strndup(hosts.p ? hosts.p : "", hosts.n);
    int e = r->hosts ? _sl_channel(r, resolv_conf, port) : -ENOMEM;
    if (e < 0) {
        sl_resolver_free(r);
        return e;
    }
    *out = r;
    return 0;
}

void sl_resolver_free(struct sl_resolver *r)
{
    if (!r)
        return;
    if (r->channel)
        ares_destroy(r->channel); /* calls back what is under way: its owners have cancelled */
    ev_timer_stop(r->ev, &r->timer);
    for (size_t i = 0; i < SL_RESOLVE_FDS; i++)
        ev_io_stop(r->ev, &r->ios[i].io);
    free(r->hosts);
    free(r);
}

/* ---- questions */

static size_t _sl_addresses(const struct ares_addrinfo *info, struct sl_ip *out)
{
    size_t n = 0;
    for (const struct ares_addrinfo_node *a = info ? info->nodes : NULL; a && n < SL_RESOLVED_MAX;
         a = a->ai_next) {
        struct sl_sockaddr sa = {.len = a->ai_addrlen};
        if (sa.len > sizeof(sa.in6))
            continue;
        memcpy(&sa.sa, a->ai_addr, sa.len);
        out[n] = sl_sockaddr_ip(&sa);
        n += out[n].family != 0;
    }
    return n;
}

static uint32_t _sl_ttl(const struct ares_addrinfo *info)
{
    uint32_t ttl = UINT32_MAX;
    for (const struct ares_addrinfo_node *a = info ? info->nodes : NULL; a; a = a->ai_next)
        ttl = SL_MIN(ttl, (uint32_t)SL_MAX(a->ai_ttl, 0));
    for (const struct ares_addrinfo_cname *c = info ? info->cnames : NULL; c; c = c->next)
        ttl = SL_MIN(ttl, (uint32_t)SL_MAX(c->ttl, 0));
    return ttl;
}

static bool _sl_absent(int status)
{
    return status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

static void _sl_on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct sl_ip v[SL_RESOLVED_MAX];
    struct sl_pending *p = arg;
    struct sl_query *q = p->q;
    const size_t n = _sl_addresses(info, v);
    const uint32_t ttl = _sl_ttl(info);
    ares_freeaddrinfo(info);
    free(p);
    if (!q || status == ARES_EDESTRUCTION)
        return;
    q->pending = NULL;
    q->ttl = ttl;
    q->absent = _sl_absent(status);
    if (status == ARES_SUCCESS && n)
        q->done(q, NULL, v, n);
    else
        q->done(q, status == ARES_SUCCESS ? "the name has no address" : ares_strerror(status), NULL, 0);
}

void sl_resolve(struct sl_resolver *r, const char *name, struct sl_query *q)
{
    struct sl_ip v[SL_RESOLVED_MAX];
    const size_t n = _sl_without_asking(r, name, v);
    const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC};
    struct sl_pending *p = n ? NULL : calloc(1, sizeof(*p));
    q->pending = NULL;
    q->absent = false;
    q->ttl = UINT32_MAX;
    if (n) {
        q->done(q, NULL, v, n);
        return;
    }
    if (!p) {
        q->done(q, "out of memory", NULL, 0);
        return;
    }
    p->q = q;
    q->pending = p;
    ares_getaddrinfo(r->channel, name, NULL, &hints, _sl_on_answer, p);
    _sl_rearm(r);
}

static void _sl_on_srv(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
    (void)timeouts;
    struct sl_srv v[SL_RESOLVED_MAX];
    struct sl_pending *p = arg;
    struct sl_query *q = p->q;
    uint32_t ttl = UINT32_MAX;
    const size_t n = status == ARES_SUCCESS ? sl_srv_parse(msg, (size_t)len, v, &ttl) : 0;
    free(p);
    if (!q || status == ARES_EDESTRUCTION)
        return;
    q->pending = NULL;
    q->ttl = ttl;
    q->absent = _sl_absent(status);
    if (n)
        q->done_srv(q, NULL, v, n);
    else
        q->done_srv(q, status == ARES_SUCCESS ? "the name has no service" : ares_strerror(status), NULL, 0);
}

void sl_resolve_srv(struct sl_resolver *r, const char *name, struct sl_query *q)
{
    struct sl_pending *p = calloc(1, sizeof(*p));
    q->pending = NULL;
    q->absent = false;
    if (!p) {
        q->done_srv(q, "out of memory", NULL, 0);
        return;
    }
    p->q = q;
    q->pending = p;
    ares_query(r->channel, name, ns_c_in, ns_t_srv, _sl_on_srv, p);
    _sl_rearm(r);
}

void sl_query_cancel(struct sl_query *q)
{
    struct sl_pending *p = SL_TAKE_PTR(q->pending);
    if (p)
        p->q = NULL;
}
