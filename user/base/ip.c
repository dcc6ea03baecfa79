/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static const uint8_t _sl_v4mapped[12] = {[10] = 0xff, [11] = 0xff};

static struct sl_ip _sl_from_in6(const struct in6_addr *a)
{
    struct sl_ip ip = {.family = SL_AF_INET6};
    if (memcmp(a->s6_addr, _sl_v4mapped, 12) == 0) {
        ip.family = SL_AF_INET;
        memcpy(ip.addr.bytes, a->s6_addr + 12, 4);
    } else {
        memcpy(ip.addr.bytes, a->s6_addr, 16);
    }
    return ip;
}

int sl_ip_parse(struct sl_slice s, struct sl_ip *out)
{
    char text[SL_IP_STRLEN];
    struct in6_addr a6;
    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return -EINVAL;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    struct sl_ip ip = {.family = SL_AF_INET};
    if (inet_pton(AF_INET, text, ip.addr.bytes) != 1) {
        if (inet_pton(AF_INET6, text, &a6) != 1)
            return -EINVAL;
        ip = _sl_from_in6(&a6);
    }
    *out = ip;
    return 0;
}

struct sl_ip sl_ip_mask(struct sl_ip ip, uint8_t len)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned bits = len > i * 8 ? SL_MIN(len - i * 8, 8u) : 0;
        ip.addr.bytes[i] &= (uint8_t)(0xff00u >> bits);
    }
    return ip;
}

struct sl_cidr sl_ip_source(const struct sl_ip *ip)
{
    return ip->family == SL_AF_INET6 ? (struct sl_cidr){sl_ip_mask(*ip, 64), 64} : (struct sl_cidr){*ip, 32};
}

int sl_cidr_parse(struct sl_slice s, struct sl_cidr *out)
{
    ssize_t at = sl_slice_chr(s, '/');
    struct sl_cidr c = {0};
    uint64_t len = 0;
    int r = sl_ip_parse(at < 0 ? s : sl_slice(s.p, (size_t)at), &c.ip);
    if (r < 0)
        return r;
    uint64_t max = c.ip.family == SL_AF_INET ? 32 : 128;
    if (at < 0)
        len = max;
    else if (sl_slice_u64(sl_slice(s.p + at + 1, s.n - (size_t)at - 1), &len) < 0 || len > max)
        return -EINVAL;
    c.len = (uint8_t)len;
    struct sl_ip masked = sl_ip_mask(c.ip, c.len);
    if (!sl_ip_eq(&masked, &c.ip))
        return -EDOM;
    *out = c;
    return 0;
}

static int _sl_unix_parse(struct sl_slice path, struct sl_sockaddr *out)
{
    *out = (struct sl_sockaddr){.un = {.sun_family = AF_UNIX}};
    if (path.n == 0 || path.n >= sizeof(out->un.sun_path))
        return -EINVAL;
    memcpy(out->un.sun_path, path.p, path.n);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return 0;
}

int sl_sockaddr_parse(struct sl_slice s, struct sl_sockaddr *out)
{
    if (sl_slice_chr(s, '\0') >= 0) /* what follows would be lost to inet_pton and to the kernel */
        return -EINVAL;
    if (sl_slice_starts(s, SL_S("unix:")))
        return _sl_unix_parse(sl_slice(s.p + 5, s.n - 5), out);
    size_t colon = s.n;
    while (colon > 0 && s.p[colon - 1] != ':')
        colon--;
    uint64_t port;
    if (colon < 2 || sl_slice_u64(sl_slice(s.p + colon, s.n - colon), &port) < 0 || port == 0 || port > 65535)
        return -EINVAL;
    struct sl_slice host = sl_slice(s.p, colon - 1);
    bool v6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    char text[SL_IP_STRLEN] = "";
    if (v6)
        host = sl_slice(host.p + 1, host.n - 2);
    if (host.n >= sizeof(text))
        return -EINVAL;
    memcpy(text, host.p, host.n);
    *out = (struct sl_sockaddr){0};
    if (v6) {
        out->len = sizeof(out->in6);
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, text, &out->in6.sin6_addr) == 1 ? 0 : -EINVAL;
    }
    out->len = sizeof(out->in);
    out->in.sin_family = AF_INET;
    out->in.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, text, &out->in.sin_addr) == 1 ? 0 : -EINVAL;
}

