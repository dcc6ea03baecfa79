/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request goes (RFC 9112 section 3.2): one authority, one path.
 * Invariant: where the target and Host both name an authority, they name the same.
 */
#include "base/ip.h"
#include "http/chars_priv.h"
#include "http/h1_priv.h"
#include "http/uri.h"

#include <errno.h>

static bool _sl_port_ok(struct sl_slice s)
{
    uint64_t port = 0;
    return s.n <= 5 && sl_slice_u64(s, &port) == 0 && port > 0 && port <= 65535;
}

/* "[…]" around an IPv6 address (RFC 3986 section 3.2.2); *rest is what follows the bracket. */
static bool _sl_literal_ok(struct sl_slice s, struct sl_slice *rest)
{
    struct sl_ip ip;
    const ssize_t close = sl_slice_chr(s, ']');
    if (close < 0)
        return false;
    const struct sl_slice text = sl_slice(s.p + 1, (size_t)close - 1);
    *rest = sl_slice(s.p + close + 1, s.n - (size_t)close - 1);
    return sl_slice_chr(text, ':') >= 0 && sl_ip_parse(text, &ip) == 0;
}

/* Letters, digits, "-._~"; no empty label. RFC 3986 would allow escapes and sub-delims, which no host name
 * has. */
static bool _sl_name_ok(struct sl_slice s, struct sl_slice *rest)
{
    size_t n = 0;
    for (char before = '.'; n < s.n && (sl_ch(s.p[n]) & SL_CH_HOST); before = s.p[n++])
        if (s.p[n] == '.' && before == '.')
            return false;
    *rest = sl_slice(s.p + n, s.n - n);
    return n > 0;
}

static bool _sl_authority_ok(struct sl_slice s)
{
    struct sl_slice rest;
    if (s.n == 0 || !(s.p[0] == '[' ? _sl_literal_ok(s, &rest) : _sl_name_ok(s, &rest)))
        return false;
    return rest.n == 0 || (rest.p[0] == ':' && _sl_port_ok(sl_slice(rest.p + 1, rest.n - 1)));
}

/* In lower case; a copy only where there is upper case. p NULL when memory is out. */
static struct sl_slice _sl_lowered(struct sl_arena *a, struct sl_slice s)
{
    size_t i = 0;
    while (i < s.n && sl_lower(s.p[i]) == s.p[i])
        i++;
    if (i == s.n)
        return s;
    char *copy = sl_arena_strdup(a, s);
    for (i = 0; copy && i < s.n; i++)
        copy[i] = sl_lower(copy[i]);
    return copy ? sl_slice(copy, s.n) : SL_SLICE_NUL;
}

/* Takes "http://authority" off the target: false where there is none. Schemes ignore case (RFC 3986
 * section 3.1). */
static bool _sl_absolute(struct sl_slice *target, struct sl_slice *authority)
{
    size_t n = 0;
    if (target->n >= 7 && sl_slice_ieq(sl_slice(target->p, 7), SL_S("http://")))
        n = 7;
    else if (target->n >= 8 && sl_slice_ieq(sl_slice(target->p, 8), SL_S("https://")))
        n = 8;
    if (n == 0)
        return false;
    struct sl_slice rest = sl_slice(target->p + n, target->n - n);
    size_t end = 0;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?' && rest.p[end] != '#')
        end++;
    *authority = sl_slice(rest.p, end);
    *target = sl_slice(rest.p + end, rest.n - end);
    return true;
}

/* RFC 9112 section 3.2: Host once in 1.1, and a 1.0 client may leave it out. */
static enum sl_h1_error _sl_authority(struct sl_arena *a, const struct sl_header *host, bool absolute,
                                      struct sl_slice named, struct sl_request *r)
{
    if (!host && r->minor > 0)
        return SL_H1_HOST_MISSING;
    if (absolute && !_sl_authority_ok(named))
        return SL_H1_TARGET;
    if (host && (!_sl_authority_ok(host->value) || (absolute && !sl_slice_ieq(named, host->value))))
        return SL_H1_HOST;
    const struct sl_slice s = absolute ? named : host ? host->value : SL_S("");
    r->authority = _sl_lowered(a, s);
    return r->authority.p ? SL_H1_OK : SL_H1_NO_MEMORY;
}

static enum sl_h1_error _sl_normalize(struct sl_arena *a, struct sl_slice target, struct sl_request *r)
{
    switch (sl_uri_normalize(a, target, &r->path, &r->query)) {
    case 0:
        return SL_H1_OK;
    case -ENOMEM:
        return SL_H1_NO_MEMORY;
    default:
        return SL_H1_TARGET;
    }
}

/* "http://host?x": the path is empty and stands for "/" (RFC 9112 section 3.2.2). */
static enum sl_h1_error _sl_normalize_empty(struct sl_arena *a, struct sl_slice query, struct sl_request *r)
{
    char *text = sl_arena_alloc(a, query.n + 1);
    if (!text)
        return SL_H1_NO_MEMORY;
    text[0] = '/';
    if (query.n)
        memcpy(text + 1, query.p, query.n);
    return _sl_normalize(a, sl_slice(text, query.n + 1), r);
}

enum sl_h1_error sl_h1_read_target(struct sl_arena *a, const struct sl_header *host, struct sl_request *r)
{
    struct sl_slice target = r->target, named = SL_SLICE_NUL;
    const bool absolute = _sl_absolute(&target, &named);
    const enum sl_h1_error e = _sl_authority(a, host, absolute, named, r);
    if (e != SL_H1_OK)
        return e;
    /* OPTIONS of an empty path asks about the whole server (section 3.2.4). */
    const bool whole = absolute ? target.n == 0 : sl_slice_eq(target, SL_S("*"));
    if (whole && r->method == SL_METHOD_OPTIONS) {
        r->path = SL_S("*");
        return SL_H1_OK;
    }
    if (absolute && (target.n == 0 || target.p[0] != '/'))
        return _sl_normalize_empty(a, target, r);
    return _sl_normalize(a, target, r);
}
