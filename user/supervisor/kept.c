/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of limits and penalties, kept in a file of the state directory: the bucket table is memory
 * where the guard is off, and so are the guard's pins after a reboot. Written by the supervisor alone, whole
 * and under another name first, every few seconds and when it stops; read once, before the first child is
 * there. Times in it are what was left when it was written: the monotonic clock begins anew with each boot.
 *
 * Invariant: a file that is cut, changed or of another version is said so and ignored, whole; and laid aside,
 * since the next one takes its name.
 */
#include "supervisor/supervisor_priv.h"

#include "base/io.h"
#include "kernel/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SL_KEPT_MAGIC   0x31746b6563756c73ull /* "sluckt1" */
#define SL_KEPT_VERSION 1
#define SL_KEPT_NAME    "limits.state"
#define SL_KEPT_LEAST   SL_NS_PER_SEC /* what is full again in a second is not worth a line */
#define SL_KEPT_MAX     (1u << 30)    /* bytes that are read */
#define SL_KEPT_SHARE   50            /* writing takes at most so small a part of the time */

/* As it stands in the file, in this host's byte order: it goes to no other. */
struct sl_kept_header {
    uint64_t magic, version;
    uint64_t checksum; /* of all behind it */
    uint64_t wall_ns, seed;
    uint64_t buckets, penalties;
};
struct sl_kept_bucket {
    uint64_t key, debt_ns, admitted, denied;
};
struct sl_kept_penalty {
    uint64_t left_ns;
    struct sl_penalty_key key;
    struct sl_penalty_value value;
};

int sl_kept_path(const struct sl_supervisor *s, const char *name, const char *suffix, char out[300])
{
    const int n = snprintf(out, 300, "%s/%s%s", s->kept_dir, name, suffix);
    return n < 0 || n >= 300 ? -ENAMETOOLONG : 0;
}

/* ---- writing */

static int _sl_add_run(const struct sl_bucket *from, const struct sl_bucket *to, struct sl_kept_header *h,
                       struct sl_buf *out)
{
    const uint64_t now = sl_now_ns();
    int r = 0;
    for (; r == 0 && from < to; from++) {
        const struct sl_bucket b = *from;
        if (!b.key || b.key & SL_BUCKET_PINNED || b.tat < now + SL_KEPT_LEAST)
            continue;
        const struct sl_kept_bucket k = {b.key, b.tat - now, b.admitted, b.denied};
        r = sl_buf_append(out, &k, sizeof(k));
        h->buckets++;
    }
    return r;
}

static int _sl_add_buckets(const struct sl_kernel_guard *g, struct sl_kept_header *h, struct sl_buf *out)
{
    const struct sl_bucket_table t = sl_kernel_buckets(g);
    int r = 0;
    for (size_t at = 0, end; r == 0 && (at = sl_kernel_buckets_written(g, at, &end)) < t.n; at = end)
        r = _sl_add_run(t.slots + at, t.slots + end, h, out);
    return r;
}

struct sl_keeping {
    struct sl_kept_header *h;
    struct sl_buf *out;
};
static int _sl_add_penalty(const struct sl_penalty_key *key, const struct sl_penalty_value *v, void *arg)
{
    const struct sl_keeping *k = arg;
    const uint64_t now = sl_now_ns();
    const struct sl_kept_penalty p = {v->deadline_ns > now ? v->deadline_ns - now : 0, *key, *v};
    if (key->scope == SL_PENALTY_FLOW || !p.left_ns) /* a flow does not outlive the host */
        return 0;
    k->h->penalties++;
    return sl_buf_append(k->out, &p, sizeof(p));
}

int sl_kept_replace(const struct sl_supervisor *s, const char *name, const struct sl_buf *b, bool sync)
{
    char path[300], fresh[300];
    int r = sl_kept_path(s, name, "", path);
    if (r == 0)
        r = sl_kept_path(s, name, ".new", fresh);
    if (r < 0)
        return r;
    SL_CLOSE int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = sl_write_all(fd, sl_buf_data(b), sl_buf_len(b));
    if (r == 0 && sync && fdatasync(fd) < 0)
        r = -errno;
    return r == 0 && rename(fresh, path) < 0 ? -errno : r;
}

int sl_kept_read(const struct sl_supervisor *s, const char *name, size_t most, void *head, size_t n,
                 struct sl_buf *out, char path[300])
{
    int r = sl_kept_path(s, name, "", path);
    if (r == 0)
        r = sl_read_file(path, most, out);
    if (r == 0 && n && sl_buf_len(out) >= n)
        memcpy(head, sl_buf_data(out), n);
    return r;
}

void sl_kept_save(struct sl_supervisor *s)
{
    struct sl_buf SL_BUF b = {0};
    struct sl_kept_header h = {
        .magic = SL_KEPT_MAGIC, .version = SL_KEPT_VERSION, .seed = sl_kernel_buckets(s->guard).seed};
    const uint64_t begun = sl_now_ns();
    if (begun < s->kept.next_ns && !s->stopping)
        return;
    h.wall_ns = sl_wall_ns();
    int r = sl_buf_append(&b, &h, sizeof(h));
    if (r == 0)
        r = _sl_add_buckets(s->guard, &h, &b);
    const int penalties = sl_kernel_fds(s->guard).penalties;
    if (r == 0 && penalties >= 0)
        r = sl_maps_penalties(penalties, _sl_add_penalty, &(struct sl_keeping){&h, &b});
    const bool nothing = h.buckets + h.penalties == 0;
    if (r == 0 && !(nothing && s->kept.empty)) {
        const size_t n = sl_buf_len(&b) - sizeof(h);
        h.checksum = sl_hash(sl_buf_data(&b) + sizeof(h), n, h.wall_ns ^ h.seed ^ h.buckets);
        memcpy(b.base + b.start, &h, sizeof(h));
        r = sl_kept_replace(s, SL_KEPT_NAME, &b, s->stopping);
    }
    if (r < 0 && !s->kept.failed)
        (void)sl_error_r(r, "what is left of limits cannot be kept in %s", s->kept_dir);
    s->kept.failed = r < 0;
    s->kept.empty = r == 0 && nothing;
    s->kept.next_ns = sl_now_ns() + SL_KEPT_SHARE * (sl_now_ns() - begun);
}

