/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a directory: found, connected, made TLS, and then messages by libldap, whose reads and
 * writes end in two buffers of ours (a Sockbuf_IO of liblber). What libldap wrote is sent when it returns;
 * what came is given to it until it has no whole message left.
 */
#include "control/ldap_priv.h"

#include "net/socket.h"
#include "net/tls.h"

#include <errno.h>
#include <openldap.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

#define SL_LDAP_OUT (64 * 1024) /* bytes that wait to be sent */

static void _sl_connect_next(struct sl_ldap_link *k, const char *why);

static void _sl_lost(struct sl_ldap_link *k, const char *why)
{
    if (!k->closed)
        k->on->lost(k, why);
}

/* ---- between libldap and the buffers */

static int _sl_io_setup(Sockbuf_IO_Desc *d, void *arg)
{
    d->sbiod_pvt = arg;
    return 0;
}

static int _sl_io_nothing(Sockbuf_IO_Desc *d)
{
    (void)d;
    return 0;
}

static int _sl_io_ctrl(Sockbuf_IO_Desc *d, int opt, void *arg)
{
    const struct sl_ldap_link *k = d->sbiod_pvt;
    (void)arg;
    return opt == LBER_SB_OPT_DATA_READY && sl_buf_len(&k->in) > 0;
}

static ber_slen_t _sl_io_read(Sockbuf_IO_Desc *d, void *p, ber_len_t n)
{
    struct sl_ldap_link *k = d->sbiod_pvt;
    const size_t take = SL_MIN((size_t)n, sl_buf_len(&k->in));
    if (!take) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(p, sl_buf_data(&k->in), take);
    sl_buf_consume(&k->in, take);
    return (ber_slen_t)take;
}

static ber_slen_t _sl_io_write(Sockbuf_IO_Desc *d, void *p, ber_len_t n)
{
    struct sl_ldap_link *k = d->sbiod_pvt;
    if (n > SL_LDAP_OUT - SL_MIN(sl_buf_len(&k->out), (size_t)SL_LDAP_OUT) ||
        sl_buf_append(&k->out, p, n) < 0) {
        errno = ENOMEM;
        return -1;
    }
    return (ber_slen_t)n;
}

static const Sockbuf_IO _sl_io = {.sbi_setup = _sl_io_setup,
                                  .sbi_remove = _sl_io_nothing,
                                  .sbi_ctrl = _sl_io_ctrl,
                                  .sbi_read = _sl_io_read,
                                  .sbi_write = _sl_io_write,
                                  .sbi_close = _sl_io_nothing};

static bool _sl_ld_new(struct sl_ldap_link *k)
{
    const int version = LDAP_VERSION3;
    ber_len_t max = SL_LDAP_MESSAGE;
    Sockbuf *sb = NULL;
    if (ldap_init_fd(k->stream.fd, LDAP_PROTO_EXT, NULL, &k->ld) != LDAP_SUCCESS)
        return false;
    return ldap_set_option(k->ld, LDAP_OPT_PROTOCOL_VERSION, &version) == LDAP_SUCCESS &&
           ldap_set_option(k->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) == LDAP_SUCCESS &&
           ldap_get_option(k->ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_SUCCESS &&
           ber_sockbuf_add_io(sb, (Sockbuf_IO *)(uintptr_t)&_sl_io, LBER_SBIOD_LEVEL_PROVIDER, k) == 0 &&
           ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &max) == 1;
}

/* ---- messages */

static void _sl_flush(struct sl_ldap_link *k)
{
    while (!k->closed && sl_buf_len(&k->out)) {
        const ssize_t n = sl_stream_write(&k->stream, sl_buf_data(&k->out), sl_buf_len(&k->out));
        if (n < 0) {
            _sl_lost(k, strerror((int)-n));
            return;
        }
        if (n == 0) {
            sl_stream_watch_write(&k->stream, true);
            return;
        }
        OPENSSL_cleanse(sl_buf_data(&k->out), (size_t)n); /* passwords are in it */
        sl_buf_consume(&k->out, (size_t)n);
    }
    if (!k->closed)
        sl_stream_watch_write(&k->stream, false);
}

