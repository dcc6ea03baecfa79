/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/json_priv.h"

#include <errno.h>
#include <stdio.h>

/* jansson recurses to 2048 levels while it parses: what is deeper than any token is refused before that. */
static bool _sl_shallow(struct sl_slice text)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        const char c = text.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > SL_JSON_DEPTH)
            return false;
        else if (!quoted && (c == '}' || c == ']') && depth)
            depth--;
    }
    return true;
}

json_t *sl_json_object(struct sl_slice text)
{
    if (text.n == 0 || !_sl_shallow(text))
        return NULL;
    json_t *j = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(j))
        return j;
    json_decref(j);
    return NULL;
}

static struct sl_slice _sl_text(const json_t *string)
{
    return sl_slice(json_string_value(string), json_string_length(string));
}

struct sl_slice sl_json_string(const json_t *object, const char *name)
{
    const json_t *j = json_object_get(object, name);
    return json_is_string(j) ? _sl_text(j) : SL_SLICE_NUL;
}

json_t *sl_claim_get(const json_t *claims, struct sl_slice path)
{
    while (json_is_object(claims)) {
        json_t *found = json_object_getn(claims, path.p, path.n);
        const ssize_t dot = sl_slice_chr(path, '.');
        if (found || dot < 0)
            return found;
        claims = json_object_getn(claims, path.p, (size_t)dot);
        path = sl_slice(path.p + dot + 1, path.n - (size_t)dot - 1);
    }
    return NULL;
}

struct sl_text_out {
    char *p; /* NULL: count only */
    size_t n;
};

static void _sl_put(struct sl_text_out *o, char c)
{
    if ((unsigned char)c < 0x20 || c == 0x7f)
        return;
    if (o->p)
        o->p[o->n] = c;
    o->n++;
}

static void _sl_put_text(struct sl_text_out *o, struct sl_slice s, bool element)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const bool escape = element && (c == ',' || c == '%');
        _sl_put(o, escape ? '%' : c);
        if (escape) {
            _sl_put(o, '2');
            _sl_put(o, c == ',' ? 'C' : '5');
        }
    }
}

/* Returns false where the value has no text. */
static bool _sl_put_scalar(struct sl_text_out *o, const json_t *j, bool element)
{
    char number[48];
    struct sl_slice s;
    if (json_is_string(j))
        s = _sl_text(j);
    else if (json_is_boolean(j))
        s = json_is_true(j) ? SL_S("true") : SL_S("false");
    else if (json_is_integer(j))
        s = sl_slice(
            number, (size_t)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(j)));
    else if (json_is_real(j))
        s = sl_slice(number, (size_t)snprintf(number, sizeof(number), "%.15g", json_real_value(j)));
    else
        return false;
    _sl_put_text(o, s, element);
    return true;
}

static void _sl_put_claim(struct sl_text_out *o, const json_t *claim)
{
    size_t i;
    const json_t *item;
    bool first = true;
    if (!json_is_array(claim)) {
        (void)_sl_put_scalar(o, claim, false);
        return;
    }
    json_array_foreach(claim, i, item)
    {
        if (json_is_array(item) || json_is_object(item) || json_is_null(item))
            continue;
        if (!first)
            _sl_put(o, ',');
        first = !_sl_put_scalar(o, item, true) && first;
    }
}

struct sl_slice sl_claim_text(const json_t *claim, struct sl_arena *a)
{
    struct sl_text_out o = {0};
    _sl_put_claim(&o, claim);
    char *p = sl_arena_alloc(a, o.n + 1);
    if (!p)
        return SL_SLICE_NUL;
    o = (struct sl_text_out){.p = p};
    _sl_put_claim(&o, claim);
    p[o.n] = '\0';
    return sl_slice(p, o.n);
}

static int _sl_words_of_string(struct sl_slice text, struct sl_arena *a, struct sl_strings *out)
{
    struct sl_slice rest = text, word;
    size_t n = 0;
    while (sl_slice_next(&rest, ' ', &word))
        n += word.n != 0;
    if (!(out->v = sl_arena_alloc(a, n * sizeof(*out->v))))
        return -ENOMEM;
    rest = text;
    while (sl_slice_next(&rest, ' ', &word))
        if (word.n)
            out->v[out->n++] = word;
    return 0;
}

int sl_claim_words(const json_t *claim, struct sl_arena *a, struct sl_strings *out)
{
    size_t i;
    const json_t *item;
    *out = (struct sl_strings){0};
    if (json_is_string(claim))
        return _sl_words_of_string(_sl_text(claim), a, out);
    if (!json_is_array(claim))
        return 0;
    out->v = sl_arena_alloc(a, json_array_size(claim) * sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    json_array_foreach(claim, i, item)
    {
        if (json_is_string(item))
            out->v[out->n++] = _sl_text(item);
    }
    return 0;
}
