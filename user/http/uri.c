/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The normal form of a path. Invariant: what comes out has one reading, for the router, for a rule and for an
 * upstream: escapes only where a byte must be escaped and in upper case, no dot segment, no empty segment, no
 * hidden separator.
 */
#include "http/uri.h"
#include "http/chars_priv.h"

#include <errno.h>

static const char _sl_hex_digits[] = "0123456789ABCDEF";

/* The byte that "%XX" at p stands for, or -1. */
static int _sl_escape(const char *p, const char *end)
{
    if (end - p < 3 || !(sl_ch(p[1]) & SL_CH_HEX) || !(sl_ch(p[2]) & SL_CH_HEX))
        return -1;
    return (int)(sl_hex(p[1]) << 4 | sl_hex(p[2]));
}

/* Nothing to decode, to encode or to resolve: the usual path, which is then used where it lies. */
static bool _sl_is_plain(struct sl_slice path)
{
    for (size_t i = 1; i < path.n; i++) {
        if (path.p[i] == '/' || path.p[i] == '.') {
            if (path.p[i - 1] == '/')
                return false;
        } else if (!(sl_ch(path.p[i]) & SL_CH_PATH)) {
            return false;
        }
    }
    return true;
}

/* RFC 3629: how many bytes follow a first byte, and the range of the second one; 0: no first byte. */
static unsigned _sl_utf8_follow(int first, int *lo, int *hi)
{
    *lo = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *hi = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return first >= 0xc2 && first <= 0xdf   ? 1
           : first >= 0xe0 && first <= 0xef ? 2
           : first >= 0xf0 && first <= 0xf4 ? 3
                                            : 0;
}

/* The escapes from p on that make up one character beyond ASCII: their length, or 0 for overlong or invalid
 * UTF-8. */
static size_t _sl_utf8_escapes(const char *p, const char *end)
{
    int lo, hi;
    const unsigned follow = _sl_utf8_follow(_sl_escape(p, end), &lo, &hi);
    for (unsigned i = 1; i <= follow; i++) {
        const char *at = p + (size_t)3 * i;
        const int byte = at < end && *at == '%' ? _sl_escape(at, end) : -1;
        if (byte < lo || byte > hi)
            return 0;
        lo = 0x80;
        hi = 0xbf;
    }
    return follow ? (size_t)3 * (follow + 1) : 0;
}

static char *_sl_put_escape(char *out, unsigned byte)
{
    *out++ = '%';
    *out++ = _sl_hex_digits[byte >> 4];
    *out++ = _sl_hex_digits[byte & 15];
    return out;
}

/* One "%XX" (or one UTF-8 character of them) from *p into out; NULL where it hides a separator or is no
 * character. */
static char *_sl_norm_escape(const char **p, const char *end, char *out)
{
    const int byte = _sl_escape(*p, end);
    /* "%2f" and "%5c" are separators to some servers and data to others; "%00" ends the name for some. */
    if (byte <= 0 || byte == '/' || byte == '\\')
        return NULL;
    size_t n = 3;
    if (byte >= 0x80 && (n = _sl_utf8_escapes(*p, end)) == 0)
        return NULL;
    if (sl_ch((char)byte) & SL_CH_UNRES)
        *out++ = (char)byte;
    else
        for (size_t i = 0; i < n; i++) /* the escapes themselves, in upper case */
            *out++ = (char)((*p)[i] >= 'a' ? (*p)[i] - 'a' + 'A' : (*p)[i]);
    *p += n;
    return out;
}

/* Escapes in normal form: what pchar does not allow bare is escaped too. The end of what was written, or
 * NULL. */
static char *_sl_norm_bytes(const char *p, const char *end, char *out)
{
    while (p < end) {
        if (*p == '%') {
            out = _sl_norm_escape(&p, end, out);
            if (!out)
                return NULL;
        } else if (*p == '/' || (sl_ch(*p) & SL_CH_PATH)) {
            *out++ = *p++;
        } else if (*p != '\\' && (sl_ch(*p) & SL_CH_GRAPH)) {
            out = _sl_put_escape(out, (unsigned char)*p++);
        } else {
            return NULL;
        }
    }
    return out;
}

/* "..;x" is a dot segment to servlet containers (they cut path parameters off first), a name to all others.
 */
static bool _sl_dots_with_parameter(struct sl_slice seg)
{
    size_t dots = 0;
    while (dots < seg.n && seg.p[dots] == '.')
        dots++;
    if (dots == 0 || dots > 2 || dots == seg.n)
        return false;
    struct sl_slice rest = sl_slice(seg.p + dots, seg.n - dots);
    return rest.p[0] == ';' || sl_slice_starts(rest, SL_S("%3B"));
}

/* Removes dot segments in place (RFC 3986 section 5.2.4), but refuses to climb above the root: the length, or
 * 0. */