static int _sl_sent(struct sl_ldap_link *k, int r, int id, const char **why)
{
    if (r != LDAP_SUCCESS) {
        *why = ldap_err2string(r);
        return 0;
    }
    sl_timer_stop(k->config->loop, &k->idle);
    sl_stream_watch_write(&k->stream,
                          true); /* sent from the loop: whoever asks is told of nothing meanwhile */
    return id;
}

int sl_ldap_link_bind(struct sl_ldap_link *k, const char *dn, struct sl_slice password, const char **why)
{
    struct berval secret = {.bv_len = password.n,
                            .bv_val = (char *)(uintptr_t)(password.n ? password.p : "")};
    int id = 0;
    const int r = ldap_sasl_bind(k->ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, &id);
    return _sl_sent(k, r, id, why);
}

int sl_ldap_link_search(struct sl_ldap_link *k, const char *base, int scope, const char *filter,
                        const char *attribute, int limit, const char **why)
{
    char *attributes[] = {(char *)(uintptr_t)attribute, NULL};
    int id = 0;
    const int r = ldap_search_ext(k->ld, base, scope, filter, attributes, 0, NULL, NULL, NULL, limit, &id);
    return _sl_sent(k, r, id, why);
}

static void _sl_shake(struct sl_ldap_link *k);

/* Only TLS may follow the answer, and not in the same breath: what came before it is nobody's word. */
static void _sl_start_tls(struct sl_ldap_link *k, LDAPMessage *m)
{
    int code = LDAP_OTHER;
    if (ldap_msgtype(m) != (int)LDAP_RES_EXTENDED ||
        ldap_parse_result(k->ld, m, &code, NULL, NULL, NULL, NULL, 0) != LDAP_SUCCESS ||
        code != LDAP_SUCCESS) {
        _sl_lost(k, "it does not begin with TLS (start_tls)");
        return;
    }
    if (sl_buf_len(&k->in)) {
        _sl_lost(k, "it says more than that TLS may begin");
        return;
    }
    SSL *ssl = sl_tls_connect_new(k->config->tls, k->config->auth->ldap.host);
    if (!ssl) {
        _sl_lost(k, "out of memory");
        return;
    }
    k->stream.ssl = ssl;
    sl_tls_attach(ssl, &k->stream);
    _sl_shake(k);
}

/* Bytes of the header of an element of BER, with those of its content; 0: there are too few, -1: it is none
 * that LDAP has. */
static ssize_t _sl_header(struct sl_slice s, size_t *content)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (s.n < 2)
        return 0;
    const size_t more = p[1] & 0x80 ? p[1] & 0x7f : 0;
    *content = more ? 0 : p[1];
    if ((p[0] & 0x1f) == 0x1f || more > 4 || p[1] == 0x80)
        return -1;
    if (s.n < 2 + more)
        return 0;
    for (size_t i = 0; i < more; i++)
        *content = *content << 8 | p[2 + i];
    return (ssize_t)(2 + more);
}

/* Takes the header of an element off *s, which has all of it. */
static bool _sl_enter(struct sl_slice *s, char tag, struct sl_slice *content)
{
    size_t n = 0;
    const ssize_t h = _sl_header(*s, &n);
    if (h <= 0 || (tag && s->p[0] != tag) || n > s->n - (size_t)h)
        return false;
    *content = sl_slice(s->p + h, n);
    *s = sl_slice(s->p + h + n, s->n - (size_t)h - n);
    return true;
}

/*
 * Whether a whole message has come; *why: it is none. libldap reads it once more, but an operation that does
 * not fit into its message costs it memory for ever, and it is not prepared for every notice (id 0): what it
 * gets has the form that it expects (RFC 4511 section 4.1.1).
 */
static bool _sl_is_whole(const struct sl_buf *in, const char **why)
{
    struct sl_slice rest = sl_buf_slice(in), message, id, operation;
    size_t n = 0;
    const ssize_t h = _sl_header(rest, &n);
    *why = h < 0 || rest.p[0] != 0x30 || n > SL_LDAP_MESSAGE ? "what it sends is no LDAP" : NULL;
    if (*why || h == 0 || rest.n < (size_t)h + n)
        return false;
    if (!_sl_enter(&rest, 0x30, &message) || !_sl_enter(&message, 0x02, &id) || !id.n || id.n > 4 ||
        !_sl_enter(&message, 0, &operation))
        *why = "what it sends is no LDAP";
    else if (!memcmp(id.p, "\0\0\0", id.n))
        *why = "it takes its leave";
    return !*why;
}

