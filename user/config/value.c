/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads single values by the table. Invariant: what came by {$file} or {$env}, or stands where a secret is
 * taken, never reaches a diagnostic, and is wiped with the snapshot.
 */
#include "config/reader_priv.h"

#include <errno.h>
#include <stdio.h>

static const char *_sl_kind_name(const struct sl_node *n)
{
    static const char *const names[] = {"nothing (null)", "", "", "", "a list", "a map"};
    return names[n->kind];
}

const char *sl_read_shown(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n)
{
    const char *text = NULL;
    if (n->kind == SL_NODE_MAP && n->first && n->first->key.n && n->first->key.p[0] == '$')
        return n->first->key.p[1] == 'e' ? "the value of this variable" : "the content of this file";
    if (type->secret)
        return "this value";
    if (n->kind == SL_NODE_STRING)
        text = sl_arena_printf(&r->scratch, "\"%.*s%s\"", (int)SL_MIN(n->text.n, (size_t)80), n->text.p,
                               n->text.n > 80 ? "…" : "");
    else if (n->kind == SL_NODE_NUMBER || n->kind == SL_NODE_BOOL)
        text = sl_arena_printf(&r->scratch, "%.*s", (int)SL_MIN(n->text.n, (size_t)40), n->text.p);
    else
        text = _sl_kind_name(n);
    return text ? text : "";
}

static const char *_sl_hint(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n)
{
    const char *text = "";
    bool quotable = n->kind == SL_NODE_NUMBER || n->kind == SL_NODE_BOOL;
    if (type->kind == SL_T_BOOL && n->kind == SL_NODE_STRING)
        text = " (yes, no, on, off and words in quotes are not booleans here)";
    else if (type->kind == SL_T_INT && n->kind == SL_NODE_STRING)
        text = " (decimal digits, without quotes, leading zeros, underscores or 0x)";
    else if (type->kind == SL_T_DURATION && n->kind == SL_NODE_NUMBER)
        text =
            sl_arena_printf(&r->scratch, ": the unit is missing, as in \"" SL_SFMT "s\"", SL_SARG(n->text));
    else if (type->kind == SL_T_SIZE && n->kind == SL_NODE_NUMBER)
        text =
            sl_arena_printf(&r->scratch, ": the unit is missing, as in \"" SL_SFMT "B\"", SL_SARG(n->text));
    else if ((type->kind == SL_T_RATE || type->kind == SL_T_BYTE_RATE) && n->kind == SL_NODE_NUMBER)
        text = ": the unit is missing";
    else if (type->kind < SL_T_LIST && type->kind != SL_T_JSON && type->kind > SL_T_REAL && quotable &&
             !type->secret)
        text = sl_arena_printf(&r->scratch, ": write \"" SL_SFMT "\", in quotes", SL_SARG(n->text));
    else if ((type->kind == SL_T_RANGES || (type->kind == SL_T_LIST && !type->item->secret)) &&
             n->kind == SL_NODE_STRING)
        text =
            sl_arena_printf(&r->scratch, ": write [\"%.*s\"]", (int)SL_MIN(n->text.n, (size_t)80), n->text.p);
    return text ? text : "";
}

const char *sl_read_known(const struct sl_node *n, const char *text)
{
    return n->kind == SL_NODE_STRING ? text : "this value";
}

void sl_read_mismatch(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n)
{
    sl_read_error(r, n, "expected %s, found %s%s", type->what, sl_read_shown(r, type, n),
                  _sl_hint(r, type, n));
}

static void _sl_wrong(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n)
{
    sl_read_error(r, n, "%s is not %s", sl_read_shown(r, type, n), type->what);
}

/* ---- strings */

bool sl_node_reference(const struct sl_node *n, struct sl_reference *ref, bool *broken)
{
    const struct sl_node *c = n->kind == SL_NODE_MAP ? n->first : NULL;
    *broken = false;
    for (; c; c = c->next) {
        bool env = sl_slice_eq(c->key, SL_S("$env"));
        if (!env && !sl_slice_eq(c->key, SL_S("$file")))
            continue;
        *broken = n->n != 1 || c->kind != SL_NODE_STRING || c->text.n == 0;
        *ref = (struct sl_reference){.node = c, .env = env, .name = c->text};
        return !*broken;
    }
    return false;
}

