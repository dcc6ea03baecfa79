/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which fields may stand in trailers, for every protocol (RFC 9110 section 6.5.1): none that frames, routes,
 * identifies or says how to read the content, since whoever merges trailers into the head would believe it.
 */
#include "http/chars_priv.h"
#include "http/message.h"

uint64_t sl_trailer_hash(uint64_t h, char c)
{
    return (h ^ (unsigned char)(c == '_' ? '-' : sl_lower(c))) * 0x100000001b3ull;
}

/* A hash that collides refuses a trailer that nobody would have kept. */
bool sl_trailer_forbidden(uint64_t name)
{
    static const char *const names[] = {
#define SL_X(e, text) text,
        SL_HTTP_HEADERS(SL_X)
#undef SL_X
            "set-cookie",
        "cache-control",
        "content-encoding",
        "content-range",
        "max-forwards",
        "www-authenticate",
        "x-forwarded-port",
        "x-real-ip",
        "range",
        "age",
        "location",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t h = SL_TRAILER_HASH;
        for (const char *p = names[i]; *p; p++)
            h = sl_trailer_hash(h, *p);
        if (h == name)
            return true;
    }
    return false;
}

bool sl_trailer_allowed(struct sl_slice name)
{
    uint64_t h = SL_TRAILER_HASH;
    for (size_t i = 0; i < name.n; i++)
        h = sl_trailer_hash(h, name.p[i]);
    return !sl_trailer_forbidden(h);
}

bool sl_offers_trailers(const struct sl_headers *h)
{
    for (uint32_t i = 0; i < h->n; i++) {
        struct sl_slice list = h->v[i].value, item;
        if (h->v[i].removed || h->v[i].id != SL_HDR_TE)
            continue;
        while (sl_slice_next(&list, ',', &item))
            if (sl_slice_ieq(sl_slice_trim(item), SL_S("trailers")))
                return true;
    }
    return false;
}
