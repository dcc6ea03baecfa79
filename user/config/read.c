/* SPDX-License-Identifier: Apache-2.0 */
/* Reads containers by the table: objects, variants, lists, named things, pairs. Single values are value.c's.
 */
#include "config/reader_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define SL_FIELDS_MAX 40

/* Every named thing begins like this. */
struct sl_named {
    const char *name;
    struct sl_pos pos;
};
struct sl_vec {
    void *v;
    size_t n;
};

void *sl_read_alloc(struct sl_reader *r, size_t n, size_t size)
{
    void *p = sl_arena_zalloc(r->arena, SL_MAX(n * size, (size_t)1));
    if (!p)
        r->oom = true;
    return p;
}

struct sl_slice sl_read_keep(struct sl_reader *r, struct sl_slice text, bool secret)
{
    struct sl_slice copy = sl_arena_copy(r->arena, text);
    struct sl_secret *s = secret ? sl_read_alloc(r, 1, sizeof(*s)) : NULL;
    if (!copy.p)
        r->oom = true;
    if (s) {
        *s = (struct sl_secret){.next = *r->secrets, .bytes = copy};
        *r->secrets = s;
    }
    return copy;
}

/* ---- places and errors */

struct sl_pos sl_read_pos(struct sl_reader *r, const struct sl_node *n)
{
    struct sl_pos pos = sl_node_key_pos(r->tree, n, r->arena);
    pos.file = r->files[n->source];
    return pos;
}

struct sl_pos sl_read_value_pos(struct sl_reader *r, const struct sl_node *n)
{
    struct sl_pos pos = sl_node_pos(r->tree, n, r->arena);
    pos.file = r->files[n->source];
    return pos;
}

const char *sl_place(struct sl_reader *r, const struct sl_pos *pos)
{
    const char *text = sl_arena_printf(&r->scratch, "%s:%u:%u", pos->file, pos->line, pos->column);
    return text ? text : "";
}

const char *sl_read_place(struct sl_reader *r, const struct sl_node *n)
{
    struct sl_pos pos = sl_node_pos(r->tree, n, &r->scratch);
    return sl_place(r, &pos);
}

/* Whatever the message was made of stands in the scratch arena, which is done with here. */
static void _sl_tell(struct sl_reader *r, enum sl_severity severity, const struct sl_pos *pos,
                     const char *fmt, va_list ap)
{
    SL_FREE char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) {
        text = NULL;
        r->oom = true;
    } else if (severity == SL_SEV_ERROR) {
        sl_diag_error(r->diag, pos, "%s", text);
    } else {
        sl_diag_warn(r->diag, pos, "%s", text);
    }
    sl_arena_reset(&r->scratch);
}

#define _SL_TELL(severity, get)                       \
    va_list ap;                                       \
    struct sl_pos pos = get(r->tree, n, &r->scratch); \
    va_start(ap, fmt);                                \
    _sl_tell(r, severity, &pos, fmt, ap);             \
    va_end(ap)

void sl_read_error(struct sl_reader *r, const struct sl_node *n, const char *fmt, ...)
{
    _SL_TELL(SL_SEV_ERROR, sl_node_pos);
}

void sl_read_key_error(struct sl_reader *r, const struct sl_node *n, const char *fmt, ...)
{
    _SL_TELL(SL_SEV_ERROR, sl_node_key_pos);
}

void sl_read_warn(struct sl_reader *r, const struct sl_node *n, const char *fmt, ...)
{
    _SL_TELL(SL_SEV_WARNING, sl_node_pos);
}

/* ---- objects */

/* The node that a default, written as JSON in the table, stands for. */
static const struct sl_node *_sl_default(struct sl_reader *r, const char *json)
{
    struct sl_slice text = sl_slice_str(json);
    const struct sl_node *n = sl_map_get(&r->default_nodes, text);
    if (n)
        return n;
    struct sl_builder b;
    sl_builder_init(&b, &r->defaults, r->diag, 0);
    int rc = sl_json_read(&b, text);
    sl_builder_free(&b);
    if (rc == 0)
        rc = sl_map_add(&r->default_nodes, text, b.root);
    if (rc == -ENOMEM)
        r->oom = true;
    return rc < 0 ? NULL : b.root;
}

