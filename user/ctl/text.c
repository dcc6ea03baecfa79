/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: bytes that a terminal would obey escaped, numbers in units, durations read and written. */
#include "ctl/ctl_priv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

int sl_ctl_escape(struct sl_buf *out, struct sl_slice s, bool keep_newlines)
{
    while (s.n) {
        unsigned char c = (unsigned char)s.p[0];
        size_t n = sl_slice_utf8(s);
        /* C1 controls are C2 80 to C2 9F; 8-bit terminals obey them as they obey ESC */
        bool bad = n == 0 || c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s.p[1] < 0xa0);
        if (c == '\n' && keep_newlines)
            bad = false;
        size_t take = SL_MAX(n, (size_t)1);
        for (size_t i = 0; bad && i < take; i++)
            if (sl_buf_printf(out, "\\x%02x", (unsigned char)s.p[i]) < 0)
                return -ENOMEM;
        if (!bad && sl_buf_append(out, s.p, take) < 0)
            return -ENOMEM;
        s = sl_slice(s.p + take, s.n - take);
    }
    return 0;
}

size_t sl_ctl_width(struct sl_slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

size_t sl_ctl_cut(struct sl_slice s, size_t columns)
{
    size_t i = 0;
    for (size_t seen = 0; i < s.n; i++) {
        seen += ((unsigned char)s.p[i] & 0xc0) != 0x80;
        if (seen > columns)
            break;
    }
    return i;
}

static const char *_sl_scaled(double v, double base, const char *const *units, size_t n,
                              char out[SL_CTL_UNIT])
{
    size_t u = 0;
    for (; v >= base * (1 - 0.0005) && u + 1 < n; u++)
        v /= base;
    bool whole = v >= 100 || (u == 0 && v == floor(v));
    (void)snprintf(out, SL_CTL_UNIT, whole ? "%.0f%s" : "%.1f%s", v, units[u]);
    return out;
}

const char *sl_ctl_count(double v, char out[SL_CTL_UNIT])
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P"};
    return _sl_scaled(v, 1000, units, SL_ARRAY_LEN(units), out);
}

const char *sl_ctl_bytes(double v, char out[SL_CTL_UNIT])
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
    return _sl_scaled(v, 1024, units, SL_ARRAY_LEN(units), out);
}

const char *sl_ctl_span(double seconds, char out[SL_CTL_UNIT])
{
    double s = SL_MAX(seconds, 0.0);
    unsigned long long t = s < 1e15 ? (unsigned long long)s : 0;
    if (s < 10)
        (void)snprintf(out, SL_CTL_UNIT, "%.1fs", s);
    else if (t < 60)
        (void)snprintf(out, SL_CTL_UNIT, "%llus", t);
    else if (t < 3600)
        (void)snprintf(out, SL_CTL_UNIT, "%llum%02llus", t / 60, t % 60);
    else if (t < 86400)
        (void)snprintf(out, SL_CTL_UNIT, "%lluh%02llum", t / 3600, t / 60 % 60);
    else
        (void)snprintf(out, SL_CTL_UNIT, "%llud%02lluh", t / 86400, t / 3600 % 24);
    return out;
}

const char *sl_ctl_latency(double seconds, char out[SL_CTL_UNIT])
{
    if (seconds < 0 || isnan(seconds))
        (void)snprintf(out, SL_CTL_UNIT, "-");
    else if (seconds < 0.001)
        (void)snprintf(out, SL_CTL_UNIT, "%.0fus", seconds * 1e6);
    else if (seconds < 1)
        (void)snprintf(out, SL_CTL_UNIT, "%.1fms", seconds * 1e3);
    else
        (void)snprintf(out, SL_CTL_UNIT, "%.1fs", seconds);
    return out;
}

int sl_ctl_duration_ms(const char *s, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(s, "0123456789");
    uint64_t n;
    if (sl_slice_u64(sl_slice(s, digits), &n))
        return -EINVAL;
    for (size_t i = 0; i < SL_ARRAY_LEN(units); i++)
        if (strcmp(s + digits, units[i].unit) == 0)
            return __builtin_mul_overflow(n, units[i].ms, out) || *out > INT64_MAX / 1000000 ? -EINVAL : 0;
    return -EINVAL;
}

static int _sl_flushed(FILE *f, bool ok)
{
    if (ok && fflush(f) == 0)
        return SL_CTL_OK;
    if (errno != EPIPE) /* a pager that was quit needs no comment */
        (void)fprintf(stderr, "sluicectl: cannot write the answer: %s\n", strerror(errno));
    return SL_CTL_FAILED;
}

int sl_ctl_print(const struct sl_buf *out, FILE *f)
{
    size_t n = sl_buf_len(out);
    return _sl_flushed(f, n == 0 || fwrite(sl_buf_data(out), 1, n, f) == n);
}

static int _sl_print_json(const json_t *j, size_t flags)
{
    char *text SL_FREE = json_dumps(j, flags | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    errno = text ? 0 : ENOMEM;
    return _sl_flushed(stdout, text && printf("%s\n", text) > 0);
}

int sl_ctl_print_json(const json_t *j)
{
    return _sl_print_json(j, JSON_INDENT(2));
}

int sl_ctl_print_json_line(const json_t *j)
{
    return _sl_print_json(j, JSON_COMPACT);
}

double sl_ctl_num(const json_t *j, const char *key)
{
    return json_number_value(json_object_get(j, key));
}

const char *sl_ctl_str(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}