static void _sl_message(struct sl_ldap_link *k, LDAPMessage *m)
{
    if (ldap_msgid(m) != k->sent)
        _sl_lost(k, "it answers what nobody asked");
    else if (k->ready)
        k->on->answer(k, m);
    else
        _sl_start_tls(k, m);
}

/* All whole messages. */
static void _sl_take(struct sl_ldap_link *k)
{
    const char *why = NULL;
    while (!k->closed && sl_buf_len(&k->in) && _sl_is_whole(&k->in, &why)) {
        struct timeval now = {0, 0};
        LDAPMessage *m = NULL;
        const size_t before = sl_buf_len(&k->in);
        const int r = ldap_result(k->ld, LDAP_RES_ANY, LDAP_MSG_ONE, &now, &m);
        if (r < 0 || (r == 0 && sl_buf_len(&k->in) == before))
            why = "what it sends is no LDAP";
        if (why)
            break;
        if (r > 0) /* else it was for nobody, and is gone */
            _sl_message(k, m);
        (void)ldap_msgfree(m);
    }
    if (why && !k->closed)
        _sl_lost(k, why);
}

static void _sl_read(struct sl_ldap_link *k)
{
    ssize_t n = 1;
    while (!k->closed && n > 0) {
        if (sl_buf_reserve(&k->in, 16384) < 0) {
            _sl_lost(k, "out of memory");
            return;
        }
        const bool tls = k->stream.ssl != NULL;
        n = sl_stream_read(&k->stream, k->in.base + k->in.end, sl_buf_room(&k->in));
        if (n <= 0)
            break;
        sl_buf_commit(&k->in, (size_t)n);
        _sl_take(k);
        if (!k->closed && tls != (k->stream.ssl != NULL))
            return; /* a handshake is under way */
    }
    if (!k->closed && n < 0)
        _sl_lost(k, n == -EPIPE ? "it closed the connection" : strerror((int)-n));
}

/* ---- becoming ready */

static void _sl_ready(struct sl_ldap_link *k)
{
    k->ready = true;
    k->on->ready(k);
}

/* In clear text, and all that is: RFC 4511 section 4.14. */
static void _sl_ask_for_tls(struct sl_ldap_link *k)
{
    const char *why = "";
    const int r = ldap_extended_operation(k->ld, LDAP_EXOP_START_TLS, NULL, NULL, NULL, &k->sent);
    if (!_sl_sent(k, r, 1, &why))
        _sl_lost(k, why);
}

static void _sl_connected(struct sl_ldap_link *k)
{
    const struct sl_auth *a = k->config->auth;
    k->connected = true;
    sl_stream_watch_write(&k->stream, false);
    if (!_sl_ld_new(k))
        _sl_lost(k, "out of memory");
    else if (a->ldap.start_tls)
        _sl_ask_for_tls(k);
    else if (k->stream.ssl)
        _sl_shake(k);
    else
        _sl_ready(k);
}

static void _sl_shake(struct sl_ldap_link *k)
{
    const int r = sl_stream_handshake(&k->stream);
    if (r == 1)
        _sl_ready(k);
    if (r >= 0)
        return;
    const long v = SSL_get_verify_result(k->stream.ssl);
    _sl_lost(k, v != X509_V_OK ? X509_verify_cert_error_string(v)
                               : "the TLS handshake failed, or it is not TLS");
    ERR_clear_error();
}

static bool _sl_is_shaking(const struct sl_ldap_link *k)
{
    return k->stream.ssl && !SSL_is_init_finished(k->stream.ssl);
}

static void _sl_on_event(struct sl_ldap_link *k, bool readable)
{
    if (!k->connected) {
        const int r = sl_socket_error(k->stream.fd);
        if (r < 0)
            _sl_connect_next(k, strerror(-r));
        else
            _sl_connected(k);
    } else if (_sl_is_shaking(k)) {
        _sl_shake(k);
    } else if (readable) {
        _sl_read(k);
    } else {
        _sl_flush(k);
    }
}