static void _sl_unknown_key(struct sl_reader *r, const struct sl_field *fields, const struct sl_node *n)
{
    struct sl_suggest s;
    sl_suggest_init(&s, n->key);
    for (const struct sl_field *f = fields; f->key; f++)
        sl_suggest_try(&s, sl_slice_str(f->key));
    sl_read_key_error(r, n, "unknown key \"" SL_SFMT "\"%s", SL_SARG(n->key),
                      sl_suggest_text(&s, &r->scratch));
}

/* Sorts the children by field; tells those that have none. */
static void _sl_assign(struct sl_reader *r, const struct sl_field *fields, const struct sl_node *n,
                       const struct sl_node **seen)
{
    for (const struct sl_node *c = n->first; c; c = c->next) {
        size_t i = 0;
        while (fields[i].key && !sl_slice_eq(c->key, sl_slice_str(fields[i].key)))
            i++;
        if (!fields[i].key)
            _sl_unknown_key(r, fields, c);
        else if (fields[i].flags & SL_F_NOT_BUILT)
            sl_read_key_error(r, c, "\"%s\" is not built in this version: leave it out", fields[i].key);
        else
            seen[i] = c;
    }
}

static void _sl_field(struct sl_reader *r, const struct sl_field *f, const struct sl_node *n, void *out)
{
    if (f->flags & SL_F_APART)
        out = *(void **)out = sl_read_alloc(r, 1, f->type->size);
    if (out)
        sl_read(r, f->type, n, out);
}

static void _sl_fields(struct sl_reader *r, const struct sl_field *fields, const struct sl_node *n, void *out)
{
    const struct sl_node *seen[SL_FIELDS_MAX] = {0};
    _sl_assign(r, fields, n, seen);
    for (size_t i = 0; fields[i].key; i++) {
        const struct sl_field *f = &fields[i];
        const struct sl_node *value = seen[i];
        if (!value && f->flags & SL_F_REQUIRED)
            sl_read_key_error(r, n, "\"%s\" is missing: %s", f->key, f->doc);
        if (!value && f->value)
            value = _sl_default(r, f->value);
        if (value)
            _sl_field(r, f, value, (char *)out + f->at);
    }
}

static void _sl_object(struct sl_reader *r, const struct sl_type *type, const struct sl_field *fields,
                       const struct sl_node *n, void *out)
{
    void *raw = type->raw ? calloc(1, type->raw) : out;
    if (!raw) {
        r->oom = true;
        return;
    }
    _sl_fields(r, fields, n, raw);
    if (type->finish)
        type->finish(r, n, raw, out);
    if (type->raw)
        free(raw);
}

static void _sl_variant(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    const struct sl_node *which = sl_node_get(n, type->variant);
    struct sl_suggest s;
    if (!which || which->kind != SL_NODE_STRING) {
        sl_read_key_error(r, which ? which : n, "\"%s\" must be said: %s", type->variant, type->what);
        return;
    }
    sl_suggest_init(&s, which->text);
    for (const struct sl_variant *v = type->variants; v->name; v++) {
        if (!sl_slice_eq(which->text, sl_slice_str(v->name))) {
            sl_suggest_try(&s, sl_slice_str(v->name));
        } else if (v->fields) {
            _sl_object(r, type, v->fields, n, out);
            return;
        } else {
            sl_read_error(r, which, "%s \"%s\" is not built in this version", type->variant, v->name);
            return;
        }
    }
    sl_read_error(r, which, "%s is not %s%s", sl_read_shown(r, type, which), type->what,
                  sl_suggest_text(&s, &r->scratch));
}

/* ---- lists and maps */