/* ---- reading */

static const char *_sl_wrong(struct sl_slice s, const struct sl_kept_header *h)
{
    if (s.n < sizeof(*h) || h->magic != SL_KEPT_MAGIC)
        return "it is no such file";
    if (h->version != SL_KEPT_VERSION)
        return "it is of another version";
    if (h->buckets > SL_KEPT_MAX || h->penalties > SL_KEPT_MAX ||
        s.n != sizeof(*h) + h->buckets * sizeof(struct sl_kept_bucket) +
                   h->penalties * sizeof(struct sl_kept_penalty))
        return "it is cut, or has grown";
    if (h->checksum != sl_hash(s.p + sizeof(*h), s.n - sizeof(*h), h->wall_ns ^ h->seed ^ h->buckets))
        return "its checksum is another";
    return NULL;
}

static size_t _sl_restore_buckets(struct sl_bucket_table *t, const struct sl_kept_header *h, const char *p,
                                  uint64_t gone)
{
    const uint64_t now = sl_now_ns();
    size_t restored = 0;
    for (uint64_t i = 0; i < h->buckets; i++, p += sizeof(struct sl_kept_bucket)) {
        struct sl_kept_bucket k;
        memcpy(&k, p, sizeof(k));
        struct sl_bucket *b = k.debt_ns > gone ? sl_bucket_get(t, k.key, now) : NULL;
        if (!b || b->tat >= now + k.debt_ns - gone)
            continue; /* full again meanwhile; or the table outlived us, and knows better */
        b->tat = now + k.debt_ns - gone;
        b->admitted = k.admitted;
        b->denied = k.denied;
        restored++;
    }
    return restored;
}

static int _sl_one(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    (void)k, (void)v;
    *(bool *)arg = true;
    return 1;
}

/* Only into an empty table: where the pins outlived us it knows better, and an added one would be doubled. */
static size_t _sl_restore_penalties(struct sl_supervisor *s, const struct sl_kept_header *h, const char *p,
                                    uint64_t gone)
{
    bool there = false;
    size_t restored = 0;
    const int fd = sl_kernel_fds(s->guard).penalties;
    if (fd >= 0)
        (void)sl_maps_penalties(fd, _sl_one, &there);
    for (uint64_t i = 0; fd >= 0 && !there && i < h->penalties; i++, p += sizeof(struct sl_kept_penalty)) {
        struct sl_kept_penalty k;
        memcpy(&k, p, sizeof(k));
        if (k.left_ns <= gone)
            continue;
        uint64_t deadline = 0;
        struct sl_penalty_request r = {.source = {.family = k.key.family, .addr = k.key.addr},
                                       .effect = (enum sl_penalty_scope)k.value.effect,
                                       .duration_ns = k.left_ns - gone,
                                       .max_ns = k.left_ns - gone,
                                       .rejections = k.value.rejections,
                                       .level = SL_MAX(k.value.level, 1u),
                                       .manual = k.value.manual != 0};
        memcpy(r.consumer, k.value.consumer, sizeof(r.consumer) - 1);
        memcpy(r.rule, k.value.rule, sizeof(r.rule) - 1);
        restored += sl_kernel_penalty_add(s->guard, &r, &deadline) == 0;
    }
    return restored;
}

void sl_kept_lay_aside(const struct sl_supervisor *s, const char *name, const char *wrong, const char *lost)
{
    char path[300], aside[300];
    const bool kept = sl_kept_path(s, name, "", path) == 0 && sl_kept_path(s, name, ".damaged", aside) == 0 &&
                      rename(path, aside) == 0;
    sl_warn("%s/%s is not used: %s: %s%s%s", s->kept_dir, name, wrong, lost, kept ? "; it is now " : "",
            kept ? aside : "");
}

void sl_kept_load(struct sl_supervisor *s)
{
    struct sl_buf SL_BUF b = {0};
    struct sl_kept_header h = {0};
    char path[300];
    const int r = sl_kept_read(s, SL_KEPT_NAME, SL_KEPT_MAX, &h, sizeof(h), &b, path);
    if (r == -ENOENT)
        return;
    const struct sl_slice text = sl_buf_slice(&b);
    const char *wrong = r < 0 ? strerror(-r) : _sl_wrong(text, &h);
    if (wrong) {
        sl_kept_lay_aside(s, SL_KEPT_NAME, wrong, "limits begin full, but for what the guard's pins hold");
        return;
    }
    const uint64_t wall = sl_wall_ns(), gone = wall > h.wall_ns ? wall - h.wall_ns : 0;
    if (sl_kernel_keep_seed(s->guard, h.seed) < 0) {
        sl_warn("%s is not used: the bucket table has other keys, and is in use", path);
        return;
    }
    struct sl_bucket_table t = sl_kernel_buckets(s->guard);
    const char *p = text.p + sizeof(h);
    const size_t buckets = _sl_restore_buckets(&t, &h, p, gone),
                 penalties =
                     _sl_restore_penalties(s, &h, p + h.buckets * sizeof(struct sl_kept_bucket), gone);
    if (buckets + penalties)
        sl_info("%zu buckets and %zu penalties go on as they were left", buckets, penalties);
}
