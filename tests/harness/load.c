/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open-loop HTTP/1.1 client: requests are due at fixed times, and latency counts from when a request was
 * due, not from when a connection was free (a closed loop hides every stall). One thread, one epoll; a
 * bounded count of requests.
 *
 *   load ADDRESS PORT CONNECTIONS RATE SECONDS WINDOW_MS [HEADER]...
 *
 * RATE 0: closed loop, as fast as it goes. Prints one JSON object: answers by status, errors by kind, and per
 * window of WINDOW_MS its count, p50 and p99 in microseconds, and how long the hypervisor kept the CPUs to
 * itself in it (stolen_ms, of all CPUs: what is late then is not the server's doing). A connection that the
 * server closed between two answers, having said so, is no error; one that breaks with a request on it is.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum state { DOWN, CONNECTING, IDLE, BUSY };
struct conn {
    int fd;
    enum state state;
    uint64_t due, retry_at;
    size_t got, sent;
    char buf[16384];
};
struct sample {
    uint32_t window, us;
};

static struct conn *conns;
static unsigned n_conns, rr;
static struct sockaddr_storage peer;
static socklen_t peer_len;
static char request[8192];
static size_t request_len;
static uint64_t *queue; /* due times that no connection was free for */
static size_t q_head, q_tail, q_cap;
static uint64_t status[6], sent, done, refused, broken, timeouts, reconnects;
static struct sample *samples;
static uint64_t *stolen; /* by window, in clock ticks */
static size_t n_windows;
static size_t n_samples, cap_samples;
static uint64_t start, window_ns, end_ns, rate, due_count;
static int ep;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void down(struct conn *c, uint64_t retry_at)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = DOWN;
    c->got = 0;
    c->retry_at = retry_at;
}

static void connect_start(struct conn *c)
{
    int one = 1;
    c->fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (void *)&peer, peer_len) && errno != EINPROGRESS) {
        refused++;
        down(c, now_ns() + 50000000);
        return;
    }
    c->state = CONNECTING;
    c->retry_at = now_ns() + 3000000000u; /* a SYN may be dropped */
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e))
        die("epoll_ctl");
}

static void record(uint64_t due)
{
    uint64_t t = now_ns();
    if (n_samples == cap_samples) {
        cap_samples = cap_samples ? cap_samples * 2 : 65536;
        samples = realloc(samples, cap_samples * sizeof(*samples));
        if (!samples)
            die("realloc");
    }
    samples[n_samples++] =
        (struct sample){(uint32_t)((due - start) / window_ns), (uint32_t)((t - due) / 1000)};
}

static int send_one(struct conn *c, uint64_t due)
{
    ssize_t n = send(c->fd, request, request_len, MSG_NOSIGNAL);
    if (n != (ssize_t)request_len)
        return -1; /* closed while idle: the caller takes another connection */
    c->state = BUSY;
    c->due = due;
    c->got = 0;
    sent++;
    return 0;
}

static int next_due(uint64_t *due)
{
    if (rate == 0) {
        *due = now_ns();
        return *due < start + end_ns;
    }
    if (q_head == q_tail)
        return 0;
    *due = queue[q_head++ % q_cap];
    return 1;
}

static void offer(struct conn *c)
{
    uint64_t due;
    if (c->state != IDLE || !next_due(&due))
        return;
    if (send_one(c, due) == 0)
        return;
    down(c, 0);
    reconnects++;
    if (rate)
        queue[--q_head % q_cap] = due; /* first again */
    connect_start(c);
}