bool sl_ip_eq(const struct sl_ip *a, const struct sl_ip *b)
{
    return a->family == b->family && memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

bool sl_cidr_contains(const struct sl_cidr *c, const struct sl_ip *ip)
{
    if (c->ip.family != ip->family)
        return false;
    struct sl_ip masked = sl_ip_mask(*ip, c->len);
    return sl_ip_eq(&c->ip, &masked);
}

bool sl_cidr_overlaps(const struct sl_cidr *a, const struct sl_cidr *b)
{
    return a->len <= b->len ? sl_cidr_contains(a, &b->ip) : sl_cidr_contains(b, &a->ip);
}

struct sl_ip sl_sockaddr_ip(const struct sl_sockaddr *sa)
{
    struct sl_ip ip = {0};
    if (sa->sa.sa_family == AF_INET) {
        ip.family = SL_AF_INET;
        memcpy(ip.addr.bytes, &sa->in.sin_addr, 4);
    } else if (sa->sa.sa_family == AF_INET6) {
        ip = _sl_from_in6(&sa->in6.sin6_addr);
    }
    return ip;
}

uint16_t sl_sockaddr_port(const struct sl_sockaddr *sa)
{
    if (sa->sa.sa_family == AF_INET)
        return ntohs(sa->in.sin_port);
    return sa->sa.sa_family == AF_INET6 ? ntohs(sa->in6.sin6_port) : 0;
}

/* inet_ntop() does it by sprintf(), which a new connection would feel. */
static void _sl_ipv4_text(const uint8_t *b, char *out)
{
    for (unsigned i = 0; i < 4; i++) {
        if (b[i] >= 100)
            *out++ = (char)('0' + b[i] / 100);
        if (b[i] >= 10)
            *out++ = (char)('0' + b[i] / 10 % 10);
        *out++ = (char)('0' + b[i] % 10);
        *out++ = i < 3 ? '.' : '\0';
    }
}

const char *sl_ip_text(const struct sl_ip *ip, char out[SL_IP_STRLEN])
{
    if (ip->family == SL_AF_INET) {
        _sl_ipv4_text(ip->addr.bytes, out);
        return out;
    }
    if (ip->family == 0 || !inet_ntop(ip->family, ip->addr.bytes, out, SL_IP_STRLEN))
        (void)snprintf(out, SL_IP_STRLEN, "-");
    return out;
}

const char *sl_cidr_text(const struct sl_cidr *c, char out[SL_IP_STRLEN])
{
    (void)sl_ip_text(&c->ip, out);
    size_t n = strlen(out);
    (void)snprintf(out + n, SL_IP_STRLEN - n, "/%u", c->len);
    return out;
}

const char *sl_sockaddr_text(const struct sl_sockaddr *sa, char out[SL_SOCK_STRLEN])
{
    char ip[SL_IP_STRLEN];
    struct sl_ip a = sl_sockaddr_ip(sa);
    if (sa->sa.sa_family == AF_UNIX)
        (void)snprintf(out, SL_SOCK_STRLEN, "unix:%s", sa->un.sun_path);
    else
        (void)snprintf(out, SL_SOCK_STRLEN, a.family == SL_AF_INET6 ? "[%s]:%u" : "%s:%u", sl_ip_text(&a, ip),
                       sl_sockaddr_port(sa));
    return out;
}

struct sl_sockaddr sl_sockaddr_of(const struct sl_ip *ip, uint16_t port)
{
    struct sl_sockaddr sa = {.len = sizeof(sa.in)};
    if (ip->family == SL_AF_INET) {
        sa.in.sin_family = AF_INET;
        sa.in.sin_port = htons(port);
        memcpy(&sa.in.sin_addr, ip->addr.bytes, 4);
        return sa;
    }
    sa.len = sizeof(sa.in6);
    sa.in6.sin6_family = AF_INET6;
    sa.in6.sin6_port = htons(port);
    memcpy(&sa.in6.sin6_addr, ip->addr.bytes, 16);
    return sa;
}

bool sl_ip_is_public(const struct sl_ip *ip)
{
    /* address, length: IPv4, then what of 2000::/3 is special */
    static const struct {
        uint8_t bytes[4], len;
    } v4[] = {{{0}, 8},
              {{10}, 8},
              {{100, 64}, 10},
              {{127}, 8},
              {{169, 254}, 16},
              {{172, 16}, 12},
              {{192, 0, 0}, 24},
              {{192, 0, 2}, 24},
              {{192, 88, 99}, 24},
              {{192, 168}, 16},
              {{198, 18}, 15},
              {{198, 51, 100}, 24},
              {{203, 0, 113}, 24},
              {{224}, 3}},
      v6[] = {
          {{0x20, 0x01, 0, 0}, 23}, {{0x20, 0x01, 0x0d, 0xb8}, 32}, {{0x20, 0x02}, 16}, {{0x3f, 0xff}, 20}};
    const bool is4 = ip->family == SL_AF_INET;
    if (!is4 && (ip->family != SL_AF_INET6 || (ip->addr.bytes[0] & 0xe0) != 0x20))
        return false;
    for (size_t i = 0; i < (is4 ? SL_ARRAY_LEN(v4) : SL_ARRAY_LEN(v6)); i++) {
        const struct sl_ip masked = sl_ip_mask(*ip, is4 ? v4[i].len : v6[i].len);
        if (memcmp(masked.addr.bytes, is4 ? v4[i].bytes : v6[i].bytes, 4) == 0)
            return false;
    }
    return true;
}
