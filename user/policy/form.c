/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/form.h"

#include "http/uri.h"

#include <errno.h>

static int _sl_field(struct sl_arena *a, struct sl_slice text, struct sl_form *f)
{
    const ssize_t eq = sl_slice_chr(text, '=');
    const size_t name_n = eq < 0 ? text.n : (size_t)eq, behind = SL_MIN(name_n + 1, text.n);
    if (f->n == SL_FORM_FIELDS)
        return -E2BIG;
    struct sl_form_field *to = &f->v[f->n];
    int r = sl_uri_decode(a, sl_slice(text.p, name_n), true, &to->name);
    if (r == 0)
        r = sl_uri_decode(a, sl_slice(text.p + behind, text.n - behind), true, &to->value);
    for (size_t i = 0; r == 0 && i < f->n; i++)
        if (sl_slice_eq(f->v[i].name, to->name))
            r = -EEXIST;
    f->n += r == 0;
    return r;
}

int sl_form_parse(struct sl_arena *a, struct sl_slice body, struct sl_form *out)
{
    struct sl_slice part;
    int r = 0;
    out->n = 0;
    while (r == 0 && sl_slice_next(&body, '&', &part))
        r = part.n ? _sl_field(a, part, out) : 0;
    return r;
}

struct sl_slice sl_form_get(const struct sl_form *f, struct sl_slice name)
{
    for (size_t i = 0; i < f->n; i++)
        if (sl_slice_eq(f->v[i].name, name))
            return f->v[i].value;
    return SL_SLICE_NUL;
}
