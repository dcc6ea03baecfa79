/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client for the admin socket: one request, one response, one connection, under one deadline. Only what the
 * admin server sends is understood (status line, Content-Length or end of stream); anything else is an error,
 * since whatever listens there may not be sluiced.
 */
#include "base/clock.h"
#include "base/ip.h"
#include "ctl/ctl_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define SL_CTL_TIMEOUT_MS 70000 /* `upgrade` loads another program, `apply` compiles a policy everywhere */
#define SL_CTL_HEAD_MAX   16384

static int _sl_content_length(struct sl_slice head, bool *has, uint64_t *out)
{
    struct sl_slice line;
    for (*has = false; sl_slice_next(&head, '\n', &line);) {
        ssize_t colon = sl_slice_chr(line, ':');
        if (colon < 0)
            continue;
        struct sl_slice name = sl_slice(line.p, (size_t)colon);
        struct sl_slice value = sl_slice(line.p + colon + 1, line.n - (size_t)colon - 1);
        if (value.n && value.p[value.n - 1] == '\r')
            value.n--;
        if (sl_slice_ieq(name, SL_S("transfer-encoding")))
            return -EPROTO;
        if (!sl_slice_ieq(name, SL_S("content-length")))
            continue;
        if (*has || sl_slice_u64(sl_slice_trim(value), out))
            return -EPROTO;
        *has = true;
    }
    return 0;
}

/* "HTTP/1.1 200 …" (RFC 9112 section 4) */
static int _sl_status_line(struct sl_slice bytes, unsigned *status)
{
    static const char version[] = "HTTP/1.";
    size_t n = SL_MIN(bytes.n, sizeof(version) - 1);
    uint64_t code;
    if (n && memcmp(bytes.p, version, n) != 0)
        return -EPROTO;
    if (bytes.n < sizeof("HTTP/1.1 200") - 1)
        return 0;
    if (bytes.p[8] != ' ' || sl_slice_u64(sl_slice(bytes.p + 9, 3), &code) || code < 100 || code > 599)
        return -EPROTO;
    *status = (unsigned)code;
    return 1;
}

int sl_ctl_reply_parse(struct sl_slice bytes, bool eof, struct sl_ctl_reply *reply)
{
    int r = _sl_status_line(bytes, &reply->status);
    if (r <= 0)
        return r == 0 && eof ? -EPROTO : r;
    const char *end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4);
    if (!end)
        return eof || bytes.n > SL_CTL_HEAD_MAX ? -EPROTO : 0;
    struct sl_slice body = sl_slice(end + 4, bytes.n - (size_t)(end + 4 - bytes.p));
    uint64_t length = 0;
    bool has;
    r = _sl_content_length(sl_slice(bytes.p, (size_t)(end + 2 - bytes.p)), &has, &length);
    if (r)
        return r;
    if (body.n > SL_CTL_REPLY_MAX || length > SL_CTL_REPLY_MAX)
        return -EFBIG;
    if (has ? body.n < length : !eof)
        return eof ? -EPROTO : 0;
    reply->body = sl_slice(body.p, has ? (size_t)length : body.n);
    return 1;
}

static int _sl_wait(int fd, short events, uint64_t deadline)
{
    for (;;) {
        uint64_t now = sl_now_ns();
        struct pollfd p = {.fd = fd, .events = events};
        int r = now >= deadline ? 0 : poll(&p, 1, (int)((deadline - now) / SL_NS_PER_MS + 1));
        if (r < 0 && errno == EINTR)
            continue;
        return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : -errno;
    }
}

static int _sl_connect(const char *path)
{
    struct sl_sockaddr sa = {.len = sizeof(sa.un)};
    sa.un.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(sa.un.sun_path))
        return -ENAMETOOLONG;
    memcpy(sa.un.sun_path, path, strlen(path) + 1);
    SL_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &sa.sa, sa.len) < 0)
        return errno == EAGAIN ? -EBUSY : -errno; /* EAGAIN: the backlog is full */
    return SL_TAKE_FD(fd);
}

int sl_ctl_ping(const char *socket)
{
    SL_CLOSE int fd = _sl_connect(socket);
    return fd < 0 ? fd : 0;
}

static int _sl_send(int fd, struct sl_slice s, uint64_t deadline)
{
    while (s.n) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n > 0)
            s = sl_slice(s.p + n, s.n - (size_t)n);
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        else if (_sl_wait(fd, POLLOUT, deadline))
            return -ETIMEDOUT;
    }
    return 0;
}

static int _sl_receive(int fd, uint64_t deadline, struct sl_buf *bytes, struct sl_ctl_reply *reply)
{
    for (;;) {
        int r = sl_buf_reserve(bytes, 65536);
        if (r < 0)
            return r;
        ssize_t n = recv(fd, bytes->base + bytes->end, sl_buf_room(bytes), 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n < 0) {
            r = _sl_wait(fd, POLLIN, deadline);
            if (r < 0)
                return r;
            continue;
        }
        sl_buf_commit(bytes, (size_t)n);
        r = sl_ctl_reply_parse(sl_buf_slice(bytes), n == 0, reply);
        if (r != 0)
            return SL_MIN(r, 0);
    }
}

