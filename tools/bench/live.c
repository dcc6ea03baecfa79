/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends COUNT copies of the frame in FILE out of the interface OUT as true xdp_frames, from SOURCES addresses
 * in turn, beginning with the one of that number, and prints the CPU nanoseconds that each took from here
 * until its receiver was done with it: one CPU sends and receives, since veth's NAPI runs where the frame was
 * put on its ring.
 *
 *   live GEN.o FILE OUT COUNT SOURCES FROM
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct parameters {
    __u32 out_ifindex, sources, first, from;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static size_t frame(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(buf, 1, size, f) : 0;
    if (n < 34)
        die(path);
    fclose(f);
    return n;
}

static int generator(const char *path, const struct parameters *p)
{
    struct bpf_object *o = bpf_object__open(path);
    struct bpf_map *rodata = o ? bpf_object__find_map_by_name(o, ".rodata") : NULL;
    size_t size;
    if (!rodata || !bpf_map__initial_value(rodata, &size) || size != sizeof(*p) ||
        bpf_map__set_initial_value(rodata, p, sizeof(*p)) || bpf_object__load(o))
        die(path);
    return bpf_program__fd(bpf_object__find_program_by_name(o, "gen"));
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* without what a hypervisor stole */
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    char data[2048];
    if (argc != 7) {
        fprintf(stderr, "usage: live GEN.o FILE OUT COUNT SOURCES FROM\n");
        return 2;
    }
    size_t n = frame(argv[2], data, sizeof(data));
    struct parameters p = {if_nametoindex(argv[3]), (__u32)strtoul(argv[5], NULL, 10), 0,
                           (__u32)strtoul(argv[6], NULL, 10)};
    memcpy(&p.first, data + 26, 4);
    p.first = ntohl(p.first);
    if (!p.out_ifindex)
        die(argv[3]);
    struct xdp_md ctx = {.data_end = (__u32)n, .ingress_ifindex = p.out_ifindex};
    LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (__u32)n, .ctx_in = &ctx,
                .ctx_size_in = sizeof(ctx), .repeat = atoi(argv[4]), .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                .batch_size = 64);
    int fd = generator(argv[1], &p);
    double before = cpu_ns();
    if (bpf_prog_test_run_opts(fd, &o))
        die("BPF_PROG_TEST_RUN");
    printf("%.1f\n", (cpu_ns() - before) / o.repeat);
    return 0;
}