const struct sl_bundle_file *sl_read_fetch(struct sl_reader *r, const struct sl_reference *ref)
{
    SL_FREE char *path = ref->env ? strndup(ref->name.p, ref->name.n)
                                  : sl_path_beside(r->tree->files[ref->node->source], ref->name);
    if (!path) {
        r->oom = true;
        return NULL;
    }
    const struct sl_bundle_file *f =
        ref->list ? sl_bundle_find_list(r->bundle, path) : sl_bundle_find(r->bundle, ref->env, path);
    if (f && f->error == 0)
        return f;
    if (ref->env)
        sl_read_error(r, ref->node, "the environment variable \"%s\" is not set", path);
    else if (f && f->error == EFBIG)
        sl_read_error(r, ref->node, "\"%s\" is larger than %u KiB", path,
                      (ref->list ? SL_LIST_MAX : SL_FILE_MAX) >> 10);
    else if (f && f->error == ENOTSUP)
        sl_read_error(r, ref->node, "\"%s\" is not a regular file", path);
    else
        sl_read_error(r, ref->node, "cannot read \"%s\": %s", path,
                      f ? strerror(f->error) : "it was not given");
    return NULL;
}

static bool _sl_by_reference(struct sl_reader *r, const struct sl_reference *ref, struct sl_slice *text)
{
    const struct sl_bundle_file *f = sl_read_fetch(r, ref);
    if (!f)
        return false;
    *text = ref->env ? f->data : sl_slice_chomp(f->data);
    if (!memchr(text->p, '\0', text->n))
        return true;
    sl_read_error(r, ref->node, "holds a NUL byte: expected text");
    return false;
}

bool sl_read_text(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                  struct sl_slice *text, bool *secret)
{
    struct sl_reference ref;
    bool broken;
    *secret = type->secret;
    if (sl_node_reference(n, &ref, &broken)) {
        *secret = true;
        return _sl_by_reference(r, &ref, text);
    }
    if (broken) {
        sl_read_error(r, n, "expected {$file: PATH} or {$env: NAME}, with nothing beside it");
        return false;
    }
    if (n->kind != SL_NODE_STRING) {
        sl_read_mismatch(r, type, n);
        return false;
    }
    if (n->ambiguous && !type->choices) { /* `mode: off` is not in doubt: off is one of its words */
        const char *shown = type->secret ? "this unquoted value" : sl_read_shown(r, type, n);
        sl_read_error(r, n, "%s means different things to different YAML readers: write it in quotes", shown);
        return false;
    }
    *text = n->text;
    return true;
}

static void _sl_lower(struct sl_slice s)
{
    for (char *p = (char *)(uintptr_t)s.p; p && p < s.p + s.n; p++)
        *p = sl_lower(*p);
}

static bool _sl_one_of(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                       struct sl_slice text, unsigned *value)
{
    struct sl_suggest s;
    sl_suggest_init(&s, text);
    for (const struct sl_choice *c = type->choices; c->name; c++) {
        if (!sl_slice_eq(text, sl_slice_str(c->name))) {
            if (!c->not_built)
                sl_suggest_try(&s, sl_slice_str(c->name));
        } else if (c->not_built) {
            sl_read_error(r, n, "\"%s\" is not built in this version", c->name);
            return false;
        } else {
            *value = c->value;
            return true;
        }
    }
    sl_read_error(r, n, "%s is not %s%s", sl_read_shown(r, type, n), type->what,
                  sl_suggest_text(&s, &r->scratch));
    return false;
}

static void _sl_text(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    struct sl_slice text;
    unsigned value;
    bool secret;
    if (!sl_read_text(r, type, n, &text, &secret) || (type->choices && !_sl_one_of(r, type, n, text, &value)))
        return;
    const char *wrong = type->valid ? type->valid(text) : NULL;
    if (wrong) {
        sl_read_error(r, n, "%s %s", sl_read_shown(r, type, n), wrong);
        return;
    }
    struct sl_slice kept = sl_read_keep(r, text, secret);
    if (type->lower)
        _sl_lower(kept);
    if (type->size == sizeof(struct sl_slice))
        *(struct sl_slice *)out = kept;
    else
        *(const char **)out = kept.p;
}

