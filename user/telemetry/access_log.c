/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring and writer of the access log. Invariant: `head` is written by the worker alone, `tail` by the writer
 * alone; bytes between them are whole lines. A line is at most SL_LINE_MAX bytes, so that one write to a pipe
 * keeps it whole even when several workers share that pipe (PIPE_BUF, pipe(7)).
 */
#include "telemetry/access_log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SL_LINE_MAX PIPE_BUF
#define SL_BATCH    65536

struct sl_access_log {
    _Alignas(SL_CACHE_LINE) atomic_size_t head; /* the worker's cache line */
    atomic_uint_fast64_t dropped;
    struct sl_buf line;
    pthread_t thread;
    _Alignas(SL_CACHE_LINE) atomic_size_t tail; /* the writer's, and how the two wake each other */
    uint64_t fails_with;                        /* lines lost since writing began to fail; 0: it does not */
    sem_t wake;
    atomic_int next_fd; /* handed to the writer; -1: none */
    int fd;
    atomic_bool asleep, stop;
    bool pipe;
    bool torn; /* the last byte that got out ended no line */
    char batch[SL_BATCH];
    char ring[SL_ACCESS_LOG_RING]; /* both's */
};

/* ---- the writer */

static void _sl_take_fd(struct sl_access_log *l)
{
    int fd = atomic_exchange(&l->next_fd, -1);
    if (fd < 0)
        return;
    if (l->fd >= 0)
        (void)close(l->fd);
    struct stat st;
    l->fd = fd;
    l->torn = false;
    l->pipe = fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
}

/* Copies whole lines out of the ring, as many as one write may carry. */
static size_t _sl_next_batch(struct sl_access_log *l, size_t tail, size_t head)
{
    size_t n = SL_MIN(head - tail, l->pipe ? (size_t)SL_LINE_MAX : (size_t)SL_BATCH);
    size_t at = tail % SL_ACCESS_LOG_RING, first = SL_MIN(n, SL_ACCESS_LOG_RING - at);
    memcpy(l->batch, l->ring + at, first);
    memcpy(l->batch + first, l->ring, n - first);
    const char *last = memrchr(l->batch, '\n', n);
    return last ? (size_t)(last - l->batch) + 1 : n;
}

static uint64_t _sl_count_lines(const char *p, size_t n)
{
    uint64_t lines = 0;
    for (const char *nl = p; (nl = memchr(nl, '\n', (size_t)(p + n - nl))); nl++)
        lines++;
    return lines;
}

/* Said once, and once more when it is over: a log that cannot be written fills no other. */
static void _sl_failed(struct sl_access_log *l, const char *rest, size_t n, int error)
{
    const uint64_t lines = _sl_count_lines(rest, n);
    if (!l->fails_with)
        sl_warn("the access log cannot be written: %s; lines are lost, and counted, until it can",
                strerror(error));
    l->fails_with += lines;
    atomic_fetch_add(&l->dropped, lines);
}

static void _sl_wrote(struct sl_access_log *l, char last)
{
    if (l->fails_with)
        sl_warn("the access log is written again; %llu lines were lost", (unsigned long long)l->fails_with);
    l->fails_with = 0;
    l->torn = last != '\n';
}

/* What a full disk cut off stays a line by itself. */
static bool _sl_mend(struct sl_access_log *l)
{
    if (!l->torn || l->pipe)
        return true;
    if (write(l->fd, "\n", 1) != 1)
        return false;
    l->torn = false;
    return true;
}

static void _sl_write(struct sl_access_log *l, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = done || _sl_mend(l) ? write(l->fd, l->batch + done, n - done) : -1;
        if (w > 0) {
            done += (size_t)w;
            _sl_wrote(l, l->batch[done - 1]);
        } else if (w < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = l->fd, .events = POLLOUT};
            if (atomic_load(&l->stop) && poll(&p, 1, 100) == 0)
                break;
            (void)poll(&p, 1, 1000);
        } else if (w < 0 && errno != EINTR) { /* a full disk */
            _sl_failed(l, l->batch + done, n - done, errno);
            break;
        }
    }
}