/* Length of a whole response at buf, 0 if more is needed, -1 if it cannot be read. */
static ssize_t whole(const char *buf, size_t n, int *code, int *close_after)
{
    const char *end = memmem(buf, n, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (n < 12 || memcmp(buf, "HTTP/1.1 ", 9))
        return -1;
    *code = atoi(buf + 9);
    size_t head = (size_t)(end - buf) + 4;
    char h[4096];
    if (head >= sizeof(h))
        return -1;
    memcpy(h, buf, head);
    h[head] = 0;
    const char *cl = strcasestr(h, "\r\ncontent-length:");
    *close_after = strcasestr(h, "\r\nconnection: close") != NULL;
    if (!cl)
        return -1;
    size_t body = strtoul(cl + 17, NULL, 10);
    return head + body <= n ? (ssize_t)(head + body) : 0;
}

static void lost(struct conn *c)
{
    if (c->state == BUSY)
        broken++;
    else if (c->state == CONNECTING)
        refused++;
    else
        reconnects++;
    down(c, now_ns() + (c->state == IDLE ? 0 : 20000000));
}

static void readable(struct conn *c)
{
    for (;;) {
        ssize_t n = recv(c->fd, c->buf + c->got, sizeof(c->buf) - c->got, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            lost(c);
            return;
        }
        c->got += (size_t)n;
        int code = 0, close_after = 0;
        ssize_t len = c->state == BUSY ? whole(c->buf, c->got, &code, &close_after) : -1;
        if (len < 0 || (len == 0 && c->got == sizeof(c->buf))) {
            lost(c);
            return;
        }
        if (len == 0)
            continue;
        status[code / 100 < 6 ? code / 100 : 0]++;
        done++;
        if (code < 300)
            record(c->due);
        c->got = 0;
        c->state = IDLE;
        if (close_after) {
            down(c, 0);
            reconnects++;
            return;
        }
        offer(c);
        if (c->state == DOWN)
            return;
    }
}

static void event(struct conn *c, uint32_t events)
{
    if (c->state == CONNECTING && (events & (EPOLLOUT | EPOLLERR))) {
        int err = 0;
        socklen_t l = sizeof(err);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
        if (err) {
            refused++;
            down(c, now_ns() + 50000000);
            return;
        }
        c->state = IDLE;
        offer(c);
    }
    if (c->fd >= 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        readable(c);
}

static void tick(uint64_t t)
{
    while (rate && due_count < rate * (end_ns / 1000000) / 1000 &&
           start + due_count * 1000000000u / rate <= t) {
        if (q_tail - q_head == q_cap) { /* cannot: as large as all requests */
            errno = ENOSPC;
            die("queue");
        }
        queue[q_tail++ % q_cap] = start + due_count++ * 1000000000u / rate;
    }
    for (unsigned k = 0; k < n_conns; k++) {
        struct conn *c = &conns[(rr + k) % n_conns];
        if (c->state == DOWN && t >= c->retry_at && t < start + end_ns)
            connect_start(c);
        else if (c->state == CONNECTING && t >= c->retry_at) {
            refused++;
            down(c, t);
        } else if (c->state == BUSY && t > c->due && t - c->due > 5000000000u && rate == 0) {
            timeouts++;
            down(c, t);
        } else
            offer(c);
    }
    rr++;
}

/* To the moment that the next request is due, so that the clock's grain is not measured as latency. */
static void arm(int timer)
{
    uint64_t at = start + due_count * 1000000000u / (rate ? rate : 100);
    if (rate == 0 || at > start + end_ns)
        at = now_ns() + 5000000;
    struct itimerspec when = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL))
        die("timerfd_settime");
}

static int by_value(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->window != y->window)
        return x->window < y->window ? -1 : 1;
    return x->us < y->us ? -1 : x->us > y->us;
}

