/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed offsets, each checked against the length that the header itself gives; nothing is skipped unread but
 * the values of TLVs. */
#include "net/proxy_v2.h"

#include "base/macros.h"
#include <arpa/inet.h>
#include <errno.h>

#define SL_LOCAL  0x20 /* version 2, command */
#define SL_PROXY  0x21
#define SL_UNSPEC 0x00 /* family and protocol */
#define SL_TCP4   0x11
#define SL_TCP6   0x21

static const char _sl_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static unsigned _sl_byte(struct sl_slice s, size_t at)
{
    return (unsigned char)s.p[at];
}

static unsigned _sl_u16(struct sl_slice s, size_t at)
{
    return _sl_byte(s, at) << 8 | _sl_byte(s, at + 1);
}

ssize_t sl_proxy_v2_length(struct sl_slice head)
{
    if (head.n < SL_PROXY_V2_HEAD || memcmp(head.p, _sl_signature, sizeof(_sl_signature)) != 0)
        return -EPROTO;
    const unsigned rest = _sl_u16(head, 14);
    return rest > SL_PROXY_V2_MAX ? -EPROTO : (ssize_t)(SL_PROXY_V2_HEAD + rest);
}

/* Type, length, value, to the end exactly. */
static int _sl_check_tlvs(struct sl_slice s)
{
    while (s.n) {
        const size_t n = s.n >= 3 ? 3 + (size_t)_sl_u16(s, 1) : SIZE_MAX;
        if (n > s.n)
            return -EPROTO;
        s = sl_slice(s.p + n, s.n - n);
    }
    return 0;
}

static struct sl_sockaddr _sl_v4(const char *address, unsigned port)
{
    struct sl_sockaddr a = {.len = sizeof(a.in)};
    a.in.sin_family = AF_INET;
    a.in.sin_port = htons((uint16_t)port);
    memcpy(&a.in.sin_addr, address, 4);
    return a;
}

static struct sl_sockaddr _sl_v6(const char *address, unsigned port)
{
    struct sl_sockaddr a = {.len = sizeof(a.in6)};
    a.in6.sin6_family = AF_INET6;
    a.in6.sin6_port = htons((uint16_t)port);
    memcpy(&a.in6.sin6_addr, address, 16);
    return a;
}

static int _sl_addresses(struct sl_slice s, unsigned family, struct sl_proxy_v2 *out)
{
    const size_t size = family == SL_TCP4 ? 4 : 16, all = 2 * size + 4;
    if (s.n < all)
        return -EPROTO;
    const unsigned from = _sl_u16(s, 2 * size), to = _sl_u16(s, 2 * size + 2);
    out->source = family == SL_TCP4 ? _sl_v4(s.p, from) : _sl_v6(s.p, from);
    out->destination = family == SL_TCP4 ? _sl_v4(s.p + size, to) : _sl_v6(s.p + size, to);
    return _sl_check_tlvs(sl_slice(s.p + all, s.n - all));
}

int sl_proxy_v2_parse(struct sl_slice header, struct sl_proxy_v2 *out)
{
    *out = (struct sl_proxy_v2){0};
    if (sl_proxy_v2_length(header) != (ssize_t)header.n)
        return -EPROTO;
    const unsigned command = _sl_byte(header, 12), family = _sl_byte(header, 13);
    const struct sl_slice rest = sl_slice(header.p + SL_PROXY_V2_HEAD, header.n - SL_PROXY_V2_HEAD);
    /* section 2.2: of a LOCAL one the receiver must accept any family and ignore what follows */
    out->local = command == SL_LOCAL || (command == SL_PROXY && family == SL_UNSPEC);
    if (out->local)
        return 0;
    if (command != SL_PROXY || (family != SL_TCP4 && family != SL_TCP6))
        return -EPROTO;
    return _sl_addresses(rest, family, out);
}