static void *_sl_writer(void *arg)
{
    struct sl_access_log *l = arg;
    for (;;) {
        _sl_take_fd(l);
        size_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);
        size_t head = atomic_load_explicit(&l->head, memory_order_acquire);
        if (head != tail && l->fd >= 0) {
            size_t n = _sl_next_batch(l, tail, head);
            _sl_write(l, n);
            atomic_store_explicit(&l->tail, tail + n, memory_order_release);
            continue;
        }
        if (atomic_load(&l->stop))
            return NULL;
        atomic_store(&l->asleep, true);
        while (sem_wait(&l->wake) < 0 && errno == EINTR)
            ;
        atomic_store(&l->asleep, false);
    }
}

/* ---- the worker's side */

int sl_access_log_new(int fd, struct sl_access_log **out)
{
    struct sl_access_log *l = aligned_alloc(SL_CACHE_LINE, sizeof(*l));
    if (!l)
        return -ENOMEM;
    memset(l, 0, offsetof(struct sl_access_log, batch));
    l->fd = -1;
    atomic_init(&l->next_fd, fd);
    (void)sem_init(&l->wake, 0, 0);
    int r = pthread_create(&l->thread, NULL, _sl_writer, l);
    if (r) {
        (void)sem_destroy(&l->wake);
        free(l);
        return -r;
    }
    *out = l;
    return 0;
}

void sl_access_log_reopen(struct sl_access_log *l, int fd)
{
    int unused = atomic_exchange(&l->next_fd, fd);
    if (unused >= 0)
        (void)close(unused);
    (void)sem_post(&l->wake);
}

size_t sl_access_log_pending(const struct sl_access_log *l)
{
    return atomic_load_explicit(&l->head, memory_order_relaxed) -
           atomic_load_explicit(&l->tail, memory_order_acquire);
}

uint64_t sl_access_log_dropped(const struct sl_access_log *l)
{
    return atomic_load_explicit(&l->dropped, memory_order_relaxed);
}

void sl_access_log_kick(struct sl_access_log *l)
{
    if (sl_access_log_pending(l) && atomic_exchange(&l->asleep, false))
        (void)sem_post(&l->wake);
}

static int _sl_number(struct sl_buf *b, struct sl_slice name, uint64_t v)
{
    char digits[SL_U64_DIGITS];
    int r = sl_buf_append_slice(b, name);
    return r < 0 ? r : sl_buf_append(b, digits, (size_t)(sl_put_u64(digits, v) - digits));
}

/* Fields without a value are left out. */
static int _sl_text(struct sl_buf *b, struct sl_slice name, struct sl_slice v)
{
    if (!v.n)
        return 0;
    int r = sl_buf_append_slice(b, name);
    if (r == 0)
        r = sl_buf_append_json(b, sl_slice(v.p, SL_MIN(v.n, (size_t)SL_ACCESS_FIELD_MAX)));
    return r < 0 ? r : sl_buf_append(b, "\"", 1);
}

static int _sl_texts(struct sl_buf *b, const struct sl_access_record *r)
{
    const struct {
        struct sl_slice name, value;
    } fields[] = {
        {SL_S(",\"correlation_id\":\""), r->correlation_id},
        {SL_S(",\"client\":\""), r->client},
        {SL_S(",\"peer\":\""), r->peer},
        {SL_S(",\"listener\":\""), r->listener},
        {SL_S(",\"protocol\":\""), r->protocol},
        {SL_S(",\"method\":\""), r->method},
        {SL_S(",\"host\":\""), r->host},
        {SL_S(",\"path\":\""), r->path},
        {SL_S(",\"route\":\""), r->route},
        {SL_S(",\"consumer\":\""), r->consumer},
        {SL_S(",\"tier\":\""), r->tier},
        {SL_S(",\"upstream\":\""), r->upstream},
        {SL_S(",\"target\":\""), r->target},
        {SL_S(",\"reason\":\""), r->reason},
        {SL_S(",\"detail\":\""), r->detail},
        {SL_S(",\"user_agent\":\""), r->user_agent},
    };
    int e = 0;
    for (size_t i = 0; e == 0 && i < SL_ARRAY_LEN(fields); i++)
        e = _sl_text(b, fields[i].name, fields[i].value);
    return e;
}

