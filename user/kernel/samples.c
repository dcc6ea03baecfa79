/* SPDX-License-Identifier: Apache-2.0 */
/* See samples.h. What the ring holds is the guard's own, so only sizes are checked. */
#include "kernel/samples.h"
#include "kernel/maps.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

struct sl_sample_ring {
    struct ring_buffer *ring;
    sl_sample_fn fn;
    void *arg;
};

static int _sl_on_sample(void *arg, void *data, size_t size)
{
    const struct sl_sample_ring *r = arg;
    const struct sl_sample *s = data;
    if (size == sizeof(*s) && s->captured <= SL_SAMPLE_BYTES)
        r->fn(s, r->arg);
    return 0;
}

int sl_samples_open(int fd, sl_sample_fn fn, void *arg, struct sl_sample_ring **out)
{
    struct sl_sample_ring *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = (struct sl_sample_ring){.fn = fn, .arg = arg};
    r->ring = ring_buffer__new(fd, _sl_on_sample, r, NULL);
    if (!r->ring) {
        const int e = -errno;
        free(r);
        return e;
    }
    *out = r;
    return 0;
}

int sl_samples_fd(const struct sl_sample_ring *r)
{
    return ring_buffer__epoll_fd(r->ring);
}

void sl_samples_read(struct sl_sample_ring *r)
{
    (void)ring_buffer__consume(r->ring);
}

void sl_samples_close(struct sl_sample_ring *r)
{
    if (!r)
        return;
    ring_buffer__free(r->ring);
    free(r);
}

int sl_samples_counts(int fd, struct sl_sample_counts *out)
{
    uint64_t v[3];
    const int r = sl_maps_sum(fd, 0, v, SL_ARRAY_LEN(v));
    if (r == 0)
        *out = (struct sl_sample_counts){.taken = v[0], .lost = v[1], .skipped = v[2]};
    return r;
}
