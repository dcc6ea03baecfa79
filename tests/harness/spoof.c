/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNs from addresses that nobody has: spoof INTERFACE DST_MAC DST PORT NET/LEN COUNT RATE. Sends COUNT of
 * them, at most RATE a second, from random addresses of the network and random ports, and says how many went
 * out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

struct frame {
    uint8_t eth[14], ip[20], tcp[20], padding[6];
};

static uint64_t random_bits(void)
{
    static uint64_t x = 0x9e3779b97f4a7c15ull;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static uint32_t sum_of(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    return sum;
}

static void put_sum(uint8_t *at, uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    at[0] = (uint8_t)(~sum >> 8);
    at[1] = (uint8_t)~sum;
}

static void make(struct frame *f, const uint8_t mac[6], uint32_t dst, uint16_t port, uint32_t src,
                 uint16_t sport)
{
    memset(f, 0, sizeof(*f));
    memcpy(f->eth, mac, 6);
    memcpy(f->eth + 6, "\x02\x5f\0\0\0\1\x08", 7);
    memcpy(f->ip, "\x45\0\0\x28\0\0\x40\0\x40\x06", 10);
    memcpy(f->ip + 12, &src, 4);
    memcpy(f->ip + 16, &dst, 4);
    put_sum(f->ip + 10, sum_of(f->ip, 20));
    memcpy(f->tcp, &sport, 2);
    memcpy(f->tcp + 2, &port, 2);
    f->tcp[12] = 5 << 4;
    f->tcp[13] = 2;
    f->tcp[14] = 4;
    put_sum(f->tcp + 16, sum_of(f->tcp, 20) + sum_of(f->ip + 12, 8) + 6 + 20);
}

int main(int argc, char **argv)
{
    struct in_addr dst, net;
    uint8_t mac[6];
    if (argc != 8 ||
        sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) !=
            6 ||
        !inet_aton(argv[3], &dst))
        return 2;
    char *slash = strchr(argv[5], '/');
    if (!slash)
        return 2;
    *slash = '\0';
    const uint32_t mask = (uint32_t)(0xffffffffull >> atoi(slash + 1)); /* of a /32 nothing is left */
    const unsigned long count = strtoul(argv[6], NULL, 10), rate = strtoul(argv[7], NULL, 10);
    const uint16_t port = htons((uint16_t)atoi(argv[4]));
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
    const int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd < 0 || !inet_aton(argv[5], &net) || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("spoof");
        return 1;
    }
    static struct frame frames[BATCH];
    struct iovec iov[BATCH];
    struct mmsghdr msgs[BATCH];
    memset(msgs, 0, sizeof(msgs));
    unsigned long sent = 0;
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (sent < count) {
        unsigned n = 0;
        for (; n < BATCH && sent + n < count; n++) {
            const uint64_t r = random_bits();
            make(&frames[n], mac, dst.s_addr, port, htonl(ntohl(net.s_addr) | ((uint32_t)r & mask)),
                 (uint16_t)(r >> 40 | 1024));
            iov[n] = (struct iovec){.iov_base = &frames[n], .iov_len = sizeof(frames[n])};
            msgs[n].msg_hdr = (struct msghdr){.msg_iov = &iov[n], .msg_iovlen = 1};
        }
        const int r = sendmmsg(fd, msgs, n, 0);
        if (r > 0)
            sent += (unsigned)r;
        clock_gettime(CLOCK_MONOTONIC, &now);
        const double due = (double)sent / (double)rate,
                     is = (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
        if (due > is)
            usleep((useconds_t)((due - is) * 1e6));
    }
    printf("%lu\n", sent);
    return 0;
}
