/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, prefixes and socket addresses as the policy writes them. IPv4-mapped IPv6 addresses become IPv4.
 */
#ifndef SL_BASE_IP_H
#define SL_BASE_IP_H

#include "base/macros.h"
#include "base/slice.h"
#include "sluice/abi.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct sl_ip {
    uint8_t family; /* SL_AF_INET, SL_AF_INET6; 0: none */
    struct sl_addr addr;
};
struct sl_cidr {
    struct sl_ip ip; /* host bits zero */
    uint8_t len;
};
struct sl_sockaddr {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

#define SL_IP_STRLEN   48 /* longest text of an address or prefix, with NUL */
#define SL_SOCK_STRLEN 120

/* "192.0.2.7", "2001:db8::1": 0 or -EINVAL. */
int sl_ip_parse(struct sl_slice s, struct sl_ip *out);
/* An address with optional "/len"; host bits set are an error (-EDOM), else 0 or -EINVAL. */
int sl_cidr_parse(struct sl_slice s, struct sl_cidr *out);
/* "192.0.2.7:80", "[::1]:80", "unix:/path": 0 or -EINVAL. */
int sl_sockaddr_parse(struct sl_slice s, struct sl_sockaddr *out);
bool sl_cidr_contains(const struct sl_cidr *c, const struct sl_ip *ip);
/* Whether they have an address in common. */
bool sl_cidr_overlaps(const struct sl_cidr *a, const struct sl_cidr *b);
/* Zeroes all bits past len. */
struct sl_ip sl_ip_mask(struct sl_ip ip, uint8_t len);
/* What counts as one source where clients are limited and penalised: an IPv4 address, an IPv6 /64. */
struct sl_cidr sl_ip_source(const struct sl_ip *ip);
bool sl_ip_eq(const struct sl_ip *a, const struct sl_ip *b);
/* Whether the Internet routes it: not private, loopback, link-local, multicast, documentation or another of
 * the special-purpose registries' (RFC 6890), nor IPv6 that carries an IPv4 address. */
bool sl_ip_is_public(const struct sl_ip *ip);
struct sl_sockaddr sl_sockaddr_of(const struct sl_ip *ip, uint16_t port);
struct sl_ip sl_sockaddr_ip(const struct sl_sockaddr *sa);
uint16_t sl_sockaddr_port(const struct sl_sockaddr *sa); /* host order */
const char *sl_ip_text(const struct sl_ip *ip, char out[SL_IP_STRLEN]);
const char *sl_cidr_text(const struct sl_cidr *c, char out[SL_IP_STRLEN]);
const char *sl_sockaddr_text(const struct sl_sockaddr *sa, char out[SL_SOCK_STRLEN]);

#endif
