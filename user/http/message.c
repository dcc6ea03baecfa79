/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header lists and the names that the engine knows. A name is looked for by its length and first letter,
 * which no two known names share, and then compared once.
 */
#include "http/message.h"
#include "http/chars_priv.h"

#include <errno.h>

#define SL_HEADERS_FIRST 32 /* what a usual request has, and what the gateway adds to it */

static const struct sl_slice _sl_hdr_names[SL_HDR_COUNT] = {
#define SL_X(e, name) [SL_HDR_##e] = {name, sizeof(name) - 1},
    SL_HTTP_HEADERS(SL_X)
#undef SL_X
};

#define SL_NAME_MAX 19 /* of the known ones */

static const uint8_t _sl_hdr_guess[SL_NAME_MAX + 1][32] = {
    [2]['t' & 31] = SL_HDR_TE,
    [3]['v' & 31] = SL_HDR_VIA,
    [4]['h' & 31] = SL_HDR_HOST,
    [4]['d' & 31] = SL_HDR_DATE,
    [6]['e' & 31] = SL_HDR_EXPECT,
    [6]['c' & 31] = SL_HDR_COOKIE,
    [6]['s' & 31] = SL_HDR_SERVER,
    [6]['a' & 31] = SL_HDR_ACCEPT,
    [7]['t' & 31] = SL_HDR_TRAILER,
    [7]['u' & 31] = SL_HDR_UPGRADE,
    [9]['f' & 31] = SL_HDR_FORWARDED,
    [10]['c' & 31] = SL_HDR_CONNECTION,
    [10]['k' & 31] = SL_HDR_KEEP_ALIVE,
    [10]['u' & 31] = SL_HDR_USER_AGENT,
    [11]['r' & 31] = SL_HDR_RETRY_AFTER,
    [12]['c' & 31] = SL_HDR_CONTENT_TYPE,
    [13]['a' & 31] = SL_HDR_AUTHORIZATION,
    [14]['c' & 31] = SL_HDR_CONTENT_LENGTH,
    [15]['x' & 31] = SL_HDR_X_FORWARDED_FOR,
    [16]['p' & 31] = SL_HDR_PROXY_CONNECTION,
    [16]['x' & 31] = SL_HDR_X_FORWARDED_HOST,
    [17]['t' & 31] = SL_HDR_TRANSFER_ENCODING,
    [17]['x' & 31] = SL_HDR_X_FORWARDED_PROTO,
    [18]['p' & 31] = SL_HDR_PROXY_AUTHENTICATE,
    [19]['p' & 31] = SL_HDR_PROXY_AUTHORIZATION,
};

enum sl_hdr sl_hdr_id(struct sl_slice name)
{
    if (name.n == 0 || name.n > SL_NAME_MAX)
        return SL_HDR_OTHER;
    const enum sl_hdr id = (enum sl_hdr)_sl_hdr_guess[name.n][name.p[0] & 31];
    return id != SL_HDR_OTHER && sl_slice_is(name, _sl_hdr_names[id]) ? id : SL_HDR_OTHER;
}

static int _sl_headers_grow(struct sl_headers *h, struct sl_arena *a)
{
    const uint32_t cap = h->cap ? h->cap * 2 : SL_HEADERS_FIRST;
    if (cap <= h->cap)
        return -ENOMEM;
    struct sl_header *v = sl_arena_alloc(a, cap * sizeof(*v));
    if (!v)
        return -ENOMEM;
    if (h->n)
        memcpy(v, h->v, h->n * sizeof(*v));
    h->v = v;
    h->cap = cap;
    return 0;
}

int sl_headers_add_as(struct sl_headers *h, struct sl_arena *a, enum sl_hdr id, struct sl_slice name,
                      struct sl_slice value)
{
    if (h->n == h->cap) {
        int r = _sl_headers_grow(h, a);
        if (r < 0)
            return r;
    }
    h->v[h->n++] = (struct sl_header){.name = name, .value = value, .id = (uint16_t)id};
    return 0;
}

int sl_headers_add(struct sl_headers *h, struct sl_arena *a, struct sl_slice name, struct sl_slice value)
{
    return sl_headers_add_as(h, a, sl_hdr_id(name), name, value);
}

uint64_t sl_headers_lengths(const struct sl_headers *h)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < h->n; i++)
        bits |= h->v[i].removed ? 0 : SL_NAME_BIT(h->v[i].name);
    return bits;
}

struct sl_header *sl_headers_get(const struct sl_headers *h, enum sl_hdr id)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (h->v[i].id == id && !h->v[i].removed)
            return &h->v[i];
    return NULL;
}

