/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard before llhttp: lines and fields exactly as RFC 9112 writes them, none of the leniences that it
 * allows to recipients, because every lenience is a second reading that another server may have. Invariant:
 * the cursor never passes its end, and a byte is accepted by one rule only.
 */
#include "http/chars_priv.h"
#include "http/h1_priv.h"

static const struct {
    const char *name, *text;
    unsigned status;
} _sl_errors[SL_H1_ERROR_COUNT] = {[SL_H1_OK] = {"ok", "", 200},
#define SL_X(e, name, status, text) [SL_H1_##e] = {name, text, status},
                                   SL_H1_ERRORS(SL_X)
#undef SL_X
};

const char *sl_h1_error_name(enum sl_h1_error e)
{
    return (unsigned)e < SL_H1_ERROR_COUNT ? _sl_errors[e].name : "unknown";
}

unsigned sl_h1_error_status(enum sl_h1_error e)
{
    return (unsigned)e < SL_H1_ERROR_COUNT ? _sl_errors[e].status : 400;
}

const char *sl_h1_error_text(enum sl_h1_error e)
{
    return (unsigned)e < SL_H1_ERROR_COUNT ? _sl_errors[e].text : "";
}

/* RFC 9112 section 2.2 lets a server skip an empty line before a request; what stands before a message is
 * refused here, since it is what a body that two servers cut at different places looks like. */
static enum sl_h1_error _sl_first_byte(char c)
{
    if (sl_ch(c) & SL_CH_TOKEN)
        return SL_H1_OK;
    return c == '\r' || c == '\n' || c == ' ' || c == '\t' ? SL_H1_LEADING_BYTES : SL_H1_METHOD;
}

/* No end within the limit: which limit is it? */
static ssize_t _sl_too_long(struct sl_slice data)
{
    const bool line_open = !memchr(data.p, '\n', data.n) && !sl_slice_starts(data, SL_S("HTTP/"));
    return line_open ? -SL_H1_TARGET_TOO_LONG : -SL_H1_HEAD_TOO_LARGE;
}

ssize_t sl_h1_head_end(struct sl_slice data, size_t *scanned, const struct sl_h1_limits *limits)
{
    if (data.n == 0)
        return 0;
    const enum sl_h1_error first = _sl_first_byte(data.p[0]);
    if (first != SL_H1_OK)
        return -(ssize_t)first;
    const size_t n = SL_MIN(data.n, (size_t)limits->head);
    for (size_t at = *scanned; at < n;) {
        const char *lf = sl_find_lf(data.p + at, data.p + n);
        if (!lf)
            break;
        const size_t i = (size_t)(lf - data.p);
        if (data.p[i - 1] != '\r') /* i > 0: the first byte is a token character */
            return -SL_H1_BARE_LF;
        if (i >= 3 && data.p[i - 2] == '\n')
            return (ssize_t)i + 1;
        at = i + 1;
    }
    *scanned = n;
    return data.n >= limits->head ? _sl_too_long(sl_slice(data.p, n)) : 0;
}

/* The end of the line that p is within: CR LF and nothing else (RFC 9112 section 2.2 allows bare LF; we do
 * not). */
static enum sl_h1_error _sl_take_crlf(struct sl_h1_cursor *c, const char *at, enum sl_h1_error other)
{
    if (at == c->end)
        return SL_H1_TRUNCATED;
    if (*at == '\n')
        return SL_H1_BARE_LF;
    if (*at != '\r')
        return other;
    if (at + 1 == c->end)
        return SL_H1_TRUNCATED;
    if (at[1] != '\n')
        return SL_H1_BARE_CR;
    c->p = at + 2;
    return SL_H1_OK;
}

static const char *_sl_skip(const char *p, const char *end, unsigned class)
{
    while (p < end && (sl_ch(*p) & class))
        p++;
    return p;
}

/* "HTTP/1.0" or "HTTP/1.1" at p: the minor version; else -1 with *why. RFC 9112 section 2.3: upper case, no
 * spaces. */
static int _sl_version(const char *p, const char *end, enum sl_h1_error malformed, enum sl_h1_error *why)
{
    const bool shaped = end - p >= 8 && memcmp(p, "HTTP/", 5) == 0 && p[5] >= '0' && p[5] <= '9' &&
                        p[6] == '.' && p[7] >= '0' && p[7] <= '9';
    if (shaped && p[5] == '1' && p[7] <= '1')
        return p[7] - '0';
    *why = shaped ? SL_H1_VERSION : malformed;
    return -1;
}

static enum sl_h1_error _sl_method(struct sl_h1_cursor *c, struct sl_request *out)
{
    const char *end = _sl_skip(c->p, c->end, SL_CH_TOKEN);
    if (end == c->end)
        return SL_H1_TRUNCATED;
    if (end == c->p && _sl_first_byte(*end) == SL_H1_LEADING_BYTES)
        return SL_H1_LEADING_BYTES;
    if (end == c->p || *end != ' ')
        return *end == '\r' || *end == '\n' ? SL_H1_REQUEST_LINE : SL_H1_METHOD;
    out->method_name = sl_slice(c->p, (size_t)(end - c->p));
    out->method = sl_method_from(out->method_name);
    c->p = end + 1;
    return out->method == SL_METHOD_CONNECT ? SL_H1_CONNECT : SL_H1_OK;
}

