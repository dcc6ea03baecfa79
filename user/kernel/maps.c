/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the guard's maps; per-CPU values are summed here. See maps.h. */
#include "kernel/maps.h"
#include "base/clock.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const struct {
    const char *name, *help;
    enum sl_verdict_kind kind;
} _sl_reasons[SL_REASON_COUNT] = {
#define SL_X(e, n, k, h) [SL_##e] = {.name = (n), .help = (h), .kind = (k)},
    SL_REASONS(SL_X)
#undef SL_X
};

const char *sl_reason_name(enum sl_reason r)
{
    return (unsigned)r < SL_REASON_COUNT ? _sl_reasons[r].name : "unknown";
}

const char *sl_reason_help(enum sl_reason r)
{
    return (unsigned)r < SL_REASON_COUNT ? _sl_reasons[r].help : "";
}

bool sl_reason_drops(enum sl_reason r)
{
    return (unsigned)r < SL_REASON_COUNT && _sl_reasons[r].kind == SL_DROPS;
}

bool sl_reason_answers(enum sl_reason r)
{
    return (unsigned)r < SL_REASON_COUNT && _sl_reasons[r].kind == SL_ANSWERS;
}

/* The kernel writes each CPU's value 8-byte aligned. */
int sl_maps_sum(int fd, uint32_t key, uint64_t *out, size_t words)
{
    const int cpus = libbpf_num_possible_cpus();
    if (fd < 0)
        return -ENODEV;
    if (cpus < 0)
        return cpus;
    SL_FREE uint64_t *v = calloc((size_t)cpus * words, sizeof(*v));
    if (!v)
        return -ENOMEM;
    if (bpf_map_lookup_elem(fd, &key, v) < 0)
        return -errno;
    memset(out, 0, words * sizeof(*out));
    for (size_t i = 0; i < (size_t)cpus * words; i++)
        out[i % words] += v[i];
    return 0;
}

int sl_maps_reasons(int fd, struct sl_count out[SL_REASON_COUNT], struct sl_count would[SL_REASON_COUNT])
{
    uint64_t v[2];
    for (uint32_t i = 0; i < 2 * SL_REASON_COUNT; i++) {
        struct sl_count *to = i < SL_REASON_COUNT ? &out[i] : would ? &would[i - SL_REASON_COUNT] : NULL;
        if (!to)
            break;
        const int r = sl_maps_sum(fd, i, v, SL_ARRAY_LEN(v));
        if (r < 0)
            return r;
        *to = (struct sl_count){.packets = v[0], .bytes = v[1]};
    }
    return 0;
}

int sl_maps_listener(int fd, uint32_t slot, struct sl_listener_stats *out)
{
    uint64_t v[6];
    const int r = sl_maps_sum(fd, slot, v, SL_ARRAY_LEN(v));
    if (r == 0)
        *out = (struct sl_listener_stats){{v[0], v[1]}, {v[2], v[3]}, {v[4], v[5]}};
    return r;
}

int sl_maps_consumer_bytes(int fd, uint32_t slot, struct sl_consumer_bytes *out)
{
    uint64_t v[4];
    const int r = sl_maps_sum(fd, slot, v, SL_ARRAY_LEN(v));
    if (r == 0)
        *out = (struct sl_consumer_bytes){{v[0], v[1]}, {v[2], v[3]}};
    return r;
}

/* An entry removed under the walk makes the kernel start over: the walk is bounded by the map's size. */
int sl_maps_penalties(int fd, sl_penalty_fn fn, void *arg)
{
    struct sl_penalty_key key;
    struct sl_penalty_value v;
    const uint64_t now = sl_now_ns();
    if (fd < 0)
        return 0;
    int r = bpf_map_get_next_key(fd, NULL, &key);
    for (uint32_t n = 0; r == 0 && n < SL_MAX_PENALTIES; n++) {
        if (bpf_map_lookup_elem(fd, &key, &v) == 0 && v.deadline_ns > now) {
            v.consumer[SL_NAME_LEN - 1] = v.rule[SL_NAME_LEN - 1] = '\0';
            const int stop = fn(&key, &v, arg);
            if (stop)
                return stop;
        }
        r = bpf_map_get_next_key(fd, &key, &key);
    }
    return r < 0 && errno != ENOENT ? -errno : 0;
}

int sl_maps_tag_socket(int storage_fd, int sock, uint32_t consumer_slot)
{
    const struct sl_sock_consumer v = {.consumer = consumer_slot};
    if (storage_fd < 0)
        return 0;
    return bpf_map_update_elem(storage_fd, &sock, &v, BPF_ANY) < 0 ? -errno : 0;
}

static size_t _sl_bucket_count(int fd)
{
    struct stat st;
    struct bpf_map_info info = {0};
    uint32_t len = sizeof(info);
    if (fstat(fd, &st) < 0)
        return 0;
    if (S_ISREG(st.st_mode))
        return (size_t)st.st_size / sizeof(struct sl_bucket);
    if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
        return 0;
    if (info.value_size != sizeof(struct sl_bucket)) {
        errno = EINVAL;
        return 0;
    }
    return info.max_entries;
}

struct sl_bucket *sl_maps_buckets(int fd, size_t *n)
{
    *n = _sl_bucket_count(fd);
    if (*n == 0)
        return NULL;
    void *p = mmap(NULL, *n * sizeof(struct sl_bucket), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}
