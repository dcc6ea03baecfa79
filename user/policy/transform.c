/* SPDX-License-Identifier: Apache-2.0 */
/* Header programs: remove, rename, set, add. Names that carry framing or one hop are refused when compiled.
 */
#include "policy/transform_priv.h"

#include <errno.h>

struct sl_write {
    struct sl_slice name;
    struct sl_template *value;
};
struct sl_writes {
    struct sl_write *v;
    size_t n;
};
struct sl_transform {
    const struct sl_header_ops *ops; /* names of remove and rename */
    struct sl_writes set, add;
};

static bool _sl_is_ours(struct sl_slice name)
{
    switch (sl_hdr_id(name)) {
    case SL_HDR_CONNECTION:
    case SL_HDR_KEEP_ALIVE:
    case SL_HDR_PROXY_CONNECTION:
    case SL_HDR_TE:
    case SL_HDR_TRAILER:
    case SL_HDR_TRANSFER_ENCODING:
    case SL_HDR_UPGRADE:
    case SL_HDR_CONTENT_LENGTH:
    case SL_HDR_EXPECT:
        return true;
    default:
        return false;
    }
}

/* host: whether the op may touch Host, which a request has exactly once (RFC 9112 section 3.2). */
static void _sl_check_name(struct sl_slice name, bool host, const struct sl_pos *pos, struct sl_diag *diag)
{
    if (!sl_is_token(name))
        sl_diag_error(diag, pos, "\"" SL_SFMT "\" is no header name", SL_SARG(name));
    else if (_sl_is_ours(name))
        sl_diag_error(diag, pos, "\"" SL_SFMT "\" is of the gateway: it is about framing, or one hop only",
                      SL_SARG(name));
    else if (!host && sl_hdr_id(name) == SL_HDR_HOST)
        sl_diag_error(diag, pos, "Host can be set, and nothing else");
}

static int _sl_writes_new(const struct sl_name_values *from, bool host, struct sl_diag *diag,
                          struct sl_writes *out)
{
    out->v = calloc(from->n + 1, sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    for (size_t i = 0; i < from->n; i++) {
        const struct sl_name_value *f = &from->v[i];
        _sl_check_name(f->name, host, &f->pos, diag);
        if (!sl_is_field_value(f->value))
            sl_diag_error(diag, &f->pos, "the value of \"" SL_SFMT "\" holds a control character",
                          SL_SARG(f->name));
        out->v[out->n].name = f->name;
        const int r = sl_template_new(f->value, &f->pos, diag, &out->v[out->n].value);
        if (r == -ENOMEM)
            return r;
        out->n += r == 0;
    }
    return 0;
}

static void _sl_writes_free(struct sl_writes *w)
{
    for (size_t i = 0; i < w->n; i++)
        sl_template_free(w->v[i].value);
    free(w->v);
}

static void _sl_check_names(const struct sl_header_ops *ops, struct sl_diag *diag)
{
    for (size_t i = 0; i < ops->remove.n; i++)
        _sl_check_name(ops->remove.v[i], false, NULL, diag);
    for (size_t i = 0; i < ops->rename.n; i++) {
        _sl_check_name(ops->rename.v[i].name, false, &ops->rename.v[i].pos, diag);
        _sl_check_name(ops->rename.v[i].value, false, &ops->rename.v[i].pos, diag);
    }
}

int sl_transform_new(const struct sl_header_ops *ops, struct sl_diag *diag, struct sl_transform **out)
{
    *out = NULL;
    if (!ops->remove.n && !ops->rename.n && !ops->set.n && !ops->add.n)
        return 0;
    const unsigned errors = diag->errors;
    struct sl_transform *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->ops = ops;
    _sl_check_names(ops, diag);
    int r = _sl_writes_new(&ops->set, true, diag, &t->set);
    if (r == 0)
        r = _sl_writes_new(&ops->add, false, diag, &t->add);
    if (r == 0 && diag->errors > errors)
        r = -EINVAL;
    if (r < 0) {
        sl_transform_free(t);
        return r;
    }
    *out = t;
    return 0;
}

void sl_transform_free(struct sl_transform *t)
{
    if (!t)
        return;
    _sl_writes_free(&t->set);
    _sl_writes_free(&t->add);
    free(t);
}

/* What stands under the new name already goes, or the renamed one would be the second of two. */
static void _sl_rename(struct sl_headers *h, struct sl_slice from, struct sl_slice to)
{
    if (!sl_headers_find(h, from))
        return;
    if (!sl_slice_ieq(from, to))
        (void)sl_headers_remove(h, to);
    for (uint32_t i = 0; i < h->n; i++) {
        if (!h->v[i].removed && sl_slice_ieq(h->v[i].name, from)) {
            h->v[i].name = to;
            h->v[i].id = (uint16_t)sl_hdr_id(to);
        }
    }
}

int sl_transform_run(const struct sl_transform *t, const struct sl_template_vars *vars, struct sl_headers *h,
                     struct sl_arena *a)
{
    for (size_t i = 0; i < t->ops->remove.n; i++)
        (void)sl_headers_remove(h, t->ops->remove.v[i]);
    for (size_t i = 0; i < t->ops->rename.n; i++)
        _sl_rename(h, t->ops->rename.v[i].name, t->ops->rename.v[i].value);
    for (size_t i = 0; i < t->set.n + t->add.n; i++) {
        const bool set = i < t->set.n;
        const struct sl_write *w = set ? &t->set.v[i] : &t->add.v[i - t->set.n];
        const struct sl_slice value = sl_template_run(w->value, vars, a);
        if (!value.p)
            return -ENOMEM;
        if (set)
            (void)sl_headers_remove(h, w->name);
        if (sl_headers_add(h, a, w->name, sl_slice_trim(value)) < 0)
            return -ENOMEM;
    }
    return 0;
}

void sl_transform_clean(const struct sl_transform *t, struct sl_headers *trailers)
{
    for (size_t i = 0; i < t->ops->remove.n; i++)
        (void)sl_headers_remove(trailers, t->ops->remove.v[i]);
    for (size_t i = 0; i < t->ops->rename.n; i++) {
        (void)sl_headers_remove(trailers, t->ops->rename.v[i].name);
        (void)sl_headers_remove(trailers, t->ops->rename.v[i].value);
    }
    for (size_t i = 0; i < t->set.n; i++)
        (void)sl_headers_remove(trailers, t->set.v[i].name);
}
