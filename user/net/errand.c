/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errands on their socket. Invariant: a payload that is given out lies within the message that it came with,
 * and its length is the one that the header states.
 */
#include "net/errand.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

static_assert(offsetof(struct sl_errand_ask, size) == 0, "the size comes first");
static_assert(offsetof(struct sl_errand_answer, size) == 0, "the size comes first");

const char *sl_errand_status_name(enum sl_errand_status s)
{
    static const char *const names[] = {
#define SL_X(e, name) [SL_ERRAND_##e] = (name),
        SL_ERRAND_STATUSES(SL_X)
#undef SL_X
    };
    return names[s];
}

static int _sl_send(int sock, void *head, size_t n_head, struct sl_slice payload, size_t max)
{
    struct iovec iov[] = {{.iov_base = head, .iov_len = n_head},
                          {.iov_base = (void *)(uintptr_t)payload.p, .iov_len = payload.n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = SL_ARRAY_LEN(iov)};
    ssize_t n;
    if (payload.n > max)
        return -EMSGSIZE;
    const uint32_t size = (uint32_t)(n_head + payload.n);
    memcpy(head, &size, sizeof(size));
    do
        n = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -errno;
    return (size_t)n == size ? 0 : -EIO;
}

static int _sl_recv(int sock, void *head, size_t n_head, char *buf, size_t max, struct sl_slice *payload)
{
    struct iovec iov[] = {{.iov_base = head, .iov_len = n_head}, {.iov_base = buf, .iov_len = max}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = SL_ARRAY_LEN(iov)};
    ssize_t n;
    uint32_t size;
    memset(head, 0, n_head);
    do
        n = recvmsg(sock, &msg, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
    memcpy(&size, head, sizeof(size));
    if ((size_t)n < n_head || size != (size_t)n || (msg.msg_flags & MSG_TRUNC))
        return -EPROTO;
    *payload = sl_slice(buf, (size_t)n - n_head);
    return 1;
}

int sl_errand_send_ask(int sock, struct sl_errand_ask *head, struct sl_slice payload)
{
    return _sl_send(sock, head, sizeof(*head), payload, SL_ERRAND_ASK_MAX);
}

int sl_errand_send_answer(int sock, struct sl_errand_answer *head, struct sl_slice payload)
{
    return _sl_send(sock, head, sizeof(*head), payload, SL_ERRAND_ANSWER_MAX);
}

int sl_errand_recv_ask(int sock, struct sl_errand_ask *head, char *buf, struct sl_slice *payload)
{
    return _sl_recv(sock, head, sizeof(*head), buf, SL_ERRAND_ASK_MAX, payload);
}

int sl_errand_recv_answer(int sock, struct sl_errand_answer *head, char *buf, struct sl_slice *payload)
{
    const int r = _sl_recv(sock, head, sizeof(*head), buf, SL_ERRAND_ANSWER_MAX, payload);
    return r == 1 && head->status >= SL_ERRAND_STATUS_COUNT ? -EPROTO : r;
}
