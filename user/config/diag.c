/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects diagnostics and prints them in file and line order.
 * Invariant: an entry is one line: control bytes, which names in a policy may carry, are written as \xNN.
 */
#include "config/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* A policy of a million wrong lines must not take the memory of the machine to say so. */
#define SL_DIAG_MAX 10000

void sl_diag_init(struct sl_diag *d)
{
    *d = (struct sl_diag){0};
    sl_arena_init(&d->arena, 0);
}

void sl_diag_free(struct sl_diag *d)
{
    sl_arena_free(&d->arena);
    free(d->v);
    *d = (struct sl_diag){0};
}

/* A copy with control bytes spelled out; NULL when memory is out. */
static char *_sl_clean(struct sl_arena *a, const char *s)
{
    char *out = sl_arena_alloc(a, strlen(s) * 4 + 1), *at = out;
    for (; out && *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c == 0x7f)
            at += snprintf(at, 5, "\\x%02x", c);
        else
            *at++ = *s;
    }
    if (out)
        *at = '\0';
    return out;
}

static struct sl_diag_entry *_sl_room(struct sl_diag *d)
{
    if (d->n == SL_DIAG_MAX)
        return NULL;
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 16;
        struct sl_diag_entry *v = realloc(d->v, cap * sizeof(*v));
        if (!v)
            return NULL;
        d->v = v;
        d->cap = cap;
    }
    return &d->v[d->n];
}

/* Counted even where there is no room for it: an error never turns into a success. */
static void _sl_add(struct sl_diag *d, enum sl_severity severity, const struct sl_pos *pos, const char *fmt,
                    va_list ap)
{
    unsigned *count = severity == SL_SEV_ERROR ? &d->errors : &d->warnings;
    struct sl_diag_entry *e = _sl_room(d);
    SL_FREE char *text = NULL;
    (*count)++;
    if (!e || vasprintf(&text, fmt, ap) < 0) {
        text = NULL;
        return;
    }
    *e = (struct sl_diag_entry){.severity = severity, .text = _sl_clean(&d->arena, text)};
    if (pos) {
        e->pos = *pos;
        e->pos.file = _sl_clean(&d->arena, pos->file ? pos->file : "");
        e->pos.pointer = _sl_clean(&d->arena, pos->pointer ? pos->pointer : "");
    } else {
        e->pos = (struct sl_pos){.file = "", .pointer = ""};
    }
    if (e->text && e->pos.file && e->pos.pointer)
        d->n++;
}

void sl_diag_error(struct sl_diag *d, const struct sl_pos *pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _sl_add(d, SL_SEV_ERROR, pos, fmt, ap);
    va_end(ap);
}

void sl_diag_warn(struct sl_diag *d, const struct sl_pos *pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _sl_add(d, SL_SEV_WARNING, pos, fmt, ap);
    va_end(ap);
}

static int _sl_compare(const void *pa, const void *pb)
{
    const struct sl_diag_entry *a = *(const struct sl_diag_entry *const *)pa;
    const struct sl_diag_entry *b = *(const struct sl_diag_entry *const *)pb;
    int by_file = strcmp(a->pos.file, b->pos.file);
    if (by_file)
        return by_file;
    if (a->pos.line != b->pos.line)
        return a->pos.line < b->pos.line ? -1 : 1;
    if (a->pos.column != b->pos.column)
        return a->pos.column < b->pos.column ? -1 : 1;
    return a < b ? -1 : a > b; /* as they came */
}

static int _sl_print_entry(const struct sl_diag_entry *e, struct sl_buf *out)
{
    const char *kind = e->severity == SL_SEV_ERROR ? "error" : "warning";
    int r = 0;
    if (e->pos.file[0])
        r = sl_buf_printf(out, "%s:", e->pos.file);
    if (r == 0 && e->pos.line)
        r = sl_buf_printf(out, "%u:%u:", e->pos.line, e->pos.column);
    if (r == 0)
        r = sl_buf_printf(out, "%s%s: ", e->pos.file[0] ? " " : "", kind);
    if (r == 0 && e->pos.pointer[0])
        r = sl_buf_printf(out, "%s: ", e->pos.pointer);
    return r < 0 ? r : sl_buf_printf(out, "%s\n", e->text);
}

int sl_diag_print(const struct sl_diag *d, struct sl_buf *out)
{
    if (d->n == 0)
        return 0;
    SL_FREE const struct sl_diag_entry **sorted = malloc(d->n * sizeof(const struct sl_diag_entry *));
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < d->n; i++)
        sorted[i] = &d->v[i];
    qsort(sorted, d->n, sizeof(const struct sl_diag_entry *), _sl_compare);
    int r = 0;
    for (size_t i = 0; r == 0 && i < d->n; i++)
        r = _sl_print_entry(sorted[i], out);
    if (r == 0 && d->n < (size_t)d->errors + d->warnings)
        r = sl_buf_printf(out, "error: %zu more are not shown\n", (size_t)d->errors + d->warnings - d->n);
    return r;
}
