/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs that the gateway itself goes to: https (or ldap), a host, and nothing that two readers could take
 * differently. What a policy names and what a server redirects to is read by the same few rules.
 */
#ifndef SL_BASE_URL_H
#define SL_BASE_URL_H

#include "base/arena.h"
#include "base/ip.h"

#define SL_URL_MAX 2048

struct sl_url {
    const char *text;   /* as given; NULL: none */
    const char *host;   /* lower case; of an IPv6 address without brackets */
    const char *field;  /* for Host: with brackets, and the port where it is not the scheme's */
    const char *target; /* path and query; "/" where there is none */
    struct sl_ip ip;    /* where host is an address; family 0: a name */
    uint16_t port;
};

/* Reads an absolute https URL into the arena: NULL, or what is wrong with it ("has no host"). */
const char *sl_url_parse(struct sl_arena *a, struct sl_slice s, struct sl_url *out);
/* Reads "ldaps://HOST:PORT" or "ldap://HOST:PORT" (RFC 4516, of which nothing else stands in a URL here): no
 * target; *tls: the first. */
const char *sl_url_parse_ldap(struct sl_arena *a, struct sl_slice s, bool *tls, struct sl_url *out);
/* The same for a reference found at base (RFC 3986 section 5.2): absolute, "//host/path" or "/path". */
const char *sl_url_resolve(struct sl_arena *a, const struct sl_url *base, struct sl_slice s,
                           struct sl_url *out);
/* Same host, same port: who answers there is the one that was named. */
bool sl_url_same_origin(const struct sl_url *a, const struct sl_url *b);

#endif
