/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that keep coming on a veth pair while something else happens, and those that got past XDP, counted
 * at the receiving side. */
#ifndef SL_TESTS_FLOOD_H
#define SL_TESTS_FLOOD_H

#include "kernel_harness.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

struct th_flood {
    int out, in; /* packet sockets of sl1 and sl0 */
    struct th_packet packets[4];
    size_t n;
    atomic_bool stop;
    atomic_ulong sent;
    pthread_t thread;
};

static inline int th_packet_socket(const char *interface, int protocol)
{
    struct sockaddr_ll a = {.sll_family = AF_PACKET,
                            .sll_protocol = htons((uint16_t)protocol),
                            .sll_ifindex = (int)if_nametoindex(interface)};
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, a.sll_protocol);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static inline void *th_flood_run(void *arg)
{
    struct th_flood *f = arg;
    const struct timespec gap = {.tv_nsec = 50000}; /* others want the CPU too */
    for (size_t i = 0; !f->stop; i++) {
        const struct th_packet *p = &f->packets[i % f->n];
        if (send(f->out, p->b, p->n, 0) == (ssize_t)p->n)
            f->sent++;
        (void)nanosleep(&gap, NULL);
    }
    return NULL;
}

static inline void th_flood_from(struct th_flood *f, const char *source)
{
    f->packets[f->n++] = th_tcp4(source, 40000, "192.0.2.1", 443, TH_SYN);
}

static inline void th_flood_start(struct th_flood *f)
{
    f->out = th_packet_socket("sl1", 0);
    f->in = th_packet_socket("sl0", ETH_P_IP);
    assert_int_equal(pthread_create(&f->thread, NULL, th_flood_run, f), 0);
}

/* Until so many more were sent than by now. */
static inline void th_flood_more(struct th_flood *f, unsigned long n)
{
    const struct timespec gap = {.tv_nsec = 1000000};
    const unsigned long want = f->sent + n;
    while (f->sent < want)
        (void)nanosleep(&gap, NULL);
}

/* How many of its frames came through so far; they are taken away. */
static inline unsigned th_flood_passed(const struct th_flood *f)
{
    unsigned char b[2048];
    unsigned n = 0;
    for (ssize_t got = 0; got >= 0;) {
        got = recv(f->in, b, sizeof(b), 0);
        for (size_t i = 0; got >= 34 && i < f->n; i++)
            n += memcmp(b + 26, f->packets[i].b + 26, 4) == 0; /* the source */
    }
    return n;
}

static inline void th_flood_stop(struct th_flood *f)
{
    f->stop = true;
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    close(f->out);
}

#endif
