/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7239 section 4: elements by ',', pairs by ';', values tokens or quoted strings. Read from the left,
 * since from the right a quoted string cannot be told from what only looks like one.
 */
#include "http/forwarded.h"
#include "http/chars_priv.h"
#include "http/message.h"

#include <errno.h>

struct _sl_cursor {
    const char *p, *end;
};

static void _sl_skip_space(struct _sl_cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
        c->p++;
}

static struct sl_slice _sl_token(struct _sl_cursor *c)
{
    const char *start = c->p;
    while (c->p < c->end && (sl_ch(*c->p) & SL_CH_TOKEN))
        c->p++;
    return sl_slice(start, (size_t)(c->p - start));
}

/* Escapes are legal, and stand in no address: such a value is as good as none. */
static bool _sl_quoted(struct _sl_cursor *c, struct sl_slice *out)
{
    const char *start = ++c->p;
    bool escaped = false;
    for (; c->p < c->end && *c->p != '"'; c->p++) {
        if (*c->p == '\\') {
            escaped = true;
            if (++c->p == c->end)
                return false;
        }
    }
    if (c->p == c->end)
        return false;
    *out = escaped ? sl_slice(start, 0) : sl_slice(start, (size_t)(c->p - start));
    c->p++;
    return true;
}

static bool _sl_pair(struct _sl_cursor *c, struct sl_slice *from)
{
    struct sl_slice name = _sl_token(c), value;
    if (!name.n || c->p == c->end || *c->p++ != '=')
        return false;
    if (c->p < c->end && *c->p == '"') {
        if (!_sl_quoted(c, &value))
            return false;
    } else {
        value = _sl_token(c);
        if (!value.n)
            return false;
    }
    if (!sl_slice_ieq(name, SL_S("for")))
        return true;
    if (from->p) /* a name must stand once (section 4) */
        return false;
    *from = value;
    return true;
}

static bool _sl_element(struct _sl_cursor *c, struct sl_slice *from)
{
    *from = SL_SLICE_NUL;
    for (;;) {
        _sl_skip_space(c);
        if (!_sl_pair(c, from))
            return false;
        _sl_skip_space(c);
        if (c->p == c->end || *c->p != ';')
            return true;
        c->p++;
    }
}

int sl_forwarded_for(struct sl_slice value, struct sl_slice out[SL_FORWARDED_MAX])
{
    struct _sl_cursor c = {value.p, value.p + value.n};
    int n = 0;
    for (;;) {
        if (n == SL_FORWARDED_MAX || !_sl_element(&c, &out[n]))
            return -EINVAL;
        n++;
        if (c.p == c.end)
            return n;
        if (*c.p++ != ',')
            return -EINVAL;
    }
}