struct sl_header *sl_headers_find(const struct sl_headers *h, struct sl_slice name)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (!h->v[i].removed && sl_slice_ieq(h->v[i].name, name))
            return &h->v[i];
    return NULL;
}

static char _sl_fold(char c)
{
    return c == '_' ? '-' : sl_lower(c);
}

/* As an upstream sees them that speaks CGI (RFC 3875 section 4.1.18: '-' becomes '_'). */
static bool _sl_same_name(struct sl_slice a, struct sl_slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (_sl_fold(a.p[i]) != _sl_fold(b.p[i]))
            return false;
    return true;
}

unsigned sl_headers_remove(struct sl_headers *h, struct sl_slice name)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        if (!h->v[i].removed && _sl_same_name(h->v[i].name, name)) {
            h->v[i].removed = true;
            n++;
        }
    }
    return n;
}

int sl_headers_set(struct sl_headers *h, struct sl_arena *a, struct sl_slice name, struct sl_slice value)
{
    (void)sl_headers_remove(h, name);
    return sl_headers_add(h, a, name, value);
}

static bool _sl_is_hop(unsigned id)
{
    switch (id) {
    case SL_HDR_CONNECTION:
    case SL_HDR_KEEP_ALIVE:
    case SL_HDR_PROXY_CONNECTION:
    case SL_HDR_TE:
    case SL_HDR_TRAILER: /* what is announced need not come, and unannounced trailers are legal */
    case SL_HDR_TRANSFER_ENCODING:
    case SL_HDR_UPGRADE:
    case SL_HDR_PROXY_AUTHORIZATION:
    case SL_HDR_PROXY_AUTHENTICATE:
        return true;
    default:
        return false;
    }
}

/* A client that has Connection name one of these would take from the upstream what the gateway vouched for.
 */
static bool _sl_is_kept(struct sl_slice name, const struct sl_slice *keep, size_t n_keep)
{
    static const struct sl_slice always[] = {
        {"host", 4}, {"authorization", 13}, {"content-length", 14}, {"cookie", 6}, {"connection", 10}};
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        if (_sl_same_name(name, always[i]))
            return true;
    for (size_t i = 0; i < n_keep; i++)
        if (_sl_same_name(name, keep[i]))
            return true;
    return false;
}

static void _sl_remove_named(struct sl_headers *h, struct sl_slice list, const struct sl_slice *keep,
                             size_t n_keep)
{
    struct sl_slice name;
    while (sl_slice_next(&list, ',', &name)) {
        name = sl_slice_trim(name);
        if (name.n && !_sl_is_kept(name, keep, n_keep))
            (void)sl_headers_remove(h, name);
    }
}

void sl_headers_strip_hop_by_hop(struct sl_headers *h, const struct sl_slice *keep, size_t n_keep)
{
    const uint32_t n = h->n;
    for (uint32_t i = 0; i < n; i++) {
        if (h->v[i].removed || !_sl_is_hop(h->v[i].id))
            continue;
        h->v[i].removed = true;
        if (h->v[i].id == SL_HDR_CONNECTION)
            _sl_remove_named(h, h->v[i].value, keep, n_keep);
    }
}

static const struct sl_slice _sl_methods[SL_METHOD_COUNT] = {
    [SL_METHOD_GET] = {"GET", 3},       [SL_METHOD_HEAD] = {"HEAD", 4},
    [SL_METHOD_POST] = {"POST", 4},     [SL_METHOD_PUT] = {"PUT", 3},
    [SL_METHOD_DELETE] = {"DELETE", 6}, [SL_METHOD_OPTIONS] = {"OPTIONS", 7},
    [SL_METHOD_PATCH] = {"PATCH", 5},   [SL_METHOD_CONNECT] = {"CONNECT", 7},
    [SL_METHOD_TRACE] = {"TRACE", 5}};

/* Methods are case-sensitive (RFC 9110 section 9.1): "get" is another method than GET. */
enum sl_method sl_method_from(struct sl_slice name)
{
    for (unsigned m = SL_METHOD_GET; m < SL_METHOD_COUNT; m++)
        if (sl_slice_eq(name, _sl_methods[m]))
            return (enum sl_method)m;
    return SL_METHOD_OTHER;
}

const char *sl_method_name(enum sl_method m)
{
    return m > SL_METHOD_OTHER && m < SL_METHOD_COUNT ? _sl_methods[m].p : "OTHER";
}

bool sl_is_token(struct sl_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(sl_ch(s.p[i]) & SL_CH_TOKEN))
            return false;
    return s.n > 0;
}

bool sl_is_field_value(struct sl_slice s)
{
    return s.n == 0 || sl_find_ctl(s.p, s.p + s.n) == s.p + s.n;
}
