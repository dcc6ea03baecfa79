/* SPDX-License-Identifier: Apache-2.0 */
#include "base/url.h"

#include <stdio.h>
#include <string.h>

#define SL_URL_NO_MEMORY "cannot be read: out of memory"

static bool _sl_is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* Letters, digits, hyphens between dots (RFC 1123 section 2.1); a last dot would name the same host twice. */
static bool _sl_is_name(const char *s, size_t n)
{
    if (n == 0 || n > 253 || s[0] == '.' || s[n - 1] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!_sl_is_host_char(s[i]) || (s[i] == '.' && s[i + 1] == '.'))
            return false;
    return true;
}

/* All numbers and dots but no address of four: inet_aton(3) would take "127.1" for one. */
static bool _sl_is_odd_address(const char *s)
{
    const char *last = strrchr(s, '.');
    last = last ? last + 1 : s;
    return *last && strspn(last, "0123456789") == strlen(last);
}

static const char *_sl_host(struct sl_arena *a, struct sl_slice s, struct sl_url *out)
{
    char *host = sl_arena_strdup(a, s);
    if (!host)
        return SL_URL_NO_MEMORY;
    for (char *c = host; *c; c++)
        *c = sl_lower(*c);
    out->host = host;
    if (sl_ip_parse(s, &out->ip) == 0)
        return NULL;
    out->ip = (struct sl_ip){0};
    if (strlen(host) != s.n || !_sl_is_name(host, s.n))
        return s.n ? "has a host that is neither a name nor an address" : "has no host";
    return _sl_is_odd_address(host) ? "has a host that looks like an address but is none" : NULL;
}

/* out->port has the scheme's. */
static const char *_sl_port(struct sl_slice s, struct sl_url *out)
{
    uint64_t port = out->port;
    if (s.p && (s.n == 0 || s.n > 5 || sl_slice_u64(s, &port) < 0 || port == 0 || port > 65535))
        return "has a port that is none";
    out->port = (uint16_t)port;
    return NULL;
}

/* "host", "host:port", "[::1]:port" */
static const char *_sl_authority(struct sl_arena *a, struct sl_slice s, uint16_t usual, struct sl_url *out)
{
    struct sl_slice host = s, port = SL_SLICE_NUL;
    const bool bracket = s.n && s.p[0] == '[';
    out->port = usual;
    if (sl_slice_chr(s, '@') >= 0)
        return "names a user: credentials have keys of their own";
    const ssize_t end = bracket ? sl_slice_chr(s, ']') : sl_slice_chr(s, ':');
    if (bracket && end < 0)
        return "has a '[' that is never closed";
    if (bracket) {
        host = sl_slice(s.p + 1, (size_t)end - 1);
        s = sl_slice(s.p + end + 1, s.n - (size_t)end - 1);
        if (s.n && s.p[0] != ':')
            return "has something between the host and the port";
        if (s.n)
            port = sl_slice(s.p + 1, s.n - 1);
    } else if (end >= 0) {
        host = sl_slice(s.p, (size_t)end);
        port = sl_slice(s.p + end + 1, s.n - (size_t)end - 1);
    }
    const char *wrong = _sl_host(a, host, out);
    if (!wrong && bracket && out->ip.family != SL_AF_INET6)
        wrong = "has brackets around what is no IPv6 address";
    wrong = wrong ? wrong : _sl_port(port, out);
    if (wrong)
        return wrong;
    out->field = out->port == usual ? sl_arena_printf(a, bracket ? "[%s]" : "%s", out->host)
                                    : sl_arena_printf(a, bracket ? "[%s]:%u" : "%s:%u", out->host, out->port);
    return out->field ? NULL : SL_URL_NO_MEMORY;
}

static const char *_sl_target(struct sl_arena *a, struct sl_slice s, struct sl_url *out)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '\\' || s.p[i] == '#')
            return "holds a byte that no request may: no spaces, backslashes, fragments or letters beyond "
                   "ASCII";
    out->target = s.n == 0        ? "/"
                  : s.p[0] == '/' ? sl_arena_strdup(a, s)
                                  : sl_arena_printf(a, "/" SL_SFMT, SL_SARG(s));
    return out->target ? NULL : SL_URL_NO_MEMORY;
}

const char *sl_url_parse(struct sl_arena *a, struct sl_slice s, struct sl_url *out)
{
    *out = (struct sl_url){0};
    if (s.n > SL_URL_MAX)
        return "is longer than 2048 bytes";
    if (s.n < 8 || !sl_slice_ieq(sl_slice(s.p, 8), SL_S("https://")))
        return "does not begin with https://";
    struct sl_slice rest = sl_slice(s.p + 8, s.n - 8);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#' && rest.p[n] != '\\')
        n++;
    const char *wrong = _sl_authority(a, sl_slice(rest.p, n), 443, out);
    wrong = wrong ? wrong : _sl_target(a, sl_slice(rest.p + n, rest.n - n), out);
    if (!wrong && !(out->text = sl_arena_strdup(a, s)))
        wrong = SL_URL_NO_MEMORY;
    return wrong;
}

const char *sl_url_parse_ldap(struct sl_arena *a, struct sl_slice s, bool *tls, struct sl_url *out)
{
    *out = (struct sl_url){0};
    if (s.n > SL_URL_MAX)
        return "is longer than 2048 bytes";
    *tls = s.n >= 8 && sl_slice_ieq(sl_slice(s.p, 8), SL_S("ldaps://"));
    if (!*tls && (s.n < 7 || !sl_slice_ieq(sl_slice(s.p, 7), SL_S("ldap://"))))
        return "begins with neither ldaps:// nor ldap://";
    struct sl_slice rest = sl_slice(s.p + (*tls ? 8 : 7), s.n - (*tls ? 8 : 7));
    if (rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (sl_slice_chr(rest, '/') >= 0 || sl_slice_chr(rest, '?') >= 0)
        return "has something behind the host: base_dn, attribute and filter are keys of their own";
    const char *wrong = _sl_authority(a, rest, *tls ? 636 : 389, out);
    if (!wrong && !(out->text = sl_arena_strdup(a, s)))
        wrong = SL_URL_NO_MEMORY;
    return wrong;
}

const char *sl_url_resolve(struct sl_arena *a, const struct sl_url *base, struct sl_slice s,
                           struct sl_url *out)
{
    const char *text = NULL;
    if (s.n > SL_URL_MAX)
        return "is longer than 2048 bytes";
    if (s.n >= 2 && s.p[0] == '/' && s.p[1] == '/')
        text = sl_arena_printf(a, "https:" SL_SFMT, SL_SARG(s));
    else if (s.n && s.p[0] == '/')
        text = sl_arena_printf(a, "https://%s" SL_SFMT, base->field, SL_SARG(s));
    else
        return sl_url_parse(a, s, out);
    return text ? sl_url_parse(a, sl_slice_str(text), out) : SL_URL_NO_MEMORY;
}

bool sl_url_same_origin(const struct sl_url *a, const struct sl_url *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}
