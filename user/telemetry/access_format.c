/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/access_format.h"

#include "base/access_fields.h"
#include "base/clock.h"
#include "telemetry/access_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum sl_access_field {
    SL_ACCESS_LITERAL,
#define SL_X(name) SL_ACCESS_##name,
    SL_ACCESS_FIELDS(SL_X)
#undef SL_X
        SL_ACCESS_COUNT
};

struct sl_access_format {
    size_t n;
    struct sl_access_part {
        enum sl_access_field field;
        struct sl_slice literal;
    } parts[];
};

static bool _sl_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

static enum sl_access_field _sl_field(struct sl_slice name)
{
    static const char *const names[] = {"",
#define SL_X(name) #name,
                                        SL_ACCESS_FIELDS(SL_X)
#undef SL_X
    };
    for (unsigned i = 1; i < SL_ACCESS_COUNT; i++)
        if (sl_slice_eq(name, sl_slice_str(names[i])))
            return i;
    return SL_ACCESS_LITERAL;
}

/* One part off the front of *text. */
static int _sl_next(struct sl_slice *text, struct sl_access_part *part)
{
    size_t n = 1;
    bool variable = text->p[0] == '$';
    while (n < text->n && (variable ? _sl_is_name(text->p[n]) : text->p[n] != '$'))
        n++;
    struct sl_slice taken = sl_slice(text->p, n);
    *text = sl_slice(text->p + n, text->n - n);
    *part = (struct sl_access_part){.literal = taken};
    if (!variable)
        return 0;
    part->field = _sl_field(sl_slice(taken.p + 1, n - 1));
    return part->field == SL_ACCESS_LITERAL ? -EINVAL : 0;
}

int sl_access_format_new(const char *text, struct sl_access_format **out)
{
    struct sl_slice left = sl_slice_str(text);
    struct sl_access_format *f = malloc(sizeof(*f) + (left.n + 1) * sizeof(f->parts[0]));
    int r = f ? 0 : -ENOMEM;
    if (f)
        f->n = 0;
    while (r == 0 && left.n)
        r = _sl_next(&left, &f->parts[f->n++]);
    if (r < 0)
        free(f);
    else
        *out = f;
    return r;
}

void sl_access_format_free(struct sl_access_format *f)
{
    free(f);
}

static int _sl_escaped(struct sl_buf *b, struct sl_slice v)
{
    static const char digits[] = "0123456789abcdef";
    int r = v.n ? 0 : sl_buf_append(b, "-", 1);
    v.n = SL_MIN(v.n, (size_t)SL_ACCESS_FIELD_MAX);
    for (size_t i = 0; r == 0 && i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        const char hex[] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        r = plain ? sl_buf_append(b, v.p + i, 1) : sl_buf_append(b, hex, sizeof(hex));
    }
    return r;
}

static int _sl_value(struct sl_buf *b, enum sl_access_field field, const struct sl_access_record *r)
{
    char iso[SL_ISO_LEN];
    const uint64_t duration_us = r->duration_ns / 1000, upstream_us = r->first_byte_ns / 1000;
    const uint64_t status = r->status, retries = r->retries, bytes_in = r->bytes_in, bytes_out = r->bytes_out;
    switch (field) {
    case SL_ACCESS_time:
        sl_wall_iso(r->wall_ns, iso);
        return sl_buf_append_slice(b, sl_slice_str(iso));
#define SL_X(name)         \
    case SL_ACCESS_##name: \
        return sl_buf_printf(b, "%llu", (unsigned long long)name);
        SL_ACCESS_NUMBERS(SL_X)
#undef SL_X
#define SL_X(name)         \
    case SL_ACCESS_##name: \
        return _sl_escaped(b, r->name);
        SL_ACCESS_TEXTS(SL_X)
#undef SL_X
    default:
        return 0;
    }
}

int sl_access_format_line(struct sl_buf *b, const struct sl_access_format *f,
                          const struct sl_access_record *r)
{
    int e = 0;
    for (size_t i = 0; e == 0 && i < f->n; i++)
        e = f->parts[i].field == SL_ACCESS_LITERAL ? sl_buf_append_slice(b, f->parts[i].literal)
                                                   : _sl_value(b, f->parts[i].field, r);
    return e < 0 ? e : sl_buf_append(b, "\n", 1);
}
