/* SPDX-License-Identifier: Apache-2.0 */
/* Files of ranges by hand: from text through a policy, random ones, and what they mean, found the slow way.
 */
#ifndef SL_TESTS_RANGES_H
#define SL_TESTS_RANGES_H

#include "base/ip.h"
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

/* The snapshot of a policy that allows and denies what the two texts say; either may be empty. NULL: refused,
 * said on stderr. */
static SL_UNUSED struct sl_snapshot *tr_snapshot(struct sl_slice allow, struct sl_slice deny)
{
    static const char text[] = "version: 1\nlisteners: {w: {bind: [\"192.0.2.1:80\"]}}\n"
                               "routes: {r: {auth: [public], respond: {}}}\n"
                               "kernel: {mode: off, allow: {$file: allow}, deny: [{$file: deny}]}\n";
    struct sl_diag diag;
    struct sl_bundle *b = NULL;
    struct sl_snapshot *s = NULL;
    struct sl_buf SL_BUF said = {0};
    sl_diag_init(&diag);
    int r = sl_bundle_from_text("p.yaml", sl_slice_str(text), &diag, &b);
    if (r == 0)
        r = sl_bundle_put_list(b, "allow", allow);
    if (r == 0)
        r = sl_bundle_put_list(b, "deny", deny);
    if (r == 0)
        r = sl_snapshot_new(b, &diag, &s);
    if (r < 0 && sl_diag_print(&diag, &said) == 0)
        fprintf(stderr, SL_SFMT, SL_SARG(sl_buf_slice(&said)));
    sl_bundle_free(b);
    sl_diag_free(&diag);
    return s;
}

static SL_UNUSED uint64_t tr_random(uint64_t *seed)
{
    *seed ^= *seed << 13; /* xorshift64: the same on every machine */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static SL_UNUSED struct sl_ip tr_random_ip(uint64_t *seed, bool ipv6)
{
    struct sl_ip ip = {.family = ipv6 ? SL_AF_INET6 : SL_AF_INET};
    for (unsigned i = 0; i < (ipv6 ? 16u : 4u); i++)
        ip.addr.bytes[i] = (uint8_t)(tr_random(seed) >> 32);
    if (ipv6)
        ip.addr.bytes[0] = 0x20 | (ip.addr.bytes[0] & 0x1f); /* 2000::/3: never an IPv4-mapped one */
    return ip;
}

static SL_UNUSED struct sl_cidr tr_random_cidr(uint64_t *seed, bool ipv6, unsigned len)
{
    return (struct sl_cidr){.ip = sl_ip_mask(tr_random_ip(seed, ipv6), (uint8_t)len), .len = (uint8_t)len};
}

/* An address that the prefix decides about or just misses: its own bits, one of them flipped at times. */
static SL_UNUSED struct sl_ip tr_near(uint64_t *seed, const struct sl_cidr *c)
{
    const unsigned max = c->ip.family == SL_AF_INET6 ? 128 : 32, bit = (unsigned)(tr_random(seed) % max);
    struct sl_ip ip = tr_random_ip(seed, max == 128);
    for (unsigned i = 0; i < c->len; i++) {
        const uint8_t mask = (uint8_t)(0x80 >> i % 8);
        ip.addr.bytes[i / 8] = (uint8_t)((ip.addr.bytes[i / 8] & ~mask) | (c->ip.addr.bytes[i / 8] & mask));
    }
    if (tr_random(seed) & 1 && bit >= 8)
        ip.addr.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    return ip;
}

struct tr_list {
    struct sl_cidr *v;
    bool *allow;
    size_t n;
};

/* The longest one decides; of two as long, allow. */
static SL_UNUSED uint32_t tr_slow(const struct tr_list *l, const struct sl_ip *ip)
{
    int best = -1;
    uint32_t verdict = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!sl_cidr_contains(&l->v[i], ip) || l->v[i].len < best || (l->v[i].len == best && !l->allow[i]))
            continue;
        best = l->v[i].len;
        verdict = l->allow[i] ? SL_LIST_ALLOW : SL_LIST_DENY;
    }
    return verdict;
}

/* The i-th address to ask for: each fourth is any, the others lie at the edges of the list's ranges. */
static SL_UNUSED struct sl_ip tr_probe(const struct tr_list *l, uint64_t *seed, bool ipv6, unsigned i)
{
    return i % 4 ? tr_near(seed, &l->v[tr_random(seed) % l->n]) : tr_random_ip(seed, ipv6);
}

/* Adds ranges of any length and verdict around and inside those that are there, until there are n. */
static SL_UNUSED void tr_nest(struct tr_list *l, uint64_t *seed, bool ipv6, size_t n)
{
    for (const size_t base = l->n; l->n < n; l->n++) {
        const struct sl_ip in = tr_near(seed, &l->v[tr_random(seed) % base]);
        const uint8_t deep = (uint8_t)(tr_random(seed) % (ipv6 ? 129 : 33));
        l->v[l->n] = (struct sl_cidr){.ip = sl_ip_mask(in, deep), .len = deep};
        l->allow[l->n] = tr_random(seed) & 1;
    }
}

/* Compares lists of each length: n ranges of it alone (denied, where deny_only), then with 4n others nested.
 */
static SL_UNUSED void tr_each_length(bool ipv6, size_t n, bool deny_only,
                                     void (*compare)(const struct tr_list *, uint64_t *seed, bool ipv6))
{
    struct sl_cidr *v = calloc(5 * n, sizeof(*v));
    bool *allow = calloc(5 * n, sizeof(*allow));
    uint64_t seed = ipv6 ? 6 : 4;
    if (!v || !allow)
        abort();
    for (unsigned len = 0; len <= (ipv6 ? 128 : 32); len++) {
        struct tr_list l = {v, allow, len ? n : 1};
        for (size_t i = 0; i < l.n; i++) {
            v[i] = tr_random_cidr(&seed, ipv6, len);
            allow[i] = !deny_only && (tr_random(&seed) & 1);
        }
        compare(&l, &seed, ipv6);
        tr_nest(&l, &seed, ipv6, 5 * n);
        compare(&l, &seed, ipv6);
    }
    free(v);
    free(allow);
}

static SL_UNUSED struct sl_snapshot *tr_compile(const struct tr_list *l)
{
    struct sl_buf text[2] = {{0}, {0}};
    char cidr[SL_IP_STRLEN];
    for (size_t i = 0; i < l->n; i++)
        if (sl_buf_printf(&text[l->allow[i]], "%s\n", sl_cidr_text(&l->v[i], cidr)) < 0)
            return NULL;
    struct sl_snapshot *s = tr_snapshot(sl_buf_slice(&text[1]), sl_buf_slice(&text[0]));
    sl_buf_free(&text[0]);
    sl_buf_free(&text[1]);
    return s;
}

#endif
