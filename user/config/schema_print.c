/* SPDX-License-Identifier: Apache-2.0 */
/* The table as JSON Schema (draft 2020-12), for editors and for checks before a commit. */
#include "config/reader_priv.h"

struct sl_printer {
    struct sl_buf *out;
    int rc;
    unsigned depth;
    bool first; /* of the members at this depth */
};

static void _sl_raw(struct sl_printer *p, const char *text)
{
    if (p->rc == 0)
        p->rc = sl_buf_append(p->out, text, strlen(text));
}

static void _sl_string(struct sl_printer *p, const char *text)
{
    _sl_raw(p, "\"");
    if (p->rc == 0)
        p->rc = sl_buf_append_json(p->out, sl_slice_str(text));
    _sl_raw(p, "\"");
}

static void _sl_next(struct sl_printer *p)
{
    _sl_raw(p, p->first ? "\n" : ",\n");
    for (unsigned i = 0; i < p->depth; i++)
        _sl_raw(p, " ");
    p->first = false;
}

static void _sl_member(struct sl_printer *p, const char *key)
{
    _sl_next(p);
    _sl_string(p, key);
    _sl_raw(p, ": ");
}

static void _sl_open(struct sl_printer *p, const char *bracket)
{
    _sl_raw(p, bracket);
    p->depth++;
    p->first = true;
}

static void _sl_close(struct sl_printer *p, const char *bracket)
{
    p->depth--;
    p->first = true;
    _sl_next(p);
    _sl_raw(p, bracket);
}

static void _sl_text_member(struct sl_printer *p, const char *key, const char *text)
{
    _sl_member(p, key);
    _sl_string(p, text);
}

static void _sl_raw_member(struct sl_printer *p, const char *key, const char *json)
{
    _sl_member(p, key);
    _sl_raw(p, json);
}

static void _sl_type(struct sl_printer *p, const struct sl_type *type);

static void _sl_nested(struct sl_printer *p, const char *key, const struct sl_type *type)
{
    _sl_member(p, key);
    _sl_open(p, "{");
    _sl_type(p, type);
    _sl_close(p, "}");
}

/* A string of some form, or a reference to where it stands. */
static void _sl_string_type(struct sl_printer *p, const struct sl_type *type)
{
    _sl_member(p, "anyOf");
    _sl_open(p, "[");
    _sl_next(p);
    _sl_raw(p, "{\"type\": \"string\"");
    if (type->pattern) {
        _sl_raw(p, ", \"pattern\": ");
        _sl_string(p, type->pattern);
    }
    const char *comma = ", \"enum\": [";
    for (const struct sl_choice *c = type->choices; c && c->name; c++) {
        if (c->not_built)
            continue;
        _sl_raw(p, comma);
        _sl_string(p, c->name);
        comma = ", ";
    }
    _sl_raw(p, type->choices ? "]}" : "}");
    _sl_next(p);
    _sl_raw(p, "{\"$ref\": \"#/$defs/reference\"}");
    _sl_close(p, "]");
}

static void _sl_field(struct sl_printer *p, const struct sl_field *f, const char *variant_key,
                      const char *variant)
{
    _sl_member(p, f->key);
    _sl_open(p, "{");
    if (variant && strcmp(f->key, variant_key) == 0)
        _sl_text_member(p, "const", variant);
    else
        _sl_type(p, f->type);
    _sl_text_member(p, "description", f->doc);
    if (f->value)
        _sl_raw_member(p, "default", f->value);
    _sl_close(p, "}");
}

static void _sl_fields(struct sl_printer *p, const struct sl_field *fields, const char *variant_key,
                       const char *variant)
{
    _sl_raw_member(p, "type", "\"object\"");
    _sl_member(p, "properties");
    _sl_open(p, "{");
    for (const struct sl_field *f = fields; f->key; f++)
        if (!(f->flags & SL_F_NOT_BUILT))
            _sl_field(p, f, variant_key, variant);
    _sl_close(p, "}");
    const char *comma = "";
    for (const struct sl_field *f = fields; f->key; f++) {
        if (!(f->flags & SL_F_REQUIRED))
            continue;
        if (!*comma) {
            _sl_member(p, "required");
            _sl_raw(p, "[");
        }
        _sl_raw(p, comma);
        _sl_string(p, f->key);
        comma = ", ";
    }
    if (*comma)
        _sl_raw(p, "]");
    _sl_raw_member(p, "additionalProperties", "false");
}