static void _sl_on_writable(struct sl_stream *s)
{
    _sl_on_event(SL_CONTAINER_OF(s, struct sl_ldap_link, stream), false);
}

static void _sl_on_readable(struct sl_stream *s)
{
    _sl_on_event(SL_CONTAINER_OF(s, struct sl_ldap_link, stream), true);
}

static int _sl_connect(struct sl_ldap_link *k, const struct sl_ip *ip)
{
    const struct sl_auth *a = k->config->auth;
    const struct sl_sockaddr to = sl_sockaddr_of(ip, a->ldap.port);
    const bool at_once = a->ldap.tls && !a->ldap.start_tls;
    bool done = false;
    SL_CLOSE int fd = sl_socket_connect(&to, &done);
    if (fd < 0)
        return fd;
    SSL *ssl = at_once ? sl_tls_connect_new(k->config->tls, a->ldap.host) : NULL;
    if (at_once && !ssl)
        return -ENOMEM;
    k->stream = (struct sl_stream){.on_readable = _sl_on_readable, .on_writable = _sl_on_writable};
    sl_stream_open(&k->stream, k->config->loop, SL_TAKE_FD(fd), ssl);
    sl_stream_watch_write(&k->stream, true);
    ++*k->config->connects;
    k->open = true;
    return 0;
}

static void _sl_connect_next(struct sl_ldap_link *k, const char *why)
{
    if (k->open)
        sl_stream_close(&k->stream, false);
    k->open = false;
    while (k->next_ip < k->n_ips) {
        const int r = _sl_connect(k, &k->ips[k->next_ip++]);
        if (r == 0)
            return;
        why = strerror(-r);
    }
    _sl_lost(k, why);
}

static void _sl_on_addresses(struct sl_query *q, const char *error, const struct sl_ip *v, size_t n)
{
    struct sl_ldap_link *k = SL_CONTAINER_OF(q, struct sl_ldap_link, query);
    if (error) {
        _sl_lost(k, error);
        return;
    }
    k->n_ips = SL_MIN(n, (size_t)SL_RESOLVED_MAX);
    memcpy(k->ips, v, k->n_ips * sizeof(*v));
    _sl_connect_next(k, "it has no address");
}

/* ---- its life */

static void _sl_on_idle(struct sl_timer *t)
{
    struct sl_ldap_link *k = SL_CONTAINER_OF(t, struct sl_ldap_link, idle);
    _sl_lost(k, "nobody needs it");
}

struct sl_ldap_link *sl_ldap_link_new(struct sl_ldap *pool, const struct sl_ldap_config *config,
                                      const struct sl_ldap_link_events *on)
{
    struct sl_ldap_link *k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    *k = (struct sl_ldap_link){.pool = pool, .config = config, .on = on};
    k->query.done = _sl_on_addresses;
    sl_list_init(&k->node);
    sl_timer_init(&k->idle, _sl_on_idle);
    return k;
}

void sl_ldap_link_rest(struct sl_ldap_link *k)
{
    struct sl_loop *l = k->config->loop;
    sl_timer_set(l, &k->idle, l->now + SL_LDAP_IDLE_NS);
}

void sl_ldap_link_connect(struct sl_ldap_link *k)
{
    const struct sl_auth *a = k->config->auth;
    if (a->ldap.ip.family)
        _sl_on_addresses(&k->query, NULL, &a->ldap.ip, 1);
    else
        sl_resolve(k->config->resolver, a->ldap.host, &k->query);
}

static void _sl_free(struct sl_deferred *d)
{
    struct sl_ldap_link *k = SL_CONTAINER_OF(d, struct sl_ldap_link, end);
    if (k->ld)
        (void)ldap_destroy(k->ld);
    sl_buf_free(&k->in);
    sl_buf_wipe(&k->out);
    free(k);
}

void sl_ldap_link_close(struct sl_ldap_link *k)
{
    if (k->closed)
        return;
    k->closed = true;
    sl_query_cancel(&k->query);
    sl_timer_stop(k->config->loop, &k->idle);
    if (k->open)
        sl_stream_close(&k->stream, true);
    k->open = false;
    sl_list_remove(&k->node);
    sl_loop_defer(k->config->loop, &k->end, _sl_free);
}