int sl_ctl_exchange(const char *socket, const char *method, const char *path, struct sl_slice body,
                    int timeout_ms, struct sl_buf *bytes, struct sl_ctl_reply *reply)
{
    uint64_t deadline = sl_now_ns() + (uint64_t)timeout_ms * SL_NS_PER_MS;
    struct sl_buf SL_BUF request = {0};
    int r = sl_buf_printf(
        &request, "%s %s HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n",
        method, path, body.n, body.n ? "Content-Type: application/json\r\n" : "");
    if (r == 0)
        r = sl_buf_append_slice(&request, body);
    if (r < 0)
        return r;
    SL_CLOSE int fd = _sl_connect(socket);
    if (fd < 0)
        return fd;
    r = _sl_send(fd, sl_buf_slice(&request), deadline);
    /* EPIPE: it answered before it had read all; the answer says why */
    return r < 0 && r != -EPIPE ? r : _sl_receive(fd, deadline, bytes, reply);
}

static const char *_sl_advice(int error)
{
    switch (-error) {
    case ENOENT:
        return "there is no such socket. Is sluiced running? Its policy's admin.bind names the socket; give "
               "it with "
               "--socket PATH or $SLUICE_SOCKET";
    case ECONNREFUSED:
        return "nobody listens on it. Is sluiced running? A socket file left over from an earlier run "
               "answers so";
    case EACCES:
    case EPERM:
        return "permission denied. Run as root, or as the user that started sluiced";
    case EBUSY:
        return "its queue of connections is full: sluiced is stuck or swamped; try again, then look at its "
               "log";
    case ETIMEDOUT:
        return "it took the connection but did not answer in time; sluiced's log may say why";
    case ENAMETOOLONG:
        return "a socket's path has at most 107 bytes";
    case EPROTO:
        return "what answers there does not speak HTTP as sluiced's admin socket does; is it another "
               "program's?";
    case EFBIG:
        return "the answer is longer than 64 MiB";
    case ECONNRESET:
        return "the connection was cut before the answer was whole: sluiced ended or is being restarted; try "
               "again";
    default:
        return strerror(-error);
    }
}

static void _sl_complain(const struct sl_ctl *ctl, const char *method, const char *path, int error)
{
    struct sl_buf SL_BUF name = {0};
    if (ctl->quiet)
        return;
    if (sl_ctl_escape(&name, sl_slice_str(ctl->socket), false) == 0)
        (void)fprintf(stderr, "sluicectl: %s %s on " SL_SFMT " (%s): %s\n", method, path,
                      SL_SARG(sl_buf_slice(&name)), ctl->socket_from, _sl_advice(error));
}

/* What the daemon said to a request that it refused: problem+json's detail, or "error". */
static void _sl_refused(const struct sl_ctl *ctl, const char *method, const char *path,
                        const struct sl_ctl_reply *reply, const json_t *j)
{
    const char *title = sl_ctl_str(j, "title"), *detail = sl_ctl_str(j, "detail"),
               *error = sl_ctl_str(j, "error");
    struct sl_buf SL_BUF text = {0};
    const char *main = *detail ? detail : *error ? error : *title ? title : "";
    if (ctl->quiet)
        return;
    if (sl_ctl_escape(&text,
                      *main           ? sl_slice_str(main)
                      : reply->body.n ? reply->body
                                      : SL_S("no reason given"),
                      false) < 0)
        return;
    (void)fprintf(stderr, "sluicectl: sluiced refused %s %s with %u: " SL_SFMT "%s\n", method, path,
                  reply->status, (int)SL_MIN(sl_buf_len(&text), (size_t)2000),
                  sl_buf_len(&text) ? sl_buf_data(&text) : "",
                  reply->status == 403 ? " (only root, the daemon's user and who started it may)" : "");
}

json_t *sl_ctl_call(const struct sl_ctl *ctl, const char *method, const char *path, const json_t *body)
{
    struct sl_buf SL_BUF bytes = {0};
    struct sl_ctl_reply reply = {0};
    char *text SL_FREE = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text) {
        _sl_complain(ctl, method, path, -ENOMEM);
        return NULL;
    }
    int r = sl_ctl_exchange(ctl->socket, method, path, sl_slice_str(text), SL_CTL_TIMEOUT_MS, &bytes, &reply);
    if (r < 0) {
        _sl_complain(ctl, method, path, r);
        return NULL;
    }
    json_t *j = json_loadb(reply.body.p, reply.body.n, JSON_REJECT_DUPLICATES, NULL);
    if (reply.status >= 300 && !json_object_get(j, "ok")) {
        _sl_refused(ctl, method, path, &reply, j);
        json_decref(j);
        return NULL;
    }
    if (!json_is_object(j)) {
        _sl_complain(ctl, method, path, -EPROTO);
        json_decref(j);
        return NULL;
    }
    return j;
}

int sl_ctl_call_text(const struct sl_ctl *ctl, const char *path, struct sl_buf *out)
{
    struct sl_buf SL_BUF bytes = {0};
    struct sl_ctl_reply reply = {0};
    int r = sl_ctl_exchange(ctl->socket, "GET", path, SL_SLICE_NUL, SL_CTL_TIMEOUT_MS, &bytes, &reply);
    if (r == 0 && reply.status >= 300) {
        json_t *j = json_loadb(reply.body.p, reply.body.n, 0, NULL);
        _sl_refused(ctl, "GET", path, &reply, j);
        json_decref(j);
        return -1;
    }
    if (r == 0)
        r = sl_buf_append_slice(out, reply.body);
    if (r < 0)
        _sl_complain(ctl, "GET", path, r);
    return r < 0 ? -1 : 0;
}