static int _sl_format(struct sl_buf *b, const struct sl_access_format *f, const struct sl_access_record *r)
{
    if (f)
        return sl_access_format_line(b, f, r);

    char iso[SL_ISO_LEN];
    sl_wall_iso(r->wall_ns, iso);
    int e = _sl_text(b, SL_S("{\"time\":\""), sl_slice_str(iso));
    if (e == 0)
        e = _sl_number(b, SL_S(",\"status\":"), r->status);
    if (e == 0)
        e = _sl_number(b, SL_S(",\"duration_us\":"), r->duration_ns / 1000);
    if (e == 0 && r->first_byte_ns)
        e = _sl_number(b, SL_S(",\"upstream_us\":"), r->first_byte_ns / 1000);
    if (e == 0)
        e = _sl_number(b, SL_S(",\"bytes_in\":"), r->bytes_in);
    if (e == 0)
        e = _sl_number(b, SL_S(",\"bytes_out\":"), r->bytes_out);
    if (e == 0 && r->retries)
        e = _sl_number(b, SL_S(",\"retries\":"), r->retries);
    if (e == 0)
        e = _sl_texts(b, r);
    return e < 0 ? e : sl_buf_append(b, "}\n", 2);
}

static int _sl_put(struct sl_access_log *l, struct sl_slice line)
{
    size_t head = atomic_load_explicit(&l->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&l->tail, memory_order_acquire);
    if (SL_ACCESS_LOG_RING - (head - tail) < line.n)
        return -ENOSPC;
    size_t at = head % SL_ACCESS_LOG_RING, first = SL_MIN(line.n, SL_ACCESS_LOG_RING - at);
    memcpy(l->ring + at, line.p, first);
    memcpy(l->ring, line.p + first, line.n - first);
    atomic_store_explicit(&l->head, head + line.n, memory_order_release);
    return 0;
}

int sl_access_log_add(struct sl_access_log *l, const struct sl_access_format *f,
                      const struct sl_access_record *r)
{
    sl_buf_consume(&l->line, sl_buf_len(&l->line));
    int e = _sl_format(&l->line, f, r);
    if (e == 0 && sl_buf_len(&l->line) > SL_LINE_MAX) { /* escapes blew it up: what is long is left out */
        struct sl_access_record cut = *r;
        cut.path.n = SL_MIN(cut.path.n, (size_t)64);
        cut.host.n = SL_MIN(cut.host.n, (size_t)64);
        cut.user_agent.n = cut.method.n = 0;
        sl_buf_consume(&l->line, sl_buf_len(&l->line));
        e = _sl_format(&l->line, f, &cut);
    }
    if (e == 0)
        e = sl_buf_len(&l->line) > SL_LINE_MAX ? -ENOSPC : _sl_put(l, sl_buf_slice(&l->line));
    if (e < 0)
        atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
    return e < 0 ? -ENOSPC : 0;
}

void sl_access_log_free(struct sl_access_log *l, unsigned wait_ms)
{
    if (!l)
        return;
    atomic_store(&l->stop, true);
    (void)sem_post(&l->wake);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    uint64_t at = (uint64_t)until.tv_nsec + (uint64_t)wait_ms * SL_NS_PER_MS;
    until.tv_sec += (time_t)(at / SL_NS_PER_SEC);
    until.tv_nsec = (long)(at % SL_NS_PER_SEC);
    if (pthread_timedjoin_np(l->thread, NULL, &until) != 0)
        return; /* stuck in a write: the memory is the thread's until the process ends */
    if (l->fd >= 0)
        (void)close(l->fd);
    int unused = atomic_load(&l->next_fd);
    if (unused >= 0)
        (void)close(unused);
    (void)sem_destroy(&l->wake);
    sl_buf_free(&l->line);
    free(l);
}
