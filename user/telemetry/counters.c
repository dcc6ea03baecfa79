/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/counters.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

const uint32_t sl_histogram_bounds_us[SL_HISTOGRAM_BUCKETS - 1] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000};

void sl_histogram_observe(struct sl_histogram *h, uint64_t us)
{
    unsigned i = 0;
    while (i < SL_HISTOGRAM_BUCKETS - 1 && us > sl_histogram_bounds_us[i])
        i++;
    h->buckets[i]++;
    h->sum_us += us;
}

const char *sl_proxy_reason_name(enum sl_proxy_reason r)
{
    static const char *const names[] = {
#define SL_X(e, name, status) name,
        SL_PROXY_REASONS(SL_X)
#undef SL_X
    };
    return r < SL_WHY_COUNT ? names[r] : "?";
}

unsigned sl_proxy_reason_status(enum sl_proxy_reason r)
{
    static const unsigned statuses[] = {
#define SL_X(e, name, status) status,
        SL_PROXY_REASONS(SL_X)
#undef SL_X
    };
    return r < SL_WHY_COUNT ? statuses[r] : 500;
}

const char *sl_h2_why_name(enum sl_h2_why why)
{
    static const char *const names[] = {
#define SL_X(e, name, code) name,
        SL_H2_WHYS(SL_X)
#undef SL_X
    };
    return why < SL_H2_WHY_COUNT ? names[why] : "?";
}

uint32_t sl_h2_why_code(enum sl_h2_why why)
{
    static const uint32_t codes[] = {
#define SL_X(e, name, code) code,
        SL_H2_WHYS(SL_X)
#undef SL_X
    };
    return why < SL_H2_WHY_COUNT ? codes[why] : 2;
}

static size_t _sl_size(uint32_t workers)
{
    return (workers + 1) * sizeof(struct sl_worker_counters) + sizeof(struct sl_shared);
}

static int _sl_map(int fd, uint32_t workers, struct sl_counters *out)
{
    void *p = mmap(NULL, _sl_size(workers), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    *out = (struct sl_counters){.workers = workers, .fd = fd, .blocks = p};
    out->shared = (struct sl_shared *)(void *)(out->blocks + workers + 1);
    return 0;
}

int sl_counters_new(uint32_t workers, struct sl_counters *out)
{
    if (workers == 0 || workers > SL_MAX_WORKERS)
        return -EINVAL;
    SL_CLOSE int fd = memfd_create("sluice-counters", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)_sl_size(workers)) < 0)
        return -errno;
    int r = _sl_map(fd, workers, out);
    if (r == 0)
        (void)SL_TAKE_FD(fd);
    return r;
}

int sl_counters_map(int fd, struct sl_counters *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    size_t blocks = (size_t)st.st_size - SL_MIN((size_t)st.st_size, sizeof(struct sl_shared));
    size_t n = blocks / sizeof(struct sl_worker_counters);
    if (n < 2 || n > SL_MAX_WORKERS + 1 || blocks % sizeof(struct sl_worker_counters))
        return -EINVAL;
    return _sl_map(fd, (uint32_t)n - 1, out);
}

void sl_counters_unmap(struct sl_counters *c)
{
    (void)munmap(c->blocks, _sl_size(c->workers));
    if (c->fd >= 0)
        (void)close(c->fd);
    *c = (struct sl_counters){.fd = -1};
}