/* ---- numbers and units */

static bool _sl_in_range(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, uint64_t v)
{
    uint64_t min = 0, max = UINT64_MAX;
    if (type->min)
        (void)sl_parse_u64(type->kind, sl_slice_str(type->min), &min);
    if (type->max)
        (void)sl_parse_u64(type->kind, sl_slice_str(type->max), &max);
    if (v >= min && v <= max)
        return true;
    const char *shown = sl_read_shown(r, type, n);
    if (type->min && type->max && strcmp(type->min, type->max) == 0)
        _sl_wrong(r, type, n);
    else if (!type->max)
        sl_read_error(r, n, "%s is too small: at least %s", shown, type->min);
    else
        sl_read_error(r, n, "%s is out of range: from %s to %s", shown, type->min ? type->min : "0",
                      type->max);
    return false;
}

static void _sl_store(const struct sl_type *type, uint64_t v, void *out)
{
    if (type->size == sizeof(uint32_t))
        *(uint32_t *)out = (uint32_t)v;
    else
        *(uint64_t *)out = v;
}

static void _sl_int(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    uint64_t v;
    if (n->kind != SL_NODE_NUMBER) {
        sl_read_mismatch(r, type, n);
        return;
    }
    int rc = sl_slice_u64(n->text, &v);
    if (rc == -ERANGE)
        v = UINT64_MAX;
    if (rc == -EINVAL)
        _sl_wrong(r, type, n);
    else if (_sl_in_range(r, type, n, v))
        _sl_store(type, v, out);
}

static void _sl_real(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, double *out)
{
    double v = n->kind == SL_NODE_NUMBER ? strtod(n->text.p, NULL) : 0;
    if (n->kind != SL_NODE_NUMBER)
        sl_read_mismatch(r, type, n);
    else if (v < strtod(type->min, NULL) || v > strtod(type->max, NULL))
        sl_read_error(r, n, "%s is out of range: from %s to %s", sl_read_shown(r, type, n), type->min,
                      type->max);
    else
        *out = v;
}

static void _sl_unit(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    struct sl_slice text;
    bool secret;
    uint64_t v;
    if (!sl_read_text(r, type, n, &text, &secret))
        return;
    int rc = sl_parse_u64(type->kind, text, &v);
    if (rc == -ERANGE)
        v = UINT64_MAX;
    if (rc == -EINVAL)
        _sl_wrong(r, type, n);
    else if (_sl_in_range(r, type, n, v))
        _sl_store(type, v, out);
}

static void _sl_rate(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                     struct sl_rate *out)
{
    struct sl_slice text;
    struct sl_rate rate;
    bool secret;
    if (!sl_read_text(r, type, n, &text, &secret))
        return;
    if (sl_parse_rate(text, type->kind == SL_T_BYTE_RATE, &rate) < 0)
        _sl_wrong(r, type, n);
    else if (rate.count == 0 || rate.count > 1ull << 40)
        sl_read_error(
            r, n,
            "%s is out of range: a rate is at least 1 in its unit of time (leave the key out for no limit)",
            sl_read_shown(r, type, n));
    else
        *out = rate;
}

/* ---- bytes */

static void _sl_blob_file(struct sl_reader *r, const struct sl_reference *ref, bool secret,
                          struct sl_blob *out)
{
    const struct sl_bundle_file *f = sl_read_fetch(r, ref);
    if (!f)
        return;
    out->data = sl_read_keep(r, secret ? sl_slice_chomp(f->data) : f->data, secret);
    out->path = f->env ? NULL : sl_read_keep(r, sl_slice_str(f->key + 1), false).p;
    if (out->data.n == 0)
        sl_read_error(r, ref->node, "%s is empty", f->env ? "this variable" : "this file");
}

