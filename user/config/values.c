/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy as a list of its values, each by its JSON pointer, so that two policies can be compared. Walks by
 * the table. Invariant: what the table calls secret never leaves as itself, and bytes that a value names
 * (a file, a variable) never do; both leave as SHA-256.
 */
#include "config/schema_priv.h"

#include <errno.h>
#include <openssl/evp.h>

struct sl_values {
    const struct sl_bundle *bundle;
    const struct sl_tree *tree;
    struct sl_arena arena; /* pointers */
    struct sl_buf *out;
    bool some;
};

/* The bytes that a path or reference stands for; NULL where they were not to be had. */
static const struct sl_bundle_file *_sl_named(const struct sl_values *v, const struct sl_reference *ref)
{
    SL_FREE char *name = ref->env ? strndup(ref->name.p, ref->name.n)
                                  : sl_path_beside(v->tree->files[ref->node->source], ref->name);
    if (!name)
        return NULL;
    const struct sl_bundle_file *f =
        ref->list ? sl_bundle_find_list(v->bundle, name) : sl_bundle_find(v->bundle, ref->env, name);
    return f && f->error == 0 ? f : NULL;
}

static int _sl_digest(struct sl_slice bytes, unsigned char out[SL_DIGEST])
{
    return EVP_Digest(bytes.p ? bytes.p : "", bytes.n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

static int _sl_print_digest(const struct sl_values *v, const unsigned char digest[SL_DIGEST])
{
    int r = sl_buf_printf(v->out, ",\"sha256\":\"");
    for (size_t i = 0; r == 0 && i < SL_DIGEST; i++)
        r = sl_buf_printf(v->out, "%02x", digest[i]);
    return r < 0 ? r : sl_buf_append(v->out, "\"", 1);
}

static int _sl_print_named(const struct sl_values *v, const struct sl_reference *ref)
{
    const struct sl_bundle_file *f = _sl_named(v, ref);
    unsigned char digest[SL_DIGEST];
    if (!f)
        return 0;
    if (ref->list)
        return _sl_print_digest(v, f->digest);
    int r = _sl_digest(f->data, digest);
    return r < 0 ? r : _sl_print_digest(v, digest);
}

static int _sl_print_hidden(const struct sl_values *v, const struct sl_node *n)
{
    SL_BUF_WIPED struct sl_buf text = {0};
    unsigned char digest[SL_DIGEST];
    int r = sl_node_json(n, &text);
    if (r == 0)
        r = _sl_digest(sl_buf_slice(&text), digest);
    return r < 0 ? r : _sl_print_digest(v, digest);
}

static int _sl_print_shown(const struct sl_values *v, const struct sl_node *n)
{
    int r = sl_buf_append(v->out, ",\"value\":", 9);
    return r < 0 ? r : sl_node_json(n, v->out);
}

static int _sl_print_string(const struct sl_values *v, const char *before, const char *s)
{
    int r = sl_buf_append_slice(v->out, sl_slice_str(before));
    if (r == 0)
        r = sl_buf_append(v->out, "\"", 1);
    if (r == 0)
        r = sl_buf_append_json(v->out, sl_slice_str(s));
    return r < 0 ? r : sl_buf_append(v->out, "\"", 1);
}

static int _sl_print_place(struct sl_values *v, const struct sl_node *n)
{
    const struct sl_pos pos = sl_node_key_pos(v->tree, n, &v->arena);
    if (!pos.pointer)
        return -ENOMEM;
    int r = _sl_print_string(v, v->some ? ",\n" : "\n", pos.pointer);
    v->some = true;
    if (r == 0)
        r = _sl_print_string(v, ":{\"file\":", pos.file);
    return r < 0 ? r : sl_buf_printf(v->out, ",\"line\":%u,\"column\":%u", pos.line, pos.column);
}

static int _sl_print(struct sl_values *v, const struct sl_type *type, const struct sl_node *n)
{
    struct sl_reference ref;
    int r = _sl_print_place(v, n);
    const bool named = r == 0 && sl_schema_names_bytes(type, n, &ref);
    if (named)
        r = _sl_print_named(v, &ref);
    if (r == 0)
        r = !named && type && (type->secret || type->kind == SL_T_JSON) ? _sl_print_hidden(v, n)
                                                                        : _sl_print_shown(v, n);
    return r < 0 ? r : sl_buf_append(v->out, "}", 1);
}

/* A list of plain values is one value: with an index each, one more would move all behind it. */
static bool _sl_is_plain_list(const struct sl_type *type, const struct sl_node *n)
{
    struct sl_reference ref;
    if (n->kind != SL_NODE_LIST)
        return false;
    for (const struct sl_node *c = n->first; c; c = c->next) {
        const struct sl_type *t = sl_schema_child(type, n, c);
        if (c->first || sl_schema_names_bytes(t, c, &ref) || (t && t->secret))
            return false;
    }
    return true;
}

static int _sl_walk(struct sl_values *v, const struct sl_type *type, const struct sl_node *n)
{
    struct sl_reference ref;
    int r = 0;
    if (!n->first || (type && type->kind == SL_T_JSON) || sl_schema_names_bytes(type, n, &ref) ||
        _sl_is_plain_list(type, n))
        return _sl_print(v, type, n);
    for (const struct sl_node *c = n->first; r == 0 && c; c = c->next)
        r = _sl_walk(v, sl_schema_child(type, n, c), c);
    return r;
}

static int _sl_print_tree(const struct sl_bundle *b, const struct sl_tree *t, struct sl_buf *out)
{
    struct sl_values v = {.bundle = b, .tree = t, .out = out};
    sl_arena_init(&v.arena, 0);
    int r = sl_buf_append(out, "{", 1);
    if (r == 0)
        r = _sl_walk(&v, &sl_type_policy, t->root);
    sl_arena_free(&v.arena);
    return r < 0 ? r : sl_buf_append(out, "}", 1);
}

int sl_bundle_print_values(const struct sl_bundle *b, struct sl_buf *out)
{
    struct sl_tree *parsed = NULL;
    struct sl_diag diag;
    if (b->tree)
        return _sl_print_tree(b, b->tree, out);
    sl_diag_init(&diag); /* it was accepted: there is nothing to tell */
    int r = sl_bundle_parse(b, &diag, &parsed);
    if (r == 0)
        r = _sl_print_tree(b, parsed, out);
    sl_tree_free(parsed);
    free(parsed);
    sl_diag_free(&diag);
    return r;
}