/* One run of visible ASCII between exactly two spaces. */
static enum sl_h1_error _sl_target(struct sl_h1_cursor *c, const struct sl_h1_limits *limits,
                                   struct sl_request *out)
{
    const char *end = _sl_skip(c->p, c->end, SL_CH_GRAPH);
    out->target = sl_slice(c->p, (size_t)(end - c->p));
    if (out->target.n > limits->target)
        return SL_H1_TARGET_TOO_LONG;
    if (end == c->end)
        return SL_H1_TRUNCATED;
    if (*end == '\r' || *end == '\n') /* HTTP/0.9 has no version */
        return SL_H1_REQUEST_LINE;
    if (out->target.n == 0 || *end != ' ')
        return *end == ' ' ? SL_H1_REQUEST_LINE : SL_H1_TARGET;
    c->p = end + 1;
    return SL_H1_OK;
}

enum sl_h1_error sl_h1_guard_request_line(struct sl_h1_cursor *c, const struct sl_h1_limits *limits,
                                          struct sl_request *out)
{
    enum sl_h1_error e = _sl_method(c, out);
    if (e == SL_H1_OK)
        e = _sl_target(c, limits, out);
    if (e != SL_H1_OK)
        return e;
    const int minor = _sl_version(c->p, c->end, SL_H1_REQUEST_LINE, &e);
    if (minor < 0)
        return e;
    out->minor = (uint8_t)minor;
    return _sl_take_crlf(c, c->p + 8, SL_H1_REQUEST_LINE);
}

/* The space before an absent reason is demanded by RFC 9112 section 4 and left out by many; it changes no
 * meaning. */
enum sl_h1_error sl_h1_guard_status_line(struct sl_h1_cursor *c, struct sl_response *out)
{
    enum sl_h1_error e = SL_H1_OK;
    const int minor = _sl_version(c->p, c->end, SL_H1_STATUS_LINE, &e);
    if (minor < 0)
        return e;
    const char *p = c->p + 8;
    if (c->end - p < 4 || p[0] != ' ' || p[1] < '1' || p[1] > '5')
        return SL_H1_STATUS_LINE;
    for (unsigned i = 1; i <= 3; i++) {
        if (p[i] < '0' || p[i] > '9')
            return SL_H1_STATUS_LINE;
        out->status = (uint16_t)(out->status * 10 + (p[i] - '0'));
    }
    p += 4;
    if (p < c->end && *p == ' ') {
        const char *end = sl_find_ctl(++p, c->end);
        out->reason = sl_slice(p, (size_t)(end - p));
        p = end;
    }
    out->minor = (uint8_t)minor;
    return _sl_take_crlf(c, p, SL_H1_STATUS_LINE);
}

/* RFC 9112 section 5.1: a token, the colon at once behind it. */
static enum sl_h1_error _sl_field_name(struct sl_h1_cursor *c, struct sl_slice *name)
{
    const char *end = _sl_skip(c->p, c->end, SL_CH_TOKEN);
    *name = sl_slice(c->p, (size_t)(end - c->p));
    if (end == c->end)
        return SL_H1_TRUNCATED;
    if (name->n == 0 || *end != ':') {
        if (name->n == 0 && (*end == ' ' || *end == '\t'))
            return SL_H1_FOLD;
        struct sl_h1_cursor probe = *c; /* a line without colon, or a broken end of line? */
        const enum sl_h1_error e = _sl_take_crlf(&probe, end, SL_H1_FIELD_NAME);
        return e == SL_H1_OK ? SL_H1_FIELD_NAME : e;
    }
    c->p = end + 1;
    return SL_H1_OK;
}

static enum sl_h1_error _sl_field(struct sl_h1_cursor *c, struct sl_slice *name, struct sl_slice *value)
{
    enum sl_h1_error e = _sl_field_name(c, name);
    if (e != SL_H1_OK)
        return e;
    const char *end = sl_find_ctl(c->p, c->end);
    *value = sl_slice_trim(sl_slice(c->p, (size_t)(end - c->p)));
    return _sl_take_crlf(c, end, SL_H1_FIELD_VALUE);
}

enum sl_h1_error sl_h1_guard_fields(struct sl_h1_cursor *c, struct sl_arena *a,
                                    const struct sl_h1_limits *limits, struct sl_headers *h)
{
    struct sl_slice name, value;
    while (c->p < c->end && *c->p != '\r' && *c->p != '\n') {
        const enum sl_h1_error e = _sl_field(c, &name, &value);
        if (e != SL_H1_OK)
            return e;
        if (h->n >= limits->header_count)
            return SL_H1_TOO_MANY_HEADERS;
        if (sl_headers_add(h, a, name, value) < 0)
            return SL_H1_NO_MEMORY;
        h->v[h->n - 1].in_line = true;
    }
    const enum sl_h1_error e = _sl_take_crlf(c, c->p, SL_H1_FIELD_NAME);
    return e == SL_H1_OK && c->p != c->end ? SL_H1_LLHTTP : e; /* the caller's slice is no single head */
}
