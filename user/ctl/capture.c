/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `capture`: the guard's sampled drops as they come, in lines, in JSON or as pcapng. The daemon keeps a
 * window of them; this polls it and says what it missed. A file is whole after every poll, so that an
 * interrupt loses nothing.
 */
#include "base/clock.h"
#include "base/io.h"
#include "ctl/sample_priv.h"
#include "kernel/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SL_POLL_MS 200

struct sl_capture {
    const struct sl_ctl *ctl;
    bool reasons[SL_REASON_COUNT], any;
    uint64_t left;     /* samples still wanted */
    uint64_t deadline; /* CLOCK_MONOTONIC */
    int fd;            /* of the pcapng; -1: lines */
    struct sl_pcapng pcapng;
    uint64_t taken, missed;
    struct sl_buf out;
};

static bool _sl_reason(struct sl_capture *c, const char *name)
{
    for (unsigned i = 0; i < SL_REASON_COUNT; i++)
        if (sl_reason_drops((enum sl_reason)i) && strcmp(sl_reason_name((enum sl_reason)i), name) == 0)
            return c->reasons[i] = true;
    return false;
}

/* Takes every --reason off argv, which may be given many times: how many arguments are left, or -1 with
 * *bad. */
static int _sl_take_reasons(struct sl_capture *c, int argc, char **argv, const char **bad)
{
    int n = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = strncmp(argv[i], "--reason=", 9) == 0 ? argv[i] + 9 : NULL;
        if (strcmp(argv[i], "--reason") == 0 && i + 1 < argc)
            value = argv[++i];
        if (!value) {
            argv[n++] = argv[i];
            continue;
        }
        *bad = value;
        if (!_sl_reason(c, value))
            return -1;
        c->any = true;
    }
    argv[n] = NULL;
    return n;
}

static int _sl_bad_reason(const char *bad)
{
    char text[400] = "";
    size_t n = 0;
    for (unsigned i = 0; i < SL_REASON_COUNT && n < sizeof(text); i++)
        if (sl_reason_drops((enum sl_reason)i))
            n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", sl_reason_name((enum sl_reason)i));
    return sl_ctl_usage("capture", "capture: \"%s\" is no reason to drop; there are:%s", bad, text);
}

/* ---- one sample, one answer */

static bool _sl_wanted(const struct sl_capture *c, const json_t *s)
{
    for (unsigned i = 0; c->any && i < SL_REASON_COUNT; i++)
        if (c->reasons[i] && strcmp(sl_reason_name((enum sl_reason)i), sl_ctl_str(s, "reason")) == 0)
            return true;
    return !c->any;
}

static int _sl_one(struct sl_capture *c, const json_t *s)
{
    if (c->fd >= 0)
        return sl_sample_pcapng(&c->pcapng, s, &c->out);
    if (!c->ctl->json)
        return sl_sample_line(s, &c->out);
    char *text SL_FREE = json_dumps(s, JSON_COMPACT | JSON_ENSURE_ASCII);
    return text ? sl_buf_printf(&c->out, "%s\n", text) : -ENOMEM;
}

static int _sl_answer(struct sl_capture *c, const json_t *j)
{
    size_t i;
    json_t *s;
    c->missed += (uint64_t)sl_ctl_num(j, "missed");
    json_array_foreach(json_object_get(j, "samples"), i, s)
    {
        if (c->left == 0 || !_sl_wanted(c, s))
            continue;
        if (_sl_one(c, s) < 0)
            return SL_CTL_FAILED;
        c->left--;
        c->taken++;
    }
    return SL_CTL_OK;
}

static int _sl_flush(struct sl_capture *c)
{
    const int fd = c->fd >= 0 ? c->fd : STDOUT_FILENO;
    const int r = sl_write_all(fd, sl_buf_data(&c->out), sl_buf_len(&c->out));
    sl_buf_consume(&c->out, sl_buf_len(&c->out));
    if (r < 0)
        (void)fprintf(stderr, "sluicectl: capture: cannot write: %s\n", strerror(-r));
    return r < 0 ? SL_CTL_FAILED : SL_CTL_OK;
}

