/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open-loop HTTP/1.1 client: requests come when a Poisson process of the given rate says, on the next
 * connection that is free, and the time of each counts from the moment it was due, so that a server that
 * stalls is charged for all that had to wait meanwhile. The arrivals are the same in each run.
 *
 *   paced PORT RATE SECONDS CONNECTIONS     127.0.0.1 only; prints
 * {"requests":…,"errors":…,"p50_us":…,"p99_us":…}
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SEC 1000000000ull
#define MAX_CONNS  1024
#define WAIT_NS    (4 * NS_PER_SEC) /* for the last answers */

struct conn {
    int fd;
    uint64_t due; /* of the request under way */
    size_t have;
    char in[4096];
};

struct client {
    struct conn conns[MAX_CONNS];
    struct conn *idle[MAX_CONNS]; /* last in, first out */
    size_t n_idle;
    int epoll;
    uint64_t *due; /* [n], in order */
    double *took;  /* us */
    size_t n, sent, done, errors;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void open_conn(struct client *c, struct conn *k, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    k->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (k->fd < 0 || connect(k->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("connect");
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(k->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = k};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, k->fd, &e) < 0)
        die("epoll_ctl");
    c->idle[c->n_idle++] = k;
}

static void plan(struct client *c, double rate, double seconds)
{
    uint64_t at = now_ns() + NS_PER_SEC / 10;
    c->n = (size_t)(rate * seconds);
    c->due = calloc(c->n, sizeof(*c->due));
    c->took = calloc(c->n, sizeof(*c->took));
    if (!c->n || !c->due || !c->took)
        die("plan");
    srand48(7);
    for (size_t i = 0; i < c->n; i++)
        c->due[i] = at += (uint64_t)(-log(1 - drand48()) / rate * (double)NS_PER_SEC);
}

/* Sends what is due as far as connections are free. */
static void send_due(struct client *c, uint64_t now)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    while (c->sent < c->n && c->n_idle && c->due[c->sent] <= now) {
        struct conn *k = c->idle[--c->n_idle];
        k->due = c->due[c->sent++];
        k->have = 0;
        if (write(k->fd, request, sizeof(request) - 1) != sizeof(request) - 1)
            die("write");
    }
}

/* Whether the answer is whole: a head with Content-Length, and that much behind it. */
static int whole(const struct conn *k)
{
    const char *end = memmem(k->in, k->have, "\r\n\r\n", 4);
    const char *length = end ? strcasestr(k->in, "\r\ncontent-length:") : NULL;
    return length && k->have >= (size_t)(end + 4 - k->in) + strtoul(length + 17, NULL, 10);
}

static void receive(struct client *c, struct conn *k)
{
    ssize_t n = read(k->fd, k->in + k->have, sizeof(k->in) - 1 - k->have);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fprintf(stderr, "paced: a connection ended\n");
        exit(1);
    }
    k->have += (size_t)n;
    k->in[k->have] = '\0';
    if (!whole(k))
        return;
    c->errors += strncmp(k->in, "HTTP/1.1 200", 12) != 0;
    c->took[c->done++] = (double)(now_ns() - k->due) / 1000;
    c->idle[c->n_idle++] = k;
}

static void run(struct client *c)
{
    uint64_t end = c->due[c->n - 1] + WAIT_NS;
    while (c->done < c->n) {
        uint64_t now = now_ns();
        if (now > end)
            break;
        send_due(c, now);
        uint64_t until = c->sent < c->n && c->n_idle ? c->due[c->sent] : now + NS_PER_SEC / 10;
        uint64_t wait = until > now ? until - now : 0;
        struct timespec t = {.tv_sec = (time_t)(wait / NS_PER_SEC), .tv_nsec = (long)(wait % NS_PER_SEC)};
        struct epoll_event e[64];
        int got = epoll_pwait2(c->epoll, e, 64, &t, NULL);
        for (int i = 0; i < got; i++)
            receive(c, e[i].data.ptr);
    }
    c->errors += c->n - c->done;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static struct client c;
    if (argc != 5 || atoi(argv[4]) < 1 || atoi(argv[4]) > MAX_CONNS) {
        fprintf(stderr, "usage: paced PORT RATE SECONDS CONNECTIONS\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1ul);
    c.epoll = epoll_create1(0);
    for (int i = 0; i < atoi(argv[4]); i++)
        open_conn(&c, &c.conns[i], (uint16_t)atoi(argv[1]));
    plan(&c, atof(argv[2]), atof(argv[3]));
    run(&c);
    qsort(c.took, c.done, sizeof(*c.took), by_size);
    printf("{\"requests\":%zu,\"errors\":%zu,\"p50_us\":%.0f,\"p99_us\":%.0f}\n", c.done, c.errors,
           c.done ? c.took[c.done / 2] : 0, c.done ? c.took[c.done * 99 / 100] : 0);
    return 0;
}