/* A path, or the bytes themselves: PEM is told by its first line. */
static void _sl_blob(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                     struct sl_blob *out)
{
    struct sl_reference ref;
    struct sl_slice text;
    bool broken, secret;
    out->pos = sl_read_value_pos(r, n);
    out->secret = type->secret;
    if (sl_node_reference(n, &ref, &broken)) {
        _sl_blob_file(r, &ref, type->secret, out);
        return;
    }
    if (!sl_read_text(r, type, n, &text, &secret))
        return;
    if (text.n == 0)
        sl_read_error(r, n, "is empty: expected %s", type->what);
    else if (type->kind == SL_T_SECRET || sl_slice_starts(text, SL_S("-----BEGIN ")))
        out->data = sl_read_keep(r, text, secret);
    else
        _sl_blob_file(r, &(struct sl_reference){.node = n, .name = text}, false, out);
}

static void _sl_json_blob(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                          struct sl_blob *out)
{
    struct sl_buf SL_BUF json = {0};
    if (n->kind != SL_NODE_MAP) {
        sl_read_mismatch(r, type, n);
        return;
    }
    if (sl_node_json(n, &json) < 0) {
        r->oom = true;
        return;
    }
    out->pos = sl_read_value_pos(r, n);
    out->data = sl_read_keep(r, sl_buf_slice(&json), true);
}

/* ---- the rest */

const char sl_ref_word[] = "";

static void _sl_parsed(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    struct sl_slice text;
    bool secret;
    if (type->also_number && n->kind == SL_NODE_NUMBER)
        text = n->text;
    else if (!sl_read_text(r, type, n, &text, &secret))
        return;
    if (!type->parse(r, n, text, out))
        _sl_wrong(r, type, n);
}

static void _sl_ref(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n,
                    const void **out)
{
    const struct sl_map *names = &r->names[type->names];
    struct sl_slice text;
    struct sl_suggest s;
    bool secret;
    if (!sl_read_text(r, type, n, &text, &secret))
        return;
    *out = type->word && sl_slice_eq(text, sl_slice_str(type->word)) ? sl_ref_word : sl_map_get(names, text);
    if (*out)
        return;
    sl_suggest_init(&s, text);
    sl_suggest_try(&s, sl_slice_str(type->word));
    if (r->suggestions) {
        r->suggestions--;
        for (size_t i = 0; i < names->cap; i++)
            if (names->entries[i].key.p)
                sl_suggest_try(&s, names->entries[i].key);
    }
    sl_read_error(r, n, "there is no %s named %s in this policy%s", type->one, sl_read_shown(r, type, n),
                  sl_suggest_text(&s, &r->scratch));
}

void sl_read_scalar(struct sl_reader *r, const struct sl_type *type, const struct sl_node *n, void *out)
{
    unsigned choice;
    struct sl_slice text;
    bool secret;
    switch (type->kind) {
    case SL_T_BOOL:
        if (n->kind == SL_NODE_BOOL)
            *(bool *)out = n->text.p[0] == 't';
        else
            sl_read_mismatch(r, type, n);
        return;
    case SL_T_INT:
        _sl_int(r, type, n, out);
        return;
    case SL_T_REAL:
        _sl_real(r, type, n, out);
        return;
    case SL_T_TEXT:
        _sl_text(r, type, n, out);
        return;
    case SL_T_CHOICE:
        if (sl_read_text(r, type, n, &text, &secret) && _sl_one_of(r, type, n, text, &choice))
            *(unsigned *)out = choice;
        return;
    case SL_T_DURATION:
    case SL_T_SIZE:
        _sl_unit(r, type, n, out);
        return;
    case SL_T_RATE:
    case SL_T_BYTE_RATE:
        _sl_rate(r, type, n, out);
        return;
    case SL_T_FILE:
    case SL_T_SECRET:
        _sl_blob(r, type, n, out);
        return;
    case SL_T_JSON:
        _sl_json_blob(r, type, n, out);
        return;
    case SL_T_PARSED:
        _sl_parsed(r, type, n, out);
        return;
    default:
        _sl_ref(r, type, n, out);
    }
}