/* ---- the whole */

static void _sl_sleep_until(uint64_t deadline)
{
    const uint64_t now = sl_now_ns(), want = SL_POLL_MS * SL_NS_PER_MS,
                   ns = deadline > now ? SL_MIN(want, deadline - now) : 0;
    const struct timespec t = {.tv_sec = 0, .tv_nsec = (long)ns};
    (void)nanosleep(&t, NULL);
}

/* An answer, or NULL with stderr told. */
static json_t *_sl_ask(const struct sl_capture *c, const char *after)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/v1/samples?after=%s", after);
    json_t *j = sl_ctl_call(c->ctl, "GET", path, NULL);
    if (!j || json_is_true(json_object_get(j, "sampling")))
        return j;
    (void)fprintf(stderr, "sluicectl: capture: nothing is sampled: the policy has no `kernel` section, or "
                          "kernel.samples_per_second is 0\n");
    json_decref(j);
    return NULL;
}

static int _sl_capture(struct sl_capture *c)
{
    char after[24] = "now";
    int r = SL_CTL_OK;
    bool last = false;
    while (r == SL_CTL_OK) {
        json_t *j = _sl_ask(c, after);
        if (!j)
            return SL_CTL_FAILED;
        (void)snprintf(after, sizeof(after), "%lld",
                       (long long)json_integer_value(json_object_get(j, "next")));
        r = _sl_answer(c, j);
        const bool more = json_is_true(json_object_get(j, "more"));
        json_decref(j);
        if (r == SL_CTL_OK)
            r = _sl_flush(c);
        if (c->left == 0 || (last && !more))
            break;
        last = sl_now_ns() >= c->deadline; /* what came up to the end is still fetched */
        if (!more && !last)
            _sl_sleep_until(c->deadline);
    }
    return r;
}

static int _sl_open(struct sl_capture *c, const char *path)
{
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO))
        return sl_ctl_usage("capture", "capture: pcapng is nothing for a terminal: --write FILE, or a pipe");
    c->fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO)
                                   : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (c->fd < 0) {
        (void)fprintf(stderr, "sluicectl: capture: cannot write %s: %s\n", path, strerror(errno));
        return SL_CTL_FAILED;
    }
    return sl_pcapng_begin(&c->pcapng, SL_SAMPLE_BYTES, &c->out) < 0 ? SL_CTL_FAILED : _sl_flush(c);
}

static int _sl_run(struct sl_capture *c, const char *path)
{
    int r = path ? _sl_open(c, path) : SL_CTL_OK;
    if (r == SL_CTL_OK)
        r = _sl_capture(c);
    if (r == SL_CTL_OK && (path || c->missed))
        (void)fprintf(stderr, "%llu samples, %llu missed\n", (unsigned long long)c->taken,
                      (unsigned long long)c->missed);
    sl_closep(&c->fd);
    sl_buf_free(&c->out);
    return r;
}

int sl_ctl_capture(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *count = NULL, *span = NULL, *path = NULL, *bad = NULL;
    const struct sl_ctl_option options[] = {
        {"--count", &count, NULL}, {"--for", &span, NULL}, {"--write", &path, NULL}};
    struct sl_capture c = {.ctl = ctl, .left = UINT64_MAX, .deadline = UINT64_MAX, .fd = -1};
    uint64_t ms = 0;
    size_t n;
    argc = _sl_take_reasons(&c, argc, argv, &bad);
    if (argc < 0)
        return _sl_bad_reason(bad);
    if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), NULL, 0, &n))
        return SL_CTL_USAGE;
    if (count && (sl_slice_u64(sl_slice_str(count), &c.left) || c.left == 0))
        return sl_ctl_usage(argv[0], "capture: --count \"%s\" is no number of samples", count);
    if (span && sl_ctl_duration_ms(span, &ms))
        return sl_ctl_usage(argv[0], "capture: --for \"%s\" is no duration, as 10s or 5m", span);
    if (span)
        c.deadline = sl_now_ns() + ms * SL_NS_PER_MS;
    return _sl_run(&c, path);
}