static void _sl_variants(struct sl_printer *p, const struct sl_type *type)
{
    _sl_member(p, "oneOf");
    _sl_open(p, "[");
    for (const struct sl_variant *v = type->variants; v->name; v++) {
        if (!v->fields)
            continue;
        _sl_next(p);
        _sl_open(p, "{");
        _sl_fields(p, v->fields, type->variant, v->name);
        _sl_close(p, "}");
    }
    _sl_close(p, "]");
}

static void _sl_map_type(struct sl_printer *p, const struct sl_type *type)
{
    _sl_raw_member(p, "type", "\"object\"");
    if (type->key->pattern) {
        _sl_member(p, "propertyNames");
        _sl_raw(p, "{\"pattern\": ");
        _sl_string(p, type->key->pattern);
        _sl_raw(p, "}");
    }
    if (type->some)
        _sl_raw_member(p, "minProperties", "1");
    _sl_nested(p, "additionalProperties", type->item);
}

static void _sl_list_type(struct sl_printer *p, const struct sl_type *type)
{
    _sl_raw_member(p, "type", "\"array\"");
    if (type->some)
        _sl_raw_member(p, "minItems", "1");
    if (type->unique)
        _sl_raw_member(p, "uniqueItems", "true");
    _sl_nested(p, "items", type->item);
}

static void _sl_number_type(struct sl_printer *p, const struct sl_type *type)
{
    _sl_raw_member(p, "type", type->kind == SL_T_INT ? "\"integer\"" : "\"number\"");
    if (type->min)
        _sl_raw_member(p, "minimum", type->min);
    if (type->max)
        _sl_raw_member(p, "maximum", type->max);
}

static void _sl_type(struct sl_printer *p, const struct sl_type *type)
{
    if (type->schema) {
        _sl_next(p);
        _sl_raw(p, type->schema);
        return;
    }
    switch (type->kind) {
    case SL_T_BOOL:
        _sl_raw_member(p, "type", "\"boolean\"");
        return;
    case SL_T_INT:
    case SL_T_REAL:
        _sl_number_type(p, type);
        return;
    case SL_T_JSON:
        _sl_raw_member(p, "type", "\"object\"");
        return;
    case SL_T_LIST:
        _sl_list_type(p, type);
        return;
    case SL_T_NAMED:
    case SL_T_PAIRS:
        _sl_map_type(p, type);
        return;
    case SL_T_OBJECT:
        _sl_fields(p, type->fields, NULL, NULL);
        return;
    case SL_T_VARIANT:
        _sl_variants(p, type);
        return;
    default:
        _sl_string_type(p, type);
    }
}

int sl_schema_print(struct sl_buf *out)
{
    struct sl_printer p = {.out = out};
    _sl_open(&p, "{");
    _sl_text_member(&p, "$schema", "https://json-schema.org/draft/2020-12/schema");
    _sl_text_member(&p, "title", "Sluice policy");
    _sl_member(&p, "$defs");
    _sl_raw(&p,
            "{\"reference\": {\"description\": \"The content of a file, or of an environment variable.\", "
            "\"oneOf\": [\n"
            "  {\"type\": \"object\", \"properties\": {\"$file\": {\"type\": \"string\"}}, \"required\": "
            "[\"$file\"], \"additionalProperties\": false},\n"
            "  {\"type\": \"object\", \"properties\": {\"$env\": {\"type\": \"string\"}}, \"required\": "
            "[\"$env\"], \"additionalProperties\": false}]}}");
    _sl_type(&p, &sl_type_policy);
    _sl_close(&p, "}");
    _sl_raw(&p, "\n");
    return p.rc;
}