static size_t _sl_remove_dots(char *p, size_t n)
{
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        const char *next = memchr(p + i + 1, '/', n - i - 1);
        const size_t end = next ? (size_t)(next - p) : n;
        const struct sl_slice seg = sl_slice(p + i + 1, end - i - 1);
        if ((seg.n == 0 && next) || _sl_dots_with_parameter(seg))
            return 0;
        const bool dot = sl_slice_eq(seg, SL_S(".")), up = sl_slice_eq(seg, SL_S(".."));
        if (up && out == 0)
            return 0;
        while (up && p[--out] != '/')
            ;
        if (!dot && !up) {
            memmove(p + out, p + i, end - i);
            out += end - i;
        } else if (!next) {
            p[out++] = '/';
        }
        i = end;
    }
    return out;
}

static int _sl_norm_path(struct sl_arena *a, struct sl_slice raw, struct sl_slice *path)
{
    char *buf = sl_arena_alloc(a, raw.n * 3); /* every byte escaped */
    if (!buf)
        return -ENOMEM;
    const char *end = _sl_norm_bytes(raw.p, raw.p + raw.n, buf);
    const size_t n = end ? _sl_remove_dots(buf, (size_t)(end - buf)) : 0;
    *path = sl_slice(buf, n);
    return n ? 0 : -EINVAL;
}

/* The query is passed on as it came, so only what no target may hold is refused (RFC 9112 section 3.2). */
static bool _sl_query_ok(struct sl_slice q)
{
    for (size_t i = 0; i < q.n; i++)
        if (!(sl_ch(q.p[i]) & SL_CH_GRAPH) || q.p[i] == '#')
            return false;
    return true;
}

int sl_uri_normalize(struct sl_arena *a, struct sl_slice raw, struct sl_slice *path, struct sl_slice *query)
{
    if (raw.n == 0 || raw.p[0] != '/')
        return -EINVAL;
    const ssize_t mark = sl_slice_chr(raw, '?');
    const struct sl_slice p = sl_slice(raw.p, mark < 0 ? raw.n : (size_t)mark);
    *query = mark < 0 ? SL_SLICE_NUL : sl_slice(raw.p + mark + 1, raw.n - (size_t)mark - 1);
    if (!_sl_query_ok(*query) || sl_slice_chr(p, '#') >= 0)
        return -EINVAL;
    if (!_sl_is_plain(p))
        return _sl_norm_path(a, p, path);
    *path = p;
    return 0;
}

/* Whether a raw parameter name means name: an upstream decodes it before it compares. */
static bool _sl_names(struct sl_slice raw, struct sl_slice name)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n; n++) {
        int c = raw.p[i] == '%' ? _sl_escape(raw.p + i, raw.p + raw.n) : -1;
        i += c >= 0 ? 3 : 1;
        if (c < 0)
            c = raw.p[i - 1] == '+' ? ' ' : (unsigned char)raw.p[i - 1];
        if (n >= name.n || c != (unsigned char)name.p[n])
            return false;
    }
    return n == name.n;
}

static bool _sl_param_is(struct sl_slice param, struct sl_slice name, struct sl_slice *value)
{
    const ssize_t eq = sl_slice_chr(param, '=');
    const size_t n = eq < 0 ? param.n : (size_t)eq;
    *value = eq < 0 ? sl_slice(param.p + n, 0) : sl_slice(param.p + n + 1, param.n - n - 1);
    return _sl_names(sl_slice(param.p, n), name);
}

int sl_uri_query_get(struct sl_slice query, struct sl_slice name, struct sl_slice *value)
{
    struct sl_slice param, v;
    int found = 0;
    while (sl_slice_next(&query, '&', &param)) {
        if (!_sl_param_is(param, name, &v))
            continue;
        if (found++)
            return -EINVAL;
        *value = v;
    }
    return found;
}

struct sl_slice sl_uri_query_without(struct sl_arena *a, struct sl_slice query, struct sl_slice name)
{
    struct sl_slice rest = query, param, v;
    bool found = false;
    while (!found && sl_slice_next(&rest, '&', &param))
        found = _sl_param_is(param, name, &v);
    if (!found)
        return query;
    char *buf = sl_arena_alloc(a, query.n + 1);
    size_t n = 0;
    rest = query;
    while (buf && sl_slice_next(&rest, '&', &param)) {
        if (_sl_param_is(param, name, &v))
            continue;
        if (n)
            buf[n++] = '&';
        memcpy(buf + n, param.p, param.n);
        n += param.n;
    }
    /* Without memory the whole query goes: losing it is seen, leaking the parameter would not be. */
    return n ? sl_slice(buf, n) : SL_SLICE_NUL;
}

int sl_uri_decode(struct sl_arena *a, struct sl_slice s, bool plus, struct sl_slice *out)
{
    char *buf = sl_arena_alloc(a, s.n + 1);
    size_t n = 0;
    if (!buf)
        return -ENOMEM;
    for (size_t i = 0; i < s.n; n++) {
        int c = (unsigned char)s.p[i];
        if (c == '%' && (c = _sl_escape(s.p + i, s.p + s.n)) < 0)
            return -EINVAL;
        buf[n] = plus && s.p[i] == '+' ? ' ' : (char)c;
        i += s.p[i] == '%' ? 3 : 1;
    }
    buf[n] = '\0';
    *out = sl_slice(buf, n);
    return 0;
}
