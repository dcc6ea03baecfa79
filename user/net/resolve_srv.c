/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares tells no TTL of SRV records (until 1.28), so its answer is read here. */
#include "net/resolve_priv.h"

#include <ares.h>
#include <stdio.h>
#include <string.h>

#define SL_HEADER   12
#define SL_QUESTION 4  /* behind the name: type, class */
#define SL_RECORD   10 /* behind the name: type, class, TTL, length */
#define SL_RDATA    6  /* before the target: priority, weight, port */
#define SL_TYPE_SRV 33
#define SL_CLASS_IN 1

struct sl_reading {
    const unsigned char *msg;
    size_t n, at;
};

static unsigned _sl_u16(const unsigned char *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* The name at m->at, which moves past it; room NULL: it is skipped. */
static bool _sl_name(struct sl_reading *m, char *room, size_t size)
{
    char *s = NULL;
    long used = 0;
    if (m->at >= m->n || ares_expand_name(m->msg + m->at, m->msg, (int)m->n, &s, &used) != ARES_SUCCESS)
        return false;
    m->at += (size_t)used;
    const bool fits = !room || (size_t)snprintf(room, size, "%s", s) < size;
    ares_free_string(s);
    return fits;
}

static void _sl_keep(struct sl_srv *out, size_t *n, const struct sl_srv *one)
{
    if (*n && one->priority < out[0].priority)
        *n = 0;
    if (one->host[0] && *n < SL_RESOLVED_MAX && (!*n || one->priority == out[0].priority))
        out[(*n)++] = *one;
}

static bool _sl_record(struct sl_reading *m, struct sl_srv *out, size_t *n, uint32_t *ttl)
{
    struct sl_srv one;
    if (!_sl_name(m, NULL, 0) || m->n - m->at < SL_RECORD)
        return false;
    const unsigned char *p = m->msg + m->at;
    const size_t length = _sl_u16(p + 8), begin = m->at += SL_RECORD;
    if (length > m->n - begin)
        return false;
    if (_sl_u16(p) == SL_TYPE_SRV && _sl_u16(p + 2) == SL_CLASS_IN && length > SL_RDATA) {
        const unsigned char *d = m->msg + begin;
        one.priority = (uint16_t)_sl_u16(d);
        one.weight = (uint16_t)_sl_u16(d + 2);
        one.port = (uint16_t)_sl_u16(d + 4);
        m->at += SL_RDATA;
        if (!_sl_name(m, one.host, sizeof(one.host)))
            return false;
        _sl_keep(out, n, &one);
    }
    *ttl = SL_MIN(*ttl, (uint32_t)_sl_u16(p + 4) << 16 | _sl_u16(p + 6));
    m->at = begin + length;
    return true;
}

size_t sl_srv_parse(const unsigned char *msg, size_t n, struct sl_srv out[SL_RESOLVED_MAX], uint32_t *ttl)
{
    struct sl_reading m = {.msg = msg, .n = n, .at = SL_HEADER};
    size_t found = 0;
    *ttl = UINT32_MAX;
    if (n < SL_HEADER)
        return 0;
    for (unsigned i = _sl_u16(msg + 4); i; i--) {
        if (!_sl_name(&m, NULL, 0) || m.n - m.at < SL_QUESTION)
            return 0;
        m.at += SL_QUESTION;
    }
    for (unsigned i = _sl_u16(msg + 6); i; i--)
        if (!_sl_record(&m, out, &found, ttl))
            return 0;
    return found;
}