/* proc_stat(5): the eighth value of the first line. */
static uint64_t stolen_ticks(void)
{
    unsigned long v = 0;
    FILE *f = fopen("/proc/stat", "re");
    if (!f || fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %lu", &v) != 1)
        die("/proc/stat");
    fclose(f);
    return v;
}

/* Books what was stolen since the last window that was looked at. */
static void steal(uint64_t t)
{
    static uint64_t before, at;
    uint64_t window = (t - start) / window_ns;
    if (before && window == at)
        return;
    uint64_t now = stolen_ticks();
    if (before)
        for (; at < window && at < n_windows; at++)
            stolen[at] = now - before;
    before = now ? now : 1;
    at = window;
}

static void report(void)
{
    qsort(samples, n_samples, sizeof(*samples), by_value);
    uint64_t waiting = 0;
    for (unsigned i = 0; i < n_conns; i++)
        waiting += conns[i].state == BUSY;
    printf("{\"sent\":%lu,\"done\":%lu,\"broken\":%lu,\"refused\":%lu,\"timeouts\":%lu,\"unanswered\":%lu,"
           "\"unsent\":%lu,\"reconnects\":%lu,\"status\":{",
           sent, done, broken, refused, timeouts, waiting, q_tail - q_head, reconnects);
    for (int i = 1; i < 6; i++)
        printf("%s\"%dxx\":%lu", i > 1 ? "," : "", i, status[i]);
    printf("},\"windows\":[");
    for (size_t i = 0, first = 1; i < n_samples;) {
        size_t j = i;
        while (j < n_samples && samples[j].window == samples[i].window)
            j++;
        printf("%s{\"at\":%u,\"n\":%zu,\"p50\":%u,\"p99\":%u,\"stolen_ms\":%lu}", first ? "" : ",",
               samples[i].window, j - i, samples[i + (j - i) / 2].us, samples[i + (j - i) * 99 / 100].us,
               samples[i].window < n_windows
                   ? stolen[samples[i].window] * 1000 / (uint64_t)sysconf(_SC_CLK_TCK)
                   : 0);
        first = 0;
        i = j;
    }
    printf("]}\n");
}

static volatile sig_atomic_t told_to_stop;
static void on_term(int sig)
{
    (void)sig;
    told_to_stop = 1;
}

static void target(const char *address, const char *port)
{
    struct sockaddr_in *v4 = (void *)&peer;
    struct sockaddr_in6 *v6 = (void *)&peer;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)atoi(port));
        peer_len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)atoi(port));
        peer_len = sizeof(*v6);
    } else {
        errno = EINVAL;
        die(address);
    }
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: load ADDRESS PORT CONNECTIONS RATE SECONDS WINDOW_MS [HEADER]...\n");
        return 2;
    }
    target(argv[1], argv[2]);
    n_conns = (unsigned)atoi(argv[3]);
    rate = strtoul(argv[4], NULL, 10);
    end_ns = (uint64_t)(strtod(argv[5], NULL) * 1e9);
    window_ns = strtoul(argv[6], NULL, 10) * 1000000u;
    request_len = (size_t)snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: gw.test\r\n");
    for (int i = 7; i < argc && request_len < sizeof(request) - 4; i++)
        request_len +=
            (size_t)snprintf(request + request_len, sizeof(request) - request_len, "%s\r\n", argv[i]);
    request_len += (size_t)snprintf(request + request_len, sizeof(request) - request_len, "\r\n");
    q_cap = rate * (end_ns / 1000000) / 1000 + 2;
    conns = calloc(n_conns, sizeof(*conns));
    queue = calloc(q_cap, sizeof(*queue));
    n_windows = end_ns / window_ns + 1;
    stolen = calloc(n_windows, sizeof(*stolen));
    ep = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!conns || !queue || !stolen || ep < 0 || timer < 0 || request_len >= sizeof(request) || n_conns == 0)
        die("start");
    for (unsigned i = 0; i < n_conns; i++)
        conns[i].fd = -1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e);
    signal(SIGTERM, on_term);
    start = now_ns();
    for (;;) {
        struct epoll_event ev[256];
        arm(timer);
        int n = epoll_wait(ep, ev, 256, 10);
        for (int i = 0; i < n; i++) {
            uint64_t ticks;
            if (ev[i].data.ptr)
                event(ev[i].data.ptr, ev[i].events);
            else if (read(timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
                die("timer");
        }
        uint64_t t = now_ns();
        if (told_to_stop && t < start + end_ns)
            end_ns = t - start;
        tick(t);
        steal(t);
        unsigned busy = 0;
        for (unsigned i = 0; i < n_conns; i++)
            busy += conns[i].state == BUSY;
        if (t > start + end_ns && ((busy == 0 && q_head == q_tail) || t > start + end_ns + 3000000000u))
            break;
    }
    report();
    return 0;
}