static void _sl_check_some(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n)
{
    if (type->some && n->n == 0)
        sl_read_error(r, n, "expected %s, found an empty %s", type->what,
                      n->kind == SL_NODE_MAP ? "map" : "list");
}

static void _sl_check_unique(struct sl_reader *r, const struct sl_node *n)
{
    struct sl_map seen = {0};
    for (const struct sl_node *c = n->first; c; c = c->next) {
        if (c->kind != SL_NODE_STRING)
            continue;
        int rc = sl_map_add(&seen, c->text, (void *)(uintptr_t)c);
        if (rc == -ENOMEM)
            r->oom = true;
        if (rc == -EEXIST)
            sl_read_error(r, c, "\"" SL_SFMT "\" stands twice in this list: the first is at %s",
                          SL_SARG(c->text), sl_read_place(r, sl_map_get(&seen, c->text)));
    }
    sl_map_free(&seen);
}

static void _sl_list(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                     struct sl_vec *out)
{
    _sl_check_some(r, type, n);
    char *v = sl_read_alloc(r, n->n, type->item->size);
    if (!v || n->n == 0)
        return;
    *out = (struct sl_vec){v, n->n};
    for (const struct sl_node *c = n->first; c; c = c->next, v += type->item->size)
        sl_read(r, type->item, c, v);
    if (type->unique)
        _sl_check_unique(r, n);
}

static void _sl_check_name(struct sl_reader *r, const struct sl_type *key, const struct sl_node *c)
{
    const char *wrong = key->valid(c->key);
    if (wrong)
        sl_read_key_error(r, c, "\"" SL_SFMT "\" is no %s: it %s", SL_SARG(c->key), key->what, wrong);
}

static void _sl_named(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                      struct sl_vec *out)
{
    _sl_check_some(r, type, n);
    char *v = sl_read_alloc(r, n->n + type->extra, type->item->size);
    if (!v || n->n + type->extra == 0)
        return;
    *out = (struct sl_vec){v, n->n};
    for (const struct sl_node *c = n->first; c; c = c->next, v += type->item->size) {
        struct sl_named *item = (struct sl_named *)v;
        _sl_check_name(r, type->key, c);
        item->name = sl_read_keep(r, c->key, false).p;
        item->pos = sl_read_pos(r, c);
        if (item->name && type->names &&
            sl_map_add(&r->names[type->names], sl_slice(item->name, c->key.n), item) == -ENOMEM)
            r->oom = true;
        sl_read(r, type->item, c, v);
    }
}

static void _sl_pairs(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                      struct sl_name_values *out)
{
    _sl_check_some(r, type, n);
    struct sl_name_value *v = sl_read_alloc(r, n->n, sizeof(*v));
    if (!v || n->n == 0)
        return;
    *out = (struct sl_name_values){v, n->n};
    for (const struct sl_node *c = n->first; c; c = c->next, v++) {
        _sl_check_name(r, type->key, c);
        v->name = sl_read_keep(r, c->key, false);
        v->pos = sl_read_pos(r, c);
        sl_read(r, type->item, c, &v->value);
    }
}

void sl_read(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    bool list = type->kind == SL_T_LIST;
    if (type->kind == SL_T_RANGES) {
        sl_read_ranges(r, type, n, out);
    } else if (type->kind < SL_T_LIST) {
        sl_read_scalar(r, type, n, out);
    } else if (n->kind != (list ? SL_NODE_LIST : SL_NODE_MAP)) {
        sl_read_mismatch(r, type, n);
    } else if (list) {
        _sl_list(r, type, n, out);
    } else if (type->kind == SL_T_NAMED) {
        _sl_named(r, type, n, out);
    } else if (type->kind == SL_T_PAIRS) {
        _sl_pairs(r, type, n, out);
    } else if (type->kind == SL_T_VARIANT) {
        _sl_variant(r, type, n, out);
    } else {
        _sl_object(r, type, type->fields, n, out);
    }
}
