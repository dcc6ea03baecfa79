/* SPDX-License-Identifier: Apache-2.0 */
/* The access log. */
#include "config/reader_priv.h"

#include "base/access_fields.h"

struct sl_access_log_raw {
    const char *format, *path;
    double sample;
};

static bool _sl_is_field(struct sl_slice name)
{
#define SL_X(field)                      \
    if (sl_slice_eq(name, SL_S(#field))) \
        return true;
    SL_ACCESS_FIELDS(SL_X)
#undef SL_X
    return false;
}

static const char *_sl_valid_format(struct sl_slice s)
{
    bool some = sl_slice_eq(s, SL_S("json"));
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return "has a control byte: a line is one line";
        if (s.p[i] != '$')
            continue;
        size_t n = 0;
        while (i + 1 + n < s.n && ((s.p[i + 1 + n] >= 'a' && s.p[i + 1 + n] <= 'z') || s.p[i + 1 + n] == '_'))
            n++;
        if (!_sl_is_field(sl_slice(s.p + i + 1, n)))
#define SL_X(field) " $" #field
            return "has a variable that there is not; there are" SL_ACCESS_FIELDS(SL_X);
#undef SL_X
        some = true;
    }
    return some ? NULL : "is neither \"json\" nor a line with variables, as $time $client $status $path";
}

static const struct sl_type _sl_format = {.kind = SL_T_TEXT,
                                          .size = sizeof(const char *),
                                          .what = "\"json\", or a line with variables",
                                          .valid = _sl_valid_format};
static const struct sl_type _sl_sample = {
    .kind = SL_T_REAL, .size = sizeof(double), .what = "a number from 0 to 1", .min = "0", .max = "1"};
static const struct sl_field _sl_fields[] = {
    {"format", &_sl_format, offsetof(struct sl_access_log_raw, format), "\"json\"", 0,
     "json: one object a line. Else a line with $variables, named as the members of the object."},
    {"path", &sl_type_string, offsetof(struct sl_access_log_raw, path), "\"-\"", 0,
     "File to append to; \"-\": standard output."},
    {"sample", &_sl_sample, offsetof(struct sl_access_log_raw, sample), "1.0", 0,
     "Share of requests that are logged."},
    SL_FIELDS_END,
};

static void _sl_finish(struct sl_reader *r, const struct sl_node *n, void *raw, void *out)
{
    struct sl_snapshot *s = out;
    const struct sl_access_log_raw *l = raw;
    (void)r, (void)n;
    s->access_log.enabled = true;
    s->access_log.format = l->format && strcmp(l->format, "json") != 0 ? l->format : NULL;
    s->access_log.path = l->path;
    s->access_log.sample = l->sample;
}

const struct sl_type sl_type_access_log = {.kind = SL_T_OBJECT,
                                           .what = "a map",
                                           .fields = _sl_fields,
                                           .raw = sizeof(struct sl_access_log_raw),
                                           .finish = _sl_finish};
